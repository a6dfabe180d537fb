//! From the name in a configuration to the file of a driver.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Why a driver's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// There is no such file.
    #[error("there is no driver {name:?}: {} does not exist; {}", path.display(), listing(available))]
    Missing {
        /// Name as configured.
        name: String,
        /// File that was looked for.
        path: PathBuf,
        /// Names of the drivers that are there.
        available: Vec<String>,
    },
    /// The file cannot be read.
    #[error("reading the driver {}", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no driver for this machine.
    #[error("the driver {} cannot run here: {detail}", path.display())]
    Misfit {
        /// File.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

/// The file of the driver `name`: `<driver_dir>/<name>.so`, or the path itself where the name contains a `/`.
///
/// Looks at the ELF header too, so that a library for another machine is refused with a sentence that says so.
pub fn locate(name: &str, driver_dir: &Path) -> Result<PathBuf, LocateError> {
    let path = if name.contains('/') {
        PathBuf::from(name)
    } else {
        driver_dir.join(format!("{name}.so"))
    };
    let mut head = Vec::with_capacity(20);
    let opened = File::open(&path).and_then(|file| file.take(20).read_to_end(&mut head));
    match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(LocateError::Missing {
            name: name.to_owned(),
            available: path.parent().map(available).unwrap_or_default(),
            path,
        }),
        Err(source) => Err(LocateError::Read { path, source }),
        Ok(_) => match crate::elf::misfit(&head) {
            Some(detail) => Err(LocateError::Misfit { path, detail }),
            None => fs::canonicalize(&path).map_err(|source| LocateError::Read { path, source }),
        },
    }
}

/// The names of the drivers in a directory, sorted; empty where it cannot be read.
pub fn available(driver_dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(driver_dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            (path.extension()? == "so").then_some(())?;
            Some(path.file_stem()?.to_str()?.to_owned())
        })
        .collect();
    names.sort();
    names
}

fn listing(names: &[String]) -> String {
    if names.is_empty() {
        "no driver is there".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    }
}
