//! NV storage (Part 3, 31).

mod nv_certify;
mod nv_change_auth;
mod nv_define_space;
mod nv_define_space2;
mod nv_extend;
mod nv_global_write_lock;
mod nv_increment;
mod nv_read;
mod nv_read_lock;
mod nv_read_public;
mod nv_read_public2;
mod nv_set_bits;
mod nv_undefine_space;
mod nv_undefine_space_special;
mod nv_write;
mod nv_write_lock;

use crate::algorithms::small;
use crate::nv::Index;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bMaxNvBuffer};
use tpm_wire::handles::TpmHandle;
use tpm_wire::nv::{TpmNt, TpmtNvPublic2};
use tpm_wire::rc::{Position, Rc};

/// Where the fields of a command that defines an Index stand, for its response codes.
struct Positions {
    auth_handle: Position,
    auth: Position,
    public_info: Position,
}

impl Tpm {
    /// Defines an Index (Part 3, 31.3 and 31.17).
    fn define_index(
        &mut self,
        auth_handle: TpmHandle,
        auth: &Tpm2bAuth,
        public: TpmtNvPublic2,
        at: &Positions,
    ) -> Result<(), Rc> {
        let index = Index::new(public, small(auth.without_trailing_zeros()));
        self.check_definition(auth_handle, &index, at)?;
        let handle = index.public.handle();
        if self.nv.get(handle).is_ok() {
            return Err(Rc::NV_DEFINED);
        }
        self.check_nv_space(&index)?;
        self.changes_permanent()?;
        self.nv.indices.insert(handle, index);
        Ok(())
    }

    fn check_definition(
        &self,
        auth_handle: TpmHandle,
        index: &Index,
        at: &Positions,
    ) -> Result<(), Rc> {
        if index.data_size() > usize::from(self.profile.max_nv_index) {
            return Err(Rc::SIZE.at(at.public_info));
        }
        let (policy_size, digest_size) =
            (index.auth_policy().len(), index.name_alg().digest_size());
        if policy_size != 0 && policy_size != digest_size {
            return Err(Rc::SIZE.at(at.public_info));
        }
        if index.auth.len() > digest_size {
            return Err(Rc::SIZE.at(at.auth));
        }
        if auth_handle == TpmHandle::PLATFORM && !self.platform_nv_is_usable() {
            return Err(Rc::HIERARCHY.at(at.auth_handle));
        }
        let attributes = index.attributes();
        let nv_type = attributes
            .nv_type()
            .ok_or(Rc::ATTRIBUTES.at(at.public_info))?;
        let size_fits = match nv_type {
            TpmNt::Ordinary => true,
            TpmNt::Extend => index.data_size() == digest_size,
            TpmNt::Counter | TpmNt::Bits | TpmNt::PinFail | TpmNt::PinPass => {
                index.data_size() == 8
            }
        };
        if !size_fits {
            return Err(Rc::SIZE.at(at.public_info));
        }
        if !attributes_fit_type(attributes, nv_type) || !attributes_fit(attributes) {
            return Err(Rc::ATTRIBUTES.at(at.public_info));
        }
        let by_platform = auth_handle == TpmHandle::PLATFORM;
        if attributes.contains(TpmaNv::PLATFORMCREATE) != by_platform {
            return Err(Rc::ATTRIBUTES.at(at.auth_handle));
        }
        if attributes.contains(TpmaNv::POLICY_DELETE) && !by_platform {
            return Err(Rc::ATTRIBUTES.at(at.public_info));
        }
        if attributes.contains(TpmaNv::WRITEALL)
            && index.data_size() > usize::from(self.profile.max_nv_buffer)
        {
            // It could never be written.
            return Err(Rc::SIZE.at(at.public_info));
        }
        Ok(())
    }
}

impl Tpm {
    /// Checks that a piece of an Index is not larger than the profile's buffer.
    ///
    /// # Errors
    /// `TPM_RC_SIZE`.
    fn check_nv_buffer(&self, data: &Tpm2bMaxNvBuffer) -> Result<(), Rc> {
        if data.len() > usize::from(self.profile.max_nv_buffer) {
            return Err(Rc::SIZE);
        }
        Ok(())
    }
}

