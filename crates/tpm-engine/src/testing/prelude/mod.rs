//! How a TPM comes into use before a generated sequence: keys, NV Indices and sessions of every type, and every command that
//! can succeed has succeeded once.

mod journeys;
mod keys;
mod values;

use super::sequence::{Known, Runner};
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmsSchemeHash, TpmtSymDef, TpmtSymDefObject,
};
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::TpmHandle;

pub(super) use keys::{AGREES as KEY_FOR_PHASES, APPROVER, ECDAA, SIGNER};

const SHA256: TpmsSchemeHash = TpmsSchemeHash {
    hash_alg: TpmiAlgHash::Sha256,
};
const AES: TpmtSymDefObject = TpmtSymDefObject {
    algorithm: TpmiAlgSymObject::Aes,
    key_bits: 128,
    mode: Some(TpmiAlgSymMode::Cfb),
};

/// How generated sessions encrypt.
pub(super) const SYMMETRIC: [Option<TpmtSymDef>; 4] = [
    Some(TpmtSymDef::Block(AES)),
    Some(TpmtSymDef::Xor(TpmiAlgHash::Sha256)),
    Some(TpmtSymDef::Block(TpmtSymDefObject {
        key_bits: 256,
        ..AES
    })),
    None,
];

/// The keys that the salts of generated sessions are sent to.
pub(super) const SALT_KEYS: [TpmHandle; 4] =
    [TpmHandle::NULL, TpmHandle::NULL, keys::PARENT, keys::RSA];

fn known(known: &mut Known) {
    for (class, values) in values::VALUES {
        for value in *values {
            known.pool.add(class, value.to_vec());
        }
    }
    for handle in values::HANDLES {
        known.pool.add_handle(TpmHandle(*handle));
    }
}

/// Brings the TPM into use.
pub(super) fn run(runner: &mut Runner) {
    known(&mut runner.known);
    keys::approver(runner);
    let policy = runner.make_policy();
    let made = keys::make(runner, &policy);
    keys::indices(runner, &policy);
    journeys::platform(runner);
    let session = runner.policy_session();
    journeys::sessions(runner);
    journeys::policies(runner, session);
    journeys::credentials(runner, &made);
    journeys::duplicates(runner, &policy);
    journeys::signatures(runner);
    journeys::encryption(runner);
    journeys::attestation(runner, &made);
    journeys::memory(runner, &policy);
    journeys::sequences(runner);
    // Sessions that stay for the commands to come.
    let null = TpmHandle::NULL;
    for (symmetric, key, bind) in [
        (SYMMETRIC[0], null, null),
        (SYMMETRIC[1], keys::PARENT, keys::SECRET),
        (SYMMETRIC[2], keys::RSA, null),
        (SYMMETRIC[3], null, TpmHandle::OWNER),
    ] {
        runner.start_session(TpmSe::Hmac, symmetric, key, bind);
    }
}
