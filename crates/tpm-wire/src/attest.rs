//! Attestation structures (Part 2, 10.11 and 10.12).

use crate::attributes::TpmaLocality;
use crate::buffers::{Tpm2bData, Tpm2bDigest, Tpm2bMaxNvBuffer, Tpm2bName};
use crate::codec::{Input, Marshal, Parse, Parsed, refuse, structure};
use crate::constants::{TPM_GENERATED, TpmAlgId, TpmSt};
use crate::pcr::TpmlPcrSelection;
use crate::rc::Rc;
use alloc::vec::Vec;

structure! {
    /// Clock, and how often it was reset (Part 2, 10.11.1).
    #[doc(alias = "TPMS_CLOCK_INFO")]
    #[derive(Copy)]
    pub struct TpmsClockInfo {
        /// Milliseconds that the TPM was powered.
        clock: u64,
        reset_count: u32,
        restart_count: u32,
        /// No value of `clock` was reported that is greater.
        safe: bool,
    }
}

structure! {
    /// Time since power-on, and the clock (Part 2, 10.11.2).
    #[doc(alias = "TPMS_TIME_INFO")]
    #[derive(Copy)]
    pub struct TpmsTimeInfo { time: u64, clock_info: TpmsClockInfo }
}

structure! {
    /// What `TPM2_GetTime` attests (Part 2, 10.12.2).
    #[doc(alias = "TPMS_TIME_ATTEST_INFO")]
    pub struct TpmsTimeAttestInfo { time: TpmsTimeInfo, firmware_version: u64 }
}

structure! {
    /// What `TPM2_Certify` attests (Part 2, 10.12.3).
    #[doc(alias = "TPMS_CERTIFY_INFO")]
    pub struct TpmsCertifyInfo { name: Tpm2bName, qualified_name: Tpm2bName }
}

structure! {
    /// What `TPM2_Quote` attests (Part 2, 10.12.4).
    #[doc(alias = "TPMS_QUOTE_INFO")]
    pub struct TpmsQuoteInfo { pcr_select: TpmlPcrSelection, pcr_digest: Tpm2bDigest }
}

structure! {
    /// What `TPM2_GetCommandAuditDigest` attests (Part 2, 10.12.5).
    #[doc(alias = "TPMS_COMMAND_AUDIT_INFO")]
    pub struct TpmsCommandAuditInfo { audit_counter: u64, digest_alg: TpmAlgId, audit_digest: Tpm2bDigest, command_digest: Tpm2bDigest }
}

structure! {
    /// What `TPM2_GetSessionAuditDigest` attests (Part 2, 10.12.6).
    #[doc(alias = "TPMS_SESSION_AUDIT_INFO")]
    pub struct TpmsSessionAuditInfo { exclusive_session: bool, session_digest: Tpm2bDigest }
}

structure! {
    /// What `TPM2_CertifyCreation` attests (Part 2, 10.12.7).
    #[doc(alias = "TPMS_CREATION_INFO")]
    pub struct TpmsCreationInfo { object_name: Tpm2bName, creation_hash: Tpm2bDigest }
}

structure! {
    /// What `TPM2_NV_Certify` attests of contents (Part 2, 10.12.8).
    #[doc(alias = "TPMS_NV_CERTIFY_INFO")]
    pub struct TpmsNvCertifyInfo { index_name: Tpm2bName, offset: u16, nv_contents: Tpm2bMaxNvBuffer }
}

structure! {
    /// What `TPM2_NV_Certify` attests of a digest (Part 2, 10.12.9).
    #[doc(alias = "TPMS_NV_DIGEST_CERTIFY_INFO")]
    pub struct TpmsNvDigestCertifyInfo { index_name: Tpm2bName, nv_digest: Tpm2bDigest }
}

/// `TPMU_ATTEST` with its selector (Part 2, 10.12.11).
#[doc(alias = "TPMU_ATTEST")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "an arm is named after its selector")]
pub enum TpmuAttest {
    Certify(TpmsCertifyInfo),
    Creation(TpmsCreationInfo),
    Quote(TpmsQuoteInfo),
    CommandAudit(TpmsCommandAuditInfo),
    SessionAudit(TpmsSessionAuditInfo),
    Time(TpmsTimeAttestInfo),
    Nv(TpmsNvCertifyInfo),
    NvDigest(TpmsNvDigestCertifyInfo),
}

