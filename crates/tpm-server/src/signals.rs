//! What the host signals to a TPM beside its commands.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// The wires between the sockets and the platform of one TPM.
///
/// The sockets set them, the [`tpm_engine::Platform`] of the TPM reads them, also while a command runs on another thread.
#[derive(Debug, Default)]
pub struct Signals {
    locality: AtomicU8,
    cancel_held: AtomicBool,
    cancel_once: AtomicBool,
    running: AtomicBool,
    powered: AtomicBool,
    physical_presence: AtomicBool,
    storage_off: AtomicBool,
    storage_full: AtomicBool,
    longest_command: AtomicUsize,
}

impl Signals {
    /// The locality of the present and the next command.
    pub fn locality(&self) -> u8 {
        self.locality.load(Ordering::Relaxed)
    }

    /// Chooses the locality of the commands to come.
    pub fn set_locality(&self, locality: u8) {
        self.locality.store(locality, Ordering::Relaxed);
    }

    /// Whether the running command is to be given up.
    pub fn canceled(&self) -> bool {
        self.cancel_held.load(Ordering::Relaxed) || self.cancel_once.load(Ordering::Relaxed)
    }

    /// Holds the cancel signal, for the running command and for all that follow, until it is released.
    pub fn hold_cancel(&self, on: bool) {
        self.cancel_held.store(on, Ordering::Relaxed);
    }

    /// Asks the command that runs now, if any, to be given up; the next one is not touched.
    pub fn cancel_running(&self) {
        if self.running.load(Ordering::Acquire) {
            self.cancel_once.store(true, Ordering::Release);
        }
    }

    /// Whether physical presence is asserted.
    pub fn physical_presence(&self) -> bool {
        self.physical_presence.load(Ordering::Relaxed)
    }

    /// Asserts physical presence, or takes it back.
    pub fn set_physical_presence(&self, on: bool) {
        self.physical_presence.store(on, Ordering::Relaxed);
    }

    /// Whether non-volatile storage can be written.
    pub fn storage_available(&self) -> bool {
        !self.storage_off.load(Ordering::Relaxed)
    }

    /// Makes non-volatile storage available, or takes it away.
    pub fn set_storage_available(&self, on: bool) {
        self.storage_off.store(!on, Ordering::Relaxed);
    }

    /// Whether non-volatile storage has room for anything new.
    pub fn storage_has_room(&self) -> bool {
        !self.storage_full.load(Ordering::Relaxed)
    }

    /// Makes room in non-volatile storage, or takes what is free.
    pub fn set_storage_has_room(&self, on: bool) {
        self.storage_full.store(!on, Ordering::Relaxed);
    }

    /// Whether the TPM has power; readable while a command holds the device.
    pub fn powered(&self) -> bool {
        self.powered.load(Ordering::Relaxed)
    }

    pub(crate) fn set_powered(&self, on: bool) {
        self.powered.store(on, Ordering::Relaxed);
    }

    /// The longest command that the TPM takes at present.
    pub(crate) fn longest_command(&self) -> usize {
        self.longest_command.load(Ordering::Relaxed)
    }

    pub(crate) fn set_longest_command(&self, longest: usize) {
        self.longest_command.store(longest, Ordering::Relaxed);
    }

    pub(crate) fn command_begins(&self) {
        self.cancel_once.store(false, Ordering::Release);
        self.running.store(true, Ordering::Release);
    }

    pub(crate) fn command_ends(&self) {
        self.running.store(false, Ordering::Release);
        self.cancel_once.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_without_a_running_command_does_nothing() {
        let signals = Signals::default();
        signals.cancel_running();
        assert!(!signals.canceled());
    }

    #[test]
    fn cancel_of_a_running_command_does_not_reach_the_next() {
        let signals = Signals::default();
        signals.command_begins();
        signals.cancel_running();
        assert!(signals.canceled());
        signals.command_ends();
        assert!(!signals.canceled());
    }

    #[test]
    fn a_held_cancel_outlives_commands() {
        let signals = Signals::default();
        signals.hold_cancel(true);
        signals.command_begins();
        signals.command_ends();
        assert!(signals.canceled());
        signals.hold_cancel(false);
        assert!(!signals.canceled());
    }
}
