//! A telemetry database that anybody may write, and a packet read by it: nothing panics, what is refused has a reason, and
//! what curves give is finite.
#![no_main]

use dunlin::telemetry::database::{Found, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (packet, text) = input.split_at(input.len().min(24));
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let database = match read(text) {
        Ok(database) => database,
        Err(problems) => return assert!(!problems.is_empty()),
    };
    let Some(kind) = database.packet(packet) else {
        return;
    };
    kind.read(packet, |field, found| {
        let Found::Value(raw) = found else {
            return;
        };
        let number = raw.number();
        if let (Some(number), Some(parameter)) = (number, database.parameter(&field.name)) {
            assert!(parameter.calibrated(number).is_none_or(f64::is_finite));
        }
    });
});
