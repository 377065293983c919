//! `TPM2_TestParms` (Part 3, 30.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{TestParms, TestParmsResponse};
use tpm_wire::rc::Rc;

impl Execute for TestParms {
    fn execute(self, _: &mut Tpm) -> Result<TestParmsResponse, Rc> {
        // What is not supported was refused when the parameters were parsed.
        Ok(TestParmsResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::Profile;
    use crate::testing::{self, TestTpm};
    use tpm_wire::algorithm::{
        TpmiAlgSymMode, TpmiAlgSymObject, TpmiEccCurve, TpmiRsaKeyBits, TpmtSymDefObject,
    };
    use tpm_wire::commands::{Startup, TestParms};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::object::{TpmsEccParms, TpmsRsaParms, TpmuPublicParms};
    use tpm_wire::rc::Rc;

    fn test(tpm: &mut TestTpm, parameters: TpmuPublicParms) -> Result<(), Rc> {
        tpm.run(TestParms { parameters }).map(|_| ())
    }

    fn rsa(bits: u16) -> TpmuPublicParms {
        TpmuPublicParms::Rsa(TpmsRsaParms {
            symmetric: None,
            scheme: None,
            key_bits: TpmiRsaKeyBits(bits),
            exponent: 0,
        })
    }

    fn cipher(algorithm: TpmiAlgSymObject, key_bits: u16) -> TpmuPublicParms {
        TpmuPublicParms::SymCipher(TpmtSymDefObject {
            algorithm,
            key_bits,
            mode: Some(TpmiAlgSymMode::Cfb),
        })
    }

    #[test]
    fn what_the_profile_has_is_accepted_and_the_rest_refused() {
        let mut small = testing::with_profile(Profile::by_name("swtpm-0.7").unwrap());
        small
            .run(Startup {
                startup_type: TpmSu::Clear,
            })
            .unwrap();
        let mut large = testing::started();
        let value = Err(Rc::VALUE.at(TestParms::parameters));
        let p256 = TpmuPublicParms::Ecc(TpmsEccParms {
            symmetric: None,
            scheme: None,
            curve_id: TpmiEccCurve::NistP256,
            kdf: None,
        });
        for (parameters, has_small) in [
            (rsa(2048), true),
            (rsa(4096), false),
            (cipher(TpmiAlgSymObject::Aes, 128), true),
            (cipher(TpmiAlgSymObject::Aes, 192), false),
            (p256, true),
        ] {
            assert_eq!(test(&mut large, parameters.clone()), Ok(()));
            let expected = if has_small { Ok(()) } else { value };
            assert_eq!(test(&mut small, parameters), expected);
        }
        assert_eq!(test(&mut large, rsa(1536)), value);
        assert_eq!(
            test(&mut small, cipher(TpmiAlgSymObject::Sm4, 128)),
            Err(Rc::SYMMETRIC.at(TestParms::parameters))
        );
    }

    #[test]
    fn each_part_that_is_not_known_has_its_code() {
        let mut tpm = testing::started();
        // An algorithm that is no type of object, then parameters with one wrong identifier each.
        let rsa = [0x00, 0x01];
        let ecc = [0x00, 0x23];
        let null = [0x00, 0x10];
        for (bytes, rc) in [
            (&[&[0x00, 0x0B][..]][..], Rc::TYPE),
            (&[&rsa, &[0x00, 0x0B]], Rc::SYMMETRIC),
            (&[&rsa, &null, &[0x00, 0x18]], Rc::VALUE),
            (&[&rsa, &null, &[0x00, 0x14], &[0x00, 0x06]], Rc::HASH),
            (&[&rsa, &null, &null, &[0x06, 0x00]], Rc::VALUE),
            (&[&ecc, &null, &[0x00, 0x14]], Rc::SCHEME),
            (&[&ecc, &null, &null, &[0x00, 0x99]], Rc::CURVE),
            (&[&ecc, &null, &null, &[0x00, 0x03], &[0x00, 0x0B]], Rc::KDF),
            (&[&[0x00, 0x25], &[0x00, 0x06], &[0x00, 0x40]], Rc::VALUE),
            (
                &[&[0x00, 0x25], &[0x00, 0x06], &[0x00, 0x80], &[0x00, 0x0B]],
                Rc::MODE,
            ),
            (&[&[0x00, 0x08], &[0x00, 0x14]], Rc::VALUE),
            (&[&rsa, &null], Rc::INSUFFICIENT),
        ] {
            let parameters = bytes.concat();
            let size = u8::try_from(10 + parameters.len()).unwrap();
            let mut command = alloc::vec![0x80, 0x01, 0, 0, 0, size, 0, 0, 0x01, 0x8A];
            command.extend(&parameters);
            let refused = testing::decode::<TestParms>(tpm.execute(&command)).err();
            assert_eq!(refused, Some(rc.at(TestParms::parameters)), "{bytes:x?}");
        }
    }
}
