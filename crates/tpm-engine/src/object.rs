//! Objects: what is loaded, what is persistent, Names and qualified Names (Part 1, 23 to 27).

use crate::algorithms::name_of;
use crate::hierarchy::Hierarchy;
use crate::state_format::{Group, Section};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::OnceCell;
use tpm_crypto::hash::{Hasher, Hmac};
use tpm_crypto::rsa;
use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgPublic};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bName};
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::object::{TpmtPublic, TpmtSensitive};
use tpm_wire::rc::Rc;

/// An object with a public area: a key or sealed data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// The public area.
    pub(crate) public: TpmtPublic,
    /// The sensitive area; `None` if only the public area is loaded.
    pub(crate) sensitive: Option<TpmtSensitive>,
    /// The Name; empty without a Name algorithm.
    pub(crate) name: Tpm2bName,
    /// The Name that tells the ancestors.
    pub(crate) qualified_name: Tpm2bName,
    /// The hierarchy, as the handle that it was created under; limited hierarchies keep their own handle.
    pub(crate) hierarchy: TpmHandle,
    /// Loaded by `TPM2_LoadExternal`.
    pub(crate) external: bool,
    /// Created from a primary seed.
    pub(crate) primary: bool,
    /// It or an ancestor is `stClear`: gone after the next TPM Reset or Restart.
    pub(crate) st_clear: bool,
    /// The RSA key, once something asked for it.
    pub(crate) rsa: RsaKeyCache,
}

/// The RSA key of an object, kept so that not every signature computes it anew. It is no part of the state: it is made
/// from the object, compared with nothing, and not copied with the object.
#[derive(Default)]
pub(crate) struct RsaKeyCache(OnceCell<Box<rsa::PrivateKey>>);

impl RsaKeyCache {
    /// The key that is kept, or the one that `make` gives.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn get_or_make(
        &self,
        make: impl FnOnce() -> Result<rsa::PrivateKey, Rc>,
    ) -> Result<&rsa::PrivateKey, Rc> {
        if let Some(key) = self.0.get() {
            return Ok(key);
        }
        let key = make()?;
        Ok(self.0.get_or_init(|| Box::new(key)))
    }
}

impl Clone for RsaKeyCache {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for RsaKeyCache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RsaKeyCache {}

impl core::fmt::Debug for RsaKeyCache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RsaKeyCache(..)")
    }
}

/// Where an object belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lineage<'a> {
    /// A primary object of a hierarchy.
    Primary(TpmHandle),
    /// A child of a parent.
    Child(&'a Object),
    /// An external object of a hierarchy.
    External(TpmHandle),
}

impl Object {
    /// An object as it is loaded: Names, hierarchy and the rest follow from the lineage (Part 1, 26).
    pub(crate) fn new(
        public: TpmtPublic,
        sensitive: Option<TpmtSensitive>,
        lineage: Lineage<'_>,
    ) -> Self {
        let name = Self::name_of(&public);
        let own_st_clear = public.has(TpmaObject::ST_CLEAR);
        let (qualified_name, hierarchy, st_clear) = match lineage {
            Lineage::Primary(handle) => (
                Self::qualified_name_of(public.name_alg, &handle.0.to_be_bytes(), &name),
                handle,
                own_st_clear,
            ),
            Lineage::Child(parent) => (
                Self::qualified_name_of(public.name_alg, &parent.qualified_name, &name),
                parent.hierarchy,
                own_st_clear || parent.st_clear,
            ),
            Lineage::External(handle) => (name.clone(), handle, own_st_clear),
        };
        Self {
            public,
            sensitive,
            name,
            qualified_name,
            hierarchy,
            external: matches!(lineage, Lineage::External(_)),
            primary: matches!(lineage, Lineage::Primary(_))
                && Hierarchy::from_handle(hierarchy) != Some(Hierarchy::Null),
            st_clear,
            rsa: RsaKeyCache::default(),
        }
    }

    /// Whether the object is a restricted decryption key of which all is loaded, and that this TPM protects.
    fn is_restricted_decryption(&self) -> bool {
        self.sensitive.is_some()
            && !self.external
            && self.public.name_alg.is_some()
            && self
                .public
                .has(TpmaObject::RESTRICTED | TpmaObject::DECRYPT)
    }

    /// Whether children can be created and loaded under the object: a storage key with its sensitive area (Part 1, 23.3).
    pub(crate) fn is_parent(&self) -> bool {
        self.is_restricted_decryption() && self.public.object_type() != TpmiAlgPublic::KeyedHash
    }

    /// Whether objects can be derived from it (Part 1, 28).
    pub(crate) fn is_derivation_parent(&self) -> bool {
        self.is_restricted_decryption() && self.public.object_type() == TpmiAlgPublic::KeyedHash
    }

