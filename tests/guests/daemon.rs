//! The same guests on the TPMs of `vtpm serve`.

use std::path::{Path, PathBuf};

use crate::qemu::{Guest, Machine};
use crate::support::{Daemon, folder, only_for_vtpm};
use crate::turn;

/// Seals a disk's key to the firmware, and prints what would stand in the disk's header.
const SEAL: &str = r#"
tpm2 createprimary -Q -C o -G ecc -c primary.ctx
tpm2 createpolicy -Q --policy-pcr -l sha256:0,4,7 -L policy
echo "disk key" | tpm2 create -Q -C primary.ctx -i - -L policy -u sealed.pub -r sealed.priv
base64 -w 0 sealed.pub
echo
base64 -w 0 sealed.priv
echo
"#;

/// Opens it from the disk's header.
fn open(header: &str) -> String {
    let (public, private) = header.split_once('\n').expect("two lines");
    format!(
        r#"
echo {public} | base64 -d > sealed.pub
echo {private} | base64 -d > sealed.priv
tpm2 createprimary -Q -C o -G ecc -c primary.ctx
tpm2 load -Q -C primary.ctx -u sealed.pub -r sealed.priv -c sealed.ctx
tpm2 unseal -c sealed.ctx -p pcr:sha256:0,4,7
"#,
        private = private.trim_end(),
    )
}

fn boot(daemon: &Daemon, vm: &str, place: &Path) -> Guest {
    let control = PathBuf::from(daemon.vm_field(vm, "/tpm/control"));
    Machine::new(&control, place).boot()
}

#[test]
fn a_sealed_secret_opens_in_a_copy_of_the_vm_and_not_in_a_replacement() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let _turn = turn();
    let (data, place, files) = (folder(), folder(), folder());
    let daemon = Daemon::start(data.path());
    let mut guest = boot(&daemon, "demo", place.path());
    let header = guest.run(SEAL);
    guest.power_down();

    // The VM stays on, and its TPM is as after a power-on.
    assert_eq!(daemon.vm_field("demo", "/power"), "on");
    let client = daemon.client("demo", files.path());
    client.sh("tpm2_getrandom --hex 8 && tpm2_pcrread sha256:0 | grep -q '0 : 0x0\\{64\\}'");
    let mut guest = boot(&daemon, "demo", place.path());
    assert_eq!(guest.run(&open(&header)), "disk key\n");
    // A QEMU that ends without a word is followed by the next one just as well.
    guest.kill();
    let mut guest = boot(&daemon, "demo", place.path());
    assert_eq!(guest.run(&open(&header)), "disk key\n");

    // A second one beside it gets nothing, and takes nothing from the first.
    let control = PathBuf::from(daemon.vm_field("demo", "/tpm/control"));
    let said = Machine::new(&control, files.path()).refused();
    assert!(said.contains("tpm-emulator"), "{said}");
    guest.run("tpm2 unseal -c sealed.ctx -p pcr:sha256:0,4,7");

    // Cloned while the guest runs.
    daemon.ok(["vm", "clone", "demo", "twin", "--tpm", "copy"]);
    daemon.ok(["vm", "clone", "demo", "fresh", "--tpm", "replace"]);
    guest.quit();
    daemon.ok(["vm", "start", "twin", "fresh"]);
    let mut guest = boot(&daemon, "twin", place.path());
    assert_eq!(guest.run(&open(&header)), "disk key\n");
    guest.quit();
    let mut guest = boot(&daemon, "fresh", place.path());
    let said = guest.refused(&open(&header));
    assert!(said.contains("integrity check failed"), "{said}");
    // Powering the VM off takes the TPM from a guest that still runs, and the daemon's socket from the next one.
    daemon.ok(["vm", "stop", "fresh"]);
    guest.refused("tpm2 getrandom --hex 8");
    guest.kill();
}
