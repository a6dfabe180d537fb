//! Tests of the whole module: a model that says what must be there, crashes, faults, and the real thing under SIGKILL.

mod age;
mod crash;
mod edges;
mod faults;
mod flips;
mod guards;
mod kill;
mod model;
mod packed;
mod recycle;
mod second_opinion;
mod store;
