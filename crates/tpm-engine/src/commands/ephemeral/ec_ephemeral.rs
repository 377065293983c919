//! `TPM2_EC_Ephemeral` (Part 3, 19.3).

use crate::execute::Execute;
use crate::keys::{curve, wire_point};
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{EcEphemeral, EcEphemeralResponse};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;

impl Execute for EcEphemeral {
    fn execute(self, tpm: &mut Tpm) -> Result<EcEphemeralResponse, Rc> {
        tpm.power.first_use(TpmAlgId::ECDH)?;
        let curve = curve(self.curve_id);
        let secret = tpm.commits.secret(curve, &[], tpm.commits.counter);
        let point = secret.public();
        // What a shutdown saved would give the same secret again.
        tpm.void_orderly()?;
        Ok(EcEphemeralResponse {
            q: Tpm2b(wire_point(&point)),
            counter: tpm.commits.begin(),
        })
    }
}

#[cfg(test)]
mod tests {
    // What an ephemeral key is good for is tested with `TPM2_ZGen_2Phase`. `TPM_RC_NO_RESULT` does not occur: no curve has a
    // point that a scalar below its order multiplies to infinity.
    use crate::commands::signature::build::shut_down;
    use crate::profile::Profile;
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiEccCurve;
    use tpm_wire::commands::{EcEphemeral, Startup};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::rc::Rc;

    const P256: EcEphemeral = EcEphemeral {
        curve_id: TpmiEccCurve::NistP256,
    };

    #[test]
    fn every_curve_gives_another_point_each_time() {
        let mut tpm = testing::started();
        for (number, curve_id) in TpmiEccCurve::ALL.iter().copied().enumerate() {
            let first = tpm.run(EcEphemeral { curve_id }).unwrap();
            let second = tpm.run(EcEphemeral { curve_id }).unwrap();
            assert_eq!(usize::from(first.counter), 2 * number);
            assert_eq!(second.counter, first.counter + 1);
            assert_ne!(first.q, second.q);
        }
    }

    #[test]
    fn a_shutdown_that_saved_the_counter_is_void() {
        let mut tpm = testing::started();
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(P256), Err(Rc::NV_UNAVAILABLE));
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        tpm.run(P256).unwrap();
        assert!(!tpm.power.is_orderly());
    }

    #[test]
    fn a_curve_that_the_profile_has_not_is_curve_at_parameter_1() {
        let mut profile = Profile::default();
        let curve_id = TpmiEccCurve::NistP192;
        profile.limits.remove_curve(curve_id.id().0);
        let mut tpm = testing::with_profile(profile);
        let startup_type = TpmSu::Clear;
        tpm.run(Startup { startup_type }).unwrap();
        let rc = Rc::CURVE.at(EcEphemeral::curve_id);
        assert_eq!(tpm.run(EcEphemeral { curve_id }), Err(rc));
    }
}
