//! `TPM2_NV_Certify` (Part 3, 31.16).

use crate::algorithms::{hash, small};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attest::{TpmsNvCertifyInfo, TpmsNvDigestCertifyInfo, TpmuAttest};
use tpm_wire::buffers::{MAX_NV_BUFFER, Tpm2bDigest, Tpm2bMaxNvBuffer};
use tpm_wire::commands::{NvCertify, NvCertifyResponse};
use tpm_wire::rc::Rc;

impl Execute for NvCertify {
    fn execute(self, tpm: &mut Tpm) -> Result<NvCertifyResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        let index = tpm.nv.check_read(self.auth_handle.0, self.nv_index.0)?;
        let (offset, size) = (usize::from(self.offset), usize::from(self.size));
        let contents = index
            .data
            .get(offset..offset + size)
            .filter(|_| offset + size <= index.data_size())
            .ok_or(Rc::NV_RANGE)?;
        if size > MAX_NV_BUFFER {
            return Err(Rc::VALUE.at(Self::size));
        }
        let attested = if size == 0 && offset == 0 {
            // Nothing in particular: the digest of all of it.
            TpmuAttest::NvDigest(TpmsNvDigestCertifyInfo {
                index_name: index.name(),
                nv_digest: signer.hash_alg().map_or(Tpm2bDigest::EMPTY, |hash_alg| {
                    small(&hash(hash_alg, &[&index.data]))
                }),
            })
        } else {
            TpmuAttest::Nv(TpmsNvCertifyInfo {
                index_name: index.name(),
                offset: self.offset,
                nv_contents: Tpm2bMaxNvBuffer::new(contents.to_vec()).ok_or(Rc::NV_RANGE)?,
            })
        };
        let (certify_info, signature) = tpm.attest(&signer, self.qualifying_data, attested)?;
        Ok(NvCertifyResponse {
            certify_info,
            signature,
        })
    }
}
