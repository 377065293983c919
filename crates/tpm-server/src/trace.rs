//! Who listens to what a TPM is asked and answers.
//!
//! A [`Device`](crate::Device) has one [`Tracer`]. Without a recorder it costs one relaxed load a command; with one, the command
//! and the response are copied, together with when and how long.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use zeroize::Zeroizing;

/// A command and what the TPM answered.
pub struct Exchange {
    /// When the command arrived.
    pub begun: SystemTime,
    /// From its arrival until the answer was ready to leave: waiting for its turn and for storage included.
    pub took: Duration,
    /// The locality that it came from.
    pub locality: u8,
    /// The bytes of the command. They may hold passwords.
    pub command: Zeroizing<Vec<u8>>,
    /// The bytes of the response. They may hold secrets.
    pub response: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("begun", &self.begun)
            .field("took", &self.took)
            .field("locality", &self.locality)
            .field("command", &self.command.len())
            .field("response", &self.response.len())
            .finish()
    }
}

/// Takes note of exchanges.
pub trait Recorder: Send {
    /// Takes note of one; `Break` ends the recording, since nobody is interested any more. It must not wait for anybody.
    fn record(&mut self, exchange: &Exchange) -> ControlFlow<()>;
}

/// The recorders of one TPM.
#[derive(Default)]
pub struct Tracer {
    active: AtomicBool,
    recorders: Mutex<Vec<Box<dyn Recorder>>>,
}

/// The start of an exchange that somebody records.
pub(crate) struct Begun {
    at: SystemTime,
    clock: Instant,
    answer_from: usize,
}

impl Tracer {
    /// Adds a recorder, which hears of the next command first.
    pub fn add(&self, recorder: Box<dyn Recorder>) {
        let mut recorders = self.recorders();
        recorders.push(recorder);
        self.active.store(true, Ordering::Relaxed);
    }

    /// Ends all recordings.
    pub fn clear(&self) {
        self.recorders().clear();
        self.active.store(false, Ordering::Relaxed);
    }

    /// A command has come; its answer will be appended at `answer_from`. `None` if nobody listens.
    pub(crate) fn begin(&self, answer_from: usize) -> Option<Begun> {
        self.active.load(Ordering::Relaxed).then(|| Begun {
            at: SystemTime::now(),
            clock: Instant::now(),
            answer_from,
        })
    }

    /// The answer is ready.
    pub(crate) fn end(&self, begun: Option<Begun>, command: &[u8], locality: u8, out: &[u8]) {
        let Some(begun) = begun else {
            return;
        };
        let response = out.get(begun.answer_from..).unwrap_or_default();
        let exchange = Exchange {
            begun: begun.at,
            took: begun.clock.elapsed(),
            locality,
            command: Zeroizing::new(command.to_vec()),
            response: Zeroizing::new(response.to_vec()),
        };
        let mut recorders = self.recorders();
        recorders.retain_mut(|recorder| recorder.record(&exchange).is_continue());
        self.active.store(!recorders.is_empty(), Ordering::Relaxed);
    }

    fn recorders(&self) -> MutexGuard<'_, Vec<Box<dyn Recorder>>> {
        self.recorders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::testing;

    struct Counter {
        seen: Arc<AtomicUsize>,
        until: usize,
        last: Arc<Mutex<Vec<u8>>>,
    }

    impl Recorder for Counter {
        fn record(&mut self, exchange: &Exchange) -> ControlFlow<()> {
            *self.last.lock().unwrap() = exchange.response.to_vec();
            if self.seen.fetch_add(1, Ordering::Relaxed) + 1 < self.until {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        }
    }

    #[tokio::test]
    async fn a_recorder_hears_every_command_until_it_has_enough() {
        let device = testing::World::default().device();
        let (seen, last) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        assert!(device.tracer().begin(0).is_none(), "nobody listens yet");
        device.tracer().add(Box::new(Counter {
            seen: Arc::clone(&seen),
            until: 2,
            last: Arc::clone(&last),
        }));
        device.power_on().await.unwrap();
        device.startup(crate::StartupKind::Clear).await.unwrap();
        // GetRandom, its answer appended to what is there.
        let command = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 4];
        let mut out = vec![0xEE];
        device.execute(&command, None, &mut out).await;
        assert_eq!(seen.load(Ordering::Relaxed), 2);
        assert_eq!(*last.lock().unwrap(), out.get(1..).unwrap());
        assert!(device.tracer().begin(0).is_none(), "it had enough");
        device.execute(&command, None, &mut out).await;
        assert_eq!(seen.load(Ordering::Relaxed), 2);
    }
}
