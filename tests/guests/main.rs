//! Debian's kernel boots on the TPM in QEMU, under software emulation, and finds there what a machine's owner expects.
//!
//! `tests/guests/prepare` installs what this needs. With `VTPM_TESTS_AGAINST=swtpm` the same guests get Debian's swtpm.

#![cfg(test)]
#![cfg(target_arch = "x86_64")]

#[path = "../support/mod.rs"]
mod support;

mod daemon;
mod image;
mod measured;
mod moves;
mod proxy;
mod qemu;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use qemu::{Emulator, Firmware, Guest, Interface, Machine};
use support::{against_swtpm, folder, only_for_vtpm};

/// One guest at a time: each would take a processor for itself.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What people do with a TPM: a key that signs, a quote, a secret that opens while the PCR are what they were.
const WORK: &str = r#"
tpm2 createprimary -Q -C o -G ecc -c primary.ctx
tpm2 create -Q -C primary.ctx -G rsa -u key.pub -r key.priv
tpm2 load -Q -C primary.ctx -u key.pub -r key.priv -c key.ctx
echo message > message
tpm2 sign -Q -c key.ctx -g sha256 -o signature message
tpm2 verifysignature -Q -c key.ctx -g sha256 -m message -s signature
tpm2 createek -Q -G ecc -c ek.ctx
tpm2 createak -Q -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pem -f pem
tpm2 quote -Q -c ak.ctx -l sha256:0,4,7 -q c0ffee -m quoted -s quote.sig -o quote.pcrs
tpm2 checkquote -Q -u ak.pem -m quoted -s quote.sig -f quote.pcrs -q c0ffee
tpm2 createpolicy -Q --policy-pcr -l sha256:0,4,7,12 -L policy
echo "disk key" | tpm2 create -Q -C primary.ctx -i - -L policy -u sealed.pub -r sealed.priv
tpm2 load -Q -C primary.ctx -u sealed.pub -r sealed.priv -c sealed.ctx
[ "$(tpm2 unseal -c sealed.ctx -p pcr:sha256:0,4,7,12)" = "disk key" ]
"#;

/// Makes what must outlive the machine's power, and what must not.
const KEEP: &str = r#"
tpm2 evictcontrol -Q -C o -c sealed.ctx 0x81000001
tpm2 nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite' 0x1500001
printf 12345678 | tpm2 nvwrite -Q -C o -i - 0x1500001
tpm2 pcrextend 12:sha256=1111111111111111111111111111111111111111111111111111111111111111
! tpm2 unseal -c 0x81000001 -p pcr:sha256:0,4,7,12 2> /dev/null
"#;

/// What is there once the machine has started again.
const KEPT: &str = r#"
[ "$(tpm2 nvread -C o 0x1500001)" = 12345678 ]
[ "$(tpm2 unseal -c 0x81000001 -p pcr:sha256:0,4,7,12)" = "disk key" ]
"#;

const PCR_12: &str = "cat /sys/class/tpm/tpm0/pcr-sha256/12";

fn assert_found(guest: &mut Guest) {
    assert_eq!(
        guest.run("cat /sys/class/tpm/tpm0/tpm_version_major"),
        "2\n"
    );
    let boot = guest.run("cat /sys/class/tpm/tpm0/pcr-sha256/0");
    assert_ne!(boot, zeros(), "the firmware measures");
}

fn zeros() -> String {
    format!("{}\n", "0".repeat(64))
}

