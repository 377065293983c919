//! A TPM for containers: the kernel makes the device, `vtpm swtpm chardev --vtpm-proxy` answers for it. Only a kernel of our own has the
//! driver for certain, so all of it happens in a guest.

use std::path::Path;
use std::process::Command;

use crate::image::{program, proxy_module};
use crate::qemu::{Emulator, Machine};
use crate::support::{VTPM, finish, folder, only_for_vtpm};
use crate::turn;

/// Starts it as Incus does for a container, and finds the device by what it prints.
const START: &str = r#"
[ -c /dev/vtpmx ] || insmod /tpm_vtpm_proxy.ko
mkdir -p state
/vtpm swtpm chardev --tpm2 --tpmstate dir=state --vtpm-proxy > printed 2> log &
echo $! > pid
while ! grep -q '/' printed; do
    grep -q 'State:.[^Z]' /proc/$(cat pid)/status || { cat log >&2; exit 1; }
    sleep 0.1
done
cat printed
"#;

/// Without RSA, which takes its time in an emulated machine.
const SEAL: &str = r#"
tpm2 createprimary -Q -C o -G ecc -c primary.ctx
echo "disk key" | tpm2 create -Q -C primary.ctx -i - -u sealed.pub -r sealed.priv
tpm2 load -Q -C primary.ctx -u sealed.pub -r sealed.priv -c sealed.ctx
tpm2 evictcontrol -Q -C o -c sealed.ctx 0x81000001
"#;

/// In the background, at the state that is there.
const START_IN_BACKGROUND: &str =
    "/vtpm swtpm chardev --tpm2 --tpmstate dir=state --vtpm-proxy --daemon --pid file=pid";

/// Ends it, and waits until the device has gone with it.
const END: &str = "
kill $(cat pid)
while grep -q 'State:.[^Z]' /proc/$(cat pid)/status || [ -e /dev/DEVICE ]; do sleep 0.1; done
";

/// The number of the device in `New TPM device: /dev/tpm1 (major/minor = 253/1)`, the words of which callers pick the last pair out.
fn device(printed: &str) -> u32 {
    let words: Vec<&str> = printed.trim_end().split(' ').collect();
    let ["New", "TPM", "device:", path, "(major/minor", "=", numbers] = words.as_slice() else {
        panic!("printed {printed:?}");
    };
    let number = path.strip_prefix("/dev/tpm").expect("a TPM device");
    let (major, minor) = numbers
        .strip_suffix(')')
        .and_then(|numbers| numbers.split_once('/'))
        .expect("two numbers");
    assert!(major.parse::<u32>().is_ok_and(|major| major > 0));
    assert!(minor.parse::<u32>().is_ok());
    number.parse().expect("a number")
}

#[test]
fn the_kernels_proxy_gives_a_device_of_its_own() {
    if only_for_vtpm("it would have to be in the guest") {
        return;
    }
    let Some(module) = proxy_module() else {
        eprintln!("skipped: the package of this kernel has no module tpm_vtpm_proxy");
        return;
    };
    let _turn = turn();
    let (state, place, files) = (folder(), folder(), folder());
    // What a debugger would need is most of it.
    let binary = files.path().join("vtpm");
    let mut strip = Command::new(program("strip"));
    strip.arg("-o").arg(&binary).arg(Path::new(VTPM));
    finish("strip", strip.output().expect("strip starts"));
    let emulator = Emulator::start(state.path(), place.path());
    let mut guest = Machine::new(emulator.control(), place.path())
        .files(vec![module, binary])
        .boot();

    let number = device(&guest.run(START));
    assert_ne!(number, 0, "the machine's own TPM is the first");
    let use_it = format!(
        "while [ ! -c /dev/tpmrm{number} ]; do sleep 0.1; done
         export TPM2TOOLS_TCTI=device:/dev/tpmrm{number}\n"
    );
    let end = END.replace("DEVICE", &format!("tpm{number}"));
    assert_eq!(
        guest.run(&format!(
            "{use_it} cat /sys/class/tpm/tpm{number}/tpm_version_major"
        )),
        "2\n"
    );
    guest.run(&format!("{use_it} {SEAL}"));
    // It is another TPM than the machine's.
    guest.refused("tpm2 readpublic -c 0x81000001");
    guest.run(&end);

    let printed = guest.run(START_IN_BACKGROUND);
    assert_eq!(device(&printed), number, "the number is free again");
    assert_eq!(
        guest.run(&format!("{use_it} tpm2 unseal -c 0x81000001")),
        "disk key\n"
    );
    guest.run(&end);
    guest.quit();
    emulator.wait();
}
