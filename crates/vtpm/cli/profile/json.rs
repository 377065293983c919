//! Profiles in JSON, in the form of swtpm's, with more that can be set.

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};
use tpm_engine::Profile;
use tpm_server::{LEVEL_OF_192_BITS, LEVEL_OF_RSA_4096, NOT_IN_LIBTPMS, level_of_command};
use tpm_wire::constants::TpmAlgId;

/// The fields that a profile can have.
const FIELDS: [&str; 10] = [
    "Name",
    "Description",
    "StateFormatLevel",
    "Algorithms",
    "Commands",
    "Attributes",
    "Base",
    "PcrBanks",
    "Limits",
    "Identity",
];
/// The profile that a JSON text describes.
pub(crate) fn from_json(text: &str) -> anyhow::Result<Profile> {
    let value: Value = serde_json::from_str(text.trim()).context("the profile is not JSON")?;
    let Value::Object(fields) = value else {
        bail!("the profile is not a JSON object")
    };
    check_keys(&fields, "the profile", &FIELDS)?;
    let name = text_of(&fields, "Name")?.context("the profile has no Name")?;
    let level = fields.get("StateFormatLevel").map(level_of).transpose()?;
    if let Some(words) = text_of(&fields, "Attributes")? {
        ensure!(
            words.trim().is_empty(),
            "the profile's Attributes '{words}' are not supported: algorithms can be left out, not forbidden for some uses"
        );
    }
    let named = super::by_name(name)?;
    let mut profile = named.clone();
    if let Some(base) = text_of(&fields, "Base")? {
        profile = Profile {
            name: profile.name,
            ..super::by_name(base).context("the profile's Base")?
        };
    }
    if let Some(words) = text_of(&fields, "Algorithms")? {
        profile.set_algorithms(words)?;
    }
    if let Some(ranges) = text_of(&fields, "Commands")? {
        profile.set_commands(ranges)?;
    }
    if let Some(limits) = object_of(&fields, "Limits")? {
        for (key, value) in limits {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            let number = number
                .with_context(|| format!("the limit '{key}' is no number of 32 bits: {value}"))?;
            profile.set_limit(key, number)?;
        }
    }
    if let Some(words) = text_of(&fields, "PcrBanks")? {
        profile.set_pcr_banks(words)?;
    }
    if let Some(identity) = object_of(&fields, "Identity")? {
        set_identity(&mut profile, identity)?;
    }
    if !super::is_custom(name) {
        let mut at_level = profile.clone();
        if let Some(level) = level {
            leave_out_later_sizes(&mut at_level, level);
        }
        // What a running TPM says of its profile may be given back as it is.
        ensure!(
            profile == named || at_level == named,
            "the profile '{name}' is what it is: one that differs is named custom or custom:NAME, and may say which it starts from with \"Base\":\"{name}\""
        );
        return Ok(named);
    }
    if let Some(level) = level {
        apply_level(
            &mut profile,
            level,
            fields.contains_key("Algorithms"),
            fields.contains_key("Commands"),
        )?;
    }
    profile.check()?;
    // What is stored with the state must open again.
    Ok(Profile::from_text(&profile.to_text())?)
}

/// Keeps to what libtpms has at a level of its state format. What was listed all the same is refused, as it does; of key
/// sizes, and of lists that were not given, it leaves out what comes later.
fn apply_level(
    profile: &mut Profile,
    level: u64,
    algorithms_listed: bool,
    commands_listed: bool,
) -> anyhow::Result<()> {
    let later = profile
        .commands()
        .map(|command| command.code)
        .find(|code| level_of_command(*code) > level);
    match later {
        Some(code) if commands_listed => bail!(
            "the command {code:#x} does not go with the profile's StateFormatLevel {level}: leave one of them out"
        ),
        Some(_) => {
            let codes = profile.disabled_commands.iter().copied();
            let later = tpm_wire::commands::COMMANDS
                .iter()
                .map(|command| command.code)
                .filter(|code| level_of_command(*code) > level);
            let mut disabled: Vec<u32> = codes.chain(later).collect();
            disabled.sort_unstable();
            disabled.dedup();
            profile.disabled_commands = disabled;
        }
        None => {}
    }
    for algorithm in NOT_IN_LIBTPMS {
        if algorithms_listed && profile.limits.has_algorithm(algorithm) {
            bail!(
                "the algorithm {algorithm:?} is at no StateFormatLevel: leave one of them out of the profile"
            );
        }
        profile.limits.remove_algorithm(algorithm);
    }
    leave_out_later_sizes(profile, level);
    Ok(())
}

/// A list of algorithms says nothing of the sizes of keys that came after its level.
fn leave_out_later_sizes(profile: &mut Profile, level: u64) {
    if level < LEVEL_OF_192_BITS {
        for cipher in [TpmAlgId::AES, TpmAlgId::CAMELLIA] {
            profile.limits.remove_symmetric_key_size(cipher, 192);
        }
    }
    if level < LEVEL_OF_RSA_4096 {
        profile.limits.remove_rsa_key_size(4096);
    }
}

