//! The name by which programs that were linked against the library find it; Cargo knows only its own.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libtss2-tcti-vtpm.so.0");
}
