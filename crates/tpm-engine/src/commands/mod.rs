//! What each command does: a folder per chapter of Part 3, a file per command.

mod asymmetric;
mod attached_component;
mod attestation;
mod capability;
mod clock;
mod command_audit;
pub(crate) mod context;
pub(crate) mod dictionary_attack;
mod duplication;
mod ephemeral;
mod hash_hmac;
pub(crate) mod hierarchy;
mod management;
mod nv;
pub(crate) mod object;
mod pcr;
pub(crate) mod policy;
mod random;
mod session;
mod signature;
mod startup;
mod symmetric;
pub(crate) mod testing;

use crate::execute::run;
use crate::state::Tpm;
use alloc::vec::Vec;
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

/// Makes the dispatch from the rows of the command table; a row without an `Execute` does not compile.
macro_rules! dispatch_table {
    ($(
        $(#[doc = $doc:literal])+
        $command:ident / $response:ident = $code:literal, $section:literal, [$($flag:tt)*] { $($areas:tt)* }
    )*) => {
        /// Runs the command with this code.
        pub(crate) fn dispatch(tpm: &mut Tpm, code: u32, parameters: &[u8], out: &mut Vec<u8>) -> Result<Option<TpmHandle>, Rc> {
            match code {
                $($code => run::<tpm_wire::commands::$command>(tpm, parameters, out),)*
                _ => Err(Rc::COMMAND_CODE),
            }
        }
    };
}

tpm_wire::command_table!(dispatch_table);
