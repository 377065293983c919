//! `TPM2_NV_Certify` (Part 3, 31.16).

use crate::algorithms::{hash, small};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attest::{TpmsNvCertifyInfo, TpmsNvDigestCertifyInfo, TpmuAttest};
use tpm_wire::buffers::{Tpm2bDigest, Tpm2bMaxNvBuffer};
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
        if size > usize::from(tpm.profile.max_nv_buffer) {
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

#[cfg(test)]
mod tests {
    use crate::commands::attestation::build::*;
    use crate::commands::signature::build::{SIGNS, STORES, ecc, load};
    use crate::nv::Index;
    use crate::testing::{self, TestTpm};
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attest::{TpmsNvCertifyInfo, TpmsNvDigestCertifyInfo, TpmuAttest};
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bMaxNvBuffer, Tpm2bName};
    use tpm_wire::commands::NvCertify;
    use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiRhNvAuth, TpmiRhNvIndex};
    use tpm_wire::nv::{NvDataSize, TpmsNvPublic, TpmtNvPublic2};
    use tpm_wire::rc::Rc;

    const INDEX: TpmiRhNvIndex = TpmiRhNvIndex(TpmHandle(0x0100_0001));
    const READABLE: TpmaNv = TpmaNv(TpmaNv::OWNERREAD.0 | TpmaNv::WRITTEN.0 | TpmaNv::NO_DA.0);

    fn define(tpm: &mut TestTpm, attributes: TpmaNv, size: u16) -> Tpm2bName {
        let public = TpmtNvPublic2::NvIndex(TpmsNvPublic {
            nv_index: INDEX,
            name_alg: TpmiAlgHash::Sha256,
            attributes,
            auth_policy: Tpm2bDigest::EMPTY,
            data_size: NvDataSize(size),
        });
        let mut index = Index::new(public, Tpm2bAuth::EMPTY);
        for (byte, number) in index.data.iter_mut().zip((0..=u8::MAX).cycle()) {
            *byte = number;
        }
        let name = index.name();
        tpm.nv.indices.insert(INDEX.0, index);
        name
    }

    fn certify(sign_handle: Option<TpmiDhObject>, size: u16, offset: u16) -> NvCertify {
        NvCertify {
            sign_handle,
            auth_handle: TpmiRhNvAuth(TpmHandle::OWNER),
            nv_index: INDEX,
            qualifying_data: nonce(),
            in_scheme: None,
            size,
            offset,
        }
    }

    #[test]
    fn attests_contents_or_their_digest() {
        let mut tpm = testing::started();
        let index_name = define(&mut tpm, READABLE, 16);
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let answer = tpm.run(certify(Some(key), 2, 5)).unwrap();
        let attest = verified(&mut tpm, key, &answer.certify_info, answer.signature);
        let expected = TpmsNvCertifyInfo {
            index_name: index_name.clone(),
            offset: 5,
            nv_contents: Tpm2bMaxNvBuffer::new([5, 6].into()).unwrap(),
        };
        assert_eq!(attest.attested, TpmuAttest::Nv(expected));
        let answer = tpm.run(certify(Some(key), 0, 0)).unwrap();
        let attest = verified(&mut tpm, key, &answer.certify_info, answer.signature);
        let contents: alloc::vec::Vec<u8> = (0..16).collect();
        let digest = crate::algorithms::hash(TpmiAlgHash::Sha256, &[&contents]);
        let mut expected = TpmsNvDigestCertifyInfo {
            index_name,
            nv_digest: Tpm2bDigest::new(&digest).unwrap(),
        };
        assert_eq!(attest.attested, TpmuAttest::NvDigest(expected.clone()));
        let answer = tpm.run(certify(None, 0, 0)).unwrap();
        expected.nv_digest = Tpm2bDigest::EMPTY;
        assert_eq!(
            parsed(&answer.certify_info).attested,
            TpmuAttest::NvDigest(expected)
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_attested() {
        for (attributes, rc) in [
            (READABLE | TpmaNv::READLOCKED, Rc::NV_LOCKED),
            (READABLE.without(TpmaNv::OWNERREAD), Rc::NV_AUTHORIZATION),
            (READABLE.without(TpmaNv::WRITTEN), Rc::NV_UNINITIALIZED),
        ] {
            let mut tpm = testing::started();
            define(&mut tpm, attributes, 16);
            let key = signer(&mut tpm, TpmHandle::OWNER);
            assert_eq!(tpm.run(certify(Some(key), 0, 0)), Err(rc));
        }
    }

    #[test]
    fn more_than_there_is_or_fits_is_refused() {
        let mut tpm = testing::started();
        define(&mut tpm, READABLE, 4096);
        let key = signer(&mut tpm, TpmHandle::OWNER);
        for (size, offset) in [(2, 4095), (u16::MAX, u16::MAX), (0, 4097)] {
            let command = certify(Some(key), size, offset);
            assert_eq!(tpm.run(command), Err(Rc::NV_RANGE));
        }
        let rc = Rc::VALUE.at(NvCertify::size);
        assert_eq!(tpm.run(certify(Some(key), 2049, 0)), Err(rc));
        tpm.run(certify(Some(key), 2048, 2048)).unwrap();
    }

    #[test]
    fn keys_and_schemes_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        define(&mut tpm, READABLE, 16);
        let storage = load(&mut tpm, ecc(None, STORES));
        let rc = Rc::KEY.at(NvCertify::sign_handle);
        assert_eq!(tpm.run(certify(Some(storage), 0, 0)), Err(rc));
        let open = load(&mut tpm, ecc(None, SIGNS));
        let rc = Rc::SCHEME.at(NvCertify::in_scheme);
        assert_eq!(tpm.run(certify(Some(open), 0, 0)), Err(rc));
    }
}
