//! Where recordings go: files, and readers of the daemon.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::time::SystemTime;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tpm_server::{Event, Exchange, Recorder};

use super::event::Occurrence;
use super::pcap;
use super::record::{Head, Record, micros};

/// Records into a file, a line an exchange or event, each written at once.
pub(crate) struct FileRecorder {
    file: File,
    secrets: bool,
}

impl FileRecorder {
    /// Begins a recording.
    pub(crate) fn new(mut file: File, secrets: bool) -> io::Result<Self> {
        file.write_all(Head::line(secrets).as_bytes())?;
        Ok(Self { file, secrets })
    }
}

impl Recorder for FileRecorder {
    fn happened(&mut self, at: SystemTime, event: &Event) -> ControlFlow<()> {
        let line = Occurrence::new(at, event).to_line();
        told(self.file.write_all(line.as_bytes()))
    }

    fn record(&mut self, exchange: &Exchange) -> ControlFlow<()> {
        let line = Record::new(exchange, self.secrets).to_line();
        told(self.file.write_all(line.as_bytes()))
    }
}

/// Records packets for Wireshark.
pub(crate) struct PcapRecorder {
    file: File,
    secrets: bool,
    conversation: pcap::Conversation,
    platform: pcap::Platform,
}

impl PcapRecorder {
    /// Begins a capture; one that goes on in a file with a head gets none.
    pub(crate) fn new(mut file: File, secrets: bool) -> io::Result<Self> {
        let mut conversation = pcap::Conversation::default();
        let mut start = Vec::new();
        if file.metadata()?.len() == 0 {
            start.extend(pcap::file_header());
        }
        start.extend(conversation.open(micros(SystemTime::now())));
        file.write_all(&start)?;
        Ok(Self {
            file,
            secrets,
            conversation,
            platform: pcap::Platform::default(),
        })
    }
}

impl Recorder for PcapRecorder {
    fn happened(&mut self, at: SystemTime, event: &Event) -> ControlFlow<()> {
        told(
            self.file
                .write_all(&self.platform.signal(micros(at), event)),
        )
    }

    fn record(&mut self, exchange: &Exchange) -> ControlFlow<()> {
        let record = Record::new(exchange, self.secrets);
        told(self.file.write_all(&self.conversation.packets(&record)))
    }
}

/// A recording that cannot be written ends, and the log says so once; the TPM goes on.
fn told(outcome: io::Result<()>) -> ControlFlow<()> {
    match outcome {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            tracing::error!(%error, "the recording of the TPM's commands ends here: it cannot be written");
            ControlFlow::Break(())
        }
    }
}

/// Sends lines to a reader. One that is too slow loses records and is told how many.
pub(crate) struct LiveRecorder {
    reader: Sender<String>,
    secrets: bool,
    lost: u64,
}

impl LiveRecorder {
    /// A recorder for the reader at the other end.
    pub(crate) const fn new(reader: Sender<String>, secrets: bool) -> Self {
        Self {
            reader,
            secrets,
            lost: 0,
        }
    }

    fn send(&mut self, line: String) -> ControlFlow<()> {
        match self.reader.try_send(line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(TrySendError::Full(_)) => {
                self.lost = self.lost.saturating_add(1);
                ControlFlow::Continue(())
            }
            Err(TrySendError::Closed(_)) => ControlFlow::Break(()),
        }
    }
}

impl Recorder for LiveRecorder {
    fn happened(&mut self, at: SystemTime, event: &Event) -> ControlFlow<()> {
        self.send(Occurrence::new(at, event).to_line())
    }

    fn record(&mut self, exchange: &Exchange) -> ControlFlow<()> {
        if self.reader.is_closed() {
            return ControlFlow::Break(());
        }
        let mut record = Record::new(exchange, self.secrets);
        record.lost = self.lost;
        let lost = std::mem::take(&mut self.lost);
        let outcome = self.send(record.to_line());
        if self.lost != 0 {
            self.lost = self.lost.saturating_add(lost);
        }
        outcome
    }
}
