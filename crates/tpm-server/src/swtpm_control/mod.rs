//! swtpm's control channel: what a virtual machine monitor tells the TPM beside the guest's commands.
//!
//! A request is a big-endian code and a body; a response begins with a result. Neither has a length, so sizes are exact, also of
//! responses that report an error.

mod request;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::blob::{self, BlobError};
use crate::device::{Device, DeviceError, StartupKind, StateKind};
use crate::swtpm::{AfterShutdown, NotAttached, Server};
use crate::wire::Wire;
use request::{CAPABILITIES, Code, Fields, LONGEST_BLOB, result};

/// Within this time a request must be there in whole, apart from long data.
const REQUEST_TIME: Duration = Duration::from_millis(500);
/// Within this time long data must be there in whole.
const DATA_TIME: Duration = Duration::from_secs(10);
/// How much of it is taken in at a time.
const PIECE: usize = 4096;
/// The most text that one GET_INFO gives.
const INFO_PIECE: usize = 3 * 1024;
const STATE_FLAG_DECRYPTED: u32 = 1;
const STATE_FLAG_ENCRYPTED: u32 = 2;
const CONFIG_FILE_KEY: u32 = 1;
const CONFIG_MIGRATION_KEY: u32 = 2;

/// Serves one control connection to its end.
pub(crate) async fn serve_control(server: Server, wire: Wire) {
    let mut channel = Channel {
        server: server.clone(),
        number: server.number_control(),
        wire,
        descriptors: Vec::new(),
    };
    if let Err(error) = channel.serve().await
        && server.nonsense_is_news()
    {
        tracing::warn!(%error, "closed a control connection");
    }
    server.control_ended(channel.number);
    channel.wire.close().await;
    if server.options().end_with_control {
        server.stop();
    }
}

struct Channel {
    server: Server,
    number: u64,
    wire: Wire,
    descriptors: Vec<OwnedFd>,
}

/// A response, and whether the server ends after it.
struct Response {
    bytes: Zeroizing<Vec<u8>>,
    last: bool,
}

impl Response {
    fn new(result: u32) -> Self {
        Self {
            bytes: Zeroizing::new(result.to_be_bytes().to_vec()),
            last: false,
        }
    }

    fn word(mut self, word: u32) -> Self {
        self.bytes.extend(word.to_be_bytes());
        self
    }

