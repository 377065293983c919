//! What becomes of NV Indices over startups, authorizations and failures of storage.

use crate::commands::nv::build::{
    INDEX, OPEN, OTHER, define_public, increment, persists, power_cut, public, read, read_number,
    with_index, write,
};
use crate::testing::{Auth, TestTpm};
use alloc::format;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::Tpm2bMaxNvBuffer;
use tpm_wire::commands::{NvDefineSpace, NvRead, NvWrite};
use tpm_wire::constants::TpmSu;
use tpm_wire::handles::TpmHandle;
use tpm_wire::nv::{Tpm2bNvPublic, TpmNt};
use tpm_wire::rc::{Position, Rc};

const RESET: (Option<TpmSu>, TpmSu) = (Some(TpmSu::Clear), TpmSu::Clear);
const CRASH: (Option<TpmSu>, TpmSu) = (None, TpmSu::Clear);
const RESTART: (Option<TpmSu>, TpmSu) = (Some(TpmSu::State), TpmSu::Clear);
const RESUME: (Option<TpmSu>, TpmSu) = (Some(TpmSu::State), TpmSu::State);

fn survives(attributes: TpmaNv, (shutdown, startup): (Option<TpmSu>, TpmSu)) -> bool {
    let mut tpm = with_index(OPEN | attributes, 4);
    tpm.run(write(b"data", 0)).unwrap();
    tpm.restart(shutdown, startup);
    match read(&mut tpm, 4) {
        Ok(data) => data == b"data",
        Err(rc) => {
            assert_eq!(rc, Rc::NV_UNINITIALIZED);
            false
        }
    }
}

#[test]
fn contents_survive_each_startup_as_the_attributes_say() {
    let starts = [RESET, CRASH, RESTART, RESUME];
    let of = |attributes| starts.map(|start| survives(attributes, start));
    assert_eq!(of(TpmaNv::NONE), [true; 4]);
    assert_eq!(of(TpmaNv::ORDERLY), [false, false, true, true]);
    assert_eq!(of(TpmaNv::CLEAR_STCLEAR), [false, false, false, true]);
    let both = TpmaNv::ORDERLY | TpmaNv::CLEAR_STCLEAR;
    assert_eq!(of(both), [false, false, false, true]);
}

#[test]
fn contents_that_are_gone_do_not_show_through_the_next_write() {
    let mut tpm = with_index(OPEN | TpmaNv::CLEAR_STCLEAR, 4);
    tpm.run(write(b"data", 0)).unwrap();
    tpm.restart(None, TpmSu::Clear);
    tpm.run(write(b"x", 0)).unwrap();
    assert_eq!(read(&mut tpm, 4), Ok(b"x\xFF\xFF\xFF".to_vec()));
}

#[test]
fn what_a_shutdown_stored_of_an_orderly_index_does_not_come_back_after_a_change() {
    let mut tpm = with_index(OPEN | TpmaNv::ORDERLY, 4);
    tpm.run(write(b"old.", 0)).unwrap();
    tpm.run(tpm_wire::commands::Shutdown {
        shutdown_type: TpmSu::State,
    })
    .unwrap();
    tpm.run(write(b"new.", 0)).unwrap();
    let mut tpm = power_cut(tpm);
    assert_eq!(read(&mut tpm, 4), Err(Rc::NV_UNINITIALIZED));
}

#[test]
fn a_tpm_that_moves_while_it_runs_keeps_what_is_in_ram() {
    let mut tpm = with_index(OPEN | TpmaNv::ORDERLY, 4);
    define_public(
        &mut tpm,
        public(OTHER, OPEN.with_type(TpmNt::Counter) | TpmaNv::ORDERLY, 8),
    )
    .unwrap();
    tpm.run(write(b"data", 0)).unwrap();
    for _ in 0..3 {
        tpm.run(tpm_wire::commands::NvIncrement {
            nv_index: OTHER.into(),
            ..increment()
        })
        .unwrap();
    }
    let volatile = tpm.volatile_state();
    let mut tpm = tpm.reloaded();
    tpm.restore_volatile(&volatile).unwrap();
    assert_eq!(*tpm.volatile_state(), *volatile);
    assert_eq!(read(&mut tpm, 4), Ok(b"data".to_vec()));
    assert_eq!(tpm.nv.get(OTHER).unwrap().number(), Some(3));
}

