//! NV Indices: what is defined, who may read and write, and what locks (Part 1, 37).

mod index;

pub(crate) use index::{Index, MAX_ORDERLY_COUNT};

use crate::power::StartupKind;
use crate::state::Tpm;
use crate::state_format::{Group, Section, marshal_bytes, parse_bytes};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use index::LOCKS;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// Bytes of NV memory that an Index takes besides its contents.
const INDEX_SIZE: usize = 128;
/// Bytes of the memory of orderly Indices that one takes besides its contents.
const ORDERLY_SIZE: usize = 12;

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

    /// The checks that every write makes, in order: lock, authorization (Part 3, 31.1).
    ///
    /// # Errors
    /// `TPM_RC_NV_LOCKED`, `TPM_RC_NV_AUTHORIZATION`.
    pub(crate) fn check_write(
        &self,
        auth_handle: TpmHandle,
        nv_index: TpmHandle,
    ) -> Result<&Index, Rc> {
        let index = self.get(nv_index)?;
        let attributes = index.attributes();
        if attributes.contains(TpmaNv::WRITELOCKED) {
            return Err(Rc::NV_LOCKED);
        }
        Self::check_authority(
            attributes,
            auth_handle,
            nv_index,
            TpmaNv::OWNERWRITE,
            TpmaNv::PPWRITE,
        )?;
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
            .map(|index| INDEX_SIZE + index.data_size())
            .sum()
    }

    /// Removes an Index. The value of a counter is remembered, so that no later counter repeats it.
    pub(crate) fn remove(&mut self, handle: TpmHandle) {
        if let Some(index) = self.indices.remove(&handle) {
            self.remember(&index);
        }
    }

    /// Removes what the owner created, as `TPM2_Clear` does. Its caller checks storage.
    pub(crate) fn remove_owner_created(&mut self) {
        let gone: Vec<_> = self
            .indices
            .iter()
            .filter(|(_, index)| !index.attributes().contains(TpmaNv::PLATFORMCREATE))
            .map(|(handle, _)| *handle)
            .collect();
        for handle in gone {
            self.remove(handle);
        }
    }

    fn remember(&mut self, index: &Index) {
        if index.nv_type() == TpmNt::Counter
            && let Some(count) = index.number()
        {
            self.max_counter = self.max_counter.max(count);
        }
    }
}

impl Tpm {
    /// Bytes of NV memory that are free.
    fn nv_free(&self) -> usize {
        if !self.platform.storage_has_room() {
            return 0;
        }
        free(self.profile.nv_memory, self.nv.size())
    }

    /// Bytes that are free of the memory that orderly Indices live in.
    fn nv_orderly_free(&self) -> usize {
        let orderly = self.nv.indices.values().filter(|index| index.is_orderly());
        let used = orderly.map(|index| ORDERLY_SIZE + index.data_size()).sum();
        free(self.profile.orderly_memory, used)
    }

    /// Counters that could still be defined, if they are orderly (`TPM_PT_NV_COUNTERS_AVAIL`).
    pub(crate) fn counters_available(&self) -> usize {
        let stored = self.nv_free() / (INDEX_SIZE + 8);
        let in_ram = self.nv_orderly_free() / (ORDERLY_SIZE + 8);
        stored.min(in_ram)
    }

    /// Checks that there is memory for an Index.
    ///
    /// # Errors
    /// `TPM_RC_NV_SPACE`.
    pub(crate) fn check_nv_space(&self, index: &Index) -> Result<(), Rc> {
        let size = index.data_size();
        let fits = INDEX_SIZE + size <= self.nv_free()
            && (!index.is_orderly() || ORDERLY_SIZE + size <= self.nv_orderly_free());
        if fits { Ok(()) } else { Err(Rc::NV_SPACE) }
    }

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

