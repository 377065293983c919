//! `TPM2_ECC_Parameters` (Part 3, 14.6).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::keys::curve;
use crate::state::Tpm;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiEccCurve, TpmsAlgorithmDetailEcc, TpmsSchemeHash, TpmtKdfScheme,
};
use tpm_wire::buffers::Tpm2bEccParameter;
use tpm_wire::commands::{EccParameters, EccParametersResponse};
use tpm_wire::rc::Rc;

impl Execute for EccParameters {
    fn execute(self, _: &mut Tpm) -> Result<EccParametersResponse, Rc> {
        let curve = curve(self.curve_id);
        let known = curve.parameters();
        Ok(EccParametersResponse {
            parameters: TpmsAlgorithmDetailEcc {
                curve_id: self.curve_id.id(),
                key_size: curve.bits(),
                kdf: kdf(self.curve_id),
                sign: None,
                p: small(known.p),
                a: trimmed(known.a),
                b: small(known.b),
                g_x: small(known.gx),
                g_y: small(known.gy),
                n: small(known.n),
                h: trimmed(known.h),
            },
        })
    }
}

/// The KDF that goes with a curve.
const fn kdf(curve: TpmiEccCurve) -> Option<TpmtKdfScheme> {
    let hash_alg = match curve {
        TpmiEccCurve::NistP192 | TpmiEccCurve::NistP224 | TpmiEccCurve::NistP256 => {
            TpmiAlgHash::Sha256
        }
        TpmiEccCurve::NistP384 => TpmiAlgHash::Sha384,
        TpmiEccCurve::NistP521 => TpmiAlgHash::Sha512,
        TpmiEccCurve::Sm2P256 => TpmiAlgHash::Sm3_256,
        TpmiEccCurve::BnP256 | TpmiEccCurve::BnP638 => return None,
    };
    Some(TpmtKdfScheme::Kdf1Sp80056a(TpmsSchemeHash { hash_alg }))
}

/// A number without zero octets in front; zero is one octet. The coefficient a of some curves is zero.
fn trimmed(number: &[u8]) -> Tpm2bEccParameter {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let zeros = zeros.min(number.len().saturating_sub(1));
    small(number.get(zeros..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use crate::profile::Profile;
    use crate::testing;
    use tpm_wire::algorithm::TpmiEccCurve;
    use tpm_wire::commands::{EccParameters, Startup};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::rc::Rc;

    #[test]
    fn numbers_are_as_long_as_libtpms_gives_them() {
        let mut tpm = testing::started();
        let mut of = |curve_id| tpm.run(EccParameters { curve_id }).unwrap().parameters;
        let p521 = of(TpmiEccCurve::NistP521);
        assert_eq!((p521.key_size, p521.p.len(), p521.b.len()), (521, 66, 66));
        assert_eq!(p521.g_x.len(), 66);
        let bn = of(TpmiEccCurve::BnP256);
        assert_eq!((&*bn.a, &*bn.h), (&[0][..], &[1][..]));
        assert_eq!((bn.b.len(), bn.g_x.len(), bn.n.len()), (32, 32, 32));
        assert!(bn.kdf.is_none() && bn.sign.is_none());
    }

    #[test]
    fn every_curve_is_known() {
        let mut tpm = testing::started();
        for curve_id in TpmiEccCurve::ALL {
            let curve_id = *curve_id;
            let parameters = tpm.run(EccParameters { curve_id }).unwrap().parameters;
            assert_eq!(parameters.curve_id, curve_id.id());
        }
    }

    #[test]
    fn a_curve_that_the_profile_has_not_is_refused_by_the_parser() {
        // Hence `TPM_RC_VALUE` does not occur.
        let mut profile = Profile::default();
        let curve_id = TpmiEccCurve::BnP638;
        profile.limits.remove_curve(curve_id.id().0);
        let mut tpm = testing::with_profile(profile);
        let startup_type = TpmSu::Clear;
        tpm.run(Startup { startup_type }).unwrap();
        let rc = Rc::CURVE.at(EccParameters::curve_id);
        assert_eq!(tpm.run(EccParameters { curve_id }), Err(rc));
    }
}
