//! What bytes mean by types that are not declared by a macro, as [`crate::codec::Parse`] of each reads them.

use super::confidential::Area;
use super::names::with_prefix;
use super::walker::{Describe, Name, Stop, Value, Walker};
use crate::algorithm::{TpmiAlgHash, TpmiAlgSymMode};
use crate::algorithm::{TpmiAlgPublic, TpmiRsaKeyBits, TpmtHa, TpmtSymDef, TpmtSymDefObject};
use crate::algorithm::{TpmsEccPoint, TpmtKeyedhashScheme};
use crate::attest::{
    TpmsAttest, TpmsCertifyInfo, TpmsClockInfo, TpmsCommandAuditInfo, TpmsCreationInfo,
    TpmsNvCertifyInfo, TpmsNvDigestCertifyInfo, TpmsQuoteInfo, TpmsSessionAuditInfo,
    TpmsTimeAttestInfo,
};
use crate::attributes::TpmaObject;
use crate::buffers::{
    Large, Small, Tpm2b, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bEccPrivate, Tpm2bName,
    Tpm2bPrivateKeyRsa, Tpm2bPublicKeyRsa, Tpm2bSeed, Tpm2bSensitiveData, Tpm2bSymKey,
};
use crate::codec::{Nullable, TpmsEmpty};
use crate::commands::CreateLoaded;
use crate::constants::{TPM_GENERATED, TpmAlgId, TpmSt};
use crate::handles::{TpmHandle, TpmHt};
use crate::nv::{NvDataSize, Tpm2bNvPublic, TpmsNvPublic, TpmsNvPublicExpAttr, TpmtNvPublic2};
use crate::object::{
    Tpm2bPublic, Tpm2bSensitive, TpmsEccParms, TpmsRsaParms, TpmtPublic, TpmtSensitive,
    TpmuPublicParms,
};
use crate::pcr::{TpmlDigest, TpmlDigestBranches, TpmsPcrSelect};
use crate::table::Command as _;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

macro_rules! numbers {
    ($($type:ty => $size:literal),*) => {$(
        impl Describe for $type {
            fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
                walker.number($size).map(Value::Number)
            }
        }
    )*};
}

numbers!(u8 => 1, u16 => 2, u32 => 4, u64 => 8, TpmiRsaKeyBits => 2, NvDataSize => 2);

impl Describe for i32 {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let bytes = walker.take(4)?;
        let number = <[u8; 4]>::try_from(bytes).map(i32::from_be_bytes);
        Ok(Value::Signed(i64::from(number.unwrap_or_default())))
    }
}

impl Describe for bool {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        Ok(match walker.number(1)? {
            0 => Value::YesNo(false),
            1 => Value::YesNo(true),
            other => Value::Number(other),
        })
    }
}

impl Describe for TpmsEmpty {
    fn describe(_: &mut Walker<'_>) -> Result<Value, Stop> {
        Ok(Value::Group)
    }
}

impl Describe for TpmHandle {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        Ok(Value::Handle(TpmHandle(narrow(walker.number(4)?))))
    }
}

/// A number that was read from at most four bytes.
pub(super) fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The selector of a union, as a field of its own.
pub(crate) fn selector(walker: &mut Walker<'_>, name: &'static str) -> Result<TpmAlgId, Stop> {
    let id = peek_u16(walker)?;
    walker.field::<TpmAlgId>(name)?;
    Ok(TpmAlgId(id))
}

fn peek_u16(walker: &Walker<'_>) -> Result<u16, Stop> {
    match walker.rest() {
        [high, low, ..] => Ok(u16::from_be_bytes([*high, *low])),
        _ => Err(Stop::Short),
    }
}

impl<const MAX: usize, const SECRET: bool> Describe for Small<MAX, SECRET> {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let bytes = walker.sized()?;
        Ok(if SECRET {
            Walker::secret(bytes)
        } else {
            Value::Bytes(bytes.to_vec())
        })
    }
}

impl<const MAX: usize, const SECRET: bool> Describe for Large<MAX, SECRET> {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        if SECRET {
            return Ok(Walker::secret(walker.sized()?));
        }
        if walker
            .rest()
            .get(2..6)
            .is_some_and(|head| head == TPM_GENERATED.to_be_bytes())
            && whole_structure::<TpmsAttest>(walker)
        {
            return Ok(Value::Group);
        }
        Ok(Value::Bytes(walker.sized()?.to_vec()))
    }
}

