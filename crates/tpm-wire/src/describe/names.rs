//! Names as the specification writes them.

use super::walker::{Field, Name, Value};
use crate::constants::{TpmAlgId, TpmCap, TpmEccCurve, TpmPt, TpmPtPcr};
use crate::handles::{TpmHandle, TpmHt};
use crate::table::{CommandInfo, find};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

/// Words that Part 3 writes in capitals; at the beginning of a name an underscore follows them.
const CAPITALS: &[(&str, &str)] = &[
    ("Ecdh", "ECDH"),
    ("Rsa", "RSA"),
    ("Ecc", "ECC"),
    ("Pcr", "PCR"),
    ("Act", "ACT"),
    ("Nv", "NV"),
    ("Ac", "AC"),
    ("Ec", "EC"),
    ("Pp", "PP"),
    ("Mac", "MAC"),
];
/// The same where they end a name or stand within it, without an underscore unless one is written here.
const INNER: &[(&str, &str)] = &[
    ("ChangePps", "ChangePPS"),
    ("ChangeEps", "ChangeEPS"),
    ("PolicyOr", "PolicyOR"),
    ("PolicyPcr", "PolicyPCR"),
    ("PolicyNv", "PolicyNV"),
    ("PolicyAuthorizeNv", "PolicyAuthorizeNV"),
    ("PolicyTransportSpdm", "PolicyTransportSPDM"),
    ("PolicyAcSendSelect", "Policy_AC_SendSelect"),
    ("ZGen2Phase", "ZGen_2Phase"),
];

/// The name of a command in Part 3, without `TPM2_`: `NV_Write` for the row `NvWrite`.
#[must_use]
pub fn command_name(info: &CommandInfo) -> String {
    if let Some((_, name)) = INNER.iter().find(|(row, _)| *row == info.name) {
        return (*name).to_owned();
    }
    for (word, capitals) in CAPITALS {
        let Some(rest) = info.name.strip_prefix(word) else {
            continue;
        };
        match rest.chars().next() {
            None => return (*capitals).to_owned(),
            Some(next) if next.is_ascii_uppercase() => return format!("{capitals}_{rest}"),
            Some(_) => {}
        }
    }
    info.name.to_owned()
}

/// A handle in words: `TPM_RH_OWNER`, `PCR 16`, else the number.
#[must_use]
pub fn handle_name(handle: TpmHandle) -> String {
    if handle == TpmHandle::PASSWORD {
        return "TPM_RS_PW".to_owned();
    }
    match handle.kind() {
        Some(TpmHt::Pcr) => format!("PCR {}", handle.index()),
        Some(TpmHt::Permanent) => match handle.0 {
            0x4000_0110..=0x4000_011F => format!("TPM_RH_ACT_{:X}", handle.0 & 0xF),
            0x4001_0000..=0x4001_FFFF => format!("TPM_RH_SVN_OWNER({})", handle.0 & 0xFFFF),
            0x4002_0000..=0x4002_FFFF => format!("TPM_RH_SVN_ENDORSEMENT({})", handle.0 & 0xFFFF),
            0x4003_0000..=0x4003_FFFF => format!("TPM_RH_SVN_PLATFORM({})", handle.0 & 0xFFFF),
            0x4004_0000..=0x4004_FFFF => format!("TPM_RH_SVN_NULL({})", handle.0 & 0xFFFF),
            _ => permanent_name(handle).map_or_else(
                || format!("{:#010x}", handle.0),
                |name| format!("TPM_RH_{name}"),
            ),
        },
        _ => format!("{:#010x}", handle.0),
    }
}

fn permanent_name(handle: TpmHandle) -> Option<&'static str> {
    Some(match handle {
        TpmHandle::OWNER => "OWNER",
        TpmHandle::NULL => "NULL",
        TpmHandle::UNASSIGNED => "UNASSIGNED",
        TpmHandle::LOCKOUT => "LOCKOUT",
        TpmHandle::ENDORSEMENT => "ENDORSEMENT",
        TpmHandle::PLATFORM => "PLATFORM",
        TpmHandle::PLATFORM_NV => "PLATFORM_NV",
        TpmHandle::FW_OWNER => "FW_OWNER",
        TpmHandle::FW_ENDORSEMENT => "FW_ENDORSEMENT",
        TpmHandle::FW_PLATFORM => "FW_PLATFORM",
        TpmHandle::FW_NULL => "FW_NULL",
        _ => return None,
    })
}

