//! What happens, and how it is told to somebody who has never seen a TPM.

use std::path::Path;

use tpm_attest::event_log::{EventLog, EventType};
use tpm_attest::verify::{Enrolled, Evidence, Policy, Rule, Verdict};
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::rc::Rc;

use super::Teller;
use super::machine::{Hosts, Machine};
use super::pictures::Measured;
use super::secret::Sealed;
use super::verifier::{Verifier, activate, answer};
use crate::cli::attest::files;
use crate::cli::boot::measure;
use crate::cli::boot::profile::{BootProfile, Kernel};

/// What is said before the story begins.
pub(super) const PREFACE: &str = "\
A TPM is a small vault that every one of these virtual machines (VM) has. It does three things here:
  - It has an identity: a key that never leaves it, and a certificate for that key.
  - It remembers what was started: before a program runs, its fingerprint is mixed into one of the vault's registers (called PCR). A
    register can be mixed into, but never set: nobody can make it forget.
  - It signs what the registers hold (a quote), in answer to a question that was never asked before.
A verifier, somewhere else, asks and judges. It believes nothing that a machine says, only what its TPM can prove. Seven of the steps
below must end with REFUSED: each is an attack, or a mix-up, and the verifier has to notice it.";

/// What is said when the story has ended.
pub(super) const MORAL: &str = "\
What this showed:
  - A machine can prove over any wire which one it is and what it has started, and an old answer proves nothing.
  - A copied TPM is the same identity twice: that works until both are alive, and then it is noticed. A replaced one is a new identity.
  - Another kernel is another value in a register: the verifier sees which event changed, and the TPM keeps the machine's secrets shut.
  - The file that a TPM lives in can be neither altered nor put back unnoticed.";

const KERNEL: Kernel<'_> = Kernel {
    name: "/vmlinuz",
    bytes: b"the kernel that the vendor has signed",
};
const TAMPERED: Kernel<'_> = Kernel {
    name: "/vmlinuz",
    bytes: b"the kernel that the vendor has signed, and a back door",
};
const SECRET: &[u8] = b"the key of the encrypted disk";

/// What is worth keeping of the story.
pub(super) struct Papers {
    evidence: Evidence,
    log: EventLog,
    policy: Policy,
    record: Enrolled,
}

impl Papers {
    /// Writes them as `vtpm attest verify` reads them.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut evidence = self.evidence.clone();
        evidence.endorsement = Some(self.record.endorsement.clone());
        files::write(&folder.join("evidence.json"), &evidence.to_json())?;
        files::write(&folder.join("policy.json"), &self.policy.to_json())?;
        files::write(&folder.join("enrolled.json"), &self.record.to_json())?;
        Ok(std::fs::write(
            folder.join("boot.eventlog"),
            self.log.to_bytes(),
        )?)
    }
}

/// Tells the story.
pub(super) fn tell(teller: &mut Teller, profile: BootProfile) -> anyhow::Result<Papers> {
    let hosts = Hosts::new()?;
    let mut verifier = Verifier::new()?;

    let (mut web01, log) = beginning(teller, &hosts, &verifier, profile)?;
    let mut record = enrol(
        teller,
        &mut verifier,
        &mut web01,
        "The verifier learns whom it deals with",
    )?;
    let fresh_record = record.clone();
    let (policy, evidence) = first_quote(teller, &mut verifier, &mut web01, &log, &mut record)?;
    replay(teller, &mut verifier, &evidence, &mut record, &policy)?;
    copy(
        teller,
        &hosts,
        &mut verifier,
        &mut web01,
        &log,
        &mut record,
        &policy,
        profile,
    )?;
    let (web02, mut record) =
        replacement(teller, &hosts, &mut verifier, &mut record, &policy, profile)?;
    let web02 = tampered_kernel(
        teller,
        &hosts,
        &mut verifier,
        web02,
        &mut record,
        &policy,
        profile,
    )?;
    files_tampered(teller, &hosts, web02)?;
    Ok(Papers {
        evidence,
        log,
        policy,
        record: fresh_record,
    })
}

