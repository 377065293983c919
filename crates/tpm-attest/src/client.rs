//! Commands for a TPM as values, and responses back, over anything that carries bytes.

use std::io;

use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::{TpmaNv, TpmaSession};
use tpm_wire::buffers::{Tpm2b, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bMaxNvBuffer, Tpm2bNonce};
use tpm_wire::capability::TpmsCapabilityData;
use tpm_wire::codec::{Input, Limits, Marshal, Parse};
use tpm_wire::commands::{
    CreatePrimary, CreatePrimaryResponse, EvictControl, FlushContext, GetCapability, NvDefineSpace,
    NvRead, NvReadPublic, NvUndefineSpace, NvWrite, NvWriteLock,
};
use tpm_wire::constants::{TpmCap, TpmPt, TpmSt};
use tpm_wire::frame::{HEADER_SIZE, Header, TpmsAuthCommand};
use tpm_wire::handles::{
    TpmHandle, TpmiDhContext, TpmiDhObject, TpmiDhPersistent, TpmiRhHierarchy, TpmiRhNvAuth,
    TpmiRhNvDefinedIndex, TpmiRhNvIndex, TpmiRhProvision, TpmiShAuthSession,
};
use tpm_wire::nv::{NvDataSize, Tpm2bNvPublic, TpmsNvPublic};
use tpm_wire::object::{Tpm2bPublic, TpmsSensitiveCreate, TpmtPublic};
use tpm_wire::pcr::TpmlPcrSelection;
use tpm_wire::rc::Rc;
use tpm_wire::table::{Command, Response};

use crate::Error;

/// Carries commands to one TPM: an engine in this process, a socket, the TPM of a VM. Any function that does so is one.
pub trait Transmit {
    /// Sends one whole command and gives the whole response.
    ///
    /// # Errors
    /// If the command could not be sent or nothing came back.
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

impl<F: FnMut(&[u8]) -> io::Result<Vec<u8>>> Transmit for F {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self(command)
    }
}

/// What a certificate in NV memory may be used for: anyone reads it, the platform writes it, and it goes with no reset; the same
/// attributes as swtpm's.
const CERTIFICATE_ATTRIBUTES: TpmaNv = TpmaNv::PLATFORMCREATE
    .with(TpmaNv::AUTHREAD)
    .with(TpmaNv::OWNERREAD)
    .with(TpmaNv::PPREAD)
    .with(TpmaNv::PPWRITE)
    .with(TpmaNv::NO_DA)
    .with(TpmaNv::WRITEDEFINE);
/// Bytes of an NV Index in one command that every TPM takes.
const USUAL_NV_PIECE: usize = 512;

/// A TPM whose hierarchies have empty authorization values, as they have when it is made.
#[derive(Debug)]
pub struct Client<T> {
    transmit: T,
    nv_piece: Option<usize>,
}

impl<T: Transmit> Client<T> {
    /// The TPM behind `transmit`, which must have been started.
    pub const fn new(transmit: T) -> Self {
        Self {
            transmit,
            nv_piece: None,
        }
    }

    /// The connection alone.
    pub fn into_transmit(self) -> T {
        self.transmit
    }

    /// Executes a command; what needs authorization is authorized with an empty password.
    ///
    /// # Errors
    /// [`Error::Refused`] with the response code, or why there is none.
    pub fn run<C: Command>(&mut self, command: &C) -> Result<C::Response, Error> {
        self.run_for(command, String::new)
    }

