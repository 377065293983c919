//! What `TPM2_GetCapability` returns (Part 2, 10.8 to 10.10) and what attached components report (Part 2, 16).

use crate::algorithm::TpmtHa;
use crate::attributes::{TpmaAct, TpmaAlgorithm, TpmaCc};
use crate::buffers::Tpm2bName;
use crate::codec::{Input, Marshal, Parse, Parsed, refuse, structure};
use crate::constants::{TpmAlgId, TpmAt, TpmCap, TpmEccCurve, TpmPt, TpmPtPcr};
use crate::describe::{Describe, Stop, Value, Walker};
use crate::handles::TpmHandle;
use crate::object::Tpm2bPublicPlus;
use crate::pcr::{TpmlPcrSelection, TpmsPcrSelect};
use crate::rc::Rc;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

structure! {
    /// An algorithm and what it is (Part 2, 10.8.1).
    #[doc(alias = "TPMS_ALG_PROPERTY")]
    #[derive(Copy)]
    pub struct TpmsAlgProperty { alg: TpmAlgId, alg_properties: TpmaAlgorithm }
}

structure! {
    /// A property and its value (Part 2, 10.8.2).
    #[doc(alias = "TPMS_TAGGED_PROPERTY")]
    #[derive(Copy)]
    pub struct TpmsTaggedProperty { property: TpmPt, value: u32 }
}

structure! {
    /// A property of PCR and the PCR that have it (Part 2, 10.8.3).
    #[doc(alias = "TPMS_TAGGED_PCR_SELECT")]
    #[derive(Copy)]
    pub struct TpmsTaggedPcrSelect { tag: TpmPtPcr, pcr_select: TpmsPcrSelect }
}

structure! {
    /// A permanent handle and its policy (Part 2, 10.8.4).
    #[doc(alias = "TPMS_TAGGED_POLICY")]
    pub struct TpmsTaggedPolicy { handle: TpmHandle, policy_hash: Option<TpmtHa> }
}

structure! {
    /// A timer, what is left of it, and its state (Part 2, 10.8.5).
    #[doc(alias = "TPMS_ACT_DATA")]
    #[derive(Copy)]
    pub struct TpmsActData { handle: TpmHandle, timeout: u32, attributes: TpmaAct }
}

structure! {
    /// The keys of an SPDM session (Part 2, 10.8.6).
    #[doc(alias = "TPMS_SPDM_SESSION_INFO")]
    pub struct TpmsSpdmSessionInfo { req_key_name: Tpm2bName, tpm_key_name: Tpm2bName }
}

structure! {
    /// What an attached component reports (Part 2, 16.4).
    #[doc(alias = "TPMS_AC_OUTPUT")]
    #[derive(Copy)]
    pub struct TpmsAcOutput { tag: TpmAt, data: u32 }
}

/// Bytes of one capability answer's list (`TPM_PT_MAX_CAP_BUFFER`), less selector and count.
const MAX_CAP_DATA: usize = 1024 - 4 - 4;

/// Algorithms of an answer.
#[doc(alias = "TPML_ALG_PROPERTY")]
pub type TpmlAlgProperty = ArrayVec<TpmsAlgProperty, { MAX_CAP_DATA / 6 }>;
/// Handles of an answer.
#[doc(alias = "TPML_HANDLE")]
pub type TpmlHandle = ArrayVec<TpmHandle, { MAX_CAP_DATA / 4 }>;
/// Command attributes of an answer.
#[doc(alias = "TPML_CCA")]
pub type TpmlCca = ArrayVec<TpmaCc, { MAX_CAP_DATA / 4 }>;
/// Command codes.
#[doc(alias = "TPML_CC")]
pub type TpmlCc = ArrayVec<u32, { MAX_CAP_DATA / 4 }>;
/// Properties of an answer.
#[doc(alias = "TPML_TAGGED_TPM_PROPERTY")]
pub type TpmlTaggedTpmProperty = ArrayVec<TpmsTaggedProperty, { MAX_CAP_DATA / 8 }>;
/// PCR properties of an answer.
#[doc(alias = "TPML_TAGGED_PCR_PROPERTY")]
pub type TpmlTaggedPcrProperty = ArrayVec<TpmsTaggedPcrSelect, { MAX_CAP_DATA / 8 }>;
/// Curves of an answer.
#[doc(alias = "TPML_ECC_CURVE")]
pub type TpmlEccCurve = ArrayVec<TpmEccCurve, { MAX_CAP_DATA / 2 }>;
/// Policies of an answer.
#[doc(alias = "TPML_TAGGED_POLICY")]
pub type TpmlTaggedPolicy = ArrayVec<TpmsTaggedPolicy, { MAX_CAP_DATA / 70 }>;
/// Timers of an answer.
#[doc(alias = "TPML_ACT_DATA")]
pub type TpmlActData = ArrayVec<TpmsActData, { MAX_CAP_DATA / 12 }>;
/// SPDM sessions of an answer.
#[doc(alias = "TPML_SPDM_SESSION_INFO")]
pub type TpmlSpdmSessionInfo = ArrayVec<TpmsSpdmSessionInfo, { MAX_CAP_DATA / 136 }>;
/// Public keys of an answer; this TPM has none to report.
#[doc(alias = "TPML_PUB_KEY")]
pub type TpmlPubKey = ArrayVec<Tpm2bPublicPlus, 1>;
/// Algorithms to test.
#[doc(alias = "TPML_ALG")]
pub type TpmlAlg = ArrayVec<TpmAlgId, 64>;
/// What attached components report.
#[doc(alias = "TPML_AC_CAPABILITIES")]
pub type TpmlAcCapabilities = ArrayVec<TpmsAcOutput, { 1024 / 8 }>;

