//! The side that asks: a host with a TPM.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tpm_attest::attester::{self, AttestationAlgorithm, LoadedKey};
use tpm_attest::client::{Client, Transmit};
use tpm_attest::sealed::SealedData;
use tpm_attest::verify::{Base64, Challenge, Endorsement, Evidence, Hex};
use tpm_wire::codec::Marshal as _;
use zeroize::Zeroizing;

use crate::address::Address;
use crate::error::{Error, ServerFault};
use crate::protocol::{
    self, Answer, Description, Enrolment, MessageFault, Purpose, RefusalKind, Request, Want,
};
use crate::service::host_id;
use crate::transport::Stream;

/// The TPM of this host, wherever it is.
pub trait HostTpm: Send + Sync {
    /// Connects to it. It must have been started.
    ///
    /// # Errors
    /// Why it cannot be reached.
    fn connect(&self) -> Result<Box<dyn Transmit>, String>;

    /// Where it is, for messages.
    fn place(&self) -> String;
}

/// How a host is set up for one provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The provider's name, for messages.
    pub provider: String,
    /// What this host calls itself.
    pub name: String,
    /// The services, tried in this order.
    pub services: Vec<Address>,
    /// Whose certificates are accepted (PEM); empty for services on this machine without TLS.
    pub certificates: String,
    /// Time limits.
    pub limits: Limits,
}

/// Time limits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// For one request and the whole of its answer, however slowly it trickles.
    pub request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(10),
        }
    }
}

/// Whether one service can be used.
#[derive(Clone, Debug)]
pub struct ServerHealth {
    /// Where it is.
    pub address: Address,
    /// What it says of itself once it would give this host a key, or why it would not.
    pub state: Result<Description, ServerFault>,
}

/// A host that gets keys from key services.
pub struct Host {
    settings: Settings,
    tls: Option<Arc<ClientConfig>>,
    tpm: Arc<dyn HostTpm>,
    /// One conversation with the TPM at a time.
    turn: Mutex<()>,
}

/// What a service gave.
enum Given {
    NewKey(String),
    Key(Zeroizing<Vec<u8>>),
    Good,
}

/// The TPM during one conversation.
struct Session {
    client: Client<Carrier>,
    endorsement: LoadedKey,
    shown: Endorsement,
    attestation: LoadedKey,
    id: String,
}

/// A connection to a TPM, as `Client` takes it.
struct Carrier(Box<dyn Transmit>);

impl Transmit for Carrier {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.transmit(command)
    }
}

