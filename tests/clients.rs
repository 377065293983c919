//! Public TPM clients do real work against the real server.
//!
//! A flow is a shell script of `tests/data/flows` that anyone can run by hand against any TPM that may be cleared:
//! `TPM2TOOLS_TCTI=swtpm:port=2321 bash -x tests/data/flows/quote.sh`. A second script `NAME.after-restart.sh` runs in
//! the same folder once the server has been ended in an orderly way and started again.

#![cfg(test)]

mod support;

use std::collections::BTreeSet;
use std::fs;

use support::{Client, Protocol, TpmServer, data, folder, only_for_vtpm};

fn run(flow: &str, protocol: Protocol) {
    if protocol == Protocol::Mssim && only_for_vtpm("it speaks no simulator protocol") {
        return;
    }
    let home = folder();
    let work = folder();
    let mut server = TpmServer::start(protocol, home.path());
    let client = Client::new(server.tcti(), work.path());
    client.flow(&format!("{flow}.sh"));
    let second = format!("{flow}.after-restart.sh");
    if data("flows").join(&second).exists() {
        server.restart();
        client.flow(&second);
    }
    server.assert_alive();
}

macro_rules! flows {
    ($($(#[$note:meta])* $name:ident),* $(,)?) => {
        const FLOWS: &[&str] = &[$(stringify!($name)),*];

        mod over_swtpm {
            $(#[test] $(#[$note])* fn $name() { super::run(stringify!($name), super::Protocol::Swtpm); })*
        }

        mod over_mssim {
            $(#[test] $(#[$note])* fn $name() { super::run(stringify!($name), super::Protocol::Mssim); })*
        }
    };
}

flows! {
    audit,
    capabilities,
    certify,
    changeauth,
    clear,
    clevis,
    clock,
    contexts,
    credentials,
    dictionary_attack,
    digests,
    duplication,
    ecdh,
    encrypted_sessions,
    hash,
    hierarchies,
    import,
    loadexternal,
    nv,
    openssl_provider,
    pcr,
    pcr_allocate,
    persistent,
    pkcs11,
    policies,
    policies_on_commands,
    primaries,
    quote,
    random,
    raw_commands,
    rsa_encryption,
    seal_authorizations,
    seal_pcr_policy,
    selftest,
    sign_ecdsa,
    sign_hmac,
    sign_rsapss,
    sign_rsassa,
    signed_policies,
    symmetric,
    systemd_creds,
}

#[test]
fn every_flow_in_the_folder_runs() {
    let found: BTreeSet<String> = fs::read_dir(data("flows"))
        .expect("the folder of flows")
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".sh")?.to_owned()))
        .filter(|name| name != "lib")
        .map(|name| match name.strip_suffix(".after-restart") {
            Some(first) => first.to_owned(),
            None => name,
        })
        .collect();
    let listed: BTreeSet<String> = FLOWS.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found, listed);
}

#[test]
fn unix_sockets_serve_the_same_protocol() {
    let home = folder();
    let work = folder();
    let mut server = TpmServer::start(Protocol::SwtpmUnix, home.path());
    let client = Client::new(server.tcti(), work.path());
    client.flow("random.sh");
    client.flow("quote.sh");
    server.assert_alive();
}
