//! What generated commands are put together from.

use super::choices::{Choices, mutated, number, sized};
use super::fields::Field;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use tpm_wire::codec::Marshal;
use tpm_wire::handles::TpmHandle;

/// Most values of a class that are remembered besides those of the start.
const MOST_VALUES: usize = 24;
/// Most commands of a code that are remembered; the first half stays.
const MOST_EXAMPLES: usize = 12;

/// A command that succeeded: its handles and its parameters, field by field.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Example {
    pub(super) handles: Vec<TpmHandle>,
    pub(super) values: Vec<Vec<u8>>,
}

/// Values by class of field, handles, and commands that succeeded.
#[derive(Clone, Default)]
pub(super) struct Pool {
    pub(super) values: BTreeMap<&'static str, Vec<Vec<u8>>>,
    pub(super) handles: Vec<TpmHandle>,
    examples: BTreeMap<u32, Vec<Example>>,
    /// Salts by the form in which they were sent to a key.
    pub(super) salts: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Pool {
    pub(super) fn add(&mut self, class: &'static str, value: Vec<u8>) {
        let values = self.values.entry(class).or_default();
        values.retain(|old| *old != value);
        if values.len() > 2 * MOST_VALUES {
            values.remove(MOST_VALUES);
        }
        values.push(value);
    }

    pub(super) fn add_handle(&mut self, handle: TpmHandle) {
        self.handles.retain(|old| *old != handle);
        self.handles.push(handle);
    }

    pub(super) fn learn(&mut self, fields: &[Field], values: Vec<Vec<u8>>) {
        for (field, value) in fields.iter().zip(values) {
            self.add(field.class(), value);
        }
    }

    /// Remembers a command that succeeded.
    pub(super) fn add_example(&mut self, code: u32, example: Example) {
        let examples = self.examples.entry(code).or_default();
        examples.retain(|old| *old != example);
        if examples.len() > MOST_EXAMPLES {
            examples.remove(MOST_EXAMPLES / 2);
        }
        examples.push(example);
    }

    /// A command with this code that succeeded once.
    pub(super) fn example(&self, choices: &mut Choices<'_>, code: u32) -> Option<Example> {
        choices.of(self.examples.get(&code)?).cloned()
    }

    /// One of the handles that a field accepts; often the latest.
    pub(super) fn handle(
        &self,
        choices: &mut Choices<'_>,
        latest: bool,
        accepts: impl Fn(&[u8]) -> bool,
    ) -> Option<TpmHandle> {
        let accepted: Vec<TpmHandle> = self
            .handles
            .iter()
            .copied()
            .filter(|handle| accepts(&handle.0.to_be_bytes()))
            .collect();
        if latest && choices.one_in(2) {
            return accepted.last().copied();
        }
        choices.of(&accepted).copied()
    }

    pub(super) fn value(&self, choices: &mut Choices<'_>, latest: bool, field: &Field) -> Vec<u8> {
        let how = choices.below(32);
        if field.is_optional() && how & 3 == 3 {
            for null in [&[0x00, 0x10][..], &[0x40, 0, 0, 7]] {
                if field.accepts(null) {
                    return null.to_vec();
                }
            }
        }
        if let Some(number) = number(choices, field.kind) {
            return number;
        }
        if field.class().starts_with("TpmiDh") || field.class().starts_with("TpmiRh") {
            let handle = self.handle(choices, latest, |bytes| field.accepts(bytes));
            return handle.unwrap_or(TpmHandle::NULL).to_bytes();
        }
        let values = self
            .values
            .get(field.class())
            .map_or(&[][..], Vec::as_slice);
        let known = if latest {
            values.last()
        } else {
            choices.of(values)
        };
        let value = known.cloned().unwrap_or_else(|| vec![0; 2]);
        match how {
            8 => sized(choices),
            9 | 10 => (0..4)
                .map(|_| mutated(choices, &value))
                .find(|bytes| field.accepts(bytes))
                .unwrap_or(value),
            11 => mutated(choices, &value),
            12 => {
                // A value of another class, which the field may take all the same.
                let all: Vec<&Vec<u8>> = self
                    .values
                    .values()
                    .flatten()
                    .filter(|bytes| field.accepts(bytes))
                    .collect();
                choices.of(&all).map_or(value, |bytes| (*bytes).clone())
            }
            _ => value,
        }
    }
}
