//! `TPM2_Hash` (Part 3, 15.4).

use crate::algorithms::{self, small};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Hash, HashResponse};
use tpm_wire::constants::TPM_GENERATED;
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for Hash {
    fn execute(self, tpm: &mut Tpm) -> Result<HashResponse, Rc> {
        let digest = algorithms::hash(self.hash_alg, &[&self.data]);
        // A restricted key must never sign what looks like a structure of the TPM's own.
        let hierarchy = if self.data.starts_with(&TPM_GENERATED.to_be_bytes()) {
            TpmHandle::NULL
        } else {
            self.hierarchy.map_or(TpmHandle::NULL, TpmHandle::from)
        };
        tpm.check_ticket_hierarchy(hierarchy)?;
        Ok(HashResponse {
            out_hash: small(&digest),
            validation: tpm.hashcheck_ticket(hierarchy, self.hash_alg, &digest),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::signature::build::{DIGEST, bytes, no_ticket};
    use crate::testing;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::buffers::Tpm2bMaxBuffer;
    use tpm_wire::commands::Hash;
    use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy};
    use tpm_wire::rc::Rc;

    fn command(data: &[u8]) -> Hash {
        Hash {
            data: Tpm2bMaxBuffer::new(data.to_vec()).unwrap(),
            hash_alg: TpmiAlgHash::Sha256,
            hierarchy: Some(TpmiRhHierarchy(TpmHandle::PLATFORM)),
        }
    }

    #[test]
    fn hashes_and_gives_a_ticket() {
        let mut tpm = testing::started();
        let answer = tpm.run(command(b"message")).unwrap();
        assert_eq!(&*answer.out_hash, bytes(DIGEST));
        assert_eq!(
            answer.validation.hierarchy,
            Some(TpmiRhHierarchy(TpmHandle::PLATFORM))
        );
        assert!(!answer.validation.digest.is_empty());
        assert!(!tpm.run(command(b"")).unwrap().validation.digest.is_empty());
    }

    #[test]
    fn gives_no_ticket_for_what_looks_like_the_tpms_own_or_without_hierarchy() {
        let mut tpm = testing::started();
        let own = tpm.run(command(b"\xFFTCG")).unwrap();
        assert_eq!(own.validation, no_ticket());
        let mut without = command(b"message");
        without.hierarchy = None;
        assert_eq!(tpm.run(without).unwrap().validation, no_ticket());
    }

    #[test]
    fn a_hierarchy_of_a_later_firmware_has_no_tickets() {
        let mut tpm = testing::started();
        let mut later = command(b"message");
        later.hierarchy = Some(TpmiRhHierarchy(TpmHandle(0x4001_FFFF)));
        assert_eq!(tpm.run(later).unwrap_err().base(), Rc::SVN_LIMITED);
    }
}
