use std::sync::atomic::Ordering;

use super::*;
use crate::testing::{
    COMMAND_SIZE, FAILURE, GET_RANDOM, INITIALIZE, NO_SAVED_STATE, NV_UNAVAILABLE, SHUTDOWN_STATE,
    STARTUP, STARTUP_STATE, SUCCESS, World, create_primary_rsa, execute, pcr_extend, pcr_read,
};

fn succeeded(response: &[u8]) -> bool {
    response.get(6..10) == Some(&[0; 4])
}

#[tokio::test]
async fn without_power_every_command_fails() {
    let device = World::default().device();
    assert_eq!(execute(&device, &STARTUP).await, FAILURE);
    device.power_on().await.unwrap();
    assert_eq!(execute(&device, &GET_RANDOM).await, INITIALIZE);
    assert_eq!(execute(&device, &STARTUP).await, SUCCESS);
    device.power_off().await;
    assert_eq!(execute(&device, &GET_RANDOM).await, FAILURE);
}

#[tokio::test]
async fn a_new_tpm_that_is_started_at_once_is_stored_once_or_not_at_all() {
    let world = World::default();
    world.saving_fails.store(true, Ordering::SeqCst);
    let device = world.device();
    for _ in 0..2 {
        let refused = device.boot(StartupKind::Clear).await;
        assert!(matches!(refused, Err(DeviceError::Store(_))), "{refused:?}");
        assert!(!device.is_on());
        assert_eq!(world.stored(), None);
    }
    world.saving_fails.store(false, Ordering::SeqCst);
    let before = world.saves();
    device.boot(StartupKind::Clear).await.unwrap();
    assert_eq!(world.saves(), before + 1);
    let measured = execute(&device, &pcr_extend()).await;
    assert!(succeeded(&measured));
    assert_eq!(execute(&device, &STARTUP).await, INITIALIZE);
    // As after kill -9: it is the same TPM, and it was started.
    let stored = world.stored();
    assert!(stored.is_some());
    device.boot(StartupKind::Clear).await.unwrap();
    assert!(succeeded(&execute(&device, &pcr_read()).await));
}

#[tokio::test]
async fn what_was_answered_is_stored() {
    let world = World::default();
    let device = world.started().await;
    let before = world.saves();
    assert_eq!(execute(&device, &SHUTDOWN_STATE).await, SUCCESS);
    assert!(world.saves() > before);
    // As after kill -9: nothing but the storage is left.
    let device = world.device();
    device.power_on().await.unwrap();
    assert_eq!(execute(&device, &STARTUP_STATE).await, SUCCESS);
}

#[tokio::test]
async fn what_need_not_be_stored_costs_no_save() {
    let world = World::default();
    let device = world.started().await;
    let before = world.saves();
    assert!(succeeded(&execute(&device, &GET_RANDOM).await));
    execute(&device, &pcr_extend()).await;
    assert_eq!(world.saves(), before);
}

#[tokio::test]
async fn a_failed_save_takes_the_command_back() {
    let world = World::default();
    let device = world.started().await;
    world.saving_fails.store(true, Ordering::SeqCst);
    assert_eq!(execute(&device, &SHUTDOWN_STATE).await, NV_UNAVAILABLE);
    assert!(
        succeeded(&execute(&device, &GET_RANDOM).await),
        "what needs no storage goes on"
    );
    world.saving_fails.store(false, Ordering::SeqCst);
    let other = world.device();
    other.power_on().await.unwrap();
    assert_eq!(execute(&other, &STARTUP_STATE).await, NO_SAVED_STATE);
}

#[tokio::test]
async fn what_was_measured_stays_when_a_suspension_cannot_be_stored() {
    let world = World::default();
    let device = world.started().await;
    assert!(succeeded(&execute(&device, &pcr_extend()).await));
    let measured = execute(&device, &pcr_read()).await;
    world.saving_fails.store(true, Ordering::SeqCst);
    // The last command before it is the one that measured.
    assert!(succeeded(&execute(&device, &pcr_extend()).await));
    assert!(device.suspend().await.is_err());
    let again = execute(&device, &pcr_read()).await;
    assert!(succeeded(&again) && again != measured);
}

#[tokio::test]
async fn a_startup_that_cannot_be_stored_leaves_a_tpm_that_waits_for_it() {
    let world = World::default();
    let device = world.device();
    device.power_on().await.unwrap();
    world.saving_fails.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(execute(&device, &STARTUP).await, NV_UNAVAILABLE);
        assert_eq!(execute(&device, &GET_RANDOM).await, INITIALIZE);
    }
    world.saving_fails.store(false, Ordering::SeqCst);
    assert_eq!(execute(&device, &STARTUP).await, SUCCESS);
}

