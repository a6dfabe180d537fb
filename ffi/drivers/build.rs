//! Links each driver into a shared object of its own with the C compiler of the target.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A C library: its name, its Debian package, a header of it, and whether it comes with a `.pc` file.
struct Library {
    name: &'static str,
    package: &'static str,
    header: &'static str,
    pkg_config: bool,
}

const SENSORS: Library = Library {
    name: "libsensors",
    package: "libsensors-dev",
    header: "sensors/sensors.h",
    pkg_config: false,
};
const MODBUS: Library = Library {
    name: "libmodbus",
    package: "libmodbus-dev",
    header: "modbus/modbus.h",
    pkg_config: true,
};
const GPIOD: Library = Library {
    name: "libgpiod",
    package: "libgpiod-dev",
    header: "gpiod.h",
    pkg_config: true,
};

const IIO: Library = Library {
    name: "libiio",
    package: "libiio-dev",
    header: "iio.h",
    pkg_config: true,
};

/// A driver: its name, its sources and its C library.
struct Driver {
    name: &'static str,
    sources: &'static [&'static str],
    library: Option<Library>,
}

const DRIVERS: &[Driver] = &[
    Driver {
        name: "sim",
        sources: &["sim.c"],
        library: None,
    },
    Driver {
        name: "host",
        sources: &["host.c"],
        library: Some(SENSORS),
    },
    Driver {
        name: "modbus",
        sources: &["modbus.c"],
        library: Some(MODBUS),
    },
    Driver {
        name: "i2c",
        sources: &["i2c.c"],
        library: None,
    },
    Driver {
        name: "gpio",
        sources: &["gpio.c", "gpio_lines1.c", "gpio_lines2.c"],
        library: Some(GPIOD),
    },
    Driver {
        name: "serial",
        sources: &["serial.c", "serial_framing.c"],
        library: None,
    },
    Driver {
        name: "can",
        sources: &["can.c"],
        library: None,
    },
    Driver {
        name: "iio",
        sources: &["iio.c"],
        library: Some(IIO),
    },
];

fn main() {
    if let Err(error) = build() {
        println!("cargo::error={error}");
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=tests");
    println!("cargo::rerun-if-changed=../include/dunlin");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // OUT_DIR is <target dir>/<profile>/build/<package>-<hash>/out: the executable lies in the fourth ancestor, and
    // the agent looks for drivers beside it.
    let beside = out
        .ancestors()
        .nth(3)
        .ok_or("OUT_DIR is too short")?
        .join("drivers");
    fs::create_dir_all(&beside)?;
    for driver in DRIVERS {
        let object = out.join(format!("{}.so", driver.name));
        link(driver, &object)?;
        // Replaced by rename: a running agent may have the old file mapped.
        let fresh = beside.join(format!(".{}.so", driver.name));
        fs::copy(&object, &fresh)?;
        fs::rename(&fresh, beside.join(format!("{}.so", driver.name)))?;
    }
    for tool in ["convert", "i2c_bus"] {
        let source = format!("tests/{tool}.c");
        run(compiler().arg(source).arg("-o").arg(out.join(tool)))?;
    }
    run(compiler()
        .args(["-O1", "tests/drive.c", "-ldl", "-o"])
        .arg(out.join("drive")))
}

/// The compiler with what all C here is held to.
fn compiler() -> Command {
    let mut build = cc::Build::new();
    build
        .std("c11")
        .include("../include")
        .include("c")
        .define("_GNU_SOURCE", None)
        .pic(true);
    let mut command = build.get_compiler().to_command();
    command.args(["-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Werror"]);
    // Under scripts/asan.sh too: a library that brings a sanitizer's runtime of its own does not load.
    command.arg("-fno-sanitize=all");
    command
}

fn link(driver: &Driver, object: &Path) -> Result<(), Box<dyn Error>> {
    let mut command = compiler();
    command.args([
        "-shared",
        "-fvisibility=hidden",
        "-Wl,--no-undefined",
        "-Wl,--version-script=c/exports.map",
        "-Wl,-z,max-page-size=65536",
    ]);
    command.args(["-Wl,-z,relro,-z,now,-z,nodelete", "-fno-math-errno"]);
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("aarch64") {
        // Return addresses are signed, and indirect branches land where they may (PAC, BTI). The mark needs every object
        // of the library to have it, and neither the C library's start files nor libgcc do; a library in C needs neither.
        command.args([
            "-mbranch-protection=standard",
            "-mno-outline-atomics",
            "-nostartfiles",
        ]);
    }
    for source in driver.sources.iter().chain(&["options.c"]) {
        command.arg(Path::new("c").join(source));
    }
    let mut libraries = vec!["-lm".to_owned()];
    if let Some(library) = &driver.library {
        libraries.extend(find(library).map_err(|error| {
            let (name, package) = (library.name, library.package);
            format!(
                "the {} driver needs {name} for the target: install {package} ({error})",
                driver.name
            )
        })?);
    }
    run(command.arg("-o").arg(object).args(libraries))
}

/// The flags for a library: from pkg-config, or by trying where its package has no `.pc` file.
fn find(library: &Library) -> Result<Vec<String>, Box<dyn Error>> {
    if !library.pkg_config {
        let flag = format!("-l{}", library.name.trim_start_matches("lib"));
        let probe = PathBuf::from(env::var("OUT_DIR")?).join("probe.c");
        fs::write(
            &probe,
            format!(
                "#include <stdio.h>\n#include <{}>\nint main(void) {{ return 0; }}\n",
                library.header
            ),
        )?;
        run(compiler()
            .arg(&probe)
            .arg("-o")
            .arg(probe.with_extension("out"))
            .arg(&flag))
        .map_err(|_| format!("cannot compile with <{}> and {flag}", library.header))?;
        return Ok(vec![flag]);
    }
    let found = pkg_config::Config::new()
        .cargo_metadata(false)
        .probe(library.name);
    let found = found.map_err(|_| "pkg-config does not find it")?;
    let mut flags = Vec::new();
    flags.extend(
        found
            .include_paths
            .iter()
            .map(|path| format!("-I{}", path.display())),
    );
    flags.extend(
        found
            .link_paths
            .iter()
            .map(|path| format!("-L{}", path.display())),
    );
    flags.extend(found.libs.iter().map(|lib| format!("-l{lib}")));
    Ok(flags)
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = command.output().map_err(|error| {
        format!(
            "cannot run {}: {error}",
            command.get_program().to_string_lossy()
        )
    })?;
    if output.status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let said = String::from_utf8_lossy(&output.stderr).replace('\n', " | ");
    Err(format!("{program} failed: {said}").into())
}
