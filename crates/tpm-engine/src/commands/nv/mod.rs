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
use tpm_wire::buffers::{MAX_NV_BUFFER, Tpm2bAuth};
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
        self.check_nv_space(index.data_size())?;
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
            TpmNt::Ordinary => index.data_size() <= usize::from(self.profile.max_nv_index),
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
        if attributes.contains(TpmaNv::WRITEALL) && index.data_size() > MAX_NV_BUFFER {
            // It could never be written.
            return Err(Rc::SIZE.at(at.public_info));
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
