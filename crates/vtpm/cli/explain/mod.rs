//! `vtpm explain`: what a response code means.

mod sentences;
mod tss;

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value as Json, json};
use tpm_wire::Rc;
use tpm_wire::commands::COMMANDS;
use tpm_wire::constants::{TpmAlgId, TpmCap, TpmEccCurve, TpmPt, TpmSt};
use tpm_wire::describe::{command_name, handle_name, pointed_at};
use tpm_wire::handles::TpmHandle;
use tpm_wire::table::{CommandInfo, Role, find};

use super::{log, output};
use tss::{BASE, LAYERS, Layer};

/// The vendor bit of a response code of format zero.
const VENDOR: u32 = 0x400;
/// The bit that says whether a code of format zero is of a TPM 2.0.
const VERSION_2: u32 = 0x100;
const WARNING: u32 = 0x800;

/// Explain response codes, commands, handles and other numbers and names of a TPM
///
/// Takes hexadecimal (0x9a2) and decimal numbers, codes of tpm2-tss with their layer (0x00070009), names (TPM_RC_VALUE, BAD_AUTH,
/// TSS2_TCTI_RC_IO_ERROR), and what tpm2_rc_decode prints with a name at its end (tpm:parameter(1):VALUE). Commands are named or numbered
/// (NV_Write, TPM_CC_NV_Write, 0x137). Exit code 1 if anything is not known.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// Numbers and names
    #[arg(required = true, value_name = "CODE")]
    codes: Vec<String>,
    /// The command that was answered: names the handle, session or parameter
    #[arg(long, value_name = "NAME")]
    command: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is known about one argument.
enum Known {
    Response {
        layer: &'static Layer,
        code: Rc,
    },
    Software {
        layer: &'static Layer,
        number: u16,
        name: &'static str,
        meaning: &'static str,
    },
    Command(&'static CommandInfo),
    Handle(TpmHandle),
    Constant {
        name: String,
        number: u32,
        what: &'static str,
    },
}

impl Explain {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let command = match &self.command {
            None => None,
            Some(name) => match command(name) {
                Some(info) => Some(info),
                None => {
                    log::complain(&anyhow::anyhow!(
                        "--command {name}: there is no such command; docs/commands.md lists them"
                    ));
                    return Ok(ExitCode::from(2));
                }
            },
        };
        let mut failed = false;
        let mut explained = Vec::new();
        for code in &self.codes {
            match look_up(code) {
                Ok(found) if self.json => {
                    let found: Vec<Json> = found.iter().map(|one| one.json(command)).collect();
                    explained.push(json!({ "asked": code, "found": found }));
                }
                Ok(found) => {
                    for known in found {
                        explained.push(Json::from(known.text(command)));
                    }
                }
                Err(why) => {
                    failed = true;
                    log::complain(&anyhow::anyhow!("{code}: {why}"));
                }
            }
        }
        if self.json {
            output::json(&explained)?;
        } else {
            let texts: Vec<&str> = explained.iter().filter_map(Json::as_str).collect();
            if !texts.is_empty() {
                output::line(texts.join("\n"))?;
            }
        }
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Everything that a number or name can mean, the likeliest first.
fn look_up(text: &str) -> Result<Vec<Known>, String> {
    if let Some(number) = number(text)? {
        return by_number(number);
    }
    if let Some(known) = placed(text)? {
        return Ok(vec![known]);
    }
    let known = response_name(text)
        .or_else(|| software_name(text))
        .or_else(|| command(text).map(Known::Command))
        .or_else(|| handle(text).map(Known::Handle))
        .or_else(|| constant(text));
    known.map(|known| vec![known]).ok_or_else(|| {
        "not a number, nor the name of a response code, command, handle, algorithm, curve, capability or property"
            .to_owned()
    })
}

/// A number in hexadecimal with 0x or with a letter in it, or in decimal; `None` for a word.
fn number(text: &str) -> Result<Option<u32>, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if lower.bytes().all(|byte| byte.is_ascii_digit()) => (lower.as_str(), 10),
        None if lower.starts_with(|first: char| first.is_ascii_digit())
            && lower.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            (lower.as_str(), 16)
        }
        None => return Ok(None),
    };
    u32::from_str_radix(digits, radix)
        .map(Some)
        .map_err(|_| "not a number of 32 bits".to_owned())
}

