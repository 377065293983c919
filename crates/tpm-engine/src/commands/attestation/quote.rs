//! `TPM2_Quote` (Part 3, 18.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attest::{TpmsQuoteInfo, TpmuAttest};
use tpm_wire::commands::{Quote, QuoteResponse};
use tpm_wire::rc::Rc;

impl Execute for Quote {
    fn execute(self, tpm: &mut Tpm) -> Result<QuoteResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        // The hash of the scheme makes the digest too: without a key there is none.
        let hash_alg = signer.hash_alg().ok_or(Rc::SCHEME.at(Self::in_scheme))?;
        let (pcr_select, pcr_digest) = tpm.pcrs.digest(hash_alg, &self.pcr_select);
        let info = TpmsQuoteInfo {
            pcr_select,
            pcr_digest,
        };
        let (quoted, signature) =
            tpm.attest(&signer, self.qualifying_data, TpmuAttest::Quote(info))?;
        Ok(QuoteResponse { quoted, signature })
    }
}
