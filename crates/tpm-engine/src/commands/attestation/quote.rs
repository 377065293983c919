//! `TPM2_Quote` (Part 3, 18.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attest::{TpmsQuoteInfo, TpmuAttest};
use tpm_wire::commands::{Quote, QuoteResponse};
use tpm_wire::rc::Rc;

impl Execute for Quote {
    fn execute(self, tpm: &mut Tpm) -> Result<QuoteResponse, Rc> {
        let signer = tpm.signer(
            self.sign_handle,
            self.in_scheme,
            Self::sign_handle,
            Self::in_scheme,
        )?;
        // The hash of the scheme makes the digest too: without a key there is none.
        let hash_alg = signer.hash_alg().ok_or(Rc::SCHEME.at(Self::in_scheme))?;
        let (pcr_select, pcr_digest) = tpm.pcrs.digest(hash_alg, &self.pcr_select);
        let info = TpmsQuoteInfo {
            pcr_select,
            pcr_digest,
        };
        let (quoted, signature) =
            tpm.attest(&signer, self.qualifying_data, TpmuAttest::Quote(info))?;
        Ok(QuoteResponse { quoted, signature })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::attestation::build::*;
    use crate::commands::signature::build::{
        SHA256, SIGNS, bytes, ecc, ecdaa, hmac, load, rsa, shut_down,
    };
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::{TpmiAlgHash, TpmtSigScheme};
    use tpm_wire::attest::TpmuAttest;
    use tpm_wire::commands::Quote;
    use tpm_wire::handles::{TpmHandle, TpmiDhObject};
    use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};
    use tpm_wire::rc::Rc;

    fn selection() -> TpmlPcrSelection {
        TpmlPcrSelection::from_iter([TpmsPcrSelection {
            hash: TpmiAlgHash::Sha256,
            pcr_select: TpmsPcrSelect::of(&[0, 16]),
        }])
    }

    fn quote(sign_handle: Option<TpmiDhObject>) -> Quote {
        Quote {
            sign_handle,
            qualifying_data: nonce(),
            in_scheme: None,
            pcr_select: selection(),
        }
    }

    #[test]
    fn attests_the_values_of_pcrs() {
        let mut tpm = testing::started();
        tpm.pcrs.extend(TpmiAlgHash::Sha256, 16, &[7; 32]);
        let key = signer(&mut tpm, TpmHandle::ENDORSEMENT);
        let answer = tpm.run(quote(Some(key))).unwrap();
        let attest = verified(&mut tpm, key, &answer.quoted, answer.signature);
        assert_eq!(attest.extra_data, nonce());
        let TpmuAttest::Quote(info) = attest.attested else {
            panic!("another attestation");
        };
        assert_eq!(info.pcr_select, selection());
        // SHA-256 of PCR 0, all zeros, and PCR 16, SHA-256 of 32 zeros and 32 sevens; by sha256sum.
        assert_eq!(
            &*info.pcr_digest,
            bytes("0da5059884672434522a89d51fd0c186814848a705e128ccff1ee32f2ecaad1d")
        );
    }

    #[test]
    fn counts_and_version_are_in_the_open_for_endorsement_and_platform_keys_alone() {
        for (hierarchy, in_the_open) in [
            (TpmHandle::ENDORSEMENT, true),
            (TpmHandle::PLATFORM, true),
            (TpmHandle::OWNER, false),
            (TpmHandle::NULL, false),
        ] {
            let mut tpm = testing::started();
            let key = signer(&mut tpm, hierarchy);
            let name = tpm.objects.get(key.0).unwrap().qualified_name.clone();
            let quoted = tpm.run(quote(Some(key))).unwrap().quoted;
            let attest = parsed(&quoted);
            assert_eq!(attest.qualified_signer, name);
            let clock = tpm.clock.info().clock_info;
            assert_eq!(attest.clock_info == clock, in_the_open);
            assert_eq!(
                attest.firmware_version == tpm.profile.firmware_version,
                in_the_open
            );
            // Whatever hides it, it is the same each time: a verifier can see a reset.
            let again = parsed(&tpm.run(quote(Some(key))).unwrap().quoted);
            assert_eq!(attest.clock_info, again.clock_info);
        }
    }

    #[test]
    fn banks_and_pcrs_that_are_not_there_are_not_quoted() {
        let mut tpm = testing::started();
        let key = signer(&mut tpm, TpmHandle::ENDORSEMENT);
        let mut command = quote(Some(key));
        if let Some(bank) = command.pcr_select.first_mut() {
            bank.hash = TpmiAlgHash::Sm3_256;
        }
        let quoted = tpm.run(command).unwrap().quoted;
        let TpmuAttest::Quote(info) = parsed(&quoted).attested else {
            panic!("another attestation");
        };
        assert!(
            info.pcr_select
                .iter()
                .all(|bank| bank.pcr_select.is_empty())
        );
    }

    #[test]
    fn rsa_and_hmac_keys_quote_too() {
        for (key, scheme) in [
            (rsa(None, SIGNS), TpmtSigScheme::Rsapss(SHA256)),
            (hmac(None, SIGNS), TpmtSigScheme::Hmac(SHA256)),
        ] {
            let mut tpm = testing::started();
            let key = load(&mut tpm, key);
            let mut command = quote(Some(key));
            command.in_scheme = Some(scheme);
            let answer = tpm.run(command).unwrap();
            verified(&mut tpm, key, &answer.quoted, answer.signature);
        }
    }

    #[test]
    fn keys_and_schemes_that_do_not_fit_are_refused() {
        let mut tpm = testing::started();
        let rc = Rc::SCHEME.at(Quote::in_scheme);
        assert_eq!(tpm.run(quote(None)), Err(rc));
        let open = load(&mut tpm, ecc(None, SIGNS));
        assert_eq!(tpm.run(quote(Some(open))), Err(rc));
        let storage = load(
            &mut tpm,
            ecc(None, crate::commands::signature::build::STORES),
        );
        let rc = Rc::KEY.at(Quote::sign_handle);
        assert_eq!(tpm.run(quote(Some(storage))), Err(rc));
    }

    #[test]
    fn an_anonymous_key_needs_a_commit_that_is_open_and_storage_what_a_shutdown_saved() {
        let mut tpm = testing::started();
        let key = anonymous_signer(&mut tpm);
        let mut anonymous = quote(Some(key));
        anonymous.in_scheme = Some(ecdaa(0));
        assert_eq!(tpm.run(anonymous), Err(Rc::VALUE));
        let key = signer(&mut tpm, TpmHandle::OWNER);
        let signed = quote(Some(key));
        shut_down(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(signed), Err(Rc::NV_UNAVAILABLE));
    }
}
