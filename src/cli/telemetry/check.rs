//! `dunlin telemetry check`: everything that is wrong with a telemetry database.

use crate::cli::{Failure, print};
use crate::config::Problems;
use crate::exit::Exit;
use crate::telemetry::database::{self, Database};
use std::fs;
use std::path::Path;

/// Checks a database.
pub(in crate::cli) fn check(file: &Path) -> Result<Exit, Failure> {
    let database = load(file)?;
    let (packets, fields, parameters) = database.size();
    print(&format!(
        "{}: version {}: {packets} packets, {fields} fields, {parameters} parameters",
        file.display(),
        database.version
    ))?;
    for passed in &database.passed {
        print(passed)?;
    }
    Ok(Exit::Ok)
}

/// Reads a database. The failure has everything that is wrong with it.
pub(super) fn load(file: &Path) -> Result<Database, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        let message = format!(
            "cannot read {}: {error}.\n  Remedy: give the file of a telemetry database, TOML or XTCE in UTF-8.",
            file.display()
        );
        Failure::new(Exit::Unavailable, message)
    })?;
    database::read(file, &text).map_err(|list| {
        let file = file.to_owned();
        Failure::new(Exit::Config, Problems { file, list })
    })
}