    /// Whether objects can be duplicated to it: an asymmetric storage key, of which the public area suffices.
    pub(crate) fn is_storage_key(&self) -> bool {
        self.is_asymmetric()
            && self
                .public
                .has(TpmaObject::RESTRICTED | TpmaObject::DECRYPT)
            && !self.public.has(TpmaObject::SIGN)
    }

    /// Whether it is an RSA or ECC key.
    pub(crate) const fn is_asymmetric(&self) -> bool {
        matches!(
            self.public.object_type(),
            TpmiAlgPublic::Rsa | TpmiAlgPublic::Ecc
        )
    }

    /// The handle of the hierarchy, without the limit of a limited one.
    pub(crate) fn base_hierarchy(&self) -> TpmHandle {
        Hierarchy::from_handle(self.hierarchy).map_or(TpmHandle::NULL, Hierarchy::handle)
    }

    /// The Name of a public area (Part 1, 16).
    pub(crate) fn name_of(public: &TpmtPublic) -> Tpm2bName {
        public
            .name_alg
            .map_or(Tpm2bName::EMPTY, |hash| name_of(hash, &public.to_bytes()))
    }

    /// The qualified Name of an object under a parent (Part 1, 26.5).
    pub(crate) fn qualified_name_of(
        name_alg: Option<TpmiAlgHash>,
        parent_qualified_name: &[u8],
        name: &[u8],
    ) -> Tpm2bName {
        name_alg.map_or(Tpm2bName::EMPTY, |hash| {
            name_of(hash, &[parent_qualified_name, name].concat())
        })
    }
}

/// What a sequence accumulates.
#[derive(Clone)]
pub(crate) enum SequenceState {
    /// One hash. Once the first data came, `safe` says that it does not begin like a structure of the TPM's own.
    Hash {
        hasher: Hasher,
        hash: TpmiAlgHash,
        safe: Option<bool>,
    },
    /// A message authentication code.
    Hmac { hmac: Hmac, hash: TpmiAlgHash },
    /// A block cipher MAC.
    Cmac(tpm_crypto::hash::Cmac),
    /// An event: a hash for each bank.
    Event(Vec<(TpmiAlgHash, Hasher)>),
}

/// A sequence object (Part 1, 32).
#[derive(Clone)]
pub(crate) struct Sequence {
    /// The authorization value.
    pub(crate) auth: Tpm2bAuth,
    /// What it accumulates.
    pub(crate) state: SequenceState,
}

/// What a transient handle names.
#[derive(Clone)]
pub(crate) enum Slot {
    Object(Box<Object>),
    Sequence(Box<Sequence>),
}

/// All objects.
#[derive(Clone)]
pub(crate) struct Objects {
    slots: Vec<Option<Slot>>,
    /// Objects that `TPM2_EvictControl` made persistent, by handle.
    pub(crate) persistent: BTreeMap<TpmHandle, Object>,
    /// The number that the next saved object context gets; starts anew at TPM Reset.
    pub(crate) context_counter: u64,
}

