//! `TPM2_ECC_Decrypt` (Part 3, 14.9).

use super::{decrypts_freely, ecc_parameters, kdf2_hash};
use crate::execute::Execute;
use crate::keys::{ecc_point, ecc_private};
use crate::state::Tpm;
use tpm_crypto::ecc::{EccError, encryption};
use tpm_wire::buffers::Tpm2bMaxBuffer;
use tpm_wire::commands::{EccDecrypt, EccDecryptResponse};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;

impl Execute for EccDecrypt {
    fn execute(self, tpm: &mut Tpm) -> Result<EccDecryptResponse, Rc> {
        let (key, parameters) = ecc_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        if !decrypts_freely(key) {
            return Err(Rc::ATTRIBUTES.at(Self::key_handle));
        }
        let hash = kdf2_hash(parameters, self.in_scheme, Self::in_scheme)?;
        tpm.power.first_use(TpmAlgId::ECDH)?;
        let private = ecc_private(key).map_err(|rc| rc.at(Self::key_handle))?;
        let c1 = ecc_point(private.curve(), &self.c1).map_err(|rc| rc.at(Self::c1))?;
        let mut text =
            encryption::decrypt(&private, hash, &c1, &self.c2, &self.c3).map_err(|error| {
                match error {
                    EccError::Infinity => Rc::NO_RESULT,
                    _ => Rc::VALUE,
                }
            })?;
        // The buffer of the response wipes the text in its turn.
        let plain_text = Tpm2bMaxBuffer::new(core::mem::take(&mut *text)).ok_or(Rc::SIZE)?;
        Ok(EccDecryptResponse { plain_text })
    }
}

#[cfg(test)]
mod tests {
    // `TPM_RC_NO_RESULT` does not occur: no curve has a point that a key multiplies to infinity. A point beside the curve,
    // which the reference code multiplies all the same and then misses the hash, is refused as one.

    use crate::commands::signature::build::*;
    use crate::object::Object;
    use crate::testing;
    use tpm_wire::algorithm::*;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::buffers::*;
    use tpm_wire::commands::{EccDecrypt, EccEncrypt, EccEncryptResponse};
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::object::TpmuPublicParms;
    use tpm_wire::rc::Rc;

    fn key(own: Option<TpmtKdfScheme>, attributes: TpmaObject) -> Object {
        let mut key = ecc(None, attributes);
        if let TpmuPublicParms::Ecc(parameters) = &mut key.public.parameters {
            parameters.kdf = own;
        }
        key
    }

    const KDF2: TpmtKdfScheme = TpmtKdfScheme::Kdf2(SHA256);

    fn encrypt(key_handle: TpmiDhObject) -> EccEncrypt {
        EccEncrypt {
            key_handle,
            plain_text: Tpm2bMaxBuffer::new(b"secret".to_vec()).unwrap(),
            in_scheme: Some(KDF2),
        }
    }

    fn decrypt(key_handle: TpmiDhObject, hidden: EccEncryptResponse) -> EccDecrypt {
        EccDecrypt {
            key_handle,
            c1: hidden.c1,
            c2: hidden.c2,
            c3: hidden.c3,
            in_scheme: Some(KDF2),
        }
    }

    #[test]
    fn decrypts_what_was_encrypted_and_nothing_else() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, key(None, DECRYPTS));
        let hidden = tpm.run(encrypt(key)).unwrap();
        let command = decrypt(key, hidden);
        assert_eq!(&*tpm.run(command.clone()).unwrap().plain_text, b"secret");
        let mut changed = command.clone();
        changed.c2.as_mut_slice()[0] ^= 1;
        assert_eq!(tpm.run(changed), Err(Rc::VALUE));
        let mut changed = command;
        changed.c1.0.y = changed.c1.x.clone();
        let rc = Rc::ECC_POINT.at(EccDecrypt::c1);
        assert_eq!(tpm.run(changed), Err(rc));
    }

    #[test]
    fn key_and_caller_must_agree_on_the_kdf() {
        let mgf1 = || Some(TpmtKdfScheme::Mgf1(SHA256));
        let at = Rc::SCHEME.at(EccDecrypt::in_scheme);
        for (own, given, rc) in [
            (None, None, at),
            (Some(KDF2), mgf1(), at),
            // Agreed on, but nothing that hides a text.
            (None, mgf1(), Rc::SCHEME),
            (mgf1(), None, Rc::SCHEME),
        ] {
            let mut tpm = testing::started();
            let open = load(&mut tpm, key(None, DECRYPTS));
            let hidden = tpm.run(encrypt(open)).unwrap();
            let key = load(&mut tpm, key(own, DECRYPTS));
            let mut command = decrypt(key, hidden);
            command.in_scheme = given;
            assert_eq!(tpm.run(command), Err(rc));
        }
    }

    #[test]
    fn keys_of_another_kind_are_refused_before_the_scheme() {
        let mut tpm = testing::started();
        let good = load(&mut tpm, key(None, DECRYPTS));
        let hidden = tpm.run(encrypt(good)).unwrap();
        for (other, rc) in [
            (rsa(None, DECRYPTS), Rc::KEY),
            (key(None, SIGNS), Rc::ATTRIBUTES),
            (key(None, STORES), Rc::ATTRIBUTES),
        ] {
            let other = load(&mut tpm, other);
            let mut command = decrypt(other, hidden.clone());
            command.in_scheme = None;
            let rc = rc.at(EccDecrypt::key_handle);
            assert_eq!(tpm.run(command), Err(rc));
        }
    }
}
