//! A guest that is saved at work and moves as it runs, with a TPM whose state is encrypted.

use std::fs;

use crate::qemu::{Emulator, Guest, Machine};
use crate::support::raw::create_long_key;
use crate::support::{folder, only_for_vtpm, wait_for};
use crate::{OPEN, TELL, filled, turn};

/// Lets the guest's kernel send a command, and the shell go on meanwhile.
fn send(command: &str) -> String {
    format!(
        "echo {command} | xxd -r -p > command
         rm -f answered response
         (
             exec 5<>/dev/tpm0
             dd if=command bs=8192 >&5
             dd bs=8192 <&5 > response
             exec 5>&-
             touch answered
         ) > /dev/null 2>&1 &"
    )
}

/// Waits for the answer, which has to be a success, tells it, and takes away what it made.
const ANSWER: &str = r#"
while [ ! -e answered ]; do sleep 0.1; done
[ "$(head -c 10 response | tail -c 4 | xxd -p)" = 00000000 ]
sha256sum response
TPM2TOOLS_TCTI=device:/dev/tpm0 tpm2 flushcontext -t
"#;

/// Saves the machine while its TPM makes a key, and gives what the guest saw of that.
fn save_at_work(guest: &mut Guest) -> String {
    for unique in 0..=u8::MAX {
        guest.run(&send(&hex::encode(create_long_key(unique))));
        wait_for("the command to be at work, or to be over", || {
            (guest.tpm_works() || guest.run("ls").contains("answered")).then_some(())
        });
        // The guest can send nothing now; what is at work was so before, and is saved so.
        guest.monitor("stop", serde_json::json!({}));
        if guest.tpm_works() {
            guest.save("at-work");
            return guest.run(ANSWER);
        }
        guest.monitor("cont", serde_json::json!({}));
        guest.run(ANSWER);
    }
    panic!("every key was found at once");
}

/// Uses the TPM until it is told to stop. The kernel has patience with the one command that this takes.
const BUSY: &str = r"
pcr=/sys/class/tpm/tpm0/pcr-sha256/16
cat $pcr > first
(
    while [ ! -e stop ]; do
        cat $pcr > reading 2> errors || cp errors failed
        cmp first reading 2> errors || cp errors failed
        echo >> rounds
    done
    touch stopped
) > /dev/null 2>&1 &
while [ ! -s rounds ]; do sleep 0.1; done
";

const STOP: &str = "
touch stop
while [ ! -e stopped ]; do sleep 0.1; done
[ ! -e failed ] || { cat failed >&2; exit 1; }
";

#[test]
fn an_encrypted_tpm_is_saved_at_work_and_moves_with_its_running_guest_to_the_right_keys_alone() {
    if only_for_vtpm("that of Debian 12 has no --migration") {
        return;
    }
    let _turn = turn();
    let (state, place, other_place) = (folder(), folder(), folder());
    let key = |name: &str| {
        let file = place.path().join(name);
        fs::write(&file, format!("passphrase of {name}")).expect("written");
        format!("pwdfile={},mode=aes-256-cbc", file.display())
    };
    let (right, migration, wrong) = (key("right"), key("migration"), key("wrong"));
    let options = |key, migration_key, moves| {
        [
            "--key",
            key,
            "--migration-key",
            migration_key,
            "--migration",
            moves,
        ]
    };
    let outgoing = "release-lock-outgoing";
    let incoming = "release-lock-outgoing,incoming";
    let emulator = Emulator::start_with(
        state.path(),
        place.path(),
        &options(&right, &migration, outgoing),
    );
    let mut guest = Machine::new(emulator.control(), place.path()).boot();

    // A second QEMU at the same socket gets nothing, and takes nothing from the first.
    let said = Machine::new(emulator.control(), other_place.path()).refused();
    assert!(said.contains("tpm-emulator"), "{said}");
    let why = emulator.log();
    assert!(why.contains("that of another machine"), "{why}");

    guest.add_snapshot_disk(&place.path().join("disk.qcow2"));
    let made = save_at_work(&mut guest);
    guest.load("at-work");
    assert_eq!(guest.run(ANSWER), made, "the command ends once more");

    let told = filled(&mut guest);
    guest.run(BUSY);
    for (key, migration_key) in [(&right, &wrong), (&wrong, &migration)] {
        let other_place = folder();
        let socket = other_place.path().join("arrival");
        let options = options(key, migration_key, incoming);
        let emulator = Emulator::start_with(state.path(), other_place.path(), &options);
        let other = Machine::new(emulator.control(), other_place.path())
            .arriving(&socket)
            .start();
        guest.move_in_vain(&socket);
        let said = other.ends_refusing();
        assert!(said.contains("tpm-emulator"), "{said}");
        assert!(emulator.log().contains("key"), "{}", emulator.log());
        emulator.wait();
    }
    let socket = other_place.path().join("arrival");
    let emulator_there = Emulator::start_with(
        state.path(),
        other_place.path(),
        &options(&right, &migration, incoming),
    );
    let mut other = Machine::new(emulator_there.control(), other_place.path())
        .arriving(&socket)
        .start();
    guest.move_to(&socket);
    other.wait_until_arrived();
    guest.quit();
    emulator.wait();
    other.run(STOP);
    assert_eq!(other.run(TELL), told);
    other.run(OPEN);
    other.quit();
    emulator_there.wait();
}
