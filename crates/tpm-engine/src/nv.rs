//! NV Indices: what is defined, who may read and write, and what locks (Part 1, 37).

use crate::algorithms::name_of;
use crate::power::StartupKind;
use crate::state::Tpm;
use crate::state_format::{Group, Section, marshal_bytes, parse_bytes};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bName};
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::nv::{TpmNt, TpmsNvPinCounterParameters, TpmtNvPublic2};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// An NV Index.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Index {
    /// The public area, of any handle type.
    pub(crate) public: TpmtNvPublic2,
    /// The authorization value.
    pub(crate) auth: Tpm2bAuth,
    /// The contents; `data_size` bytes. Read it through [`Index::is_written`].
    pub(crate) data: Zeroizing<Vec<u8>>,
}

impl Index {
    /// The low 32 attributes.
    pub(crate) fn attributes(&self) -> TpmaNv {
        match &self.public {
            TpmtNvPublic2::NvIndex(public) | TpmtNvPublic2::PermanentNv(public) => {
                public.attributes
            }
            TpmtNvPublic2::ExternalNv(public) => {
                TpmaNv(u32::try_from(public.attributes.0 & 0xFFFF_FFFF).unwrap_or_default())
            }
        }
    }

    /// Replaces the low 32 attributes.
    pub(crate) fn set_attributes(&mut self, attributes: TpmaNv) {
        match &mut self.public {
            TpmtNvPublic2::NvIndex(public) | TpmtNvPublic2::PermanentNv(public) => {
                public.attributes = attributes
            }
            TpmtNvPublic2::ExternalNv(public) => {
                public.attributes.0 = public.attributes.0 & !0xFFFF_FFFF | u64::from(attributes.0);
            }
        }
    }

    /// The hash of the Name.
    pub(crate) const fn name_alg(&self) -> TpmiAlgHash {
        match &self.public {
            TpmtNvPublic2::NvIndex(public) | TpmtNvPublic2::PermanentNv(public) => public.name_alg,
            TpmtNvPublic2::ExternalNv(public) => public.name_alg,
        }
    }

    /// The policy.
    pub(crate) const fn auth_policy(&self) -> &Tpm2bDigest {
        match &self.public {
            TpmtNvPublic2::NvIndex(public) | TpmtNvPublic2::PermanentNv(public) => {
                &public.auth_policy
            }
            TpmtNvPublic2::ExternalNv(public) => &public.auth_policy,
        }
    }

    /// Bytes of the contents.
    pub(crate) const fn data_size(&self) -> usize {
        match &self.public {
            TpmtNvPublic2::NvIndex(public) | TpmtNvPublic2::PermanentNv(public) => {
                public.data_size.0 as usize
            }
            TpmtNvPublic2::ExternalNv(public) => public.data_size.0 as usize,
        }
    }

    /// Whether the Index has been written.
    pub(crate) fn is_written(&self) -> bool {
        self.attributes().contains(TpmaNv::WRITTEN)
    }

    /// The type of the Index.
    pub(crate) fn nv_type(&self) -> TpmNt {
        self.attributes().nv_type().unwrap_or(TpmNt::Ordinary)
    }

    /// The Name: over the public area without the handle type in front (Part 1, 16).
    pub(crate) fn name(&self) -> Tpm2bName {
        let mut public = Vec::with_capacity(80);
        match &self.public {
            TpmtNvPublic2::NvIndex(legacy) => legacy.marshal(&mut public),
            other => other.marshal(&mut public),
        }
        name_of(self.name_alg(), &public)
    }

    /// The counts of a PIN Index that was written.
    pub(crate) fn pin(&self) -> Option<TpmsNvPinCounterParameters> {
        if !self.is_written() || !matches!(self.nv_type(), TpmNt::PinFail | TpmNt::PinPass) {
            return None;
        }
        let (count, limit) = self.data.split_first_chunk::<4>()?;
        let limit = limit.first_chunk::<4>()?;
        Some(TpmsNvPinCounterParameters {
            pin_count: u32::from_be_bytes(*count),
            pin_limit: u32::from_be_bytes(*limit),
        })
    }

