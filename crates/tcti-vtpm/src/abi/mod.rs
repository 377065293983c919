//! The C ABI (TCG TSS 2.0 TCTI specification, 3.2 and 3.3).
//!
//! Every function checks the pointers that it can check, and catches panics: a caller in C gets a response code, whatever happens.

use std::ffi::{CStr, c_char, c_short};
use std::io::Write;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::config::HELP;
use crate::connection::Connection;
use crate::rc::{SUCCESS, TctiRc};

/// Marks a context as ours: "vtpmTCTI".
const MAGIC: u64 = 0x7674_706d_5443_5449;
/// The version of the interface.
const VERSION: u32 = 2;
const POLLIN: c_short = 1;

/// What stands at the address that the caller reserved for a context (`TSS2_TCTI_CONTEXT_COMMON_V2`, and what is ours).
#[repr(C)]
pub struct Context {
    magic: u64,
    version: u32,
    transmit: unsafe extern "C" fn(*mut Context, usize, *const u8) -> u32,
    receive: unsafe extern "C" fn(*mut Context, *mut usize, *mut u8, i32) -> u32,
    finalize: unsafe extern "C" fn(*mut Context),
    cancel: unsafe extern "C" fn(*mut Context) -> u32,
    get_poll_handles: unsafe extern "C" fn(*mut Context, *mut PollHandle, *mut usize) -> u32,
    set_locality: unsafe extern "C" fn(*mut Context, u8) -> u32,
    make_sticky: unsafe extern "C" fn(*mut Context, *mut u32, u8) -> u32,
    connection: Option<Box<Connection>>,
}

/// `struct pollfd`.
#[repr(C)]
struct PollHandle {
    descriptor: RawFd,
    events: c_short,
    returned: c_short,
}

/// What a loader learns about the library (`TSS2_TCTI_INFO`).
#[repr(C)]
pub struct Info {
    version: u32,
    name: *const c_char,
    description: *const c_char,
    config_help: *const c_char,
    init: unsafe extern "C" fn(*mut Context, *mut usize, *const c_char) -> u32,
}

// SAFETY: the pointers are to string literals, which nobody writes to.
unsafe impl Sync for Info {}

static INFO: Info = Info {
    version: VERSION,
    name: c"tcti-vtpm".as_ptr(),
    description: c"A TPM in the process of its user".as_ptr(),
    config_help: HELP.as_ptr(),
    init: Tss2_Tcti_Vtpm_Init,
};

/// Tells a loader what this library is (TCTI specification, 3.4).
#[unsafe(no_mangle)]
pub extern "C" fn Tss2_Tcti_Info() -> *const Info {
    &raw const INFO
}

/// Tells how much memory a context takes, or makes one there: a TPM that has power and has had its Startup.
///
/// # Safety
/// `size` is null or writable. `context` is null, or `*size` bytes there are writable, aligned for any type, and hold no live
/// context. `config` is null or ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Tss2_Tcti_Vtpm_Init(
    context: *mut Context,
    size: *mut usize,
    config: *const c_char,
) -> u32 {
    guarded(|| {
        if size.is_null() {
            return Err(TctiRc::BAD_VALUE);
        }
        // SAFETY: it is not null, so the caller promises that it is valid.
        let size = unsafe { &mut *size };
        if context.is_null() {
            *size = size_of::<Context>();
            return Ok(());
        }
        if *size < size_of::<Context>() || !context.is_aligned() {
            return Err(TctiRc::BAD_VALUE);
        }
        let config = if config.is_null() {
            c""
        } else {
            // SAFETY: it is not null, so the caller promises that it is a string.
            unsafe { CStr::from_ptr(config) }
        };
        let config = config.to_str().map_err(|_| TctiRc::BAD_VALUE)?;
        let connection = Connection::open(config).map_err(|failed| {
            complain(&failed.reason);
            failed.rc
        })?;
        let made = Context {
            magic: MAGIC,
            version: VERSION,
            transmit,
            receive,
            finalize,
            cancel,
            get_poll_handles,
            set_locality,
            make_sticky,
            connection: Some(Box::new(connection)),
        };
        // SAFETY: there is room for it and it is aligned, as was checked; what is there is not live, as the caller promises.
        unsafe { context.write(made) };
        Ok(())
    })
}

/// Tells the person in front of the program, as tpm2-tss does, unless its log is switched off.
pub(crate) fn complain(reason: &str) {
    let silent = std::env::var("TSS2_LOG").is_ok_and(|levels| {
        levels
            .to_ascii_lowercase()
            .split(',')
            .any(|level| matches!(level, "all+none" | "tcti+none"))
    });
    if !silent {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(std::io::stderr(), "ERROR:tcti:vtpm: {reason}");
    }
}

fn guarded(action: impl FnOnce() -> Result<(), TctiRc>) -> u32 {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(Ok(())) => SUCCESS,
        Ok(Err(TctiRc(code))) => code,
        Err(_) => TctiRc::GENERAL_FAILURE.0,
    }
}

