//! The facts that GET_INFO gives, in swtpm's JSON form, asked of the TPM itself.

use tpm_engine::{Profile, Tpm};
use tpm_wire::codec::Limits;
use tpm_wire::constants::{TpmAlgId, TpmEccCurve};

use crate::choices;
use crate::frame::{rc, response_code, word};

const SPECIFICATION: u64 = 1;
const ATTRIBUTES: u64 = 2;
const FEATURES: u64 = 4;
const ALGORITHMS: u64 = 8;
const COMMANDS: u64 = 0x10;
const ACTIVE_PROFILE: u64 = 0x20;
const AVAILABLE_PROFILES: u64 = 0x40;
const RUNTIME_ATTRIBUTES: u64 = 0x80;

const FAMILY: u32 = 0x100;
const LEVEL: u32 = 0x101;
const REVISION: u32 = 0x102;
const MANUFACTURER: u32 = 0x105;
const VENDOR_STRINGS: std::ops::RangeInclusive<u32> = 0x106..=0x109;
const FIRMWARE: u32 = 0x10b;

/// Describes a TPM that nobody else uses: it is started.
pub(crate) fn describe(tpm: &mut Tpm, flags: u64) -> String {
    // TPM2_Startup(CLEAR); on a TPM that was started already it changes nothing.
    tpm.execute(&[0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0]);
    let properties = fixed_properties(tpm);
    let property = |wanted: u32| {
        properties
            .iter()
            .find(|(tag, _)| *tag == wanted)
            .map_or(0, |(_, value)| *value)
    };
    let mut parts = Vec::new();
    if flags & SPECIFICATION != 0 {
        let (family, level, revision) = (
            text(&[property(FAMILY)]),
            property(LEVEL),
            property(REVISION),
        );
        parts.push(format!(
            r#""TPMSpecification":{{"family":"{family}","level":{level},"revision":{revision}}}"#
        ));
    }
    if flags & ATTRIBUTES != 0 {
        let model = text(&VENDOR_STRINGS.map(property).collect::<Vec<_>>());
        let (manufacturer, version) = (property(MANUFACTURER), property(FIRMWARE));
        parts.push(format!(r#""TPMAttributes":{{"manufacturer":"id:{manufacturer:08X}","version":"id:{version:08X}","model":"{model}"}}"#));
    }
    if flags & FEATURES != 0 {
        let sizes: Vec<String> = rsa_key_sizes(tpm).map(|size| size.to_string()).collect();
        parts.push(format!(
            r#""TPMFeatures":{{"RSAKeySizes":[{}]}}"#,
            sizes.join(",")
        ));
    }
    if flags & ALGORITHMS != 0 {
        let implemented = algorithms(&Profile::default().limits);
        let enabled = algorithms(&tpm.profile().limits);
        let free = choices::algorithms(&implemented);
        parts.push(choice("RuntimeAlgorithms", &implemented, &free, &enabled));
    }
    if flags & COMMANDS != 0 {
        let implemented = ranges(&all_commands());
        let free = ranges(&choices::commands(&all_commands()));
        let enabled = ranges(&commands(tpm));
        parts.push(choice("RuntimeCommands", &implemented, &free, &enabled));
    }
    if flags & ACTIVE_PROFILE != 0 {
        let active = profile(tpm.profile());
        parts.push(format!(r#""ActiveProfile":{active}"#));
    }
    if flags & AVAILABLE_PROFILES != 0 {
        let known = Profile::NAMES.iter();
        let known = known.filter_map(|name| Profile::by_name(name));
        let known: Vec<String> = known.map(|known| profile(&known)).collect();
        parts.push(format!(r#""AvailableProfiles":[{}]"#, known.join(",")));
    }
    if flags & RUNTIME_ATTRIBUTES != 0 {
        // Nothing here depends on the cryptographic policy of the machine.
        parts.push(choice("RuntimeAttributes", &[], &[], &[]));
    }
    format!("{{{}}}", parts.join(","))
}

/// A profile, with the words by which `--profile` takes it back.
fn profile(profile: &Profile) -> String {
    let level = state_format_level(profile);
    let algorithms = level.map_or_else(
        || profile.algorithms_text(),
        |level| algorithms_at(level, profile),
    );
    let level = level.map(|level| format!(r#""StateFormatLevel":{level},"#));
    let description = DESCRIPTIONS
        .iter()
        .find(|(name, _)| *name == profile.name)
        .map(|(_, text)| format!(r#","Description":"{text}""#));
    format!(
        r#"{{"Name":"{}",{}"Commands":"{}","Algorithms":"{}"{}}}"#,
        printable(profile.name.bytes()),
        level.unwrap_or_default(),
        profile.commands_text(),
        algorithms,
        description.unwrap_or_default()
    )
}

/// What the built-in profiles are for.
const DESCRIPTIONS: [(&str, &str); 6] = [
    (
        "default",
        "This profile enables all commands and algorithms of this program, more than libtpms has.",
    ),
    (
        "pc-client",
        "This profile enables what the PC Client platform profile asks for, in the sizes of a chip.",
    ),
    (
        "swtpm-0.7",
        "The profile enables what swtpm 0.7 with libtpms 0.9 reports.",
    ),
    (
        "null",
        "The profile enables the commands and algorithms that were enabled in libtpms v0.9.",
    ),
    (
        "default-v1",
        "This profile enables all commands and algorithms of libtpms v0.10.",
    ),
    (
        "default-v2",
        "This profile enables all commands and algorithms of libtpms v0.11.",
    ),
];

/// The lowest level of libtpms' state format that has everything in a profile; `None` if none has.
fn state_format_level(profile: &Profile) -> Option<u64> {
    let foreign = NOT_IN_LIBTPMS
        .iter()
        .any(|algorithm| profile.limits.has_algorithm(*algorithm));
    if foreign {
        return None;
    }
    let codes = profile.commands().map(|command| command.code);
    let commands = codes.map(level_of_command).max().unwrap_or(1);
    let ciphers = [TpmAlgId::AES, TpmAlgId::CAMELLIA]
        .into_iter()
        .any(|cipher| profile.limits.has_symmetric_key_size(cipher, 192));
    let long_rsa = profile.limits.has_rsa_key_size(4096);
    let sizes = match (long_rsa, ciphers) {
        (true, _) => LEVEL_OF_RSA_4096,
        (false, true) => LEVEL_OF_192_BITS,
        (false, false) => 1,
    };
    Some(commands.max(sizes)).filter(|level| *level != u64::MAX)
}

/// The algorithms of a profile in libtpms's words, which do not repeat what its level says: sizes of keys that come later are left out.
fn algorithms_at(level: u64, profile: &Profile) -> String {
    let words = profile.algorithms_text();
    let least = |word: &str| {
        let (name, sizes) = word.split_once("-sizes=")?;
        let sizes: Vec<u16> = sizes
            .split('+')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let known: &[u16] = match name {
            "rsa" if level < LEVEL_OF_RSA_4096 => &[1024, 2048, 3072],
            "aes" | "camellia" if level < LEVEL_OF_192_BITS => &[128, 256],
            _ => return None,
        };
        let least = sizes.first().filter(|_| known.ends_with(&sizes))?;
        Some(format!("{name}-min-size={least}"))
    };
    let words = words
        .split(',')
        .map(|word| least(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(",")
}

/// The level of libtpms' state format from which on it has RSA keys of 4096 bits.
pub const LEVEL_OF_RSA_4096: u64 = 8;
/// The level of libtpms' state format from which on it has AES and Camellia keys of 192 bits.
pub const LEVEL_OF_192_BITS: u64 = 4;

/// Algorithms that libtpms does not know at any level of its state format.
pub const NOT_IN_LIBTPMS: [TpmAlgId; 5] = [
    TpmAlgId::SM3_256,
    TpmAlgId::SM4,
    TpmAlgId::SHA3_256,
    TpmAlgId::SHA3_384,
    TpmAlgId::SHA3_512,
];

/// The level of libtpms' state format from which on it has a command.
pub const fn level_of_command(code: u32) -> u64 {
    match code {
        0..=0x193 | 0x197 => 1,
        0x199 | 0x19A => 3,
        0x19B | 0x19C => 5,
        _ => u64::MAX,
    }
}

/// What there is, what of it a profile may leave out, and what this TPM has: its profile leaves out the rest, for good.
fn choice(name: &str, implemented: &[String], free: &[String], enabled: &[String]) -> String {
    let missing: Vec<String> = implemented
        .iter()
        .filter(|item| !enabled.contains(item))
        .cloned()
        .collect();
    let [implemented, free, enabled, missing] =
        [implemented, free, enabled, &missing].map(|items| items.join(","));
    format!(
        r#""{name}":{{"Implemented":"{implemented}","CanBeDisabled":"{free}","Enabled":"{enabled}","Disabled":"{missing}"}}"#
    )
}

fn algorithms(limits: &Limits) -> Vec<String> {
    let algorithms = TpmAlgId::NAMED
        .iter()
        .filter(|algorithm| limits.has_algorithm(**algorithm))
        .filter(|algorithm| !matches!(**algorithm, TpmAlgId::ERROR | TpmAlgId::NULL))
        .filter_map(|algorithm| algorithm.name());
    let curves = TpmEccCurve::NAMED
        .iter()
        .filter(|curve| curve.0 != 0 && limits.has_curve(curve.0))
        .filter_map(|curve| curve.name())
        .map(|name| format!("ecc-{name}"));
    algorithms
        .map(str::to_owned)
        .chain(curves)
        .map(|name| name.to_ascii_lowercase().replace('_', "-"))
        .collect()
}

fn all_commands() -> Vec<u32> {
    tpm_wire::commands::COMMANDS
        .iter()
        .map(|command| command.code)
        .collect()
}

/// The codes of the commands that the TPM takes.
fn commands(tpm: &mut Tpm) -> Vec<u32> {
    all_commands()
        .into_iter()
        .filter(|code| {
            // TPM2_GetCapability(TPM_CAP_COMMANDS) of this one.
            let mut command = vec![0x80, 0x01, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 2];
            command.extend(code.to_be_bytes());
            command.extend([0, 0, 0, 1]);
            let response = tpm.execute(&command);
            word(response, 19).is_some_and(|attributes| attributes & 0xffff == code & 0xffff)
        })
        .collect()
}

/// Codes in a row as one part.
fn ranges(codes: &[u32]) -> Vec<String> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for code in codes {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*code) => *last = *code,
            _ => runs.push((*code, *code)),
        }
    }
    let part = |(first, last)| {
        if first == last {
            format!("{first:#x}")
        } else {
            format!("{first:#x}-{last:#x}")
        }
    };
    runs.into_iter().map(part).collect()
}

/// The RSA key sizes that the TPM takes.
pub(crate) fn rsa_key_sizes(tpm: &mut Tpm) -> impl Iterator<Item = u16> {
    [1024_u16, 2048, 3072, 4096]
        .into_iter()
        .filter(move |size| {
            // TPM2_TestParms of TPM_ALG_RSA, no symmetric algorithm, no scheme, default exponent.
            let mut command = vec![
                0x80, 0x01, 0, 0, 0, 22, 0, 0, 1, 0x8a, 0, 1, 0, 0x10, 0, 0x10,
            ];
            command.extend(size.to_be_bytes());
            command.extend([0; 4]);
            response_code(tpm.execute(&command)) == Some(rc::SUCCESS)
        })
}

fn fixed_properties(tpm: &mut Tpm) -> Vec<(u32, u32)> {
    // TPM2_GetCapability(TPM_CAP_TPM_PROPERTIES, TPM_PT_FIXED, 64)
    let command = [
        0x80, 0x01, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0, 64,
    ];
    let response = tpm.execute(&command);
    if response_code(response) != Some(rc::SUCCESS) {
        return Vec::new();
    }
    // Header, moreData, capability, count; then pairs of tag and value.
    response
        .get(19..)
        .unwrap_or_default()
        .chunks_exact(8)
        .filter_map(|pair| Some((word(pair, 0)?, word(pair, 4)?)))
        .collect()
}

/// The text in a list of properties, as far as it is safe in JSON.
fn text(words: &[u32]) -> String {
    printable(words.iter().flat_map(|word| word.to_be_bytes()))
}

fn printable(bytes: impl Iterator<Item = u8>) -> String {
    bytes
        .map(char::from)
        .filter(|letter| letter.is_ascii_alphanumeric() || " .-_:".contains(*letter))
        .collect()
}
