//! The fuzzer's bytes as choices: numbers, buffers, and changes of values.

use super::fields::ROWS;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes that choose.
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl Choices<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number below `count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let number = if count > 256 {
            usize::from(self.byte()) << 8 | usize::from(self.byte())
        } else {
            usize::from(self.byte())
        };
        number % count.max(1)
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    pub(super) fn of<'v, T>(&mut self, values: &'v [T]) -> Option<&'v T> {
        values.get(self.below(values.len()))
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

pub(super) fn number(choices: &mut Choices<'_>, kind: &str) -> Option<Vec<u8>> {
    let small = |choices: &mut Choices<'_>| {
        let values: [u64; 16] = [
            0,
            1,
            1,
            2,
            4,
            8,
            16,
            20,
            32,
            64,
            0x100,
            0x118,
            0x7FFF,
            0xFFFF,
            0x8000_0000,
            u64::MAX,
        ];
        let number = choices.of(&values).copied().unwrap_or_default();
        if choices.one_in(4) {
            number ^ choices.below(256) as u64
        } else {
            number
        }
    };
    let width = match kind {
        "bool" => return Some(vec![u8::from(choices.one_in(2))]),
        "u8" => 1,
        "u16" => 2,
        "u32" | "i32" => 4,
        "u64" => 8,
        _ => return None,
    };
    let bytes = if width == 4 && choices.one_in(3) {
        // Command codes, property numbers, algorithms: numbers that mean something.
        let code = choices.of(ROWS).map_or(0, |row| row.info.code);
        u64::from(code).to_be_bytes()
    } else {
        small(choices).to_be_bytes()
    };
    bytes.get(8 - width..).map(<[u8]>::to_vec)
}

/// A buffer with a right size and any content.
pub(super) fn sized(choices: &mut Choices<'_>) -> Vec<u8> {
    let count = choices.below(80);
    let mut content = choices.bytes(count);
    content.resize(count, 0xA5);
    let mut out = u16::try_from(count)
        .unwrap_or_default()
        .to_be_bytes()
        .to_vec();
    out.append(&mut content);
    out
}

pub(super) fn mutated(choices: &mut Choices<'_>, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=choices.below(3) {
        let place = choices.below(bytes.len());
        match choices.below(8) {
            0 => bytes.truncate(place),
            1 => bytes.insert(place.min(bytes.len()), 0),
            2 => bytes.extend_from_slice(&[0; 4]),
            kind => {
                let value = choices.byte();
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = match kind {
                        3 => 0,
                        4 => 0xFF,
                        5 => byte.wrapping_add(1),
                        6 => *byte ^ (1 << (value & 7)),
                        _ => value,
                    };
                }
            }
        }
    }
    bytes
}
