//! The client against PyKMIP.

use crate::certificates::{certificates, settings};
use crate::pykmip_server::PyKmip;
use kmip_client::{
    Client, Error, Fault, KeyState, Operation, ProtocolVersion, RevocationReason, Trust,
};
use tempfile::TempDir;

fn client(servers: &[&PyKmip]) -> Client {
    let ports: Vec<_> = servers.iter().map(|server| server.port).collect();
    Client::new(settings(&ports)).unwrap()
}

#[test]
fn a_key_lives_through_all_its_states() {
    let folder = TempDir::new().unwrap();
    let server = PyKmip::start(folder.path(), "a");
    let client = client(&[&server]);

    let description = client.health().remove(0).state.unwrap();
    assert_eq!(description.version, ProtocolVersion::SPOKEN[0]);
    assert!(description.vendor.contains("PyKMIP"), "{description:?}");
    assert!(description.does(Operation::Get));

    // Made and activated in one go.
    let key_id = client.new_key(Some("vm keys")).unwrap();
    let key = client.key_to_wrap(&key_id).unwrap();
    assert_ne!(key.expose(), &[0; 32]);
    assert_eq!(
        client.key_to_unwrap(&key_id).unwrap().expose(),
        key.expose()
    );
    let attributes = client.attributes(&key_id).unwrap();
    assert_eq!(attributes.state, Some(KeyState::Active));
    assert_eq!(
        (attributes.is_aes, attributes.bits),
        (Some(true), Some(256))
    );
    assert_eq!(attributes.names, ["vm keys"]);
    assert_eq!(
        client.locate(Some("vm keys"), 10).unwrap(),
        [key_id.as_str()]
    );
    assert!(client.locate(Some("other"), 10).unwrap().is_empty());
    client.activate(&key_id).unwrap();

    // Pre-active: opens nothing, and is activated where it is to wrap.
    let second = client.create(None).unwrap();
    let error = client.key_to_unwrap(&second).unwrap_err();
    let pre_active = KeyState::PreActive;
    assert!(
        matches!(&error, Error::KeyState { state, .. } if *state == pre_active),
        "{error}"
    );
    assert_ne!(client.key_to_wrap(&second).unwrap().expose(), key.expose());
    assert_eq!(client.locate(None, 10).unwrap().len(), 2);

    // An active key is not destroyed.
    let error = client.destroy(&key_id).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");

    for (key_id, reason, state) in [
        (&key_id, RevocationReason::Superseded, KeyState::Deactivated),
        (
            &second,
            RevocationReason::KeyCompromise { since: 1 },
            KeyState::Compromised,
        ),
    ] {
        let before = client.key_to_unwrap(key_id).unwrap();
        client.revoke(key_id, reason).unwrap();
        assert_eq!(client.attributes(key_id).unwrap().state, Some(state));
        let error = client.key_to_wrap(key_id).unwrap_err();
        assert!(
            matches!(&error, Error::KeyState { state: s, .. } if *s == state),
            "{error}"
        );
        assert!(error.to_string().contains(key_id.as_str()), "{error}");
        let after = client.key_to_unwrap(key_id).unwrap();
        assert_eq!(after.expose(), before.expose());

        client.destroy(key_id).unwrap();
        let error = client.key_to_unwrap(key_id).unwrap_err();
        assert!(matches!(error, Error::KeyMissing { .. }), "{error}");
    }
}

#[test]
fn both_sides_check_the_other_ones_certificate() {
    let folder = TempDir::new().unwrap();
    let server = PyKmip::start(folder.path(), "a");
    let certificates = certificates();
    let fault = |settings| {
        let client = Client::new(settings).unwrap();
        client.health().remove(0).state.unwrap_err()
    };

    let mut other_server = settings(&[server.port]);
    other_server.trust = Trust::Certificates(certificates.other_server.certificate.clone());
    let fault_of_server = fault(other_server);
    assert!(
        matches!(fault_of_server, Fault::Untrusted(_)),
        "{fault_of_server}"
    );

    let mut foreign = settings(&[server.port]);
    foreign.client_certificate = certificates.foreign_client.certificate.clone();
    foreign.client_key = certificates.foreign_client.key.clone().into();
    let fault_of_client = fault(foreign);
    assert!(
        matches!(fault_of_client, Fault::ClientRefused(_)),
        "{fault_of_client}"
    );

    let mut authority = settings(&[server.port]);
    authority.trust = Trust::Authorities(certificates.authority.clone());
    let client = Client::new(authority).unwrap();
    assert!(client.new_key(None).is_ok());
}

#[test]
fn the_second_server_stands_in_for_the_first() {
    let folder = TempDir::new().unwrap();
    let mut first = PyKmip::start(folder.path(), "first");
    let mut second = PyKmip::start(folder.path(), "second");
    let both = client(&[&first, &second]);

    let key_id = both.new_key(None).unwrap();
    let key = both.key_to_wrap(&key_id).unwrap();

    // The client holds a connection to the server that dies.
    first.kill();
    let again = both.key_to_wrap(&key_id).unwrap();
    assert_eq!(again.expose(), key.expose());
    let made_meanwhile = both.new_key(None).unwrap();
    let health = both.health();
    assert!(
        matches!(health[0].state, Err(Fault::Unreachable(_))),
        "{health:?}"
    );
    assert!(health[1].state.is_ok(), "{health:?}");

    // A key that is missing while one server cannot be asked: both are told.
    let error = both.key_to_unwrap("1000000").unwrap_err();
    assert!(matches!(error, Error::KeyMissing { .. }), "{error}");
    for text in ["1000000", "item not found", "cannot be reached"] {
        assert!(error.to_string().contains(text), "{error}");
    }

    second.kill();
    let error = both.key_to_unwrap(&key_id).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Unavailable { .. }), "{text}");
    for port in [first.port, second.port] {
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    }
    assert!(
        text.contains("\"kp\"") && text.contains(&format!("{key_id:?}")),
        "{text}"
    );

    first.start_again();
    assert_eq!(both.key_to_unwrap(&key_id).unwrap().expose(), key.expose());
    assert!(both.key_to_unwrap(&made_meanwhile).is_ok());
}
