use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::*;
use crate::blob::BlobKey;
use crate::device::StartupKind;
use crate::stream::{Listener, Stream};
use crate::swtpm::{AfterShutdown, Endpoints, Options};
use crate::testing::{
    COMMAND_SIZE, FAILURE, GET_RANDOM, INITIALIZE, READ_CLOCK, STARTUP, SUCCESS, World, ask,
    expect, is_closed, pcr_extend, pcr_read, read,
};

const OK: [u8; 4] = [0; 4];
const BAD_PARAMETER: [u8; 4] = [0, 0, 0, 3];
const BAD_ORDINAL: [u8; 4] = [0, 0, 0, 0x0a];

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A server that runs, and its control connection.
struct Machine {
    server: Server,
    control: UnixStream,
    serving: JoinHandle<()>,
}

impl Machine {
    fn new(world: &World) -> Self {
        Self::with(world, Options::default())
    }

    fn with(world: &World, options: Options) -> Self {
        let server = Server::new(world.device(), options);
        let (control, stream) = UnixStream::pair().unwrap();
        let endpoints = Endpoints {
            control_client: Some(Stream::Unix(stream)),
            ..Endpoints::default()
        };
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(endpoints).await }
        });
        Self {
            server,
            control,
            serving,
        }
    }

    async fn expect(&mut self, request: &[u32], answer: &[u32]) {
        expect(&mut self.control, &words(request), &words(answer)).await;
    }

    /// Attaches a data channel as QEMU does.
    async fn data(&mut self) -> UnixStream {
        let (client, passed) = UnixStream::pair().unwrap();
        send_descriptor(&self.control, &words(&[16]), &passed).await;
        assert_eq!(read(&mut self.control, 4).await, OK);
        client
    }

    async fn blob(&mut self, flags: u32, kind: u32) -> (u32, Vec<u8>) {
        self.control
            .write_all(&words(&[12, flags, kind, 0]))
            .await
            .unwrap();
        let header = read(&mut self.control, 16).await;
        assert_eq!(header[..4], OK);
        assert_eq!(
            header[8..12],
            header[12..],
            "QEMU wants a blob in one piece"
        );
        let length = u32::from_be_bytes(header[12..].try_into().unwrap());
        (
            u32::from_be_bytes(header[4..8].try_into().unwrap()),
            read(&mut self.control, length as usize).await,
        )
    }

    async fn set_blob(&mut self, flags: u32, kind: u32, blob: &[u8], answer: &[u8]) {
        let length = u32::try_from(blob.len()).unwrap();
        // QEMU writes header and body one after the other.
        self.control
            .write_all(&words(&[13, flags, kind, length]))
            .await
            .unwrap();
        expect(&mut self.control, blob, answer).await;
    }
}

async fn send_descriptor(control: &UnixStream, bytes: &[u8], descriptor: &impl AsFd) {
    let passed = [descriptor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&passed)));
    control.writable().await.unwrap();
    sendmsg(
        control,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::empty(),
    )
    .unwrap();
}

#[tokio::test]
async fn qemus_start_and_reset() {
    let mut machine = Machine::new(&World::default());
    let mut data = machine.data().await;
    expect(&mut data, &READ_CLOCK, &FAILURE).await;
    machine.expect(&[1], &[0, 0x1_ffff]).await;
    for _ in 0..2 {
        machine.expect(&[14], &[0]).await;
        machine.control.write_all(&words(&[17, 0])).await.unwrap();
        let sizes = read(&mut machine.control, 16).await;
        assert_eq!(sizes[..4], OK);
        let in_use = u32::from_be_bytes(sizes[4..8].try_into().unwrap());
        assert!(
            in_use == 0xf80 || sizes[4..8] == sizes[12..],
            "at first the largest, then what was chosen"
        );
        machine.expect(&[14], &[0]).await;
        machine
            .control
            .write_all(&words(&[17, 0xf80]))
            .await
            .unwrap();
        assert_eq!(
            read(&mut machine.control, 16).await[..8],
            [0, 0, 0, 0, 0, 0, 0x0f, 0x80]
        );
        machine.expect(&[2, 0], &[0]).await;
        machine.expect(&[4], &[0, 0]).await;
        expect(&mut machine.control, &[0, 0, 0, 5, 0, 0, 0, 0], &OK).await;
        expect(&mut data, &STARTUP, &SUCCESS).await;
        assert_eq!(ask(&mut data, &GET_RANDOM).await.len(), 20);
    }
    machine.expect(&[3], &[0]).await;
    machine.serving.await.unwrap();
    assert!(is_closed(&mut data).await);
}

