//! `TPM2_RSA_Decrypt` (Part 3, 14.3).

use super::{Padding, decrypts_freely, is_label, padding, rsa_parameters};
use crate::execute::Execute;
use crate::keys::rsa_private;
use crate::state::Tpm;
use tpm_crypto::rsa::{RsaError, oaep, pkcs1, private_raw};
use tpm_wire::buffers::Tpm2bPublicKeyRsa;
use tpm_wire::commands::{RsaDecrypt, RsaDecryptResponse};
use tpm_wire::rc::Rc;

impl Execute for RsaDecrypt {
    fn execute(self, tpm: &mut Tpm) -> Result<RsaDecryptResponse, Rc> {
        let (key, parameters) = rsa_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        if !decrypts_freely(key) {
            return Err(Rc::ATTRIBUTES.at(Self::key_handle));
        }
        if !is_label(&self.label) {
            return Err(Rc::VALUE.at(Self::label));
        }
        let padding = padding(parameters, self.in_scheme, Self::in_scheme)?;
        tpm.power.first_use(padding.algorithm())?;
        let mut private = rsa_private(key, &*tpm.platform).map_err(|rc| rc.at(Self::key_handle))?;
        if self.cipher_text.len() != private.public().len() {
            return Err(Rc::SIZE);
        }
        let random = &mut tpm.random;
        let message = match padding {
            Padding::Raw => private_raw(&mut private, &self.cipher_text, random),
            Padding::Rsaes => pkcs1::decrypt(&mut private, &self.cipher_text, random),
            Padding::Oaep(hash) => {
                oaep::decrypt(&mut private, hash, &self.label, &self.cipher_text, random)
            }
        };
        let mut message = message.map_err(|error| match error {
            RsaError::InputTooLarge => Rc::SIZE,
            RsaError::Binding | RsaError::Fault => Rc::BINDING,
            _ => Rc::VALUE,
        })?;
        // The buffer of the response wipes the message in its turn.
        let message = Tpm2bPublicKeyRsa::new(core::mem::take(&mut *message)).ok_or(Rc::SIZE)?;
        Ok(RsaDecryptResponse { message })
    }
}

#[cfg(test)]
mod tests {
    // `TPM_RC_BINDING` does not occur: a key whose halves do not match cannot be loaded.

    use crate::commands::signature::build::*;
    use crate::testing;
    use tpm_wire::algorithm::*;
    use tpm_wire::buffers::*;
    use tpm_wire::codec::TpmsEmpty;
    use tpm_wire::commands::{RsaDecrypt, RsaEncrypt};
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    const OAEP: &str = "7481fc52a9325d0c5844eb125d880e550c7dcf003214a4d2226d9b583a227591c77e9c14951e2ec2c98e256fdcdaf5973f892955876d531d41be5b04d5df1ed86235b60067a6864fbc7d996e5b353f9d084c3f5233449dbab3ca4e5c6fbc0f1bf799db060a4f90ad9a6c9f23520b65e8c21bf0d12731d5087912c17d4304150af8b3a2a4786d6f3017b59cf8535d765771f7ea0a44fde6f54af3fc6cb1249b39cc527e7a36b9f7f28a6f4139d7bc2e08361e1b928c7b8cb1f0f505868497670491ab45626c7d03745ce03520fdfe646a12ec74e54fef13ae50dc0d2266e6c97e8b47e8936d91100014e45eba27935d902306cd5aed3a2461861662062fbd9de6";
    const RSAES: &str = "a05abafab1480f785c09867ed263ec3c4b14b51b443ab67400a27d3d314d4a211c3a2dbdc5f3bdac31dfa1986d674b3f7675b9f956477962e15b8740dfa510e5b1c74d183a219b092f1958a09b9d8aef14ac5da60030139173a623158bab76fd6acdfa8086fae1486239950f7a1c230425540d8e17ab89afedaf65d64ac1f1ef778d7c1f35e184ce7a988f9d869e755923bfcc1e922007c0334c341bffb378ae23c00a1e143fb2a9cd2c1de6c2368181d88d5acc817e5c0b72ab1b17cd42153df80e80427480072dba3341d4c29b750bec868faf7a37cb6cbe8d605f9ff2ae5388794e56eb87eb75524cfff6ff2ccaea7885814db1d7a15f8f0a8259e42a721d";
    const RAW: &str = "8fc7a541dd1f8653d0c2bc30104cf9f9e7a6ad1ab21d0aaf8c8fc61a906378135f2763d60d0f73cef3224ff68754fbfd79879abb57cecd8dd5465cb96625cc385f0cbb7728ec10b2a41486967db1f8450e15429ac263f3b32a0cfb05b2dc15dcf4ae0b2d627283040de6fd0938525adcc66229ff62b7ec227bbdc6ea2b960fe1028420d4a9c09dc7888886364cb02f8b75b75bb3f08fa19188494663749b5d660140d1387fa90163e3579cc102454bef0b85b5f7fb2748ae12fee495a6b6a2399220c6640bfacbf2c147455c1c2f54c95c3b87ce3c4c3727fb8e4eb7ef5348dc28c952d39bf037af4837c7b82b8ff8f4c25166103e7fcfdc0f8454e05280d3b4";

    fn decrypt(key_handle: TpmiDhObject, digits: &str) -> RsaDecrypt {
        RsaDecrypt {
            key_handle,
            cipher_text: Tpm2bPublicKeyRsa::new(bytes(digits)).unwrap(),
            in_scheme: None,
            label: Tpm2bData::EMPTY,
        }
    }