impl TpmuAttest {
    /// The selector.
    #[must_use]
    pub const fn tag(&self) -> TpmSt {
        match self {
            Self::Certify(_) => TpmSt::ATTEST_CERTIFY,
            Self::Creation(_) => TpmSt::ATTEST_CREATION,
            Self::Quote(_) => TpmSt::ATTEST_QUOTE,
            Self::CommandAudit(_) => TpmSt::ATTEST_COMMAND_AUDIT,
            Self::SessionAudit(_) => TpmSt::ATTEST_SESSION_AUDIT,
            Self::Time(_) => TpmSt::ATTEST_TIME,
            Self::Nv(_) => TpmSt::ATTEST_NV,
            Self::NvDigest(_) => TpmSt::ATTEST_NV_DIGEST,
        }
    }
}

/// `TPMS_ATTEST`: what is hashed and signed (Part 2, 10.12.12).
#[doc(alias = "TPMS_ATTEST")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields carry the names of Part 2")]
pub struct TpmsAttest {
    pub qualified_signer: Tpm2bName,
    pub extra_data: Tpm2bData,
    pub clock_info: TpmsClockInfo,
    pub firmware_version: u64,
    pub attested: TpmuAttest,
}

impl Parse for TpmsAttest {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, magic) = u32::parse(input)?;
        if magic != TPM_GENERATED {
            return refuse(Rc::VALUE);
        }
        let (rest, tag) = TpmSt::parse(rest)?;
        let (rest, qualified_signer) = Tpm2bName::parse(rest)?;
        let (rest, extra_data) = Tpm2bData::parse(rest)?;
        let (rest, clock_info) = TpmsClockInfo::parse(rest)?;
        let (rest, firmware_version) = u64::parse(rest)?;
        macro_rules! arm {
            ($arm:ident) => {{
                let (rest, info) = Parse::parse(rest)?;
                (rest, TpmuAttest::$arm(info))
            }};
        }
        let (rest, attested) = match tag {
            TpmSt::ATTEST_CERTIFY => arm!(Certify),
            TpmSt::ATTEST_CREATION => arm!(Creation),
            TpmSt::ATTEST_QUOTE => arm!(Quote),
            TpmSt::ATTEST_COMMAND_AUDIT => arm!(CommandAudit),
            TpmSt::ATTEST_SESSION_AUDIT => arm!(SessionAudit),
            TpmSt::ATTEST_TIME => arm!(Time),
            TpmSt::ATTEST_NV => arm!(Nv),
            TpmSt::ATTEST_NV_DIGEST => arm!(NvDigest),
            _ => return refuse(Rc::SELECTOR),
        };
        Ok((
            rest,
            Self {
                qualified_signer,
                extra_data,
                clock_info,
                firmware_version,
                attested,
            },
        ))
    }
}

impl Marshal for TpmsAttest {
    fn marshal(&self, out: &mut Vec<u8>) {
        TPM_GENERATED.marshal(out);
        self.attested.tag().marshal(out);
        self.qualified_signer.marshal(out);
        self.extra_data.marshal(out);
        self.clock_info.marshal(out);
        self.firmware_version.marshal(out);
        match &self.attested {
            TpmuAttest::Certify(info) => info.marshal(out),
            TpmuAttest::Creation(info) => info.marshal(out),
            TpmuAttest::Quote(info) => info.marshal(out),
            TpmuAttest::CommandAudit(info) => info.marshal(out),
            TpmuAttest::SessionAudit(info) => info.marshal(out),
            TpmuAttest::Time(info) => info.marshal(out),
            TpmuAttest::Nv(info) => info.marshal(out),
            TpmuAttest::NvDigest(info) => info.marshal(out),
        }
    }
}

/// The localities of an attestation or a creation: one bit for 0 to 4, the number itself for extended ones (Part 2, 8.5).
#[must_use]
pub const fn locality_attribute(locality: u8) -> TpmaLocality {
    if locality < 5 {
        TpmaLocality(1 << locality)
    } else {
        TpmaLocality(locality)
    }
}
