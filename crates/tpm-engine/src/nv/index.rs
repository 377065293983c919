//! One NV Index: its attributes, contents and Name, and the part of it that is stored (Part 1, 37).

use crate::algorithms::name_of;
use crate::power::StartupKind;
use crate::state_format::{marshal_bytes, parse_bytes};
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bName};
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::nv::{TpmNt, TpmsNvPinCounterParameters, TpmtNvPublic2};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// Bits of an orderly counter that live in RAM alone: each 256th value is stored (`TPM_PT_ORDERLY_COUNT`).
pub(crate) const MAX_ORDERLY_COUNT: u32 = 0xFF;
/// The attributes that a command locks an Index with.
pub(super) const LOCKS: TpmaNv = TpmaNv(TpmaNv::READLOCKED.0 | TpmaNv::WRITELOCKED.0);

/// An NV Index.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Index {
    /// The public area, of any handle type.
    pub(crate) public: TpmtNvPublic2,
    /// The authorization value.
    pub(crate) auth: Tpm2bAuth,
    /// The contents; `data_size` bytes. Read it through [`Index::is_written`].
    pub(crate) data: Zeroizing<Vec<u8>>,
    /// What storage holds of an orderly Index; `public` and `data` are what it is now, in RAM. `None` for the others.
    pub(super) stored: Option<Stored>,
}

/// The parts of an orderly Index that are stored now and then only.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stored {
    attributes: TpmaNv,
    data: Zeroizing<Vec<u8>>,
}

impl Index {
    /// An Index that was just defined.
    pub(crate) fn new(public: TpmtNvPublic2, auth: Tpm2bAuth) -> Self {
        let mut index = Self {
            public,
            auth,
            data: Zeroizing::new(Vec::new()),
            stored: None,
        };
        let size = index.data_size();
        index.data.resize(size, 0);
        index.erase();
        index.stored = index.is_orderly().then(|| index.to_store());
        index
    }

    /// An Index that was stored elsewhere, with all its contents; `None` if these have not the size that the public area says.
    pub(crate) fn with_contents(
        public: TpmtNvPublic2,
        auth: Tpm2bAuth,
        data: Zeroizing<Vec<u8>>,
    ) -> Option<Self> {
        let mut index = Self::new(public, auth);
        if data.len() != index.data_size() || index.attributes().nv_type().is_none() {
            return None;
        }
        index.data = data;
        index.store();
        Some(index)
    }

    /// What an Index holds before it is written: NV memory reads as ones, RAM as zeros (Part 3, 31.7).
    pub(super) fn erase(&mut self) {
        let byte = if self.is_orderly() { 0x00 } else { 0xFF };
        self.data.fill(byte);
    }

    /// Whether the contents are kept in RAM and stored by an orderly shutdown.
    pub(crate) fn is_orderly(&self) -> bool {
        self.attributes().contains(TpmaNv::ORDERLY)
    }

    fn to_store(&self) -> Stored {
        Stored {
            attributes: self.attributes(),
            data: self.data.clone(),
        }
    }

    /// Makes the Index what storage holds of it: RAM was lost.
    pub(super) fn load_stored(&mut self) {
        if let Some(stored) = &self.stored {
            self.data = stored.data.clone();
            set_attributes(&mut self.public, stored.attributes);
        }
    }

    /// Makes what storage holds of an orderly Index what it is now.
    pub(super) fn store(&mut self) {
        if self.stored.is_some() {
            self.stored = Some(self.to_store());
        }
    }

