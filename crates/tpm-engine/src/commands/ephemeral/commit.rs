//! `TPM2_Commit` (Part 3, 19.2).

use crate::algorithms::hash_algorithm;
use crate::execute::Execute;
use crate::keys::{ecc_point, ecc_private, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::{Point, ecdaa};
use tpm_wire::algorithm::{Tpm2bEccPoint, TpmsEccPoint, TpmtEccScheme};
use tpm_wire::buffers::{Tpm2b, Tpm2bEccParameter};
use tpm_wire::commands::{Commit, CommitResponse};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::object::TpmuPublicParms;
use tpm_wire::rc::Rc;

impl Execute for Commit {
    fn execute(self, tpm: &mut Tpm) -> Result<CommitResponse, Rc> {
        let no_key = Rc::KEY.at(Self::sign_handle);
        let key = tpm.objects.find(self.sign_handle.0).ok_or(no_key)?;
        let TpmuPublicParms::Ecc(parameters) = &key.public.parameters else {
            return Err(no_key);
        };
        if !matches!(parameters.scheme, Some(TpmtEccScheme::Ecdaa(_))) {
            return Err(Rc::SCHEME.at(Self::sign_handle));
        }
        if self.s2.is_empty() != self.y2.is_empty() {
            return Err(Rc::SIZE.at(Self::y2));
        }
        tpm.power.first_use(TpmAlgId::ECDH)?;
        let private = ecc_private(key).map_err(|_| no_key)?;
        let curve = private.curve();
        let p2 = if self.s2.is_empty() {
            None
        } else {
            let hash = key.public.name_alg.ok_or(Rc::HASH.at(Self::sign_handle))?;
            let point = ecdaa::hashed_point(curve, hash_algorithm(hash), &self.s2, &self.y2);
            Some(point.ok_or(Rc::ECC_POINT.at(Self::s2))?)
        };
        let p1 = if self.p1.x.is_empty() && self.p1.y.is_empty() {
            None
        } else {
            Some(ecc_point(curve, &self.p1).map_err(|rc| rc.at(Self::p1))?)
        };
        let secret = tpm.commits.secret(curve, &key.name, tpm.commits.counter);
        let points = ecdaa::commit(&private, &secret, p1.as_ref(), p2.as_ref())
            .map_err(|_| Rc::NO_RESULT)?;
        // What a shutdown saved would give the same secret again, and two signatures with it the key.
        tpm.void_orderly()?;
        Ok(CommitResponse {
            k: optional(points.k),
            l: optional(points.l),
            e: optional(points.e),
            counter: tpm.commits.begin(),
        })
    }
}

/// A point, or the empty point for none.
fn optional(point: Option<Point>) -> Tpm2bEccPoint {
    Tpm2b(point.map_or(
        TpmsEccPoint {
            x: Tpm2bEccParameter::EMPTY,
            y: Tpm2bEccParameter::EMPTY,
        },
        |point| wire_point(&point),
    ))
}

#[cfg(test)]
mod tests {
    // Not tested, since they cannot occur: `TPM_RC_ATTRIBUTES` (a key with an anonymous scheme signs) and
    // `TPM_RC_NO_RESULT` (no curve has a point that a key multiplies to infinity).

    use crate::commands::signature::build::*;
    use crate::keys::{ecc_private, wire_point};
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_crypto::ecc::ecdaa::hashed_point;
    use tpm_crypto::ecc::{Curve, multiply};
    use tpm_crypto::hash::HashAlgorithm;
    use tpm_wire::algorithm::*;
    use tpm_wire::buffers::*;
    use tpm_wire::commands::{Commit, EcEphemeral};
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    const NO_POINT: TpmsEccPoint = TpmsEccPoint {
        x: Tpm2bEccParameter::EMPTY,
        y: Tpm2bEccParameter::EMPTY,
    };

    fn commit(sign_handle: TpmiDhObject) -> Commit {
        Commit {
            sign_handle,
            p1: Tpm2b(NO_POINT),
            s2: Tpm2bSensitiveData::EMPTY,
            y2: Tpm2bEccParameter::EMPTY,
        }
    }

    /// A text whose hash is the x of a point, and its y.
    fn second_point() -> (Tpm2bSensitiveData, Tpm2bEccParameter) {
        let y = "313dc74e70635eb3858a1a1dd25e5eef91b181d8d218bafbc829054aa3e13036";
        (
            Tpm2bSensitiveData::new([0].to_vec()).unwrap(),
            Tpm2bEccParameter::new(&bytes(y)).unwrap(),
        )
    }

    #[test]
    fn without_points_the_base_point_is_committed_to() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecc(Some(ECDAA_KEY), SIGNS));
        let first = tpm.run(commit(key)).unwrap();
        assert_eq!((first.k.0, first.l.0), (NO_POINT, NO_POINT));
        assert_eq!(first.e.x.len(), 32);
        let second = tpm.run(commit(key)).unwrap();
        assert_eq!(second.counter, first.counter + 1);
        assert_ne!(first.e.0, second.e.0);
    }

    #[test]
    fn with_points_both_are_committed_to() {
        let mut tpm = testing::started();
        let object = ecc(Some(ECDAA_KEY), SIGNS);
        let private = ecc_private(&object).unwrap();
        let key = load(&mut tpm, object);
        let (s2, y2) = second_point();
        let mut command = commit(key);
        (command.s2, command.y2) = (s2.clone(), y2.clone());
        command.p1 = Tpm2b(wire_point(&private.public()));
        let answer = tpm.run(command.clone()).unwrap();
        let p2 = hashed_point(Curve::NistP256, HashAlgorithm::Sha256, &s2, &y2).unwrap();
        let k = multiply(Curve::NistP256, private.as_bytes(), &p2).unwrap();
        assert_eq!(answer.k.0, wire_point(&k));
        assert_eq!((answer.l.x.len(), answer.e.x.len()), (32, 32));
        command.p1 = Tpm2b(NO_POINT);
        let answer = tpm.run(command).unwrap();
        assert_eq!(answer.e.0, NO_POINT);
    }

    #[test]
    fn keys_and_points_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        let other = load(&mut tpm, rsa(None, SIGNS));
        assert_eq!(tpm.run(commit(other)), Err(Rc::KEY.at(Commit::sign_handle)));
        for scheme in [None, Some(TpmtEccScheme::Ecdsa(SHA256))] {
            let other = load(&mut tpm, ecc(scheme, SIGNS));
            let rc = Rc::SCHEME.at(Commit::sign_handle);
            assert_eq!(tpm.run(commit(other)), Err(rc));
        }
        let key = load(&mut tpm, ecc(Some(ECDAA_KEY), SIGNS));
        let mut half = commit(key);
        half.s2 = Tpm2bSensitiveData::new([0].to_vec()).unwrap();
        assert_eq!(tpm.run(half.clone()), Err(Rc::SIZE.at(Commit::y2)));
        half.y2 = Tpm2bEccParameter::new(&[5]).unwrap();
        assert_eq!(tpm.run(half.clone()), Err(Rc::ECC_POINT.at(Commit::s2)));
        let mut beside = commit(key);
        beside.p1.0.x = Tpm2bEccParameter::new(&[5]).unwrap();
        assert_eq!(tpm.run(beside), Err(Rc::ECC_POINT.at(Commit::p1)));
        let mut nameless = ecc(Some(ECDAA_KEY), SIGNS);
        nameless.public.name_alg = None;
        half.sign_handle = load(&mut tpm, nameless);
        assert_eq!(tpm.run(half), Err(Rc::HASH.at(Commit::sign_handle)));
    }

    #[test]
    fn a_shutdown_that_saved_the_counter_is_void() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, ecc(Some(ECDAA_KEY), SIGNS));
        let curve_id = TpmiEccCurve::BnP256;
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(commit(key)), Err(Rc::NV_UNAVAILABLE));
        let ephemeral = EcEphemeral { curve_id };
        assert_eq!(tpm.run(ephemeral.clone()), Err(Rc::NV_UNAVAILABLE));
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        tpm.run(commit(key)).unwrap();
        assert!(!tpm.power.is_orderly());
        shut_down(&mut tpm);
        let made = tpm.run(ephemeral).unwrap();
        assert!(!tpm.power.is_orderly());
        assert_eq!((made.q.x.len(), made.counter), (32, 1));
    }

    #[test]
    fn key_then_scheme_then_sizes_then_second_point_then_first() {
        let mut tpm = testing::started();
        let mut wrong = commit(load(&mut tpm, rsa(None, SIGNS)));
        wrong.s2 = Tpm2bSensitiveData::new([9].to_vec()).unwrap();
        wrong.p1.0.x = Tpm2bEccParameter::zeros(32);
        let mut refused = |command: &Commit| tpm.run(command.clone()).err();
        assert_eq!(refused(&wrong), Some(Rc::KEY.at(Commit::sign_handle)));
        wrong.sign_handle = load(&mut tpm, ecc(None, SIGNS));
        let mut refused = |command: &Commit| tpm.run(command.clone()).err();
        assert_eq!(refused(&wrong), Some(Rc::SCHEME.at(Commit::sign_handle)));
        wrong.sign_handle = load(&mut tpm, ecc(Some(ECDAA_KEY), SIGNS));
        let mut refused = |command: &Commit| tpm.run(command.clone()).err();
        assert_eq!(refused(&wrong), Some(Rc::SIZE.at(Commit::y2)));
        wrong.y2 = Tpm2bEccParameter::zeros(32);
        assert_eq!(refused(&wrong), Some(Rc::ECC_POINT.at(Commit::s2)));
        (wrong.s2, wrong.y2) = second_point();
        assert_eq!(refused(&wrong), Some(Rc::ECC_POINT.at(Commit::p1)));
    }
}
