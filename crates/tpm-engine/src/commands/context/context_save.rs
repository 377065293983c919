//! `TPM2_ContextSave` (Part 3, 28.2).

use super::{Label, SALT_SIZE, SAVED_OBJECT, SAVED_SEQUENCE, SAVED_ST_CLEAR};
use crate::execute::Execute;
use crate::state::Tpm;
use alloc::vec;
use tpm_wire::codec::Marshal;
use tpm_wire::commands::{ContextSave, ContextSaveResponse};
use tpm_wire::context::TpmsContext;
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

impl Execute for ContextSave {
    fn execute(self, tpm: &mut Tpm) -> Result<ContextSaveResponse, Rc> {
        // The counters of contexts are part of what an orderly shutdown saved.
        if tpm.power.is_orderly() {
            tpm.check_storage()?;
        }
        let handle = self.save_handle.0;
        let context = if handle.is_session() {
            save_session(tpm, handle)?
        } else {
            save_object(tpm, handle)?
        };
        tpm.void_orderly()?;
        Ok(ContextSaveResponse { context })
    }
}

/// Saves a session, which leaves the TPM.
fn save_session(tpm: &mut Tpm, handle: TpmHandle) -> Result<TpmsContext, Rc> {
    let (session, sequence) = tpm.sessions.save(handle)?;
    let mut content = Zeroizing::new(vec![]);
    session.marshal(&mut content);
    let label = Label {
        sequence,
        saved_handle: handle,
        hierarchy: TpmHandle::NULL,
    };
    tpm.seal_context(label, &content)
}

/// Saves an object or a sequence, which stays loaded.
fn save_object(tpm: &mut Tpm, handle: TpmHandle) -> Result<TpmsContext, Rc> {
    let mut content = Zeroizing::new(vec![0; SALT_SIZE]);
    tpm.random.fill(&mut content);
    let (saved_handle, hierarchy) = if let Some(object) = tpm.objects.find(handle) {
        object.marshal(&mut content);
        let saved_handle = if object.st_clear {
            SAVED_ST_CLEAR
        } else {
            SAVED_OBJECT
        };
        (saved_handle, object.hierarchy)
    } else {
        tpm.objects.sequence(handle)?.marshal(&mut content);
        (SAVED_SEQUENCE, TpmHandle::NULL)
    };
    let Some(sequence) = tpm.objects.context_counter.checked_add(1) else {
        return Err(tpm.fail("no more contexts of objects can be counted"));
    };
    let label = Label {
        sequence,
        saved_handle,
        hierarchy,
    };
    let context = tpm.seal_context(label, &content)?;
    tpm.objects.context_counter = sequence;
    Ok(context)
}

#[cfg(test)]
mod tests {
    use crate::commands::context::build::{
        hash_sequence, load, object, save, session, st_clear_object,
    };
    use crate::profile::Profile;
    use crate::session::CONTEXT_GAP_MAX;
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::{ContextSave, FlushContext, Shutdown, Startup};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::{TpmHandle, TpmiDhSaved};
    use tpm_wire::rc::Rc;

