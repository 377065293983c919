//! The bytes of a `.nvram`: header, sectors, slots, and which slot counts (`docs/vm-file-format.md`, 3).
//!
//! Pure functions over bytes; `nvram.rs` does the reading and writing. Long because the tests of `judge` need its private parts.

use crate::{
    identity::Identity,
    seal::{self, Authenticator, DataKey},
};
use uuid::Uuid;

/// The format version that this code writes.
pub(crate) const VERSION: u16 = 1;
/// Length of the header, and so the offset of slot 0.
pub(crate) const HEADER_LENGTH: usize = 4096;
/// Length of a sector.
pub(crate) const SECTOR_LENGTH: usize = 512;
/// Bytes of a record that one sector carries.
pub(crate) const PAYLOAD_LENGTH: usize = SECTOR_LENGTH - SECTOR_HEADER - SECTOR_TAG;
/// Capacities of a slot, in sectors: what a file may have, and what a new file has at least.
const MIN_CAPACITY: u32 = 8;
const NEW_CAPACITY: u32 = 64;
const MAX_CAPACITY: u32 = 65_528;
/// A write covers at least two sectors, one of them the parity: `judge` relies on it.
const MIN_SECTORS: u32 = 2;

const MAGIC: &[u8; 8] = b"vTPMnvrm";
const HEADER_MAC: usize = HEADER_LENGTH - 32;
const SECTOR_HEADER: usize = 24;
const SECTOR_TAG: usize = 16;
const SECTOR_AUTHENTICATED: usize = SECTOR_LENGTH - SECTOR_TAG;
/// Where in a sector its write id is.
const WRITE_ID: std::ops::Range<usize> = 8..16;

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) capacity: u32,
    pub(crate) identity: Identity,
}

/// Why a header was not understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Version(u16),
    Malformed(&'static str),
}

impl Header {
    pub(crate) fn encode(&self, key: &DataKey) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&SECTOR_FIELD.to_be_bytes());
        bytes.extend_from_slice(&self.capacity.to_be_bytes());
        bytes.extend_from_slice(self.identity.vm_id.as_bytes());
        bytes.extend_from_slice(self.identity.instance_id.as_bytes());
        bytes.resize(HEADER_MAC, 0);
        let mac = header_mac(key, &bytes);
        bytes.extend_from_slice(&mac);
        bytes
    }

    /// Reads a header without trusting it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let malformed = || HeaderFault::Malformed("the header is cut");
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
        let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
        let (sector, rest) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
        let (capacity, rest) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (vm, rest) = rest.split_first_chunk::<16>().ok_or_else(malformed)?;
        let (instance, _) = rest.split_first_chunk::<16>().ok_or_else(malformed)?;
        if magic != MAGIC {
            return Err(HeaderFault::Malformed("it is no .nvram of ours"));
        }
        let version = u16::from_be_bytes(*version);
        if version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        if u16::from_be_bytes(*sector) != SECTOR_FIELD {
            return Err(HeaderFault::Malformed("the sector size is not 512"));
        }
        let capacity = u32::from_be_bytes(*capacity);
        if !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) || !capacity.is_multiple_of(8) {
            return Err(HeaderFault::Malformed("the slot size is out of range"));
        }
        Ok(Self {
            capacity,
            identity: Identity {
                vm_id: Uuid::from_bytes(*vm),
                instance_id: Uuid::from_bytes(*instance),
            },
        })
    }

    /// Whether the header was written under this data key and not changed since.
    pub(crate) fn is_authentic(bytes: &[u8], key: &DataKey) -> bool {
        let parts = bytes
            .get(..HEADER_LENGTH)
            .and_then(|header| header.split_at_checked(HEADER_MAC));
        parts.is_some_and(|(covered, mac)| seal::equal(&header_mac(key, covered), mac))
    }

    pub(crate) fn slot_length(&self) -> usize {
        sectors_length(self.capacity)
    }

    pub(crate) fn file_length(&self) -> usize {
        HEADER_LENGTH + 2 * self.slot_length()
    }

    pub(crate) fn slot_offset(&self, slot: Slot) -> usize {
        match slot {
            Slot::Zero => HEADER_LENGTH,
            Slot::One => HEADER_LENGTH + self.slot_length(),
        }
    }

    /// The bytes of a slot in those of the file.
    pub(crate) fn slot_of<'a>(&self, file: &'a [u8], slot: Slot) -> &'a [u8] {
        let start = self.slot_offset(slot);
        file.get(start..start + self.slot_length())
            .unwrap_or_default()
    }

    /// The same, to be changed.
    pub(crate) fn slot_of_mut<'a>(&self, file: &'a mut [u8], slot: Slot) -> &'a mut [u8] {
        let start = self.slot_offset(slot);
        file.get_mut(start..start + self.slot_length())
            .unwrap_or_default()
    }
}

