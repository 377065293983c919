//! The ABI as C uses it: through the function pointers of a context in memory that the caller reserved.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::ptr::{null, null_mut};

use super::*;

const GET_RANDOM: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
/// An RSA 4096 storage key under the owner: takes long enough to be waited for.
const CREATE_RSA: [u8; 67] = [
    0x80, 2, 0, 0, 0, 67, 0, 0, 1, 0x31, 0x40, 0, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0,
    0, 4, 0, 0, 0, 0, 0, 0x1a, 0, 1, 0, 0x0b, 0, 3, 4, 0x72, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10,
    0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// A context and the memory that it lives in.
struct Caller {
    context: *mut Context,
    layout: Layout,
}

impl Caller {
    fn init(config: &str) -> Result<Self, u32> {
        let config = CString::new(config).unwrap();
        let mut size = 0;
        // SAFETY: the size is valid, and no context is asked for yet.
        let code = unsafe { Tss2_Tcti_Vtpm_Init(null_mut(), &raw mut size, null()) };
        assert_eq!(code, SUCCESS);
        let layout = Layout::from_size_align(size, 16).unwrap();
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let context = memory.cast::<Context>();
        // SAFETY: there are as many bytes as the library asked for.
        let code = unsafe { Tss2_Tcti_Vtpm_Init(context, &raw mut size, config.as_ptr()) };
        let caller = Self { context, layout };
        if code == SUCCESS {
            Ok(caller)
        } else {
            Err(code)
        }
    }

    fn kept(folder: &Path) -> Self {
        Self::init(&format!("dir={}", folder.display())).unwrap()
    }

    fn functions(&self) -> &Context {
        // SAFETY: it was initialised, and no function of it runs.
        unsafe { &*self.context }
    }

    fn transmit(&self, command: &[u8]) -> u32 {
        let function = self.functions().transmit;
        // SAFETY: the context lives, and the command is as long as it says.
        unsafe { function(self.context, command.len(), command.as_ptr()) }
    }

    fn receive(&self, room: usize, timeout: i32) -> Result<Vec<u8>, (u32, usize)> {
        let function = self.functions().receive;
        let (mut size, mut bytes) = (room, vec![0; room]);
        // SAFETY: the context lives, and there is as much room as the size says.
        let code = unsafe { function(self.context, &raw mut size, bytes.as_mut_ptr(), timeout) };
        if code != SUCCESS {
            return Err((code, size));
        }
        bytes.truncate(size);
        Ok(bytes)
    }

    fn run(&self, command: &[u8]) -> Vec<u8> {
        assert_eq!(self.transmit(command), SUCCESS);
        self.receive(4096, -1).unwrap()
    }

    fn cancel(&self) -> u32 {
        let function = self.functions().cancel;
        // SAFETY: the context lives.
        unsafe { function(self.context) }
    }

    fn set_locality(&self, locality: u8) -> u32 {
        let function = self.functions().set_locality;
        // SAFETY: the context lives.
        unsafe { function(self.context, locality) }
    }

    fn bell(&self) -> RawFd {
        let function = self.functions().get_poll_handles;
        let mut count = 0;
        // SAFETY: the context and the number are valid, and no handle is asked for yet.
        let code = unsafe { function(self.context, null_mut(), &raw mut count) };
        assert_eq!((code, count), (SUCCESS, 1));
        let mut handle = PollHandle {
            descriptor: -1,
            events: 0,
            returned: 0,
        };
        // SAFETY: the context lives, and there is room for one handle.
        let code = unsafe { function(self.context, &raw mut handle, &raw mut count) };
        assert_eq!((code, count, handle.events), (SUCCESS, 1, POLLIN));
        handle.descriptor
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // SAFETY: the memory is zero, or holds a context that may be finalized.
        unsafe { finalize(self.context) };
        // SAFETY: it was reserved with this layout, and no context lives there any more.
        unsafe { dealloc(self.context.cast(), self.layout) };
    }
}

#[test]
fn a_loader_learns_name_and_version() {
    // SAFETY: the library's own information is always there.
    let info = unsafe { &*Tss2_Tcti_Info() };
    assert_eq!(info.version, 2);
    // SAFETY: it is a string literal.
    let name = unsafe { CStr::from_ptr(info.name) };
    assert_eq!(name, c"tcti-vtpm");
}

#[test]
fn the_context_is_laid_out_as_the_header_of_tss2_says() {
    let word = size_of::<usize>();
    assert_eq!(std::mem::offset_of!(Context, version), 8);
    assert_eq!(std::mem::offset_of!(Context, transmit), 16);
    assert_eq!(std::mem::offset_of!(Context, receive), 16 + word);
    assert_eq!(std::mem::offset_of!(Context, set_locality), 16 + 5 * word);
    assert_eq!(std::mem::offset_of!(Context, make_sticky), 16 + 6 * word);
}

#[test]
fn commands_are_answered_once_and_one_at_a_time() {
    let caller = Caller::init("").unwrap();
    assert_eq!(caller.receive(4096, 0), Err((TctiRc::BAD_SEQUENCE.0, 4096)));
    assert_eq!(caller.transmit(&GET_RANDOM), SUCCESS);
    assert_eq!(caller.transmit(&GET_RANDOM), TctiRc::BAD_SEQUENCE.0);
    assert_eq!(caller.set_locality(1), TctiRc::BAD_SEQUENCE.0);
    // Too little room is told, with how much it takes, and nothing is lost.
    let refused = caller.receive(19, -1);
    assert_eq!(refused, Err((TctiRc::INSUFFICIENT_BUFFER.0, 20)));
    let mut size = 0;
    // SAFETY: the context lives, and no place for the response is given.
    let code = unsafe { receive(caller.context, &raw mut size, null_mut(), -1) };
    assert_eq!((code, size), (SUCCESS, 20));
    let first = caller.receive(4096, -1).unwrap();
    assert_eq!(first.len(), 20);
    assert_eq!(
        caller.receive(4096, 0).unwrap_err().0,
        TctiRc::BAD_SEQUENCE.0
    );
    assert_ne!(caller.run(&GET_RANDOM), first);
}

#[test]
fn it_has_had_its_startup() {
    let caller = Caller::init("").unwrap();
    assert_eq!(caller.run(&STARTUP), [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0]);
}

#[test]
fn commands_whose_size_is_not_theirs_are_bad_values() {
    let caller = Caller::init("").unwrap();
    for wrong in [&GET_RANDOM[..11], &GET_RANDOM[..9], &[], &[0xff; 4096]] {
        assert_eq!(caller.transmit(wrong), TctiRc::BAD_VALUE.0);
    }
    assert_eq!(caller.run(&GET_RANDOM).len(), 20);
}

#[test]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one reason holds for all of these calls"
)]
fn null_pointers_are_refused() {
    let caller = Caller::init("").unwrap();
    // SAFETY: the functions check what is null; everything else is valid.
    let codes = unsafe {
        [
            Tss2_Tcti_Vtpm_Init(null_mut(), null_mut(), null()),
            transmit(null_mut(), 12, GET_RANDOM.as_ptr()),
            transmit(caller.context, 12, null()),
            receive(null_mut(), null_mut(), null_mut(), -1),
            receive(caller.context, null_mut(), null_mut(), -1),
            cancel(null_mut()),
            set_locality(null_mut(), 0),
            get_poll_handles(null_mut(), null_mut(), null_mut()),
            get_poll_handles(caller.context, null_mut(), null_mut()),
            make_sticky(null_mut(), null_mut(), 0),
            make_sticky(caller.context, null_mut(), 0),
        ]
    };
    let expected = [
        TctiRc::BAD_VALUE,
        TctiRc::BAD_CONTEXT,
        TctiRc::BAD_REFERENCE,
        TctiRc::BAD_CONTEXT,
        TctiRc::BAD_REFERENCE,
        TctiRc::BAD_CONTEXT,
        TctiRc::BAD_CONTEXT,
        TctiRc::BAD_CONTEXT,
        TctiRc::BAD_REFERENCE,
        TctiRc::BAD_CONTEXT,
        TctiRc::NOT_IMPLEMENTED,
    ];
    assert_eq!(codes, expected.map(|rc| rc.0));
    // SAFETY: nothing is there.
    unsafe { finalize(null_mut()) };
}

