//! `TPM2_RSA_Encrypt` (Part 3, 14.2).

use super::{Padding, is_label, padding, rsa_parameters};
use crate::execute::Execute;
use crate::keys::rsa_public;
use crate::state::Tpm;
use tpm_crypto::rsa::{RsaError, oaep, pkcs1, public_raw};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::Tpm2bPublicKeyRsa;
use tpm_wire::commands::{RsaEncrypt, RsaEncryptResponse};
use tpm_wire::rc::Rc;

impl Execute for RsaEncrypt {
    fn execute(self, tpm: &mut Tpm) -> Result<RsaEncryptResponse, Rc> {
        let (key, parameters) = rsa_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        if !key.public.has(TpmaObject::DECRYPT) {
            return Err(Rc::ATTRIBUTES.at(Self::key_handle));
        }
        if !is_label(&self.label) {
            return Err(Rc::VALUE.at(Self::label));
        }
        let padding = padding(parameters, self.in_scheme, Self::in_scheme)?;
        tpm.power.first_use(padding.algorithm())?;
        let public = rsa_public(&key.public).map_err(|rc| rc.at(Self::key_handle))?;
        let hidden = match padding {
            Padding::Raw => {
                let zeros = self.message.iter().take_while(|byte| **byte == 0).count();
                let number = self.message.get(zeros..).unwrap_or_default();
                if number.len() > public.len() {
                    return Err(Rc::VALUE);
                }
                public_raw(&public, number)
            }
            Padding::Rsaes => pkcs1::encrypt(&public, &self.message, &mut tpm.random),
            Padding::Oaep(hash) => {
                oaep::encrypt(&public, hash, &self.label, &self.message, &mut tpm.random)
            }
        };
        let out_data = hidden.map_err(|error| match error {
            RsaError::InputTooLarge => Rc::SIZE,
            RsaError::KeyTooSmall => Rc::HASH,
            _ => Rc::VALUE,
        })?;
        let out_data = Tpm2bPublicKeyRsa::new(out_data).ok_or(Rc::SIZE)?;
        Ok(RsaEncryptResponse { out_data })
    }
}

#[cfg(test)]
mod tests {
    // What is encrypted is decrypted again in the tests of `TPM2_RSA_Decrypt`.
    use crate::commands::object::build::short_storage_rsa;
    use crate::commands::signature::build::*;
    use crate::testing;
    use alloc::vec::Vec;
    use tpm_wire::algorithm::*;
    use tpm_wire::buffers::*;
    use tpm_wire::codec::TpmsEmpty;
    use tpm_wire::commands::RsaEncrypt;
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    const RSAES: Option<TpmtRsaDecrypt> = Some(TpmtRsaDecrypt::Rsaes(TpmsEmpty));

    fn oaep(hash_alg: TpmiAlgHash) -> Option<TpmtRsaDecrypt> {
        Some(TpmtRsaDecrypt::Oaep(TpmsSchemeHash { hash_alg }))
    }

    fn encrypt(
        key_handle: TpmiDhObject,
        message: Vec<u8>,
        in_scheme: Option<TpmtRsaDecrypt>,
    ) -> RsaEncrypt {
        RsaEncrypt {
            key_handle,
            message: Tpm2bPublicKeyRsa::new(message).unwrap(),
            in_scheme,
            label: Tpm2bData::EMPTY,
        }
    }

    #[test]
    fn a_storage_key_may_encrypt() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, rsa(None, STORES));
        assert!(tpm.run(encrypt(key, b"secret".to_vec(), RSAES)).is_ok());
    }

    #[test]
    fn messages_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, rsa(None, DECRYPTS));
        let sha256 = oaep(TpmiAlgHash::Sha256);
        for (message, scheme, rc) in [
            ([1; 246].to_vec(), RSAES, Rc::VALUE),
            ([1; 191].to_vec(), sha256, Rc::VALUE),
            // A number of more bytes than the modulus, and one that is greater.
            ([1; 257].to_vec(), None, Rc::VALUE),
            ([0xFF; 256].to_vec(), None, Rc::SIZE),
        ] {
            assert_eq!(tpm.run(encrypt(key, message, scheme)), Err(rc));
        }
        let short = TpmiDhObject(short_storage_rsa(&mut tpm, TpmiAlgHash::Sha256));
        let command = encrypt(short, Vec::new(), oaep(TpmiAlgHash::Sha512));
        assert_eq!(tpm.run(command), Err(Rc::HASH));
    }

    #[test]
    fn keys_labels_and_schemes_that_do_not_fit_are_refused_in_this_order() {
        let mut tpm = testing::started();
        let own = Some(TpmtRsaScheme::Oaep(SHA256));
        let mut run = |key, label: &[u8], scheme| {
            let key = load(&mut tpm, key);
            let mut command = encrypt(key, [1; 256].to_vec(), scheme);
            command.label = Tpm2bData::new(label).unwrap();
            tpm.run(command).err()
        };
        let no_rsa = Rc::KEY.at(RsaEncrypt::key_handle);
        assert_eq!(run(ecc(None, SIGNS), b"label", RSAES), Some(no_rsa));
        let signs = Rc::ATTRIBUTES.at(RsaEncrypt::key_handle);
        assert_eq!(run(rsa(None, SIGNS), b"label", RSAES), Some(signs));
        let label = Rc::VALUE.at(RsaEncrypt::label);
        let decrypts = || rsa(own.clone(), DECRYPTS);
        assert_eq!(run(decrypts(), b"label", RSAES), Some(label));
        let scheme = Some(Rc::SCHEME.at(RsaEncrypt::in_scheme));
        assert_eq!(run(decrypts(), b"label\0", RSAES), scheme);
        assert_eq!(run(decrypts(), b"", oaep(TpmiAlgHash::Sha1)), scheme);
        assert_eq!(run(decrypts(), b"", None), Some(Rc::VALUE));
    }
}
