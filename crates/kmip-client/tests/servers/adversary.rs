//! A key server of the test's own: right by itself, and wrong in what the test says.

use crate::certificates::certificates;
use kmip_client::ttlv::{Item, Tag, Value, decode, encode};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

pub(crate) const CREATE: u32 = 1;
pub(crate) const GET: u32 = 0xa;
pub(crate) const GET_ATTRIBUTES: u32 = 0xb;
pub(crate) const QUERY: u32 = 0x18;
pub(crate) const DISCOVER_VERSIONS: u32 = 0x1e;

/// The bytes of every key that the server holds.
pub(crate) const KEY: [u8; 32] = [0x5a; 32];

/// What the server does with an answer.
pub(crate) enum Answer {
    /// Sends it.
    Send(Vec<u8>),
    /// Sends it and then ends the connection.
    SendAndEnd(Vec<u8>),
    /// Sends it a byte at a time, each after a while.
    Trickle(Vec<u8>),
}

/// What happened at the server.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) connections: usize,
    pub(crate) operations: Vec<u32>,
}

pub(crate) struct Adversary {
    pub(crate) port: u16,
    pub(crate) log: Arc<Mutex<Log>>,
}

type Alter = dyn Fn(u32, Vec<u8>) -> Answer + Send + Sync;

impl Adversary {
    /// Starts a server that hands every right answer to `alter`, with the operation that it answers.
    pub(crate) fn start(alter: impl Fn(u32, Vec<u8>) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::<Mutex<Log>>::default();
        let alter: Arc<Alter> = Arc::new(alter);
        let config = Arc::new(server_config());
        let written = Arc::clone(&log);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (config, alter, log) = (config.clone(), alter.clone(), written.clone());
                // A client that goes away ends its thread only.
                thread::spawn(move || serve(socket.unwrap(), config, &*alter, &log));
            }
        });
        Self { port, log }
    }

    /// A server that is right.
    pub(crate) fn right() -> Self {
        Self::start(|_, answer| Answer::Send(answer))
    }

    /// A server whose answer to one operation is another.
    pub(crate) fn wrong_at(
        operation: u32,
        alter: impl Fn(Vec<u8>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |asked, answer| {
            if asked == operation {
                alter(answer)
            } else {
                Answer::Send(answer)
            }
        })
    }
}

fn server_config() -> ServerConfig {
    let certificates = certificates();
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(&certificates.authority).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(&certificates.server.certificate).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::from_pem_slice(&certificates.server.key).unwrap(),
        )
        .unwrap()
}

fn serve(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    alter: &Alter,
    log: &Mutex<Log>,
) -> io::Result<()> {
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    while tls.conn.is_handshaking() {
        if let Err(error) = tls.conn.complete_io(&mut tls.sock) {
            // Reads what the client still sends, so that the alert is not lost to a reset.
            io::copy(&mut tls.sock, &mut io::sink())?;
            return Err(error);
        }
    }
    log.lock().unwrap().connections += 1;
    loop {
        let mut head = [0; 8];
        tls.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head[4..].try_into().unwrap());
        let mut request = head.to_vec();
        request.resize(8 + usize::try_from(length).unwrap(), 0);
        tls.read_exact(&mut request[8..])?;
        let (operation, answer) = answer(&request);
        log.lock().unwrap().operations.push(operation);
        match alter(operation, answer) {
            Answer::Send(bytes) => {
                tls.write_all(&bytes)?;
                tls.flush()?;
            }
            Answer::SendAndEnd(bytes) => {
                tls.write_all(&bytes)?;
                tls.conn.send_close_notify();
                return tls.flush();
            }
            Answer::Trickle(bytes) => {
                for byte in bytes {
                    thread::sleep(Duration::from_millis(100));
                    tls.write_all(&[byte])?;
                    tls.flush()?;
                }
            }
        }
    }
}