#[test]
fn a_wrong_configuration_and_too_little_memory_are_bad_values() {
    for wrong in ["port=1", "seed=x", "dir="] {
        assert_eq!(Caller::init(wrong).err(), Some(TctiRc::BAD_VALUE.0));
    }
    let mut size = size_of::<Context>() - 1;
    let mut room = [0_u64; 32];
    // SAFETY: there is more memory than the size says.
    let code = unsafe { Tss2_Tcti_Vtpm_Init(room.as_mut_ptr().cast(), &raw mut size, null()) };
    assert_eq!(code, TctiRc::BAD_VALUE.0);
}

#[test]
fn localities_from_5_to_31_do_not_exist() {
    let caller = Caller::init("").unwrap();
    for (locality, code) in [(0, SUCCESS), (4, SUCCESS), (32, SUCCESS), (255, SUCCESS)] {
        assert_eq!(caller.set_locality(locality), code);
    }
    for locality in [5, 31] {
        assert_eq!(caller.set_locality(locality), TctiRc::BAD_VALUE.0);
    }
}

#[test]
fn the_locality_reaches_the_tpm() {
    // PCR_Reset of PCR 20, which localities 2 and up may do.
    let reset = [
        0x80, 2, 0, 0, 0, 27, 0, 0, 1, 0x3d, 0, 0, 0, 20, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0,
    ];
    let caller = Caller::init("").unwrap();
    assert_eq!(caller.run(&reset)[6..], [0, 0, 9, 7]);
    assert_eq!(caller.set_locality(2), SUCCESS);
    assert_eq!(caller.run(&reset)[6..10], [0, 0, 0, 0]);
}