    #[test]
    fn an_object_stays_loaded_and_its_saved_handle_tells_what_it_is() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let st_clear = st_clear_object(&mut tpm);
        let sequence = hash_sequence(&mut tpm);
        for (number, (handle, saved)) in [
            (object, 0x8000_0000),
            (sequence, 0x8000_0001),
            (st_clear, 0x8000_0002),
        ]
        .into_iter()
        .enumerate()
        {
            let context = save(&mut tpm, handle).unwrap();
            assert_eq!(context.saved_handle, TpmiDhSaved(TpmHandle(saved)));
            assert_eq!(context.sequence, number as u64 + 1);
            assert!(tpm.objects.is_loaded(handle));
        }
        assert_eq!(
            save(&mut tpm, object).unwrap().hierarchy.unwrap().0,
            TpmHandle::OWNER
        );
        assert_eq!(save(&mut tpm, sequence).unwrap().hierarchy, None);
    }

    #[test]
    fn two_contexts_of_one_object_differ() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let first = save(&mut tpm, object).unwrap();
        tpm.objects.context_counter -= 1;
        let second = save(&mut tpm, object).unwrap();
        assert_eq!(first.sequence, second.sequence);
        let differ = first
            .context_blob
            .iter()
            .zip(second.context_blob.iter())
            .skip(66 + 16)
            .filter(|(one, other)| one != other)
            .count();
        assert!(differ > 100, "the same keystream encrypted both");
    }

    #[test]
    fn a_session_leaves_the_tpm_and_keeps_its_handle() {
        let mut tpm = testing::started();
        let session = session(&mut tpm);
        let context = save(&mut tpm, session).unwrap();
        assert_eq!(context.saved_handle.0, session);
        assert_eq!(context.hierarchy, None);
        assert!(tpm.sessions.get(session).is_none() && tpm.sessions.is_saved(session));
        assert_eq!(save(&mut tpm, session), Err(Rc::REFERENCE_H0));
    }

    #[test]
    fn what_is_not_loaded_is_reference_h0() {
        let mut tpm = testing::started();
        for handle in [0x8000_0000, 0x0200_0000, 0x0300_0001] {
            assert_eq!(save(&mut tpm, TpmHandle(handle)), Err(Rc::REFERENCE_H0));
        }
    }

    #[test]
    fn it_takes_no_session() {
        let mut tpm = testing::started();
        let save_handle = object(&mut tpm).into();
        let password = testing::Auth::password(&[]);
        assert_eq!(
            tpm.run_as(ContextSave { save_handle }, &[password])
                .map(|_| ()),
            Err(Rc::AUTH_CONTEXT)
        );
    }

    #[test]
    fn a_gap_that_is_full_stops_saving_until_the_oldest_is_loaded_or_gone() {
        let mut tpm = testing::started();
        let (oldest, other) = (session(&mut tpm), session(&mut tpm));
        let oldest_context = save(&mut tpm, oldest).unwrap();
        tpm.sessions.context_counter = oldest_context.sequence + CONTEXT_GAP_MAX;
        let context = save(&mut tpm, other).unwrap();
        load(&mut tpm, context).unwrap();
        assert_eq!(save(&mut tpm, other), Err(Rc::CONTEXT_GAP));
        load(&mut tpm, oldest_context).unwrap();
        save(&mut tpm, other).unwrap();
        // Contexts of objects have no gap.
        let object = object(&mut tpm);
        save(&mut tpm, object).unwrap();
    }

    #[test]
    fn numbers_that_run_out_are_too_many_contexts() {
        let mut tpm = testing::started();
        let session = session(&mut tpm);
        tpm.sessions.context_counter = u64::MAX;
        assert_eq!(save(&mut tpm, session), Err(Rc::TOO_MANY_CONTEXTS));
    }

    #[test]
    fn it_voids_an_orderly_shutdown_and_then_needs_storage() {
        let mut tpm = testing::started();
        let (object, session) = (object(&mut tpm), session(&mut tpm));
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        save(&mut tpm, object).unwrap();
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        for handle in [object, session] {
            tpm.run(Shutdown {
                shutdown_type: TpmSu::State,
            })
            .unwrap();
            tpm.script.storage_down.store(true, Ordering::Relaxed);
            assert_eq!(save(&mut tpm, handle), Err(Rc::NV_UNAVAILABLE));
            tpm.script.storage_down.store(false, Ordering::Relaxed);
            save(&mut tpm, handle).unwrap();
            assert!(!tpm.power.is_orderly());
        }
    }

    /// The bytes of a context as `TPM_PT_MAX_OBJECT_CONTEXT` counts them.
    fn size(tpm: &mut TestTpm, handle: TpmHandle) -> u32 {
        use tpm_wire::codec::Marshal;
        let size = save(tpm, handle).unwrap().to_bytes().len();
        u32::try_from(size).unwrap()
    }

    #[test]
    fn no_context_is_longer_than_the_properties_say() {
        use crate::commands::context::build::{event_sequence, largest_objects, largest_sessions};
        for name in Profile::NAMES {
            let profile = Profile::by_name(name).unwrap();
            let mut tpm = testing::with_profile(profile.clone());
            tpm.run(Startup {
                startup_type: TpmSu::Clear,
            })
            .unwrap();
            for object in largest_objects(&profile) {
                let handle = tpm.objects.load(object).unwrap();
                assert!(
                    size(&mut tpm, handle) <= profile.max_object_context,
                    "{name}"
                );
                tpm.run(FlushContext {
                    flush_handle: handle.into(),
                })
                .unwrap();
            }
            let sequence = event_sequence(&mut tpm);
            assert!(size(&mut tpm, sequence) <= profile.max_object_context);
            for session in largest_sessions(&profile) {
                let handle = tpm.sessions.insert(session).unwrap();
                let size = size(&mut tpm, handle);
                assert!(size <= profile.max_session_context, "{name}: {size}");
            }
        }
    }
}
