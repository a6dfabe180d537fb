//! Builds the kit's malloc, and the examples that the tests run the kit on.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=../examples");
    println!("cargo::rerun-if-changed=src/starve.c");
    cc::Build::new()
        .file("src/starve.c")
        .flag("-fno-builtin")
        .compile("starve");
    println!("cargo::rerun-if-changed=../include");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rustc-env=DUNLIN_KIT_DRIVERS={}", out.display());
    for (name, source) in [
        ("template", "../examples/template.c"),
        ("hostile", "../examples/hostile/hostile.c"),
    ] {
        let mut command = cc::Build::new().opt_level(1).get_compiler().to_command();
        command
            .args(["-std=gnu99", "-shared", "-fPIC", "-fvisibility=hidden"])
            .args(["-I../include", "-fexceptions", "-Wno-infinite-recursion"])
            .args(["-Wno-free-nonheap-object", source, "-o"])
            .arg(out.join(format!("{name}.so")))
            .args(["-lpthread", "-lm"]);
        let status = command
            .status()
            .expect("a C compiler is needed, see README.md");
        assert!(status.success(), "compiling {source}");
    }
    let mut command = cc::Build::new()
        .cpp(true)
        .opt_level(1)
        .get_compiler()
        .to_command();
    command
        .args(["-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden"])
        .args([
            "-I../include",
            "-Wl,--version-script=../examples/exports.map",
        ])
        .args(["../examples/cpp/average.cpp", "-o"])
        .arg(out.join("average.so"));
    let status = command
        .status()
        .expect("a C++ compiler is needed, see README.md");
    assert!(status.success(), "compiling average.cpp");
}
