//! A TPM client of few words: frames built by hand, so that tests can also build wrong ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// TPM_CC_Startup and the other command codes that tests send by hand.
pub(crate) const NV_UNDEFINE_SPACE: u32 = 0x122;
pub(crate) const NV_DEFINE_SPACE: u32 = 0x12a;
pub(crate) const CREATE_PRIMARY: u32 = 0x131;
pub(crate) const NV_INCREMENT: u32 = 0x134;
pub(crate) const NV_WRITE: u32 = 0x137;
pub(crate) const STARTUP: u32 = 0x144;
pub(crate) const NV_READ: u32 = 0x14e;
pub(crate) const START_AUTH_SESSION: u32 = 0x176;
pub(crate) const GET_RANDOM: u32 = 0x17b;

/// The owner hierarchy.
pub(crate) const OWNER: u32 = 0x4000_0001;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const PASSWORD: u32 = 0x4000_0009;

/// Bytes in the making; integers are big-endian, as everything that a TPM reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn new() -> Self {
        Self::default()
    }
    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }
    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
    /// A TPM2B: length, then content.
    pub(crate) fn sized(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).expect("at most 65535 bytes");
        self.u16(length).raw(bytes)
    }
}

/// A command without sessions.
pub(crate) fn command(code: u32, handles_and_parameters: &Bytes) -> Vec<u8> {
    frame(NO_SESSIONS, code, &handles_and_parameters.0)
}

/// A command with one password per handle that needs one.
pub(crate) fn authorized(
    code: u32,
    handles: &[u32],
    passwords: &[&[u8]],
    parameters: &Bytes,
) -> Vec<u8> {
    let mut area = Bytes::new();
    for password in passwords {
        // No nonce, continueSession, the password in the place of the HMAC.
        area = area.u32(PASSWORD).sized(b"").u8(1).sized(password);
    }
    let mut body = Bytes::new();
    for &handle in handles {
        body = body.u32(handle);
    }
    let length = u32::try_from(area.0.len()).expect("small");
    let body = body.u32(length).raw(&area.0).raw(&parameters.0);
    frame(SESSIONS, code, &body.0)
}

/// A frame with an honest length.
pub(crate) fn frame(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(10 + body.len()).expect("small");
    Bytes::new().u16(tag).u32(length).u32(code).raw(body).0
}

/// TPM2_Startup(CLEAR).
pub(crate) fn startup() -> Vec<u8> {
    command(STARTUP, &Bytes::new().u16(0))
}

/// TPM2_GetRandom.
pub(crate) fn get_random(count: u16) -> Vec<u8> {
    command(GET_RANDOM, &Bytes::new().u16(count))
}

/// Creates a primary RSA key of 4096 bits, which nobody does in no time.
pub(crate) fn create_long_key(unique: u8) -> Vec<u8> {
    let public = Bytes::new()
        .u16(1)
        .u16(0x0b)
        .u32(0x0003_0472)
        .sized(b"")
        .u16(6)
        .u16(128)
        .u16(0x43)
        .u16(0x10)
        .u16(4096)
        .u32(0)
        .sized(&[unique; 512]);
    let parameters = Bytes::new()
        .sized(&Bytes::new().sized(b"").sized(b"").0)
        .sized(&public.0)
        .sized(b"")
        .u32(0);
    authorized(0x131, &[OWNER], &[b""], &parameters)
}

/// TPM2_NV_DefineSpace of an index that its own (empty) password and the owner read and write.
pub(crate) fn nv_define(index: u32, kind: NvKind, size: u16, password: &[u8]) -> Vec<u8> {
    const OWNERWRITE: u32 = 1 << 1;
    const AUTHWRITE: u32 = 1 << 2;
    const OWNERREAD: u32 = 1 << 17;
    const AUTHREAD: u32 = 1 << 18;
    const NO_DA: u32 = 1 << 25;
    let kind = match kind {
        NvKind::Ordinary => 0,
        NvKind::Counter => 1 << 4,
    };
    let public = Bytes::new()
        .u32(index)
        .u16(0x000b)
        .u32(OWNERWRITE | AUTHWRITE | OWNERREAD | AUTHREAD | NO_DA | kind)
        .sized(b"")
        .u16(size);
    let parameters = Bytes::new().sized(password).sized(&public.0);
    authorized(NV_DEFINE_SPACE, &[OWNER], &[b""], &parameters)
}

/// What an NV index is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NvKind {
    Ordinary,
    Counter,
}

/// TPM2_NV_Write at offset 0 with the index's own password.
pub(crate) fn nv_write(index: u32, password: &[u8], bytes: &[u8]) -> Vec<u8> {
    let parameters = Bytes::new().sized(bytes).u16(0);
    authorized(NV_WRITE, &[index, index], &[password], &parameters)
}

/// TPM2_NV_Increment with the index's own password.
pub(crate) fn nv_increment(index: u32, password: &[u8]) -> Vec<u8> {
    authorized(NV_INCREMENT, &[index, index], &[password], &Bytes::new())
}

/// TPM2_NV_Read from offset 0 with the index's own password.
pub(crate) fn nv_read(index: u32, password: &[u8], count: u16) -> Vec<u8> {
    let parameters = Bytes::new().u16(count).u16(0);
    authorized(NV_READ, &[index, index], &[password], &parameters)
}

