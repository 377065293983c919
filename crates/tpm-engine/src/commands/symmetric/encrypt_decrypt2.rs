//! `TPM2_EncryptDecrypt2` (Part 3, 15.3).

use super::{Places, crypt};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EncryptDecrypt2, EncryptDecrypt2Response};
use tpm_wire::rc::Rc;

impl Execute for EncryptDecrypt2 {
    fn execute(self, tpm: &mut Tpm) -> Result<EncryptDecrypt2Response, Rc> {
        let places = Places {
            key_handle: Self::key_handle,
            mode: Self::mode,
            iv: Self::iv_in,
            data: Self::in_data,
        };
        let (mut iv, mut data) = (self.iv_in, self.in_data);
        crypt(
            tpm,
            self.key_handle.0,
            self.decrypt,
            self.mode,
            &mut iv,
            &mut data,
            &places,
        )?;
        Ok(EncryptDecrypt2Response {
            out_data: data,
            iv_out: iv,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::signature::build::*;
    use crate::commands::symmetric::build::{BOTH, Wrong, unfit_keys, unfit_parameters};
    use crate::testing;
    use tpm_wire::algorithm::*;
    use tpm_wire::buffers::*;
    use tpm_wire::commands::{EncryptDecrypt, EncryptDecrypt2};
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    fn iv() -> Tpm2bIv {
        Tpm2bIv::new(&bytes("0ab306823035661bb8dba21cc2535231")).unwrap()
    }

    fn plain() -> Vec<u8> {
        (0..32).collect()
    }

    fn command(key_handle: TpmiDhObject, data: &[u8]) -> EncryptDecrypt2 {
        EncryptDecrypt2 {
            key_handle,
            in_data: Tpm2bMaxBuffer::new(data.to_vec()).unwrap(),
            decrypt: false,
            mode: None,
            iv_in: iv(),
        }
    }

    fn old(command: &EncryptDecrypt2) -> EncryptDecrypt {
        EncryptDecrypt {
            key_handle: command.key_handle,
            decrypt: command.decrypt,
            mode: command.mode,
            iv_in: command.iv_in.clone(),
            in_data: command.in_data.clone(),
        }
    }

    use alloc::vec::Vec;

    const VECTORS: [(TpmiAlgCipherMode, &str); 5] = [
        (
            TpmiAlgCipherMode::Ctr,
            "bee5817b546424c6a2684d259907d85df54ede0f56406f55c67357e8fccea3f7",
        ),
        (
            TpmiAlgCipherMode::Ofb,
            "bee5817b546424c6a2684d259907d85ddef27a9ebae1faf85a6fd0682f6a3368",
        ),
        (
            TpmiAlgCipherMode::Cbc,
            "3526a649decf12a3e329767449153167b054f2600c658992330e6afd864ba4df",
        ),
        (
            TpmiAlgCipherMode::Cfb,
            "bee5817b546424c6a2684d259907d85d4badc2f3bb1012220195649c5cd0e461",
        ),
        (
            TpmiAlgCipherMode::Ecb,
            "1e95f44e2660c67193a7127b7884e32ca8c66cc8f53caf42579bd40d9a2db7ac",
        ),
    ];

    #[test]
    fn every_mode_gives_what_openssl_gives_and_goes_on_from_its_iv() {
        for (mode, expected) in VECTORS {
            let mut tpm = testing::started();
            let key = load(&mut tpm, aes(None, BOTH));
            let mut whole = command(key, &plain());
            whole.mode = Some(mode);
            if mode == TpmiAlgCipherMode::Ecb {
                whole.iv_in = Tpm2bIv::EMPTY;
            }
            let answer = tpm.run(whole.clone()).unwrap();
            assert_eq!(&*answer.out_data, bytes(expected));
            let same = tpm.run(old(&whole)).unwrap();
            assert_eq!(
                (same.out_data, same.iv_out),
                (answer.out_data, answer.iv_out)
            );

            let mut back = whole.clone();
            (back.in_data, back.decrypt) = (Tpm2bMaxBuffer::new(bytes(expected)).unwrap(), true);
            assert_eq!(&*tpm.run(back).unwrap().out_data, plain());

            let mut half = whole;
            half.in_data = Tpm2bMaxBuffer::new(plain()[..16].to_vec()).unwrap();
            let first = tpm.run(half.clone()).unwrap();
            half.in_data = Tpm2bMaxBuffer::new(plain()[16..].to_vec()).unwrap();
            half.iv_in = first.iv_out;
            let second = tpm.run(half).unwrap();
            assert_eq!(
                [&*first.out_data, &*second.out_data].concat(),
                bytes(expected)
            );
        }
    }

    #[test]
    fn a_stream_mode_takes_any_length() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, aes(Some(TpmiAlgSymMode::Ctr), BOTH));
        let answer = tpm.run(command(key, &plain()[..20])).unwrap();
        assert_eq!(
            &*answer.out_data,
            bytes("bee5817b546424c6a2684d259907d85df54ede0f")
        );
        assert!(tpm.run(command(key, &[])).unwrap().out_data.is_empty());
    }

    fn refusal(wrong: Wrong) -> Rc {
        match wrong {
            Wrong::Kind => Rc::KEY.at(EncryptDecrypt2::key_handle),
            Wrong::Attributes => Rc::ATTRIBUTES.at(EncryptDecrypt2::key_handle),
            Wrong::ModeOfKey => Rc::MODE.at(EncryptDecrypt2::key_handle),
            Wrong::Mode => Rc::MODE.at(EncryptDecrypt2::mode),
            Wrong::Iv => Rc::SIZE.at(EncryptDecrypt2::iv_in),
            Wrong::Data => Rc::SIZE.at(EncryptDecrypt2::in_data),
        }
    }

    #[test]
    fn keys_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        for (key, decrypt, wrong) in unfit_keys() {
            let mut command = command(load(&mut tpm, key), &plain());
            (command.decrypt, command.mode) = (decrypt, Some(TpmiAlgCipherMode::Cfb));
            assert_eq!(tpm.run(command), Err(refusal(wrong)));
        }
    }

    #[test]
    fn mode_then_iv_then_data_are_refused_where_they_stand() {
        let mut tpm = testing::started();
        for (mode_of_key, mode, iv, size, wrong) in unfit_parameters() {
            let key = load(&mut tpm, aes(mode_of_key, BOTH));
            let mut command = command(key, &plain()[..size]);
            (command.mode, command.iv_in) = (mode, iv);
            assert_eq!(tpm.run(command), Err(refusal(wrong)));
        }
    }
}
