//! Drivers on what only a kernel can give. Not for this machine: `scripts/guest.sh` boots a kernel and runs it there.

#[path = "../kit/mod.rs"]
mod kit;

mod can;
mod gpio;
mod iio;
#[path = "kit.rs"]
mod vendor_kit;
