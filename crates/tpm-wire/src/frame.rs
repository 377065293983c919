//! The frame of commands and responses: header, session area (Part 1, 18 and Part 2, 10.13).

use crate::attributes::TpmaSession;
use crate::buffers::{Tpm2bAuth, Tpm2bNonce};
use crate::codec::structure;
use crate::constants::TpmSt;
use crate::handles::TpmiShAuthSession;

/// Bytes of a command or response header: tag, size, code.
pub const HEADER_SIZE: usize = 10;

structure! {
    /// The header of a command; in a response `code` is the response code.
    pub struct Header {
        tag: TpmSt,
        size: u32,
        code: u32,
    }
}

structure! {
    /// One authorization of a command (Part 2, 10.13.2).
    #[doc(alias = "TPMS_AUTH_COMMAND")]
    pub struct TpmsAuthCommand {
        session_handle: TpmiShAuthSession,
        nonce: Tpm2bNonce,
        session_attributes: TpmaSession,
        hmac: Tpm2bAuth,
    }
}

structure! {
    /// The acknowledgement of one authorization in a response (Part 2, 10.13.3).
    #[doc(alias = "TPMS_AUTH_RESPONSE")]
    pub struct TpmsAuthResponse {
        nonce: Tpm2bNonce,
        session_attributes: TpmaSession,
        hmac: Tpm2bAuth,
    }
}
