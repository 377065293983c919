//! Sessions as a client sees them: every HMAC, nonce and mask here is computed by the client of [`client`].

mod audit;
mod client;
mod dictionary_attack;
mod encryption;
mod hmac;
mod journeys;
mod password;
mod policy;

use crate::algorithms::small;
use crate::testing::{TestTpm, started};
use tpm_wire::buffers::{Tpm2bDigest, Tpm2bNonce};
use tpm_wire::commands::PolicySecret;
use tpm_wire::handles::{TpmHandle, TpmiDhEntity};

/// The owner's authorization value in these tests.
const OWNER_AUTH: &[u8] = b"owner's secret";

/// A TPM whose owner has an authorization value.
fn owned() -> TestTpm {
    let mut tpm = started();
    tpm.hierarchies.owner.auth = small(OWNER_AUTH);
    tpm
}

/// A command that any entity can authorize, with a sized buffer in front of its parameters and of its answer's.
fn secret(tpm: &mut TestTpm, entity: TpmHandle) -> PolicySecret {
    let policy_session = crate::commands::policy::build::policy(tpm);
    PolicySecret {
        auth_handle: TpmiDhEntity(entity),
        policy_session,
        nonce_tpm: Tpm2bNonce::EMPTY,
        cp_hash_a: Tpm2bDigest::EMPTY,
        policy_ref: small(b"reference"),
        expiration: -100,
    }
}
