//! What the TPM needs from outside: entropy, time, and the signals of its host.

/// The world around one TPM.
///
/// The engine calls these and nothing else; the same state, command and answers give the same reply, bit for bit.
pub trait Platform: Send {
    /// Fills `out` with entropy. It keys the generator at each power-on and load, and is asked again to reseed.
    fn entropy(&mut self, out: &mut [u8]);

    /// Milliseconds that passed on a monotonic clock since an arbitrary moment.
    fn milliseconds(&mut self) -> u64;

    /// The locality (0 to 4, or 32 and above) at which the present command arrives.
    fn locality(&self) -> u8;

    /// Whether the host asks for the running command to be given up.
    fn canceled(&self) -> bool {
        false
    }

    /// Whether physical presence is asserted.
    fn physical_presence(&self) -> bool {
        false
    }

    /// Whether non-volatile storage can be written now; if not, commands that need it answer `TPM_RC_NV_UNAVAILABLE`.
    fn storage_available(&self) -> bool {
        true
    }

    /// Whether non-volatile storage has room for anything new; if not, commands that take more of it answer `TPM_RC_NV_SPACE`.
    fn storage_has_room(&self) -> bool {
        true
    }
}
