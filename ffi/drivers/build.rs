//! Links each driver into a shared object of its own with the C compiler of the target.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A driver: its name, its sources, and the pkg-config name and Debian package of its C library.
struct Driver {
    name: &'static str,
    sources: &'static [&'static str],
    library: Option<(&'static str, &'static str)>,
}

const DRIVERS: &[Driver] = &[
    Driver { name: "sim", sources: &["sim.c"], library: None },
];

fn main() {
    if let Err(error) = build() {
        println!("cargo::error={error}");
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=tests/drive.c");
    println!("cargo::rerun-if-changed=../include/dunlin");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // OUT_DIR is <target dir>/<profile>/build/<package>-<hash>/out: the executable lies in the fourth ancestor, and
    // the agent looks for drivers beside it.
    let beside = out.ancestors().nth(3).ok_or("OUT_DIR is too short")?.join("drivers");
    fs::create_dir_all(&beside)?;
    for driver in DRIVERS {
        let object = out.join(format!("{}.so", driver.name));
        link(driver, &object)?;
        // Replaced by rename: a running agent may have the old file mapped.
        let fresh = beside.join(format!(".{}.so", driver.name));
        fs::copy(&object, &fresh)?;
        fs::rename(&fresh, beside.join(format!("{}.so", driver.name)))?;
    }
    run(compiler().args(["-O1", "tests/drive.c", "-ldl", "-o"]).arg(out.join("drive")))
}

/// The compiler with what all C here is held to.
fn compiler() -> Command {
    let mut build = cc::Build::new();
    build.std("c11").include("../include").include("c").define("_GNU_SOURCE", None).pic(true);
    let mut command = build.get_compiler().to_command();
    command.args(["-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Werror"]);
    command
}

fn link(driver: &Driver, object: &Path) -> Result<(), Box<dyn Error>> {
    let mut command = compiler();
    command.args(["-shared", "-fvisibility=hidden", "-Wl,--no-undefined", "-Wl,--version-script=c/exports.map"]);
    command.args(["-Wl,-z,relro,-z,now,-z,nodelete", "-fno-math-errno"]);
    for source in driver.sources.iter().chain(&["options.c"]) {
        command.arg(Path::new("c").join(source));
    }
    let mut libraries = vec!["-lm".to_owned()];
    if let Some((name, package)) = driver.library {
        let found = pkg_config::Config::new().cargo_metadata(false).env_metadata(true).probe(name);
        let found = found.map_err(|error| {
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            format!("the {} driver needs {name} for the target: install {package} ({first})", driver.name)
        })?;
        command.args(found.include_paths.iter().map(|path| format!("-I{}", path.display())));
        libraries.extend(found.link_paths.iter().map(|path| format!("-L{}", path.display())));
        libraries.extend(found.libs.iter().map(|lib| format!("-l{lib}")));
    }
    run(command.arg("-o").arg(object).args(libraries))
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).replace('\n', " | ").into())
}