/// `TPMS_CAPABILITY_DATA`: a selector and the list that it selects (Part 2, 10.10.2).
#[doc(alias = "TPMS_CAPABILITY_DATA")]
#[doc(alias = "TPMU_CAPABILITIES")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "an arm is named after its selector")]
#[expect(
    clippy::large_enum_variant,
    reason = "one exists at a time, on the stack; a box would be an allocation"
)]
pub enum TpmsCapabilityData {
    Algs(TpmlAlgProperty),
    Handles(TpmlHandle),
    Commands(TpmlCca),
    PpCommands(TpmlCc),
    AuditCommands(TpmlCc),
    Pcrs(TpmlPcrSelection),
    TpmProperties(TpmlTaggedTpmProperty),
    PcrProperties(TpmlTaggedPcrProperty),
    EccCurves(TpmlEccCurve),
    AuthPolicies(TpmlTaggedPolicy),
    Act(TpmlActData),
    PubKeys(TpmlPubKey),
    SpdmSessionInfo(TpmlSpdmSessionInfo),
}

macro_rules! capability_arms {
    ($($arm:ident = $cap:ident),* $(,)?) => {
        impl TpmsCapabilityData {
            /// The selector.
            #[must_use]
            pub const fn capability(&self) -> TpmCap {
                match self { $(Self::$arm(_) => TpmCap::$cap),* }
            }
        }

        impl Parse for TpmsCapabilityData {
            fn parse(input: Input<'_>) -> Parsed<'_, Self> {
                let (rest, capability) = TpmCap::parse(input)?;
                match capability {
                    $(TpmCap::$cap => {
                        let (rest, list) = Parse::parse(rest)?;
                        Ok((rest, Self::$arm(list)))
                    })*
                    _ => refuse(Rc::SELECTOR),
                }
            }
        }

        impl Marshal for TpmsCapabilityData {
            fn marshal(&self, out: &mut Vec<u8>) {
                self.capability().marshal(out);
                match self { $(Self::$arm(list) => list.marshal(out)),* }
            }
        }

        impl Describe for TpmsCapabilityData {
            fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
                let head = walker.rest().first_chunk::<4>().copied().ok_or(Stop::Short)?;
                walker.field::<TpmCap>("capability")?;
                // The arms name the type of their list; a function per arm finds it.
                fn list<T: Describe>(_: impl Fn(T) -> TpmsCapabilityData, walker: &mut Walker<'_>) -> Result<(), Stop> {
                    walker.field::<T>("data")
                }
                let capability = u32::from_be_bytes(head);
                match TpmCap(capability) {
                    $(TpmCap::$cap => list(Self::$arm, walker)?,)*
                    _ => return Err(Stop::Selector(u64::from(capability))),
                }
                Ok(Value::Group)
            }
        }
    };
}

capability_arms! {
    Algs = ALGS, Handles = HANDLES, Commands = COMMANDS, PpCommands = PP_COMMANDS, AuditCommands = AUDIT_COMMANDS, Pcrs = PCRS,
    TpmProperties = TPM_PROPERTIES, PcrProperties = PCR_PROPERTIES, EccCurves = ECC_CURVES, AuthPolicies = AUTH_POLICIES,
    Act = ACT, PubKeys = PUB_KEYS, SpdmSessionInfo = SPDM_SESSION_INFO,
}