/// What Part 2, 13.4 says of single types.
fn attributes_fit_type(attributes: TpmaNv, nv_type: TpmNt) -> bool {
    let not_for_pins = TpmaNv::AUTHWRITE | TpmaNv::GLOBALLOCK | TpmaNv::WRITEDEFINE;
    match nv_type {
        // A counter that could be cleared would not be one.
        TpmNt::Counter => !attributes.contains(TpmaNv::CLEAR_STCLEAR),
        TpmNt::PinFail => {
            attributes.contains(TpmaNv::NO_DA) && !attributes.intersects(not_for_pins)
        }
        TpmNt::PinPass => !attributes.intersects(not_for_pins),
        TpmNt::Ordinary | TpmNt::Bits | TpmNt::Extend => true,
    }
}

/// What Part 2, 13.4 says of all types.
fn attributes_fit(attributes: TpmaNv) -> bool {
    let state = TpmaNv::WRITTEN | TpmaNv::WRITELOCKED | TpmaNv::READLOCKED;
    let readers = TpmaNv::OWNERREAD | TpmaNv::PPREAD | TpmaNv::AUTHREAD | TpmaNv::POLICYREAD;
    let writers = TpmaNv::OWNERWRITE | TpmaNv::PPWRITE | TpmaNv::AUTHWRITE | TpmaNv::POLICYWRITE;
    !attributes.intersects(state)
        && attributes.intersects(readers)
        && attributes.intersects(writers)
        && !attributes.contains(TpmaNv::CLEAR_STCLEAR | TpmaNv::WRITEDEFINE)
}

#[cfg(test)]
mod sequence_tests;
#[cfg(test)]
mod tests;

/// Builders for tests that need NV Indices.
#[cfg(test)]
pub(crate) mod build {
    use crate::policy::PolicyState;
    use crate::session::Session;
    use crate::testing::{self, Auth, TestTpm};
    use alloc::vec::Vec;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::buffers::{Small, Tpm2bAuth, Tpm2bDigest, Tpm2bMaxNvBuffer, Tpm2bNonce};
    use tpm_wire::commands::{
        NvDefineSpace, NvDefineSpaceResponse, NvIncrement, NvRead, NvWrite, NvWriteLock,
    };
    use tpm_wire::constants::TpmSe;
    use tpm_wire::handles::{TpmHandle, TpmHt};
    use tpm_wire::nv::{NvDataSize, Tpm2bNvPublic, TpmNt, TpmsNvPublic};
    use tpm_wire::rc::Rc;
    use tpm_wire::table::Command;

    /// The Index of most tests.
    pub(crate) const INDEX: TpmHandle = TpmHt::NvIndex.handle(0x50_0001);
    /// Another one.
    pub(crate) const OTHER: TpmHandle = TpmHt::NvIndex.handle(0x50_0002);
    /// Attributes by which the owner and the Index itself may read and write.
    pub(crate) const OPEN: TpmaNv = TpmaNv(
        TpmaNv::OWNERREAD.0
            | TpmaNv::OWNERWRITE.0
            | TpmaNv::AUTHREAD.0
            | TpmaNv::AUTHWRITE.0
            | TpmaNv::NO_DA.0,
    );

    /// A public area with a SHA-256 Name and without policy.
    pub(crate) fn public(nv_index: TpmHandle, attributes: TpmaNv, data_size: u16) -> TpmsNvPublic {
        TpmsNvPublic {
            nv_index: nv_index.into(),
            name_alg: TpmiAlgHash::Sha256,
            attributes,
            auth_policy: Tpm2bDigest::EMPTY,
            data_size: NvDataSize(data_size),
        }
    }

    /// Defines an Index from its public area, without authorization value, by whom its attributes demand.
    pub(crate) fn define_public(
        tpm: &mut TestTpm,
        public: TpmsNvPublic,
    ) -> Result<NvDefineSpaceResponse, Rc> {
        let by_platform = public.attributes.contains(TpmaNv::PLATFORMCREATE);
        let auth_handle = if by_platform {
            TpmHandle::PLATFORM
        } else {
            TpmHandle::OWNER
        };
        tpm.run(NvDefineSpace {
            auth_handle: auth_handle.into(),
            auth: Tpm2bAuth::EMPTY,
            public_info: Tpm2bNvPublic(public),
        })
    }

    /// A started TPM with [`INDEX`] defined, its definition stored.
    pub(crate) fn with_index(attributes: TpmaNv, data_size: u16) -> TestTpm {
        let mut tpm = testing::started();
        define_public(&mut tpm, public(INDEX, attributes, data_size)).unwrap();
        assert!(tpm.must_persist());
        let _ = tpm.permanent_state();
        tpm
    }