impl Objects {
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            slots: alloc::vec![None; usize::try_from(slots).unwrap_or(3)],
            persistent: BTreeMap::new(),
            context_counter: 0,
        }
    }

    fn slot(&self, handle: TpmHandle) -> Option<&Slot> {
        if handle.kind() != Some(TpmHt::Transient) {
            return None;
        }
        self.slots
            .get(usize::try_from(handle.index()).ok()?)?
            .as_ref()
    }

    /// Whether a transient handle names anything.
    pub(crate) fn is_loaded(&self, handle: TpmHandle) -> bool {
        self.slot(handle).is_some()
    }

    /// The object behind a transient or persistent handle; `None` for sequences too.
    pub(crate) fn find(&self, handle: TpmHandle) -> Option<&Object> {
        match handle.kind() {
            Some(TpmHt::Persistent) => self.persistent.get(&handle),
            _ => match self.slot(handle)? {
                Slot::Object(object) => Some(object),
                Slot::Sequence(_) => None,
            },
        }
    }

    /// The object behind a handle.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` for a sequence: it has no public area.
    pub(crate) fn get(&self, handle: impl Into<TpmHandle>) -> Result<&Object, Rc> {
        self.find(handle.into()).ok_or(Rc::TYPE)
    }

    /// The sequence behind a handle.
    ///
    /// # Errors
    /// `TPM_RC_MODE` for an object that is no sequence.
    pub(crate) fn sequence(&self, handle: TpmHandle) -> Result<&Sequence, Rc> {
        match self.slot(handle) {
            Some(Slot::Sequence(sequence)) => Ok(sequence),
            _ => Err(Rc::MODE),
        }
    }

    /// The same, to be changed.
    ///
    /// # Errors
    /// `TPM_RC_MODE` for an object that is no sequence.
    pub(crate) fn sequence_mut(&mut self, handle: TpmHandle) -> Result<&mut Sequence, Rc> {
        let index = usize::try_from(handle.index()).unwrap_or(usize::MAX);
        match self.slots.get_mut(index) {
            Some(Some(Slot::Sequence(sequence))) if handle.kind() == Some(TpmHt::Transient) => {
                Ok(sequence)
            }
            _ => Err(Rc::MODE),
        }
    }

    /// Checks that a slot is free.
    ///
    /// # Errors
    /// `TPM_RC_OBJECT_MEMORY`.
    pub(crate) fn check_room(&self) -> Result<(), Rc> {
        if self.free() == 0 {
            Err(Rc::OBJECT_MEMORY)
        } else {
            Ok(())
        }
    }

    /// Slots that are free.
    pub(crate) fn free(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_none()).count()
    }

    /// Puts an object or a sequence into a free slot.
    ///
    /// # Errors
    /// `TPM_RC_OBJECT_MEMORY`.
    pub(crate) fn insert(&mut self, content: Slot) -> Result<TpmHandle, Rc> {
        let (index, slot) = (0u32..)
            .zip(&mut self.slots)
            .find(|(_, slot)| slot.is_none())
            .ok_or(Rc::OBJECT_MEMORY)?;
        *slot = Some(content);
        Ok(TpmHt::Transient.handle(index))
    }

    /// Loads an object.
    ///
    /// # Errors
    /// `TPM_RC_OBJECT_MEMORY`.
    pub(crate) fn load(&mut self, object: Object) -> Result<TpmHandle, Rc> {
        self.insert(Slot::Object(Box::new(object)))
    }

    /// Takes a transient object or sequence out.
    pub(crate) fn flush(&mut self, handle: TpmHandle) -> Option<Slot> {
        if handle.kind() != Some(TpmHt::Transient) {
            return None;
        }
        self.slots
            .get_mut(usize::try_from(handle.index()).ok()?)?
            .take()
    }

    /// Takes every transient object out that `condition` holds for; sequences are asked as `None`.
    pub(crate) fn flush_if(&mut self, condition: impl Fn(Option<&Object>) -> bool) {
        for slot in &mut self.slots {
            let gone = match slot {
                Some(Slot::Object(object)) => condition(Some(object)),
                Some(Slot::Sequence(_)) => condition(None),
                None => false,
            };
            if gone {
                *slot = None;
            }
        }
    }

    /// Handles of what is loaded, ascending.
    pub(crate) fn transient(&self) -> impl Iterator<Item = TpmHandle> + '_ {
        (0u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.is_some())
            .map(|(index, _)| TpmHt::Transient.handle(index))
    }
}

impl Marshal for Object {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.public.marshal(out);
        self.sensitive.is_some().marshal(out);
        if let Some(sensitive) = &self.sensitive {
            sensitive.marshal(out);
        }
        self.qualified_name.marshal(out);
        self.hierarchy.marshal(out);
        for flag in [self.external, self.primary, self.st_clear] {
            flag.marshal(out);
        }
    }
}

impl Parse for Object {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, public) = TpmtPublic::parse(input)?;
        let (rest, has_sensitive) = bool::parse(rest)?;
        let (rest, sensitive) = if has_sensitive {
            let (rest, sensitive) = TpmtSensitive::parse(rest)?;
            (rest, Some(sensitive))
        } else {
            (rest, None)
        };
        let (rest, qualified_name) = Tpm2bName::parse(rest)?;
        let (rest, hierarchy) = TpmHandle::parse(rest)?;
        let (rest, external) = bool::parse(rest)?;
        let (rest, primary) = bool::parse(rest)?;
        let (rest, st_clear) = bool::parse(rest)?;
        let name = Self::name_of(&public);
        Ok((
            rest,
            Self {
                public,
                sensitive,
                name,
                qualified_name,
                hierarchy,
                external,
                primary,
                st_clear,
                rsa: RsaKeyCache::default(),
            },
        ))
    }
}

impl Marshal for Sequence {
    fn marshal(&self, out: &mut Vec<u8>) {
        use crate::state_format::marshal_bytes;
        self.auth.marshal(out);
        match &self.state {
            SequenceState::Hash { hasher, hash, safe } => {
                0u8.marshal(out);
                hash.marshal(out);
                marshal_bytes(&hasher.save(), out);
                safe.is_some().marshal(out);
                safe.unwrap_or_default().marshal(out);
            }
            SequenceState::Hmac { hmac, hash } => {
                1u8.marshal(out);
                hash.marshal(out);
                marshal_bytes(&hmac.save(), out);
            }
            SequenceState::Cmac(cmac) => {
                2u8.marshal(out);
                (cmac.cipher() as u8).marshal(out);
                marshal_bytes(&cmac.save(), out);
            }
            SequenceState::Event(hashers) => {
                3u8.marshal(out);
                u16::try_from(hashers.len())
                    .unwrap_or_default()
                    .marshal(out);
                for (hash, hasher) in hashers {
                    hash.marshal(out);
                    marshal_bytes(&hasher.save(), out);
                }
            }
        }
    }
}