#[tokio::test]
async fn a_tpm_that_cannot_be_stored_is_not_manufactured() {
    let world = World::default();
    world.saving_fails.store(true, Ordering::SeqCst);
    let device = world.device();
    assert!(matches!(
        device.power_on().await,
        Err(DeviceError::Store(_))
    ));
    assert!(!device.is_on());
    world.saving_fails.store(false, Ordering::SeqCst);
    device.power_on().await.unwrap();
    assert!(world.stored().is_some());
}

#[tokio::test]
async fn unreadable_state_is_an_error_and_stays() {
    let world = World::default();
    let damaged = Stored {
        permanent: Zeroizing::new(b"not a state".to_vec()),
        volatile: None,
    };
    *world.storage.lock().unwrap() = Some(damaged.clone());
    let device = world.device();
    assert!(matches!(
        device.power_on().await,
        Err(DeviceError::State {
            kind: "permanent",
            ..
        })
    ));
    assert_eq!(world.stored(), Some(damaged));
}

#[tokio::test]
async fn the_profile_of_an_existing_tpm_cannot_be_changed() {
    let world = World::default();
    world.started().await;
    let device = world.device_with(|settings| settings.profile = Some(Profile::default()));
    assert!(matches!(
        device.power_on().await,
        Err(DeviceError::ProfileOfExisting)
    ));
}

#[tokio::test]
async fn an_engine_that_panics_fails_alone_until_its_next_power_cycle() {
    let (broken, sound) = (World::default(), World::default());
    let (device, neighbour) = (broken.started().await, sound.started().await);
    assert_eq!(execute(&device, &SHUTDOWN_STATE).await, SUCCESS);
    broken.platform_panics.store(true, Ordering::SeqCst);
    assert_eq!(execute(&device, &GET_RANDOM).await, FAILURE);
    broken.platform_panics.store(false, Ordering::SeqCst);
    assert_eq!(execute(&device, &GET_RANDOM).await, FAILURE, "for ever");
    assert!(succeeded(&execute(&neighbour, &GET_RANDOM).await));
    device.power_on().await.unwrap();
    assert_eq!(
        execute(&device, &STARTUP_STATE).await,
        SUCCESS,
        "what it had promised is there"
    );
}

#[tokio::test]
async fn cancel_reaches_a_long_command_while_it_runs() {
    let world = World::default();
    let device = world.started().await;
    world.time_waits_for_cancel.store(true, Ordering::SeqCst);
    let running = tokio::spawn({
        let device = device.clone();
        async move { execute(&device, &create_primary_rsa()).await }
    });
    assert!(Tpm::takes_long(&create_primary_rsa()));
    while !running.is_finished() {
        device.signals().cancel_running();
        tokio::task::yield_now().await;
    }
    running.await.unwrap();
    world.time_waits_for_cancel.store(false, Ordering::SeqCst);
    assert!(succeeded(&execute(&device, &GET_RANDOM).await));
}

#[tokio::test]
async fn nobody_waiting_for_a_long_command_does_not_lose_the_tpm() {
    let world = World::default();
    let device = world.started().await;
    world.time_waits_for_cancel.store(true, Ordering::SeqCst);
    let waiting = tokio::spawn({
        let device = device.clone();
        async move { execute(&device, &create_primary_rsa()).await }
    });
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.is_err_and(|error| error.is_cancelled()));
    world.time_waits_for_cancel.store(false, Ordering::SeqCst);
    assert!(succeeded(&execute(&device, &GET_RANDOM).await));
}

#[tokio::test]
async fn losing_power_without_shutdown_sends_one() {
    let world = World::default();
    let device = world.started().await;
    let before = world.saves();
    device.power_off().await;
    assert!(world.saves() > before);

    let device = world.device_with(|settings| settings.auto_shutdown = false);
    device.power_on().await.unwrap();
    assert_eq!(execute(&device, &STARTUP).await, SUCCESS);
    let before = world.saves();
    device.power_off().await;
    assert_eq!(world.saves(), before, "not if that is switched off");
}

#[tokio::test]
async fn a_suspended_tpm_goes_on_without_startup() {
    let world = World::default();
    let device = world.started().await;
    execute(&device, &pcr_extend()).await;
    let pcr = execute(&device, &pcr_read()).await;
    device.suspend().await.unwrap();
    device.close().await;
    let device = world.device();
    device.power_on().await.unwrap();
    assert_eq!(execute(&device, &pcr_read()).await, pcr);
    assert_eq!(world.stored().unwrap().volatile, None, "taken up once");
}

