//! The same commands with keys of every kind get the response codes that Debian's swtpm 0.7.1 gives: code, position, and
//! which of several wrong things is noticed first.
//!
//! `tests/data/swtpm_0_7_response_codes.txt` holds what swtpm answered, a row for each key and a column for each command;
//! `VTPM_UPDATE_DATA=1 VTPM_TESTS_AGAINST=swtpm` writes it again.

#![cfg(test)]

mod support;

use std::fmt::Write as _;
use std::fs;

use support::raw::{Bytes, RawTpm, authorized, command};
use support::{Protocol, TpmServer, against_swtpm, data, folder};

/// Where this TPM answers otherwise: a command, swtpm's code, ours, and why.
const OURS: &[(&str, u32, u32, &str)] = &[
    (
        "SequenceUpdate",
        0x1c9,
        0x189,
        "a handle is wrong; libtpms counts it as a parameter",
    ),
    (
        "CertifyX509",
        0x19c,
        0x29c,
        "the signing key is the second handle; libtpms says the first",
    ),
    (
        "RsaEncrypt.long",
        0x101,
        0x084,
        "a message that does not fit is a value, not a failure of OpenSSL",
    ),
];

const NULL: u32 = 0x4000_0007;
const ENDORSEMENT: u32 = 0x4000_000b;
const FLUSH_CONTEXT: u32 = 0x165;
const LOAD_EXTERNAL: u32 = 0x167;

const SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;

const USER_WITH_AUTH: u32 = 1 << 6;
const NO_DA: u32 = 1 << 10;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;
const X509_SIGN: u32 = 1 << 19;
/// fixedTPM, fixedParent and sensitiveDataOrigin, as public areas of other TPMs have them.
const FIXED: u32 = 1 << 1 | 1 << 4 | 1 << 5;

/// The generator of P-256, the point of the key whose scalar is 1.
const X: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
const Y: &str = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
const RSA_MODULUS: &str = "aa88e79bc3e5855741dd9f153d5027da5df5ed998b8fb77b1f42e6f9f8262ea2f7eca6af8ea2a83eef81456f973814bd3e69e6b74573058fa0a037e462bde78c53c0079d3f706713559100554b25c6df169a30646f8678af8704dc569da39d58e18ac9bb0980533dc3508f6f7179c52bf851bc46941ab75daac38531ea79a5054e464cc32a64f18ec64f548f2d253a5872bcc1b0ce9f8965ff31c9819d44cb8fcd07053546e0587901447749e5c6b7a70d192af49f754cc64be316dad8bed01dcdc01e670c95712a737b11aa6fcff0154e78f28edc8df6acd9da864fe1794618f4a42d4745897d2688269a9f64722db4eef003c4d433d485de9f272fd62c034f";
const RSA_PRIME: &str = "e5a0e69f5ba4e8fe344ef93e3966a065caf8c4bd51ee82f8cab55dfc98c71c3ef7d461d6d9ebac85c8c82a9485b6ab918c4ce47eba83435b322fc77fb070041bb1ca0a9f2eb0f56c2ca918371e864281b7410e6fec3ac9d0874d5c89b71689d31538684f6631c95617263e6b4286d6403a8feb8e0b62d423ff8ddcd75681baf1";

fn hexadecimal(digits: &str) -> Vec<u8> {
    hex::decode(digits).expect("hexadecimal digits")
}

/// A scheme with SHA-256, or none.
fn scheme(algorithm: u16) -> Bytes {
    let bytes = Bytes::new().u16(algorithm);
    match algorithm {
        // RSAES and none have no details, ECDAA has a count too.
        ALG_NULL | 0x15 => bytes,
        0x1a => bytes.u16(SHA256).u16(0),
        _ => bytes.u16(SHA256),
    }
}

/// A key that `TPM2_LoadExternal` is asked to load.
struct Key {
    name: String,
    public: Bytes,
    sensitive: Option<Bytes>,
}

