//! `TPM2_ECDH_KeyGen` (Part 3, 14.4).

use super::ecc_parameters;
use crate::execute::Execute;
use crate::keys::{ecc_public, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::{EccError, generate, multiply};
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{EcdhKeyGen, EcdhKeyGenResponse};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

impl Execute for EcdhKeyGen {
    fn execute(self, tpm: &mut Tpm) -> Result<EcdhKeyGenResponse, Rc> {
        let (key, _) = ecc_parameters(tpm.objects.find(self.key_handle.0))
            .ok_or(Rc::KEY.at(Self::key_handle))?;
        tpm.power.first_use(TpmAlgId::ECDH)?;
        let public = ecc_public(&key.public).map_err(|_| Rc::KEY.at(Self::key_handle))?;
        loop {
            let (ephemeral, point) = generate(public.curve(), &mut tpm.random);
            match multiply(public.curve(), ephemeral.as_bytes(), &public).map(Zeroizing::new) {
                Ok(shared) => {
                    return Ok(EcdhKeyGenResponse {
                        z_point: Tpm2b(wire_point(&shared)),
                        pub_point: Tpm2b(wire_point(&point)),
                    });
                }
                Err(EccError::Infinity) => {}
                Err(_) => return Err(Rc::KEY.at(Self::key_handle)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    // That both sides find the same point is tested with `TPM2_ECDH_ZGen`.
    use crate::commands::signature::build::*;
    use crate::testing;
    use tpm_wire::commands::EcdhKeyGen;
    use tpm_wire::object::TpmuPublicId;
    use tpm_wire::rc::Rc;

    #[test]
    fn any_key_on_a_curve_will_do_and_no_point_comes_twice() {
        let mut tpm = testing::started();
        for attributes in [SIGNS, DECRYPTS, STORES] {
            let key_handle = load(&mut tpm, ecc(None, attributes));
            let mut run = || tpm.run(EcdhKeyGen { key_handle }).unwrap();
            let (first, second) = (run(), run());
            assert_ne!(first.pub_point, second.pub_point);
            assert_ne!(first.z_point, second.z_point);
        }
    }

    #[test]
    fn a_key_of_another_kind_or_beside_its_curve_is_key_at_handle_1() {
        let mut tpm = testing::started();
        let mut beside = ecc(None, DECRYPTS);
        if let TpmuPublicId::Ecc(point) = &mut beside.public.unique {
            point.y = point.x.clone();
        }
        for key in [hmac(None, DECRYPTS), rsa(None, DECRYPTS), beside] {
            let key_handle = load(&mut tpm, key);
            let rc = Rc::KEY.at(EcdhKeyGen::key_handle);
            assert_eq!(tpm.run(EcdhKeyGen { key_handle }), Err(rc));
        }
    }
}