fn beginning(
    teller: &mut Teller,
    hosts: &Hosts,
    verifier: &Verifier,
    profile: BootProfile,
) -> anyhow::Result<(Machine, EventLog)> {
    hosts.create("web01")?;
    let mut web01 = hosts.start("web01", None)?;
    verifier.certify(&mut web01)?;
    let log = measure(&mut web01.client(), profile, KERNEL)?;
    teller.pictures.chain = verifier.chain(&mut web01)?;
    teller.pictures.golden = Measured::new(&log)?;
    let bank = log.replay(TpmiAlgHash::Sha256)?;
    let mut told = vec![
        "A VM 'web01' is made, and a TPM with it. The TPM lives in a file, which is encrypted with a key that 'demo-keys' holds.".to_owned(),
        "Whoever runs the VMs certifies the TPM's identity, each name vouching for the next:".to_owned(),
        "  demo root authority -> demo vCenter authority -> endorsement key of web01".to_owned(),
        format!("The VM boots: {} events are measured and written into its event log, for example", log.events.len()),
    ];
    let interesting = log.events.iter().filter(|event| {
        matches!(event.kind, EventType::EFI_BOOT_SERVICES_APPLICATION)
            || event.detail().to_string().contains("SecureBoot")
            || event.detail().to_string() == KERNEL.name
    });
    for event in interesting {
        told.push(format!(
            "  event {:2} -> PCR {}: {}",
            event.number,
            event.pcr,
            event.detail()
        ));
    }
    told.push("Afterwards the registers hold".to_owned());
    for pcr in [0, 4, 7] {
        if let Some(value) = bank.get(pcr) {
            told.push(format!("  PCR {pcr}: {}", hex::encode(value)));
        }
    }
    teller.done("A virtual machine is made, and boots", told, true, true)?;
    Ok((web01, log))
}

/// Enrols a machine.
fn enrol(
    teller: &mut Teller,
    verifier: &mut Verifier,
    machine: &mut Machine,
    title: &'static str,
) -> anyhow::Result<Enrolled> {
    let mut verdict = Verdict::default();
    let mut record = None;
    if let Some(challenge) = verifier.challenge(&mut verdict, machine)? {
        match activate(machine, &challenge) {
            Ok(secret) => record = verifier.finish(&mut verdict, &challenge, &secret),
            Err(error) => verdict.fail(Rule::KeyEnrolled, error.to_string()),
        }
    }
    let told = vec![
        format!("'{}' shows two keys: its certified endorsement key, which cannot sign, and a signing key.", machine.name),
        "The verifier encrypts a secret so that only a TPM that has both keys can read it, and is told the secret: so it has both.".to_owned(),
        "From now on it knows: what this signing key signs comes from this very TPM.".to_owned(),
    ];
    teller.judged(title, told, true, verdict)?;
    record.ok_or_else(|| anyhow::anyhow!("the TPM of '{}' could not be enrolled", machine.name))
}

fn first_quote(
    teller: &mut Teller,
    verifier: &mut Verifier,
    machine: &mut Machine,
    log: &EventLog,
    record: &mut Enrolled,
) -> anyhow::Result<(Policy, Evidence)> {
    let question = verifier.ask()?;
    let evidence = answer(machine, log, &question)?;
    let pcrs = evidence.pcr_values().map_err(anyhow::Error::msg)?;
    let policy = Policy::golden("as web01 was when it was new", &pcrs, Some(log));
    let verdict = verifier.judge(&evidence, record, Some(&policy));
    let told = vec![
        format!("The verifier asks: {}...", hex::encode(question.get(..8).unwrap_or_default())),
        "The TPM signs the question together with its registers. The machine adds its event log, the list of what it started;".to_owned(),
        "mixed together once more, that list gives the very same registers, so it is true.".to_owned(),
        "The machine is new and in order: what it measured is written down as golden, the way it has to be from now on.".to_owned(),
    ];
    teller.judged(
        "A fresh quote: the machine is what it should be",
        told,
        true,
        verdict,
    )?;
    Ok((policy, evidence))
}