fn level_of(value: &Value) -> anyhow::Result<u64> {
    let level = value.as_u64().filter(|level| (1..=8).contains(level));
    level.with_context(|| format!("the profile's StateFormatLevel is 1 to 8, not {value}"))
}

/// What the TPM calls itself.
fn set_identity(profile: &mut Profile, fields: &Map<String, Value>) -> anyhow::Result<()> {
    const FIELDS: [&str; 4] = ["Manufacturer", "Vendor", "FirmwareVersion", "Date"];
    check_keys(fields, "the profile's Identity", &FIELDS)?;
    if let Some(text) = text_of(fields, "Manufacturer")? {
        profile.manufacturer = padded("Manufacturer", text)?;
    }
    if let Some(text) = text_of(fields, "Vendor")? {
        let text: [u8; 16] = padded("Vendor", text)?;
        for (word, bytes) in profile.vendor_strings.iter_mut().zip(text.chunks(4)) {
            word.copy_from_slice(bytes);
        }
    }
    if let Some(text) = text_of(fields, "FirmwareVersion")? {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        profile.firmware_version = u64::from_str_radix(digits, 16).with_context(|| {
            format!("the FirmwareVersion '{text}' is no number of 64 bits, in hexadecimal")
        })?;
    }
    if let Some(value) = fields.get("Date") {
        let date: [u32; 2] = serde_json::from_value(value.clone())
            .context("the Date of the specification is [day of the year, year]")?;
        profile.date = date;
    }
    Ok(())
}

/// Printable characters, filled up with zeros.
fn padded<const SIZE: usize>(field: &str, text: &str) -> anyhow::Result<[u8; SIZE]> {
    let is_fine = text.bytes().all(|byte| (0x20..0x7F).contains(&byte)) && text.len() <= SIZE;
    ensure!(
        is_fine,
        "the {field} '{text}' is not at most {SIZE} printable characters of ASCII"
    );
    let mut padded = [0; SIZE];
    for (place, byte) in padded.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
    Ok(padded)
}

fn check_keys(fields: &Map<String, Value>, what: &str, known: &[&str]) -> anyhow::Result<()> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => bail!("{what} has '{key}': it can have {}", known.join(", ")),
        None => Ok(()),
    }
}

fn text_of<'a>(fields: &'a Map<String, Value>, key: &str) -> anyhow::Result<Option<&'a str>> {
    match fields.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => bail!("the profile's {key} is no text: {other}"),
    }
}

