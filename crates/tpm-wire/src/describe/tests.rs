use super::*;
use crate::codec::Marshal as _;
use crate::commands::{COMMANDS, NvRead, NvWrite};
use crate::table::Command as _;
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// `NV_Write` by the owner with a password session.
fn nv_write(password: &[u8], data: &[u8]) -> Vec<u8> {
    let mut body = bytes("40000001 01800001");
    let mut sessions = bytes("40000009 0000 00");
    u16::try_from(password.len())
        .unwrap()
        .marshal(&mut sessions);
    sessions.extend(password);
    u32::try_from(sessions.len()).unwrap().marshal(&mut body);
    body.extend(sessions);
    u16::try_from(data.len()).unwrap().marshal(&mut body);
    body.extend(data);
    body.extend([0, 7]);
    message(0x8002, NvWrite::INFO.code, &body)
}

fn message(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    tag.marshal(&mut out);
    u32::try_from(body.len() + 10).unwrap().marshal(&mut out);
    code.marshal(&mut out);
    out.extend(body);
    out
}

fn texts(fields: &[Field], secrets: bool) -> Vec<String> {
    fields
        .iter()
        .map(|field| format!("{}={}", field.name, field.value.text(secrets)))
        .collect()
}

fn leaf<'a>(fields: &'a [Field], path: &str) -> &'a Field {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(a, b)| (a, Some(b)));
    let field = fields
        .iter()
        .find(|field| field.name.to_string() == first)
        .unwrap_or_else(|| panic!("no {first} in {fields:?}"));
    rest.map_or(field, |rest| leaf(&field.children, rest))
}

#[test]
fn a_command_is_described_with_the_names_of_the_table() {
    let command = describe_command(&nv_write(b"", b"abc"));
    assert_eq!(command.info.map(command_name).as_deref(), Some("NV_Write"));
    assert_eq!(
        texts(&command.handles, false),
        ["auth_handle=TPM_RH_OWNER", "nv_index=0x01800001"]
    );
    assert_eq!(command.sessions[0].kind(), Some(SessionKind::Password));
    assert_eq!(
        texts(&command.parameters, true),
        ["data=616263", "offset=7"]
    );
    assert_eq!(command.ended, None);
    assert!(command.unread.is_empty());
}

#[test]
fn passwords_and_nv_data_are_redacted_in_text_and_in_bytes() {
    let mut command = nv_write(b"hunter2", b"abc");
    let described = describe_command(&command);
    assert_eq!(
        texts(&described.parameters, false),
        ["data=[redacted, 3 bytes]", "offset=7"]
    );
    assert!(
        texts(&described.sessions[0].fields, false).contains(&"hmac=[redacted, 7 bytes]".into())
    );
    assert!(!format!("{described:?}").contains("104, 117"), "hu");
    let places = redact(&mut command, &described);
    assert_eq!(places.len(), 2);
    let text = String::from_utf8_lossy(&command);
    assert!(!text.contains("hunter2") && !text.contains("abc"));
    let again = describe_command(&command);
    assert_eq!(again.ended, None, "sizes stay, so it still parses");
    assert_eq!(texts(&again.parameters, true)[1], "offset=7");
}

#[test]
fn what_a_session_encrypts_is_shown_as_encrypted() {
    let body = bytes("40000001 01800001 0000000b 02000000 0002 abcd 21 0000 0003 998877 0007");
    let described = describe_command(&message(0x8002, NvWrite::INFO.code, &body));
    assert_eq!(described.ended, None);
    assert_eq!(
        texts(&described.parameters, false),
        ["data=[encrypted, 3 bytes]", "offset=7"]
    );
    // The response of NV_Read, whose sessions stand behind the parameters.
    let body = bytes("00000005 0003 998877 0002 abcd 41 0000");
    let response = message(0x8002, 0, &body);
    let described = describe_response(&response, &message(0x8001, NvRead::INFO.code, &[]));
    assert_eq!(described.ended, None);
    assert_eq!(
        texts(&described.parameters, false),
        ["data=[encrypted, 3 bytes]"]
    );
    assert_eq!(described.sessions.len(), 1);
}