    /// Executes a command that these sessions authorize: sessions without a key of their own, as policy sessions are, or the password
    /// session with an empty password.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn run_authorized<C: Command>(
        &mut self,
        command: &C,
        sessions: &[TpmHandle],
    ) -> Result<C::Response, Error> {
        let response = self.transmit.transmit(&frame(command, sessions)?)?;
        unframe::<C>(&response)?.map_err(|code| Error::Refused {
            command: C::INFO.name,
            about: String::new(),
            code,
        })
    }

    /// The same as [`Client::run`]; `about` says for the error what the command was for.
    fn run_for<C: Command>(
        &mut self,
        command: &C,
        about: impl FnOnce() -> String,
    ) -> Result<C::Response, Error> {
        let response = self.transmit.transmit(&frame(command, &[])?)?;
        match unframe::<C>(&response)? {
            Ok(response) => Ok(response),
            Err(code) => Err(Error::Refused {
                command: C::INFO.name,
                about: about(),
                code,
            }),
        }
    }

    /// One fixed or variable property; `None` if the TPM has none of that name.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn property(&mut self, property: TpmPt) -> Result<Option<u32>, Error> {
        let answer = self.run(&GetCapability {
            capability: TpmCap::TPM_PROPERTIES,
            property: property.0,
            property_count: 1,
        })?;
        Ok(match answer.capability_data {
            TpmsCapabilityData::TpmProperties(list) => list
                .iter()
                .find(|entry| entry.property == property)
                .map(|entry| entry.value),
            _ => None,
        })
    }

    /// Makes a primary key, without authorization value and creation data.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn create_primary(
        &mut self,
        hierarchy: TpmHandle,
        template: &TpmtPublic,
    ) -> Result<CreatePrimaryResponse, Error> {
        self.run(&CreatePrimary {
            primary_handle: Some(TpmiRhHierarchy(hierarchy)),
            in_sensitive: Tpm2b(TpmsSensitiveCreate {
                user_auth: Tpm2bAuth::EMPTY,
                data: Default::default(),
            }),
            in_public: Tpm2bPublic(template.clone()),
            outside_info: Tpm2bData::EMPTY,
            creation_pcr: TpmlPcrSelection::new(),
        })
    }

    /// Makes a loaded object of the storage or endorsement hierarchy persistent and gives its slot free.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn make_persistent(
        &mut self,
        object: TpmHandle,
        persistent: TpmHandle,
    ) -> Result<(), Error> {
        let command = EvictControl {
            auth: TpmiRhProvision(TpmHandle::OWNER),
            object_handle: TpmiDhObject(object),
            persistent_handle: TpmiDhPersistent(persistent),
        };
        self.run_for(&command, || format!(" to {:#010x}", persistent.0))?;
        self.flush(object)
    }

    /// Gives the slot of a loaded object free.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn flush(&mut self, object: TpmHandle) -> Result<(), Error> {
        let flush_handle = TpmiDhContext(object);
        self.run(&FlushContext { flush_handle }).map(drop)
    }

    /// Defines an NV Index of the platform that everyone can read, writes it and, if `lock` says so, locks it for ever.
    ///
    /// # Errors
    /// As [`Client::run`]; the message names the Index.
    pub fn write_certificate(&mut self, index: u32, data: &[u8], lock: bool) -> Result<(), Error> {
        let about = || format!(" of NV Index {index:#x}");
        let too_large = || Error::TooLarge {
            what: "the contents of an NV Index",
            size: data.len(),
        };
        let nv_index = TpmiRhNvIndex(TpmHandle(index));
        let define = NvDefineSpace {
            auth_handle: TpmiRhProvision(TpmHandle::PLATFORM),
            auth: Tpm2bAuth::EMPTY,
            public_info: Tpm2bNvPublic(TpmsNvPublic {
                nv_index,
                name_alg: TpmiAlgHash::Sha256,
                attributes: CERTIFICATE_ATTRIBUTES,
                auth_policy: Tpm2bDigest::EMPTY,
                data_size: NvDataSize(u16::try_from(data.len()).map_err(|_| too_large())?),
            }),
        };
        self.run_for(&define, about)?;
        let auth_handle = TpmiRhNvAuth(TpmHandle::PLATFORM);
        let size = self.nv_piece()?;
        let mut offset = 0_u16;
        for piece in data.chunks(size) {
            let write = NvWrite {
                auth_handle,
                nv_index,
                data: Tpm2bMaxNvBuffer::new(piece.to_vec()).ok_or_else(too_large)?,
                offset,
            };
            self.run_for(&write, about)?;
            let length = u16::try_from(piece.len()).map_err(|_| too_large())?;
            offset = offset.saturating_add(length);
        }
        if lock {
            let lock = NvWriteLock {
                auth_handle,
                nv_index,
            };
            self.run_for(&lock, about)?;
        }
        Ok(())
    }

    /// Writes an NV Index as [`Client::write_certificate`] does, in the place of one of the platform that is there.
    ///
    /// # Errors
    /// As [`Client::run`]; the message names the Index.
    pub fn replace_certificate(&mut self, index: u32, data: &[u8]) -> Result<(), Error> {
        let about = || format!(" of NV Index {index:#x}");
        let forget = NvUndefineSpace {
            auth_handle: TpmiRhProvision(TpmHandle::PLATFORM),
            nv_index: TpmiRhNvDefinedIndex(TpmHandle(index)),
        };
        match self.run_for(&forget, about) {
            Err(Error::Refused { code, .. }) if code.base() == Rc::HANDLE => {}
            other => {
                other?;
            }
        }
        self.write_certificate(index, data, false)
    }

    /// The contents of an NV Index that the owner may read; `None` if it is not defined.
    ///
    /// # Errors
    /// As [`Client::run`]; the message names the Index.
    pub fn read_certificate(&mut self, index: u32) -> Result<Option<Vec<u8>>, Error> {
        let about = || format!(" of NV Index {index:#x}");
        let nv_index = TpmiRhNvIndex(TpmHandle(index));
        let public = match self.run_for(&NvReadPublic { nv_index }, about) {
            Ok(answer) => answer.nv_public.0,
            Err(Error::Refused { code, .. }) if code.base() == Rc::HANDLE => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = self.nv_piece()?;
        let total = usize::from(public.data_size.0);
        let mut data = Vec::with_capacity(total);
        while data.len() < total {
            let piece = size.min(total - data.len());
            let beyond = |_| Error::TooLarge {
                what: "the contents of an NV Index",
                size: total,
            };
            let read = NvRead {
                auth_handle: TpmiRhNvAuth(TpmHandle::OWNER),
                nv_index,
                size: u16::try_from(piece).map_err(beyond)?,
                offset: u16::try_from(data.len()).map_err(beyond)?,
            };
            let answer = self.run_for(&read, about)?;
            if answer.data.is_empty() {
                return Err(Error::Response {
                    command: "NvRead",
                    fault: "it is empty",
                });
            }
            data.extend_from_slice(&answer.data);
        }
        Ok(Some(data))
    }

    /// Bytes of an NV Index that this TPM takes in one command.
    fn nv_piece(&mut self) -> Result<usize, Error> {
        if let Some(size) = self.nv_piece {
            return Ok(size);
        }
        let reported = self.property(TpmPt::NV_BUFFER_MAX)?;
        let size = reported
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| *size > 0)
            .unwrap_or(USUAL_NV_PIECE)
            .min(Tpm2bMaxNvBuffer::MAX);
        self.nv_piece = Some(size);
        Ok(size)
    }
}