fn public(kind: u16, attributes: u32, parameters: &Bytes, unique: &Bytes) -> Bytes {
    let head = Bytes::new().u16(kind).u16(SHA256).u32(attributes);
    head.sized(b"").raw(&parameters.0).raw(&unique.0)
}

fn sensitive(kind: u16, seed: &[u8], secret: &[u8]) -> Option<Bytes> {
    let area = Bytes::new().u16(kind).sized(b"").sized(seed).sized(secret);
    Some(Bytes::new().raw(&area.0))
}

/// AES of 128 bits in CFB mode for a storage key, nothing for another.
fn symmetric(attributes: u32) -> Bytes {
    if attributes & RESTRICTED != 0 && attributes & DECRYPT != 0 {
        Bytes::new().u16(6).u16(128).u16(0x43)
    } else {
        Bytes::new().u16(ALG_NULL)
    }
}

fn ecc_public(attributes: u32, algorithm: u16) -> Bytes {
    let parameters = symmetric(attributes).raw(&scheme(algorithm).0);
    let unique = Bytes::new().sized(&hexadecimal(X)).sized(&hexadecimal(Y));
    let parameters = parameters.u16(3).u16(ALG_NULL);
    public(0x23, attributes, &parameters, &unique)
}

fn rsa_public(attributes: u32, algorithm: u16) -> Bytes {
    let parameters = symmetric(attributes).raw(&scheme(algorithm).0);
    let unique = Bytes::new().sized(&hexadecimal(RSA_MODULUS));
    public(1, attributes, &parameters.u16(2048).u32(0), &unique)
}

/// A keyed hash key or a block cipher key: its secret, and the hash of seed and secret that makes it unique.
fn symmetric_key(kind: u16, attributes: u32, parameters: &Bytes) -> (Bytes, Option<Bytes>) {
    const SEED: [u8; 32] = *b"ssssssssssssssssssssssssssssssss";
    let (secret, unique) = match kind {
        KEYED_HASH => (
            vec![b'k'; 32],
            "3f1123ac064a6727ba257f31cf7095ac678b24ed570fb4c8adc297f90dc87788",
        ),
        _ => (
            vec![b'k'; 16],
            "4cfd7e9045e8900043ae17500df05a690a73ed599fa3747671e274639cfcc904",
        ),
    };
    let unique = Bytes::new().sized(&hexadecimal(unique));
    let public = public(kind, attributes, parameters, &unique);
    (public, sensitive(kind, &SEED, &secret))
}

const KEYED_HASH: u16 = 8;
const SYM_CIPHER: u16 = 0x25;