#[test]
fn malformed_bytes_are_shown_as_far_as_they_go() {
    let whole = nv_write(b"secret", b"abc");
    for length in 0..whole.len() {
        let cut = describe_command(&whole[..length]);
        let ended = cut.ended.unwrap();
        assert!(ended.at <= length, "{ended:?}");
        assert_eq!(cut.unread.end, length);
    }
    let cut = describe_command(&whole[..whole.len() - 2]);
    assert_eq!(texts(&cut.parameters, true), ["data=616263"]);
    assert_eq!(cut.ended.map(|ended| ended.at), Some(whole.len() - 2));
    // A password that is cut off must not show either.
    let mut cut = whole[..28].to_vec();
    let described = describe_command(&cut);
    redact(&mut cut, &described);
    assert!(!cut.ends_with(b"sec"), "{cut:?}");
    let mut longer = whole.clone();
    longer.extend([1, 2]);
    assert_eq!(
        describe_command(&longer).ended.map(|ended| ended.why),
        Some(Stop::LeftOver(2))
    );
}

#[test]
fn structures_are_described_down_to_the_leaves() {
    // CreatePrimary of an RSA storage key with an authorization value.
    let body = bytes(
        "40000001 00000009 40000009 0000 00 0000
         0007 0003 707172 0000
         001a 0001 000b 00030072 0000 0006 0080 0043 0010 0800 00000000 0000
         0000 00000001 000b 03 010080",
    );
    let described = describe_command(&message(0x8002, 0x131, &body));
    assert_eq!(described.ended, None, "{described:?}");
    let at = |path| leaf(&described.parameters, path).value.text(false);
    assert_eq!(at("in_sensitive.user_auth"), "[redacted, 3 bytes]");
    assert_eq!(at("in_public.type"), "TPM_ALG_RSA");
    assert_eq!(
        at("in_public.object_attributes"),
        "FIXED_TPM|FIXED_PARENT|SENSITIVE_DATA_ORIGIN|USER_WITH_AUTH|RESTRICTED|DECRYPT"
    );
    assert_eq!(at("in_public.parameters.symmetric.mode"), "TPM_ALG_CFB");
    assert_eq!(at("in_public.parameters.scheme"), "NULL");
    assert_eq!(at("in_public.parameters.key_bits"), "2048");
    assert_eq!(at("creation_pcr.[0].hash"), "TPM_ALG_SHA256");
    assert_eq!(at("creation_pcr.[0].pcr_select"), "{0,23}");
    let field = leaf(&described.parameters, "in_sensitive.user_auth");
    assert_eq!((field.at, field.length), (29, 5));
}

#[test]
fn a_property_is_named_by_its_capability() {
    let described = describe_command(&message(
        0x8001,
        0x17A,
        &bytes("00000006 00000105 00000001"),
    ));
    assert_eq!(
        texts(&described.parameters, false),
        [
            "capability=TPM_CAP_TPM_PROPERTIES",
            "property=TPM_PT_MANUFACTURER",
            "property_count=1"
        ]
    );
    let answer = message(0x8001, 0, &bytes("00 00000006 00000001 00000105 49424d00"));
    let described = describe_response(&answer, &message(0x8001, 0x17A, &[]));
    assert_eq!(described.ended, None);
    let list = leaf(&described.parameters, "capability_data.data.[0].property");
    assert_eq!(list.value.text(false), "TPM_PT_MANUFACTURER");
}