#[test]
fn a_change_that_could_not_be_stored_leaves_other_data_in_ram_alone() {
    let mut tpm = with_index(OPEN | TpmaNv::ORDERLY, 4);
    let stored = tpm.permanent_state();
    tpm.run(write(b"data", 0)).unwrap();
    define_public(&mut tpm, public(OTHER, OPEN, 8)).unwrap();
    tpm.restore_permanent(&stored).unwrap();
    assert_eq!(tpm.nv.get(OTHER).err(), Some(Rc::HANDLE));
    assert_eq!(read(&mut tpm, 4), Ok(b"data".to_vec()));
}

#[test]
fn a_name_changes_with_what_is_in_ram() {
    let mut tpm = with_index(OPEN | TpmaNv::ORDERLY, 4);
    let before = tpm.entity_name(INDEX);
    tpm.run(write(b"data", 0)).unwrap();
    assert_ne!(tpm.entity_name(INDEX), before);
}

#[test]
fn a_clear_removes_what_the_owner_created_and_remembers_counters() {
    let mut tpm = with_index(OPEN.with_type(TpmNt::Counter), 8);
    tpm.run(increment()).unwrap();
    define_public(&mut tpm, public(OTHER, OPEN | TpmaNv::PLATFORMCREATE, 8)).unwrap();
    tpm.nv.remove_owner_created();
    assert!(tpm.nv.indices.keys().eq([&OTHER]));
    define_public(&mut tpm, public(INDEX, OPEN.with_type(TpmNt::Counter), 8)).unwrap();
    tpm.run(increment()).unwrap();
    assert_eq!(read_number(&mut tpm), Ok(2));
}

/// A PIN Index with the authorization value `pin`, written by the owner.
fn with_pin(nv_type: TpmNt, attributes: TpmaNv, count: u32, limit: u32) -> TestTpm {
    let mut tpm = crate::testing::started();
    let attributes = OPEN.without(TpmaNv::AUTHWRITE).with_type(nv_type) | attributes;
    tpm.run(NvDefineSpace {
        auth_handle: TpmHandle::OWNER.into(),
        auth: tpm_wire::buffers::Tpm2bAuth::new(b"pin").unwrap(),
        public_info: Tpm2bNvPublic(public(INDEX, attributes, 8)),
    })
    .unwrap();
    let mut counts = count.to_be_bytes().to_vec();
    counts.extend_from_slice(&limit.to_be_bytes());
    tpm.run(write(&counts, 0)).unwrap();
    tpm
}

fn read_with(tpm: &mut TestTpm, pin: &[u8]) -> Result<(), Rc> {
    let read = NvRead {
        auth_handle: INDEX.into(),
        nv_index: INDEX.into(),
        size: 8,
        offset: 0,
    };
    tpm.run_as(read, &[Auth::password(pin)]).map(|_| ())
}

fn pin_count(tpm: &TestTpm) -> u32 {
    tpm.nv.get(INDEX).unwrap().pin().unwrap().pin_count
}

const WRONG: Result<(), Rc> = Err(Rc::BAD_AUTH.at(Position::session(1)));

#[test]
fn a_pin_fail_index_counts_wrong_values_durably_and_forgets_them_with_a_right_one() {
    let mut tpm = with_pin(TpmNt::PinFail, TpmaNv::NONE, 0, 3);
    assert_eq!(read_with(&mut tpm, b"wrong"), WRONG);
    assert_eq!(read_with(&mut tpm, b"wrong"), WRONG);
    let mut tpm = power_cut(tpm);
    assert_eq!(pin_count(&tpm), 2);
    assert_eq!(read_with(&mut tpm, b"pin"), Ok(()));
    assert_eq!(pin_count(&tpm), 0);
    for _ in 0..3 {
        assert_eq!(read_with(&mut tpm, b"wrong"), WRONG);
    }
    // Now the limit is reached: not even the right value helps until the owner writes the Index.
    assert_eq!(read_with(&mut tpm, b"pin"), Err(Rc::AUTH_UNAVAILABLE));
    assert_eq!(pin_count(&tpm), 3);
    tpm.run(write(&[0, 0, 0, 0, 0, 0, 0, 1], 0)).unwrap();
    assert_eq!(read_with(&mut tpm, b"pin"), Ok(()));
}

