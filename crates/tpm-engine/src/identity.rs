//! Which TPM a state belongs to: given once, at manufacture, and kept over everything that can be changed later.

use crate::state::Tpm;
use alloc::vec::Vec;
use tpm_crypto::hash::{HashAlgorithm, hash};
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, take};
use tpm_wire::handles::TpmHandle;

const SIZE: usize = 16;

/// The identity of a TPM. It is derived from the secrets of its manufacture and tells nothing about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Identity([u8; SIZE]);

impl Identity {
    /// The identity that goes with these secrets.
    pub(crate) fn from_secrets(secrets: &[&[u8]]) -> Self {
        let parts: Vec<&[u8]> = core::iter::once(&b"vtpm identity\0"[..])
            .chain(secrets.iter().copied())
            .collect();
        let digest = hash(HashAlgorithm::Sha256, &parts);
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    /// Whether it was ever given.
    pub(crate) fn is_known(&self) -> bool {
        *self != Self::default()
    }
}

impl Marshal for Identity {
    fn marshal(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

impl Parse for Identity {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, bytes) = take(input, SIZE)?;
        Ok((rest, Self(bytes.try_into().unwrap_or_default())))
    }
}

impl Tpm {
    /// Whether both are states of one TPM, of whatever moments; a copy that was [forked](Self::fork) counts as the same.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Whether `TPM2_Startup` has succeeded since the last `_TPM_Init`.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.power.started
    }

    /// Whether nobody would miss this TPM: it was started once at most, as its manufacturer does, and holds nothing that was
    /// put into it.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        let owned = |handle| {
            self.hierarchies
                .authorization(handle)
                .is_some_and(|authorization| *authorization != Default::default())
        };
        self.clock.total_reset_count <= 1
            && self.nv.indices.is_empty()
            && self.objects.persistent.is_empty()
            && ![TpmHandle::OWNER, TpmHandle::ENDORSEMENT, TpmHandle::LOCKOUT]
                .into_iter()
                .any(owned)
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::Profile;
    use crate::state::Tpm;
    use crate::state_format::StateError;
    use crate::testing::ScriptedPlatform;
    use alloc::boxed::Box;
    use core::sync::atomic::Ordering;

    fn tpm(entropy: u64) -> Tpm {
        let platform = ScriptedPlatform::default();
        platform
            .script
            .entropy
            .store(entropy << 32, Ordering::Relaxed);
        Tpm::new(Profile::default(), Box::new(platform))
    }

    fn start(tpm: &mut Tpm) {
        let startup = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
        assert_eq!(tpm.execute(&startup).get(6..10), Some(&[0; 4][..]));
    }

    #[test]
    fn a_tpm_stays_itself_and_no_other_is_it() {
        let (mut one, other) = (tpm(1), tpm(2));
        assert!(!one.is_same_as(&other));
        let before = Tpm::load(
            &one.permanent_state(),
            Box::new(ScriptedPlatform::default()),
        );
        start(&mut one);
        one.hierarchies.renew_endorsement(&mut one.random);
        one.hierarchies.renew_platform(&mut one.random);
        one.hierarchies.renew_owner(&mut one.random);
        let after = Tpm::load(
            &one.permanent_state(),
            Box::new(ScriptedPlatform::default()),
        );
        assert!(before.unwrap().is_same_as(&after.unwrap()));
    }

    #[test]
    fn a_new_tpm_is_unused_until_something_is_put_into_it() {
        let mut tpm = tpm(1);
        assert!(tpm.is_unused() && !tpm.is_started());
        start(&mut tpm);
        assert!(tpm.is_unused() && tpm.is_started());
        tpm.hierarchies.owner.auth = tpm_wire::buffers::Tpm2bAuth::zeros(4);
        assert!(!tpm.is_unused());
        tpm.hierarchies.owner.auth = tpm_wire::buffers::Tpm2bAuth::EMPTY;
        tpm.init();
        start(&mut tpm);
        assert!(!tpm.is_unused());
    }

    #[test]
    fn the_volatile_state_of_another_tpm_is_refused() {
        let (mut one, mut other) = (tpm(1), tpm(2));
        start(&mut one);
        start(&mut other);
        let mut loaded = Tpm::load(
            &one.permanent_state(),
            Box::new(ScriptedPlatform::default()),
        )
        .unwrap();
        assert_eq!(
            loaded.restore_volatile(&other.volatile_state()),
            Err(StateError::AnotherTpm)
        );
        assert!(!loaded.is_started());
        assert_eq!(loaded.restore_volatile(&one.volatile_state()), Ok(()));
        assert!(loaded.is_started());
    }
}
