//! `TPM2_ZGen_2Phase` (Part 3, 14.7).

use super::{NO_POINT, decrypts_freely, ecc_parameters, exchanges_by};
use crate::execute::Execute;
use crate::keys::{ecc_point, ecc_private, wire_point};
use crate::state::Tpm;
use tpm_crypto::ecc::exchange;
use tpm_wire::algorithm::TpmiEccKeyExchange;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{ZGen2Phase, ZGen2PhaseResponse};
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
