//! swtpm's protocol: a data channel of raw TPM frames, and a control channel (`swtpm_control`) beside it.
//!
//! swtpm serves one client of each channel at a time. Here several may be connected, so that one that is silent keeps nobody
//! waiting; their commands take turns.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::blob::{BlobKey, Keys};
use crate::connections::Connections;
use crate::device::{Device, StartupKind, WipedStack};
use crate::frame::{Cut, bare_response, command_code, cut, rc};
use crate::gate::Gate;
use crate::stream::{Listener, Stream, after_failed_accept};
use crate::swtpm_control::serve_control;
use crate::wire::{Wire, stopped};

/// Data connections and control connections at a time; whoever is silent the longest gives way.
const MOST_DATA_CONNECTIONS: usize = 64;
const MOST_CONTROL_CONNECTIONS: usize = 16;
/// The command of Linux's vtpm proxy that chooses the locality; the byte after the header is the new one.
const SET_LOCALITY: u32 = 0x2000_1000;
const HIGHEST_LOCALITY: u8 = 4;
const NO_MACHINE: u64 = 0;

/// How a server behaves.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Locality 4 cannot be chosen.
    pub reject_locality_4: bool,
    /// The vtpm proxy's command may choose the locality.
    pub allow_set_locality: bool,
    /// A data connection is closed after one answer.
    pub disconnect: bool,
    /// The server ends when a data connection does.
    pub end_with_data: bool,
    /// The server ends when a control connection does.
    pub end_with_control: bool,
    /// What the shutdown code of the control channel leads to.
    pub after_shutdown: AfterShutdown,
    /// The storage is given up once the state has been fetched for another host.
    pub release_lock_outgoing: bool,
    /// The key of the stored state, if the user gave one: state that is fetched undecrypted is sealed with it.
    pub file_key: Option<Arc<BlobKey>>,
    /// The key that state is always sealed with when it is fetched.
    pub migration_key: Option<Arc<BlobKey>>,
}

impl Options {
    pub(crate) fn accepts_locality(&self, locality: u8) -> bool {
        locality <= HIGHEST_LOCALITY && !(self.reject_locality_4 && locality == HIGHEST_LOCALITY)
    }

    pub(crate) fn keys(&self, decrypted: bool) -> Keys<'_> {
        Keys {
            file: if decrypted {
                None
            } else {
                self.file_key.as_deref()
            },
            migration: self.migration_key.as_deref(),
        }
    }
}

/// What a server does when a machine says that it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterShutdown {
    /// It ends too, as swtpm does.
    #[default]
    End,
    /// It waits for the next machine. The TPM is switched off and on again, and started if a kind is given, so that clients
    /// without a machine find it as they did before.
    PowerCycle(Option<StartupKind>),
}

/// Where clients come from.
#[derive(Debug, Default)]
pub struct Endpoints {
    /// Accepts data connections.
    pub data_listener: Option<Listener>,
    /// A data connection that is open already.
    pub data_client: Option<Stream>,
    /// Accepts control connections.
    pub control_listener: Option<Listener>,
    /// A control connection that is open already.
    pub control_client: Option<Stream>,
}

/// The server of one device.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    device: Device,
    options: Options,
    stop: watch::Sender<bool>,
    data_connections: Arc<Connections>,
    /// The connection whose descriptor came over the control channel: at most one.
    passed: Mutex<Passed>,
    passed_arrived: tokio::sync::Notify,
    /// How many control connections there have been, and which of them, by that count, is that of the attached machine.
    control_connections: AtomicU64,
    machine: AtomicU64,
    no_accept: Gate,
    nonsense: Gate,
}

#[derive(Default)]
enum Passed {
    #[default]
    None,
    Waiting(Stream),
    Served,
}

/// A descriptor that cannot become the data channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotAttached {
    AlreadyThere,
    NotASocket,
}