#[test]
fn an_attestation_is_opened() {
    let attest = bytes(
        "ff544347 8018 0000 0002 aabb 0000000000000001 00000002 00000003 01 0000000000000009
         00000001 000b 03 010000 0004 01020304",
    );
    let mut body = Vec::new();
    u16::try_from(attest.len()).unwrap().marshal(&mut body);
    body.extend(attest);
    body.extend([0, 0x10]);
    let answer = message(0x8001, 0, &body);
    let described = describe_response(&answer, &message(0x8001, 0x158, &[]));
    assert_eq!(described.ended, None, "{described:?}");
    let at = |path| leaf(&described.parameters, path).value.text(false);
    assert_eq!(at("quoted.type"), "TPM_ST_ATTEST_QUOTE");
    assert_eq!(at("quoted.attested.pcr_digest"), "01020304");
    assert_eq!(at("signature"), "NULL");
}

#[test]
fn unknown_commands_keep_their_bytes_and_hide_their_sessions() {
    let plain = message(0x8001, 0x2000_0001, &[1, 2, 3]);
    let described = describe_command(&plain);
    assert!(described.info.is_none() && described.ended.is_none());
    assert_eq!(described.unread, 10..13);
    assert!(described.secret_places().is_empty());
    let with_sessions = message(0x8002, 0x2000_0001, &[1, 2, 3]);
    assert_eq!(
        describe_command(&with_sessions).secret_places(),
        vec![10..13]
    );
}

#[test]
fn a_refusal_names_what_it_points_at() {
    let info = &NvWrite::INFO;
    assert_eq!(
        pointed_at(Rc::VALUE.at(NvWrite::offset), info).as_deref(),
        Some("offset")
    );
    assert_eq!(
        pointed_at(Rc::VALUE.at(NvWrite::nv_index), info).as_deref(),
        Some("nv_index")
    );
    assert_eq!(
        pointed_at(Rc::REFERENCE_H1, info).as_deref(),
        Some("nv_index")
    );
    assert_eq!(pointed_at(Rc::AUTH_FAIL, info), None);
}

#[test]
fn commands_have_the_names_of_part_3() {
    let names: Vec<String> = COMMANDS.iter().map(|info| command_name(info)).collect();
    for name in [
        "NV_UndefineSpaceSpecial",
        "EvictControl",
        "HierarchyControl",
        "ChangeEPS",
        "ChangePPS",
        "PCR_Allocate",
        "PP_Commands",
        "NV_Write",
        "PCR_Event",
        "ActivateCredential",
        "PolicyNV",
        "ECDH_ZGen",
        "MAC",
        "MAC_Start",
        "RSA_Decrypt",
        "ECC_Parameters",
        "EC_Ephemeral",
        "PolicyOR",
        "PolicyPCR",
        "PolicyCpHash",
        "PolicyNvWritten",
        "PolicyAuthorizeNV",
        "ZGen_2Phase",
        "AC_GetCapability",
        "AC_Send",
        "Policy_AC_SendSelect",
        "ACT_SetTimeout",
        "CertifyX509",
        "ECC_Encrypt",
        "NV_DefineSpace2",
        "EncryptDecrypt2",
        "PolicyTransportSPDM",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
}

/// A small generator: the same bytes in every run.
fn noise(seed: &mut u64) -> u8 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    u8::try_from(*seed & 0xFF).unwrap()
}

#[test]
fn arbitrary_bytes_of_every_command_are_described_without_a_panic() {
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    for info in COMMANDS {
        for round in 0..60 {
            let length = usize::from(noise(&mut seed)) + usize::from(noise(&mut seed));
            let small = round % 2 == 0;
            let body: Vec<u8> = (0..length)
                .map(|_| {
                    let byte = noise(&mut seed);
                    // Small numbers get further than large ones.
                    if small && byte > 40 { 0 } else { byte }
                })
                .collect();
            for tag in [0x8001, 0x8002] {
                let mut command = message(tag, info.code, &body);
                let described = describe_command(&command);
                redact(&mut command, &described);
                let mut response = message(tag, 0, &body);
                let described = describe_response(&response, &command);
                assert!(described.unread.end == response.len());
                redact(&mut response, &described);
            }
        }
    }
}
