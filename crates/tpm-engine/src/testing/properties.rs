//! What holds for any sequence of commands.

extern crate std;

use super::{Answers, Sequences};
use crate::profile::Profile;
use alloc::vec;
use alloc::vec::Vec;
use std::sync::LazyLock;
use tpm_crypto::drbg::Drbg;
use tpm_wire::commands::{
    AcGetCapability, AcSend, COMMANDS, Certify, CertifyCreation, CertifyX509, ClearControl,
    CreateLoaded, EccDecrypt, EccEncrypt, GetCommandAuditDigest, GetSessionAuditDigest, GetTime,
    NvCertify, NvWrite, PcrSetAuthValue, PolicyAuthorizeNv, PolicyCounterTimer,
    PolicyTransportSpdm, Quote, SetCapability, Sign,
};
use tpm_wire::rc::Rc;
use tpm_wire::table::{Command, find};

/// Refusals that could say where, and do not in the reference code either.
const WITHOUT_POSITION: [(u32, Rc); 11] = [
    (ClearControl::INFO.code, Rc::AUTH_FAIL),
    (CreateLoaded::INFO.code, Rc::ATTRIBUTES),
    (EccDecrypt::INFO.code, Rc::SCHEME),
    (EccDecrypt::INFO.code, Rc::VALUE),
    (EccEncrypt::INFO.code, Rc::SCHEME),
    (NvWrite::INFO.code, Rc::ATTRIBUTES),
    (PcrSetAuthValue::INFO.code, Rc::VALUE),
    (PolicyAuthorizeNv::INFO.code, Rc::HASH),
    (PolicyAuthorizeNv::INFO.code, Rc::VALUE),
    (PolicyCounterTimer::INFO.code, Rc::RANGE),
    (PolicyTransportSpdm::INFO.code, Rc::VALUE),
];

/// Commands that give a signature.
const SIGNING: [u32; 9] = [
    Certify::INFO.code,
    CertifyCreation::INFO.code,
    CertifyX509::INFO.code,
    GetCommandAuditDigest::INFO.code,
    GetSessionAuditDigest::INFO.code,
    GetTime::INFO.code,
    NvCertify::INFO.code,
    Quote::INFO.code,
    Sign::INFO.code,
];

/// Commands that never succeed: nothing is attached to this TPM, and nothing that it reports can be set.
const NEVER: [u32; 3] = [
    AcGetCapability::INFO.code,
    AcSend::INFO.code,
    SetCapability::INFO.code,
];

static DEFAULT: LazyLock<Sequences> = LazyLock::new(Sequences::new);

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    Drbg::new(&seed.to_be_bytes(), &[b"random commands"]).fill(&mut data);
    data
}

fn succeeded(answers: &Answers) -> Vec<u32> {
    let successes = answers.keys().filter(|(_, rc)| *rc == Rc::SUCCESS);
    successes.map(|(code, _)| *code).collect()
}

#[test]
fn sequences_start_from_a_tpm_on_which_commands_have_succeeded() {
    let done = succeeded(DEFAULT.start());
    let leaving = super::generate::LEAVING_LITTLE;
    let missing: Vec<&str> = COMMANDS
        .iter()
        .filter(|info| !done.contains(&info.code) && !NEVER.contains(&info.code))
        .filter(|info| !leaving.contains(&info.code))
        .map(|info| info.name)
        .collect();
    assert!(missing.is_empty(), "{missing:?} have not");
}

#[test]
fn random_commands_keep_the_rules_and_refusals_say_where() {
    let mut answers = Answers::new();
    for seed in 0..SEQUENCES {
        for (answer, times) in DEFAULT.execute(&bytes(seed, 1000)) {
            *answers.entry(answer).or_default() += times;
        }
    }
    let unplaced: Vec<(&str, Rc)> = answers
        .keys()
        .filter(|(_, rc)| rc.is_format_one() && rc.place().is_none())
        // The size of the command, or of its authorization area, is about no field; neither is the security version of the firmware.
        .filter(|(_, rc)| !matches!(*rc, Rc::SIZE | Rc::INSUFFICIENT | Rc::SVN_LIMITED))
        // A commitment that is not there is found by the signature, the last thing that the command makes.
        .filter(|(code, rc)| *rc != Rc::VALUE || !SIGNING.contains(code))
        .filter(|answer| !WITHOUT_POSITION.contains(answer))
        .map(|(code, rc)| (find(*code).unwrap().name, *rc))
        .collect();
    assert!(unplaced.is_empty(), "without a position: {unplaced:?}");
    let done = succeeded(&answers).len();
    assert!(done >= 110, "only {done} commands succeeded");
}

/// Save, load and save again give the same bytes, and the same bytes from the same state the same answer, after every command.
#[test]
fn state_and_answers_are_one_after_every_command_in_every_profile() {
    for name in Profile::NAMES {
        let profile = Profile::by_name(name).unwrap();
        let other;
        let sequences = if name == "default" {
            &*DEFAULT
        } else {
            other = Sequences::with_profile(profile);
            &other
        };
        let mut commands = 0;
        for seed in 0..THOROUGH_SEQUENCES {
            let answers = sequences.execute_thoroughly(&bytes(1000 + seed, 1000));
            commands += answers.values().sum::<u64>();
        }
        assert!(commands >= 200, "{name}: only {commands} commands");
    }
}

/// Sequences in a test run.
const SEQUENCES: u64 = 40;
/// Those with a check of the whole state after every command.
const THOROUGH_SEQUENCES: u64 = 4;
