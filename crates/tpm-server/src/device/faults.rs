//! Faults that a device is asked to have, so that its clients can be tested against them.

use std::time::Duration;

use zeroize::Zeroize;

use super::power::STARTUP_CLEAR;
use super::{Device, Inner, Refused};
use crate::trace::Event;

/// What goes wrong with a device, from when it is told on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The power fails once, after as many commands: the last one has done its work, its answer never leaves. The TPM comes up at
    /// once from what was durable and is started as firmware would.
    pub power_cut_at: Option<u64>,
    /// How long each answer takes on top.
    pub delay: Duration,
}

impl Device {
    /// Has these faults from the next command on, which is the first.
    pub async fn set_faults(&self, faults: Faults) {
        self.lock().await.faults = faults;
    }
}

impl Inner {
    /// Holds back the answer that was appended to `out` after its first `before` bytes, or takes it away, as the faults say. After
    /// [`Refused::PowerCut`] the power is to fail.
    pub(super) async fn suffer(&mut self, out: &mut Vec<u8>, before: usize) -> Result<(), Refused> {
        if self.faults == Faults::default() {
            return Ok(());
        }
        if !self.faults.delay.is_zero() {
            tokio::time::sleep(self.faults.delay).await;
        }
        match self.faults.power_cut_at {
            Some(left @ 2..) => self.faults.power_cut_at = Some(left.saturating_sub(1)),
            Some(_) => {
                self.faults.power_cut_at = None;
                if let Some(answer) = out.get_mut(before..) {
                    answer.zeroize();
                }
                out.truncate(before);
                return Err(Refused::PowerCut);
            }
            None => {}
        }
        Ok(())
    }

    /// The power fails and is back: nothing is left but what the storage holds, which is read again.
    pub(super) async fn lose_power(&mut self) {
        self.signals.set_powered(false);
        self.tracer.happened(|| Event::PowerCut);
        self.tpm = None;
        self.suspended = false;
        self.unsaved = false;
        self.saved = None;
        self.give_store_up();
        if let Err(error) = self.power_up().await {
            tracing::error!(%error, "the TPM did not come up again after the power cut");
            return;
        }
        if let (_, Err(error)) = self.run_own(&STARTUP_CLEAR).await {
            tracing::error!(%error, "the startup after the power cut is not durable");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{GET_RANDOM, SUCCESS, World, execute, hex, pcr_extend, pcr_read};
    use std::time::Instant;

    #[tokio::test]
    async fn power_fails_once_after_the_nth_command_and_its_answer_is_lost() {
        let world = World::default();
        let device = world.started().await;
        let at_start = execute(&device, &pcr_read()).await;
        execute(&device, &pcr_extend()).await;
        assert_ne!(execute(&device, &pcr_read()).await, at_start);
        device
            .set_faults(Faults {
                power_cut_at: Some(2),
                ..Faults::default()
            })
            .await;
        assert_eq!(execute(&device, &GET_RANDOM).await.len(), 20);
        let mut out = vec![7];
        let refused = device.try_execute(&GET_RANDOM, None, &mut out).await;
        assert_eq!(refused, Err(Refused::PowerCut));
        assert_eq!(out, [7]);
        // It was started, and what is volatile is as after every other startup.
        assert_eq!(execute(&device, &pcr_read()).await, at_start);
        assert_eq!(execute(&device, &GET_RANDOM).await.len(), 20);
    }

    #[tokio::test]
    async fn what_was_durable_outlives_the_power_cut() {
        let world = World::default();
        let device = world.started().await;
        // Owner authorization becomes "x": HierarchyChangeAuth.
        let change = hex("80020000001e0000012940000001000000094000000900000000000001")
            .into_iter()
            .chain(*b"x")
            .collect::<Vec<u8>>();
        device
            .set_faults(Faults {
                power_cut_at: Some(1),
                ..Faults::default()
            })
            .await;
        let mut out = Vec::new();
        let refused = device.try_execute(&change, None, &mut out).await;
        assert_eq!(refused, Err(Refused::PowerCut));
        assert!(out.is_empty());
        let again = execute(&device, &change).await;
        assert_ne!(again, SUCCESS, "the old value authorizes nothing any more");
        assert_eq!(&again[6..], [0, 0, 9, 0xa2], "TPM_RC_BAD_AUTH at session 1");
    }

    #[tokio::test]
    async fn each_answer_takes_its_time() {
        let device = World::default().started().await;
        let delay = Duration::from_millis(30);
        device
            .set_faults(Faults {
                delay,
                ..Faults::default()
            })
            .await;
        let start = Instant::now();
        execute(&device, &GET_RANDOM).await;
        execute(&device, &GET_RANDOM).await;
        assert!(start.elapsed() >= 2 * delay);
    }
}
