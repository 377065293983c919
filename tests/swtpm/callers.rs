//! The command lines of programs that start swtpm, as their sources have them, in a shell as they are: each leads to a TPM that answers, or
//! to a message that says what is not there.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::INITIALIZE;
use crate::place::{Place, refused};
use crate::support::ports::PortPair;
use crate::support::raw::{RawTpm, get_random, startup};
use crate::support::{Process, finish, wait_for};

/// Who starts a TPM, and how: what comes before, what serves, and where it is spoken to.
///
/// In the lines `@` is the place's folder, PORT and NEXT are two ports, USER is who runs the test; ROOT is the word that root has to say.
/// Descriptor 3 is a listening socket at `inherited`.
struct Caller {
    name: &'static str,
    before: &'static [&'static str],
    serve: &'static str,
    at: At,
}

enum At {
    /// A control channel, at a unix socket in the place's folder.
    Control(&'static str),
    /// Both channels at the two ports.
    Ports,
}

/// Whether what serves goes to the background, and leaves its number in a file.
fn is_daemon(line: &str) -> bool {
    line.contains("--daemon")
}

const CALLERS: &[Caller] = &[
    Caller {
        name: "libvirt 11, for a user, with a secret, on shared storage",
        before: &[
            "swtpm socket --print-capabilities",
            "swtpm_setup --print-capabilities",
            "swtpm_setup --tpm2 --create-config-files ROOTskip-if-exist",
            "swtpm_setup --tpm2 --pwdfile-fd 4 --cipher aes-256-cbc --tpm-state @/state \
             --vmid guest:c7a5fdbd-cdaf-9455-926a-d65c16db1809 --logfile @/log --createek --create-ek-cert --create-platform-cert \
             --lock-nvram --not-overwrite 4< @/secret",
            "swtpm_setup --tpm2 --pwdfile-fd 4 --cipher aes-256-cbc --tpm-state @/state --logfile @/log --pcr-banks sha256,sha384 \
             --reconfigure 4< @/secret",
        ],
        serve: "swtpm socket --ctrl type=unixio,path=@/sock,mode=0600 --tpmstate dir=@/state,mode=0600,lock --log file=@/log \
                --terminate --tpm2 --key pwdfd=4,mode=aes-256-cbc --migration-key pwdfd=5,mode=aes-256-cbc \
                --migration release-lock-outgoing 4< @/secret 5< @/secret",
        at: At::Control("sock"),
    },
    Caller {
        name: "libvirt 11, where a guest arrives",
        before: &["swtpm_setup --tpm2 --tpm-state @/state --logfile @/log --overwrite"],
        serve: "swtpm socket --ctrl type=unixio,path=@/sock,mode=0600 --tpmstate dir=@/state,mode=0600 --log file=@/log --terminate --tpm2",
        at: At::Control("sock"),
    },
    Caller {
        name: "libvirt 11, state in a file",
        before: &[
            "swtpm_setup --tpm2 --tpm-state file://@/state --vmid guest:c7a5fdbd-cdaf-9455-926a-d65c16db1809 --logfile @/log \
             --createek --create-ek-cert --create-platform-cert --lock-nvram --not-overwrite",
        ],
        serve: "swtpm socket --ctrl type=unixio,path=@/sock,mode=0600 --tpmstate backend-uri=file://@/state,mode=0600,lock \
                --log file=@/log,level=5 --terminate --tpm2",
        at: At::Control("sock"),
    },
    Caller {
        name: "libvirt 5",
        before: &[],
        serve: "swtpm socket --daemon --ctrl type=unixio,path=@/sock,mode=0600 --tpmstate dir=@/state,mode=0600 --log file=@/log --tpm2 \
                --pid file=@/pid",
        at: At::Control("sock"),
    },
    Caller {
        name: "incus 6, for a virtual machine: in the folder of the state, which holds the socket, too",
        before: &[],
        serve: "cd @/state && exec swtpm socket --tpm2 --tpmstate dir=@/state --ctrl type=unixio,path=swtpm-tpm.sock",
        at: At::Control("state/swtpm-tpm.sock"),
    },
    Caller {
        name: "mkosi",
        before: &[
            "swtpm_setup --version",
            "swtpm_setup --tpm-state @/state --tpm2 --pcr-banks sha256 --config /dev/null --profile-name=custom \
             --profile-remove-disabled=check",
        ],
        serve: "swtpm socket --tpm2 --tpmstate dir=@/state --ctrl type=unixio,fd=3",
        at: At::Control("inherited"),
    },
    Caller {
        name: "systemd-vmspawn",
        before: &["swtpm_setup --tpm-state @/state --tpm2 --pcr-banks sha256 --not-overwrite"],
        serve: "swtpm socket --tpm2 --tpmstate dir=@/state --ctrl type=unixio,fd=3",
        at: At::Control("inherited"),
    },
    Caller {
        name: "quickemu",
        before: &[],
        serve: "swtpm socket --ctrl type=unixio,path=@/vm.swtpm-sock --terminate --tpmstate dir=@/state --tpm2",
        at: At::Control("vm.swtpm-sock"),
    },
    Caller {
        name: "Proxmox's qemu-server",
        before: &[
            "swtpm_setup --tpmstate file://@/state --createek --create-ek-cert --create-platform-cert --lock-nvram \
             --runas USER --not-overwrite --tpm2 --ecc",
        ],
        serve: "swtpm socket --tpmstate backend-uri=file://@/state,mode=0600 --ctrl type=unixio,path=@/sock,mode=0600 \
                --pid file=@/pid --terminate --daemon --log file=@/log,level=1,prefix=[id=100] --tpm2",
        at: At::Control("sock"),
    },
    Caller {
        name: "integration tests of tpm2-tss",
        before: &[],
        serve: "swtpm socket --tpm2 -p PORT --ctrl type=tcp,port=NEXT --log fd=1,level=5 --flags not-need-init --tpmstate dir=@/state \
                --locality allow-set-locality",
        at: At::Ports,
    },
    Caller {
        name: "integration tests of tpm2-tools",
        before: &[],
        serve: "swtpm socket --tpm2 --server port=PORT --ctrl type=tcp,port=NEXT --flags not-need-init --tpmstate dir=@/state",
        at: At::Ports,
    },
    Caller {
        name: "tests of tpm2-pkcs11 and keylime",
        before: &[
            "swtpm_setup --tpm2 --tpmstate @/state --createek --allow-signing --decryption --create-ek-cert --display",
        ],
        serve: "swtpm socket --tpm2 --tpmstate dir=@/state --flags not-need-init,startup-clear --ctrl type=tcp,port=NEXT \
                --server type=tcp,port=PORT --log level=4 --pid file=@/pid --daemon",
        at: At::Ports,
    },
];

/// A folder for one caller, with descriptor 3 and the ports.
struct Site {
    place: Place,
    ports: PortPair,
}

impl Site {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.path("config")).expect("a folder");
        fs::write(place.path("secret"), "a secret of libvirt").expect("written");
        Self {
            place,
            ports: PortPair::claim(),
        }
    }

    /// A shell that runs the line, itself replaced by the program as far as that is the last.
    fn shell(&self, line: &str, stdin: Stdio) -> Command {
        let user = rustix::process::getuid();
        let line = line
            .replace('@', &self.place.0.path().display().to_string())
            .replace("PORT", &self.ports.first.to_string())
            .replace("NEXT", &(self.ports.first + 1).to_string())
            .replace("USER", &user.as_raw().to_string())
            .replace("ROOT", if user.is_root() { "root," } else { "" });
        let line = if line.contains("exec ") {
            line
        } else {
            format!("exec {line}")
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.place.0.path().as_os_str(), path.as_os_str()].join(":".as_ref());
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("exec 3<&0 0</dev/null; {line}")])
            .env("PATH", path)
            .env("XDG_CONFIG_HOME", self.place.path("config"))
            .current_dir(self.place.0.path())
            .stdin(stdin);
        command
    }

    fn run(&self, line: &str) -> Output {
        let mut command = self.shell(line, Stdio::null());
        command.output().expect("a shell starts")
    }

    /// swtpm_ioctl at the control channel.
    fn control(&self, at: &At, words: &str) -> Output {
        match at {
            At::Control(socket) => self.run(&format!("swtpm_ioctl --unix @/{socket} {words}")),
            At::Ports => self.run(&format!("swtpm_ioctl --tcp 127.0.0.1:NEXT {words}")),
        }
    }

    fn control_ok(&self, at: &At, words: &str) -> String {
        finish(words, self.control(at, words))
    }

    /// The TPM answers on each channel that there is, and ends when it is told to.
    fn use_and_end(&self, at: &At) {
        assert_eq!(self.control_ok(at, "-c"), "ptm capability is 0x1ffff\n");
        match at {
            At::Control(_) => {
                self.control_ok(at, "-i");
                self.control_ok(at, "-v");
            }
            At::Ports => {
                let address = SocketAddr::from(([127, 0, 0, 1], self.ports.first));
                let code = RawTpm::connect(address).execute(&startup()).code();
                assert!([0, INITIALIZE].contains(&code), "{code:#x}");
                RawTpm::connect(address).ok(&get_random(8));
            }
        }
        self.control_ok(at, "-s");
    }
}

