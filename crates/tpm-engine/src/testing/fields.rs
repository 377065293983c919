//! The fields of every command and response, from the rows of the command table: how generated commands are put together, and
//! how what a response gives back is taken apart for the commands after it.

use alloc::vec::Vec;
use tpm_wire::algorithm::{
    Tpm2bEccPoint, TpmiAlgCipherMode, TpmiAlgHash, TpmiAlgMacScheme, TpmiEccCurve,
    TpmiEccKeyExchange, TpmsAlgorithmDetailEcc, TpmtKdfScheme, TpmtRsaDecrypt, TpmtSigScheme,
    TpmtSignature, TpmtSymDef, TpmtSymDefObject,
};
use tpm_wire::attest::TpmsTimeInfo;
use tpm_wire::attributes::TpmaLocality;
use tpm_wire::buffers::{
    Tpm2bAttest, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bEccParameter, Tpm2bEncryptedSecret,
    Tpm2bEvent, Tpm2bIdObject, Tpm2bIv, Tpm2bMaxBuffer, Tpm2bMaxNvBuffer, Tpm2bName, Tpm2bNonce,
    Tpm2bOperand, Tpm2bPrivate, Tpm2bPublicKeyRsa, Tpm2bSensitiveData, Tpm2bSetCapabilityData,
    Tpm2bTemplate, Tpm2bTimeout,
};
use tpm_wire::capability::{TpmlAcCapabilities, TpmlAlg, TpmlCc, TpmsAcOutput, TpmsCapabilityData};
use tpm_wire::codec::{Input, Limits, Marshal, Parse, Parsed};
use tpm_wire::constants::{TpmAt, TpmCap, TpmClockAdjust, TpmEo, TpmSe, TpmSu};
use tpm_wire::context::TpmsContext;
use tpm_wire::handles::{
    TpmiDhContext, TpmiDhPcr, TpmiDhPersistent, TpmiRhEnables, TpmiRhHierarchy,
};
use tpm_wire::nv::{Tpm2bNvPublic, Tpm2bNvPublic2};
use tpm_wire::object::{
    Tpm2bCreationData, Tpm2bPublic, Tpm2bPublicPlus, Tpm2bSensitive, Tpm2bSensitiveCreate,
    TpmuPublicParms,
};
use tpm_wire::pcr::{TpmlDigest, TpmlDigestBranches, TpmlDigestValues, TpmlPcrSelection};
use tpm_wire::table::CommandInfo;
use tpm_wire::ticket::{TpmtTkAuth, TpmtTkCreation, TpmtTkHashcheck, TpmtTkVerified};

/// A field of a parameter area.
pub(super) struct Field {
    /// Its type as the table names it.
    pub(super) kind: &'static str,
    /// Reads it from the front, and writes it anew.
    pub(super) rewrite: for<'a> fn(Input<'a>) -> Parsed<'a, Vec<u8>>,
}

impl Field {
    /// Fields of one class have the same wire form, so that a value of one can be given for another.
    pub(super) fn class(&self) -> &'static str {
        let kind = self.kind.strip_prefix("Option").unwrap_or(self.kind);
        match kind.trim_matches(['<', '>', ' ']) {
            "Tpm2bPublicPlus" | "Tpm2bTemplate" => "Tpm2bPublic",
            "Tpm2bOperand" => "Tpm2bDigest",
            "Tpm2bEvent" | "Tpm2bSensitiveData" | "Tpm2bPublicKeyRsa" | "Tpm2bMaxNvBuffer" => {
                "Tpm2bMaxBuffer"
            }
            kind => kind,
        }
    }

    /// Whether the field may be absent, which `TPM_ALG_NULL` or `TPM_RH_NULL` says.
    pub(super) fn is_optional(&self) -> bool {
        self.kind.starts_with("Option")
    }

    /// Whether the bytes are one value of this field and nothing else.
    pub(super) fn accepts(&self, bytes: &[u8]) -> bool {
        (self.rewrite)(Input::new(bytes, &Limits::ALL)).is_ok_and(|(rest, _)| rest.is_empty())
    }
}

/// A row of the command table with the fields of both parameter areas.
pub(super) struct Row {
    pub(super) info: &'static CommandInfo,
    pub(super) parameters: &'static [Field],
    pub(super) returns: &'static [Field],
}

/// Takes a parameter area apart; `None` if it is not what the fields say.
pub(super) fn split(fields: &[Field], bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = Input::new(bytes, &Limits::ALL);
    let mut values = Vec::new();
    for field in fields {
        let (after, written) = (field.rewrite)(rest).ok()?;
        let length = rest.bytes().len() - after.bytes().len();
        let read = rest.bytes().get(..length)?;
        assert!(
            read == written,
            "{} is written otherwise than it was read: {read:02x?}, {written:02x?}",
            field.kind
        );
        values.push(written);
        rest = after;
    }
    rest.is_empty().then_some(values)
}

fn rewrite<T: Parse + Marshal>(input: Input<'_>) -> Parsed<'_, Vec<u8>> {
    T::parse(input).map(|(rest, value)| (rest, value.to_bytes()))
}

/// Makes [`ROWS`] from the rows of the command table.
macro_rules! rows {
    ($(
        $(#[doc = $doc:literal])+
        $command:ident / $response:ident = $code:literal, $section:literal, [$($flag:ident),*] {
            handles: { $($handle:ident: $handle_type:ty $(as $role:ident)?),* $(,)? }
            params: { $($param:ident: $param_type:ty),* $(,)? }
            returns: $(($out_handle:ident: $out_handle_type:ty))? { $($out:ident: $out_type:ty),* $(,)? }
        }
    )*) => {
        /// Every command with its fields.
        pub(super) static ROWS: &[Row] = &[$(Row {
            info: &<tpm_wire::commands::$command as tpm_wire::table::Command>::INFO,
            parameters: &[$(Field { kind: stringify!($param_type), rewrite: rewrite::<$param_type> }),*],
            returns: &[$(Field { kind: stringify!($out_type), rewrite: rewrite::<$out_type> }),*],
        }),*];
    };
}

tpm_wire::command_table!(rows);

/// Reads the bytes as every field and every parameter area of the table: what can be read must be written as the same bytes.
///
/// # Panics
/// If it is not.
pub fn wire_round_trip(bytes: &[u8]) {
    for row in ROWS {
        for field in row.parameters.iter().chain(row.returns) {
            let input = Input::new(bytes, &Limits::ALL);
            if let Ok((rest, _)) = (field.rewrite)(input) {
                let length = bytes.len() - rest.bytes().len();
                let _ = split(
                    core::slice::from_ref(field),
                    bytes.get(..length).unwrap_or_default(),
                );
            }
        }
        let _ = split(row.parameters, bytes);
        let _ = split(row.returns, bytes);
    }
}
