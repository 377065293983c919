//! The guest's kernel, and its initial file system: busybox, tpm2-tools, the libraries they need, and `tests/data/guest/init`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{data, finish};

/// What to do when a program or file of Debian is not there.
pub(crate) const ADVICE: &str =
    "run tests/run, which installs it, or tests/guests/prepare for the guests alone";

/// The kernel that `tests/guests/prepare` unpacked.
pub(crate) fn kernel() -> PathBuf {
    let kernel = prepared("vmlinuz");
    assert!(
        kernel.exists(),
        "there is no guest kernel at {}: {ADVICE}",
        kernel.display()
    );
    kernel
}

/// Its module for TPMs that a program answers for; not every distribution has it in the same package.
pub(crate) fn proxy_module() -> Option<PathBuf> {
    Some(prepared("tpm_vtpm_proxy.ko")).filter(|module| module.exists())
}

fn prepared(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target folder");
    target.join("guest").join(name)
}

/// Writes the initial file system as a cpio archive of the "new ASCII" format: what every guest has, and `more` files in its root folder
/// with the libraries they need.
pub(crate) fn write_initial_files(path: &Path, more: &[PathBuf]) {
    let busybox = program("busybox");
    let tools = program("tpm2");
    let mut archive = Archive::default();
    for folder in [
        "bin", "proc", "sys", "dev", "tmp", "etc", "lib64", "usr", "usr/lib",
    ] {
        archive.folder(folder);
    }
    archive.file("init", &data("guest").join("init"));
    archive.file("bin/busybox", &busybox);
    archive.file("bin/tpm2", &tools);
    // Loaded by name when a tool runs, so no tool says that it needs it.
    let libraries = libraries_of(&tools);
    let esys = libraries
        .iter()
        .find(|library| name(library).starts_with("libtss2-esys"))
        .expect("tpm2-tools use the ESAPI");
    let device = esys.with_file_name("libtss2-tcti-device.so.0");
    assert!(device.exists(), "{} is missing: {ADVICE}", device.display());
    let mut all: BTreeSet<PathBuf> = libraries_of(&device);
    all.insert(device);
    all.extend(libraries);
    for file in more {
        archive.file(name(file), file);
        all.extend(libraries_of(file));
    }
    for library in all {
        // The dynamic linker has a fixed place, and looks into /usr/lib by itself.
        let place = if name(&library).starts_with("ld-linux") {
            format!("lib64/{}", name(&library))
        } else {
            format!("usr/lib/{}", name(&library))
        };
        archive.file(&place, &library);
    }
    fs::write(path, archive.finish()).expect("the initial file system is written");
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("a file name")
}

/// Where a program is.
pub(crate) fn program(name: &str) -> PathBuf {
    std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: {ADVICE}"))
}

fn libraries_of(file: &Path) -> BTreeSet<PathBuf> {
    // A module of the kernel is no program, and needs none.
    if file.extension().is_some_and(|extension| extension == "ko") {
        return BTreeSet::new();
    }
    let output = Command::new("ldd").arg(file).output().expect("ldd starts");
    finish("ldd", output)
        .lines()
        .filter_map(|line| {
            let place = line.split_whitespace().find(|word| word.starts_with('/'))?;
            Some(PathBuf::from(place))
        })
        .collect()
}

/// A cpio archive in the making.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    const FOLDER: u32 = 0o040_755;
    const PROGRAM: u32 = 0o100_755;

    fn folder(&mut self, name: &str) {
        self.entry(name, Self::FOLDER, &[]);
    }

    fn file(&mut self, name: &str, from: &Path) {
        let bytes = fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self.entry(name, Self::PROGRAM, &bytes);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("below 4 GiB");
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            length(content.len()),
            0,
            0,
            0,
            0,
            length(name.len() + 1),
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}
