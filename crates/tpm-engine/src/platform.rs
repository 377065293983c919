//! What the TPM needs from outside: entropy, time, and the signals of its host.

use tpm_crypto::rsa::{Engine, Portable, PrivateKey};

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

    /// The arithmetic for RSA. All engines give the same keys and results, some sooner than others.
    fn rsa_engine(&self) -> &'static dyn Engine {
        &Portable
    }

    /// An RSA key of so many bits, with the public exponent 65537, that was made of entropy while nobody waited, and that is given away
    /// once. It serves objects that are drawn from the live generator; a key that follows from a seed is never asked for here.
    fn ready_rsa_key(&mut self, bits: usize) -> Option<PrivateKey> {
        let _ = bits;
        None
    }
}
