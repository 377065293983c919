//! `TPM2_MAC_Start` and `TPM2_HMAC_Start`, which share a code (Part 3, 17.2 and 17.3).

use crate::commands::symmetric::{MacState, start_mac};
use crate::execute::Execute;
use crate::object::{Sequence, SequenceState, Slot};
use crate::state::Tpm;
use alloc::boxed::Box;
use tpm_wire::commands::{MacStart, MacStartResponse};
use tpm_wire::handles::TpmiDhObject;
use tpm_wire::rc::Rc;

impl Execute for MacStart {
    fn execute(self, tpm: &mut Tpm) -> Result<MacStartResponse, Rc> {
        let mac = start_mac(
            tpm,
            self.handle.0,
            self.in_scheme,
            Self::handle,
            Self::in_scheme,
        )?;
        let state = match mac {
            MacState::Hmac(hash, hmac) => SequenceState::Hmac { hmac, hash },
            MacState::Cmac(cmac) => SequenceState::Cmac(cmac),
        };
        let auth = self.auth;
        let handle = tpm
            .objects
            .insert(Slot::Sequence(Box::new(Sequence { auth, state })))?;
        Ok(MacStartResponse {
            sequence_handle: TpmiDhObject(handle),
        })
    }
}

#[cfg(test)]
mod tests {
    // What a sequence comes to is tested with `TPM2_SequenceComplete`.
    use crate::commands::object::build::fill_slots;
    use crate::commands::signature::build::*;
    use crate::commands::symmetric::build::{NoMac, unfit_for_mac};
    use crate::testing;
    use tpm_wire::algorithm::TpmiAlgMacScheme;
    use tpm_wire::buffers::Tpm2bAuth;
    use tpm_wire::commands::MacStart;
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    fn start(handle: TpmiDhObject, in_scheme: Option<TpmiAlgMacScheme>) -> MacStart {
        MacStart {
            handle,
            auth: Tpm2bAuth::EMPTY,
            in_scheme,
        }
    }

    #[test]
    fn keys_and_schemes_that_do_not_fit_are_refused() {
        for (key, in_scheme, why) in unfit_for_mac() {
            let mut tpm = testing::started();
            let handle = load(&mut tpm, key);
            let rc = match why {
                NoMac::Kind => Rc::TYPE.at(MacStart::handle),
                NoMac::Disagreement => Rc::VALUE.at(MacStart::in_scheme),
                NoMac::Scheme => Rc::SCHEME.at(MacStart::in_scheme),
                NoMac::Restricted => Rc::ATTRIBUTES.at(MacStart::handle),
                NoMac::NoSigner => Rc::KEY.at(MacStart::handle),
            };
            assert_eq!(tpm.run(start(handle, in_scheme)), Err(rc));
        }
    }

    #[test]
    fn without_a_slot_it_is_object_memory_but_the_key_is_looked_at_before() {
        let mut tpm = testing::started();
        let good = load(&mut tpm, hmac(None, SIGNS));
        let other = load(&mut tpm, rsa(None, SIGNS));
        fill_slots(&mut tpm, 0);
        let sha256 = Some(TpmiAlgMacScheme::Sha256);
        assert_eq!(tpm.run(start(good, sha256)), Err(Rc::OBJECT_MEMORY));
        let rc = Rc::TYPE.at(MacStart::handle);
        assert_eq!(tpm.run(start(other, sha256)), Err(rc));
    }
}
