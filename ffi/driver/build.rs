//! Builds the example drivers that tests and benchmarks load: the template, and the hostile driver in its wrong shapes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the shared object, source under `ffi/examples`, macros.
const DRIVERS: [(&str, &str, &[&str]); 8] = [
    ("template", "template.c", &[]),
    ("hostile", "hostile/hostile.c", &[]),
    ("bad-major", "hostile/hostile.c", &["-DMAJOR=2"]),
    ("bad-size", "hostile/hostile.c", &["-DSTRUCT_SIZE=8"]),
    ("bad-id", "hostile/hostile.c", &["-DID=\"Bad Id\""]),
    (
        "bad-long-id",
        "hostile/hostile.c",
        &["-DID=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""],
    ),
    (
        "bad-null",
        "hostile/hostile.c",
        &["-DREAD=0", "-Wno-unused-function"],
    ),
    ("bad-entry", "hostile/hostile.c", &["-DENTRY=other_entry"]),
];

fn main() {
    println!("cargo::rerun-if-changed=../examples");
    println!("cargo::rerun-if-changed=../include");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rustc-env=DUNLIN_EXAMPLE_DRIVERS={}", out.display());
    for (name, source, macros) in DRIVERS {
        build(&out.join(format!("{name}.so")), source, macros);
    }
}

fn build(target: &Path, source: &str, macros: &[&str]) {
    let mut command: Command = cc::Build::new().opt_level(1).get_compiler().to_command();
    command
        .args([
            "-std=gnu99",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
            "-I",
            "../include",
        ])
        .args(["-Wall", "-Wno-infinite-recursion"])
        .args(macros)
        // A sanitizer's flags for Rust reach C too, and a library with a runtime of its own does not load.
        .arg("-fno-sanitize=all")
        .arg(Path::new("../examples").join(source))
        .arg("-o")
        .arg(target)
        .args(["-lpthread", "-lm"]);
    let status = command
        .status()
        .expect("a C compiler is needed, see README.md");
    assert!(
        status.success(),
        "compiling {source} for {}",
        target.display()
    );
}