    fn encrypt(key_handle: TpmiDhObject, message: &[u8]) -> RsaEncrypt {
        RsaEncrypt {
            key_handle,
            message: Tpm2bPublicKeyRsa::new(message.to_vec()).unwrap(),
            in_scheme: None,
            label: Tpm2bData::EMPTY,
        }
    }

    fn label() -> Tpm2bData {
        Tpm2bData::new(b"label\0").unwrap()
    }

    #[test]
    fn decrypts_what_openssl_encrypted() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, rsa(None, DECRYPTS));
        let mut command = decrypt(key, OAEP);
        command.in_scheme = Some(TpmtRsaDecrypt::Oaep(SHA256));
        command.label = label();
        assert_eq!(&*tpm.run(command.clone()).unwrap().message, b"secret");
        command.label = Tpm2bData::EMPTY;
        assert_eq!(tpm.run(command), Err(Rc::VALUE));
        let mut command = decrypt(key, RSAES);
        command.in_scheme = Some(TpmtRsaDecrypt::Rsaes(TpmsEmpty));
        assert_eq!(&*tpm.run(command).unwrap().message, b"secret");
        let message = tpm.run(decrypt(key, RAW)).unwrap().message;
        assert_eq!(message.len(), 256);
        assert!(message.ends_with(b"\x00\x01raw"));
    }

    #[test]
    fn decrypts_what_the_tpm_encrypted_by_the_scheme_of_the_key() {
        for scheme in [TpmtRsaScheme::Oaep(SHA256), TpmtRsaScheme::Rsaes(TpmsEmpty)] {
            let mut tpm = testing::started();
            let key = load(&mut tpm, rsa(Some(scheme), DECRYPTS));
            let hidden = tpm.run(encrypt(key, b"secret")).unwrap().out_data;
            let mut command = decrypt(key, "");
            command.cipher_text = hidden;
            assert_eq!(&*tpm.run(command).unwrap().message, b"secret");
        }
    }

    #[test]
    fn encrypts_numbers_as_they_are_without_padding() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, rsa(None, DECRYPTS));
        let mut message = [0; 300].to_vec();
        message.extend(b"\x01raw");
        let hidden = tpm.run(encrypt(key, &message)).unwrap().out_data;
        assert_eq!(&*hidden, bytes(RAW));
        let too_large = decrypt(key, &"ff".repeat(256));
        assert_eq!(tpm.run(too_large), Err(Rc::SIZE));
        assert_eq!(tpm.run(decrypt(key, "01")), Err(Rc::SIZE));
    }

    #[test]
    fn labels_end_with_a_zero_octet() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, rsa(None, DECRYPTS));
        let mut command = decrypt(key, RAW);
        command.label = Tpm2bData::new(b"label").unwrap();
        assert_eq!(tpm.run(command), Err(Rc::VALUE.at(RsaDecrypt::label)));
    }

    #[test]
    fn key_and_caller_must_agree_on_the_scheme() {
        let mut tpm = testing::started();
        let own = Some(TpmtRsaScheme::Oaep(SHA256));
        let key = load(&mut tpm, rsa(own, DECRYPTS));
        let sha1 = TpmsSchemeHash {
            hash_alg: TpmiAlgHash::Sha1,
        };
        for given in [TpmtRsaDecrypt::Oaep(sha1), TpmtRsaDecrypt::Rsaes(TpmsEmpty)] {
            let mut command = decrypt(key, RAW);
            command.in_scheme = Some(given);
            assert_eq!(tpm.run(command), Err(Rc::SCHEME.at(RsaDecrypt::in_scheme)));
        }
    }

    #[test]
    fn keys_of_another_kind_are_refused() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecc(None, DECRYPTS));
        let rc = Rc::KEY.at(RsaDecrypt::key_handle);
        assert_eq!(tpm.run(decrypt(key, RAW)), Err(rc));
        for attributes in [SIGNS, STORES] {
            let key = load(&mut tpm, rsa(None, attributes));
            let rc = Rc::ATTRIBUTES.at(RsaDecrypt::key_handle);
            assert_eq!(tpm.run(decrypt(key, RAW)), Err(rc));
        }
    }

    #[test]
    fn key_then_label_then_scheme_then_size() {
        let mut tpm = testing::started();
        let own = Some(TpmtRsaScheme::Oaep(SHA256));
        let key = load(&mut tpm, rsa(own.clone(), DECRYPTS));
        let signs = load(&mut tpm, rsa(None, SIGNS));
        let mut command = decrypt(signs, "01");
        command.label = Tpm2bData::new(b"label").unwrap();
        command.in_scheme = Some(TpmtRsaDecrypt::Rsaes(TpmsEmpty));
        let rc = Rc::ATTRIBUTES.at(RsaDecrypt::key_handle);
        assert_eq!(tpm.run(command.clone()), Err(rc));
        command.key_handle = key;
        let rc = Rc::VALUE.at(RsaDecrypt::label);
        assert_eq!(tpm.run(command.clone()), Err(rc));
        command.label = label();
        let rc = Rc::SCHEME.at(RsaDecrypt::in_scheme);
        assert_eq!(tpm.run(command.clone()), Err(rc));
        command.in_scheme = None;
        assert_eq!(tpm.run(command), Err(Rc::SIZE));
    }
}
