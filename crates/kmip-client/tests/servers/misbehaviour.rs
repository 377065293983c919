//! Servers that answer wrongly, late or not at all: each is refused with an error that names provider, server and key.

use crate::{
    adversary::{
        Adversary, Answer, CREATE, DISCOVER_VERSIONS, GET, GET_ATTRIBUTES, KEY, QUERY, refusal,
        with,
    },
    certificates::{certificates, settings},
    ports::PortPair,
};
use kmip_client::{
    Client, Error, Fault, KeyState, Limits, Phase, ProtocolVersion, Purpose, ResultReason, Trust,
    ttlv::{Item, Tag, TtlvError, Value, encode},
};
use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// The error of fetching key "k" at one server, which has to name all three.
fn refused(server: &Adversary) -> Error {
    let client = Client::new(settings(&[server.port])).unwrap();
    let error = client.key_to_wrap("k").unwrap_err();
    let text = error.to_string();
    for name in ["\"kp\"", "\"k\"", &format!("127.0.0.1:{}", server.port)] {
        assert!(text.contains(name), "{name} is not in: {text}");
    }
    error
}

/// The one server's fault in it.
fn fault(error: Error) -> Fault {
    let text = error.to_string();
    match error {
        Error::Unavailable { mut failures, .. } | Error::KeyMissing { mut failures, .. } => {
            assert_eq!(failures.0.len(), 1, "{text}");
            failures.0.remove(0).fault
        }
        _ => panic!("{text}"),
    }
}

/// How often a server was asked for a key's bytes.
fn gets(server: &Adversary) -> usize {
    let log = server.log.lock().unwrap();
    log.operations.iter().filter(|o| **o == GET).count()
}

#[test]
fn a_right_server_is_asked_over_one_connection() {
    let server = Adversary::right();
    let client = Client::new(settings(&[server.port])).unwrap();
    for _ in 0..3 {
        assert_eq!(client.key_to_wrap("k").unwrap().expose(), &KEY);
    }
    assert_eq!(client.new_key(Some("name")).unwrap(), "new");
    assert_eq!(server.log.lock().unwrap().connections, 1);
    assert!(!format!("{client:?}").contains("PRIVATE"));
}

#[test]
fn replies_cut_at_every_third_byte_are_refused() {
    for length in (0..).step_by(3) {
        let server = Adversary::wrong_at(GET, move |mut answer| {
            if length >= answer.len() {
                return Answer::Send(answer);
            }
            answer.truncate(length);
            Answer::SendAndEnd(answer)
        });
        let client = Client::new(settings(&[server.port])).unwrap();
        match client.key_to_wrap("k") {
            Ok(key) => {
                assert_eq!(key.expose(), &KEY);
                assert!(length > 200, "{length}");
                break;
            }
            Err(error) => assert_eq!(fault(error), Fault::Cut, "{length}"),
        }
    }
}

#[test]
fn a_reply_longer_than_the_limit_is_refused_before_it_is_read() {
    for length in [1 << 20, u32::MAX] {
        let server = Adversary::wrong_at(GET, move |mut answer| {
            answer[4..8].copy_from_slice(&length.to_be_bytes());
            Answer::Send(answer)
        });
        let limit = Limits::default().max_reply;
        assert_eq!(fault(refused(&server)), Fault::TooLarge { length, limit });
    }
}

#[test]
fn a_reply_that_trickles_ends_with_the_request() {
    let server = Adversary::wrong_at(GET, Answer::Trickle);
    let mut settings = settings(&[server.port]);
    settings.limits.request = Duration::from_secs(2);
    let client = Client::new(settings).unwrap();
    // The whole reply takes more than 20 seconds and would be right; each byte by itself is quick.
    let error = client.key_to_wrap("k").unwrap_err();
    assert_eq!(fault(error), Fault::TimedOut(Phase::Request));
}

#[test]
fn a_server_that_never_answers_the_handshake_is_left_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(&[silent.local_addr().unwrap().port()]);
    settings.limits.connect = Duration::from_millis(300);
    let client = Client::new(settings).unwrap();
    let error = client.key_to_wrap("k").unwrap_err();
    assert_eq!(fault(error), Fault::TimedOut(Phase::Connect));
}