fn replay(
    teller: &mut Teller,
    verifier: &mut Verifier,
    evidence: &Evidence,
    record: &mut Enrolled,
    policy: &Policy,
) -> anyhow::Result<()> {
    let verdict = verifier.judge(evidence, record, Some(policy));
    let told = vec![
        "Somebody recorded that answer and sends it once more. Every signature in it is genuine."
            .to_owned(),
        "But each question is good for one answer only.".to_owned(),
    ];
    teller.judged("An old answer is sent again", told, false, verdict)
}

#[expect(
    clippy::too_many_arguments,
    reason = "a step of the story needs all that came before"
)]
fn copy(
    teller: &mut Teller,
    hosts: &Hosts,
    verifier: &mut Verifier,
    web01: &mut Machine,
    log: &EventLog,
    record: &mut Enrolled,
    policy: &Policy,
    profile: BootProfile,
) -> anyhow::Result<()> {
    hosts.copy(web01, "web01-copy")?;
    let mut twin = hosts.start("web01-copy", None)?;
    let twin_log = measure(&mut twin.client(), profile, KERNEL)?;
    let question = verifier.ask()?;
    let evidence = answer(&mut twin, &twin_log, &question)?;
    let verdict = verifier.judge(&evidence, record, Some(policy));
    let told = vec![
        "web01 is cloned to 'web01-copy', and its TPM is copied with it: same identity, same keys, same secrets."
            .to_owned(),
        "The copy answers as if it were web01, and nothing in this one answer can tell.".to_owned(),
        format!(
            "Only the TPM's own count of resets went on: {}. But so it would after a restart.",
            resets(record)
        ),
    ];
    teller.judged("A copy passes for the original", told, true, verdict)?;

    let question = verifier.ask()?;
    let evidence = answer(web01, log, &question)?;
    let verdict = verifier.judge(&evidence, record, Some(policy));
    let told = vec![
        "Now the original answers again. It was not restarted, so its count of resets is the lower one.".to_owned(),
        "A TPM never counts backwards: there must be two. The clone alarm rings and names the twin.".to_owned(),
    ];
    let twin_is_named = record
        .history
        .alarm
        .as_ref()
        .is_some_and(|alarm| alarm.twin.source == "web01-copy");
    let held = twin_is_named && !verdict.is_trusted();
    teller.pictures.draw_twins(record);
    let title = "The clone alarm: two machines live under one identity";
    teller.step(title, told, false, held, Some(verdict))?;
    twin.stop()?;
    Ok(())
}

fn resets(record: &Enrolled) -> String {
    let counts: Vec<String> = record
        .history
        .sightings
        .iter()
        .map(|sighting| format!("{} at {}", sighting.reset_count, sighting.source))
        .collect();
    counts.join(", ")
}

fn replacement(
    teller: &mut Teller,
    hosts: &Hosts,
    verifier: &mut Verifier,
    old: &mut Enrolled,
    policy: &Policy,
    profile: BootProfile,
) -> anyhow::Result<(Machine, Enrolled)> {
    hosts.create("web02")?;
    let mut web02 = hosts.start("web02", None)?;
    verifier.certify(&mut web02)?;
    let log = measure(&mut web02.client(), profile, KERNEL)?;
    let question = verifier.ask()?;
    let evidence = answer(&mut web02, &log, &question)?;
    // The record as it was before the alarm: the alarm alone would refuse, and this is about keys.
    let mut before = old.clone();
    before.history = Default::default();
    let verdict = verifier.judge(&evidence, &mut before, Some(policy));
    let told = vec![
        "web01 is cloned once more, as 'web02', and this time the TPM is replaced: new identity, new keys, no old secret.".to_owned(),
        "It runs the same programs, but it is somebody else. As web01, it is refused.".to_owned(),
    ];
    teller.judged("A replacement is somebody else", told, false, verdict)?;

    let title = "The replacement is enrolled anew";
    let mut record = enrol(teller, verifier, &mut web02, title)?;
    let question = verifier.ask()?;
    let evidence = answer(&mut web02, &log, &question)?;
    let verdict = verifier.judge(&evidence, &mut record, Some(policy));
    let told = vec!["Under its own identity, web02 is trusted: it runs what it should.".to_owned()];
    teller.judged("Under a new identity, it is trusted", told, true, verdict)?;
    Ok((web02, record))
}

