//! `TPM2_VerifySignature` (Part 3, 20.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::commands::{VerifySignature, VerifySignatureResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for VerifySignature {
    fn execute(self, tpm: &mut Tpm) -> Result<VerifySignatureResponse, Rc> {
        let key = tpm
            .objects
            .find(self.key_handle.0)
            .filter(|key| key.public.has(TpmaObject::SIGN))
            .ok_or(Rc::ATTRIBUTES.at(Self::key_handle))?;
        tpm.power.first_use(self.signature.algorithm())?;
        tpm.verify_signature(key, &self.signature, &self.digest)
            .map_err(|rc| rc.at(Self::signature))?;
        // A key without a Name could be any key: no ticket tells of it.
        let hierarchy = match key.public.name_alg {
            Some(_) => key.hierarchy,
            None => TpmHandle::NULL,
        };
        Ok(VerifySignatureResponse {
            validation: tpm.verified_ticket(hierarchy, &self.digest, &key.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::signature::build::*;
    use crate::testing;
    use tpm_wire::algorithm::*;
    use tpm_wire::buffers::*;
    use tpm_wire::commands::VerifySignature;
    use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy};
    use tpm_wire::rc::Rc;

    fn rsa_signature(digits: &str) -> TpmsSignatureRsa {
        TpmsSignatureRsa {
            hash: TpmiAlgHash::Sha256,
            sig: Tpm2bPublicKeyRsa::new(bytes(digits)).unwrap(),
        }
    }

    fn ecdsa() -> TpmsSignatureEcc {
        TpmsSignatureEcc {
            hash: TpmiAlgHash::Sha256,
            signature_r: Tpm2bEccParameter::new(&bytes(
                "f4b122ac09453dca32cad0f02e59b9ea538cdf770b47cb6e756c6dddbecfd613",
            ))
            .unwrap(),
            signature_s: Tpm2bEccParameter::new(&bytes(
                "bf1def028407a134718a3a152f13f09f664f776fb1ff85cd9c5ed1d8f5d2957a",
            ))
            .unwrap(),
        }
    }

    fn mac() -> TpmtHa {
        TpmtHa {
            hash_alg: TpmiAlgHash::Sha256,
            digest: Small::new(&bytes(
                "9e32e013767621086bab5748684dc100599d57d62eb9e2df9b27f0d889bc5b66",
            ))
            .unwrap(),
        }
    }

    const RSASSA: &str = "a2c947f96afacbbc6dc6e0deffd22e513a5d31e7010ddc70c27dfbe109c38e9dc75ba1e76816ed98dc5b516aeb1ed31310bba798396532f6174438e385837d92e4fabc2a4e031f52dc408c8c899621e2a14e26f1db7a9d4aa96ad21b3ca5a5f2af900346fb0b41d3bca115b44dd777e17bb80d81848a0bc889c4046051d53bd2219b9ac3a765b9733a0024568901bc863f5958667263e3163c9f4baef1878f9217b953af58ac175ce1c98da1f683f1d58c8ba68466f1aad160ded834b0e32953e69244365224e4eb5025363510e8a747def7438ea1f473b4d1ad7c74f4341301115557a49cf90b20f6050c540c18d5dbab67ff67b3199c2e405a77f86ad413b3";
    const RSAPSS: &str = "a348d1c8dbb129b83ccd03204a7d79fc8b288c03e5bb7c41fcb20f8bd0306b559d094b34f08a36f57d1b6aa7a2d3585c79f188f0035a7c7e4ca0918cec5ece7a025067b5300dc28c1cba9652579699a2141ae61ab879146fca34d01e225fbd964079ca2f2b62f7c2911d70ead02a71e4ca5af11011c61b923be96c2eb329ee6dc222d63a4bbc88a2b0d74f661b68e84692b5332ba66fcd5aef1ce2587dd9ebf416207f74f4f9ad2f8f826b2a4eed513ed91f556fd59d9593c63c5707a8cb494abd26d2ae061e41ec50312fe2845d3f73397de218b95f5666aeee03147e9af03738ea2ada67e99d07c25230ba3979731be604168be492d204c02e9a8d971c0639";

    #[test]
    fn takes_what_openssl_signed_and_nothing_else() {
        for (key, signature) in [
            (
                rsa(None, SIGNS),
                TpmtSignature::Rsassa(rsa_signature(RSASSA)),
            ),
            (
                rsa(None, SIGNS),
                TpmtSignature::Rsapss(rsa_signature(RSAPSS)),
            ),
            (ecc(None, SIGNS), TpmtSignature::Ecdsa(ecdsa())),
            (hmac(None, SIGNS), TpmtSignature::Hmac(mac())),
        ] {
            let mut tpm = testing::started();
            let name = key.name.clone();
            let key_handle = load(&mut tpm, key);
            let mut command = VerifySignature {
                key_handle,
                digest: digest(),
                signature,
            };
            let validation = tpm.run(command.clone()).unwrap().validation;
            let owner = TpmHandle::OWNER;
            assert_eq!(validation.hierarchy, Some(TpmiRhHierarchy(owner)));
            assert_eq!(validation, tpm.verified_ticket(owner, &digest(), &name));
            command.digest = Tpm2bDigest::zeros(32);
            assert_eq!(
                tpm.run(command),
                Err(Rc::SIGNATURE.at(VerifySignature::signature))
            );
        }
    }

    #[test]
    fn gives_no_ticket_for_keys_without_hierarchy_or_name() {
        let mut nameless = ecc(None, SIGNS);
        nameless.public.name_alg = None;
        let mut external = ecc(None, SIGNS);
        external.hierarchy = TpmHandle::NULL;
        for key in [nameless, external] {
            let mut tpm = testing::started();
            let command = VerifySignature {
                key_handle: load(&mut tpm, key),
                digest: digest(),
                signature: TpmtSignature::Ecdsa(ecdsa()),
            };
            let validation = tpm.run(command).unwrap().validation;
            assert_eq!(validation.hierarchy, None);
            assert!(validation.digest.is_empty());
        }
    }

    #[test]
    fn refuses_keys_and_schemes_that_do_not_fit() {
        let mut public_only = hmac(None, SIGNS);
        public_only.sensitive = None;
        let other_hash = Some(TpmtKeyedhashScheme::Hmac(TpmsSchemeHash {
            hash_alg: TpmiAlgHash::Sha1,
        }));
        let anonymous = TpmtSignature::Ecdaa(ecdsa());
        let short = TpmtSignature::Rsassa(rsa_signature("01"));
        for (key, signature, rc) in [
            (
                ecc(None, DECRYPTS),
                TpmtSignature::Ecdsa(ecdsa()),
                Rc::ATTRIBUTES.at(VerifySignature::key_handle),
            ),
            (
                aes(None, SIGNS),
                TpmtSignature::Hmac(mac()),
                Rc::SCHEME.at(VerifySignature::signature),
            ),
            (
                rsa(None, SIGNS),
                TpmtSignature::Ecdsa(ecdsa()),
                Rc::SCHEME.at(VerifySignature::signature),
            ),
            (
                ecc(None, SIGNS),
                anonymous,
                Rc::SCHEME.at(VerifySignature::signature),
            ),
            (
                hmac(None, SIGNS),
                TpmtSignature::Ecdsa(ecdsa()),
                Rc::SCHEME.at(VerifySignature::signature),
            ),
            (
                public_only,
                TpmtSignature::Hmac(mac()),
                Rc::HANDLE.at(VerifySignature::signature),
            ),
            (
                hmac(other_hash, SIGNS),
                TpmtSignature::Hmac(mac()),
                Rc::SIGNATURE.at(VerifySignature::signature),
            ),
            (
                rsa(None, SIGNS),
                short,
                Rc::SIGNATURE.at(VerifySignature::signature),
            ),
        ] {
            let mut tpm = testing::started();
            let command = VerifySignature {
                key_handle: load(&mut tpm, key),
                digest: digest(),
                signature,
            };
            assert_eq!(tpm.run(command), Err(rc));
        }
    }
}
