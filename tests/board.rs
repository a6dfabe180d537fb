//! The aarch64 agent on emulated boards: Debian's kernel, one disk for all of them (`scripts/board_image.sh`), QEMU
//! (`scripts/qemu.sh`). The names of these tests begin with `board_`, and they run in nextest's profile of that name only.

mod support;

#[path = "board/boards.rs"]
mod boards;
#[path = "board/can.rs"]
mod can;
#[path = "board/clock.rs"]
mod clock;
#[path = "board/crash.rs"]
mod crash;
#[path = "board/escapes.rs"]
mod escapes;
#[path = "board/figures.rs"]
mod figures;
#[path = "board/gpio.rs"]
mod gpio;
#[path = "board/i2c.rs"]
mod i2c;
#[path = "board/iio.rs"]
mod iio;
#[path = "board/machine/mod.rs"]
mod machine;
#[path = "../ffi/driver/tests/escapes/mod.rs"]
mod native_escapes;
#[path = "board/netem.rs"]
mod netem;
#[path = "board/station.rs"]
mod station;
#[path = "board/telemetry.rs"]
mod telemetry;
