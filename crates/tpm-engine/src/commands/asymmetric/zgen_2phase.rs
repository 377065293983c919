//! `TPM2_ZGen_2Phase` (Part 3, 14.7).

use super::{NO_POINT, decrypts_freely, ecc_parameters, exchanges_by};
use crate::execute::Execute;
use crate::keys::{ecc_point, ecc_private, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::exchange;
use tpm_wire::algorithm::TpmiEccKeyExchange;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{ZGen2Phase, ZGen2PhaseResponse};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

impl Execute for ZGen2Phase {
    fn execute(self, tpm: &mut Tpm) -> Result<ZGen2PhaseResponse, Rc> {
        let (key, parameters) =
            ecc_parameters(tpm.objects.find(self.key_a.0)).ok_or(Rc::KEY.at(Self::key_a))?;
        if !decrypts_freely(key) {
            return Err(Rc::ATTRIBUTES.at(Self::key_a));
        }
        if !exchanges_by(parameters, self.in_scheme.id()) {
            return Err(Rc::SCHEME.at(Self::in_scheme));
        }
        tpm.power.first_use(TpmAlgId::ECDH)?;
        let ours = ecc_private(key).map_err(|rc| rc.at(Self::key_a))?;
        let curve = ours.curve();
        let theirs = ecc_point(curve, &self.in_qs_b).map_err(|rc| rc.at(Self::in_qs_b))?;
        let their_ephemeral = ecc_point(curve, &self.in_qe_b).map_err(|rc| rc.at(Self::in_qe_b))?;
        let count = tpm
            .commits
            .find(self.counter)
            .ok_or(Rc::VALUE.at(Self::counter))?;
        let ephemeral = tpm.commits.secret(curve, &[], count);

        let (z1, z2) = match self.in_scheme {
            TpmiEccKeyExchange::Ecdh => {
                exchange::ecdh(&ours, &ephemeral, &theirs, &their_ephemeral)
                    .map(|(z1, z2)| (z1, Some(Zeroizing::new(z2))))
            }
            TpmiEccKeyExchange::Ecmqv => {
                exchange::mqv(&ours, &ephemeral, &theirs, &their_ephemeral).map(|z1| (z1, None))
            }
            TpmiEccKeyExchange::Sm2 => {
                exchange::sm2(&ours, &ephemeral, &theirs, &their_ephemeral).map(|z1| (z1, None))
            }
        }
        .map(|(z1, z2)| (Zeroizing::new(z1), z2))
        .map_err(|_| Rc::NO_RESULT)?;
        // What a shutdown saved would open the commit again.
        tpm.void_orderly()?;
        tpm.commits.end(self.counter);
        Ok(ZGen2PhaseResponse {
            out_z1: Tpm2b(wire_point(&z1)),
            out_z2: Tpm2b(z2.map_or(NO_POINT, |z2| wire_point(&z2))),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::signature::build::*;
    use crate::keys::{curve, ecc_point, ecc_public, wire_point};
    use crate::testing;
    use tpm_crypto::ecc::{PrivateKey, exchange};
    use tpm_wire::algorithm::*;
    use tpm_wire::buffers::Tpm2b;
    use tpm_wire::commands::{EcEphemeral, ZGen2Phase};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    const P256: TpmiEccCurve = TpmiEccCurve::NistP256;

    fn private(byte: u8) -> PrivateKey {
        PrivateKey::new(curve(P256), &[byte; 32]).unwrap()
    }

    fn command(key_a: TpmiDhObject, counter: u16) -> ZGen2Phase {
        ZGen2Phase {
            key_a,
            in_qs_b: Tpm2b(wire_point(&private(2).public())),
            in_qe_b: Tpm2b(wire_point(&private(3).public())),
            in_scheme: TpmiEccKeyExchange::Ecdh,
            counter,
        }
    }

    #[test]
    fn both_sides_find_the_same_points() {
        for scheme in TpmiEccKeyExchange::ALL {
            let mut tpm = testing::started();
            let key = ecc(None, DECRYPTS);
            let theirs = ecc_public(&key.public).unwrap();
            let key = load(&mut tpm, key);
            let ephemeral = tpm.run(EcEphemeral { curve_id: P256 }).unwrap();
            let point = ecc_point(curve(P256), &ephemeral.q).unwrap();
            let mut command = command(key, ephemeral.counter);
            command.in_scheme = *scheme;
            let answer = tpm.run(command).unwrap();
            let (s, e) = (private(2), private(3));
            let (z1, z2) = match scheme {
                TpmiEccKeyExchange::Ecdh => {
                    let (z1, z2) = exchange::ecdh(&s, &e, &theirs, &point).unwrap();
                    (z1, Some(z2))
                }
                TpmiEccKeyExchange::Ecmqv => {
                    (exchange::mqv(&s, &e, &theirs, &point).unwrap(), None)
                }
                TpmiEccKeyExchange::Sm2 => (exchange::sm2(&s, &e, &theirs, &point).unwrap(), None),
            };
            assert_eq!(answer.out_z1.0, wire_point(&z1));
            assert_eq!(answer.out_z2.x.is_empty(), z2.is_none());
            if let Some(z2) = z2 {
                assert_eq!(answer.out_z2.0, wire_point(&z2));
            }
        }
    }

    #[test]
    fn an_ephemeral_key_is_used_once() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecc(None, DECRYPTS));
        let counter = tpm.run(EcEphemeral { curve_id: P256 }).unwrap().counter;
        let rc = Rc::VALUE.at(ZGen2Phase::counter);
        assert_eq!(tpm.run(command(key, counter + 1)), Err(rc));
        tpm.run(command(key, counter)).unwrap();
        assert_eq!(tpm.run(command(key, counter)), Err(rc));
        let next = tpm.run(EcEphemeral { curve_id: P256 }).unwrap().counter;
        assert_eq!(next, counter + 1);
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        let key = load(&mut tpm, ecc(None, DECRYPTS));
        tpm.run(command(key, next)).unwrap();
        tpm.restart(None, TpmSu::Clear);
        let key = load(&mut tpm, ecc(None, DECRYPTS));
        assert_eq!(tpm.run(command(key, next)), Err(rc));
    }

    #[test]
    fn keys_schemes_and_points_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        let counter = tpm.run(EcEphemeral { curve_id: P256 }).unwrap().counter;
        let other = load(&mut tpm, rsa(None, DECRYPTS));
        let rc = Rc::KEY.at(ZGen2Phase::key_a);
        assert_eq!(tpm.run(command(other, counter)), Err(rc));
        for attributes in [SIGNS, STORES] {
            let other = load(&mut tpm, ecc(None, attributes));
            let rc = Rc::ATTRIBUTES.at(ZGen2Phase::key_a);
            assert_eq!(tpm.run(command(other, counter)), Err(rc));
        }
        let other = load(&mut tpm, ecc(Some(TpmtEccScheme::Ecmqv(SHA256)), DECRYPTS));
        let rc = Rc::SCHEME.at(ZGen2Phase::in_scheme);
        assert_eq!(tpm.run(command(other, counter)), Err(rc));
        let key = load(&mut tpm, ecc(None, DECRYPTS));
        let mut beside = command(key, counter);
        beside.in_qs_b.0.x = beside.in_qs_b.y.clone();
        let rc = Rc::ECC_POINT.at(ZGen2Phase::in_qs_b);
        assert_eq!(tpm.run(beside), Err(rc));
        let mut beside = command(key, counter);
        beside.in_qe_b.0.x = beside.in_qe_b.y.clone();
        let rc = Rc::ECC_POINT.at(ZGen2Phase::in_qe_b);
        assert_eq!(tpm.run(beside), Err(rc));
    }

    #[test]
    fn key_then_scheme_then_points_then_counter() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecc(Some(TpmtEccScheme::Ecmqv(SHA256)), DECRYPTS));
        let signs = load(&mut tpm, ecc(None, SIGNS));
        let mut wrong = command(signs, 9);
        wrong.in_qs_b.0.x = wrong.in_qs_b.y.clone();
        wrong.in_qe_b.0.x = wrong.in_qe_b.y.clone();
        let rc = Rc::ATTRIBUTES.at(ZGen2Phase::key_a);
        assert_eq!(tpm.run(wrong.clone()), Err(rc));
        wrong.key_a = key;
        let rc = Rc::SCHEME.at(ZGen2Phase::in_scheme);
        assert_eq!(tpm.run(wrong.clone()), Err(rc));
        wrong.in_scheme = TpmiEccKeyExchange::Ecmqv;
        let rc = Rc::ECC_POINT.at(ZGen2Phase::in_qs_b);
        assert_eq!(tpm.run(wrong.clone()), Err(rc));
        wrong.in_qs_b = command(key, 0).in_qs_b;
        let rc = Rc::ECC_POINT.at(ZGen2Phase::in_qe_b);
        assert_eq!(tpm.run(wrong.clone()), Err(rc));
        wrong.in_qe_b = command(key, 0).in_qe_b;
        let rc = Rc::VALUE.at(ZGen2Phase::counter);
        assert_eq!(tpm.run(wrong), Err(rc));
    }
}