#[tokio::test]
async fn what_is_captured_goes_on_elsewhere_while_the_source_runs_on() {
    let world = World::default();
    let device = world.started().await;
    execute(&device, &pcr_extend()).await;
    let pcr = execute(&device, &pcr_read()).await;
    let (captured, saves) = device.capture(|| world.saves()).await.unwrap();
    assert_eq!(saves, world.saves());
    assert_eq!(
        world.stored().unwrap().volatile,
        None,
        "nothing is suspended"
    );
    execute(&device, &pcr_extend()).await;
    assert_ne!(execute(&device, &pcr_read()).await, pcr);
    device.close().await;
    assert!(matches!(
        device.capture(|| ()).await,
        Err(DeviceError::NotRunning)
    ));
    let other = World::default();
    *other.storage.lock().unwrap() = Some(captured);
    let device = other.device();
    device.power_on().await.unwrap();
    assert_eq!(execute(&device, &pcr_read()).await, pcr);
}

#[tokio::test]
async fn a_machine_that_is_switched_on_finds_no_suspended_tpm() {
    let world = World::default();
    let device = world.started().await;
    execute(&device, &pcr_extend()).await;
    assert!(!execute(&device, &pcr_read()).await.ends_with(&[0; 32]));
    device.suspend().await.unwrap();
    device.close().await;
    let device = world.device();
    device.boot(StartupKind::Clear).await.unwrap();
    assert!(execute(&device, &pcr_read()).await.ends_with(&[0; 32]));
    assert_eq!(execute(&device, &STARTUP).await, INITIALIZE);
}

#[tokio::test]
async fn a_stored_volatile_state_is_void_once_the_tpm_goes_on() {
    let world = World::default();
    let device = world.started().await;
    device.suspend().await.unwrap();
    assert!(world.stored().unwrap().volatile.is_some());
    execute(&device, &pcr_extend()).await;
    assert_eq!(world.stored().unwrap().volatile, None);
}

#[tokio::test]
async fn storage_that_another_process_changed_is_not_overwritten() {
    let world = World::default();
    let device = world.started().await;
    device.release_storage().await;
    let other = world.started().await;
    assert_eq!(execute(&other, &SHUTDOWN_STATE).await, SUCCESS);
    let theirs = world.stored();
    assert!(matches!(
        device.lock_storage(2).await,
        Err(DeviceError::Overtaken)
    ));
    assert_eq!(execute(&device, &GET_RANDOM).await, NV_UNAVAILABLE);
    device.close().await;
    assert_eq!(world.stored(), theirs);
}

#[tokio::test]
async fn storage_that_is_locked_elsewhere_is_waited_for() {
    let world = World::default();
    let device = world.started().await;
    device.release_storage().await;
    world.locked_by_another.store(true, Ordering::SeqCst);
    assert!(matches!(
        device.lock_storage(1).await,
        Err(DeviceError::Store(_))
    ));
    let freeing = world.clone();
    let (outcome, ()) = tokio::join!(device.lock_storage(100), async move {
        tokio::task::yield_now().await;
        freeing.locked_by_another.store(false, Ordering::SeqCst);
    });
    outcome.unwrap();
}

#[tokio::test]
async fn the_buffer_size_is_kept_within_limits_and_over_power_cycles() {
    let device = World::default().device();
    let sizes = device.buffer_sizes(None).await.unwrap();
    assert_eq!(sizes.current, sizes.largest);
    assert_eq!(
        device.buffer_sizes(Some(0xf80)).await.unwrap().current,
        0xf80
    );
    assert_eq!(
        device.buffer_sizes(Some(1)).await.unwrap().current,
        sizes.smallest
    );
    assert_eq!(
        device.buffer_sizes(Some(1 << 30)).await.unwrap().current,
        sizes.largest
    );
    device.buffer_sizes(Some(0xf80)).await.unwrap();
    device.power_on().await.unwrap();
    assert_eq!(device.buffer_sizes(None).await.unwrap().current, 0xf80);
    assert!(matches!(
        device.buffer_sizes(Some(4096)).await,
        Err(DeviceError::Running)
    ));
}

#[tokio::test]
async fn a_short_command_is_answered_by_the_tpm() {
    let device = World::default().started().await;
    assert_eq!(
        execute(&device, &[0x80, 1, 0, 0]).await.len(),
        COMMAND_SIZE.len()
    );
}