impl Parse for Sequence {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        use crate::algorithms::hash_algorithm;
        use crate::state_format::parse_bytes;
        let restore = |hash, bytes: &[u8]| Hasher::restore(hash_algorithm(hash), bytes);
        let (rest, auth) = Tpm2bAuth::parse(input)?;
        let (rest, kind) = u8::parse(rest)?;
        let (rest, state) = match kind {
            0 => {
                let (rest, hash) = TpmiAlgHash::parse(rest)?;
                let (rest, saved) = parse_bytes(rest)?;
                let (rest, begun) = bool::parse(rest)?;
                let (rest, safe) = bool::parse(rest)?;
                let Some(hasher) = restore(hash, &saved) else {
                    return refuse(Rc::VALUE);
                };
                let safe = begun.then_some(safe);
                (rest, SequenceState::Hash { hasher, hash, safe })
            }
            1 => {
                let (rest, hash) = TpmiAlgHash::parse(rest)?;
                let (rest, saved) = parse_bytes(rest)?;
                let Some(hmac) = Hmac::restore(hash_algorithm(hash), &saved) else {
                    return refuse(Rc::VALUE);
                };
                (rest, SequenceState::Hmac { hmac, hash })
            }
            2 => {
                let (rest, cipher) = u8::parse(rest)?;
                let (rest, saved) = parse_bytes(rest)?;
                let cipher = tpm_crypto::symmetric::BlockCipher::ALL
                    .iter()
                    .find(|known| **known as u8 == cipher);
                let Some(cmac) =
                    cipher.and_then(|cipher| tpm_crypto::hash::Cmac::restore(*cipher, &saved))
                else {
                    return refuse(Rc::VALUE);
                };
                (rest, SequenceState::Cmac(cmac))
            }
            3 => {
                let (mut rest, count) = u16::parse(rest)?;
                let mut hashers = Vec::new();
                for _ in 0..count {
                    let (hash, saved);
                    (rest, hash) = TpmiAlgHash::parse(rest)?;
                    (rest, saved) = parse_bytes(rest)?;
                    let Some(hasher) = restore(hash, &saved) else {
                        return refuse(Rc::VALUE);
                    };
                    hashers.push((hash, hasher));
                }
                (rest, SequenceState::Event(hashers))
            }
            _ => return refuse(Rc::VALUE),
        };
        Ok((rest, Self { auth, state }))
    }
}

impl Section for Objects {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        match group {
            Group::Permanent => {
                u32::try_from(self.persistent.len())
                    .unwrap_or_default()
                    .marshal(out);
                for (handle, object) in &self.persistent {
                    handle.marshal(out);
                    object.marshal(out);
                }
            }
            Group::Reset => self.context_counter.marshal(out),
            Group::Clear => {}
            Group::Volatile => {
                for (index, slot) in (0u32..).zip(&self.slots) {
                    let Some(slot) = slot else { continue };
                    index.marshal(out);
                    match slot {
                        Slot::Object(object) => {
                            false.marshal(out);
                            object.marshal(out);
                        }
                        Slot::Sequence(sequence) => {
                            true.marshal(out);
                            sequence.marshal(out);
                        }
                    }
                }
                u32::MAX.marshal(out);
            }
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        let mut rest = input;
        match group {
            Group::Permanent => {
                let count;
                (rest, count) = u32::parse(rest)?;
                self.persistent.clear();
                for _ in 0..count {
                    let (handle, object);
                    (rest, handle) = TpmHandle::parse(rest)?;
                    (rest, object) = Object::parse(rest)?;
                    self.persistent.insert(handle, object);
                }
            }
            Group::Reset => (rest, self.context_counter) = u64::parse(rest)?,
            Group::Clear => {}
            Group::Volatile => {
                self.slots.fill(None);
                loop {
                    let (index, is_sequence);
                    (rest, index) = u32::parse(rest)?;
                    if index == u32::MAX {
                        break;
                    }
                    (rest, is_sequence) = bool::parse(rest)?;
                    let content = if is_sequence {
                        let sequence;
                        (rest, sequence) = Sequence::parse(rest)?;
                        Slot::Sequence(Box::new(sequence))
                    } else {
                        let object;
                        (rest, object) = Object::parse(rest)?;
                        Slot::Object(Box::new(object))
                    };
                    match self
                        .slots
                        .get_mut(usize::try_from(index).unwrap_or(usize::MAX))
                    {
                        Some(slot) => *slot = Some(content),
                        None => return refuse(Rc::VALUE),
                    }
                }
            }
        }
        Ok((rest, ()))
    }
}
