//! `TPM2_GetTime` (Part 3, 18.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attest::{TpmsTimeAttestInfo, TpmuAttest};
use tpm_wire::commands::{GetTime, GetTimeResponse};
use tpm_wire::rc::Rc;

impl Execute for GetTime {
    fn execute(self, tpm: &mut Tpm) -> Result<GetTimeResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        // The privacy administrator agreed: here counts and version are in the open, whatever key signs.
        let info = TpmsTimeAttestInfo {
            time: tpm.clock.info(),
            firmware_version: tpm.profile.firmware_version,
        };
        let (time_info, signature) =
            tpm.attest(&signer, self.qualifying_data, TpmuAttest::Time(info))?;
        Ok(GetTimeResponse {
            time_info,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::attestation::build::*;
    use crate::commands::signature::build::*;
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::attest::TpmuAttest;
    use tpm_wire::commands::GetTime;
    use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiRhEndorsement};
    use tpm_wire::rc::Rc;

    fn get_time(sign_handle: Option<TpmiDhObject>) -> GetTime {
        GetTime {
            privacy_admin_handle: TpmiRhEndorsement(TpmHandle::ENDORSEMENT),
            sign_handle,
            qualifying_data: nonce(),
            in_scheme: None,
        }
    }

    #[test]
    fn attests_time_and_clock_in_the_open() {
        let mut tpm = testing::started();
        let key = signer(&mut tpm, TpmHandle::OWNER);
        tpm.script.now.store(1234, Ordering::Relaxed);
        let answer = tpm.run(get_time(Some(key))).unwrap();
        let attest = verified(&mut tpm, key, &answer.time_info, answer.signature);
        let TpmuAttest::Time(info) = attest.attested else {
            panic!("another attestation");
        };
        assert_eq!(info.time, tpm.clock.info());
        assert_eq!(info.time.time, 1234);
        assert_eq!(info.firmware_version, tpm.profile.firmware_version);
        assert_ne!(attest.clock_info, info.time.clock_info);
    }

    #[test]
    fn keys_and_schemes_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        assert_eq!(tpm.run(get_time(None)).unwrap().signature, None);
        let storage = load(&mut tpm, ecc(None, STORES));
        let rc = Rc::KEY.at(GetTime::sign_handle);
        assert_eq!(tpm.run(get_time(Some(storage))), Err(rc));
        let open = load(&mut tpm, ecc(None, SIGNS));
        let rc = Rc::SCHEME.at(GetTime::in_scheme);
        assert_eq!(tpm.run(get_time(Some(open))), Err(rc));
    }

    #[test]
    fn an_anonymous_key_needs_a_commit_that_is_open_and_storage_what_a_shutdown_saved() {
        let mut tpm = testing::started();
        let key = anonymous_signer(&mut tpm);
        let mut anonymous = get_time(Some(key));
        anonymous.in_scheme = Some(ecdaa(0));
        assert_eq!(tpm.run(anonymous), Err(Rc::VALUE));
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let signed = get_time(Some(key));
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(signed), Err(Rc::NV_UNAVAILABLE));
    }
}
