//! Tests of the whole module: a model that says what must be there, crashes, faults, and the real thing under SIGKILL.

mod age;
mod crash;
mod disk;
mod edges;
mod faults;
mod flips;
mod guards;
mod kept;
mod kill;
mod looking;
mod model;
mod packed;
mod picky;
mod queue;
mod reading;
mod recycle;
mod refused;
mod second_opinion;
mod space;
mod starts;
mod store;
mod told;
mod wear;