fn by_number(number: u32) -> Result<Vec<Known>, String> {
    let low = u16::try_from(number & 0xFFFF).unwrap_or_default();
    if number > 0x00FF_FFFF {
        let handle = TpmHandle(number);
        return match handle.kind() {
            Some(_) => Ok(vec![Known::Handle(handle)]),
            None => Err("no response code has so many digits, and no handle this type".to_owned()),
        };
    }
    let layer_number = u8::try_from(number >> 16).unwrap_or(u8::MAX);
    let Some(layer) = tss::layer(layer_number) else {
        return Err(format!(
            "the layer {layer_number} is not one of tpm2-tss, so only its maker knows the code {low:#x}"
        ));
    };
    // The TPM's own codes, also behind the resource manager, which has the software's codes besides.
    if layer.word == "tpm" || layer.word == "rm" || (layer.word == "rmt" && low > 0x7F) {
        let mut found = Vec::new();
        let code = Rc::from_number(u32::from(low));
        if code.number() <= 0xFFF && is_known(code) {
            found.push(Known::Response { layer, code });
        }
        if layer.word == "tpm" {
            found.extend(find(u32::from(low)).map(Known::Command));
            let algorithm = TpmAlgId(low);
            if found.is_empty()
                && let Some(name) = algorithm.name()
            {
                found.push(Known::Constant {
                    name: format!("TPM_ALG_{name}"),
                    number: u32::from(low),
                    what: "an algorithm",
                });
            }
        }
        if found.is_empty() {
            return Err(if code.number() & (0x80 | VERSION_2) == 0 {
                "without bit 7 or 8 it is a code of a TPM 1.2, or none".to_owned()
            } else {
                "no specification names this code".to_owned()
            });
        }
        return Ok(found);
    }
    BASE.iter()
        .find(|(known, _, _)| *known == low)
        .map(|(number, name, meaning)| {
            vec![Known::Software {
                layer,
                number: *number,
                name,
                meaning,
            }]
        })
        .ok_or_else(|| format!("{} has no code {low:#x}", layer.what))
}

/// Whether a code has a name, or is one of a vendor.
fn is_known(code: Rc) -> bool {
    code.name().is_some() || is_vendor(code)
}

/// Whether a vendor made the code.
fn is_vendor(code: Rc) -> bool {
    !code.is_format_one() && code.number() & (VERSION_2 | VENDOR) == VERSION_2 | VENDOR
}

/// `layer:kind(number):name`, as `tpm2_rc_decode` writes it.
fn placed(text: &str) -> Result<Option<Known>, String> {
    let Some((word, rest)) = text.split_once(':') else {
        return Ok(None);
    };
    let Some(layer) = LAYERS.iter().find(|layer| layer.word == word) else {
        let words: Vec<&str> = LAYERS.iter().map(|layer| layer.word).collect();
        return Err(format!("'{word}' is not a layer: {}", words.join(", ")));
    };
    let (place, name) = rest.split_once(':').unwrap_or(("", rest));
    if !matches!(layer.word, "tpm" | "rm" | "rmt") {
        let known = BASE.iter().find(|(_, known, _)| *known == name);
        return known
            .map(|(number, name, meaning)| {
                Some(Known::Software {
                    layer,
                    number: *number,
                    name,
                    meaning,
                })
            })
            .ok_or_else(|| format!("'{name}' is not the name of a code of {}", layer.what));
    }
    let Some(Known::Response { code, .. }) = response_name(name) else {
        return Err(format!(
            "'{name}' is not the name of a response code; give the number, which says more than the sentence"
        ));
    };
    let code = match position(place)? {
        Some(position) => code.at(position),
        None => code,
    };
    Ok(Some(Known::Response { layer, code }))
}

fn position(place: &str) -> Result<Option<tpm_wire::Position>, String> {
    if place.is_empty() || place.starts_with("error") || place.starts_with("warn") {
        return Ok(None);
    }
    let wrong = || format!("'{place}' is not a place: handle(N), session(N) or parameter(N)");
    let (kind, number) = place
        .strip_suffix(')')
        .and_then(|place| place.split_once('('))
        .ok_or_else(wrong)?;
    let number: u8 = number.parse().map_err(|_| wrong())?;
    Ok(Some(match (kind, number) {
        ("handle", 1..=7) => tpm_wire::Position::handle(number),
        ("session", 1..=7) => tpm_wire::Position::session(number),
        ("parameter", 1..=15) => tpm_wire::Position::parameter(number),
        _ => return Err(wrong()),
    }))
}

/// A name without its prefix, in capitals.
fn bare<'a>(text: &'a str, prefixes: &[&str]) -> &'a str {
    prefixes
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text)
}

