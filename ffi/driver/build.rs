//! Builds the example drivers that tests and benchmarks load: the template, and the hostile driver in its wrong shapes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the shared object, source under `ffi/examples`, macros and other arguments.
const DRIVERS: [(&str, &str, &[&str]); 12] = [
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
    ("bad-align", "hostile/hostile.c", &["-DEXTENSION_SHIFT=1"]),
    ("bad-long", "hostile/hostile.c", &["-DSTRUCT_SIZE=1048576"]),
    (
        "interposes",
        "hostile/hostile.c",
        &["-DINTERPOSES", "-Wno-unused-parameter"],
    ),
    // Needs the library beside it, as a vendor's driver may.
    (
        "needs-beside",
        "hostile/hostile.c",
        &["-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN", "-l:template.so"],
    ),
];

fn main() {
    println!("cargo::rerun-if-changed=../examples");
    println!("cargo::rerun-if-changed=../include");
    // Told by scripts/asan.sh: the compiler's own `cfg(sanitize)` is not stable.
    println!("cargo::rerun-if-env-changed=DUNLIN_ASAN");
    println!("cargo::rustc-check-cfg=cfg(dunlin_asan)");
    if std::env::var_os("DUNLIN_ASAN").is_some() {
        println!("cargo::rustc-cfg=dunlin_asan");
    }
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
        .args([
            "-Wall",
            "-Wno-infinite-recursion",
            "-Wno-free-nonheap-object",
            "-fexceptions",
        ])
        .args(macros)
        // Whatever CFLAGS say: a library that brings a sanitizer's runtime of its own does not load.
        .arg("-fno-sanitize=all")
        .arg(Path::new("../examples").join(source))
        .arg("-o")
        .arg(target)
        .arg("-L")
        .args(target.parent())
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
