//! Makes TPMs for the inventory, to which they are bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tpm_attest::Error;
use tpm_attest::client::{Client, Transmit};
use tpm_attest::ek::{EkTemplate, Usage};
use tpm_engine::{Platform, Profile, Tpm};
use tpm_server::{Signals, wipe_stack};
use tpm_wire::commands::{Clear, ClearControl, CreatePrimaryResponse, Startup};
use tpm_wire::constants::TpmSu;
use tpm_wire::handles::{TpmHandle, TpmiRhClear};
use vm_inventory::certificates::Certifier;
use vm_inventory::{TpmBytes, TpmMaker, TpmMakerError};

use crate::cli::profile;
use crate::platform;

/// Makes TPMs with the engine, on the platform of this machine.
#[derive(Debug, Default)]
pub(crate) struct EngineMaker;

impl TpmMaker for EngineMaker {
    fn new_tpm(&self) -> Result<TpmBytes, TpmMakerError> {
        guarded(|| Ok(made(Profile::default())))
    }

    fn new_tpm_of(&self, profile: &str) -> Result<TpmBytes, TpmMakerError> {
        let profile =
            profile::parse(profile).map_err(|error| TpmMakerError(format!("{error:#}")))?;
        guarded(|| Ok(made(profile)))
    }

    fn new_tpm_like(&self, state: &[u8]) -> Result<TpmBytes, TpmMakerError> {
        guarded(|| Ok(made(load(state)?.profile().clone())))
    }

    fn fork(&self, state: &[u8]) -> Result<TpmBytes, TpmMakerError> {
        guarded(|| {
            let mut tpm = load(state)?;
            tpm.fork();
            Ok(tpm.permanent_state())
        })
    }

    fn fork_running(
        &self,
        permanent: &[u8],
        volatile: &[u8],
    ) -> Result<(TpmBytes, TpmBytes), TpmMakerError> {
        guarded(|| {
            let mut tpm = load(permanent)?;
            tpm.restore_volatile(volatile).map_err(|error| {
                TpmMakerError(format!("its volatile state was refused: {error}"))
            })?;
            tpm.fork_running();
            Ok((tpm.permanent_state(), tpm.volatile_state()))
        })
    }

    fn certifier(&self) -> Option<&dyn Certifier> {
        Some(self)
    }

    fn ek_name(&self, state: &[u8]) -> Result<String, TpmMakerError> {
        guarded(|| {
            // A TPM of its own, thrown away afterwards: the VM's notices nothing.
            let mut tpm = load(state)?;
            let mut client = Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()));
            let failed = |error: Error| TpmMakerError(error.to_string());
            let created = match create_ek(&mut client) {
                Err(Error::Refused { .. }) => {
                    free_endorsement(&mut client).map_err(failed)?;
                    ek(&mut client)
                }
                other => other,
            };
            let created = created.map_err(failed)?;
            Ok(hex::encode(&*created.name))
        })
    }
}

/// A defect of the engine costs this one operation.
pub(super) fn guarded<T>(
    work: impl FnOnce() -> Result<T, TpmMakerError>,
) -> Result<T, TpmMakerError> {
    let done = catch_unwind(AssertUnwindSafe(work));
    // A whole TPM stood there.
    wipe_stack();
    done.unwrap_or_else(|_| {
        Err(TpmMakerError(
            "the TPM engine failed; please report it".to_owned(),
        ))
    })
}

fn made(profile: Profile) -> TpmBytes {
    Tpm::new(profile, scratch_platform()).permanent_state()
}

fn scratch_platform() -> Box<dyn Platform> {
    platform::real()(&Arc::new(Signals::default()))
}

pub(super) fn load(state: &[u8]) -> Result<Tpm, TpmMakerError> {
    Tpm::load(state, scratch_platform())
        .map_err(|error| TpmMakerError(format!("its state was refused: {error}")))
}

/// The RSA-2048 endorsement key by its default template, in a TPM that has not been started.
fn create_ek<T: Transmit>(client: &mut Client<T>) -> Result<CreatePrimaryResponse, Error> {
    client.run(&Startup {
        startup_type: TpmSu::Clear,
    })?;
    ek(client)
}

fn ek<T: Transmit>(client: &mut Client<T>) -> Result<CreatePrimaryResponse, Error> {
    client.create_primary(
        TpmHandle::ENDORSEMENT,
        &EkTemplate::L1.public(Usage::Decrypt),
    )
}

