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
            tpm.check_ticket_hierarchy(hierarchy)?;
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

#[cfg(test)]
mod tests {
    // `TPM_RC_BINDING` does not occur: a key whose halves do not match cannot be loaded.

    use crate::commands::signature::build::*;
    use crate::testing::{self, TestTpm};
    use tpm_wire::algorithm::*;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::buffers::*;
    use tpm_wire::commands::*;
    use tpm_wire::constants::TPM_GENERATED;
    use tpm_wire::handles::*;
    use tpm_wire::rc::Rc;
    use tpm_wire::ticket::TpmtTkHashcheck;

    fn sign(key_handle: TpmiDhObject, in_scheme: Option<TpmtSigScheme>) -> Sign {
        Sign {
            key_handle,
            digest: digest(),
            in_scheme,
            validation: no_ticket(),
        }
    }

    fn verifies(tpm: &mut TestTpm, key_handle: TpmiDhObject, signature: TpmtSignature) {
        let digest = digest();
        tpm.run(VerifySignature {
            key_handle,
            digest,
            signature,
        })
        .unwrap();
    }

    #[test]
    fn signs_by_each_scheme_what_then_verifies() {
        let sm2 = TpmiEccCurve::Sm2P256;
        for (key, scheme) in [
            (rsa(None, SIGNS), TpmtSigScheme::Rsassa(SHA256)),
            (rsa(None, SIGNS), TpmtSigScheme::Rsapss(SHA256)),
            (ecc(None, SIGNS), TpmtSigScheme::Ecdsa(SHA256)),
            (ecc(None, SIGNS), TpmtSigScheme::Ecschnorr(SHA256)),
            (ecc(None, SIGNS), TpmtSigScheme::Sm2(SHA256)),
            (
                ecc_on(sm2, &[7; 20], None, SIGNS),
                TpmtSigScheme::Sm2(SHA256),
            ),
            (hmac(None, SIGNS), TpmtSigScheme::Hmac(SHA256)),
        ] {
            let mut tpm = testing::started();
            let key = load(&mut tpm, key);
            let signature = tpm.run(sign(key, Some(scheme))).unwrap().signature;
            verifies(&mut tpm, key, signature);
        }
    }

    #[test]
    fn every_curve_signs() {
        for curve in TpmiEccCurve::ALL {
            let mut tpm = testing::started();
            let scheme = TpmtEccScheme::Ecdsa(SHA256);
            let key = load(&mut tpm, ecc_on(*curve, &[9; 20], Some(scheme), SIGNS));
            let signature = tpm.run(sign(key, None)).unwrap().signature;
            verifies(&mut tpm, key, signature);
        }
    }