    fn size(self, size: usize) -> Self {
        self.word(u32::try_from(size).unwrap_or(u32::MAX))
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn last(mut self) -> Self {
        self.last = true;
        self
    }
}

impl Channel {
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            self.descriptors.clear();
            if self.wire.waiting().is_empty()
                && !self
                    .wire
                    .more_with_descriptors(&mut self.descriptors)
                    .await?
            {
                return Ok(());
            }
            let deadline = Instant::now() + REQUEST_TIME;
            let number = self.read_words(deadline).await?;
            let response = match Code::from_number(number) {
                Some(code) => self.request(code, deadline).await?,
                None => {
                    if self.server.nonsense_is_news() {
                        tracing::warn!(number, "unknown code on the control channel");
                    }
                    // Nothing is known of its length, so all that has come is its body.
                    self.wire.clear()?;
                    Response::new(result::BAD_ORDINAL)
                }
            };
            self.wire.send(&response.bytes).await?;
            if response.last {
                self.server.stop();
                return Ok(());
            }
        }
    }

    /// Reads the code.
    async fn read_words(&mut self, deadline: Instant) -> io::Result<u32> {
        self.arrive(4, deadline).await?;
        let number = Fields(self.wire.waiting()).word(0);
        self.wire.take(4);
        Ok(number)
    }

    /// Waits until `count` bytes are there.
    async fn arrive(&mut self, count: usize, deadline: Instant) -> io::Result<()> {
        while self.wire.waiting().len() < count {
            let more = self.wire.more_with_descriptors(&mut self.descriptors);
            if !timeout_at(deadline, more)
                .await
                .map_err(|_| incomplete())??
            {
                return Err(incomplete());
            }
        }
        Ok(())
    }

    async fn request(&mut self, code: Code, deadline: Instant) -> io::Result<Response> {
        let size = code.body();
        // Too little may still be on its way; swtpm answers what never comes in whole by closing, and so do we.
        self.arrive(*size.start(), deadline).await?;
        let there = self.wire.waiting().len();
        if !code.has_data() && there > *size.end() {
            // Strictly one request, one response: what is too much belongs to this request and makes it a wrong one.
            self.wire.clear()?;
            return Ok(match code {
                Code::GetTpmEstablished => established(result::BAD_PARAMETER, false),
                _ => Response::new(result::BAD_PARAMETER),
            });
        }
        let taken = there.min(*size.end());
        let body = self
            .wire
            .waiting()
            .get(..taken)
            .unwrap_or_default()
            .to_vec();
        self.wire.take(taken);
        self.handle(code, &Fields(&body)).await
    }

    async fn handle(&mut self, code: Code, fields: &Fields<'_>) -> io::Result<Response> {
        let device = self.server.device().clone();
        let about_power = matches!(code, Code::Init | Code::Stop | Code::Shutdown);
        if about_power && self.server.has_another_machine(self.number) {
            // A second QEMU, refused at SET_DATAFD, sends the shutdown code as it gives up: not for the first one's TPM.
            tracing::warn!(?code, "refused: the TPM is that of another machine");
            return Ok(Response::new(result::FAIL));
        }
        Ok(match code {
            Code::GetCapability => self.capability(),
            // All stored state goes once it is taken up, whether or not the flag asks for it: it must not come back later.
            Code::Init => done(device.power_on().await),
            Code::Stop => {
                device.power_off().await;
                Response::new(result::SUCCESS)
            }
            Code::Shutdown => match self.server.options().after_shutdown {
                AfterShutdown::End => {
                    device.close().await;
                    Response::new(result::SUCCESS).last()
                }
                AfterShutdown::PowerCycle(startup) => {
                    device.power_off().await;
                    done(for_next_machine(&device, startup).await)
                }
            },
            // QEMU reads the bit whatever the result, and asks before the first INIT too.
            Code::GetTpmEstablished => established(result::SUCCESS, device.established().await),
            Code::ResetTpmEstablished => match fields.byte() {
                _ if !device.is_on() => Response::new(result::BAD_ORDINAL),
                // Those of a dynamic launch and of the code that it starts.
                locality @ 3..=4 => done(device.reset_established(locality).await),
                _ => Response::new(result::BAD_LOCALITY),
            },
            Code::SetLocality => {
                let locality = fields.byte();
                if self.server.options().accepts_locality(locality) {
                    device.set_locality(locality).await;
                    Response::new(result::SUCCESS)
                } else {
                    Response::new(result::BAD_LOCALITY)
                }
            }
            Code::HashStart => done(device.hash_start().await),
            Code::HashEnd => done(device.hash_end().await),
            Code::HashData => self.hash_data(fields.word(0)).await?,
            Code::CancelTpmCommand if !device.is_on() => Response::new(result::BAD_ORDINAL),
            Code::CancelTpmCommand => {
                // No turn is waited for: the command to be canceled has it.
                device.signals().cancel_running();
                Response::new(result::SUCCESS)
            }
            Code::StoreVolatile => done(device.suspend().await),
            Code::GetStateBlob => self.get_state_blob(fields).await,
            Code::SetStateBlob => return self.set_state_blob(fields).await,
            Code::GetConfig => {
                let options = self.server.options();
                let file = if options.file_key.is_some() {
                    CONFIG_FILE_KEY
                } else {
                    0
                };
                let migration = if options.migration_key.is_some() {
                    CONFIG_MIGRATION_KEY
                } else {
                    0
                };
                Response::new(result::SUCCESS).word(file | migration)
            }
            Code::SetDataDescriptor => {
                let Some(descriptor) = self.descriptors.drain(..).next() else {
                    return Ok(Response::new(result::BAD_PARAMETER));
                };
                Response::new(match self.server.attach(descriptor, self.number) {
                    Ok(()) => result::SUCCESS,
                    Err(NotAttached::AlreadyThere) => result::IO_ERROR,
                    Err(NotAttached::NotASocket) => result::BAD_PARAMETER,
                })
            }
            Code::SetBufferSize => {
                let wanted = usize::try_from(fields.word(0))
                    .ok()
                    .filter(|wanted| *wanted != 0);
                match device.buffer_sizes(wanted).await {
                    Ok(sizes) => Response::new(result::SUCCESS)
                        .size(sizes.current)
                        .size(sizes.smallest)
                        .size(sizes.largest),
                    Err(error) => failed(&error),
                }
            }
            Code::GetInfo => self.get_info(fields).await,
            Code::LockStorage => match device.lock_storage(fields.word(0)).await {
                Ok(()) => Response::new(result::SUCCESS),
                Err(error) => failed(&error),
            },
        })
    }

    fn capability(&self) -> Response {
        Response::new(result::SUCCESS).word(CAPABILITIES)
    }

    async fn hash_data(&mut self, length: u32) -> io::Result<Response> {
        let device = self.server.device().clone();
        // Whether the TPM runs is asked even if there is nothing to hash.
        let mut outcome = device.hash_data(&[]).await;
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        while left > 0 {
            if self.wire.waiting().is_empty() {
                self.arrive(1, Instant::now() + REQUEST_TIME).await?;
            }
            let piece: Zeroizing<Vec<u8>> = Zeroizing::new(
                self.wire
                    .waiting()
                    .iter()
                    .take(left.min(PIECE))
                    .copied()
                    .collect(),
            );
            self.wire.take(piece.len());
            left = left.saturating_sub(piece.len());
            if outcome.is_ok() {
                outcome = device.hash_data(&piece).await;
            }
        }
        if !self.wire.waiting().is_empty() {
            self.wire.clear()?;
            return Ok(Response::new(result::BAD_PARAMETER));
        }
        Ok(done(outcome))
    }

    async fn get_state_blob(&mut self, fields: &Fields<'_>) -> Response {
        let device = self.server.device();
        let decrypted = fields.word(0) & STATE_FLAG_DECRYPTED != 0;
        let Some(kind) = StateKind::from_code(fields.word(1)) else {
            return state_blob_error(if device.is_on() {
                result::FAIL
            } else {
                result::BAD_ORDINAL
            });
        };
        let offset = usize::try_from(fields.word(2)).unwrap_or(usize::MAX);
        let keys = self.server.options().keys(decrypted);
        let pack = |state: &[u8]| blob::pack(kind, state, keys);
        let blob = match device.blob(kind, offset, pack).await {
            Ok(Some(Ok(blob))) => blob,
            Ok(Some(Err(error))) => {
                tracing::error!(%error, "the state could not be packed");
                return state_blob_error(result::FAIL);
            }
            Ok(None) => {
                // The last thing that a source is asked for: from now on another host may own the storage.
                if self.server.options().release_lock_outgoing {
                    device.release_storage().await;
                }
                return state_blob_error(result::NOTHING);
            }
            Err(error) => return state_blob_error(number_of(&error)),
        };
        let rest = blob.get(offset..).unwrap_or_default();
        let flags = if keys.file.is_some() {
            STATE_FLAG_ENCRYPTED
        } else {
            0
        };
        Response::new(result::SUCCESS)
            .word(flags)
            .size(rest.len())
            .size(rest.len())
            .bytes(rest)
    }

    async fn set_state_blob(&mut self, fields: &Fields<'_>) -> io::Result<Response> {
        let device = self.server.device().clone();
        let length = usize::try_from(fields.word(2)).unwrap_or(usize::MAX);
        if length > LONGEST_BLOB {
            if self.server.nonsense_is_news() {
                tracing::warn!(
                    length,
                    "refused a state blob of this length, and closed the control connection"
                );
            }
            self.wire.send(&Response::new(result::FAIL).bytes).await?;
            return Err(incomplete());
        }
        let deadline = Instant::now() + DATA_TIME;
        let mut blob = Zeroizing::new(Vec::with_capacity(length));
        loop {
            let count = self
                .wire
                .waiting()
                .len()
                .min(length.saturating_sub(blob.len()));
            blob.extend(self.wire.waiting().iter().take(count));
            self.wire.take(count);
            if blob.len() >= length {
                break;
            }
            self.arrive(1, deadline.min(Instant::now() + REQUEST_TIME))
                .await?;
        }
        if !self.wire.waiting().is_empty() {
            self.wire.clear()?;
            return Ok(Response::new(result::BAD_PARAMETER));
        }
        if device.is_on() {
            return Ok(Response::new(result::BAD_ORDINAL));
        }
        let Some(kind) = StateKind::from_code(fields.word(1)) else {
            return Ok(Response::new(result::BAD_PARAMETER));
        };
        let state = if blob.is_empty() {
            None
        } else {
            // Whatever it is sealed with, its header says; the flag of the request adds nothing.
            match blob::unpack(kind, &blob, self.server.options().keys(false)) {
                Ok(state) => Some(state),
                Err(error) => {
                    tracing::warn!(?kind, %error, "refused a state blob");
                    return Ok(Response::new(match error {
                        BlobError::NoKey(_) => result::KEY_NOT_FOUND,
                        BlobError::Closed(_) => result::DECRYPT_ERROR,
                        _ => result::BAD_PARAMETER,
                    }));
                }
            }
        };
        Ok(done(device.receive_state(kind, state).await))
    }

    async fn get_info(&mut self, fields: &Fields<'_>) -> Response {
        let text = match self.server.device().info(fields.double_word()).await {
            Ok(text) => text,
            Err(error) => return failed(&error),
        };
        let offset = usize::try_from(fields.word(2)).unwrap_or(usize::MAX);
        if offset >= text.len() {
            return Response::new(result::BAD_PARAMETER);
        }
        let mut bytes = text.into_bytes();
        bytes.push(0);
        let rest = bytes.get(offset..).unwrap_or_default();
        let piece = rest.get(..INFO_PIECE).unwrap_or(rest);
        Response::new(result::SUCCESS)
            .size(bytes.len())
            .size(piece.len())
            .bytes(piece)
    }
}