/// One of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Zero,
    One,
}

impl Slot {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Zero,
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
        }
    }
}

/// The clear fields of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SectorTag {
    generation: u64,
    write_id: [u8; 8],
    index: u32,
    count: u32,
}

/// How many sectors a record needs, that of the parity among them.
pub(crate) fn sectors_for(record_length: usize) -> Option<u32> {
    let count = u32::try_from(record_length.div_ceil(PAYLOAD_LENGTH)).ok()?;
    Some(count.checked_add(1)?.max(MIN_SECTORS))
}

/// The longest record that any file can hold.
pub(crate) fn max_record_length() -> usize {
    sectors_length(MAX_CAPACITY - 1) / SECTOR_LENGTH * PAYLOAD_LENGTH
}

/// The capacity to give a file whose record needs so many sectors: room to grow to twice that.
pub(crate) fn capacity_for(sectors: u32) -> u32 {
    sectors
        .saturating_mul(2)
        .next_multiple_of(8)
        .clamp(NEW_CAPACITY, MAX_CAPACITY)
}

/// Makes and checks the sectors of one VM's file.
#[derive(Debug)]
pub(crate) struct Sectors {
    authenticator: Authenticator,
}

impl Sectors {
    pub(crate) fn new(key: &DataKey, identity: &Identity) -> Self {
        let info: [&[u8]; 3] = [
            b"vtpm.nvram.sector.v1",
            identity.vm_id.as_bytes(),
            identity.instance_id.as_bytes(),
        ];
        Self {
            authenticator: Authenticator::new(&seal::derive(key.expose(), None, &info)),
        }
    }

    /// The sectors of one write; the last one is the parity of the others.
    pub(crate) fn write(
        &self,
        slot: Slot,
        generation: u64,
        write_id: [u8; 8],
        record: &[u8],
        count: u32,
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(sectors_length(count));
        let mut payloads = record.chunks(PAYLOAD_LENGTH);
        let mut parity = [0; PAYLOAD_LENGTH];
        for index in 0..count {
            let tag = SectorTag {
                generation,
                write_id,
                index,
                count,
            };
            if index + 1 == count {
                self.push(&mut bytes, slot, tag, &parity);
            } else {
                let payload = payloads.next().unwrap_or_default();
                exclusive_or(&mut parity, payload);
                self.push(&mut bytes, slot, tag, payload);
            }
        }
        bytes
    }

    /// Puts the one sector that a power cut tore in its middle back as it was to be, if all others of its write are there and it looks
    /// torn: one part of it as it was to be, the other something else. A sector changed in any other way stays as it is.
    /// What comes out is as good as the parity: the record has to open.
    pub(crate) fn mend(&self, slot: Slot, bytes: &mut [u8], reading: &SlotReading) -> bool {
        let Some(tag) = reading.torn else {
            return false;
        };
        let (Ok(count), Ok(index)) = (usize::try_from(tag.count), usize::try_from(tag.index))
        else {
            return false;
        };
        let mut payload = [0; PAYLOAD_LENGTH];
        for (at, sector) in bytes.chunks(SECTOR_LENGTH).take(count).enumerate() {
            if at != index {
                exclusive_or(&mut payload, payload_of(sector));
            }
        }
        let mut whole = Vec::with_capacity(SECTOR_LENGTH);
        self.push(&mut whole, slot, tag, &payload);
        match bytes.chunks_mut(SECTOR_LENGTH).nth(index) {
            Some(sector) if looks_torn(sector, &whole) => {
                sector.copy_from_slice(&whole);
                true
            }
            _ => false,
        }
    }