    /// A command that writes by the owner's authority.
    pub(crate) fn write(data: &[u8], offset: u16) -> NvWrite {
        NvWrite {
            auth_handle: TpmHandle::OWNER.into(),
            nv_index: INDEX.into(),
            data: Tpm2bMaxNvBuffer::new(data.to_vec()).unwrap(),
            offset,
        }
    }

    /// A command that increments by the owner's authority.
    pub(crate) fn increment() -> NvIncrement {
        NvIncrement {
            auth_handle: TpmHandle::OWNER.into(),
            nv_index: INDEX.into(),
        }
    }

    /// The contents from the start, read by the owner.
    pub(crate) fn read(tpm: &mut TestTpm, size: u16) -> Result<Vec<u8>, Rc> {
        let read = NvRead {
            auth_handle: TpmHandle::OWNER.into(),
            nv_index: INDEX.into(),
            size,
            offset: 0,
        };
        tpm.run(read).map(|response| response.data.to_vec())
    }

    /// The value of a counter or bit field, read by the owner.
    pub(crate) fn read_number(tpm: &mut TestTpm) -> Result<u64, Rc> {
        read(tpm, 8).map(|data| u64::from_be_bytes(data.try_into().unwrap()))
    }

    /// Whether a command that must succeed has a durable effect.
    pub(crate) fn persists<C: Command>(tpm: &mut TestTpm, command: C) -> bool {
        let _ = tpm.permanent_state();
        tpm.run(command).map(|_| ()).unwrap();
        tpm.must_persist()
    }

    /// Power is lost without a shutdown; the TPM starts from what was stored.
    pub(crate) fn power_cut(tpm: TestTpm) -> TestTpm {
        let mut tpm = tpm.reloaded();
        tpm.restart(None, tpm_wire::constants::TpmSu::Clear);
        tpm
    }

    /// A SHA-256 policy session that satisfies a policy for one command.
    pub(crate) fn policy_session(tpm: &mut TestTpm, digest: &[u8; 32], code: u32) -> Auth {
        let hash = TpmiAlgHash::Sha256;
        let session = Session {
            kind: TpmSe::Policy,
            auth_hash: hash,
            symmetric: None,
            key: Small::EMPTY,
            nonce_tpm: Tpm2bNonce::zeros(16),
            bound_entity: None,
            is_da_bound: false,
            is_lockout_bound: false,
            audit_digest: None,
            policy: PolicyState {
                digest: Tpm2bDigest::new(digest).unwrap(),
                command_code: Some(code),
                ..PolicyState::new(hash, tpm.clock.time, tpm.clock.epoch)
            },
        };
        Auth::session(tpm.sessions.insert(session).unwrap())
    }

    /// What refuses every command that writes an Index of a type, in this order: no Index, another's authority, storage that
    /// is down, a lock, read-only mode.
    pub(crate) fn refusals_of_writing<C: Command>(
        nv_type: TpmNt,
        data_size: u16,
        command: impl Fn(TpmHandle) -> C,
    ) -> [Rc; 5] {
        let refusal =
            |tpm: &mut TestTpm, by| tpm.run(command(by)).map(|_| ()).expect_err("refused");
        let undefined = refusal(&mut testing::started(), TpmHandle::OWNER);
        let attributes = TpmaNv::PPREAD
            | TpmaNv::OWNERWRITE
            | TpmaNv::AUTHREAD
            | TpmaNv::AUTHWRITE
            | TpmaNv::NO_DA
            | TpmaNv::WRITE_STCLEAR;
        let mut tpm = with_index(attributes.with_type(nv_type), data_size);
        define_public(&mut tpm, public(OTHER, OPEN, 8)).unwrap();
        let authority = refusal(&mut tpm, TpmHandle::PLATFORM);
        assert_eq!(refusal(&mut tpm, OTHER), authority);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let storage = refusal(&mut tpm, TpmHandle::OWNER);
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        tpm.run(NvWriteLock {
            auth_handle: INDEX.into(),
            nv_index: INDEX.into(),
        })
        .unwrap();
        let locked = refusal(&mut tpm, TpmHandle::OWNER);
        // The lock is noticed before the missing authority.
        for by in [INDEX, TpmHandle::PLATFORM] {
            assert_eq!(refusal(&mut tpm, by), locked);
        }
        tpm.hierarchies.read_only = true;
        let read_only = refusal(&mut tpm, TpmHandle::OWNER);
        [undefined, authority, storage, locked, read_only]
    }
}