/// Gives power to a TPM whose machine has ended, and takes back what that machine chose.
async fn for_next_machine(
    device: &Device,
    startup: Option<StartupKind>,
) -> Result<(), DeviceError> {
    device.set_locality(0).await;
    device.buffer_sizes(Some(usize::MAX)).await?;
    device.power_on().await?;
    match startup {
        Some(kind) => device.startup(kind).await,
        None => Ok(()),
    }
}

fn done(outcome: Result<(), DeviceError>) -> Response {
    match outcome {
        Ok(()) => Response::new(result::SUCCESS),
        Err(error) => failed(&error),
    }
}

fn failed(error: &DeviceError) -> Response {
    Response::new(number_of(error))
}

fn number_of(error: &DeviceError) -> u32 {
    match error {
        DeviceError::NotRunning | DeviceError::Running => result::BAD_ORDINAL,
        DeviceError::State { .. } => {
            tracing::warn!(%error, "the present state stays");
            result::BAD_PARAMETER
        }
        error => {
            tracing::error!(%error, "a request on the control channel failed");
            result::FAIL
        }
    }
}

/// Four bytes would make QEMU wait for four more.
fn established(result: u32, bit: bool) -> Response {
    Response::new(result).bytes(&[u8::from(bit), 0, 0, 0])
}

/// QEMU reads the whole header, whatever the result.
fn state_blob_error(result: u32) -> Response {
    Response::new(result).word(0).word(0).word(0)
}

fn incomplete() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "the request did not come in whole, or its length is out of bounds",
    )
}