    /// Fillers for the sectors `from..to` of a slot that were never written.
    pub(crate) fn fillers(&self, slot: Slot, from: u32, to: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for index in from..to {
            let tag = SectorTag {
                generation: 0,
                write_id: [0; 8],
                index,
                count: 0,
            };
            self.push(&mut bytes, slot, tag, &[]);
        }
        bytes
    }

    fn push(&self, bytes: &mut Vec<u8>, slot: Slot, tag: SectorTag, payload: &[u8]) {
        let start = bytes.len();
        bytes.extend_from_slice(&tag.generation.to_be_bytes());
        bytes.extend_from_slice(&tag.write_id);
        bytes.extend_from_slice(&tag.index.to_be_bytes());
        bytes.extend_from_slice(&tag.count.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes.resize(start + SECTOR_AUTHENTICATED, 0);
        let mac = self.mac(slot, bytes.get(start..).unwrap_or_default());
        bytes.extend_from_slice(&mac);
    }

    fn mac(&self, slot: Slot, covered: &[u8]) -> [u8; SECTOR_TAG] {
        let mac = self.authenticator.mac(&[&[slot.number()], covered]);
        let [low @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = mac;
        low
    }

    /// The fields of a sector if it is authentic at this place.
    fn read_sector(&self, slot: Slot, index: u32, sector: &[u8]) -> Option<SectorTag> {
        let (covered, mac) = sector.split_at_checked(SECTOR_AUTHENTICATED)?;
        if !seal::equal(&self.mac(slot, covered), mac) {
            return None;
        }
        read_tag(index, covered)
    }

    /// Looks at every sector of a slot.
    pub(crate) fn read(&self, slot: Slot, bytes: &[u8]) -> SlotReading {
        SlotReading::of(bytes, |index, sector| self.read_sector(slot, index, sector))
    }
}

/// Looks at the readable fields of every sector of a slot, without a key: what is consistent may still be false.
pub(crate) fn glance(bytes: &[u8]) -> SlotReading {
    SlotReading::of(bytes, read_tag)
}

/// The fields of a sector if they make sense at this place.
fn read_tag(index: u32, sector: &[u8]) -> Option<SectorTag> {
    let (generation, rest) = sector.split_first_chunk::<8>()?;
    let (write_id, rest) = rest.split_first_chunk::<8>()?;
    let (at, rest) = rest.split_first_chunk::<4>()?;
    let count = rest.first_chunk::<4>()?;
    let tag = SectorTag {
        generation: u64::from_be_bytes(*generation),
        write_id: *write_id,
        index: u32::from_be_bytes(*at),
        count: u32::from_be_bytes(*count),
    };
    let is_filler = tag.generation == 0 && tag.count == 0;
    (tag.index == index && (is_filler || tag.count >= MIN_SECTORS)).then_some(tag)
}

/// Puts a record together from the sectors of a complete write.
pub(crate) fn record_of(slot: &[u8], sectors: u32) -> Vec<u8> {
    let mut record = Vec::with_capacity(sectors_length(sectors));
    for sector in slot
        .get(..sectors_length(sectors))
        .unwrap_or_default()
        .chunks(SECTOR_LENGTH)
    {
        record.extend_from_slice(payload_of(sector));
    }
    record
}

fn payload_of(sector: &[u8]) -> &[u8] {
    let payload = sector.get(SECTOR_HEADER..SECTOR_AUTHENTICATED);
    payload.unwrap_or_default()
}

fn exclusive_or(sum: &mut [u8; PAYLOAD_LENGTH], payload: &[u8]) {
    for (sum, byte) in sum.iter_mut().zip(payload) {
        *sum ^= byte;
    }
}

/// Whether a sector is the one that was being written up to some byte, or from some byte on, and another one in the rest of it. The other
/// one is told by its tag, or by its write id: of 16 or 8 random bytes, half at least are other ones.
fn looks_torn(found: &[u8], whole: &[u8]) -> bool {
    let other = |range: std::ops::Range<usize>| {
        let length = range.len();
        let of = |bytes| <[u8]>::get(bytes, range.clone()).unwrap_or_default();
        let differ = of(found).iter().zip(of(whole)).filter(|(a, b)| a != b);
        differ.count() * 2 >= length
    };
    let pairs = found.iter().zip(whole).enumerate();
    let mut differ = pairs.filter(|(_, (a, b))| a != b).map(|(at, _)| at);
    let Some(first) = differ.next() else {
        return false;
    };
    let last = differ.next_back().unwrap_or(first);
    last < WRITE_ID.end || other(WRITE_ID) || other(first.max(SECTOR_AUTHENTICATED)..SECTOR_LENGTH)
}

/// A write all of whose sectors are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompleteWrite {
    pub(crate) generation: u64,
    pub(crate) sectors: u32,
}

/// What was found in one slot.
#[derive(Debug)]
pub(crate) struct SlotReading {
    pub(crate) complete: Option<CompleteWrite>,
    /// Highest generation in any authentic sector.
    pub(crate) newest: u64,
    /// The sectors that are not authentic.
    pub(crate) damaged: Vec<u32>,
    /// Generations of sectors 0 and 1, if authentic.
    head: [Option<u64>; 2],
    /// Not every sector that the newest write was to replace was replaced, so that it was never acknowledged.
    unfinished: bool,
    /// The one sector that lacks to a write all of whose other sectors are there.
    torn: Option<SectorTag>,
}

impl SectorTag {
    fn is_of_the_write_of(&self, other: &Self) -> bool {
        (self.generation, self.write_id, self.count)
            == (other.generation, other.write_id, other.count)
    }
}

impl SlotReading {
    /// What a slot holds, by what `read` makes of each of its sectors.
    fn of(bytes: &[u8], read: impl Fn(u32, &[u8]) -> Option<SectorTag>) -> Self {
        let tags: Vec<Option<SectorTag>> = (0u32..)
            .zip(bytes.chunks(SECTOR_LENGTH))
            .map(|(index, sector)| read(index, sector))
            .collect();
        let complete = tags.first().copied().flatten().and_then(|first| {
            let count = usize::try_from(first.count).ok()?;
            let write = tags.get(..count)?;
            let same =
                |tag: &Option<SectorTag>| tag.is_some_and(|it| it.is_of_the_write_of(&first));
            (first.generation > 0 && write.iter().all(same)).then_some(CompleteWrite {
                generation: first.generation,
                sectors: first.count,
            })
        });
        let generations = tags.iter().flatten().map(|tag| tag.generation);
        let newest = generations.max().unwrap_or(0);
        Self {
            complete,
            newest,
            damaged: (0u32..)
                .zip(&tags)
                .filter(|(_, tag)| tag.is_none())
                .map(|(index, _)| index)
                .collect(),
            head: [0, 1].map(|at| tags.get(at).copied().flatten().map(|tag| tag.generation)),
            unfinished: is_unfinished(&tags, newest),
            torn: torn_sector(&tags),
        }
    }
}

/// Whether the newest write left sectors of older ones where its own were to be. It may have been tried more than once, with lengths of their
/// own: each of the tries has to be unfinished, and sectors 0 and 1 are in each of them, so that one of these two shows of which it is.
fn is_unfinished(tags: &[Option<SectorTag>], newest: u64) -> bool {
    let writes = || {
        let tags = tags.iter().flatten();
        tags.filter(|tag| tag.generation == newest)
    };
    let left_behind = |write: &SectorTag| {
        let count = usize::try_from(write.count).unwrap_or(0);
        let range = tags.get(..count).unwrap_or_default();
        range.iter().flatten().any(|tag| tag.generation < newest)
    };
    tags.iter().take(2).flatten().next().is_some() && newest > 0 && writes().all(left_behind)
}

fn torn_sector(tags: &[Option<SectorTag>]) -> Option<SectorTag> {
    // Of two sectors that each write has, one at least is there.
    let mut head = tags.iter().take(2).flatten();
    let of = *head.find(|tag| tag.generation > 0)?;
    let mut lacking = None;
    for (index, tag) in (0..of.count).zip(tags.get(..usize::try_from(of.count).ok()?)?) {
        match tag {
            Some(tag) if tag.is_of_the_write_of(&of) => {}
            None if lacking.is_none() => lacking = Some(SectorTag { index, ..of }),
            _ => return None,
        }
    }
    lacking
}

/// Which slot counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) slot: Slot,
    pub(crate) write: CompleteWrite,
    /// The generation of a write that was interrupted, never acknowledged, and is dropped.
    pub(crate) interrupted: Option<u64>,
    /// Sectors of the other slot that are damaged, though they hold nothing that counts.
    pub(crate) standby_damage: bool,
}

