//! In which state a VM has to be for its keys, or its encryption, to change (rule 1.10).

use super::Operations;
use super::power::powered;
use crate::model::{PowerState, Vm};
use crate::requirements::{Failure, Rule};
use crate::{Error, Result};

/// What is to change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CryptoChange {
    /// The VM gets encrypted, or decrypted.
    Encryption,
    /// Both keys.
    Deep,
    /// The key around the data key.
    Shallow,
}

impl CryptoChange {
    pub(super) const fn rekey(deep: bool) -> Self {
        if deep { Self::Deep } else { Self::Shallow }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Encryption => {
                "encryption begins and ends while it is off; power it off first with `vtpm vm stop`"
            }
            Self::Deep | Self::Shallow => {
                "a deep re-key needs it off; power it off, or leave out --deep"
            }
        }
    }
}

impl Operations {
    /// Every rule about the state of a VM that speaks against such a change of it.
    pub(super) fn against_state(&self, vm: &Vm, change: CryptoChange) -> Result<Vec<Failure>> {
        let mut failures = Vec::new();
        if change != CryptoChange::Shallow && vm.power != PowerState::Off {
            let detail = format!("it is {}; {}", powered(vm.power), change.hint());
            failures.push(Failure::of(Rule::PowerState, detail).for_vm(&vm.name));
        }
        let tree = self.tree(vm.id)?;
        let number = tree.snapshots.len();
        let detail = match change {
            CryptoChange::Shallow if tree.is_branched() => format!(
                "its {number} snapshots are a tree; a re-key needs one chain of them: forget a branch with `vtpm vm forget`"
            ),
            CryptoChange::Deep if number > 0 => format!(
                "it has {number} snapshots, which are under the data key that would go; forget them first with `vtpm vm forget`, or leave out --deep"
            ),
            CryptoChange::Encryption if number > 0 => format!(
                "it has {number} snapshots, which would stay as they are; forget them first with `vtpm vm forget`"
            ),
            _ => return Ok(failures),
        };
        failures.push(Failure::of(Rule::NoSnapshots, detail).for_vm(&vm.name));
        Ok(failures)
    }

    /// Refuses such a change of a VM in the wrong state.
    pub(super) fn check_state(
        &self,
        operation: &'static str,
        vm: &Vm,
        change: CryptoChange,
    ) -> Result<()> {
        let failures = self.against_state(vm, change)?;
        match failures.as_slice() {
            [] => Ok(()),
            [one] if one.rule == Rule::PowerState => Err(Error::Power {
                vm: vm.name.clone(),
                is: vm.power,
                hint: change.hint(),
            }),
            _ => Err(Error::Rules {
                operation,
                failures,
            }),
        }
    }
}