#[tokio::test]
async fn a_second_machine_cannot_take_the_power_from_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::new(World::default().device(), Options::default());
    let endpoints = Endpoints {
        control_listener: Some(Listener::Unix(listener)),
        ..Endpoints::default()
    };
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(endpoints).await }
    });
    let mut first = UnixStream::connect(&path).await.unwrap();
    let (mut data, passed) = UnixStream::pair().unwrap();
    send_descriptor(&first, &words(&[16]), &passed).await;
    assert_eq!(read(&mut first, 4).await, OK);
    expect(&mut first, &words(&[2, 0]), &OK).await;
    expect(&mut data, &STARTUP, &SUCCESS).await;

    let mut second = UnixStream::connect(&path).await.unwrap();
    send_descriptor(&second, &words(&[16]), &passed).await;
    assert_eq!(read(&mut second, 4).await, [0, 0, 0, 0x1f]);
    for power in [&[14][..], &[2, 0], &[3]] {
        expect(&mut second, &words(power), &[0, 0, 0, 9]).await;
    }
    expect(&mut data, &STARTUP, &INITIALIZE).await;

    // Once its control connection is gone it says nothing any more, whoever else comes.
    drop((first, data));
    loop {
        second.write_all(&words(&[3])).await.unwrap();
        if read(&mut second, 4).await == OK {
            break;
        }
        tokio::task::yield_now().await;
    }
    serving.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_can_leave_the_tpm_for_the_next_machine() {
    let options = Options {
        after_shutdown: AfterShutdown::PowerCycle(Some(StartupKind::Clear)),
        ..Options::default()
    };
    let mut machine = Machine::with(&World::default(), options);
    let mut data = machine.data().await;
    machine.expect(&[14], &[0]).await;
    machine
        .control
        .write_all(&words(&[17, 0xf80]))
        .await
        .unwrap();
    read(&mut machine.control, 16).await;
    machine.expect(&[2, 0], &[0]).await;
    expect(&mut data, &STARTUP, &SUCCESS).await;
    let at_first = ask(&mut data, &pcr_read()).await;
    ask(&mut data, &pcr_extend()).await;
    machine.expect(&[3], &[0]).await;
    drop(data);

    // The TPM is as it was before a machine came: started, with the PCR and the buffers of the beginning.
    machine.control.write_all(&words(&[17, 0])).await.unwrap();
    let sizes = read(&mut machine.control, 16).await;
    assert_eq!(sizes[4..8], sizes[12..], "the largest again");
    let (mut data, passed) = UnixStream::pair().unwrap();
    loop {
        send_descriptor(&machine.control, &words(&[16]), &passed).await;
        if read(&mut machine.control, 4).await == OK {
            break;
        }
        // The end of the first machine's channel has not been noticed yet.
        tokio::task::yield_now().await;
    }
    expect(&mut data, &STARTUP, &INITIALIZE).await;
    let header = 10..14;
    let mut again = ask(&mut data, &pcr_read()).await;
    again[header.clone()].copy_from_slice(&at_first[header]);
    assert_eq!(again, at_first, "all but the counter of changes");
}

