//! `TPM2_ContextLoad` (Part 3, 28.3).

use super::{Label, SALT_SIZE, SAVED_SEQUENCE};
use crate::execute::Execute;
use crate::object::{Object, Sequence, Slot};
use crate::session::Session;
use crate::state::Tpm;
use alloc::boxed::Box;
use tpm_wire::codec::parse_all;
use tpm_wire::commands::{ContextLoad, ContextLoadResponse};
use tpm_wire::handles::{TpmHandle, TpmiDhContext};
use tpm_wire::rc::Rc;

/// Why the TPM fails if what it protected itself cannot be read.
const UNREADABLE: &str = "a context with the right HMAC cannot be read";

impl Execute for ContextLoad {
    fn execute(self, tpm: &mut Tpm) -> Result<ContextLoadResponse, Rc> {
        let context = self.context;
        let label = Label {
            sequence: context.sequence,
            saved_handle: context.saved_handle.0,
            hierarchy: context
                .hierarchy
                .map_or(TpmHandle::NULL, |hierarchy| hierarchy.0),
        };
        let content = tpm.open_context(label, &context.context_blob)?;
        let loaded_handle = if label.saved_handle.is_session() {
            load_session(tpm, label, &content)?
        } else {
            load_object(tpm, label, &content)?
        };
        Ok(ContextLoadResponse {
            loaded_handle: TpmiDhContext(loaded_handle),
        })
    }
}

fn load_object(tpm: &mut Tpm, label: Label, content: &[u8]) -> Result<TpmHandle, Rc> {
    if tpm.hierarchies.check(label.hierarchy).is_err() {
        return Err(Rc::HIERARCHY.at(ContextLoad::context));
    }
    tpm.objects.check_room()?;
    let limits = &tpm.profile.limits;
    let bytes = content.get(SALT_SIZE..).unwrap_or_default();
    let slot = if label.saved_handle == SAVED_SEQUENCE {
        parse_all(bytes, limits).map(|sequence: Sequence| Slot::Sequence(Box::new(sequence)))
    } else {
        parse_all(bytes, limits).map(|object: Object| Slot::Object(Box::new(object)))
    };
    match slot {
        Ok(slot) => tpm.objects.insert(slot),
        Err(_) => Err(tpm.fail(UNREADABLE)),
    }
}

fn load_session(tpm: &mut Tpm, label: Label, content: &[u8]) -> Result<TpmHandle, Rc> {
    // The list of saved sessions is part of what an orderly shutdown saved.
    if tpm.power.is_orderly() {
        tpm.check_storage()?;
    }
    // A context is loaded once, and only the last one of its session.
    if !tpm.sessions.is_current(label.saved_handle, label.sequence) {
        return Err(Rc::HANDLE.at(ContextLoad::context));
    }
    match parse_all::<Session>(content, &tpm.profile.limits) {
        Ok(session) => tpm.sessions.load(label.saved_handle, session)?,
        Err(_) => return Err(tpm.fail(UNREADABLE)),
    }
    tpm.void_orderly()?;
    Ok(label.saved_handle)
}

#[cfg(test)]
mod tests {
    use crate::commands::context::build::{
        add, complete, hash_sequence, load, object, object_under, save, session, st_clear_object,
    };
    use crate::commands::hierarchy::build::change_auth;
    use crate::profile::Profile;
    use crate::session::CONTEXT_GAP_MAX;
    use crate::testing::{self, TestTpm};
    use alloc::vec::Vec;
    use core::sync::atomic::Ordering;
    use tpm_wire::buffers::Tpm2bContextData;
    use tpm_wire::commands::{
        ChangeEps, ChangePps, Clear, ContextLoad, FlushContext, HierarchyControl, Shutdown,
    };
    use tpm_wire::constants::TpmSu;
    use tpm_wire::context::TpmsContext;
    use tpm_wire::handles::{TpmHandle, TpmiDhSaved, TpmiRhHierarchy};
    use tpm_wire::rc::Rc;

    const INTEGRITY: Result<TpmHandle, Rc> = Err(Rc::INTEGRITY);

    fn base(result: Result<TpmHandle, Rc>) -> Result<TpmHandle, Rc> {
        result.map_err(Rc::base)
    }

    fn flush(tpm: &mut TestTpm, handle: TpmHandle) {
        let flush_handle = handle.into();
        tpm.run(FlushContext { flush_handle }).unwrap();
    }

    #[test]
    fn an_object_comes_back_as_it_was_as_often_as_wanted() {
        let mut tpm = testing::started();
        let saved = object(&mut tpm);
        let context = save(&mut tpm, saved).unwrap();
        for _ in 0..3 {
            let handle = load(&mut tpm, context.clone()).unwrap();
            assert_eq!(tpm.objects.find(handle), tpm.objects.find(saved));
        }
    }