fn response_name(text: &str) -> Option<Known> {
    let upper = text.to_ascii_uppercase();
    let name = bare(&upper, &["TPM_RC_", "TPM2_RC_", "RC_"]);
    let code = (0..=0xFFF)
        .map(Rc::from_number)
        .find(|code| code.base() == *code && code.name() == Some(name))?;
    let layer = tss::layer(0)?;
    Some(Known::Response { layer, code })
}

fn software_name(text: &str) -> Option<Known> {
    let upper = text.to_ascii_uppercase();
    let rest = upper.strip_prefix("TSS2_")?;
    let (layer, name) = rest.split_once("_RC_")?;
    let layer = match layer {
        "ESAPI" => "ESYS",
        "TPM" => "TPM2",
        other => other,
    };
    let layer = LAYERS.iter().find(|known| known.c_name == layer)?;
    let (number, name, meaning) = BASE.iter().find(|(_, known, _)| *known == name)?;
    Some(Known::Software {
        layer,
        number: *number,
        name,
        meaning,
    })
}

/// A command by its name, however it is written.
fn command(text: &str) -> Option<&'static CommandInfo> {
    if let Ok(Some(code)) = number(text) {
        return find(code);
    }
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    let wanted = plain(text);
    let wanted = bare(&wanted, &["tpm2cc", "tpmcc", "tpm2"]);
    COMMANDS
        .iter()
        .find(|info| plain(info.name) == wanted || plain(&command_name(info)) == wanted)
        .copied()
}

fn handle(text: &str) -> Option<TpmHandle> {
    let upper = text.to_ascii_uppercase();
    let wanted = bare(
        &upper,
        &["TPM2_RH_", "TPM_RH_", "TPM2_RS_", "TPM_RS_", "RH_"],
    );
    let permanent = (0x4000_0000..0x4000_0200).map(TpmHandle);
    permanent
        .into_iter()
        .find(|handle| bare(&handle_name(*handle), &["TPM_RH_", "TPM_RS_"]) == wanted)
}

fn constant(text: &str) -> Option<Known> {
    let upper = text.to_ascii_uppercase().replacen("TPM2_", "TPM_", 1);
    let make = |number: u32, what| Known::Constant {
        name: upper.clone(),
        number,
        what,
    };
    macro_rules! group {
        ($type:ident, $prefix:literal, $what:literal) => {
            if let Some(name) = upper.strip_prefix($prefix)
                && let Some(found) = $type::NAMED.iter().find(|one| one.name() == Some(name))
            {
                return Some(make(u32::from(found.0), $what));
            }
        };
    }
    group!(TpmAlgId, "TPM_ALG_", "an algorithm");
    group!(TpmEccCurve, "TPM_ECC_", "a curve");
    group!(TpmSt, "TPM_ST_", "a structure tag");
    group!(TpmCap, "TPM_CAP_", "a capability");
    group!(TpmPt, "TPM_PT_", "a property");
    None
}

/// What a handle's type is.
fn handle_kind(handle: TpmHandle) -> &'static str {
    use tpm_wire::handles::TpmHt;
    match handle.kind() {
        Some(TpmHt::Pcr) => "a PCR",
        Some(TpmHt::NvIndex) => "an NV Index",
        Some(TpmHt::ExternalNv) => "an NV Index in external memory",
        Some(TpmHt::PermanentNv) => "an NV Index that exists by itself",
        Some(TpmHt::HmacSession) => "an HMAC session",
        Some(TpmHt::PolicySession) => "a policy or trial session",
        Some(TpmHt::Permanent) => "a permanent handle",
        Some(TpmHt::Transient) => "a transient object",
        Some(TpmHt::Persistent) => "a persistent object",
        Some(TpmHt::Ac) => "an attached component",
        None => "of an unknown type",
    }
}

/// What a session of a command authorizes: sessions stand in the order of the handles that need authorization.
fn authorized_by(number: u8, info: &CommandInfo) -> Option<&'static str> {
    let index = usize::from(number).checked_sub(1)?;
    let mut authorized = info.handles.iter().filter(|handle| handle.role.is_some());
    authorized.nth(index).map(|handle| handle.name)
}

