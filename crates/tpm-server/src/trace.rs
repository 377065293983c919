//! Who listens to what a TPM is asked and answers, and to what happens to it.
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

/// What happens to a TPM beside its commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It got power, and with it `_TPM_Init`. One that resumed goes on from volatile state, and wants no Startup.
    PowerOn {
        /// Whether it goes on from volatile state.
        resumed: bool,
    },
    /// Its power was taken away, after a Shutdown unless that is switched off.
    PowerOff,
    /// Its power failed.
    PowerCut,
    /// Its volatile state was stored.
    Suspended,
    /// A measured launch began: `_TPM_Hash_Start`.
    HashStart,
    /// Data of a measured launch, which is public: `_TPM_Hash_Data`.
    HashData(Vec<u8>),
    /// A measured launch ended: `_TPM_Hash_End`.
    HashEnd,
    /// It was made to forget, from this locality, that there was a measured launch.
    EstablishedReset(u8),
    /// Another locality was chosen for the commands to come.
    Locality(u8),
}

/// Takes note of exchanges and events.
pub trait Recorder: Send {
    /// Takes note of an event; as [`Recorder::record`].
    fn happened(&mut self, at: SystemTime, event: &Event) -> ControlFlow<()>;

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
        self.tell(|recorder| recorder.record(&exchange));
    }

    /// Something has happened; what it is, is asked only if somebody listens.
    pub(crate) fn happened(&self, event: impl FnOnce() -> Event) {
        if !self.active.load(Ordering::Relaxed) {
            return;
        }
        let (at, event) = (SystemTime::now(), event());
        self.tell(|recorder| recorder.happened(at, &event));
    }

    /// Tells everybody; who has heard enough is told no more.
    fn tell(&self, mut what: impl FnMut(&mut dyn Recorder) -> ControlFlow<()>) {
        let mut recorders = self.recorders();
        recorders.retain_mut(|recorder| what(recorder.as_mut()).is_continue());
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
        fn happened(&mut self, _at: SystemTime, _event: &Event) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }

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

    /// Keeps what is told, in words.
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl Recorder for Notes {
        fn happened(&mut self, _at: SystemTime, event: &Event) -> ControlFlow<()> {
            self.0.lock().unwrap().push(format!("{event:?}"));
            ControlFlow::Continue(())
        }

        fn record(&mut self, exchange: &Exchange) -> ControlFlow<()> {
            let code = exchange.command.get(9).copied().unwrap_or_default();
            self.0.lock().unwrap().push(format!("{code:#x}"));
            ControlFlow::Continue(())
        }
    }

    #[tokio::test]
    async fn what_happens_beside_commands_is_told_in_its_place() {
        let device = testing::World::default().device();
        let notes = Arc::default();
        device.tracer().add(Box::new(Notes(Arc::clone(&notes))));
        device.power_on().await.unwrap();
        device.startup(crate::StartupKind::Clear).await.unwrap();
        device.set_locality(3).await;
        device.set_locality(3).await;
        device.hash_start().await.unwrap();
        device.hash_data(&[7]).await.unwrap();
        device.hash_end().await.unwrap();
        device.reset_established(3).await.unwrap();
        device.power_on().await.unwrap();
        device.startup(crate::StartupKind::Clear).await.unwrap();
        device.suspend().await.unwrap();
        device.power_off().await;
        device.power_off().await;
        device.power_on().await.unwrap();
        assert_eq!(
            *notes.lock().unwrap(),
            [
                "PowerOn { resumed: false }",
                "0x44",
                "Locality(3)",
                "HashStart",
                "HashData([7])",
                "HashEnd",
                "EstablishedReset(3)",
                // The Shutdown that nobody sent.
                "0x45",
                "PowerOff",
                "PowerOn { resumed: false }",
                "0x44",
                "Suspended",
                "PowerOff",
                "PowerOn { resumed: true }",
            ]
        );
    }
}