    #[test]
    fn a_sequence_goes_on_from_where_it_was_saved() {
        let mut tpm = testing::started();
        let handle = hash_sequence(&mut tpm);
        add(&mut tpm, handle, b"ab");
        let context = save(&mut tpm, handle).unwrap();
        flush(&mut tpm, handle);
        let handle = load(&mut tpm, context).unwrap();
        let digest = complete(&mut tpm, handle, b"c");
        assert_eq!(
            hex::encode(digest),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_session_is_loaded_once() {
        let mut tpm = testing::started();
        let handle = session(&mut tpm);
        let before = tpm.sessions.get(handle).cloned();
        let context = save(&mut tpm, handle).unwrap();
        assert_eq!(load(&mut tpm, context.clone()), Ok(handle));
        assert_eq!(tpm.sessions.get(handle).cloned(), before);
        let replay = Err(Rc::HANDLE.at(ContextLoad::context));
        assert_eq!(load(&mut tpm, context.clone()), replay);
        // Saved anew, only the newer context counts.
        let newer = save(&mut tpm, handle).unwrap();
        assert_eq!(load(&mut tpm, context.clone()), replay);
        flush(&mut tpm, handle);
        assert_eq!(load(&mut tpm, newer), replay);
        // Nor does it come back for another session with the same handle.
        assert_eq!(session(&mut tpm), handle);
        save(&mut tpm, handle).unwrap();
        assert_eq!(load(&mut tpm, context), replay);
    }

    #[test]
    fn every_byte_of_a_context_is_protected() {
        let mut tpm = testing::started();
        let handle = object(&mut tpm);
        let context = save(&mut tpm, handle).unwrap();
        let changed = |change: &dyn Fn(&mut TpmsContext)| {
            let mut changed = context.clone();
            change(&mut changed);
            changed
        };
        for wrong in [
            changed(&|context| context.sequence += 1),
            changed(&|context| context.saved_handle = TpmiDhSaved(TpmHandle(0x8000_0001))),
            changed(&|context| context.saved_handle = TpmiDhSaved(TpmHandle(0x8000_0002))),
            changed(&|context| context.saved_handle = TpmiDhSaved(TpmHandle(0x0200_0000))),
            changed(&|context| context.hierarchy = None),
            changed(&|context| context.hierarchy = Some(TpmiRhHierarchy(TpmHandle::PLATFORM))),
            changed(&|context| context.context_blob.as_mut_slice()[2] ^= 1),
            changed(&|context| context.context_blob.as_mut_slice()[66] ^= 1),
            changed(&|context| *context.context_blob.as_mut_slice().last_mut().unwrap() ^= 1),
            changed(&|context| {
                let cut = context.context_blob.len() - 1;
                let bytes = context.context_blob[..cut].to_vec();
                context.context_blob = Tpm2bContextData::new(bytes).unwrap();
            }),
        ] {
            assert_eq!(
                load(&mut tpm, wrong),
                Err(Rc::INTEGRITY.at(ContextLoad::context))
            );
        }
        load(&mut tpm, context).unwrap();
    }

    #[test]
    fn a_blob_of_the_wrong_form_is_refused_for_it() {
        let mut tpm = testing::started();
        let handle = object(&mut tpm);
        let context = save(&mut tpm, handle).unwrap();
        let with = |bytes: &[u8]| TpmsContext {
            context_blob: Tpm2bContextData::new(bytes.to_vec()).unwrap(),
            ..context.clone()
        };
        let size = Err(Rc::SIZE.at(ContextLoad::context));
        let mut short = Vec::from([0, 32]);
        short.extend([0; 32 + 100]);
        assert_eq!(load(&mut tpm, with(&short)), size);
        assert_eq!(load(&mut tpm, with(&context.context_blob[..66 + 7])), size);
        assert_eq!(load(&mut tpm, with(&[0])), Err(Rc::INSUFFICIENT));
        assert_eq!(load(&mut tpm, with(&[0, 99])), Err(Rc::SIZE));
    }

    #[test]
    fn a_reset_ends_every_context() {
        for shutdown in [None, Some(TpmSu::Clear)] {
            let mut tpm = testing::started();
            let (object, session) = (object(&mut tpm), session(&mut tpm));
            let object = save(&mut tpm, object).unwrap();
            let session = save(&mut tpm, session).unwrap();
            tpm.restart(shutdown, TpmSu::Clear);
            assert_eq!(base(load(&mut tpm, object)), INTEGRITY);
            assert_eq!(base(load(&mut tpm, session)), INTEGRITY);
        }
    }

    #[test]
    fn restart_and_resume_keep_contexts_except_those_of_st_clear_objects_over_a_restart() {
        for (startup, st_clear_survives) in [(TpmSu::State, true), (TpmSu::Clear, false)] {
            let mut tpm = testing::started();
            let handles = [
                object(&mut tpm),
                st_clear_object(&mut tpm),
                session(&mut tpm),
            ];
            let [object, st_clear, session] = handles.map(|handle| save(&mut tpm, handle).unwrap());
            tpm.run(Shutdown {
                shutdown_type: TpmSu::State,
            })
            .unwrap();
            let mut tpm = tpm.reloaded();
            tpm.run(tpm_wire::commands::Startup {
                startup_type: startup,
            })
            .unwrap();
            load(&mut tpm, object).unwrap();
            load(&mut tpm, session.clone()).unwrap();
            assert_eq!(base(load(&mut tpm, st_clear)).is_ok(), st_clear_survives);
            assert_eq!(base(load(&mut tpm, session)), Err(Rc::HANDLE));
        }
    }

    #[test]
    fn a_session_that_was_not_saved_is_lost_with_the_power() {
        let mut tpm = testing::started();
        let handle = session(&mut tpm);
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert!(tpm.sessions.get(handle).is_none());
    }

    #[test]
    fn what_ends_a_hierarchy_ends_its_contexts() {
        let hierarchies = [
            TpmHandle::OWNER,
            TpmHandle::ENDORSEMENT,
            TpmHandle::PLATFORM,
            TpmHandle::NULL,
        ];
        let platform = TpmHandle::PLATFORM;
        for (event, ended) in [
            (0, [true, true, false, false]),
            (1, [false, true, false, false]),
            (2, [false, false, true, false]),
        ] {
            let mut tpm = testing::started();
            let contexts = hierarchies.map(|hierarchy| {
                let handle = object_under(&mut tpm, hierarchy);
                save(&mut tpm, handle).unwrap()
            });
            match event {
                0 => {
                    let auth_handle = platform.into();
                    tpm.run(Clear { auth_handle }).unwrap();
                }
                1 => {
                    let auth_handle = platform.into();
                    tpm.run(ChangeEps { auth_handle }).unwrap();
                }
                _ => {
                    let auth_handle = platform.into();
                    tpm.run(ChangePps { auth_handle }).unwrap();
                }
            }
            for (context, ended) in contexts.into_iter().zip(ended) {
                assert_eq!(load(&mut tpm, context).is_err(), ended);
            }
        }
    }

    #[test]
    fn a_disabled_hierarchy_is_hierarchy_at_parameter_1() {
        let mut tpm = testing::started();
        let handle = object(&mut tpm);
        let context = save(&mut tpm, handle).unwrap();
        let mut control = HierarchyControl {
            auth_handle: TpmHandle::PLATFORM.into(),
            enable: TpmHandle::OWNER.into(),
            state: false,
        };
        tpm.run(control.clone()).unwrap();
        assert_eq!(
            load(&mut tpm, context.clone()),
            Err(Rc::HIERARCHY.at(ContextLoad::context))
        );
        control.state = true;
        tpm.run(control).unwrap();
        load(&mut tpm, context).unwrap();
    }

    #[test]
    fn full_memory_is_object_memory_or_session_memory() {
        let mut tpm = testing::with_profile(Profile::by_name("swtpm-0.7").unwrap());
        tpm.run(tpm_wire::commands::Startup {
            startup_type: TpmSu::Clear,
        })
        .unwrap();
        let handle = object(&mut tpm);
        let object = save(&mut tpm, handle).unwrap();
        let handle = session(&mut tpm);
        let saved = save(&mut tpm, handle).unwrap();
        for _ in 0..2 {
            load(&mut tpm, object.clone()).unwrap();
        }
        for _ in 0..3 {
            session(&mut tpm);
        }
        assert_eq!(load(&mut tpm, object), Err(Rc::OBJECT_MEMORY));
        assert_eq!(load(&mut tpm, saved), Err(Rc::SESSION_MEMORY));
    }

    #[test]
    fn with_one_place_left_and_a_full_gap_only_the_oldest_is_loaded() {
        let mut tpm = testing::with_profile(Profile::by_name("swtpm-0.7").unwrap());
        tpm.run(tpm_wire::commands::Startup {
            startup_type: TpmSu::Clear,
        })
        .unwrap();
        let (first, second) = (session(&mut tpm), session(&mut tpm));
        let oldest = save(&mut tpm, first).unwrap();
        let newer = save(&mut tpm, second).unwrap();
        session(&mut tpm);
        session(&mut tpm);
        tpm.sessions.context_counter = oldest.sequence + CONTEXT_GAP_MAX + 1;
        assert_eq!(load(&mut tpm, newer), Err(Rc::CONTEXT_GAP));
        load(&mut tpm, oldest).unwrap();
    }

    #[test]
    fn loading_a_session_voids_an_orderly_shutdown_and_then_needs_storage() {
        let mut tpm = testing::started();
        let handle = session(&mut tpm);
        let context = save(&mut tpm, handle).unwrap();
        tpm.run(Shutdown {
            shutdown_type: TpmSu::State,
        })
        .unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(load(&mut tpm, context.clone()), Err(Rc::NV_UNAVAILABLE));
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        tpm.persist = false;
        load(&mut tpm, context).unwrap();
        assert!(!tpm.power.is_orderly() && tpm.must_persist());
        change_auth(&mut tpm, TpmHandle::OWNER, b"", b"").unwrap();
    }
}
