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
