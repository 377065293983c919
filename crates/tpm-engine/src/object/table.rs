//! What handles name: the slots of transient objects, and persistent objects.

use super::{Object, Sequence};
use crate::state_format::{Group, Section};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::Rc;

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
