//! `TPM2_Commit` (Part 3, 19.2).

use crate::algorithms::hash_algorithm;
use crate::execute::Execute;
use crate::keys::{ecc_point, ecc_private, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::{Point, ecdaa};
use tpm_wire::algorithm::{Tpm2bEccPoint, TpmsEccPoint, TpmtEccScheme};
use tpm_wire::buffers::{Tpm2b, Tpm2bEccParameter};
use tpm_wire::commands::{Commit, CommitResponse};
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
        let private = ecc_private(key).map_err(|_| no_key)?;
        let curve = private.curve();
        let p2 = if self.s2.is_empty() {
            None
        } else {
            let hash = key
                .public
                .name_alg
                .ok_or(Rc::HASH.at(Self::sign_handle))?;
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