#[test]
fn replies_of_other_types_are_refused() {
    let get = |alter: fn(Vec<u8>) -> Vec<u8>| {
        refused(&Adversary::wrong_at(GET, move |a| Answer::Send(alter(a))))
    };
    // Another protocol.
    let error = get(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    assert!(matches!(fault(error), Fault::WrongReply(_)));
    // A message that is no reply.
    let error = get(|answer| {
        let mut request = answer;
        request[2] = 0x78;
        request
    });
    assert!(matches!(fault(error), Fault::WrongReply(_)));
    // The reply to another operation.
    let error = get(|answer| with(&answer, Tag::OPERATION, Value::Enumeration(8)));
    assert!(matches!(fault(error), Fault::WrongReply(text) if text.contains("0x8, not Get")));
    // A field of another type.
    let error = get(|answer| with(&answer, Tag::KEY_MATERIAL, Value::Integer(1)));
    assert!(matches!(fault(error), Fault::WrongReply(text) if text.contains("Key Material")));
    // No batch item, and no TTLV.
    let error = get(|answer| with(&answer, Tag::BATCH_ITEM, Value::Integer(1)));
    assert!(matches!(fault(error), Fault::WrongReply(_)));
    let error = get(|mut answer| {
        answer[11] = 0x77;
        answer
    });
    assert_eq!(fault(error), Fault::Ttlv(TtlvError::UnknownType(0x77)));
    // An operation that is still under way.
    let error = get(|answer| with(&answer, Tag::RESULT_STATUS, Value::Enumeration(2)));
    assert!(matches!(fault(error), Fault::WrongReply(_)));
}

#[test]
fn an_object_that_is_no_aes_256_key_is_refused() {
    for (tag, value, reason) in [
        (Tag::OBJECT_TYPE, Value::Enumeration(1), "type 1"),
        (
            Tag::CRYPTOGRAPHIC_ALGORITHM,
            Value::Enumeration(4),
            "not AES",
        ),
        (Tag::CRYPTOGRAPHIC_LENGTH, Value::Integer(128), "128 bits"),
        (Tag::KEY_MATERIAL, Value::ByteString(&[1; 31]), "31 bytes"),
        (Tag::KEY_FORMAT_TYPE, Value::Enumeration(3), "not raw"),
    ] {
        let server = Adversary::wrong_at(GET, move |answer| {
            Answer::Send(with(&answer, tag, value.clone()))
        });
        let error = refused(&server);
        assert!(matches!(error, Error::KeyShape { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_reply_about_another_key_is_refused() {
    for operation in [GET, GET_ATTRIBUTES] {
        let server = Adversary::wrong_at(operation, |answer| {
            let other = Value::TextString("other");
            Answer::Send(with(&answer, Tag::UNIQUE_IDENTIFIER, other))
        });
        let fault = fault(refused(&server));
        assert!(matches!(fault, Fault::WrongReply(text) if text.contains("\"other\"")));
    }
}

#[test]
fn a_key_id_that_no_file_could_hold_is_refused() {
    let server = Adversary::wrong_at(CREATE, |answer| {
        let bad = Value::TextString("a\nb");
        Answer::Send(with(&answer, Tag::UNIQUE_IDENTIFIER, bad))
    });
    let client = Client::new(settings(&[server.port])).unwrap();
    let error = client.new_key(None).unwrap_err();
    assert!(matches!(fault(error), Fault::WrongReply(_)));
    let error = client.key_to_wrap("").unwrap_err();
    assert!(matches!(error, Error::Configuration { .. }), "{error}");
}

#[test]
fn other_protocol_versions_are_refused() {
    let server = Adversary::wrong_at(GET, |answer| {
        let minor = Value::Integer(2);
        Answer::Send(with(&answer, Tag::PROTOCOL_VERSION_MINOR, minor))
    });
    let [asked, _, found, _] = ProtocolVersion::SPOKEN;
    assert_eq!(
        fault(refused(&server)),
        Fault::OtherVersion { asked, found }
    );

    let server = Adversary::wrong_at(DISCOVER_VERSIONS, |_| {
        let version = |major, minor| {
            Item::structure(
                Tag::PROTOCOL_VERSION,
                vec![
                    Item::integer(Tag::PROTOCOL_VERSION_MAJOR, major),
                    Item::integer(Tag::PROTOCOL_VERSION_MINOR, minor),
                ],
            )
        };
        let batch = vec![
            Item::enumeration(Tag::OPERATION, DISCOVER_VERSIONS),
            Item::enumeration(Tag::RESULT_STATUS, 0),
            Item::structure(Tag::RESPONSE_PAYLOAD, vec![version(2, 1), version(1, 0)]),
        ];
        let message = vec![
            Item::structure(Tag::RESPONSE_HEADER, vec![version(1, 1)]),
            Item::structure(Tag::BATCH_ITEM, batch),
        ];
        Answer::Send(encode(&Item::structure(Tag::RESPONSE_MESSAGE, message)).unwrap())
    });
    let fault = fault(refused(&server));
    assert_eq!(fault, Fault::NoVersion("KMIP 2.1, KMIP 1.0".to_owned()));
}

#[test]
fn the_state_decides_what_a_key_may_do() {
    for (code, state, opens) in [
        (3, KeyState::Deactivated, true),
        (4, KeyState::Compromised, true),
        (5, KeyState::Destroyed, false),
        (6, KeyState::DestroyedCompromised, false),
    ] {
        let server = Adversary::wrong_at(GET_ATTRIBUTES, move |answer| {
            Answer::Send(with(
                &answer,
                Tag::ATTRIBUTE_VALUE,
                Value::Enumeration(code),
            ))
        });
        let error = refused(&server);
        let purpose = Purpose::Wrap;
        assert!(
            matches!(&error, Error::KeyState { state: s, purpose: p, .. } if (*s, *p) == (state, purpose)),
            "{error}"
        );
        let client = Client::new(settings(&[server.port])).unwrap();
        assert_eq!(client.key_to_unwrap("k").is_ok(), opens, "{state}");
        // The bytes of a key that may not be used are not even fetched.
        let fetched = server.log.lock().unwrap().operations.contains(&GET);
        assert_eq!(fetched, opens, "{state}");
    }
    let server = Adversary::wrong_at(GET_ATTRIBUTES, |answer| {
        Answer::Send(with(&answer, Tag::ATTRIBUTE_VALUE, Value::Enumeration(7)))
    });
    assert!(matches!(fault(refused(&server)), Fault::WrongReply(_)));
}

#[test]
fn refusals_are_told_with_their_reason_and_without_control_characters() {
    let server = Adversary::wrong_at(GET, |answer| Answer::Send(refusal(&answer, 0xc)));
    let error = refused(&server);
    assert!(
        matches!(&error, Error::Refused { refusal, .. } if refusal.reason == ResultReason::PERMISSION_DENIED),
        "{error}"
    );
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert!(!error.to_string().contains('\u{1b}'), "{error}");

    let server = Adversary::wrong_at(GET, |answer| Answer::Send(refusal(&answer, 1)));
    let error = refused(&server);
    assert!(matches!(error, Error::KeyMissing { .. }), "{error}");
}

#[test]
fn the_next_server_is_asked_after_each_kind_of_fault() {
    let right = Adversary::right();
    let gone = PortPair::claim();
    let cut = Adversary::wrong_at(GET, |_| Answer::SendAndEnd(vec![0x42]));
    let foreign = Adversary::wrong_at(GET, |_| Answer::Send(b"not a reply".to_vec()));
    let late = Adversary::wrong_at(GET, |answer| Answer::Send(refusal(&answer, 1)));
    for port in [gone.first, cut.port, foreign.port, late.port] {
        let client = Client::new(settings(&[port, right.port])).unwrap();
        assert_eq!(client.key_to_wrap("k").unwrap().expose(), &KEY);
    }
}

#[test]
fn a_server_that_failed_a_moment_ago_is_asked_last() {
    let failing = Adversary::wrong_at(GET, |_| Answer::SendAndEnd(vec![]));
    let right = Adversary::right();
    let client = Client::new(settings(&[failing.port, right.port])).unwrap();
    for _ in 0..3 {
        client.key_to_wrap("k").unwrap();
    }
    assert_eq!(failing.log.lock().unwrap().connections, 1);
    assert_eq!(right.log.lock().unwrap().connections, 1);
}

#[test]
fn a_server_that_stalls_on_a_kept_connection_is_asked_last_too() {
    let calls = AtomicUsize::new(0);
    let stalling = Adversary::wrong_at(GET, move |answer| {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            return Answer::Send(answer);
        }
        Answer::Trickle(answer)
    });
    let right = Adversary::right();
    let mut settings = settings(&[stalling.port, right.port]);
    // Less than the reply takes that trickles, and time enough for all others.
    settings.limits.request = Duration::from_secs(15);
    let client = Client::new(settings).unwrap();
    for _ in 0..3 {
        assert_eq!(client.key_to_wrap("k").unwrap().expose(), &KEY);
    }
    assert_eq!((gets(&stalling), gets(&right)), (2, 2));
}

#[test]
fn threads_that_share_a_client_all_get_their_key_while_a_server_fails() {
    let calls = AtomicUsize::new(0);
    let failing = Adversary::wrong_at(GET, move |answer| {
        if calls.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
            return Answer::SendAndEnd(vec![]);
        }
        Answer::Send(answer)
    });
    let right = Adversary::right();
    let mut settings = settings(&[failing.port, right.port]);
    settings.limits.set_aside = Duration::ZERO;
    let client = Client::new(settings).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(client.key_to_wrap("k").unwrap().expose(), &KEY);
                }
            });
        }
    });
    assert!(gets(&failing) >= 80, "each call asks the first server");
    assert!(gets(&right) > 0, "the second stands in");
}