    /// In read-only mode only Indices that do not outlive the power may change (Part 3, 24.9).
    ///
    /// # Errors
    /// `TPM_RC_READ_ONLY`.
    pub(crate) fn check_index_not_read_only(&self, handle: TpmHandle) -> Result<(), Rc> {
        let fleeting = TpmaNv::ORDERLY | TpmaNv::CLEAR_STCLEAR;
        if self.hierarchies.read_only && !self.nv.get(handle)?.attributes().contains(fleeting) {
            return Err(Rc::READ_ONLY);
        }
        Ok(())
    }

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
        let before = index.data.get(offset..end).ok_or(Rc::NV_RANGE)?;
        if index.is_orderly() {
            // A shutdown stored other contents: they must not come back (Part 1, 37.7.3).
            self.void_orderly()?;
        } else if !index.is_written() || before != data {
            self.changes_permanent()?;
        } else {
            return Ok(());
        }
        let index = self.nv.get_mut(handle)?;
        if !index.is_written() {
            index.erase();
            index.set_attributes(index.attributes().with(TpmaNv::WRITTEN));
        }
        if let Some(place) = index.data.get_mut(offset..end) {
            place.copy_from_slice(data);
        }
        Ok(())
    }

    /// Writes the next value of a counter. An orderly one is stored when it is new, and with each value that ends a run of 256.
    ///
    /// # Errors
    /// `TPM_RC_NV_UNAVAILABLE`.
    pub(crate) fn increment_index(&mut self, handle: TpmHandle) -> Result<(), Rc> {
        let index = self.nv.get(handle)?;
        let (orderly, before) = (index.is_orderly(), index.number());
        let Some(count) = before.unwrap_or(self.nv.max_counter).checked_add(1) else {
            return Err(self.fail("an NV counter has no next value"));
        };
        let stores = before.is_none() || count & u64::from(MAX_ORDERLY_COUNT) == 0;
        if orderly && stores {
            self.changes_permanent()?;
        }
        self.write_index(handle, 0, &count.to_be_bytes())?;
        if stores {
            self.nv.get_mut(handle)?.store();
        }
        Ok(())
    }

    /// Locks Indices against reading or writing, at once and durably; those that are locked already stay as they are.
    ///
    /// # Errors
    /// `TPM_RC_NV_UNAVAILABLE`; nothing is locked then.
    pub(crate) fn lock_indices(
        &mut self,
        lock: TpmaNv,
        wanted: impl Fn(&Index) -> bool,
    ) -> Result<(), Rc> {
        let changes = |index: &Index| !index.attributes().contains(lock) && wanted(index);
        if self.nv.indices.values().any(changes) {
            self.changes_permanent()?;
            for index in self.nv.indices.values_mut() {
                if changes(index) {
                    index.lock(lock);
                }
            }
        }
        Ok(())
    }

    /// `TPM2_Startup` for NV Indices: locks and contents that do not survive it (Part 1, 37.7).
    pub(crate) fn nv_startup(&mut self, kind: StartupKind, orderly: bool) {
        for index in self.nv.indices.values_mut() {
            index.load_stored();
            if kind != StartupKind::Resume {
                index.start(kind, orderly);
            }
        }
    }

    /// `TPM2_Shutdown` for NV Indices: what lives in RAM is stored.
    pub(crate) fn nv_shutdown(&mut self) {
        for index in self.nv.indices.values_mut() {
            index.store();
        }
    }
}

impl Section for Nv {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        match group {
            Group::Permanent => {
                self.max_counter.marshal(out);
                count(self.indices.len()).marshal(out);
                for index in self.indices.values() {
                    index.write_stored(out);
                }
            }
            Group::Volatile => {
                let in_ram = || self.indices.values().filter(|index| index.stored.is_some());
                count(in_ram().count()).marshal(out);
                for index in in_ram() {
                    index.public.handle().marshal(out);
                    index.attributes().marshal(out);
                    marshal_bytes(&index.data, out);
                }
            }
            Group::Reset | Group::Clear => {}
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        match group {
            Group::Permanent => self.read_permanent(input),
            Group::Volatile => self.read_volatile(input),
            Group::Reset | Group::Clear => Ok((input, ())),
        }
    }
}

/// What `used` bytes leave of `all`.
fn free(all: u32, used: usize) -> usize {
    usize::try_from(all)
        .unwrap_or(usize::MAX)
        .saturating_sub(used)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Nv {
    fn read_permanent<'a>(&mut self, input: Input<'a>) -> Parsed<'a, ()> {
        let (rest, max_counter) = u64::parse(input)?;
        let (mut rest, number) = u32::parse(rest)?;
        let mut indices = BTreeMap::new();
        for _ in 0..number {
            let mut index: Index;
            (rest, index) = Index::read_stored(rest)?;
            let handle = index.public.handle();
            match self.indices.get(&handle) {
                Some(live) => index.go_on_from(live),
                None => self.advance_returned(&mut index),
            }
            if indices.insert(handle, index).is_some() {
                return refuse(Rc::NV_DEFINED);
            }
        }
        *self = Self {
            indices,
            max_counter,
        };
        Ok((rest, ()))
    }

    /// A removal of an orderly counter could not be stored: it comes back, past all values that it can have shown.
    fn advance_returned(&self, index: &mut Index) {
        if index.stored.is_some()
            && index.nv_type() == TpmNt::Counter
            && self.max_counter > 0
            && let Some(stored) = index.number()
        {
            index.set_number(Index::greatest_since(stored));
        }
    }

    fn read_volatile<'a>(&mut self, input: Input<'a>) -> Parsed<'a, ()> {
        let (mut rest, number) = u32::parse(input)?;
        for _ in 0..number {
            let (handle, attributes, data);
            (rest, handle) = TpmHandle::parse(rest)?;
            (rest, attributes) = TpmaNv::parse(rest)?;
            (rest, data) = parse_bytes(rest)?;
            let data = Zeroizing::new(data);
            let fits = |index: &&mut Index| {
                let fixed = TpmaNv(!(TpmaNv::WRITTEN.0 | LOCKS.0));
                index.stored.is_some()
                    && index.attributes() & fixed == attributes & fixed
                    && index.data_size() == data.len()
            };
            let Some(index) = self.indices.get_mut(&handle).filter(fits) else {
                return refuse(Rc::HANDLE);
            };
            index.set_attributes(attributes);
            index.data = data;
        }
        Ok((rest, ()))
    }
}