    /// Changes the count of a PIN Index.
    pub(crate) fn set_pin_count(&mut self, count: u32) {
        if let Some(place) = self.data.first_chunk_mut::<4>() {
            *place = count.to_be_bytes();
        }
    }
}

/// All NV Indices.
#[derive(Clone, Default)]
pub(crate) struct Nv {
    /// The Indices by handle.
    pub(crate) indices: BTreeMap<TpmHandle, Index>,
    /// The greatest value of any counter Index ever deleted: a new counter starts above it.
    pub(crate) max_counter: u64,
}

impl Nv {
    /// The Index behind a handle.
    ///
    /// # Errors
    /// `TPM_RC_HANDLE` if it is not defined.
    pub(crate) fn get(&self, handle: impl Into<TpmHandle>) -> Result<&Index, Rc> {
        self.indices.get(&handle.into()).ok_or(Rc::HANDLE)
    }

    /// The same, to be changed.
    ///
    /// # Errors
    /// `TPM_RC_HANDLE` if it is not defined.
    pub(crate) fn get_mut(&mut self, handle: impl Into<TpmHandle>) -> Result<&mut Index, Rc> {
        self.indices.get_mut(&handle.into()).ok_or(Rc::HANDLE)
    }

    /// The checks that every read makes, in order: lock, authorization, written (Part 3, 31.1).
    ///
    /// # Errors
    /// `TPM_RC_NV_LOCKED`, `TPM_RC_NV_AUTHORIZATION`, `TPM_RC_NV_UNINITIALIZED`.
    pub(crate) fn check_read(
        &self,
        auth_handle: TpmHandle,
        nv_index: TpmHandle,
    ) -> Result<&Index, Rc> {
        let index = self.get(nv_index)?;
        let attributes = index.attributes();
        if attributes.contains(TpmaNv::READLOCKED) {
            return Err(Rc::NV_LOCKED);
        }
        Self::check_authority(
            attributes,
            auth_handle,
            nv_index,
            TpmaNv::OWNERREAD,
            TpmaNv::PPREAD,
        )?;
        if !attributes.contains(TpmaNv::WRITTEN) {
            return Err(Rc::NV_UNINITIALIZED);
        }
        Ok(index)
    }

    /// The checks that every write makes, in order: authorization, lock (Part 3, 31.1).
    ///
    /// # Errors
    /// `TPM_RC_NV_AUTHORIZATION`, `TPM_RC_NV_LOCKED`.
    pub(crate) fn check_write(
        &self,
        auth_handle: TpmHandle,
        nv_index: TpmHandle,
    ) -> Result<&Index, Rc> {
        let index = self.get(nv_index)?;
        let attributes = index.attributes();
        Self::check_authority(
            attributes,
            auth_handle,
            nv_index,
            TpmaNv::OWNERWRITE,
            TpmaNv::PPWRITE,
        )?;
        if attributes.contains(TpmaNv::WRITELOCKED) {
            return Err(Rc::NV_LOCKED);
        }
        Ok(index)
    }

    fn check_authority(
        attributes: TpmaNv,
        auth: TpmHandle,
        nv_index: TpmHandle,
        owner: TpmaNv,
        platform: TpmaNv,
    ) -> Result<(), Rc> {
        let allowed = match auth {
            TpmHandle::OWNER => attributes.contains(owner),
            TpmHandle::PLATFORM => attributes.contains(platform),
            // The Index authorizes itself only; whether by value or policy was checked with the session.
            other => other == nv_index,
        };
        if allowed {
            Ok(())
        } else {
            Err(Rc::NV_AUTHORIZATION)
        }
    }

    /// Bytes that the Indices take of NV memory.
    pub(crate) fn size(&self) -> usize {
        self.indices
            .values()
            .map(|index| 128 + index.data_size())
            .sum()
    }
}

