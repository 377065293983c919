//! Attestations: the structure that is common to all of them, and its signature (Part 1, 31; Part 3, 18.1).

use crate::algorithms::{hash, hash_algorithm, small};
use crate::hierarchy::{CONTEXT_HASH, Hierarchy};
use crate::signature::{can_sign, is_anonymous, select_scheme};
use crate::state::Tpm;
use tpm_crypto::kdf::kdfa;
use tpm_wire::algorithm::{TpmiAlgHash, TpmtSigScheme, TpmtSignature};
use tpm_wire::attest::{TpmsAttest, TpmuAttest};
use tpm_wire::buffers::{Tpm2bAttest, Tpm2bData, Tpm2bName};
use tpm_wire::codec::Marshal;
use tpm_wire::handles::{TpmHandle, TpmiDhObject};
use tpm_wire::rc::{Position, Rc};

/// Who signs an attestation, and how: a loaded key with its scheme, or nobody.
#[derive(Clone, Debug)]
pub(crate) struct Signer(Option<(TpmHandle, TpmtSigScheme)>);

impl Signer {
    /// Whether a key signs.
    pub(crate) const fn is_key(&self) -> bool {
        self.0.is_some()
    }

    /// The scheme of the key.
    pub(crate) fn scheme(&self) -> Option<&TpmtSigScheme> {
        self.0.as_ref().map(|(_, scheme)| scheme)
    }

    /// The hash of the scheme.
    pub(crate) fn hash_alg(&self) -> Option<TpmiAlgHash> {
        self.scheme().map(TpmtSigScheme::hash_alg)
    }

    /// Whether the signature must not tell the key.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.scheme().is_some_and(is_anonymous)
    }
}

impl Tpm {
    /// The checks of the signing key that every attestation begins with. Without a key nothing is signed, whatever scheme is given.
    ///
    /// # Errors
    /// `TPM_RC_KEY` at `handle_position` if the key cannot sign, `TPM_RC_SCHEME` at `scheme_position`.
    pub(crate) fn signer(
        &self,
        handle: Option<TpmiDhObject>,
        given: Option<TpmtSigScheme>,
        handle_position: Position,
        scheme_position: Position,
    ) -> Result<Signer, Rc> {
        let Some(TpmiDhObject(handle)) = handle else {
            return Ok(Signer(None));
        };
        let key = self
            .objects
            .find(handle)
            .filter(|key| can_sign(key))
            .ok_or(Rc::KEY.at(handle_position))?;
        let scheme = select_scheme(key, given).map_err(|rc| rc.at(scheme_position))?;
        Ok(Signer(Some((handle, scheme))))
    }

    /// Makes an attestation and signs it.
    ///
    /// # Errors
    /// Those of [`sign_digest`](Self::sign_digest); nothing has changed then.
    pub(crate) fn attest(
        &mut self,
        signer: &Signer,
        qualifying_data: Tpm2bData,
        attested: TpmuAttest,
    ) -> Result<(Tpm2bAttest, Option<TpmtSignature>), Rc> {
        let (extra_data, apart) = if signer.is_anonymous() {
            // In the structure it would tell the caller; it is hashed in front instead.
            (Tpm2bData::EMPTY, qualifying_data)
        } else {
            (qualifying_data, Tpm2bData::EMPTY)
        };
        let structure = self.attestation(signer, extra_data, attested);
        let bytes = structure.to_bytes();
        let signature = match &signer.0 {
            None => None,
            Some((key, scheme)) => {
                let mut digest = hash(scheme.hash_alg(), &[&bytes]);
                if !apart.is_empty() {
                    digest = hash(scheme.hash_alg(), &[&apart, &digest]);
                }
                let signature = self.compute_signature(*key, scheme, &digest)?;
                // The clock was given out: what an orderly shutdown saved of it may not come back.
                self.void_orderly()?;
                self.end_signature(scheme);
                Some(signature)
            }
        };
        let bytes = Tpm2bAttest::new(bytes).ok_or(Rc::SIZE)?;
        Ok((bytes, signature))
    }

    fn attestation(
        &self,
        signer: &Signer,
        extra_data: Tpm2bData,
        attested: TpmuAttest,
    ) -> TpmsAttest {
        let key = signer
            .0
            .as_ref()
            .and_then(|(handle, _)| self.objects.find(*handle));
        let qualified_signer = match key {
            None => small(&TpmHandle::NULL.0.to_be_bytes()),
            Some(_) if signer.is_anonymous() => Tpm2bName::EMPTY,
            Some(key) => key.qualified_name.clone(),
        };
        let mut structure = TpmsAttest {
            qualified_signer,
            extra_data,
            clock_info: self.clock.info().clock_info,
            firmware_version: self.profile.firmware_version,
            attested,
        };
        let in_the_open = key.is_some_and(|key| {
            matches!(
                Hierarchy::from_handle(key.hierarchy),
                Some(Hierarchy::Endorsement | Hierarchy::Platform)
            )
        });
        if !in_the_open {
            self.obfuscate(&mut structure);
        }
        structure
    }

    /// Hides counts and version that would tell this TPM apart, for each key in another way (Part 1, 36.7).
    fn obfuscate(&self, structure: &mut TpmsAttest) {
        let proof = self.hierarchies.proof(TpmHandle::OWNER);
        let mask = kdfa(
            hash_algorithm(CONTEXT_HASH),
            &proof,
            b"OBFUSCATE",
            &structure.qualified_signer,
            &[],
            128,
        );
        let mut words = mask.chunks_exact(4).map(|word| {
            word.iter()
                .fold(0u32, |word, byte| word << 8 | u32::from(*byte))
        });
        let mut word = || words.next().unwrap_or_default();
        let version = u64::from(word()) << 32 | u64::from(word());
        structure.firmware_version = structure.firmware_version.wrapping_add(version);
        let clock = &mut structure.clock_info;
        clock.reset_count = clock.reset_count.wrapping_add(word());
        clock.restart_count = clock.restart_count.wrapping_add(word());
    }
}