fn object_of<'a>(
    fields: &'a Map<String, Value>,
    key: &str,
) -> anyhow::Result<Option<&'a Map<String, Value>>> {
    match fields.get(key) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(other) => bail!("the profile's {key} is no JSON object: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::from_json;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::constants::TpmAlgId;

    /// The first custom profile that swtpm's manual shows, with the level that goes with it.
    const OF_SWTPM: &str = r#"{"Name":"custom",
        "Algorithms":"rsa,rsa-min-size=1024,tdes-min-size=128,hmac,aes,aes-min-size=128,mgf1,keyedhash,xor,sha256,sha384,sha512,null,rsassa,rsaes,rsapss,oaep,ecdsa,ecdh,ecdaa,sm2,ecschnorr,ecmqv,kdf1-sp800-56a,kdf2,kdf1-sp800-108,ecc,ecc-min-size=192,ecc-nist,ecc-bn,symcipher,camellia,camellia-min-size=128,cmac,ctr,ofb,cbc,cfb,ecb",
        "StateFormatLevel":2}"#;

    #[test]
    fn a_profile_of_swtpm_means_what_it_means_there() {
        let profile = from_json(OF_SWTPM).unwrap();
        assert_eq!(profile.name, "custom");
        let limits = &profile.limits;
        assert!(!limits.has_algorithm(TpmAlgId::SHA1) && !limits.has_algorithm(TpmAlgId::TDES));
        assert!(limits.has_algorithm(TpmAlgId::SHA384) && !limits.has_algorithm(TpmAlgId::SM4));
        assert!(
            !limits.has_rsa_key_size(4096) && !limits.has_curve(0x20) && limits.has_curve(0x11)
        );
        assert!(!limits.has_symmetric_key_size(TpmAlgId::AES, 192));
        assert!(
            profile
                .commands()
                .all(|command| command.code <= 0x193 || command.code == 0x197)
        );
    }

    #[test]
    fn a_name_alone_is_the_built_in_profile_and_what_it_says_of_itself_is_taken_back() {
        for name in tpm_engine::Profile::NAMES {
            let built_in = super::super::by_name(name).unwrap();
            let json = serde_json::json!({"Name": name, "Description": "x"});
            assert_eq!(from_json(&json.to_string()).unwrap(), built_in);
            let json = serde_json::json!({
                "Name": name, "StateFormatLevel": 7, "Attributes": "",
                "Algorithms": built_in.algorithms_text(), "Commands": built_in.commands_text(),
            });
            assert_eq!(from_json(&json.to_string()).unwrap(), built_in);
        }
    }

    #[test]
    fn a_custom_profile_sets_all_that_a_profile_is() {
        let profile = from_json(
            r#"{"Name":"custom:esx","Base":"pc-client","PcrBanks":"sha256",
                "Commands":"0x11f-0x122,0x124-0x12e,0x130-0x140,0x142-0x145,0x176,0x17a",
                "Limits":{"transient-objects":5,"nv-index":1024,"revision":138},
                "Identity":{"Manufacturer":"VMW","Vendor":"VMware TPM","FirmwareVersion":"0x200000001","Date":[8,2016]}}"#,
        )
        .unwrap();
        assert_eq!(profile.name, "custom:esx");
        assert_eq!(profile.pcr_banks, [TpmiAlgHash::Sha256]);
        assert_eq!(profile.limits.transient_objects, 5);
        assert_eq!((profile.max_nv_index, profile.max_nv_buffer), (1024, 1024));
        assert_eq!((profile.revision, profile.date), (138, [8, 2016]));
        assert_eq!(&profile.manufacturer, b"VMW\0");
        assert_eq!(profile.vendor_strings.concat(), b"VMware TPM\0\0\0\0\0\0");
        assert_eq!(profile.firmware_version, 0x2_0000_0001);
        assert!(!profile.limits.has_rsa_key_size(1024), "from its base");
        assert!(profile.commands().all(|command| command.code != 0x17B));
    }

    #[test]
    fn the_documentation_shows_profiles_that_are() {
        let page = include_str!("../../../../docs/profiles.md");
        let blocks: Vec<&str> = page.split("```json").skip(1).collect();
        assert_eq!(blocks.len(), 1);
        for block in blocks {
            let (json, _) = block.split_once("```").unwrap();
            let profile = from_json(json).unwrap();
            assert_eq!((profile.revision, profile.max_nv_buffer), (138, 512));
        }
        for name in tpm_engine::Profile::NAMES {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
        let error = from_json(r#"{"Name":"custom","Limits":{"x":1}}"#).unwrap_err();
        let error = error.to_string();
        let (_, limits) = error.split_once("can have: ").unwrap();
        for limit in limits.split(',').filter(|limit| *limit != "pcr") {
            assert!(page.contains(&format!("`{limit}`")), "{limit}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (json, words) in [
            ("", "not JSON"),
            ("7", "not a JSON object"),
            ("{}", "no Name"),
            (r#"{"Name":7}"#, "Name is no text"),
            (r#"{"Name":"nobody"}"#, "swtpm-0.7"),
            (
                r#"{"Name":"default","Colour":"red"}"#,
                "'Colour': it can have Name",
            ),
            (
                r#"{"Name":"pc-client","PcrBanks":"sha1"}"#,
                r#""Base":"pc-client""#,
            ),
            (r#"{"Name":"custom","Base":"custom:"}"#, "Base"),
            (
                r#"{"Name":"custom","Algorithms":"rsa,sha257"}"#,
                "`sha257` is not among",
            ),
            (r#"{"Name":"custom","Algorithms":"rsa"}"#, "without `hmac`"),
            (
                r#"{"Name":"custom","Commands":"0x144,0x999"}"#,
                "`0x999` is not among",
            ),
            (
                r#"{"Name":"custom","Commands":"0x144"}"#,
                "0x143 (SelfTest)",
            ),
            (
                r#"{"Name":"custom","Attributes":"fips-host"}"#,
                "'fips-host'",
            ),
            (r#"{"Name":"custom","StateFormatLevel":9}"#, "1 to 8"),
            (
                r#"{"Name":"custom","StateFormatLevel":2,"Commands":"0x143-0x145,0x17a,0x199"}"#,
                "0x199 does not go",
            ),
            (
                r#"{"Name":"custom","Limits":{"colour":1}}"#,
                "`colour` is not among the limits",
            ),
            (
                r#"{"Name":"custom","Limits":{"nv-index":-1}}"#,
                "'nv-index'",
            ),
            (
                r#"{"Name":"custom","Limits":{"nv-index":1}}"#,
                "64 to 65535",
            ),
            (
                r#"{"Name":"custom","Limits":{"loaded-sessions":65}}"#,
                "contradicts",
            ),
            (
                r#"{"Name":"custom","Limits":7}"#,
                "Limits is no JSON object",
            ),
            (
                r#"{"Name":"custom","PcrBanks":"md5"}"#,
                "`md5` is not among the PCR banks",
            ),
            (
                r#"{"Name":"custom","Identity":{"Manufacturer":"VMware"}}"#,
                "at most 4",
            ),
            (
                r#"{"Name":"custom","Identity":{"Date":[1]}}"#,
                "[day of the year, year]",
            ),
            (
                r#"{"Name":"custom","Identity":{"FirmwareVersion":"x"}}"#,
                "hexadecimal",
            ),
        ] {
            let error = format!("{:#}", from_json(json).expect_err(json));
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