#[test]
fn a_long_command_can_be_waited_for_and_canceled() {
    let caller = Caller::init("").unwrap();
    assert_eq!(caller.cancel(), TctiRc::BAD_SEQUENCE.0);
    // Which numbers are prime cannot be known: should one key be found at once, another is asked for.
    let canceled = (0..32).any(|_| {
        let caller = Caller::init("").unwrap();
        assert_eq!(caller.transmit(&CREATE_RSA), SUCCESS);
        assert_eq!(caller.cancel(), SUCCESS);
        let canceled = caller.receive(4096, -1).unwrap()[6..] == [0, 0, 9, 9];
        assert_eq!(
            caller.run(&GET_RANDOM).len(),
            20,
            "the next is not canceled"
        );
        canceled
    });
    assert!(canceled);

    let waited = (0..32).any(|_| {
        let caller = Caller::init("").unwrap();
        assert_eq!(caller.transmit(&CREATE_RSA), SUCCESS);
        let mut tries = 0_u32;
        let response = loop {
            match caller.receive(4096, 10) {
                Err((code, _)) => assert_eq!(code, TctiRc::TRY_AGAIN.0),
                Ok(response) => break response,
            }
            tries += 1;
        };
        assert_eq!(response[6..10], [0, 0, 0, 0]);
        tries > 0
    });
    assert!(waited, "it took no time at all");
    assert_eq!(caller.receive(4096, -2).unwrap_err().0, TctiRc::BAD_VALUE.0);
}

#[test]
fn the_poll_handle_is_readable_while_there_is_a_response() {
    let caller = Caller::init("").unwrap();
    // SAFETY: the descriptor is open as long as the context lives.
    let bell = unsafe { BorrowedFd::borrow_raw(caller.bell()) };
    let waiting = || rustix::io::ioctl_fionread(bell).unwrap();
    assert_eq!(waiting(), 0);
    assert_eq!(caller.transmit(&GET_RANDOM), SUCCESS);
    assert_eq!(waiting(), 1);
    caller.receive(4096, -1).unwrap();
    assert_eq!(waiting(), 0);
    // More commands than the pipe would hold bytes, if they stayed.
    for _ in 0..70_000 {
        assert_eq!(caller.transmit(&STARTUP), SUCCESS);
        caller.receive(10, -1).unwrap();
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let first = |config| Caller::init(config).unwrap().run(&GET_RANDOM);
    assert_eq!(first("seed=7"), first("seed=7"));
    assert_ne!(first("seed=7"), first("seed=8"));
    assert_ne!(first(""), first(""));
}

#[test]
fn a_kept_tpm_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tpm");
    let extend = [
        &[0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, 16, 0, 0, 0, 9][..],
        &[0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x0b],
        &[7; 32],
    ]
    .concat();
    let read = [
        0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0x0b, 3, 0, 0, 1,
    ];
    let caller = Caller::kept(&path);
    assert_eq!(caller.run(&extend)[6..10], [0; 4]);
    let before = caller.run(&read);
    drop(caller);
    let caller = Caller::kept(&path);
    assert_eq!(caller.run(&read), before);
    // A process that dies without saying goodbye is the power cut.
    // SAFETY: the context lives, and nothing else uses it.
    drop(unsafe { &mut *caller.context }.connection.take());
    drop(caller);
    let caller = Caller::kept(&path);
    let after = caller.run(&read);
    assert_ne!(after, before);
    assert!(after.ends_with(&[0; 32]));
}

#[test]
fn a_profile_is_for_a_tpm_that_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("profile=pc-client,dir={}", folder.path().display());
    drop(Caller::init(&config).unwrap());
    drop(Caller::init(&config).unwrap());
}

#[test]
fn a_folder_that_is_no_state_is_an_io_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tpm")).unwrap();
    let config = format!("dir={}", folder.path().display());
    assert_eq!(Caller::init(&config).err(), Some(TctiRc::IO_ERROR.0));
}

#[test]
fn panics_stay_inside() {
    let code = guarded(|| panic!("a defect"));
    assert_eq!(code, TctiRc::GENERAL_FAILURE.0);
}