impl Host {
    /// A host with this TPM.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(settings: Settings, tpm: Arc<dyn HostTpm>) -> Result<Self, Error> {
        let fault = |reason| Error::Settings {
            provider: settings.provider.clone(),
            reason,
        };
        let tls = match settings.certificates.trim().is_empty() {
            true => None,
            false => Some(kmip_client::trusting(settings.certificates.as_bytes()).map_err(&fault)?),
        };
        if let Some(remote) = settings.services.iter().find(|server| server.is_remote())
            && tls.is_none()
        {
            return Err(fault(format!(
                "the key service {remote} is not on this machine, so it needs its certificate (--server-cert)"
            )));
        }
        Ok(Self {
            settings,
            tls,
            tpm,
            turn: Mutex::default(),
        })
    }

    /// Has a key made, and gives its id.
    ///
    /// # Errors
    /// What every service said, or that the TPM cannot attest.
    pub fn new_key(&self) -> Result<String, Error> {
        match self.ask(&Want::NewKey)? {
            (_, Given::NewKey(key_id)) => Ok(key_id),
            (address, _) => Err(self.other_answer(address, None)),
        }
    }

    /// The bytes of a key.
    ///
    /// # Errors
    /// As [`Host::new_key`].
    pub fn key(&self, key_id: &str, purpose: Purpose) -> Result<Zeroizing<[u8; 32]>, Error> {
        let want = Want::Key {
            key_id: key_id.to_owned(),
            purpose,
        };
        let (address, given) = self.ask(&want)?;
        let mut key = Zeroizing::new([0; 32]);
        match given {
            Given::Key(bytes) if bytes.len() == key.len() => {
                key.copy_from_slice(&bytes);
                Ok(key)
            }
            _ => Err(self.other_answer(address, Some(key_id))),
        }
    }

    /// Attests to every service, without getting a key.
    pub fn health(&self) -> Vec<ServerHealth> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = self.session();
        let services = self.settings.services.iter();
        let health = services
            .map(|address| ServerHealth {
                address: address.clone(),
                state: match &mut session {
                    Err(error) => Err(ServerFault::Unusable(error.to_string())),
                    Ok(session) => self
                        .converse(address, session, &Want::Nothing)
                        .and_then(|_| {
                            let mut stream = self.connect(address)?;
                            match self.exchange(&mut stream, &Request::Describe)? {
                                Answer::Description(description) => Ok(description),
                                other => Err(senseless(other)),
                            }
                        }),
                },
            })
            .collect();
        if let Ok(session) = session {
            session.end();
        }
        health
    }

    /// Asks one service after the other.
    fn ask(&self, want: &Want) -> Result<(Address, Given), Error> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = self.session()?;
        let mut faults = Vec::new();
        let mut found = None;
        for address in &self.settings.services {
            match self.converse(address, &mut session, want) {
                Ok(given) => {
                    found = Some((address.clone(), given));
                    break;
                }
                Err(fault) => {
                    tracing::debug!(%address, %fault, "a key service gave no key");
                    faults.push((address.clone(), fault));
                }
            }
        }
        session.end();
        found.ok_or_else(|| Error::Services {
            provider: self.settings.provider.clone(),
            key_id: match want {
                Want::Key { key_id, .. } => Some(key_id.clone()),
                Want::NewKey | Want::Nothing => None,
            },
            faults,
        })
    }

    fn converse(
        &self,
        address: &Address,
        session: &mut Session,
        want: &Want,
    ) -> Result<Given, ServerFault> {
        let mut stream = self.connect(address)?;
        let ask = Request::Ask {
            host: session.id.clone(),
            want: want.clone(),
        };
        let question = match self.exchange(&mut stream, &ask) {
            Err(fault) if fault.is(RefusalKind::UnknownHost) => {
                self.enrol(&mut stream, session)?;
                self.exchange(&mut stream, &ask)?
            }
            other => other?,
        };
        let Answer::Question { nonce, pcrs } = question else {
            return Err(senseless(question));
        };
        let evidence = session.quote(&self.settings.name, &nonce, &pcrs)?;
        let answer = self.exchange(&mut stream, &Request::Answer(Box::new(evidence)))?;
        match (answer, want) {
            (Answer::NewKey { key_id }, Want::NewKey) => Ok(Given::NewKey(key_id)),
            (Answer::Good, Want::Nothing) => Ok(Given::Good),
            (Answer::Key { key_id, sealed }, Want::Key { key_id: wanted, .. })
                if key_id == *wanted =>
            {
                session.open(&sealed).map(Given::Key)
            }
            (other, _) => Err(senseless(other)),
        }
    }

    /// Shows a service that both keys are in one TPM.
    fn enrol(&self, stream: &mut Stream, session: &mut Session) -> Result<(), ServerFault> {
        let enrolment = Enrolment {
            name: self.settings.name.clone(),
            attestation_key: Base64(session.attestation.public.to_bytes()),
            qualified_name: Hex(session.attestation.qualified_name.clone()),
            endorsement: session.shown.clone(),
        };
        let challenge = match self.exchange(stream, &Request::Enrol(Box::new(enrolment)))? {
            Answer::Challenge(challenge) => challenge,
            other => return Err(senseless(other)),
        };
        let prove = Request::Prove {
            session: challenge.session.clone(),
            secret: Hex(session.activate(&challenge)?),
        };
        match self.exchange(stream, &prove)? {
            Answer::Enrolled { host } if host == session.id => Ok(()),
            other => Err(senseless(other)),
        }
    }

    fn connect(&self, address: &Address) -> Result<Stream, ServerFault> {
        Stream::connect(address, self.tls.as_ref(), self.settings.limits.connect)
            .map_err(|error| ServerFault::Unusable(format!("it cannot be reached: {error}")))
    }

    fn exchange(&self, stream: &mut Stream, request: &Request) -> Result<Answer, ServerFault> {
        let fault = |fault: MessageFault| {
            ServerFault::Unusable(match fault {
                MessageFault::TimedOut => format!(
                    "it did not answer within {} s",
                    self.settings.limits.request.as_secs()
                ),
                other => format!("its answer: {other}"),
            })
        };
        stream.allow(self.settings.limits.request);
        protocol::write(stream, request).map_err(fault)?;
        match protocol::read(stream).map_err(fault)? {
            Answer::Refused(refusal) => Err(ServerFault::Refused(refusal)),
            answer => Ok(answer),
        }
    }

    fn session(&self) -> Result<Session, Error> {
        let fault = |reason: String| Error::HostTpm {
            provider: self.settings.provider.clone(),
            tpm: self.tpm.place(),
            reason,
        };
        let carrier = Carrier(self.tpm.connect().map_err(fault)?);
        Session::begin(Client::new(carrier)).map_err(|error| fault(error.to_string()))
    }

    fn other_answer(&self, address: Address, key_id: Option<&str>) -> Error {
        let fault = ServerFault::Unusable("it gave something else than was asked for".to_owned());
        Error::Services {
            provider: self.settings.provider.clone(),
            key_id: key_id.map(str::to_owned),
            faults: vec![(address, fault)],
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Session {
    fn begin(mut client: Client<Carrier>) -> Result<Self, tpm_attest::Error> {
        let (endorsement, shown) = attester::endorsement(&mut client, None)?;
        let attestation =
            match attester::attestation_key(&mut client, AttestationAlgorithm::EcdsaP256) {
                Ok(key) => key,
                Err(error) => {
                    let _ = attester::release(&mut client, &endorsement);
                    return Err(error);
                }
            };
        let id = host_id(&attestation.public)?;
        Ok(Self {
            client,
            endorsement,
            shown,
            attestation,
            id,
        })
    }

    /// Gives the TPM its slots back. What fails here fails with the connection.
    fn end(mut self) {
        for key in [&self.attestation, &self.endorsement] {
            if let Err(error) = attester::release(&mut self.client, key) {
                tracing::warn!("a key stays in the host's TPM: {error}");
            }
        }
    }

    fn activate(&mut self, challenge: &Challenge) -> Result<Vec<u8>, ServerFault> {
        attester::activate(
            &mut self.client,
            &self.attestation,
            &self.endorsement,
            challenge,
        )
        .map_err(|error| ServerFault::Sealed(error.to_string()))
    }

    fn quote(&mut self, name: &str, nonce: &Hex, pcrs: &str) -> Result<Evidence, ServerFault> {
        let unusable = |reason: String| ServerFault::Unusable(reason);
        let selection = attester::selection(pcrs).map_err(unusable)?;
        let (quote, values) =
            attester::quote(&mut self.client, &self.attestation, &nonce.0, &selection)
                .map_err(|error| unusable(error.to_string()))?;
        let key = &self.attestation.public;
        Ok(Evidence::new(name, key, &nonce.0, quote, &values))
    }

    fn open(&mut self, sealed: &SealedData) -> Result<Zeroizing<Vec<u8>>, ServerFault> {
        sealed
            .open(&mut self.client, &self.endorsement)
            .map_err(|error| ServerFault::Sealed(error.to_string()))
    }
}

fn senseless(answer: Answer) -> ServerFault {
    match answer {
        Answer::Refused(refusal) => ServerFault::Refused(refusal),
        _ => ServerFault::Unusable("it answered something else than was asked for".to_owned()),
    }
}