/// The slot with the newest complete write, whatever the other one holds: for rescue by hand only.
pub(crate) fn best_complete(zero: &SlotReading, one: &SlotReading) -> Option<Verdict> {
    let (slot, chosen, other) = match (zero.complete, one.complete) {
        (Some(a), Some(b)) if b.generation > a.generation => (Slot::One, b, zero),
        (Some(a), _) => (Slot::Zero, a, one),
        (None, Some(b)) => (Slot::One, b, zero),
        (None, None) => return None,
    };
    Some(Verdict {
        slot,
        write: chosen,
        interrupted: (other.newest > chosen.generation).then_some(other.newest),
        standby_damage: !other.damaged.is_empty(),
    })
}

/// The slot that counts, if it is certain that the other one holds no newer acknowledged write.
/// The reasons stand in `docs/vm-file-format.md`, 3.5 and 3.6.
pub(crate) fn judge(zero: &SlotReading, one: &SlotReading) -> Result<Verdict, String> {
    let verdict = best_complete(zero, one).ok_or_else(|| {
        format!(
            "neither slot holds a complete state ({}; {})",
            describe(Slot::Zero, zero),
            describe(Slot::One, one)
        )
    })?;
    let generation = verdict.write.generation;
    let other_slot = verdict.slot.other();
    let other = match other_slot {
        Slot::Zero => zero,
        Slot::One => one,
    };
    if let Some(complete) = other.complete {
        if complete.generation < generation {
            return Ok(verdict);
        }
        return Err(format!(
            "both slots say that they hold generation {generation}"
        ));
    }
    if other.damaged.is_empty() {
        if other.newest <= generation.saturating_add(1) {
            return Ok(verdict);
        }
        return Err(format!(
            "slot {} has parts of generation {}, so the state of generation {generation} in the other slot is not the one before it",
            other_slot.number(),
            other.newest
        ));
    }
    // A write to that slot after ours would have replaced sectors 0 and 1, and all others up to its length.
    let next = generation.saturating_add(1);
    if other.newest <= next && other.head.iter().flatten().any(|head| *head < generation)
        || other.newest == next && other.unfinished
    {
        return Ok(verdict);
    }
    Err(format!(
        "{}; it may have held a newer state than the other slot's generation {generation}",
        describe(other_slot, other)
    ))
}