/// Format and number of a code, in words.
fn format_words(code: Rc) -> String {
    let number = code.number();
    if code.is_format_one() {
        let place = code
            .place()
            .map_or_else(String::new, |(kind, number)| format!(", {kind} {number}"));
        format!("format one: error {:#04x}{place}", number & 0x3F)
    } else if number == 0 {
        "success".to_owned()
    } else if number & VERSION_2 == 0 && number & WARNING == 0 {
        "a code of a TPM 1.2".to_owned()
    } else if number & WARNING != 0 {
        format!("format zero: warning {:#04x}", number & 0x7F)
    } else {
        format!("format zero: error {:#04x}", number & 0x7F)
    }
}

/// What the code points at, by the names of a command.
fn pointed_words(code: Rc, info: &CommandInfo) -> Option<String> {
    match code.place() {
        Some(("session", number)) => Some(match authorized_by(number, info) {
            Some(handle) => format!("session {number}, which authorizes {handle}"),
            None => format!("session {number}, which authorizes no handle"),
        }),
        place => {
            let name = pointed_at(code, info)?;
            Some(place.map_or_else(
                || format!("the handle {name}"),
                |(kind, number)| format!("{kind} {number}, {name}"),
            ))
        }
    }
}

impl Known {
    fn text(&self, command: Option<&CommandInfo>) -> String {
        match self {
            Self::Response { layer, code } => {
                let number = code.number() | u32::from(layer.number) << 16;
                let name = code.name().map_or_else(
                    || "a vendor's code".to_owned(),
                    |name| format!("TPM_RC_{name}"),
                );
                let place = code
                    .place()
                    .map_or_else(String::new, |(kind, number)| format!(", {kind} {number}"));
                let mut text = format!("{number:#05x}: {name}{place}\n");
                text.push_str(&format!("    from:    {}\n", layer.what));
                text.push_str(&format!("    format:  {}\n", format_words(*code)));
                if let Some(info) = command {
                    let words = pointed_words(*code, info)
                        .unwrap_or_else(|| "nothing of the command in particular".to_owned());
                    text.push_str(&format!(
                        "    about:   {words} (of {})\n",
                        command_name(info)
                    ));
                }
                if let Some((meaning, advice)) = code.name().and_then(sentences::of) {
                    text.push_str(&format!("    meaning: {meaning}\n    to do:   {advice}"));
                } else {
                    text.push_str("    meaning: Only the TPM's maker knows.");
                }
                text
            }
            Self::Software {
                layer,
                number,
                name,
                meaning,
            } => format!(
                "{:#010x}: TSS2_{}_RC_{name}\n    from:    {}\n    meaning: {meaning}",
                u32::from(*number) | u32::from(layer.number) << 16,
                layer.c_name,
                layer.what
            ),
            Self::Command(info) => command_text(info),
            Self::Handle(handle) => {
                let name = handle_name(*handle);
                format!("{:#010x}: {name}\n    {}", handle.0, handle_kind(*handle))
            }
            Self::Constant { name, number, what } => format!("{number:#06x}: {name}\n    {what}"),
        }
    }

    fn json(&self, command: Option<&CommandInfo>) -> Json {
        match self {
            Self::Response { layer, code } => {
                let sentence = code.name().and_then(sentences::of);
                json!({
                    "kind": "response",
                    "number": code.number() | u32::from(layer.number) << 16,
                    "name": code.name().map(|name| format!("TPM_RC_{name}")),
                    "layer": layer.word,
                    "format": u8::from(code.is_format_one()),
                    "warning": !code.is_format_one() && code.number() & WARNING != 0,
                    "vendor": is_vendor(*code),
                    "place": code.place().map(|(kind, number)| json!({ "kind": kind, "number": number })),
                    "about": command.and_then(|info| pointed_words(*code, info)),
                    "meaning": sentence.map(|(meaning, _)| meaning),
                    "to_do": sentence.map(|(_, advice)| advice),
                })
            }
            Self::Software {
                layer,
                number,
                name,
                meaning,
            } => json!({
                "kind": "software",
                "number": u32::from(*number) | u32::from(layer.number) << 16,
                "name": format!("TSS2_{}_RC_{name}", layer.c_name),
                "layer": layer.word,
                "meaning": meaning,
            }),
            Self::Command(info) => json!({
                "kind": "command",
                "number": info.code,
                "name": command_name(info),
                "section": info.section,
                "meaning": info.summary.trim(),
                "handles": info.handles.iter().map(|handle| handle.name).collect::<Vec<_>>(),
                "parameters": info.parameters,
            }),
            Self::Handle(handle) => json!({
                "kind": "handle",
                "number": handle.0,
                "name": handle_name(*handle),
                "meaning": handle_kind(*handle),
            }),
            Self::Constant { name, number, what } => {
                json!({ "kind": "constant", "number": number, "name": name, "meaning": what })
            }
        }
    }
}