fn tampered_kernel(
    teller: &mut Teller,
    hosts: &Hosts,
    verifier: &mut Verifier,
    mut web02: Machine,
    record: &mut Enrolled,
    policy: &Policy,
    profile: BootProfile,
) -> anyhow::Result<Machine> {
    let sealed = Sealed::new(&mut web02.client(), SECRET)?;
    let opened = sealed
        .open(&mut web02.client())
        .is_ok_and(|secret| secret == SECRET);
    let told = vec![
        "web02 seals the key of its disk: it locks it into the TPM, which gives it out only while PCR 4, 7, 9 and 11 are as now.".to_owned(),
        "Asked now, the TPM gives it out.".to_owned(),
    ];
    teller.done(
        "A secret is sealed to a machine that is in order",
        told,
        true,
        opened,
    )?;

    let generation = web02.stop()?;
    let mut web02 = hosts.start("web02", Some(generation))?;
    let log = measure(&mut web02.client(), profile, TAMPERED)?;
    teller.pictures.tampered = Measured::new(&log)?;
    let question = verifier.ask()?;
    let evidence = answer(&mut web02, &log, &question)?;
    let verdict = verifier.judge(&evidence, record, Some(policy));
    let told = vec![
        "Overnight somebody puts a back door into the kernel of web02, and restarts it.".to_owned(),
        "The TPM signs truthfully what was started; the log shows which event is another one."
            .to_owned(),
    ];
    teller.judged("A tampered kernel is caught", told, false, verdict)?;

    let refused = match sealed.open(&mut web02.client()) {
        Err(tpm_attest::Error::Refused { code, .. }) => code.base() == Rc::POLICY_FAIL,
        _ => false,
    };
    let told = vec![
        "The tampered machine asks its TPM for the key of the disk.".to_owned(),
        "The registers are others now, and the TPM answers TPM_RC_POLICY_FAIL: the disk stays shut.".to_owned(),
    ];
    teller.done("The sealed secret refuses to open", told, false, refused)?;
    Ok(web02)
}

fn files_tampered(teller: &mut Teller, hosts: &Hosts, web02: Machine) -> anyhow::Result<()> {
    let yesterday = hosts.backup("web02")?;
    web02.stop()?;
    let web02 = hosts.start("web02", None)?;
    // What is written between here and the end is the newest state, in one place.
    let before = hosts.backup("web02")?;
    let generation = web02.stop()?;
    let today = hosts.backup("web02")?;
    let place = hosts.flip_a_byte("web02", &before)?;
    let refusal = hosts.open("web02", Some(generation)).err();
    let mut told = vec![
        "web02 is switched off. On the disk of the host, somebody changes one bit of its TPM's file.".to_owned(),
        format!("Byte {place} of web02.nvram; the VM is to be started:"),
    ];
    told.extend(refusal.as_ref().map(ToString::to_string));
    teller.done(
        "A changed byte in the TPM's file is noticed",
        told,
        false,
        refusal.is_some(),
    )?;

    today.restore()?;
    let works = hosts.open("web02", Some(generation)).is_ok();
    yesterday.restore()?;
    let refusal = hosts.open("web02", Some(generation)).err();
    let mut told = vec![
        "The byte is put right, and the VM is fine. Now somebody puts back yesterday's file, whole and genuine,".to_owned(),
        "to try a PIN once more, or to undo a revocation. The inventory knows which generation was the last:".to_owned(),
    ];
    told.extend(refusal.as_ref().map(ToString::to_string));
    teller.done(
        "Yesterday's file is refused",
        told,
        false,
        works && refusal.is_some(),
    )
}