/// The context at an address.
///
/// # Safety
/// `context` is null, or points to at least a magic number, and to a whole context of this library if that is ours; no other
/// reference to it exists.
unsafe fn checked<'a>(context: *mut Context) -> Result<&'a mut Context, TctiRc> {
    if context.is_null() || !context.is_aligned() {
        return Err(TctiRc::BAD_CONTEXT);
    }
    // SAFETY: every context begins with a magic number, as the caller promises.
    let magic = unsafe { context.cast::<u64>().read() };
    if magic != MAGIC {
        return Err(TctiRc::BAD_CONTEXT);
    }
    // SAFETY: it is one of ours, as its magic number says, and nobody else uses it, as the caller promises.
    Ok(unsafe { &mut *context })
}

impl Context {
    fn connection(&mut self) -> Result<&mut Connection, TctiRc> {
        self.connection.as_deref_mut().ok_or(TctiRc::BAD_CONTEXT)
    }
}

/// Sends a command (TCTI specification, 3.2.5.2).
unsafe extern "C" fn transmit(context: *mut Context, size: usize, command: *const u8) -> u32 {
    guarded(|| {
        // SAFETY: as the caller of a function of the context promises.
        let connection = unsafe { checked(context) }?.connection()?;
        if command.is_null() {
            return Err(TctiRc::BAD_REFERENCE);
        }
        if isize::try_from(size).is_err() {
            return Err(TctiRc::BAD_VALUE);
        }
        // SAFETY: it is not null, so the caller promises that so many bytes can be read there.
        connection.transmit(unsafe { std::slice::from_raw_parts(command, size) })
    })
}

/// Takes the response, or tells its size if there is no place for it yet (TCTI specification, 3.2.5.3).
unsafe extern "C" fn receive(
    context: *mut Context,
    size: *mut usize,
    response: *mut u8,
    timeout: i32,
) -> u32 {
    guarded(|| {
        // SAFETY: as the caller of a function of the context promises.
        let connection = unsafe { checked(context) }?.connection()?;
        if size.is_null() {
            return Err(TctiRc::BAD_REFERENCE);
        }
        // SAFETY: it is not null, so the caller promises that it is valid.
        let size = unsafe { &mut *size };
        let answer = connection.response(timeout)?;
        let room = std::mem::replace(size, answer.len());
        if response.is_null() {
            return Ok(());
        }
        if room < answer.len() {
            return Err(TctiRc::INSUFFICIENT_BUFFER);
        }
        // SAFETY: the caller promises `room` writable bytes, which are enough; the answer is memory of our own.
        unsafe { response.copy_from_nonoverlapping(answer.as_ptr(), answer.len()) };
        connection.received()
    })
}

/// Gives the TPM up (TCTI specification, 3.2.5.4).
unsafe extern "C" fn finalize(context: *mut Context) {
    guarded(|| {
        // SAFETY: as the caller of a function of the context promises.
        let context = unsafe { checked(context) }?;
        let connection = context.connection.take().ok_or(TctiRc::BAD_CONTEXT)?;
        context.magic = 0;
        connection.close();
        Ok(())
    });
}

/// Asks for the running command to be given up (TCTI specification, 3.2.5.5).
unsafe extern "C" fn cancel(context: *mut Context) -> u32 {
    guarded(|| {
        // SAFETY: as the caller of a function of the context promises.
        unsafe { checked(context) }?.connection()?.cancel()
    })
}

/// Tells what to poll for the response (TCTI specification, 3.2.5.6).
unsafe extern "C" fn get_poll_handles(
    context: *mut Context,
    handles: *mut PollHandle,
    count: *mut usize,
) -> u32 {
    guarded(|| {
        // SAFETY: as the caller of a function of the context promises.
        let connection = unsafe { checked(context) }?.connection()?;
        if count.is_null() {
            return Err(TctiRc::BAD_REFERENCE);
        }
        // SAFETY: it is not null, so the caller promises that it is valid.
        let count = unsafe { &mut *count };
        let room = std::mem::replace(count, 1);
        if handles.is_null() {
            return Ok(());
        }
        if room < 1 {
            return Err(TctiRc::INSUFFICIENT_BUFFER);
        }
        let handle = PollHandle {
            descriptor: connection.bell(),
            events: POLLIN,
            returned: 0,
        };
        // SAFETY: the caller promises room for at least one.
        unsafe { handles.write(handle) };
        Ok(())
    })
}

/// Chooses the locality of the commands to come (TCTI specification, 3.2.5.7).
unsafe extern "C" fn set_locality(context: *mut Context, locality: u8) -> u32 {
    guarded(|| {
        // SAFETY: as the caller of a function of the context promises.
        unsafe { checked(context) }?
            .connection()?
            .set_locality(locality)
    })
}

/// For resource managers, of which this is none (TCTI specification, 3.2.5.8).
unsafe extern "C" fn make_sticky(context: *mut Context, _handle: *mut u32, _sticky: u8) -> u32 {
    guarded(|| {
        // SAFETY: as the caller of a function of the context promises.
        unsafe { checked(context) }?;
        Err(TctiRc::NOT_IMPLEMENTED)
    })
}

#[cfg(test)]
mod tests;