/// Keys of every kind, scheme and use.
fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    let mut add = |name: String, public: Bytes, sensitive: Option<Bytes>| {
        keys.push(Key {
            name,
            public,
            sensitive,
        });
    };
    let mut one = [0; 32];
    one[31] = 1;
    let ecc = || sensitive(0x23, b"", &one);
    let rsa = || sensitive(1, b"", &hexadecimal(RSA_PRIME));
    for (use_name, attributes) in [
        ("signs", SIGN),
        ("decrypts", DECRYPT),
        ("both", SIGN | DECRYPT),
        ("neither", 0),
    ] {
        let attributes = USER_WITH_AUTH | attributes;
        for (name, algorithm) in [
            ("", ALG_NULL),
            ("-ecdsa", 0x18),
            ("-ecdaa", 0x1a),
            ("-sm2", 0x1b),
            ("-schnorr", 0x1c),
            ("-ecdh", 0x19),
            ("-mqv", 0x1d),
        ] {
            let public = ecc_public(attributes, algorithm);
            add(format!("ecc{name}-{use_name}"), public, ecc());
        }
        for (name, algorithm) in [
            ("", ALG_NULL),
            ("-ssa", 0x14),
            ("-pss", 0x16),
            ("-oaep", 0x17),
            ("-es", 0x15),
        ] {
            let public = rsa_public(attributes, algorithm);
            add(format!("rsa{name}-{use_name}"), public, rsa());
        }
        for (name, parameters) in [
            ("hash", scheme(ALG_NULL)),
            ("hmac", scheme(5)),
            ("xor", scheme(0xa).u16(0x22)),
        ] {
            let (public, sensitive) = symmetric_key(KEYED_HASH, attributes, &parameters);
            add(format!("{name}-{use_name}"), public, sensitive);
        }
        for (name, mode) in [
            ("", ALG_NULL),
            ("-cfb", 0x43),
            ("-ecb", 0x44),
            ("-cmac", 0x3f),
        ] {
            let parameters = Bytes::new().u16(6).u16(128).u16(mode);
            let (public, sensitive) = symmetric_key(SYM_CIPHER, attributes, &parameters);
            add(format!("aes{name}-{use_name}"), public, sensitive);
        }
    }
    let x509 = USER_WITH_AUTH | SIGN | X509_SIGN;
    add("ecc-x509".to_owned(), ecc_public(x509, ALG_NULL), ecc());
    add("ecc-policy".to_owned(), ecc_public(SIGN, ALG_NULL), ecc());
    let restricted = USER_WITH_AUTH | SIGN | RESTRICTED;
    add(
        "ecc-attests".to_owned(),
        ecc_public(restricted, 0x18),
        ecc(),
    );
    // Of these the public area alone is loaded.
    let storage = FIXED | USER_WITH_AUTH | NO_DA | RESTRICTED | DECRYPT;
    let attests = FIXED | USER_WITH_AUTH | RESTRICTED | SIGN;
    for (name, public) in [
        ("ecc-storage", ecc_public(storage, ALG_NULL)),
        ("rsa-storage", rsa_public(storage, ALG_NULL)),
        ("ecc-attests", ecc_public(attests, 0x18)),
        ("rsa-attests", rsa_public(attests, 0x14)),
        ("ecc-signs", ecc_public(FIXED | SIGN, ALG_NULL)),
    ] {
        add(format!("public-{name}"), public, None);
    }
    keys
}