/// The template of `TPM2_CreateLoaded`, whose bytes the command itself parses.
pub(super) fn template(walker: &mut Walker<'_>, name: &str) -> Option<Value> {
    let is_template = walker.area == Area::Command(CreateLoaded::INFO.code) && name == "in_public";
    (is_template && whole_structure::<TpmtPublic>(walker)).then_some(Value::Group)
}

/// Describes what a sized buffer holds if that fills it exactly; else the walker stays where it is.
fn whole_structure<T: Describe>(walker: &mut Walker<'_>) -> bool {
    let mut trial = walker.fork();
    if Tpm2b::<T>::describe(&mut trial).is_err() {
        return false;
    }
    walker.join(trial);
    true
}

impl<T: Describe> Describe for Tpm2b<T> {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let size = usize::try_from(walker.number(2)?).unwrap_or(usize::MAX);
        if size == 0 {
            return Ok(Value::Bytes(Vec::new()));
        }
        walker.within(size, |walker| {
            let value = T::describe(walker)?;
            match walker.rest().len() {
                0 => Ok(value),
                left => Err(Stop::Unfilled(left)),
            }
        })
    }
}

impl<T: Nullable + Describe> Describe for Option<T> {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        if walker.rest().starts_with(T::NULL) {
            walker.take(T::NULL.len())?;
            return Ok(Value::Null);
        }
        T::describe(walker)
    }
}

impl<T: Describe, const MAX: usize> Describe for ArrayVec<T, MAX> {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let count = walker.number(4)?;
        let elements = usize::try_from(count).unwrap_or(usize::MAX);
        if elements > MAX {
            return Err(Stop::TooMany(count));
        }
        for index in 0..elements {
            walker.element::<T>(index)?;
        }
        Ok(Value::Group)
    }
}

impl Describe for TpmlDigestBranches {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        TpmlDigest::describe(walker)
    }
}

impl Describe for TpmsPcrSelect {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let size = usize::try_from(walker.number(1)?).unwrap_or_default();
        let bytes = walker.take(size)?;
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte & (1 << bit) != 0));
        let set = (0u32..).zip(bits).filter(|(_, set)| *set);
        Ok(Value::Pcrs(set.map(|(pcr, _)| pcr).collect()))
    }
}

impl Describe for TpmtHa {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let id = selector(walker, "hash_alg")?;
        let hash = TpmiAlgHash::from_id(id).ok_or(Stop::Selector(u64::from(id.0)))?;
        walker.described(Name::Field("digest"), |walker| {
            Ok(Value::Bytes(walker.take(hash.digest_size())?.to_vec()))
        })?;
        Ok(Value::Group)
    }
}

impl Describe for TpmtSymDefObject {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        walker.field::<TpmAlgId>("algorithm")?;
        walker.field::<u16>("key_bits")?;
        walker.field::<Option<TpmiAlgSymMode>>("mode")?;
        Ok(Value::Group)
    }
}

impl Describe for TpmtSymDef {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        if peek_u16(walker)? != TpmAlgId::XOR.0 {
            return TpmtSymDefObject::describe(walker);
        }
        walker.field::<TpmAlgId>("algorithm")?;
        walker.field::<TpmiAlgHash>("hash_alg")?;
        Ok(Value::Group)
    }
}

fn object_type(walker: &mut Walker<'_>) -> Result<TpmiAlgPublic, Stop> {
    let id = selector(walker, "type")?;
    TpmiAlgPublic::from_id(id).ok_or(Stop::Selector(u64::from(id.0)))
}

fn parameters_of(object_type: TpmiAlgPublic, walker: &mut Walker<'_>) -> Result<(), Stop> {
    let name = "parameters";
    match object_type {
        TpmiAlgPublic::KeyedHash => walker.field::<Option<TpmtKeyedhashScheme>>(name),
        TpmiAlgPublic::SymCipher => walker.field::<TpmtSymDefObject>(name),
        TpmiAlgPublic::Rsa => walker.field::<TpmsRsaParms>(name),
        TpmiAlgPublic::Ecc => walker.field::<TpmsEccParms>(name),
    }
}

impl Describe for TpmuPublicParms {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let object_type = object_type(walker)?;
        parameters_of(object_type, walker)?;
        Ok(Value::Group)
    }
}