fn has_gone(id: &str) -> bool {
    // What has ended and is nobody's child yet is still listed.
    fs::read_to_string(Path::new("/proc").join(id).join("stat"))
        .map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn each_known_caller_gets_a_tpm() {
    for caller in CALLERS {
        let name = caller.name;
        let site = Site::new();
        // Who wants one file names it, everybody else has made the folder.
        if !caller.serve.contains("file://") {
            fs::create_dir(site.place.path("state")).expect("a folder");
        }
        if caller.before.iter().any(|line| line.contains("-ek-cert")) {
            finish(
                name,
                site.run("swtpm_setup --tpm2 --create-config-files ROOTskip-if-exist"),
            );
        }
        for line in caller.before {
            finish(&format!("{name}: {line}"), site.run(line));
        }
        let listener = UnixListener::bind(site.place.path("inherited")).expect("a socket");
        let mut command = site.shell(caller.serve, OwnedFd::from(listener).into());
        if is_daemon(caller.serve) {
            finish(name, command.output().expect("a shell starts"));
            // The file goes with the process.
            let pid = fs::read_to_string(site.place.path("pid")).expect("its number");
            site.use_and_end(&caller.at);
            wait_for("the end of what is in the background", || {
                has_gone(pid.trim()).then_some(())
            });
            continue;
        }
        let mut process = Process::start(&mut command);
        drop(command);
        wait_for("the control channel", || {
            assert_eq!(process.ended(), None, "{name}: it ended");
            match caller.at {
                At::Control(socket) => UnixStream::connect(site.place.path(socket)).is_ok(),
                At::Ports => site.control(&caller.at, "-c").status.success(),
            }
            .then_some(())
        });
        site.use_and_end(&caller.at);
        assert!(process.wait().success(), "{name}");
    }
}

/// What libvirt, and those who imitate it, decide by what is printed.
#[test]
fn features_that_callers_look_for_are_told() {
    let site = Site::new();
    for (line, features) in [
        (
            "swtpm socket --print-capabilities",
            &[
                "cmdarg-pwd-fd",
                "cmdarg-migration",
                "nvram-backend-dir",
                "nvram-backend-file",
                "tpmstate-opt-lock",
                "cmdarg-print-info",
            ][..],
        ),
        (
            "swtpm_setup --print-capabilities",
            &[
                "cmdarg-pwdfile-fd",
                "cmdarg-create-config-files",
                "cmdarg-reconfigure-pcr-banks",
                "tpm-2.0",
                "cmdarg-profile",
            ],
        ),
        ("swtpm chardev --print-capabilities", &["tpm-2.0"]),
    ] {
        let said = finish(line, site.run(line));
        let told: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        for feature in features {
            let all = told["features"].as_array().expect("a list");
            assert!(
                all.iter().any(|known| known == feature),
                "{line}: {feature}"
            );
        }
    }
    // mkosi takes the last word of it for a version, and looks for 0.10 or newer.
    let said = finish("--version", site.run("swtpm_setup --version"));
    let version = said.split_whitespace().last().expect("a version");
    let numbers: Vec<u32> = version
        .split('.')
        .map(|number| number.parse().expect("a number"))
        .collect();
    assert!(numbers >= vec![0, 10, 0], "{said}");
}

#[test]
fn what_callers_ask_for_in_vain_is_named() {
    let site = Site::new();
    for (line, word) in [
        // libvirt with a TPM 1.2.
        (
            "swtpm socket --ctrl type=unixio,path=@/sock,mode=0600 --tpmstate dir=@/state,mode=0600 --log file=@/log --terminate",
            "TPM 1.2",
        ),
        (
            "swtpm_setup --tpm-state @/state --vmid guest:c7a5fdbd --logfile @/log --createek --create-ek-cert --not-overwrite",
            "TPM 1.2",
        ),
        // Who wants the device of a user's program.
        ("swtpm cuse --tpm2 -n vtpm0", "CUSE"),
        (
            "swtpm socket --tpm2 --tpmstate dir=@/state --ctrl type=unixio,path=@/sock --profile name=custom,remove-disabled=fips-host",
            "fips-host",
        ),
    ] {
        let said = refused(site.run(line));
        assert!(said.contains(word), "{line}: {said}");
        assert!(!site.place.path("state").exists(), "{line}");
    }
    // Incus, for a container, where the kernel has no driver; a guest of tests/guests has it.
    if !Path::new("/dev/vtpmx").exists() {
        let said = refused(site.run("swtpm chardev --tpm2 --tpmstate dir=@/state --vtpm-proxy"));
        assert!(said.contains("tpm_vtpm_proxy"), "{said}");
    }
}