/// A command: its name in the data file, and its bytes.
type Question = (&'static str, Vec<u8>);

/// What is asked of a key.
fn questions(key: u32) -> Vec<Question> {
    let new = Bytes::new;
    let one = |code, parameters: &Bytes| authorized(code, &[key], &[b""], parameters);
    let two = |code, parameters: &Bytes| authorized(code, &[key, key], &[b"", b""], parameters);
    let digest = [0x11; 32];
    let point = new().sized(&hexadecimal(X)).sized(&hexadecimal(Y));
    let beside = new().sized(&hexadecimal(X)).sized(&hexadecimal(X));
    let no_ticket = new().u16(0x8024).u32(NULL).sized(b"");
    let sealed = public(
        KEYED_HASH,
        USER_WITH_AUTH,
        &scheme(ALG_NULL),
        &new().sized(b""),
    );
    let mut list: Vec<Question> = Vec::new();

    for (names, algorithm) in [
        (["Sign.null", "Certify.null"], ALG_NULL),
        (["Sign.ecdsa", "Certify.ecdsa"], 0x18),
        (["Sign.ecdaa", "Certify.ecdaa"], 0x1a),
        (["Sign.ssa", "Certify.ssa"], 0x14),
        (["Sign.hmac", "Certify.hmac"], 5),
    ] {
        let [sign, certify] = names;
        let scheme = scheme(algorithm).0;
        let parameters = new().sized(&digest).raw(&scheme).raw(&no_ticket.0);
        list.push((sign, one(0x15d, &parameters)));
        list.push((certify, two(0x148, &new().sized(b"q").raw(&scheme))));
    }
    let ecdsa = scheme(0x18).0;
    let short = new().sized(&digest[1..]).raw(&ecdsa).raw(&no_ticket.0);
    list.push(("Sign.short", one(0x15d, &short)));
    let ticket = new().u16(0x8024).u32(support::raw::OWNER).sized(&digest);
    let forged = new().sized(&digest).raw(&ecdsa).raw(&ticket.0);
    list.push(("Sign.ticket", one(0x15d, &forged)));
    let quote = new().sized(b"q").raw(&ecdsa).u32(0);
    list.push(("Quote", one(0x158, &quote)));
    let privacy = |code| {
        let parameters = new().sized(b"q").raw(&ecdsa);
        authorized(code, &[ENDORSEMENT, key], &[b"", b""], &parameters)
    };
    list.push(("GetTime", privacy(0x14c)));
    list.push(("GetCommandAuditDigest", privacy(0x133)));
    let creation = new().sized(b"q").sized(&digest).raw(&ecdsa);
    let creation = creation.u16(0x8021).u32(NULL).sized(b"");
    let certify_creation = authorized(0x14a, &[key, key], &[b""], &creation);
    list.push(("CertifyCreation", certify_creation));
    let certificate = new().sized(b"").raw(&ecdsa).sized(b"");
    list.push(("CertifyX509", two(0x197, &certificate)));
    let commit = |point: &Bytes, s2: &[u8]| {
        let parameters = new().sized(&point.0).sized(s2).sized(b"");
        one(0x18b, &parameters)
    };
    list.push(("Commit.beside", commit(&beside, b"")));
    list.push(("Commit.half", commit(&point, b"s")));

    for (name, algorithm, size) in [
        ("VerifySignature.ecdsa", 0x18, 32),
        ("VerifySignature.ecdaa", 0x1a, 32),
        ("VerifySignature.ssa", 0x14, 256),
    ] {
        let mut signature = new().u16(algorithm).u16(SHA256).sized(&vec![1; size]);
        if size == 32 {
            signature = signature.sized(&[1; 32]);
        }
        let parameters = new().u32(key).sized(&digest).raw(&signature.0);
        list.push((name, command(0x177, &parameters)));
    }
    let mac = new().u16(5).u16(SHA256).raw(&digest);
    let parameters = new().u32(key).sized(&digest).raw(&mac.0);
    list.push(("VerifySignature.hmac", command(0x177, &parameters)));

    for (name, salt) in [
        ("StartAuthSession.unsalted", &b""[..]),
        ("StartAuthSession.point", &point.0),
        ("StartAuthSession.beside", &beside.0),
        ("StartAuthSession.number", &[1; 256]),
    ] {
        let parameters = new().u32(key).u32(NULL).sized(&[5; 16]).sized(salt);
        let parameters = parameters.u8(0).u16(ALG_NULL).u16(SHA256);
        list.push((name, command(0x176, &parameters)));
    }
    let bound = new().u32(NULL).u32(key).sized(&[5; 16]).sized(b"");
    let bound = bound.u8(0).u16(ALG_NULL).u16(SHA256);
    list.push(("StartAuthSession.bound", command(0x176, &bound)));
    let activate = new().sized(b"blob").sized(&point.0);
    list.push(("ActivateCredential", two(0x147, &activate)));
    for (name, size) in [("MakeCredential", 32), ("MakeCredential.long", 33)] {
        let parameters = new().u32(key).sized(&vec![1; size]).sized(b"name");
        list.push((name, command(0x168, &parameters)));
    }
    let rewrap = new().sized(&[0]).sized(b"").sized(&point.0);
    let moved = authorized(0x152, &[key, key], &[b""], &rewrap);
    list.push(("Rewrap", moved));
    let wrap = new().sized(&[0]).sized(b"").sized(b"");
    let wrapped = authorized(0x152, &[NULL, key], &[b""], &wrap);
    list.push(("Rewrap.new", wrapped));
    let import = new().sized(b"").sized(&sealed.0).sized(&[0, 0]).sized(b"");
    list.push(("Import", one(0x156, &import.u16(ALG_NULL))));
    let load = new().sized(b"").sized(&sealed.0);
    list.push(("Load.empty", one(0x157, &load)));
    let create = new().sized(&[0; 4]).sized(&sealed.0);
    list.push(("CreateLoaded", one(0x191, &create)));
    list.push(("Create", one(0x153, &create.sized(b"").u32(0))));
    list.push(("Unseal", one(0x15e, &new())));
    let change = new().sized(&[1; 33]);
    let changed = authorized(0x150, &[key, key], &[b""], &change);
    list.push(("ObjectChangeAuth.long", changed));
    let duplicate = new().sized(b"").u16(ALG_NULL);
    let duplicated = authorized(0x14b, &[key, NULL], &[b""], &duplicate);
    list.push(("Duplicate", duplicated));

    for (name, algorithm, size, label) in [
        ("RsaEncrypt", ALG_NULL, 4, &b""[..]),
        ("RsaEncrypt.oaep", 0x17, 4, b"label\0"),
        ("RsaEncrypt.long", 0x17, 200, b""),
        ("RsaEncrypt.label", 0x17, 200, b"label"),
    ] {
        let parameters = new().u32(key).sized(&vec![1; size]);
        let parameters = parameters.raw(&scheme(algorithm).0).sized(label);
        list.push((name, command(0x174, &parameters)));
    }
    for (name, algorithm, label) in [
        ("RsaDecrypt.short", ALG_NULL, &b""[..]),
        ("RsaDecrypt.es", 0x15, b""),
        ("RsaDecrypt.label", 0x17, b"label"),
    ] {
        let parameters = new().sized(&[1; 255]).raw(&scheme(algorithm).0);
        list.push((name, one(0x159, &parameters.sized(label))));
    }
    list.push(("EcdhKeyGen", command(0x163, &new().u32(key))));
    list.push(("EcdhZGen", one(0x154, &new().sized(&point.0))));
    list.push(("EcdhZGen.beside", one(0x154, &new().sized(&beside.0))));
    for (name, mine, theirs, algorithm) in [
        ("ZGen2Phase", &point, &point, 0x19),
        ("ZGen2Phase.beside", &point, &beside, 0x19),
        ("ZGen2Phase.mqv", &beside, &point, 0x1d),
    ] {
        let parameters = new().sized(&mine.0).sized(&theirs.0);
        list.push((name, one(0x18d, &parameters.u16(algorithm).u16(77))));
    }

    for (name, decrypts, mode, iv, size) in [
        ("EncryptDecrypt", 0, 0x43, 16, 16),
        ("EncryptDecrypt.back", 1, 0x43, 16, 16),
        ("EncryptDecrypt.null", 0, ALG_NULL, 8, 17),
        ("EncryptDecrypt.iv", 0, 0x44, 16, 17),
        ("EncryptDecrypt.data", 0, 0x44, 0, 17),
    ] {
        let parameters = new().u8(decrypts).u16(mode).sized(&vec![1; iv]);
        list.push((name, one(0x164, &parameters.sized(&vec![2; size]))));
    }
    let swapped = new().sized(&[2; 17]).u8(0).u16(0x44).sized(b"");
    list.push(("EncryptDecrypt2.data", one(0x193, &swapped)));
    for (names, algorithm) in [
        (["Hmac.null", "HmacStart.null"], ALG_NULL),
        (["Hmac.sha1", "HmacStart.sha1"], 4),
        (["Hmac.sha256", "HmacStart.sha256"], SHA256),
        (["Hmac.cmac", "HmacStart.cmac"], 0x3f),
    ] {
        let [mac, start] = names;
        list.push((mac, one(0x155, &new().sized(b"data").u16(algorithm))));
        list.push((start, one(0x15b, &new().sized(b"").u16(algorithm))));
    }
    list.push(("SequenceUpdate", one(0x15c, &new().sized(b"data"))));
    let complete = new().sized(b"data").u32(NULL);
    list.push(("SequenceComplete", one(0x13e, &complete)));
    let event = authorized(0x185, &[17, key], &[b"", b""], &new().sized(b""));
    list.push(("EventSequenceComplete", event));
    list
}

/// Commands whose response has a handle, of something that has to go again.
const LOADS: [u32; 4] = [LOAD_EXTERNAL, 0x191, 0x15b, 0x176];

/// The code of the answer; what was loaded is returned or flushed.
fn ask(tpm: &mut RawTpm, bytes: &[u8]) -> (u32, Option<u32>) {
    const RETRY: u32 = 0x922;
    let mut response = tpm.execute(bytes);
    while response.code() == RETRY {
        response = tpm.execute(bytes);
    }
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
    let loads = LOADS.contains(&word(&bytes[6..]));
    let handle = (response.code() == 0 && loads).then(|| word(response.body()));
    (response.code(), handle)
}

fn flush(tpm: &mut RawTpm, handle: Option<u32>) {
    if let Some(handle) = handle {
        tpm.ok(&command(FLUSH_CONTEXT, &Bytes::new().u32(handle)));
    }
}

/// The rows of the data file, as this TPM gives them.
fn report(tpm: &mut RawTpm) -> String {
    let mut text = String::from("key LoadExternal");
    for (name, _) in questions(0) {
        let _ = write!(text, " {name}");
    }
    text.push('\n');
    for key in keys() {
        let area = key.sensitive.as_ref().map_or(&[][..], |area| &area.0);
        let parameters = Bytes::new().sized(area).sized(&key.public.0).u32(NULL);
        let (code, handle) = ask(tpm, &command(LOAD_EXTERNAL, &parameters));
        let _ = write!(text, "{} {code:03x}", key.name);
        if let Some(handle) = handle {
            for (_, bytes) in questions(handle) {
                let (code, loaded) = ask(tpm, &bytes);
                flush(tpm, loaded);
                let _ = write!(text, " {code:03x}");
            }
        }
        flush(tpm, handle);
        text.push('\n');
    }
    text
}

#[test]
fn every_key_gets_the_response_codes_that_swtpm_gives() {
    let home = folder();
    let options: &[&str] = if against_swtpm() {
        &[]
    } else {
        &["--profile", "name=swtpm-0.7"]
    };
    let server = TpmServer::start_with(Protocol::Swtpm, home.path(), options);
    let text = report(&mut RawTpm::connect(server.address()));
    let path = data("swtpm_0_7_response_codes.txt");
    if against_swtpm() && std::env::var_os("VTPM_UPDATE_DATA").is_some() {
        fs::write(&path, &text).expect("the data file");
    }
    let expected = fs::read_to_string(&path).expect("the data file");
    let names: Vec<&str> = expected
        .lines()
        .next()
        .expect("a head")
        .split(' ')
        .collect();
    assert_eq!(text.lines().next(), expected.lines().next());
    assert_eq!(text.lines().count(), expected.lines().count());
    let mut asked = 0;
    let mut seen = [false; OURS.len()];
    let mut wrong = String::new();
    for (ours, theirs) in text.lines().zip(expected.lines()).skip(1) {
        let (ours, theirs): (Vec<_>, Vec<_>) =
            (ours.split(' ').collect(), theirs.split(' ').collect());
        assert_eq!(ours.len(), theirs.len(), "{ours:?}");
        let key = theirs[0];
        for ((name, ours), theirs) in names.iter().zip(ours).zip(theirs) {
            asked += 1;
            if ours == theirs {
                continue;
            }
            if let Some(index) = known(name, theirs, ours) {
                seen[index] = true;
            } else {
                let _ = writeln!(wrong, "{key} {name}: {ours}, swtpm {theirs}");
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "of {asked} answers these differ:\n{wrong}"
    );
    assert!(asked > 2500, "{asked}");
    let stale = |(difference, seen): (_, &bool)| (!*seen).then_some(difference);
    let stale: Vec<_> = OURS.iter().zip(&seen).filter_map(stale).collect();
    assert!(against_swtpm() || stale.is_empty(), "not seen: {stale:?}");
}

/// Which of the known differences it is.
fn known(name: &str, theirs: &str, ours: &str) -> Option<usize> {
    OURS.iter().position(|(command, swtpm, vtpm, _)| {
        *command == name && format!("{swtpm:03x}") == theirs && format!("{vtpm:03x}") == ours
    })
}