/// A command as bytes, with a session for each authorization, or an empty password where none is given.
fn frame<C: Command>(command: &C, sessions: &[TpmHandle]) -> Result<Vec<u8>, Error> {
    let authorizations = C::INFO.authorizations();
    let mut body = Vec::new();
    for handle in command.handles() {
        handle.marshal(&mut body);
    }
    if authorizations > 0 {
        let mut area = Vec::new();
        for place in 0..authorizations {
            let session = sessions.get(place).copied();
            TpmsAuthCommand {
                session_handle: TpmiShAuthSession(session.unwrap_or(TpmHandle::PASSWORD)),
                nonce: Tpm2bNonce::EMPTY,
                session_attributes: TpmaSession::CONTINUE_SESSION,
                hmac: Tpm2bAuth::EMPTY,
            }
            .marshal(&mut area);
        }
        size_of(&area)?.marshal(&mut body);
        body.extend(area);
    }
    command.marshal_parameters(&mut body);
    let header = Header {
        tag: if authorizations > 0 {
            TpmSt::SESSIONS
        } else {
            TpmSt::NO_SESSIONS
        },
        size: size_of(&body)?.saturating_add(u32::try_from(HEADER_SIZE).unwrap_or_default()),
        code: C::INFO.code,
    };
    let mut bytes = header.to_bytes();
    bytes.extend(body);
    Ok(bytes)
}

fn size_of(bytes: &[u8]) -> Result<u32, Error> {
    u32::try_from(bytes.len()).map_err(|_| Error::TooLarge {
        what: "a command",
        size: bytes.len(),
    })
}

/// The response in these bytes, or the code by which the TPM refused.
fn unframe<C: Command>(bytes: &[u8]) -> Result<Result<C::Response, Rc>, Error> {
    let fault = |fault| Error::Response {
        command: C::INFO.name,
        fault,
    };
    let limits = Limits::ALL;
    let input = Input::new(bytes, &limits);
    let (rest, header) = Header::parse(input).map_err(|_| fault("it has no header"))?;
    if u32::try_from(bytes.len()).ok() != Some(header.size) {
        return Err(fault("its size is not the one that its header tells"));
    }
    let code = Rc::from_number(header.code);
    if code != Rc::SUCCESS {
        return Ok(Err(code));
    }
    let (rest, handle) = if C::INFO.has_response_handle {
        let (rest, handle) = TpmHandle::parse(rest).map_err(|_| fault("it lacks its handle"))?;
        (rest, Some(handle))
    } else {
        (rest, None)
    };
    let parameters = if header.tag == TpmSt::SESSIONS {
        let (rest, size) = u32::parse(rest).map_err(|_| fault("it lacks a size"))?;
        let size = usize::try_from(size).map_err(|_| fault("it is too long"))?;
        let (parameters, _) = rest
            .bytes()
            .split_at_checked(size)
            .ok_or_else(|| fault("its parameters are cut short"))?;
        parameters
    } else {
        rest.bytes()
    };
    C::Response::parse(handle, parameters, &limits)
        .map(Ok)
        .map_err(|_| fault("its parameters cannot be read"))
}