/// The prefix that names of a group have in Part 2.
pub(crate) fn with_prefix(group: &str, name: &str) -> String {
    let prefix = match group {
        "TpmAlgId" => "TPM_ALG_",
        "TpmEccCurve" => "TPM_ECC_",
        "TpmSt" => "TPM_ST_",
        "TpmCap" => "TPM_CAP_",
        "TpmPt" => "TPM_PT_",
        "TpmPtPcr" => "TPM_PT_PCR_",
        "TpmSuId" => "TPM_SU_",
        "TpmSeId" => "TPM_SE_",
        "TpmEoId" => "TPM_EO_",
        "TpmClockAdjustId" => "TPM_CLOCK_",
        "TpmAt" => "TPM_AT_",
        _ => "",
    };
    format!("{prefix}{name}")
}

/// The name of a number whose meaning its field's name, or a parameter before it, decides.
pub(super) fn related(name: Name, number: u64, before: &[Field]) -> Option<Value> {
    let small = u32::try_from(number).ok()?;
    match name {
        Name::Field("code") => {
            let info = find(small)?;
            Some(Value::Named(
                number,
                format!("TPM_CC_{}", command_name(info)),
            ))
        }
        Name::Field("property") => {
            let capability = before.iter().rev().find_map(|field| match field.value {
                Value::Named(capability, _) if field.name == Name::Field("capability") => {
                    u32::try_from(capability).ok()
                }
                _ => None,
            })?;
            property(TpmCap(capability), small)
        }
        _ => None,
    }
}

fn property(capability: TpmCap, number: u32) -> Option<Value> {
    let short = u16::try_from(number).ok();
    let name = match capability {
        TpmCap::HANDLES | TpmCap::AUTH_POLICIES | TpmCap::ACT => {
            return Some(Value::Handle(TpmHandle(number)));
        }
        TpmCap::TPM_PROPERTIES => with_prefix("TpmPt", TpmPt(number).name()?),
        TpmCap::PCR_PROPERTIES => with_prefix("TpmPtPcr", TpmPtPcr(number).name()?),
        TpmCap::ALGS => with_prefix("TpmAlgId", TpmAlgId(short?).name()?),
        TpmCap::ECC_CURVES => with_prefix("TpmEccCurve", TpmEccCurve(short?).name()?),
        TpmCap::COMMANDS | TpmCap::PP_COMMANDS | TpmCap::AUDIT_COMMANDS => {
            format!("TPM_CC_{}", command_name(find(number)?))
        }
        _ => return None,
    };
    Some(Value::Named(u64::from(number), name))
}

/// Attribute words have parts that are not bits; `named` are the bits that have a name.
pub(crate) fn attribute_text(group: &str, bits: u64, named: u64, names: &str) -> String {
    let mut parts: alloc::vec::Vec<String> = alloc::vec::Vec::new();
    let mut rest = bits & !named;
    let low = u32::try_from(bits & 0xFFFF_FFFF).unwrap_or_default();
    match group {
        "TpmaCc" => {
            if let Some(info) = find(low & 0xFFFF) {
                parts.push(command_name(info));
                rest &= !0xFFFF;
            }
            rest &= !(7 << 25);
        }
        "TpmaNv" | "TpmaNvExp" => {
            if let Some(kind) = crate::attributes::TpmaNv(low).nv_type()
                && bits & 0xF0 != 0
            {
                parts.push(format!("{kind:?}").to_ascii_uppercase());
                rest &= !0xF0;
            }
        }
        _ => {}
    }
    if !names.is_empty() {
        parts.push(names.to_owned());
    }
    if rest != 0 {
        parts.push(format!("{rest:#x}"));
    }
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join("|")
    }
}