#[test]
fn a_fault_that_passes_is_waited_for_and_one_that_stays_is_not() {
    let calls = AtomicUsize::new(0);
    let server = Adversary::wrong_at(GET, move |answer| {
        if calls.fetch_add(1, Ordering::SeqCst) < 2 {
            return Answer::SendAndEnd(vec![]);
        }
        Answer::Send(answer)
    });
    let mut rounds = settings(&[server.port]);
    rounds.limits.rounds = 3;
    let client = Client::new(rounds).unwrap();
    assert_eq!(client.key_to_wrap("k").unwrap().expose(), &KEY);
    assert_eq!(server.log.lock().unwrap().connections, 3);

    let server = Adversary::wrong_at(GET, |_| Answer::Send(b"not a reply".to_vec()));
    let mut rounds = settings(&[server.port]);
    rounds.limits.rounds = 3;
    let client = Client::new(rounds).unwrap();
    assert!(client.key_to_wrap("k").is_err());
    assert_eq!(server.log.lock().unwrap().connections, 1);
}

#[test]
fn a_kept_connection_that_the_server_ended_is_made_again() {
    let server = Adversary::wrong_at(QUERY, Answer::SendAndEnd);
    let client = Client::new(settings(&[server.port])).unwrap();
    for _ in 0..3 {
        let health = client.health();
        assert_eq!(health[0].state.as_ref().unwrap().vendor, "adversary");
    }
    assert_eq!(server.log.lock().unwrap().connections, 3);
}