    /// Locks against reading or writing. Locks of orderly Indices are stored at once, like those of the others.
    pub(super) fn lock(&mut self, lock: TpmaNv) {
        self.set_attributes(self.attributes().with(lock));
        if let Some(stored) = &mut self.stored {
            stored.attributes = stored.attributes.with(lock);
        }
    }

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
        set_attributes(&mut self.public, attributes);
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
        let mut public = Vec::with_capacity(88);
        match &self.public {
            TpmtNvPublic2::NvIndex(area) | TpmtNvPublic2::PermanentNv(area) => {
                area.marshal(&mut public);
            }
            TpmtNvPublic2::ExternalNv(area) => area.marshal(&mut public),
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

    /// Changes the count of a PIN Index. That of an orderly one is stored at once, so that no restart gives tries back.
    pub(crate) fn set_pin_count(&mut self, count: u32) {
        let stored = self.stored.as_mut().map(|stored| &mut stored.data);
        for data in core::iter::once(&mut self.data).chain(stored) {
            if let Some(place) = data.first_chunk_mut::<4>() {
                *place = count.to_be_bytes();
            }
        }
    }

    /// The value of a counter or bit field that was written.
    pub(crate) fn number(&self) -> Option<u64> {
        if !self.is_written() {
            return None;
        }
        self.data
            .first_chunk::<8>()
            .map(|bytes| u64::from_be_bytes(*bytes))
    }

    pub(super) fn set_number(&mut self, number: u64) {
        if let Some(place) = self.data.first_chunk_mut::<8>() {
            *place = number.to_be_bytes();
        }
    }

    /// The greatest value that an orderly counter can have shown since `number` was stored.
    pub(super) const fn greatest_since(number: u64) -> u64 {
        number | MAX_ORDERLY_COUNT as u64
    }
}

impl Index {
    /// TPM Reset and TPM Restart (Part 1, 37.7.2).
    pub(super) fn start(&mut self, kind: StartupKind, orderly: bool) {
        let mut attributes = self.attributes().without(TpmaNv::READLOCKED);
        let is_counter = self.nv_type() == TpmNt::Counter;
        let lost = attributes.contains(TpmaNv::CLEAR_STCLEAR)
            || attributes.contains(TpmaNv::ORDERLY) && kind == StartupKind::Reset;
        if lost && !is_counter {
            attributes = attributes.without(TpmaNv::WRITTEN);
            self.erase();
        }
        if !attributes.contains(TpmaNv::WRITEDEFINE | TpmaNv::WRITTEN) {
            attributes = attributes.without(TpmaNv::WRITELOCKED);
        }
        self.set_attributes(attributes);
        self.store();
        if is_counter
            && !orderly
            && self.stored.is_some()
            && let Some(count) = self.number()
        {
            // Values up to this one may have been shown since the last was stored.
            self.set_number(Self::greatest_since(count));
        }
    }

    /// Goes on from `live`, what the Index was in RAM, after its stored part was read again: a command that was to change both
    /// could not be stored. What that command did is undone, what earlier ones left in RAM stays.
    pub(super) fn go_on_from(&mut self, live: &Self) {
        let restored = self.number();
        let same = live.data.len() == self.data.len() && live.nv_type() == self.nv_type();
        if !same || live.stored.is_none() {
            return;
        }
        if self.nv_type() == TpmNt::Counter {
            if let (Some(restored), Some(count)) = (restored, live.number()) {
                self.set_number(count.min(Self::greatest_since(restored)).max(restored));
            }
            return;
        }
        self.data = live.data.clone();
        let written = live.attributes() & TpmaNv::WRITTEN;
        self.set_attributes(self.attributes().without(TpmaNv::WRITTEN) | written);
    }
}

impl Index {
    pub(super) fn write_stored(&self, out: &mut Vec<u8>) {
        let Some(stored) = &self.stored else {
            self.public.marshal(out);
            self.auth.marshal(out);
            marshal_bytes(&self.data, out);
            return;
        };
        let mut public = self.public.clone();
        set_attributes(&mut public, stored.attributes);
        public.marshal(out);
        self.auth.marshal(out);
        marshal_bytes(&stored.data, out);
    }

    pub(super) fn read_stored(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, public) = TpmtNvPublic2::parse(input)?;
        let (rest, auth) = Tpm2bAuth::parse(rest)?;
        let (rest, data) = parse_bytes(rest)?;
        let mut index = Self {
            public,
            auth,
            data: Zeroizing::new(data),
            stored: None,
        };
        if index.data.len() != index.data_size() || index.attributes().nv_type().is_none() {
            return refuse(Rc::SIZE);
        }
        index.stored = index.is_orderly().then(|| index.to_store());
        Ok((rest, index))
    }
}

fn set_attributes(public: &mut TpmtNvPublic2, attributes: TpmaNv) {
    match public {
        TpmtNvPublic2::NvIndex(public) | TpmtNvPublic2::PermanentNv(public) => {
            public.attributes = attributes;
        }
        TpmtNvPublic2::ExternalNv(public) => {
            public.attributes.0 = public.attributes.0 & !0xFFFF_FFFF | u64::from(attributes.0);
        }
    }
}