/// The right answer to a request, and its operation.
fn answer(request: &[u8]) -> (u32, Vec<u8>) {
    let request = decode(request).unwrap();
    let version = request
        .child(Tag::REQUEST_HEADER)
        .and_then(|header| header.child(Tag::PROTOCOL_VERSION))
        .unwrap();
    let item = request.child(Tag::BATCH_ITEM).unwrap();
    let Value::Enumeration(operation) = item.child(Tag::OPERATION).unwrap().value else {
        panic!("no operation");
    };
    let asked = item.child(Tag::REQUEST_PAYLOAD).unwrap();
    let key_id = match asked.child(Tag::UNIQUE_IDENTIFIER).map(|id| &id.value) {
        Some(Value::TextString(id)) => id,
        _ => "new",
    };
    let id = Item::text(Tag::UNIQUE_IDENTIFIER, key_id);
    let payload = match operation {
        CREATE => vec![Item::enumeration(Tag::OBJECT_TYPE, 2), id],
        GET => vec![Item::enumeration(Tag::OBJECT_TYPE, 2), id, symmetric_key()],
        GET_ATTRIBUTES => vec![id, state(2)],
        DISCOVER_VERSIONS => asked.items().to_vec(),
        QUERY => vec![Item::text(Tag::VENDOR_IDENTIFICATION, "adversary")],
        _ => vec![id],
    };
    (operation, reply(version.clone(), operation, payload))
}

/// A key's state as an attribute.
pub(crate) fn state(code: u32) -> Item<'static> {
    Item::structure(
        Tag::ATTRIBUTE,
        vec![
            Item::text(Tag::ATTRIBUTE_NAME, "State"),
            Item::enumeration(Tag::ATTRIBUTE_VALUE, code),
        ],
    )
}

fn symmetric_key() -> Item<'static> {
    Item::structure(
        Tag::SYMMETRIC_KEY,
        vec![Item::structure(
            Tag::KEY_BLOCK,
            vec![
                Item::enumeration(Tag::KEY_FORMAT_TYPE, 1),
                Item::structure(
                    Tag::KEY_VALUE,
                    vec![Item::new(Tag::KEY_MATERIAL, Value::ByteString(&KEY))],
                ),
                Item::enumeration(Tag::CRYPTOGRAPHIC_ALGORITHM, 3),
                Item::integer(Tag::CRYPTOGRAPHIC_LENGTH, 256),
            ],
        )],
    )
}

fn reply(version: Item<'_>, operation: u32, payload: Vec<Item<'_>>) -> Vec<u8> {
    let header = vec![
        version,
        Item::new(Tag::TIME_STAMP, Value::DateTime(1)),
        Item::integer(Tag::BATCH_COUNT, 1),
    ];
    let batch = vec![
        Item::enumeration(Tag::OPERATION, operation),
        Item::enumeration(Tag::RESULT_STATUS, 0),
        Item::structure(Tag::RESPONSE_PAYLOAD, payload),
    ];
    let message = vec![
        Item::structure(Tag::RESPONSE_HEADER, header),
        Item::structure(Tag::BATCH_ITEM, batch),
    ];
    encode(&Item::structure(Tag::RESPONSE_MESSAGE, message)).unwrap()
}

/// Changes every item of an answer that has that tag.
pub(crate) fn with(answer: &[u8], tag: Tag, value: Value<'static>) -> Vec<u8> {
    fn change<'a>(item: &mut Item<'a>, tag: Tag, value: &Value<'a>) -> usize {
        if item.tag == tag {
            item.value = value.clone();
            return 1;
        }
        match &mut item.value {
            Value::Structure(items) => items.iter_mut().map(|i| change(i, tag, value)).sum(),
            _ => 0,
        }
    }
    let mut message = decode(answer).unwrap();
    assert!(change(&mut message, tag, &value) > 0, "no {tag}");
    encode(&message).unwrap()
}

/// A refusal in place of an answer.
pub(crate) fn refusal(answer: &[u8], reason: u32) -> Vec<u8> {
    let message = decode(answer).unwrap();
    let operation = message
        .child(Tag::BATCH_ITEM)
        .and_then(|item| item.child(Tag::OPERATION))
        .unwrap();
    let batch = vec![
        operation.clone(),
        Item::enumeration(Tag::RESULT_STATUS, 1),
        Item::enumeration(Tag::RESULT_REASON, reason),
        Item::text(Tag::RESULT_MESSAGE, "because\u{1b}[2J"),
    ];
    let header = message.child(Tag::RESPONSE_HEADER).unwrap().clone();
    let message = vec![header, Item::structure(Tag::BATCH_ITEM, batch)];
    encode(&Item::structure(Tag::RESPONSE_MESSAGE, message)).unwrap()
}
