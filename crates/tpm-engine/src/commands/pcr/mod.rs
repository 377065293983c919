//! PCR (Part 3, 22).

mod pcr_allocate;
mod pcr_event;
mod pcr_extend;
mod pcr_read;
mod pcr_reset;
mod pcr_set_auth_policy;
mod pcr_set_auth_value;

use crate::pcr::attributes;
use crate::state::Tpm;
use tpm_wire::rc::Rc;

impl Tpm {
    /// Checks that the PCR may be extended from the present locality, and prepares for its change.
    ///
    /// # Errors
    /// `TPM_RC_LOCALITY`, `TPM_RC_NV_UNAVAILABLE`.
    pub(crate) fn check_extend(&mut self, pcr: u32) -> Result<(), Rc> {
        if !attributes(pcr).may_extend(self.platform.locality()) {
            return Err(Rc::LOCALITY);
        }
        self.changes_pcr(pcr)
    }

    /// Notes that the command changes this PCR: a shutdown that saved it is void, and what it was is kept until the command is stored.
    ///
    /// # Errors
    /// `TPM_RC_NV_UNAVAILABLE`.
    fn changes_pcr(&mut self, pcr: u32) -> Result<(), Rc> {
        if attributes(pcr).saved {
            self.void_orderly()?;
        }
        self.running.pcr_before = Some(self.pcrs.before(pcr));
        Ok(())
    }
}

/// Builders for tests that need PCR.
#[cfg(test)]
pub(crate) mod build {
    use crate::algorithms::small;
    use tpm_wire::algorithm::{TpmiAlgHash, TpmtHa};
    use tpm_wire::commands::PcrExtend;
    use tpm_wire::handles::{TpmHandle, TpmiDhPcr};
    use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};

    /// The handle of a PCR.
    pub(crate) fn handle(pcr: u32) -> TpmiDhPcr {
        TpmiDhPcr(TpmHandle(pcr))
    }

    /// A digest of one byte throughout.
    pub(crate) fn digest(hash_alg: TpmiAlgHash, byte: u8) -> TpmtHa {
        TpmtHa {
            hash_alg,
            digest: small(&[byte; 64][..hash_alg.digest_size()]),
        }
    }

    /// A command that extends the SHA-256 bank by ones.
    pub(crate) fn extend(pcr: u32) -> PcrExtend {
        PcrExtend {
            pcr_handle: Some(handle(pcr)),
            digests: [digest(TpmiAlgHash::Sha256, 1)].into_iter().collect(),
        }
    }

    /// A selection of PCR from banks.
    pub(crate) fn selection(banks: &[(TpmiAlgHash, &[u32])]) -> TpmlPcrSelection {
        banks
            .iter()
            .map(|(hash, pcrs)| TpmsPcrSelection {
                hash: *hash,
                pcr_select: TpmsPcrSelect::of(pcrs),
            })
            .collect()
    }
}
