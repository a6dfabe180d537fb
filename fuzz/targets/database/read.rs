//! A telemetry database that anybody may write, and a packet read by it.

use dunlin::telemetry::database::{Found, read};
use std::path::Path;

/// Takes a packet of 24 bytes and the text of a database: nothing panics, what is refused has reasons with remedies, and what
/// curves give is finite.
pub fn take(file: &str, input: &[u8]) {
    let (packet, text) = input.split_at(input.len().min(24));
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let database = match read(Path::new(file), text) {
        Ok(database) => database,
        Err(problems) => {
            assert!(!problems.is_empty());
            return assert!(problems.iter().all(|problem| !problem.remedy.is_empty()));
        }
    };
    let Some(kind) = database.packet(packet) else {
        return;
    };
    kind.read(packet, |field, found, context| {
        let Found::Value(raw) = found else {
            return;
        };
        let number = raw.number();
        if let (Some(number), Some(parameter)) = (number, database.parameter(&field.name)) {
            let context = parameter.context(context);
            assert!(parameter.curve_in(context).is_ok());
            assert!(parameter.calibrated(number, context).is_none_or(f64::is_finite));
        }
    });
}
