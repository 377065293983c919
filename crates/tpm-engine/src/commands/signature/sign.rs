//! `TPM2_Sign` (Part 3, 20.2).

use crate::execute::Execute;
use crate::signature::{can_sign, select_scheme};
use crate::state::Tpm;
use crate::ticket::tickets_match;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{Sign, SignResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for Sign {
    fn execute(self, tpm: &mut Tpm) -> Result<SignResponse, Rc> {
        let key = tpm
            .objects
            .find(self.key_handle.0)
            .filter(|key| can_sign(key))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        if key.public.has(TpmaObject::X509_SIGN) {
            return Err(Rc::ATTRIBUTES.at(Self::key_handle));
        }
        let restricted = key.public.has(TpmaObject::RESTRICTED);
        let scheme = select_scheme(key, self.in_scheme).map_err(|rc| rc.at(Self::in_scheme))?;
        let hash_alg = scheme.hash_alg();
        let given = &self.validation;
        if restricted || !given.digest.is_empty() {
            let hierarchy = given.hierarchy.map_or(TpmHandle::NULL, TpmHandle::from);
            let ticket = tpm.hashcheck_ticket(hierarchy, hash_alg, &self.digest);
            if !tickets_match(&given.digest, &ticket.digest) {
                return Err(Rc::TICKET.at(Self::validation));
            }
        } else if self.digest.len() != hash_alg.digest_size() {
            return Err(Rc::SIZE.at(Self::digest));
        }
        let signature = tpm.sign_digest(self.key_handle.0, &scheme, &self.digest)?;
        Ok(SignResponse { signature })
    }
}