/// Takes password and policy of the endorsement hierarchy away; its seed stays. Only for a TPM that is thrown away.
fn free_endorsement<T: Transmit>(client: &mut Client<T>) -> Result<(), Error> {
    client.run(&ClearControl {
        auth: TpmiRhClear(TpmHandle::PLATFORM),
        disable: false,
    })?;
    client.run(&Clear {
        auth_handle: TpmiRhClear(TpmHandle::PLATFORM),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tpm_wire::buffers::Tpm2bAuth;
    use tpm_wire::commands::HierarchyChangeAuth;
    use tpm_wire::handles::TpmiRhHierarchyAuth;

    #[test]
    fn a_copy_has_the_endorsement_key_of_its_source_and_a_new_tpm_has_not() {
        let maker = EngineMaker;
        let source = maker.new_tpm().unwrap();
        let copy = maker.fork(&source).unwrap();
        let other = maker.new_tpm().unwrap();
        let name = maker.ek_name(&source).unwrap();
        assert!(name.starts_with("000b") && name.len() == 68, "{name}");
        assert_eq!(maker.ek_name(&copy).unwrap(), name);
        assert_ne!(maker.ek_name(&other).unwrap(), name);
        assert_ne!(*source, *copy, "a fork is told apart");
    }

    #[test]
    fn a_running_tpm_goes_on_from_its_state_with_other_random_numbers() {
        let maker = EngineMaker;
        let mut tpm = load(&maker.new_tpm().unwrap()).unwrap();
        let startup = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
        assert_eq!(tpm.execute(&startup)[6..], [0; 4]);
        let (permanent, volatile) = (tpm.permanent_state(), tpm.volatile_state());
        let random = |(permanent, volatile): (TpmBytes, TpmBytes)| {
            let mut tpm = load(&permanent).unwrap();
            tpm.restore_volatile(&volatile).unwrap();
            let get_random = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 16];
            tpm.execute(&get_random)[12..].to_vec()
        };
        let one = random(maker.fork_running(&permanent, &volatile).unwrap());
        let two = random(maker.fork_running(&permanent, &volatile).unwrap());
        assert_eq!(one.len(), 16);
        assert_ne!(one, two);
        assert!(maker.fork_running(&permanent, b"not a TPM").is_err());
    }

    #[test]
    fn a_password_keeps_nobody_from_knowing_which_tpm_it_is() {
        let mut tpm = load(&EngineMaker.new_tpm().unwrap()).unwrap();
        let name = EngineMaker.ek_name(&tpm.permanent_state()).unwrap();
        let mut client = Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()));
        client
            .run(&Startup {
                startup_type: TpmSu::Clear,
            })
            .unwrap();
        client
            .run(&ClearControl {
                auth: TpmiRhClear(TpmHandle::LOCKOUT),
                disable: true,
            })
            .unwrap();
        client
            .run(&HierarchyChangeAuth {
                auth_handle: TpmiRhHierarchyAuth(TpmHandle::ENDORSEMENT),
                new_auth: Tpm2bAuth::new(b"secret").unwrap(),
            })
            .unwrap();
        let state = tpm.permanent_state();
        assert_eq!(EngineMaker.ek_name(&state).unwrap(), name);
        let mut again = load(&state).unwrap();
        let mut client = Client::new(|command: &[u8]| Ok(again.execute(command).to_vec()));
        assert!(create_ek(&mut client).is_err(), "the password is there");
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for bad in [&b""[..], b"not a TPM", &[0; 4000]] {
            assert!(EngineMaker.fork(bad).is_err());
            assert!(EngineMaker.ek_name(bad).is_err());
        }
    }

    #[test]
    fn a_tpm_has_the_profile_that_was_asked_for_and_one_in_its_place_has_it_too() {
        let json = r#"{"Name":"custom:small","Base":"pc-client","Limits":{"nv-index":1024}}"#;
        for (asked, name, nv_index) in [
            ("swtpm-0.7", "swtpm-0.7", 2048),
            (json, "custom:small", 1024),
        ] {
            let state = EngineMaker.new_tpm_of(asked).unwrap();
            let replacement = EngineMaker.new_tpm_like(&state).unwrap();
            assert_ne!(
                EngineMaker.ek_name(&state).unwrap(),
                EngineMaker.ek_name(&replacement).unwrap()
            );
            for state in [state, replacement] {
                let tpm = load(&state).unwrap();
                assert_eq!(tpm.profile().name, name);
                assert_eq!(tpm.profile().max_nv_index, nv_index);
            }
        }
        for (bad, word) in [("nobody", "'nobody'"), (r#"{"Name":"nobody"}"#, "'nobody'")] {
            assert!(EngineMaker.new_tpm_of(bad).unwrap_err().0.contains(word));
        }
        assert!(EngineMaker.new_tpm_like(b"not a TPM").is_err());
    }
}
