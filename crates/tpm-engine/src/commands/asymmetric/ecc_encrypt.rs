//! `TPM2_ECC_Encrypt` (Part 3, 14.8).

use super::{ecc_parameters, kdf2_hash};
use crate::algorithms::small;
use crate::execute::Execute;
use crate::keys::{ecc_public, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::encryption;
use tpm_wire::buffers::{Tpm2b, Tpm2bMaxBuffer};
use tpm_wire::commands::{EccEncrypt, EccEncryptResponse};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;

impl Execute for EccEncrypt {
    fn execute(self, tpm: &mut Tpm) -> Result<EccEncryptResponse, Rc> {
        let (key, parameters) = ecc_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        let hash = kdf2_hash(parameters, self.in_scheme, Self::in_scheme)?;
        tpm.power.first_use(TpmAlgId::ECDH)?;
        let public = ecc_public(&key.public).map_err(|_| Rc::NO_RESULT)?;
        let hidden = encryption::encrypt(&public, hash, &self.plain_text, &mut tpm.random)
            .map_err(|_| Rc::NO_RESULT)?;
        Ok(EccEncryptResponse {
            c1: Tpm2b(wire_point(&hidden.c1)),
            c2: Tpm2bMaxBuffer::new(hidden.c2).ok_or(Rc::SIZE)?,
            c3: small(&hidden.c3),
        })
    }
}

#[cfg(test)]
mod tests {
    // What is encrypted is decrypted again in the tests of `TPM2_ECC_Decrypt`.
    use crate::commands::object::build::with_kdf;
    use crate::commands::signature::build::*;
    use crate::object::Object;
    use crate::testing;
    use tpm_wire::algorithm::TpmtKdfScheme;
    use tpm_wire::buffers::Tpm2bMaxBuffer;
    use tpm_wire::commands::EccEncrypt;
    use tpm_wire::object::TpmuPublicId;
    use tpm_wire::rc::Rc;

    const KDF2: Option<TpmtKdfScheme> = Some(TpmtKdfScheme::Kdf2(SHA256));
    const MGF1: Option<TpmtKdfScheme> = Some(TpmtKdfScheme::Mgf1(SHA256));

    fn refused(key: Object, in_scheme: Option<TpmtKdfScheme>) -> Option<Rc> {
        let mut tpm = testing::started();
        let key_handle = load(&mut tpm, key);
        let command = EccEncrypt {
            key_handle,
            plain_text: Tpm2bMaxBuffer::new(b"secret".to_vec()).unwrap(),
            in_scheme,
        };
        tpm.run(command).err()
    }

    #[test]
    fn key_and_caller_must_agree_on_the_kdf() {
        let mut own = ecc(None, DECRYPTS);
        own.public = with_kdf(own.public);
        let at = Some(Rc::SCHEME.at(EccEncrypt::in_scheme));
        assert_eq!(refused(own.clone(), None), None);
        assert_eq!(refused(own.clone(), KDF2), None);
        assert_eq!(refused(own, MGF1), at);
        assert_eq!(refused(ecc(None, DECRYPTS), None), at);
        // Agreed on, but nothing that hides a text.
        assert_eq!(refused(ecc(None, DECRYPTS), MGF1), Some(Rc::SCHEME));
    }

    #[test]
    fn a_key_of_another_kind_is_key_and_a_point_beside_its_curve_gives_no_result() {
        let rc = Rc::KEY.at(EccEncrypt::key_handle);
        assert_eq!(refused(rsa(None, DECRYPTS), None), Some(rc));
        let mut beside = ecc(None, DECRYPTS);
        if let TpmuPublicId::Ecc(point) = &mut beside.public.unique {
            point.y = point.x.clone();
        }
        assert_eq!(refused(beside, KDF2), Some(Rc::NO_RESULT));
    }
}
