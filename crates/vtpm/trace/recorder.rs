//! Where recordings go: files, and readers of the daemon.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::ControlFlow;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tpm_server::{Exchange, Recorder};

use super::pcap;
use super::record::{Head, Record, now};

/// Records into a file, a line an exchange, each written at once.
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
}

impl PcapRecorder {
    /// Begins a capture; one that goes on in a file with a head gets none.
    pub(crate) fn new(mut file: File, secrets: bool) -> io::Result<Self> {
        let mut conversation = pcap::Conversation::default();
        let mut start = Vec::new();
        if file.metadata()?.len() == 0 {
            start.extend(pcap::file_header());
        }
        start.extend(conversation.open(now()));
        file.write_all(&start)?;
        Ok(Self {
            file,
            secrets,
            conversation,
        })
    }
}

impl Recorder for PcapRecorder {
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
}

impl Recorder for LiveRecorder {
    fn record(&mut self, exchange: &Exchange) -> ControlFlow<()> {
        if self.reader.is_closed() {
            return ControlFlow::Break(());
        }
        let mut record = Record::new(exchange, self.secrets);
        record.lost = self.lost;
        match self.reader.try_send(record.to_line()) {
            Ok(()) => self.lost = 0,
            Err(TrySendError::Full(_)) => self.lost = self.lost.saturating_add(1),
            Err(TrySendError::Closed(_)) => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }
}
