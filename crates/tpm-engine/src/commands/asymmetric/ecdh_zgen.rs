//! `TPM2_ECDH_ZGen` (Part 3, 14.5).

use super::{decrypts_freely, ecc_parameters, exchanges_by};
use crate::execute::Execute;
use crate::keys::{ecc_point, ecc_private, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::multiply;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{EcdhZGen, EcdhZGenResponse};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

impl Execute for EcdhZGen {
    fn execute(self, tpm: &mut Tpm) -> Result<EcdhZGenResponse, Rc> {
        let (key, parameters) = ecc_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        if !decrypts_freely(key) {
            return Err(Rc::ATTRIBUTES.at(Self::key_handle));
        }
        if !exchanges_by(parameters, TpmAlgId::ECDH) {
            return Err(Rc::SCHEME.at(Self::key_handle));
        }
        tpm.power.first_use(TpmAlgId::ECDH)?;
        let private = ecc_private(key).map_err(|rc| rc.at(Self::key_handle))?;
        let point =
            ecc_point(private.curve(), &self.in_point).map_err(|rc| rc.at(Self::in_point))?;
        let shared = multiply(private.curve(), private.as_bytes(), &point)
            .map(Zeroizing::new)
            .map_err(|_| Rc::NO_RESULT)?;
        Ok(EcdhZGenResponse {
            out_point: Tpm2b(wire_point(&shared)),
        })
    }
}

#[cfg(test)]
mod tests {
    // `TPM_RC_NO_RESULT` does not occur: no curve has a point that a key multiplies to infinity.

    use crate::commands::signature::build::*;
    use crate::testing;
    use tpm_wire::algorithm::*;
    use tpm_wire::buffers::*;
    use tpm_wire::commands::{EcdhKeyGen, EcdhZGen};
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    fn peer() -> TpmsEccPoint {
        TpmsEccPoint {
            x: Tpm2bEccParameter::new(&bytes(
                "304cffec57093a3687759a8a24c06d7644a8dfa78eb51dd4a1f26c9c3fdc5a9d",
            ))
            .unwrap(),
            y: Tpm2bEccParameter::new(&bytes(
                "6bb9f3ad495e041d925da662f5a0064ec172263fe7bb1cf70330e931ec2408be",
            ))
            .unwrap(),
        }
    }

    fn z_gen(key_handle: TpmiDhObject) -> EcdhZGen {
        EcdhZGen {
            key_handle,
            in_point: Tpm2b(peer()),
        }
    }

    #[test]
    fn agrees_with_openssl() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecc(None, DECRYPTS));
        let shared = tpm.run(z_gen(key)).unwrap().out_point;
        assert_eq!(
            &*shared.x,
            bytes("c6633c9b45888a90a76f1880238ab4d02b8be38ae20937928cd9499f7aa8d064")
        );
    }

    #[test]
    fn both_sides_find_the_same_point() {
        for scheme in [None, Some(TpmtEccScheme::Ecdh(SHA256))] {
            let mut tpm = testing::started();
            let key_handle = load(&mut tpm, ecc(scheme, DECRYPTS));
            let made = tpm.run(EcdhKeyGen { key_handle }).unwrap();
            let mut command = z_gen(key_handle);
            command.in_point = made.pub_point;
            assert_eq!(tpm.run(command).unwrap().out_point, made.z_point);
        }
    }

    #[test]
    fn keys_of_another_kind_are_refused() {
        let mut tpm = testing::started();
        let key_handle = load(&mut tpm, hmac(None, DECRYPTS));
        let rc = Rc::KEY.at(EcdhZGen::key_handle);
        assert_eq!(tpm.run(z_gen(key_handle)), Err(rc));
        for attributes in [SIGNS, STORES] {
            let key_handle = load(&mut tpm, ecc(None, attributes));
            let rc = Rc::ATTRIBUTES.at(EcdhZGen::key_handle);
            assert_eq!(tpm.run(z_gen(key_handle)), Err(rc));
        }
        let key = load(&mut tpm, ecc(Some(TpmtEccScheme::Ecmqv(SHA256)), DECRYPTS));
        let rc = Rc::SCHEME.at(EcdhZGen::key_handle);
        assert_eq!(tpm.run(z_gen(key)), Err(rc));
    }

    #[test]
    fn points_beside_the_curve_are_refused() {
        let mut tpm = testing::started();
        let mut command = z_gen(load(&mut tpm, ecc(None, DECRYPTS)));
        command.in_point.0.y = command.in_point.x.clone();
        let rc = Rc::ECC_POINT.at(EcdhZGen::in_point);
        assert_eq!(tpm.run(command), Err(rc));
    }
}