#[test]
fn another_server_certificate_is_refused() {
    let server = Adversary::right();
    let certificates = certificates();
    for trust in [
        Trust::Certificates(certificates.other_server.certificate.clone()),
        Trust::Authorities(certificates.foreign_authority.clone()),
    ] {
        let mut settings = settings(&[server.port]);
        settings.trust = trust;
        let client = Client::new(settings).unwrap();
        let error = client.key_to_wrap("k").unwrap_err();
        assert!(matches!(fault(error), Fault::Untrusted(_)));
    }
    let mut settings = settings(&[server.port]);
    settings.trust = Trust::Authorities(certificates.authority.clone());
    let client = Client::new(settings).unwrap();
    assert_eq!(client.key_to_wrap("k").unwrap().expose(), &KEY);
}

#[test]
fn a_server_that_refuses_our_certificate_is_named() {
    let server = Adversary::right();
    let foreign = &certificates().foreign_client;
    let mut settings = settings(&[server.port]);
    settings.client_certificate = foreign.certificate.clone();
    settings.client_key = foreign.key.clone().into();
    let client = Client::new(settings).unwrap();
    let error = client.key_to_wrap("k").unwrap_err();
    assert!(error.to_string().contains("client certificate"), "{error}");
    assert!(matches!(fault(error), Fault::ClientRefused(_)));
}

#[test]
fn settings_that_cannot_work_are_refused_at_once() {
    let refused = |change: &dyn Fn(&mut kmip_client::Settings), text: &str| {
        let mut settings = settings(&[1]);
        change(&mut settings);
        let error = Client::new(settings).unwrap_err().to_string();
        assert!(error.contains("\"kp\"") && error.contains(text), "{error}");
    };
    let other = &certificates().other_server;
    refused(&|s| s.servers.clear(), "no server");
    refused(
        &|s| s.client_key = other.key.clone().into(),
        "not the one of the client",
    );
    refused(&|s| s.client_key = b"x".to_vec().into(), "the client key");
    refused(&|s| s.client_certificate.clear(), "the client certificate");
    refused(
        &|s| s.trust = Trust::Certificates(vec![]),
        "the server certificate",
    );
    refused(&|s| s.trust = Trust::Authorities(vec![]), "the authorities");
}