impl Server {
    /// A server for `device`.
    pub fn new(device: Device, options: Options) -> Self {
        let shared = Shared {
            device,
            options,
            stop: watch::Sender::new(false),
            data_connections: Connections::new(MOST_DATA_CONNECTIONS),
            passed: Mutex::default(),
            passed_arrived: tokio::sync::Notify::new(),
            control_connections: AtomicU64::new(0),
            machine: AtomicU64::new(NO_MACHINE),
            no_accept: Gate::default(),
            nonsense: Gate::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Ends [`Server::serve`] once the commands that run at present are answered.
    pub fn stop(&self) {
        self.shared.stop.send_replace(true);
    }

    pub(crate) fn device(&self) -> &Device {
        &self.shared.device
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Whether the log is to hear of a client's nonsense now.
    pub(crate) fn nonsense_is_news(&self) -> bool {
        self.shared.nonsense.opens()
    }

    /// Serves clients until one asks for the end, or the options or the program say so.
    pub async fn serve(&self, endpoints: Endpoints) {
        let mut clients = JoinSet::new();
        if let Some(stream) = endpoints.data_client {
            clients.spawn(self.clone().serve_attached(stream));
        }
        if let Some(stream) = endpoints.control_client {
            let wire = Wire::new(stream, None, self.shared.stop.subscribe());
            clients.spawn(serve_control(self.clone(), wire));
        }
        let control_connections = Connections::new(MOST_CONTROL_CONNECTIONS);
        let mut stop = self.shared.stop.subscribe();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = clients.join_next() => {}
                () = self.shared.passed_arrived.notified() => {
                    if let Some(stream) = self.take_passed() {
                        clients.spawn(self.clone().serve_passed(stream));
                    }
                }
                accepted = accept(endpoints.data_listener.as_ref()) => match accepted {
                    Ok(stream) => {
                        let wire = Wire::new(stream, Some(self.shared.data_connections.admit()), self.shared.stop.subscribe());
                        clients.spawn(self.clone().serve_connected(wire));
                    }
                    Err(error) => after_failed_accept(&error, &self.shared.no_accept).await,
                },
                accepted = accept(endpoints.control_listener.as_ref()) => match accepted {
                    Ok(stream) => {
                        let wire = Wire::new(stream, Some(control_connections.admit()), self.shared.stop.subscribe());
                        clients.spawn(serve_control(self.clone(), wire));
                    }
                    Err(error) => after_failed_accept(&error, &self.shared.no_accept).await,
                },
            }
        }
        // Nobody is cut off in the middle of a command.
        while clients.join_next().await.is_some() {}
    }

    /// The number of a new control connection.
    pub(crate) fn number_control(&self) -> u64 {
        let before = self
            .shared
            .control_connections
            .fetch_add(1, Ordering::Relaxed);
        before.wrapping_add(1)
    }

    /// Whether a machine is attached by another control connection than this one, which is still open.
    pub(crate) fn has_another_machine(&self, control: u64) -> bool {
        let machine = self.shared.machine.load(Ordering::Acquire);
        machine != NO_MACHINE && machine != control
    }

    /// This control connection has ended.
    pub(crate) fn control_ended(&self, control: u64) {
        let _ = self.shared.machine.compare_exchange(
            control,
            NO_MACHINE,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// Makes a descriptor that came over a control connection the data channel.
    pub(crate) fn attach(&self, descriptor: OwnedFd, control: u64) -> Result<(), NotAttached> {
        let mut passed = self
            .shared
            .passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !matches!(*passed, Passed::None) {
            return Err(NotAttached::AlreadyThere);
        }
        let stream = Stream::from_descriptor(descriptor).map_err(|_| NotAttached::NotASocket)?;
        *passed = Passed::Waiting(stream);
        self.shared.machine.store(control, Ordering::Release);
        self.shared.passed_arrived.notify_one();
        Ok(())
    }

    fn take_passed(&self) -> Option<Stream> {
        let mut passed = self
            .shared
            .passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *passed, Passed::Served) {
            Passed::Waiting(stream) => Some(stream),
            other => {
                *passed = other;
                None
            }
        }
    }

    async fn serve_passed(self, stream: Stream) {
        self.clone().serve_attached(stream).await;
        *self
            .shared
            .passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Passed::None;
    }

    /// Serves a connection that stands for the wire between a machine and its TPM: it is not given up for the nonsense of a guest.
    async fn serve_attached(self, stream: Stream) {
        let wire = Wire::new(stream, None, self.shared.stop.subscribe());
        self.serve_data(wire, AfterNonsense::GoOn).await;
    }

    async fn serve_connected(self, wire: Wire) {
        self.serve_data(wire, AfterNonsense::Close).await;
    }

    async fn serve_data(self, mut wire: Wire, after_nonsense: AfterNonsense) {
        let mut answer = Zeroizing::new(Vec::new());
        loop {
            answer.clear();
            let mut wiped = None;
            let longest = self.device().signals().longest_command();
            match cut(wire.waiting(), longest) {
                Cut::Incomplete => match wire.more().await {
                    Ok(true) => continue,
                    Ok(false) => break,
                    Err(error)
                        if error.kind() == std::io::ErrorKind::TimedOut
                            && after_nonsense == AfterNonsense::GoOn =>
                    {
                        if self.nonsense_is_news() {
                            tracing::warn!(
                                "part of a command arrived and no more: it is answered as it is"
                            );
                        }
                        if wire.clear().is_err() {
                            break;
                        }
                        answer.extend(bare_response(rc::COMMAND_SIZE));
                    }
                    Err(error) => {
                        if self.nonsense_is_news() {
                            tracing::warn!(%error, "closed a data connection in the middle of a command");
                        }
                        break;
                    }
                },
                Cut::Broken { size } => {
                    if self.nonsense_is_news() {
                        tracing::warn!(size, "a command announces a size that none has");
                    }
                    answer.extend(bare_response(rc::COMMAND_SIZE));
                    // What a machine sent in one piece has arrived in one piece; over a network nothing can be known.
                    if after_nonsense == AfterNonsense::Close {
                        // Whether the client hears why it is cut off is its own affair.
                        let _ = wire.send(&answer).await;
                        break;
                    }
                    if wire.clear().is_err() {
                        break;
                    }
                }
                Cut::Command {
                    command,
                    locality,
                    taken,
                } => {
                    wiped = self.execute(command, locality, &mut answer).await;
                    wire.take(taken);
                    if answer.is_empty() {
                        // The power failed, and whoever waits for the answer shall not wait for ever.
                        break;
                    }
                }
            }
            if let Err(error) = wire.send_before(wiped, &answer).await {
                tracing::debug!(%error, "a client left before its answer");
                break;
            }
            if self.options().disconnect {
                break;
            }
        }
        wire.close().await;
        if self.options().end_with_data {
            self.stop();
        }
    }

    /// Answers a command; the stack is wiped when what this returns is dropped.
    async fn execute(
        &self,
        command: &[u8],
        locality: Option<u8>,
        answer: &mut Vec<u8>,
    ) -> Option<WipedStack> {
        let Some(locality) = locality else {
            return self.execute_bare(command, None, answer).await;
        };
        answer.extend([0; 4]);
        let wiped = if self.options().accepts_locality(locality) {
            self.execute_bare(command, Some(locality), answer).await
        } else {
            answer.extend(bare_response(rc::LOCALITY));
            None
        };
        if answer.len() == 4 {
            answer.clear();
            return wiped;
        }
        let length = u32::try_from(answer.len().saturating_sub(4)).unwrap_or(0);
        for (to, from) in answer.iter_mut().zip(length.to_be_bytes()) {
            *to = from;
        }
        answer.extend([0; 4]);
        wiped
    }

    async fn execute_bare(
        &self,
        command: &[u8],
        locality: Option<u8>,
        answer: &mut Vec<u8>,
    ) -> Option<WipedStack> {
        if command_code(command) != Some(SET_LOCALITY) {
            let device = self.device();
            return device.execute_and_leave(command, locality, answer).await;
        }
        let code = match command.get(10) {
            _ if !self.device().is_on() => rc::FAILURE,
            None => rc::INSUFFICIENT,
            Some(_) if !self.options().allow_set_locality => rc::FAILURE,
            Some(locality) if !self.options().accepts_locality(*locality) => rc::LOCALITY,
            Some(locality) => {
                self.device().set_locality(*locality).await;
                rc::SUCCESS
            }
        };
        answer.extend(bare_response(code));
        None
    }
}

/// What becomes of a connection whose commands cannot be told apart any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterNonsense {
    Close,
    GoOn,
}

async fn accept(listener: Option<&Listener>) -> std::io::Result<Stream> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        COMMAND_SIZE, FAILURE, GET_RANDOM, INITIALIZE, READ_CLOCK, STARTUP, SUCCESS, World, ask,
        expect, is_closed, pcr_extend, pcr_read, read,
    };
    use std::io::{Read as _, Write as _};
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    const LOCALITY_ERROR: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 9, 7];

    fn connected(server: &Server) -> UnixStream {
        let (client, stream) = UnixStream::pair().unwrap();
        let ticket = server.shared.data_connections.admit();
        let wire = Wire::new(
            Stream::Unix(stream),
            Some(ticket),
            server.shared.stop.subscribe(),
        );
        tokio::spawn(server.clone().serve_connected(wire));
        client
    }

    fn attached(server: &Server) -> UnixStream {
        let (client, stream) = UnixStream::pair().unwrap();
        tokio::spawn(server.clone().serve_attached(Stream::Unix(stream)));
        client
    }

    async fn started(options: Options) -> Server {
        Server::new(World::default().started().await, options)
    }

    #[tokio::test]
    async fn qemu_finds_a_tpm_before_it_has_power() {
        let server = Server::new(World::default().device(), Options::default());
        expect(&mut attached(&server), &READ_CLOCK, &FAILURE).await;
    }

    #[tokio::test]
    async fn a_connection_carries_many_commands_and_commands_many_connections() {
        let server = started(Options::default()).await;
        let mut client = connected(&server);
        for _ in 0..3 {
            assert_eq!(ask(&mut client, &GET_RANDOM).await.len(), 20);
            assert_eq!(ask(&mut connected(&server), &GET_RANDOM).await.len(), 20);
        }
        expect(
            &mut client,
            &[STARTUP, STARTUP].concat(),
            &[INITIALIZE, INITIALIZE].concat(),
        )
        .await;
    }

    #[tokio::test]
    async fn commands_arrive_in_any_pieces() {
        let server = started(Options::default()).await;
        let mut client = connected(&server);
        for byte in GET_RANDOM {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(read(&mut client, 20).await[..2], [0x80, 1]);
    }

    #[tokio::test]
    async fn a_lying_size_is_answered_and_only_a_machine_stays_connected() {
        let server = started(Options::default()).await;
        for size in [[0xff; 4], [0; 4], [0, 0, 0, 9]] {
            let mut command = GET_RANDOM;
            command[2..6].copy_from_slice(&size);
            let mut client = connected(&server);
            expect(&mut client, &command, &COMMAND_SIZE).await;
            assert!(is_closed(&mut client).await);
            let mut machine = attached(&server);
            expect(&mut machine, &command, &COMMAND_SIZE).await;
            expect(&mut machine, &STARTUP, &INITIALIZE).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_command_does_not_wait_for_ever() {
        let server = started(Options::default()).await;
        let mut client = connected(&server);
        client.write_all(&GET_RANDOM[..7]).await.unwrap();
        assert!(is_closed(&mut client).await);
        let mut machine = attached(&server);
        expect(&mut machine, &GET_RANDOM[..5], &COMMAND_SIZE).await;
        expect(&mut machine, &STARTUP, &INITIALIZE).await;
    }

    #[tokio::test]
    async fn the_tcg_header_is_answered_in_kind_and_sets_the_locality() {
        let server = started(Options::default()).await;
        let mut client = connected(&server);
        let framed = |locality: u8, command: &[u8]| {
            [&[0, 0, 0, 8, locality, 0, 0, 0, 12][..], command].concat()
        };
        let answer = |response: &[u8]| [&[0, 0, 0, 10], response, &[0; 4]].concat();
        expect(&mut client, &framed(2, &STARTUP), &answer(&INITIALIZE)).await;
        assert_eq!(server.device().signals().locality(), 2);
        expect(&mut client, &framed(5, &STARTUP), &answer(&LOCALITY_ERROR)).await;
        assert_eq!(server.device().signals().locality(), 2);
    }

    #[tokio::test]
    async fn the_proxy_command_needs_leave() {
        let set = |locality: u8| [0x80, 1, 0, 0, 0, 11, 0x20, 0, 0x10, 0, locality];
        let server = started(Options::default()).await;
        expect(&mut connected(&server), &set(1), &FAILURE).await;
        let server = started(Options {
            allow_set_locality: true,
            reject_locality_4: true,
            ..Options::default()
        })
        .await;
        let mut client = connected(&server);
        expect(&mut client, &set(3), &SUCCESS).await;
        assert_eq!(server.device().signals().locality(), 3);
        expect(&mut client, &set(4), &LOCALITY_ERROR).await;
        expect(&mut client, &set(5), &LOCALITY_ERROR).await;
        expect(
            &mut client,
            &[0x80, 1, 0, 0, 0, 10, 0x20, 0, 0x10, 0],
            &[0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0x9a],
        )
        .await;
    }

    #[tokio::test]
    async fn five_hundred_silent_clients_keep_nobody_out() {
        let server = started(Options::default()).await;
        let silent: Vec<UnixStream> = (0..500).map(|_| connected(&server)).collect();
        assert_eq!(ask(&mut connected(&server), &GET_RANDOM).await.len(), 20);
        drop(silent);
    }

    #[tokio::test]
    async fn a_client_that_never_reads_keeps_nobody_waiting() {
        let server = started(Options::default()).await;
        let greedy = connected(&server);
        let flood = GET_RANDOM.repeat(1000);
        while greedy.try_write(&flood).is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&mut connected(&server), &GET_RANDOM).await.len(), 20);
    }

    /// How often the thread of a server asks for memory for one connection, over which each short command comes so many times.
    fn allocations(times: usize) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(started(Options::default()));
        let (mut client, stream) = std::os::unix::net::UnixStream::pair().unwrap();
        let asking = std::thread::spawn(move || {
            let commands = [GET_RANDOM.to_vec(), pcr_read(), pcr_extend()];
            for command in commands.iter().cycle().take(3 * times) {
                client.write_all(command).unwrap();
                let mut answer = [0; 4096];
                let length = client.read(&mut answer).unwrap();
                assert_eq!(answer[6..10], [0; 4], "{:?}", &answer[..length]);
            }
        });
        let counted = allocation_counter::measure(|| {
            runtime.block_on(async {
                let stream = Stream::from_descriptor(stream.into()).unwrap();
                server.serve_attached(stream).await;
            });
        });
        asking.join().unwrap();
        counted.count_total
    }

    #[test]
    fn a_short_command_asks_for_no_memory() {
        let (few, many) = (allocations(10), allocations(500));
        assert!(
            many < few + 49,
            "1,470 more commands made {few} allocations {many}"
        );
    }

    #[tokio::test]
    async fn one_answer_and_the_end_where_that_is_asked_for() {
        let server = started(Options {
            disconnect: true,
            end_with_data: true,
            ..Options::default()
        })
        .await;
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(Endpoints::default()).await }
        });
        let mut client = connected(&server);
        expect(&mut client, &STARTUP, &INITIALIZE).await;
        assert!(is_closed(&mut client).await);
        serving.await.unwrap();
    }
}