/// TPM2_StartAuthSession of an HMAC session that is neither salted nor bound.
pub(crate) fn start_auth_session() -> Vec<u8> {
    const RH_NULL: u32 = 0x4000_0007;
    let body = Bytes::new().u32(RH_NULL).u32(RH_NULL).sized(&[0x5a; 16]);
    let body = body.sized(b"").u8(0).u16(0x0010).u16(0x000b);
    command(START_AUTH_SESSION, &body)
}

/// TPM2_NV_UndefineSpace by the owner.
pub(crate) fn nv_undefine(index: u32) -> Vec<u8> {
    authorized(NV_UNDEFINE_SPACE, &[OWNER, index], &[b""], &Bytes::new())
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response(pub(crate) Vec<u8>);

impl Response {
    /// The response code.
    pub(crate) fn code(&self) -> u32 {
        u32::from_be_bytes(self.0[6..10].try_into().expect("four bytes"))
    }

    /// What follows the header, when there are no sessions.
    pub(crate) fn body(&self) -> &[u8] {
        &self.0[10..]
    }

    /// The first TPM2B of the parameters, whether there are sessions (a parameter size comes first) or not.
    pub(crate) fn first_buffer(&self) -> &[u8] {
        assert_eq!(self.code(), 0, "{self:?}");
        let parameters = if self.0[..2] == SESSIONS.to_be_bytes() {
            &self.body()[4..]
        } else {
            self.body()
        };
        let length = u16::from_be_bytes([parameters[0], parameters[1]]);
        &parameters[2..][..usize::from(length)]
    }

    /// Fails unless header and length are those of a response.
    pub(crate) fn assert_well_formed(&self) {
        let tag = u16::from_be_bytes([self.0[0], self.0[1]]);
        assert!(tag == NO_SESSIONS || tag == SESSIONS, "the tag of {self:?}");
        let length = u32::from_be_bytes(self.0[2..6].try_into().expect("four bytes"));
        assert_eq!(usize::try_from(length).ok(), Some(self.0.len()));
        if self.code() != 0 {
            assert_eq!(self.0.len(), 10, "an error is a header and nothing else");
        }
    }
}

/// What came back for some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A response, checked to be well formed.
    Response(Response),
    /// The server closed the connection.
    Closed,
    /// Neither within the time given.
    Silence,
}

/// A data-channel connection: raw frames, nothing else.
#[derive(Debug)]
pub(crate) struct RawTpm<Stream = TcpStream>(pub(crate) Stream);

impl RawTpm<UnixStream> {
    /// Connects to a unix socket.
    pub(crate) fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the server accepts");
        stream
            .set_read_timeout(Some(super::PATIENCE))
            .expect("a timeout");
        RawTpm(stream)
    }
}

impl RawTpm {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("no delay");
        stream
            .set_read_timeout(Some(super::PATIENCE))
            .expect("a timeout");
        stream
            .set_write_timeout(Some(super::PATIENCE))
            .expect("a timeout");
        RawTpm(stream)
    }

    /// Sends arbitrary bytes and says what came of them.
    pub(crate) fn provoke(&mut self, bytes: &[u8], wait: Duration) -> Answer {
        super::write_what_it_takes(&mut self.0, bytes);
        self.answer(wait)
    }

    /// The next answer.
    pub(crate) fn answer(&mut self, wait: Duration) -> Answer {
        self.0.set_read_timeout(Some(wait)).expect("a timeout");
        let mut header = [0; 10];
        let mut got = 0;
        while got < header.len() {
            match self.0.read(&mut header[got..]) {
                Ok(0) => {
                    assert_eq!(got, 0, "cut in the middle of a response");
                    return Answer::Closed;
                }
                Ok(more) => got += more,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    assert_eq!(got, 0, "half a response");
                    return Answer::Silence;
                }
                Err(_) => return Answer::Closed,
            }
        }
        let length = u32::from_be_bytes(header[2..6].try_into().expect("four bytes"));
        let length = usize::try_from(length).expect("a usize");
        assert!((10..=65536).contains(&length), "{header:02x?}");
        let mut response = header.to_vec();
        response.resize(length, 0);
        self.0
            .read_exact(&mut response[10..])
            .expect("the rest of the response");
        let response = Response(response);
        response.assert_well_formed();
        Answer::Response(response)
    }
}

impl<Stream: Read + Write> RawTpm<Stream> {
    /// One command, one response; an error when the connection breaks.
    pub(crate) fn try_execute(&mut self, command: &[u8]) -> std::io::Result<Response> {
        self.0.write_all(command)?;
        let mut response = vec![0; 10];
        self.0.read_exact(&mut response)?;
        let length = u32::from_be_bytes(response[2..6].try_into().expect("four bytes"));
        let length = usize::try_from(length).expect("a usize");
        assert!((10..=65536).contains(&length), "{response:?}");
        response.resize(length, 0);
        self.0.read_exact(&mut response[10..])?;
        let response = Response(response);
        response.assert_well_formed();
        Ok(response)
    }

    /// One command, one response.
    pub(crate) fn execute(&mut self, command: &[u8]) -> Response {
        self.try_execute(command).expect("a response")
    }

    /// One command that has to succeed.
    pub(crate) fn ok(&mut self, command: &[u8]) -> Response {
        let response = self.execute(command);
        assert_eq!(
            response.code(),
            0,
            "{:#x} to {command:02x?}",
            response.code()
        );
        response
    }
}