fn describe(slot: Slot, reading: &SlotReading) -> String {
    let mut text = format!("slot {}", slot.number());
    match (reading.damaged.as_slice(), reading.newest) {
        ([], 0) => text.push_str(" was never written"),
        ([], newest) => text.push_str(&format!(" has only parts of generation {newest}")),
        ([first, rest @ ..], _) => {
            text.push_str(&format!(": sector {first}"));
            if !rest.is_empty() {
                text.push_str(&format!(" and {} more", rest.len()));
            }
            text.push_str(" changed or written under another key");
        }
    }
    text
}

fn header_mac(key: &DataKey, covered: &[u8]) -> [u8; 32] {
    let key = seal::derive(key.expose(), None, &[b"vtpm.nvram.header.v1"]);
    seal::mac(&key, &[covered])
}

fn sectors_length(count: u32) -> usize {
    usize::try_from(count).unwrap_or(0) * SECTOR_LENGTH
}

const SECTOR_FIELD: u16 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: u32 = 64;

    struct Bench {
        sectors: Sectors,
        slots: [Vec<u8>; 2],
    }

    impl Bench {
        fn new() -> Self {
            let sectors = Sectors::new(&DataKey::generate().unwrap(), &Identity::random().unwrap());
            let slots = [Slot::Zero, Slot::One].map(|slot| sectors.fillers(slot, 0, CAPACITY));
            Self { sectors, slots }
        }

        fn write(&mut self, generation: u64, count: u32, only: impl Fn(usize) -> bool) {
            let slot = if generation % 2 == 1 {
                Slot::Zero
            } else {
                Slot::One
            };
            let bytes =
                self.sectors
                    .write(slot, generation, seal::random().unwrap(), &[7; 600], count);
            for (index, sector) in bytes.chunks(SECTOR_LENGTH).enumerate() {
                if only(index) {
                    let at = index * SECTOR_LENGTH;
                    self.slots[usize::from(slot.number())][at..at + SECTOR_LENGTH]
                        .copy_from_slice(sector);
                }
            }
        }

        fn judge(&self) -> Result<Verdict, String> {
            let zero = self.sectors.read(Slot::Zero, &self.slots[0]);
            let one = self.sectors.read(Slot::One, &self.slots[1]);
            judge(&zero, &one)
        }
    }

    #[test]
    fn the_higher_complete_generation_counts() {
        let mut bench = Bench::new();
        assert!(bench.judge().is_err());
        for generation in 1..6 {
            bench.write(generation, 3, |_| true);
            let verdict = bench.judge().unwrap();
            assert_eq!(verdict.write.generation, generation);
            assert_eq!(verdict.interrupted, None);
        }
    }

    #[test]
    fn any_subset_of_an_interrupted_write_falls_back() {
        for subset in 0..31u32 {
            let mut bench = Bench::new();
            bench.write(1, 5, |_| true);
            bench.write(2, 4, |_| true);
            bench.write(3, 5, |index| subset >> index & 1 == 1);
            let verdict = bench.judge().unwrap();
            // Nothing of generation 3 leaves generation 1 whole; its last sector lies beyond.
            assert_eq!(verdict.write.generation, 2, "{subset:b}");
            assert_eq!(verdict.interrupted.is_some(), subset != 0);
        }
    }

    #[test]
    fn one_changed_sector_of_the_newest_write_refuses() {
        for sector in 0..4 {
            let mut bench = Bench::new();
            bench.write(1, 4, |_| true);
            bench.write(2, 4, |_| true);
            bench.slots[1][sector * SECTOR_LENGTH + 100] ^= 4;
            assert!(bench.judge().is_err());
        }
    }

    #[test]
    fn a_torn_sector_of_an_unfinished_write_falls_back() {
        for torn in 0..5 {
            for kept in 0..5 {
                let mut bench = Bench::new();
                bench.write(1, 5, |_| true);
                bench.write(2, 5, |_| true);
                bench.write(3, 5, |index| index != kept);
                bench.slots[0][torn * SECTOR_LENGTH + 100] ^= 4;
                // With the damaged one, nothing old is left where it was: all sectors are there but one.
                let verdict = bench.judge().map(|verdict| verdict.write.generation);
                assert_eq!(verdict.ok(), (torn != kept).then_some(2), "{torn} {kept}");
            }
        }
    }

    #[test]
    fn what_a_failed_try_left_behind_does_not_make_an_acknowledged_write_unfinished() {
        for torn in 0..3 {
            let mut bench = Bench::new();
            bench.write(1, 8, |_| true);
            bench.write(2, 8, |_| true);
            // A try of generation 3 that came halfway, and a shorter one that was acknowledged.
            bench.write(3, 8, |index| index % 2 == 1);
            bench.write(3, 3, |_| true);
            assert_eq!(bench.judge().unwrap().write.generation, 3);
            bench.slots[0][torn * SECTOR_LENGTH + 100] ^= 4;
            assert!(bench.judge().is_err(), "{torn}");
        }
    }

    #[test]
    fn a_torn_sector_is_put_back_and_a_changed_one_is_not() {
        for torn in 0..5 {
            let mut bench = Bench::new();
            bench.write(1, 5, |_| true);
            bench.write(2, 5, |_| true);
            let before = bench.slots[0].clone();
            bench.write(3, 5, |_| true);
            let whole = bench.slots[0].clone();
            let at = torn * SECTOR_LENGTH;
            let mend = |changed: &[u8]| {
                let mut bytes = changed.to_vec();
                let reading = bench.sectors.read(Slot::Zero, &bytes);
                let mended = bench.sectors.mend(Slot::Zero, &mut bytes, &reading);
                assert_eq!(mended, bytes == whole, "sector {torn}");
                mended
            };
            for middle in [16, 24, 256, 495, 505] {
                let mut new_first = whole.clone();
                new_first[at + middle..at + SECTOR_LENGTH]
                    .copy_from_slice(&before[at + middle..at + SECTOR_LENGTH]);
                assert!(mend(&new_first), "{torn} {middle}");
                let mut new_last = whole.clone();
                new_last[at..at + middle].copy_from_slice(&before[at..at + middle]);
                assert!(mend(&new_last), "{torn} {middle}");
                let mut changed = whole.clone();
                changed[at + middle] ^= 4;
                assert!(!mend(&changed), "{torn} {middle}");
            }
            // Two sectors that lack are more than the parity can give.
            let mut two = whole.clone();
            two[at..at + SECTOR_LENGTH].fill(0);
            let next = (torn + 1) % 5 * SECTOR_LENGTH;
            two[next..next + SECTOR_LENGTH].fill(0);
            let reading = bench.sectors.read(Slot::Zero, &two);
            assert!(!bench.sectors.mend(Slot::Zero, &mut two, &reading));
        }
    }

    #[test]
    fn damage_in_the_older_slot_leaves_the_newest_state_intact() {
        for sector in 0..6 {
            let mut bench = Bench::new();
            bench.write(1, 4, |_| true);
            bench.write(2, 4, |_| true);
            bench.slots[0][sector * SECTOR_LENGTH + 100] ^= 4;
            assert_eq!(bench.judge().unwrap().write.generation, 2);
        }
    }

    #[test]
    fn a_slot_destroyed_whole_refuses() {
        for slot in 0..2 {
            let mut bench = Bench::new();
            bench.write(1, 4, |_| true);
            bench.write(2, 4, |_| true);
            bench.slots[slot].fill(0);
            assert!(bench.judge().is_err());
        }
    }

    #[test]
    fn exchanged_slots_refuse() {
        let mut bench = Bench::new();
        bench.write(1, 4, |_| true);
        bench.write(2, 4, |_| true);
        bench.slots.swap(0, 1);
        assert!(bench.judge().is_err());
    }

    #[test]
    fn an_interrupted_write_after_a_gap_refuses() {
        let mut bench = Bench::new();
        bench.write(1, 4, |_| true);
        bench.write(4, 4, |index| index == 0);
        let reason = bench.judge().unwrap_err();
        assert!(reason.contains("parts of generation 4"), "{reason}");
    }

    #[test]
    fn a_header_says_what_was_put_in_and_every_byte_of_it_counts() {
        let key = DataKey::generate().unwrap();
        let header = Header {
            capacity: 72,
            identity: Identity::random().unwrap(),
        };
        let bytes = header.encode(&key);
        assert_eq!(bytes.len(), HEADER_LENGTH);
        assert_eq!(Header::parse(&bytes), Ok(header));
        assert!(Header::is_authentic(&bytes, &key));
        for at in 0..HEADER_LENGTH {
            let mut changed = bytes.clone();
            changed[at] ^= 0x80;
            assert!(!Header::is_authentic(&changed, &key));
        }
        assert!(!Header::is_authentic(&bytes, &DataKey::generate().unwrap()));
    }
}