    #[test]
    fn rsassa_and_hmac_give_what_openssl_gives() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, rsa(Some(TpmtRsaScheme::Rsassa(SHA256)), SIGNS));
        let TpmtSignature::Rsassa(signature) = tpm.run(sign(key, None)).unwrap().signature else {
            panic!("another scheme");
        };
        assert_eq!(
            &*signature.sig,
            bytes(
                "a2c947f96afacbbc6dc6e0deffd22e513a5d31e7010ddc70c27dfbe109c38e9dc75ba1e76816ed98dc5b516aeb1ed31310bba798396532f6174438e385837d92e4fabc2a4e031f52dc408c8c899621e2a14e26f1db7a9d4aa96ad21b3ca5a5f2af900346fb0b41d3bca115b44dd777e17bb80d81848a0bc889c4046051d53bd2219b9ac3a765b9733a0024568901bc863f5958667263e3163c9f4baef1878f9217b953af58ac175ce1c98da1f683f1d58c8ba68466f1aad160ded834b0e32953e69244365224e4eb5025363510e8a747def7438ea1f473b4d1ad7c74f4341301115557a49cf90b20f6050c540c18d5dbab67ff67b3199c2e405a77f86ad413b3"
            )
        );
        let key = load(
            &mut tpm,
            hmac(Some(TpmtKeyedhashScheme::Hmac(SHA256)), SIGNS),
        );
        let TpmtSignature::Hmac(mac) = tpm.run(sign(key, None)).unwrap().signature else {
            panic!("another scheme");
        };
        assert_eq!(
            &*mac.digest,
            bytes("9e32e013767621086bab5748684dc100599d57d62eb9e2df9b27f0d889bc5b66")
        );
    }

    #[test]
    fn no_two_signatures_share_a_nonce() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecc(Some(TpmtEccScheme::Ecdsa(SHA256)), SIGNS));
        let first = tpm.run(sign(key, None)).unwrap().signature;
        assert_ne!(first, tpm.run(sign(key, None)).unwrap().signature);
    }

    #[test]
    fn an_anonymous_signature_uses_up_its_commit() {
        let mut tpm = testing::started();
        let object = ecc(Some(ECDAA_KEY), SIGNS);
        let public = crate::keys::ecc_public(&object.public).unwrap();
        let key = load(&mut tpm, object);
        assert_eq!(tpm.run(sign(key, Some(ecdaa(0)))), Err(Rc::VALUE));
        let commit = Commit {
            sign_handle: key,
            p1: Tpm2b(TpmsEccPoint {
                x: Tpm2bEccParameter::EMPTY,
                y: Tpm2bEccParameter::EMPTY,
            }),
            s2: Tpm2bSensitiveData::EMPTY,
            y2: Tpm2bEccParameter::EMPTY,
        };
        let commitment = tpm.run(commit).unwrap();
        shut_down(&mut tpm);
        let scheme = ecdaa(commitment.counter);
        let TpmtSignature::Ecdaa(signature) =
            tpm.run(sign(key, Some(scheme.clone()))).unwrap().signature
        else {
            panic!("another scheme");
        };
        // The saved state, in which the commit is open, must not come back.
        assert!(!tpm.power.is_orderly());
        let e = crate::keys::ecc_point(public.curve(), &commitment.e).unwrap();
        tpm_crypto::ecc::ecdaa::verify(
            &public,
            tpm_crypto::hash::HashAlgorithm::Sha256,
            &e,
            &digest(),
            &signature.signature_r,
            &signature.signature_s,
        )
        .unwrap();
        assert_eq!(tpm.run(sign(key, Some(scheme))), Err(Rc::VALUE));
    }

    #[test]
    fn restricted_keys_sign_only_what_the_tpm_hashed() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecc(Some(TpmtEccScheme::Ecdsa(SHA256)), ATTESTS));
        let without = sign(key, None);
        assert_eq!(tpm.run(without), Err(Rc::TICKET.at(Sign::validation)));
        let hash = |data: &[u8]| Hash {
            data: Tpm2bMaxBuffer::new(data.to_vec()).unwrap(),
            hash_alg: TpmiAlgHash::Sha256,
            hierarchy: Some(TpmiRhHierarchy(TpmHandle::OWNER)),
        };
        let hashed = tpm.run(hash(b"message")).unwrap();
        let mut command = sign(key, None);
        command.validation = hashed.validation.clone();
        tpm.run(command.clone()).unwrap();
        command.digest = Tpm2bDigest::zeros(32);
        assert_eq!(
            tpm.run(command.clone()),
            Err(Rc::TICKET.at(Sign::validation))
        );
        let mut forged = TPM_GENERATED.to_be_bytes().to_vec();
        forged.extend(b"attest");
        let hashed = tpm.run(hash(&forged)).unwrap();
        assert_eq!(hashed.validation, no_ticket());
        command.digest = hashed.out_hash;
        command.validation = hashed.validation;
        assert_eq!(tpm.run(command), Err(Rc::TICKET.at(Sign::validation)));
    }

    #[test]
    fn a_ticket_that_is_given_must_be_right_for_any_key() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecc(Some(TpmtEccScheme::Ecdsa(SHA256)), SIGNS));
        let mut command = sign(key, None);
        command.validation = TpmtTkHashcheck {
            digest: Tpm2bDigest::zeros(64),
            ..no_ticket()
        };
        assert_eq!(tpm.run(command), Err(Rc::TICKET.at(Sign::validation)));
        let mut command = sign(key, None);
        command.digest = Tpm2bDigest::zeros(20);
        assert_eq!(tpm.run(command), Err(Rc::SIZE.at(Sign::digest)));
    }

    #[test]
    fn keys_that_cannot_sign_are_refused() {
        let mut tpm = testing::started();
        for key in [
            ecc(None, DECRYPTS),
            aes(None, SIGNS),
            hmac(None, SIGNS.without(TpmaObject::SIGN)),
        ] {
            let key = load(&mut tpm, key);
            let command = sign(key, Some(TpmtSigScheme::Ecdsa(SHA256)));
            assert_eq!(tpm.run(command), Err(Rc::KEY.at(Sign::key_handle)));
        }
        let key = load(&mut tpm, ecc(None, SIGNS | TpmaObject::X509_SIGN));
        let command = sign(key, Some(TpmtSigScheme::Ecdsa(SHA256)));
        assert_eq!(tpm.run(command), Err(Rc::ATTRIBUTES.at(Sign::key_handle)));
    }

    #[test]
    fn key_and_caller_must_agree_on_the_scheme() {
        let sha1 = TpmsSchemeHash {
            hash_alg: TpmiAlgHash::Sha1,
        };
        let oaep = TpmtRsaScheme::Oaep(SHA256);
        let xor = TpmtKeyedhashScheme::Xor(TpmsSchemeXor {
            hash_alg: TpmiAlgHash::Sha256,
            kdf: None,
        });
        let own = Some(TpmtEccScheme::Ecdsa(SHA256));
        for (key, scheme) in [
            (ecc(None, SIGNS), None),
            (rsa(None, SIGNS), Some(TpmtSigScheme::Ecdsa(SHA256))),
            (hmac(None, SIGNS), Some(TpmtSigScheme::Rsassa(SHA256))),
            (ecc(None, SIGNS), Some(TpmtSigScheme::Hmac(SHA256))),
            (ecc(own.clone(), SIGNS), Some(TpmtSigScheme::Ecdsa(sha1))),
            (ecc(own, SIGNS), Some(TpmtSigScheme::Sm2(SHA256))),
            (ecc(Some(ECDAA_KEY), SIGNS), None),
            (
                rsa(Some(oaep), SIGNS | DECRYPTS),
                Some(TpmtSigScheme::Rsassa(SHA256)),
            ),
            (hmac(Some(xor), SIGNS), Some(TpmtSigScheme::Hmac(SHA256))),
        ] {
            let mut tpm = testing::started();
            let key = load(&mut tpm, key);
            assert_eq!(
                tpm.run(sign(key, scheme)),
                Err(Rc::SCHEME.at(Sign::in_scheme))
            );
        }
    }

    #[test]
    fn key_then_attributes_then_scheme_then_ticket() {
        let mut tpm = testing::started();
        let sha1 = TpmsSchemeHash {
            hash_alg: TpmiAlgHash::Sha1,
        };
        let own = || Some(TpmtEccScheme::Ecdsa(SHA256));
        let x509 = TpmaObject::X509_SIGN;
        for (key, rc) in [
            (ecc(None, DECRYPTS | x509), Rc::KEY.at(Sign::key_handle)),
            (
                ecc(own(), SIGNS | x509),
                Rc::ATTRIBUTES.at(Sign::key_handle),
            ),
            (ecc(own(), ATTESTS), Rc::SCHEME.at(Sign::in_scheme)),
        ] {
            let key = load(&mut tpm, key);
            let mut command = sign(key, Some(TpmtSigScheme::Ecdsa(sha1.clone())));
            command.digest = Tpm2bDigest::zeros(3);
            assert_eq!(tpm.run(command), Err(rc));
        }
        let key = load(&mut tpm, ecc(own(), ATTESTS));
        let mut command = sign(key, None);
        command.digest = Tpm2bDigest::zeros(3);
        assert_eq!(tpm.run(command), Err(Rc::TICKET.at(Sign::validation)));
    }
}