impl Tpm {
    /// Checks that an Index is defined and that its hierarchy is enabled (Part 1, 37.2).
    ///
    /// # Errors
    /// `TPM_RC_HANDLE`.
    pub(crate) fn check_index_accessible(&self, handle: TpmHandle) -> Result<(), Rc> {
        let index = self.nv.get(handle)?;
        let accessible = if index.attributes().contains(TpmaNv::PLATFORMCREATE) {
            self.platform_nv_is_usable()
        } else {
            self.hierarchies.owner_enabled
        };
        if accessible { Ok(()) } else { Err(Rc::HANDLE) }
    }
}

impl Tpm {
    /// `TPM2_Startup` for NV Indices: locks and contents that do not survive it (Part 1, 37.7).
    pub(crate) fn nv_startup(&mut self, kind: StartupKind, _orderly: bool) {
        if kind == StartupKind::Resume {
            return;
        }
        for index in self.nv.indices.values_mut() {
            let mut attributes = index.attributes().without(TpmaNv::READLOCKED);
            if attributes.contains(TpmaNv::CLEAR_STCLEAR) {
                attributes = attributes.without(TpmaNv::WRITTEN);
            }
            if !attributes.contains(TpmaNv::WRITEDEFINE) || !attributes.contains(TpmaNv::WRITTEN) {
                attributes = attributes.without(TpmaNv::WRITELOCKED);
            }
            index.set_attributes(attributes);
        }
    }

    /// `TPM2_Shutdown` for NV Indices: what lives in RAM is stored.
    pub(crate) fn nv_shutdown(&mut self) {}
}

impl Section for Nv {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        if group != Group::Permanent {
            return;
        }
        self.max_counter.marshal(out);
        u32::try_from(self.indices.len())
            .unwrap_or_default()
            .marshal(out);
        for index in self.indices.values() {
            index.public.marshal(out);
            index.auth.marshal(out);
            marshal_bytes(&index.data, out);
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        if group != Group::Permanent {
            return Ok((input, ()));
        }
        let (rest, max_counter) = u64::parse(input)?;
        let (mut rest, count) = u32::parse(rest)?;
        let mut indices = BTreeMap::new();
        for _ in 0..count {
            let (public, auth, data);
            (rest, public) = TpmtNvPublic2::parse(rest)?;
            (rest, auth) = Tpm2bAuth::parse(rest)?;
            (rest, data) = parse_bytes(rest)?;
            let index = Index {
                public,
                auth,
                data: Zeroizing::new(data),
            };
            if index.data.len() != index.data_size() {
                return refuse(Rc::SIZE);
            }
            indices.insert(index.public.handle(), index);
        }
        *self = Self {
            indices,
            max_counter,
        };
        Ok((rest, ()))
    }
}

impl Tpm {
    /// Writes contents of an Index at an offset that was checked, and marks it written.
    ///
    /// # Errors
    /// `TPM_RC_NV_UNAVAILABLE`.
    pub(crate) fn write_index(
        &mut self,
        handle: TpmHandle,
        offset: usize,
        data: &[u8],
    ) -> Result<(), Rc> {
        let index = self.nv.get(handle)?;
        let end = offset.checked_add(data.len()).ok_or(Rc::NV_RANGE)?;
        let unchanged = index.is_written() && index.data.get(offset..end) == Some(data);
        if unchanged {
            return Ok(());
        }
        self.changes_permanent()?;
        let index = self.nv.get_mut(handle)?;
        if !index.is_written() {
            // What was never written reads as ones (Part 3, 31.7).
            index.data.fill(0xFF);
        }
        let place = index.data.get_mut(offset..end).ok_or(Rc::NV_RANGE)?;
        place.copy_from_slice(data);
        let attributes = index.attributes().with(TpmaNv::WRITTEN);
        index.set_attributes(attributes);
        Ok(())
    }
}