/// The counters of a TPM's starts: resets, and restarts since the last of these.
fn starts(guest: &mut Guest) -> (u32, u32) {
    let clock = guest.run("tpm2 readclock");
    let number = |name: &str| {
        clock
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .and_then(|rest| rest.trim_start_matches(':').trim().parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {clock}"))
    };
    (number("reset_count"), number("restart_count"))
}

#[test]
fn a_reset_and_a_power_cycle_keep_what_is_permanent_and_nothing_else() {
    let _turn = turn();
    let (state, place) = (folder(), folder());
    let emulator = Emulator::start(state.path(), place.path());
    let machine = Machine::new(emulator.control(), place.path());
    let mut guest = machine.boot();
    assert_found(&mut guest);
    guest.run(WORK);
    guest.run(KEEP);
    let first = starts(&mut guest);

    guest.reset();
    guest.run(KEPT);
    assert_eq!(guest.run(PCR_12), zeros());
    assert_eq!(guest.run("tpm2 getcap handles-transient"), "");
    let second = starts(&mut guest);
    assert!(second > first, "{first:?} before, {second:?} after");

    guest.power_down();
    emulator.wait();
    let emulator = Emulator::start(state.path(), place.path());
    let mut guest = Machine::new(emulator.control(), place.path()).boot();
    guest.run(KEPT);
    assert_eq!(guest.run(PCR_12), zeros());
    assert_eq!(
        starts(&mut guest),
        (second.0 + 1, 0),
        "the guest shut its TPM down, so this is a reset"
    );
    guest.quit();
    emulator.wait();
}

#[test]
fn a_guest_with_the_tis_interface_works_and_reboots() {
    let _turn = turn();
    let (state, place) = (folder(), folder());
    let emulator = Emulator::start(state.path(), place.path());
    let machine = Machine::new(emulator.control(), place.path()).interface(Interface::Tis);
    let mut guest = machine.boot();
    assert_found(&mut guest);
    guest.run(WORK);
    guest.run(KEEP);
    let first = starts(&mut guest);
    guest.reboot();
    guest.run(KEPT);
    assert_eq!(starts(&mut guest), (first.0 + 1, 0));
    guest.power_down();
    emulator.wait();
}

/// Fills a TPM that no resource manager stands before: two loaded objects, a loaded and a saved session, a PCR, an index.
const FILL: &str = r#"
export TPM2TOOLS_TCTI=device:/dev/tpm0
tpm2 pcrextend 16:sha256=2222222222222222222222222222222222222222222222222222222222222222
tpm2 createprimary -Q -C o -G ecc -c primary.ctx
tpm2 createpolicy -Q --policy-pcr -l sha256:16 -L policy
echo "disk key" | tpm2 create -Q -C 0x80000000 -i - -L policy -u sealed.pub -r sealed.priv
tpm2 load -Q -C 0x80000000 -u sealed.pub -r sealed.priv -c sealed.ctx
tpm2 startauthsession -Q -S session.ctx --policy-session
tpm2 policypcr -Q -S session.ctx -l sha256:16
echo 80010000002b000001764000000740000007001000112233445566778899aabbccddeeff0000000010000b |
    xxd -r -p | tpm2 send > started
[ "$(head -c 10 started | tail -c 4 | xxd -p)" = 00000000 ]
tpm2 nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite' 0x1500001
printf 12345678 | tpm2 nvwrite -Q -C o -i - 0x1500001
"#;

/// Tells all of that.
const TELL: &str = r#"
export TPM2TOOLS_TCTI=device:/dev/tpm0
for what in transient loaded-session saved-session nv-index persistent; do
    echo "$what" $(tpm2 getcap handles-$what)
done
for object in 0x80000000 0x80000001; do
    tpm2 readpublic -Q -c $object -n name
    xxd -p -c 64 name
done
cat /sys/class/tpm/tpm0/pcr-sha256/0 /sys/class/tpm/tpm0/pcr-sha256/16
tpm2 nvread -C o 0x1500001
tpm2 readclock | grep count
"#;

/// Makes all of that other than it was.
const SPOIL: &str = r#"
export TPM2TOOLS_TCTI=device:/dev/tpm0
tpm2 flushcontext -t
tpm2 flushcontext -l
tpm2 flushcontext -s
tpm2 pcrextend 16:sha256=3333333333333333333333333333333333333333333333333333333333333333
printf 87654321 | tpm2 nvwrite -Q -C o -i - 0x1500001
"#;

/// The session that was saved goes on, and with it the sealed object that is loaded opens.
const OPEN: &str = r#"
export TPM2TOOLS_TCTI=device:/dev/tpm0
[ "$(tpm2 unseal -c 0x80000001 -p session:session.ctx)" = "disk key" ]
"#;

const RANDOM: &str = "tpm2 getrandom --hex 16";

fn filled(guest: &mut Guest) -> String {
    assert_found(guest);
    guest.run(FILL);
    let told = guest.run(TELL);
    for wanted in [
        "transient - 0x80000000 - 0x80000001\n",
        "loaded-session - 0x",
        "saved-session - 0x",
        "nv-index - 0x1500001\n",
    ] {
        assert!(told.contains(wanted), "{wanted} in {told}");
    }
    told
}

/// A TPM that goes on from an older state must not give the random numbers once more that it gave then.
fn assert_other_random(before: &str, after: &str) {
    // swtpm saves the state of its generator, and repeats them.
    assert!(against_swtpm() || before != after, "{before} twice");
}

#[test]
fn snapshots_hold_loaded_objects_sessions_and_pcr() {
    let _turn = turn();
    let (state, place) = (folder(), folder());
    let disk = place.path().join("disk.qcow2");
    let emulator = Emulator::start(state.path(), place.path());
    let mut guest = Machine::new(emulator.control(), place.path()).boot();
    guest.add_snapshot_disk(&disk);
    let told = filled(&mut guest);
    guest.save("full");
    let random = guest.run(RANDOM);
    assert_eq!(guest.run(TELL), told, "saving changes nothing");
    guest.run(SPOIL);
    guest.refused(TELL);
    guest.save("spoiled");

    guest.load("full");
    assert_eq!(guest.run(TELL), told);
    assert_other_random(&random, &guest.run(RANDOM));
    guest.run(OPEN);
    guest.load("spoiled");
    guest.refused(TELL);
    guest.load("full");
    guest.run(OPEN);
    guest.quit();
    emulator.wait();

    // The same with the processes of another day.
    let emulator = Emulator::start(state.path(), place.path());
    let mut guest = Machine::new(emulator.control(), place.path()).boot();
    guest.add_snapshot_disk(&disk);
    guest.load("full");
    assert_eq!(guest.run(TELL), told);
    guest.run(OPEN);
    guest.quit();
    emulator.wait();
}

#[test]
fn a_migration_to_a_file_and_back_keeps_loaded_objects_sessions_and_pcr() {
    let _turn = turn();
    let (here, there, place) = (folder(), folder(), folder());
    let (out, back) = (place.path().join("out"), place.path().join("back"));
    let emulator = Emulator::start(here.path(), place.path());
    let mut guest = Machine::new(emulator.control(), place.path()).boot();
    let told = filled(&mut guest);
    guest.migrate_to(&out);
    guest.quit();
    emulator.wait();

    let arrive = |state: &Path, file: &Path| {
        let emulator = Emulator::start(state, place.path());
        let machine = Machine::new(emulator.control(), place.path()).incoming(file);
        let mut guest = machine.start();
        guest.wait_until_arrived();
        (emulator, guest)
    };
    // Another host: nothing of the TPM is there but what comes with the guest.
    let (emulator, mut guest) = arrive(there.path(), &out);
    assert_eq!(guest.run(TELL), told);
    let random = guest.run(RANDOM);
    guest.migrate_to(&back);
    guest.quit();
    emulator.wait();

    // The first host again, which still has an older state.
    let (emulator, mut guest) = arrive(here.path(), &back);
    assert_eq!(guest.run(TELL), told);
    guest.run(OPEN);
    assert_other_random(&random, &guest.run(RANDOM));
    guest.reset();
    assert_eq!(
        guest.run("tpm2 nvread -C o 0x1500001"),
        "12345678",
        "what came with the guest is stored here"
    );
    guest.quit();
    emulator.wait();

    // The file once more: a guest that was sent twice.
    let (emulator, mut guest) = arrive(there.path(), &back);
    assert_eq!(guest.run(TELL), told);
    assert_other_random(&random, &guest.run(RANDOM));
    guest.quit();
    emulator.wait();
}

#[test]
fn a_migration_on_shared_storage_hands_the_state_over_and_takes_it_back_when_it_fails() {
    if only_for_vtpm("that of Debian 12 has no --migration") {
        return;
    }
    const NUMBERS: [&str; 3] = ["first", "second", "third"];
    let write = |guest: &mut Guest, text: &str| {
        guest.run(&format!(
            "printf '%-8s' {text} | tpm2 nvwrite -Q -C o -i - 0x1500001"
        ));
    };
    let _turn = turn();
    let (state, place, other_place) = (folder(), folder(), folder());
    let file = place.path().join("out");
    let options = ["--migration", "release-lock-outgoing"];
    let emulator = Emulator::start_with(state.path(), place.path(), &options);
    let mut guest = Machine::new(emulator.control(), place.path()).boot();
    filled(&mut guest);
    guest.migrate_in_vain();
    write(&mut guest, NUMBERS[0]);
    let told = guest.run(TELL);
    assert!(told.contains(NUMBERS[0]), "{told}");

    // The source's emulator still runs when the other one opens the same state.
    let options = ["--migration", "incoming,release-lock-outgoing"];
    let other_emulator = Emulator::start_with(state.path(), other_place.path(), &options);
    let machine = Machine::new(other_emulator.control(), other_place.path()).incoming(&file);
    guest.migrate_to(&file);
    let mut other = machine.start();
    other.wait_until_arrived();
    assert_eq!(other.run(TELL), told);
    write(&mut other, NUMBERS[1]);
    guest.quit();
    emulator.wait();
    write(&mut other, NUMBERS[2]);
    other.run(OPEN);
    other.quit();
    other_emulator.wait();

    // What the source left behind has not overwritten it.
    let emulator = Emulator::start(state.path(), place.path());
    let mut guest = Machine::new(emulator.control(), place.path()).boot();
    let kept = guest.run("tpm2 nvread -C o 0x1500001");
    assert_eq!(kept.trim_end(), NUMBERS[2]);
    guest.quit();
    emulator.wait();
}

#[test]
fn the_event_log_of_ovmf_replays_to_the_pcr() {
    let _turn = turn();
    for interface in [Interface::Crb, Interface::Tis] {
        let (state, place) = (folder(), folder());
        let emulator = Emulator::start(state.path(), place.path());
        let mut guest = Machine::new(emulator.control(), place.path())
            .firmware(Firmware::Ovmf)
            .interface(interface)
            .boot();
        assert_found(&mut guest);
        let log = guest.run("tpm2 eventlog /sys/kernel/security/tpm0/binary_bios_measurements");
        let replayed = replayed(&log);
        for bank in ["sha1", "sha256", "sha384", "sha512"] {
            let pcrs = replayed
                .get(bank)
                .unwrap_or_else(|| panic!("{interface:?}: no {bank} in {log}"));
            // Firmware, its settings, option ROMs, boot manager, boot variables, secure boot: each has its PCR.
            assert!(
                pcrs.keys()
                    .copied()
                    .eq(pcrs.keys().copied().filter(|pcr| *pcr < 16))
            );
            for needed in 0..8 {
                assert!(
                    pcrs.contains_key(&needed),
                    "PCR {needed} of {bank} in {log}"
                );
            }
            for (pcr, value) in pcrs {
                let real = guest.run(&format!("cat /sys/class/tpm/tpm0/pcr-{bank}/{pcr}"));
                assert_eq!(
                    real.trim().to_lowercase(),
                    *value,
                    "{interface:?}: PCR {pcr} of {bank}"
                );
            }
        }
        guest.quit();
        emulator.wait();
    }
}

/// What tpm2_eventlog says that the PCR must be: its text ends with the banks and their values.
fn replayed(log: &str) -> BTreeMap<String, BTreeMap<u32, String>> {
    let mut banks: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
    let (_, tail) = log
        .split_once("\npcrs:\n")
        .unwrap_or_else(|| panic!("no values in {log}"));
    let mut bank = String::new();
    for line in tail.lines() {
        let (name, value) = line.trim().split_once(':').expect("a name and a value");
        match value.trim().strip_prefix("0x") {
            None => bank = name.to_owned(),
            Some(value) => {
                let pcr = name.trim().parse().expect("the number of a PCR");
                let values = banks.entry(bank.clone()).or_default();
                values.insert(pcr, value.to_owned());
            }
        }
    }
    banks
}