#[test]
fn a_pin_pass_index_counts_right_values_up_to_its_limit() {
    let mut tpm = with_pin(TpmNt::PinPass, TpmaNv::NONE, 1, 3);
    assert_eq!(read_with(&mut tpm, b"wrong"), WRONG);
    assert_eq!(pin_count(&tpm), 1);
    assert_eq!(read_with(&mut tpm, b"pin"), Ok(()));
    assert_eq!(read_with(&mut tpm, b"pin"), Ok(()));
    assert_eq!(read_with(&mut tpm, b"pin"), Err(Rc::AUTH_UNAVAILABLE));
    let tpm = power_cut(tpm);
    assert_eq!(pin_count(&tpm), 3);
}

#[test]
fn a_pin_index_authorizes_nothing_before_it_is_written() {
    let attributes = OPEN.without(TpmaNv::AUTHWRITE);
    for nv_type in [TpmNt::PinFail, TpmNt::PinPass] {
        let mut tpm = with_index(attributes.with_type(nv_type), 8);
        assert_eq!(read_with(&mut tpm, b""), Err(Rc::AUTH_UNAVAILABLE));
    }
}

#[test]
fn no_power_cycle_gives_tries_of_an_orderly_pin_index_back() {
    let mut tpm = with_pin(TpmNt::PinFail, TpmaNv::ORDERLY, 0, 5);
    tpm.run(tpm_wire::commands::Shutdown {
        shutdown_type: TpmSu::State,
    })
    .unwrap();
    assert_eq!(read_with(&mut tpm, b"wrong"), WRONG);
    let mut tpm = tpm.reloaded();
    tpm.restart(None, TpmSu::State);
    assert_eq!(pin_count(&tpm), 1);
}

#[test]
fn authorization_values_are_checked_and_do_not_lock_out_without_da() {
    let mut tpm = with_pin(TpmNt::PinPass, TpmaNv::NONE, 0, 1);
    let write = NvWrite {
        auth_handle: INDEX.into(),
        nv_index: INDEX.into(),
        data: Tpm2bMaxNvBuffer::EMPTY,
        offset: 0,
    };
    assert_eq!(tpm.run(write), Err(Rc::AUTH_UNAVAILABLE));
    assert!(!persists(&mut tpm, self::write(b"", 8)));
}

#[test]
fn damaged_state_is_refused() {
    let mut tpm = with_index(OPEN | TpmaNv::ORDERLY, 4);
    tpm.run(write(b"data", 0)).unwrap();
    let stored = tpm.permanent_state();
    for position in 0..stored.len() {
        let mut damaged = stored.to_vec();
        damaged[position] ^= 0x40;
        let platform = crate::testing::ScriptedPlatform::default();
        // Whatever it says, it does not panic.
        let _ = crate::state::Tpm::load(&damaged, alloc::boxed::Box::new(platform));
    }
    let context = format!("{:?}", crate::StateError::Damaged { section: 0x15 });
    let mut short = stored.to_vec();
    let position = short
        .windows(4)
        .position(|bytes| bytes == INDEX.0.to_be_bytes())
        .unwrap();
    // The type in the handle no longer agrees with the handle's.
    short[position] = 0x02;
    let platform = crate::testing::ScriptedPlatform::default();
    let refused = crate::state::Tpm::load(&short, alloc::boxed::Box::new(platform)).err();
    assert_eq!(refused.map(|error| format!("{error:?}")), Some(context));
}