#[tokio::test]
async fn what_needs_a_running_tpm_says_so_in_the_right_size() {
    let mut machine = Machine::new(&World::default());
    for request in [&[6][..], &[7, 0], &[8], &[9], &[10]] {
        expect(&mut machine.control, &words(request), &BAD_ORDINAL).await;
    }
    expect(&mut machine.control, &[0, 0, 0, 11, 0], &BAD_ORDINAL).await;
    machine.expect(&[4], &[0, 0]).await;
    for kind in 1..5 {
        machine.expect(&[12, 1, kind, 0], &[0x0a, 0, 0, 0]).await;
    }
}

#[tokio::test]
async fn what_needs_a_stopped_tpm_says_so() {
    let mut machine = Machine::new(&World::default());
    machine.expect(&[2, 0], &[0]).await;
    expect(&mut machine.control, &words(&[17, 4096]), &BAD_ORDINAL).await;
    machine.set_blob(0, 1, b"whatever", &BAD_ORDINAL).await;
    machine.control.write_all(&words(&[17, 0])).await.unwrap();
    assert_eq!(
        read(&mut machine.control, 16).await[..4],
        OK,
        "asking is always allowed"
    );
}

#[tokio::test]
async fn wrong_sizes_are_bad_parameters_and_keep_the_channel_in_step() {
    let mut machine = Machine::new(&World::default());
    for request in [&[2, 0, 0][..], &[14, 0], &[3, 0], &[15, 1]] {
        expect(&mut machine.control, &words(request), &BAD_PARAMETER).await;
    }
    machine.expect(&[4, 0], &[3, 0]).await;
    machine.expect(&[99], &[0x0a]).await;
    machine.expect(&[0, 1, 2, 3], &[0x0a]).await;
    machine.expect(&[1, 7], &[0, 0x1_ffff]).await;
    machine.expect(&[15], &[0, 0]).await;
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_given_up_after_half_a_second() {
    let mut machine = Machine::new(&World::default());
    let begin = tokio::time::Instant::now();
    machine.control.write_all(&[0, 0, 0, 2, 0]).await.unwrap();
    assert!(is_closed(&mut machine.control).await);
    assert!(begin.elapsed() < Duration::from_millis(600));
    assert!(!machine.serving.is_finished());
}

#[tokio::test]
async fn localities() {
    let mut machine = Machine::with(
        &World::default(),
        Options {
            reject_locality_4: true,
            ..Options::default()
        },
    );
    expect(&mut machine.control, &[0, 0, 0, 5, 3], &OK).await;
    expect(&mut machine.control, &[0, 0, 0, 5, 4], &[0, 0, 0, 0x3d]).await;
    expect(
        &mut machine.control,
        &[0, 0, 0, 5, 5, 0, 0, 0],
        &[0, 0, 0, 0x3d],
    )
    .await;
    assert_eq!(machine.server.device().signals().locality(), 3);
    machine.expect(&[2, 0], &[0]).await;
    assert_eq!(
        machine.server.device().signals().locality(),
        3,
        "QEMU does not send it again after a reset"
    );
    expect(&mut machine.control, &[0, 0, 0, 11, 5], &[0, 0, 0, 0x3d]).await;
}

#[tokio::test]
async fn a_second_data_channel_is_refused_and_the_first_goes_on() {
    let mut machine = Machine::new(&World::default());
    let mut data = machine.data().await;
    let (_client, passed) = UnixStream::pair().unwrap();
    send_descriptor(&machine.control, &words(&[16]), &passed).await;
    assert_eq!(read(&mut machine.control, 4).await, [0, 0, 0, 0x1f]);
    expect(&mut data, &READ_CLOCK, &FAILURE).await;
    drop(data);
    // Once the first is gone there may be another.
    loop {
        let (mut client, passed) = UnixStream::pair().unwrap();
        send_descriptor(&machine.control, &words(&[16]), &passed).await;
        drop(passed);
        if read(&mut machine.control, 4).await == OK {
            expect(&mut client, &READ_CLOCK, &FAILURE).await;
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_not_a_socket_does_not_become_the_data_channel() {
    let mut machine = Machine::new(&World::default());
    machine.expect(&[16], &[3]).await;
    let file = tempfile::tempfile().unwrap();
    send_descriptor(&machine.control, &words(&[16]), &file).await;
    assert_eq!(read(&mut machine.control, 4).await, BAD_PARAMETER);
}

#[tokio::test]
async fn measured_launch() {
    let mut machine = Machine::new(&World::default());
    let mut data = machine.data().await;
    machine.expect(&[2, 0], &[0]).await;
    expect(&mut data, &STARTUP, &SUCCESS).await;
    machine.expect(&[4], &[0, 0]).await;
    expect(&mut machine.control, &[0, 0, 0, 5, 4], &OK).await;
    machine.expect(&[6], &[0]).await;
    let piece = [1; 6000];
    machine.control.write_all(&words(&[7, 6000])).await.unwrap();
    expect(&mut machine.control, &piece, &OK).await;
    machine.expect(&[8], &[0]).await;
    expect(&mut machine.control, &[0, 0, 0, 5, 0], &OK).await;
    machine.control.write_all(&words(&[4])).await.unwrap();
    assert_eq!(
        read(&mut machine.control, 8).await,
        [0, 0, 0, 0, 1, 0, 0, 0]
    );
}

/// QEMU's savevm, then loadvm in the same and in a new process.
#[tokio::test]
async fn a_snapshot_goes_on_where_it_was_taken() {
    let world = World::default();
    let mut machine = Machine::new(&world);
    let mut data = machine.data().await;
    machine.expect(&[2, 0], &[0]).await;
    expect(&mut data, &STARTUP, &SUCCESS).await;
    ask(&mut data, &pcr_extend()).await;
    let pcr = ask(&mut data, &pcr_read()).await;
    let (_, permanent) = machine.blob(1, 1).await;
    let (_, volatile) = machine.blob(1, 2).await;
    machine.expect(&[12, 1, 3, 0], &[0x800, 0, 0, 0]).await;
    machine.expect(&[19, 300], &[0]).await;
    let random = ask(&mut data, &GET_RANDOM).await;
    ask(&mut data, &pcr_extend()).await;

    let mut fresh = Machine::new(&World::default());
    let mut fresh_data = fresh.data().await;
    for (machine, data) in [(&mut machine, &mut data), (&mut fresh, &mut fresh_data)] {
        machine.expect(&[14], &[0]).await;
        machine.set_blob(0, 1, &permanent, &OK).await;
        machine.set_blob(0, 2, &volatile, &OK).await;
        machine.expect(&[2, 1], &[0]).await;
        assert_eq!(ask(data, &pcr_read()).await, pcr);
        assert_ne!(
            ask(data, &GET_RANDOM).await,
            random,
            "random output never repeats"
        );
        machine.expect(&[2, 0], &[0]).await;
        expect(data, &pcr_read(), &INITIALIZE).await;
    }
}

#[tokio::test]
async fn a_blob_that_is_wrong_is_refused_and_the_present_state_stays() {
    let (world, other) = (World::default(), World::default());
    let mut machine = Machine::new(&world);
    machine.expect(&[2, 0], &[0]).await;
    expect(&mut machine.data().await, &STARTUP, &SUCCESS).await;
    let (_, permanent) = machine.blob(1, 1).await;
    let (_, volatile) = machine.blob(1, 2).await;
    // Entropy is scripted: another draw makes another TPM.
    other.entropy.store(1 << 20, Ordering::Relaxed);
    let mut stranger = Machine::new(&other);
    stranger.expect(&[2, 0], &[0]).await;
    expect(&mut stranger.data().await, &STARTUP, &SUCCESS).await;
    let (_, foreign) = stranger.blob(1, 1).await;
    let (_, foreign_volatile) = stranger.blob(1, 2).await;
    machine.expect(&[14], &[0]).await;
    let before = world.stored();
    for blob in [
        &permanent[..permanent.len() - 1],
        &permanent[1..],
        &volatile,
        &foreign,
        b"x",
    ] {
        machine.set_blob(0, 1, blob, &BAD_PARAMETER).await;
    }
    let mut altered = permanent.clone();
    *altered.last_mut().unwrap() ^= 1;
    machine.set_blob(0, 1, &altered, &BAD_PARAMETER).await;
    machine.set_blob(0, 2, &permanent, &BAD_PARAMETER).await;
    machine
        .set_blob(0, 2, &foreign_volatile, &BAD_PARAMETER)
        .await;
    machine.set_blob(0, 4, &permanent, &BAD_PARAMETER).await;
    machine.set_blob(0, 3, &[], &OK).await;
    assert_eq!(world.stored(), before);
    machine.expect(&[2, 0], &[0]).await;
}

/// What prepares a host for a machine that is to arrive may have manufactured a TPM and started it once.
#[tokio::test]
async fn a_tpm_that_nobody_would_miss_makes_room_for_one_that_arrives() {
    let (source, target) = (World::default(), World::default());
    let mut machine = Machine::new(&source);
    machine.expect(&[2, 0], &[0]).await;
    expect(&mut machine.data().await, &STARTUP, &SUCCESS).await;
    let (_, permanent) = machine.blob(1, 1).await;
    target.entropy.store(1 << 20, Ordering::Relaxed);
    target.started().await.close().await;
    let mut arriving = Machine::new(&target);
    arriving.set_blob(0, 1, &permanent, &OK).await;
    arriving.expect(&[2, 0], &[0]).await;
    expect(&mut arriving.data().await, &STARTUP, &SUCCESS).await;
    arriving.expect(&[14], &[0]).await;
    let (second, third) = (World::default(), target);
    second.entropy.store(1 << 21, Ordering::Relaxed);
    let mut other = Machine::new(&second);
    other.expect(&[2, 0], &[0]).await;
    let (_, foreign) = other.blob(1, 1).await;
    let mut later = Machine::new(&third);
    later.set_blob(0, 1, &foreign, &BAD_PARAMETER).await;
    arriving.set_blob(0, 1, &foreign, &BAD_PARAMETER).await;
}

#[tokio::test]
async fn a_blob_of_unreasonable_length_closes_the_channel_at_once() {
    let mut machine = Machine::new(&World::default());
    expect(
        &mut machine.control,
        &words(&[13, 0, 1, u32::MAX]),
        &[0, 0, 0, 9],
    )
    .await;
    assert!(is_closed(&mut machine.control).await);
    assert!(!machine.serving.is_finished());
}

#[tokio::test]
async fn a_blob_can_be_read_in_pieces() {
    let mut machine = Machine::new(&World::default());
    machine.expect(&[2, 0], &[0]).await;
    let (_, whole) = machine.blob(1, 1).await;
    let rest = u32::try_from(whole.len()).unwrap() - 5;
    machine
        .expect(&[12, 1, 1, 5][..], &[0, 0, rest, rest])
        .await;
    assert_eq!(read(&mut machine.control, rest as usize).await, whole[5..]);
    machine.expect(&[12, 1, 1, u32::MAX], &[0, 0, 0, 0]).await;
}

fn blob_key(byte: u8) -> Option<Arc<BlobKey>> {
    Some(Arc::new(BlobKey::new(Zeroizing::new(vec![byte; 16]))))
}

#[tokio::test]
async fn keys_seal_what_leaves() {
    let options = |key: u8| Options {
        file_key: blob_key(0x55),
        migration_key: blob_key(key),
        ..Options::default()
    };
    let world = World::default();
    let mut machine = Machine::with(&world, options(1));
    machine.expect(&[15], &[0, 3]).await;
    machine.expect(&[2, 0], &[0]).await;
    let (flags, decrypted) = machine.blob(1, 1).await;
    assert_eq!(flags, 0, "the flag speaks of the file key");
    let (flags, encrypted) = machine.blob(0, 1).await;
    assert_eq!(flags, 2);
    let stored = world.stored().unwrap().permanent;
    for blob in [&decrypted, &encrypted] {
        assert!(
            !blob
                .windows(stored.len())
                .any(|window| window == stored.as_slice())
        );
    }
    machine.expect(&[14], &[0]).await;
    machine.set_blob(0, 1, &decrypted, &OK).await;
    machine.set_blob(2, 1, &encrypted, &OK).await;
    let mut other = Machine::with(&World::default(), options(2));
    other.set_blob(0, 1, &decrypted, &[0, 0, 0, 0x21]).await;
    let mut keyless = Machine::new(&World::default());
    keyless.set_blob(0, 1, &decrypted, &[0, 0, 0, 0x0d]).await;
}

#[tokio::test]
async fn facts_as_json() {
    let mut machine = Machine::new(&World::default());
    machine
        .control
        .write_all(&words(&[18, 0, 3, 0, 0]))
        .await
        .unwrap();
    let header = read(&mut machine.control, 12).await;
    assert_eq!(header[..4], OK);
    assert_eq!(header[4..8], header[8..]);
    let length = u32::from_be_bytes(header[8..].try_into().unwrap());
    let text = read(&mut machine.control, length as usize).await;
    assert_eq!(text.last(), Some(&0));
    let text = String::from_utf8(text).unwrap();
    for part in [
        r#""TPMSpecification":{"family":""#,
        r#""level":0,"revision":"#,
        r#""TPMAttributes":{"manufacturer":"id:"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("TPMFeatures"), "not asked for");
    machine.expect(&[18, 0, 3, length, 0], &[3]).await;
}

#[tokio::test]
async fn outgoing_migration_releases_the_storage_and_a_resumed_machine_takes_it_back() {
    let world = World::default();
    let mut machine = Machine::with(
        &world,
        Options {
            release_lock_outgoing: true,
            ..Options::default()
        },
    );
    machine.expect(&[2, 0], &[0]).await;
    machine.expect(&[12, 1, 3, 0], &[0x800, 0, 0, 0]).await;
    world
        .locked_by_another
        .store(true, std::sync::atomic::Ordering::SeqCst);
    machine.expect(&[19, 1], &[9]).await;
    world
        .locked_by_another
        .store(false, std::sync::atomic::Ordering::SeqCst);
    machine.expect(&[19, 1], &[0]).await;
}

#[tokio::test]
async fn clients_of_both_listeners_are_served_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let (data_path, control_path) = (folder.path().join("data"), folder.path().join("control"));
    let endpoints = Endpoints {
        data_listener: Some(Listener::Unix(UnixListener::bind(&data_path).unwrap())),
        control_listener: Some(Listener::Unix(UnixListener::bind(&control_path).unwrap())),
        ..Endpoints::default()
    };
    let server = Server::new(World::default().started().await, Options::default());
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(endpoints).await }
    });
    let mut idle = UnixStream::connect(&control_path).await.unwrap();
    // tpm2-tss: a connection for each command, and one that never sends a byte.
    let silent = UnixStream::connect(&data_path).await.unwrap();
    for _ in 0..3 {
        expect(
            &mut UnixStream::connect(&control_path).await.unwrap(),
            &[0, 0, 0, 5, 0],
            &OK,
        )
        .await;
        expect(
            &mut UnixStream::connect(&data_path).await.unwrap(),
            &STARTUP,
            &INITIALIZE,
        )
        .await;
    }
    let mut broken = UnixStream::connect(&data_path).await.unwrap();
    expect(&mut broken, &[0xff; 16], &COMMAND_SIZE).await;
    drop(silent);
    expect(&mut idle, &words(&[3]), &OK).await;
    serving.await.unwrap();
}