impl Describe for TpmtPublic {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let object_type = object_type(walker)?;
        walker.field::<Option<TpmiAlgHash>>("name_alg")?;
        walker.field::<TpmaObject>("object_attributes")?;
        walker.field::<Tpm2bDigest>("auth_policy")?;
        parameters_of(object_type, walker)?;
        match object_type {
            TpmiAlgPublic::KeyedHash | TpmiAlgPublic::SymCipher => {
                walker.field::<Tpm2bDigest>("unique")?;
            }
            TpmiAlgPublic::Rsa => walker.field::<Tpm2bPublicKeyRsa>("unique")?,
            TpmiAlgPublic::Ecc => walker.field::<TpmsEccPoint>("unique")?,
        }
        Ok(Value::Group)
    }
}

impl Describe for Tpm2bPublic {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        Tpm2b::<TpmtPublic>::describe(walker)
    }
}

impl Describe for TpmtSensitive {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let object_type = object_type(walker)?;
        walker.field::<Tpm2bAuth>("auth_value")?;
        walker.field::<Tpm2bSeed>("seed_value")?;
        match object_type {
            TpmiAlgPublic::Rsa => walker.field::<Tpm2bPrivateKeyRsa>("sensitive")?,
            TpmiAlgPublic::Ecc => walker.field::<Tpm2bEccPrivate>("sensitive")?,
            TpmiAlgPublic::KeyedHash => walker.field::<Tpm2bSensitiveData>("sensitive")?,
            TpmiAlgPublic::SymCipher => walker.field::<Tpm2bSymKey>("sensitive")?,
        }
        Ok(Value::Group)
    }
}

impl Describe for Tpm2bSensitive {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        Tpm2b::<TpmtSensitive>::describe(walker)
    }
}

impl Describe for TpmsAttest {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        walker.described(Name::Field("magic"), |walker| match walker.number(4)? {
            magic if magic == u64::from(TPM_GENERATED) => {
                Ok(Value::Named(magic, "TPM_GENERATED_VALUE".into()))
            }
            other => Ok(Value::Number(other)),
        })?;
        let tag = peek_u16(walker)?;
        walker.field::<TpmSt>("type")?;
        walker.field::<Tpm2bName>("qualified_signer")?;
        walker.field::<Tpm2bData>("extra_data")?;
        walker.field::<TpmsClockInfo>("clock_info")?;
        walker.field::<u64>("firmware_version")?;
        let name = "attested";
        match TpmSt(tag) {
            TpmSt::ATTEST_CERTIFY => walker.field::<TpmsCertifyInfo>(name)?,
            TpmSt::ATTEST_CREATION => walker.field::<TpmsCreationInfo>(name)?,
            TpmSt::ATTEST_QUOTE => walker.field::<TpmsQuoteInfo>(name)?,
            TpmSt::ATTEST_COMMAND_AUDIT => walker.field::<TpmsCommandAuditInfo>(name)?,
            TpmSt::ATTEST_SESSION_AUDIT => walker.field::<TpmsSessionAuditInfo>(name)?,
            TpmSt::ATTEST_TIME => walker.field::<TpmsTimeAttestInfo>(name)?,
            TpmSt::ATTEST_NV => walker.field::<TpmsNvCertifyInfo>(name)?,
            TpmSt::ATTEST_NV_DIGEST => walker.field::<TpmsNvDigestCertifyInfo>(name)?,
            _ => return Err(Stop::Selector(u64::from(tag))),
        }
        Ok(Value::Group)
    }
}

impl Describe for Tpm2bNvPublic {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        Tpm2b::<TpmsNvPublic>::describe(walker)
    }
}

impl Describe for TpmtNvPublic2 {
    fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
        let first = walker.rest().first().copied().unwrap_or_default();
        walker.described(Name::Field("handle_type"), |walker| {
            walker.number(1).map(Value::Number)
        })?;
        let name = "public_area";
        match TpmHandle(u32::from(first) << 24).kind() {
            Some(TpmHt::NvIndex | TpmHt::PermanentNv) => walker.field::<TpmsNvPublic>(name)?,
            Some(TpmHt::ExternalNv) => walker.field::<TpmsNvPublicExpAttr>(name)?,
            _ => return Err(Stop::Selector(u64::from(first))),
        }
        Ok(Value::Group)
    }
}

/// A number of a group of constants: its name with the prefix of Part 2, if it has one.
pub(crate) fn constant(group: &str, number: u64, name: Option<&str>) -> Value {
    match name {
        Some(name) => Value::Named(number, with_prefix(group, name)),
        None => Value::Number(number),
    }
}
