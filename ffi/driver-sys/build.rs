//! Compiles the C side of the layout assertion, so that header and mirror cannot drift apart unseen.

fn main() {
    println!("cargo::rerun-if-changed=src/layout.c");
    println!("cargo::rerun-if-changed=../include/dunlin");
    cc::Build::new()
        .file("src/layout.c")
        .include("../include")
        .std("c99")
        .warnings(true)
        .extra_warnings(true)
        .flag("-pedantic")
        .warnings_into_errors(true)
        .compile("dunlin_layout");
}