fn command_text(info: &CommandInfo) -> String {
    let mut text = format!(
        "{:#06x}: TPM2_{} (Part 3, {})\n    meaning: {}",
        info.code,
        command_name(info),
        info.section,
        info.summary.trim()
    );
    for (number, handle) in (1u8..).zip(info.handles) {
        let role = match handle.role {
            Some(Role::User) => ", authorized as user",
            Some(Role::Admin) => ", authorized as administrator",
            Some(Role::Dup) => ", authorized for duplication",
            None => "",
        };
        text.push_str(&format!("\n    handle {number}: {}{role}", handle.name));
    }
    for (number, parameter) in (1u8..).zip(info.parameters) {
        text.push_str(&format!("\n    parameter {number}: {parameter}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(text: &str, with: Option<&str>) -> String {
        let command = with.map(|name| command(name).unwrap());
        match look_up(text) {
            Ok(found) => found.iter().map(|known| known.text(command)).collect(),
            Err(why) => panic!("{text}: {why}"),
        }
    }

    #[test]
    fn every_named_code_has_a_sentence_and_every_sentence_a_code() {
        let mut named = 0;
        for number in 0..=0xFFF {
            let code = Rc::from_number(number);
            if code.base() == code
                && let Some(name) = code.name()
            {
                named += 1;
                assert!(sentences::of(name).is_some(), "{name}");
            }
        }
        assert_eq!(sentences::SENTENCES.len(), named);
    }

    #[test]
    fn a_code_is_explained_with_the_names_of_its_command() {
        let text = explain("0x9a2", Some("NvWrite"));
        assert!(text.contains("TPM_RC_BAD_AUTH, session 1"), "{text}");
        assert!(
            text.contains("session 1, which authorizes auth_handle"),
            "{text}"
        );
        let text = explain("708", Some("TPM2_CC_NV_Write"));
        assert!(text.contains("0x2c4: TPM_RC_VALUE, parameter 2"), "{text}");
        assert!(text.contains("parameter 2, offset (of NV_Write)"), "{text}");
        let text = explain("tpm:parameter(2):value", None);
        assert!(text.contains("0x2c4: TPM_RC_VALUE, parameter 2"), "{text}");
        assert!(explain("TPM_RC_VALUE", None).contains("0x084: TPM_RC_VALUE\n"));
    }

    #[test]
    fn layers_of_the_software_stack_are_told_apart() {
        assert!(explain("0x000a000a", None).contains("TSS2_TCTI_RC_IO_ERROR"));
        assert!(explain("0x70018", None).contains("TSS2_ESYS_RC_BAD_TR"));
        assert!(explain("0xb09a2", None).contains("TPM_RC_BAD_AUTH, session 1"));
        assert!(explain("TSS2_ESYS_RC_TRY_AGAIN", None).contains("0x00070009"));
        assert!(explain("tcti:NO_CONNECTION", None).contains("0x000a0008"));
    }

    #[test]
    fn commands_handles_and_constants_are_explained_too() {
        assert!(explain("0x137", None).contains("TPM2_NV_Write (Part 3, 31.7)"));
        assert!(explain("nv_write", None).contains("parameter 2: offset"));
        let both = explain("0x120", None);
        assert!(
            both.contains("TPM_RC_DISABLED") && both.contains("EvictControl"),
            "{both}"
        );
        assert!(explain("0x40000001", None).contains("TPM_RH_OWNER"));
        assert!(explain("TPM_RH_LOCKOUT", None).contains("0x4000000a"));
        assert!(explain("0x81000001", None).contains("a persistent object"));
        assert!(explain("TPM2_ALG_SHA256", None).contains("0x000b"));
        assert!(explain("TPM_PT_MANUFACTURER", None).contains("0x0105"));
    }

    #[test]
    fn what_is_not_known_is_said_to_be_so() {
        for bad in [
            "nonsense",
            "",
            "0x",
            "0x123456789",
            "99999999999",
            "0x0d0001",
            "0x2",
            "tpm:VALU",
            "tpm:parameter(16):VALUE",
            "moon:VALUE",
            "0xf0000000",
            "0x000a00ff",
            "TSS2_X_RC_Y",
            "ü",
        ] {
            assert!(look_up(bad).is_err(), "{bad}");
        }
    }
}
