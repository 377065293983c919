//! Objects: public and sensitive areas, creation data, credentials (Part 2, 12 and 15).

use crate::algorithm::{
    TpmiAlgHash, TpmiAlgPublic, TpmiEccCurve, TpmiRsaKeyBits, TpmsEccPoint, TpmtEccScheme,
    TpmtKdfScheme, TpmtKeyedhashScheme, TpmtRsaScheme, TpmtSymDefObject,
};
use crate::attributes::{TpmaLocality, TpmaObject};
use crate::buffers::{
    Tpm2b, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bEccParameter, Tpm2bEccPrivate, Tpm2bLabel,
    Tpm2bName, Tpm2bPrivateKeyRsa, Tpm2bPublicKeyRsa, Tpm2bSeed, Tpm2bSensitiveData, Tpm2bSymKey,
    marshal_with_size, parse_sized,
};
use crate::codec::{Input, Marshal, Parse, Parsed, refuse, structure};
use crate::constants::TpmAlgId;
use crate::pcr::TpmlPcrSelection;
use crate::rc::Rc;
use alloc::vec::Vec;

structure! {
    /// Parameters of an RSA key (Part 2, 12.2.3.5).
    #[doc(alias = "TPMS_RSA_PARMS")]
    pub struct TpmsRsaParms {
        symmetric: Option<TpmtSymDefObject>,
        scheme: Option<TpmtRsaScheme>,
        key_bits: TpmiRsaKeyBits,
        /// The public exponent; zero means 65537.
        exponent: u32,
    }
}

structure! {
    /// Parameters of an ECC key (Part 2, 12.2.3.6).
    #[doc(alias = "TPMS_ECC_PARMS")]
    pub struct TpmsEccParms {
        symmetric: Option<TpmtSymDefObject>,
        scheme: Option<TpmtEccScheme>,
        curve_id: TpmiEccCurve,
        kdf: Option<TpmtKdfScheme>,
    }
}

/// `TPMU_PUBLIC_PARMS` with its selector: type and parameters of an object (Part 2, 12.2.3.7).
#[doc(alias = "TPMU_PUBLIC_PARMS")]
#[doc(alias = "TPMT_PUBLIC_PARMS")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmuPublicParms {
    /// An HMAC key, an XOR key, sealed data, or a derivation parent.
    KeyedHash(Option<TpmtKeyedhashScheme>),
    /// A symmetric key.
    SymCipher(TpmtSymDefObject),
    /// An RSA key.
    Rsa(TpmsRsaParms),
    /// An ECC key.
    Ecc(TpmsEccParms),
}

impl TpmuPublicParms {
    /// The selector.
    #[must_use]
    pub const fn object_type(&self) -> TpmiAlgPublic {
        match self {
            Self::KeyedHash(_) => TpmiAlgPublic::KeyedHash,
            Self::SymCipher(_) => TpmiAlgPublic::SymCipher,
            Self::Rsa(_) => TpmiAlgPublic::Rsa,
            Self::Ecc(_) => TpmiAlgPublic::Ecc,
        }
    }

    fn parse_selected(object_type: TpmiAlgPublic, input: Input<'_>) -> Parsed<'_, Self> {
        Ok(match object_type {
            TpmiAlgPublic::KeyedHash => {
                let (rest, scheme) = Option::parse(input)?;
                (rest, Self::KeyedHash(scheme))
            }
            TpmiAlgPublic::SymCipher => {
                let (rest, symmetric) = TpmtSymDefObject::parse(input)?;
                (rest, Self::SymCipher(symmetric))
            }
            TpmiAlgPublic::Rsa => {
                let (rest, rsa) = TpmsRsaParms::parse(input)?;
                (rest, Self::Rsa(rsa))
            }
            TpmiAlgPublic::Ecc => {
                let (rest, ecc) = TpmsEccParms::parse(input)?;
                (rest, Self::Ecc(ecc))
            }
        })
    }

    fn marshal_selected(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeyedHash(scheme) => scheme.marshal(out),
            Self::SymCipher(symmetric) => symmetric.marshal(out),
            Self::Rsa(rsa) => rsa.marshal(out),
            Self::Ecc(ecc) => ecc.marshal(out),
        }
    }
}

impl Parse for TpmuPublicParms {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, object_type) = TpmiAlgPublic::parse(input)?;
        Self::parse_selected(object_type, rest)
    }
}

impl Marshal for TpmuPublicParms {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.object_type().marshal(out);
        self.marshal_selected(out);
    }
}

/// `TPMU_PUBLIC_ID`: what makes an object unique (Part 2, 12.2.3.2). In a [`TpmtPublic`] its arm is that of the parameters.
#[doc(alias = "TPMU_PUBLIC_ID")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmuPublicId {
    /// Digest over seed and data.
    KeyedHash(Tpm2bDigest),
    /// Digest over seed and key.
    Sym(Tpm2bDigest),
    /// The modulus.
    Rsa(Tpm2bPublicKeyRsa),
    /// The public point.
    Ecc(TpmsEccPoint),
}

impl TpmuPublicId {
    /// The value of a template that asks for nothing.
    #[must_use]
    pub const fn empty(object_type: TpmiAlgPublic) -> Self {
        match object_type {
            TpmiAlgPublic::KeyedHash => Self::KeyedHash(Tpm2bDigest::EMPTY),
            TpmiAlgPublic::SymCipher => Self::Sym(Tpm2bDigest::EMPTY),
            TpmiAlgPublic::Rsa => Self::Rsa(Tpm2bPublicKeyRsa::EMPTY),
            TpmiAlgPublic::Ecc => Self::Ecc(TpmsEccPoint {
                x: Tpm2bEccParameter::EMPTY,
                y: Tpm2bEccParameter::EMPTY,
            }),
        }
    }

    fn parse_selected(object_type: TpmiAlgPublic, input: Input<'_>) -> Parsed<'_, Self> {
        Ok(match object_type {
            TpmiAlgPublic::KeyedHash => {
                let (rest, digest) = Tpm2bDigest::parse(input)?;
                (rest, Self::KeyedHash(digest))
            }
            TpmiAlgPublic::SymCipher => {
                let (rest, digest) = Tpm2bDigest::parse(input)?;
                (rest, Self::Sym(digest))
            }
            TpmiAlgPublic::Rsa => {
                let (rest, modulus) = Tpm2bPublicKeyRsa::parse(input)?;
                (rest, Self::Rsa(modulus))
            }
            TpmiAlgPublic::Ecc => {
                let (rest, point) = TpmsEccPoint::parse(input)?;
                (rest, Self::Ecc(point))
            }
        })
    }
}

impl Marshal for TpmuPublicId {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeyedHash(digest) | Self::Sym(digest) => digest.marshal(out),
            Self::Rsa(modulus) => modulus.marshal(out),
            Self::Ecc(point) => point.marshal(out),
        }
    }
}

/// `TPMT_PUBLIC`: the public area of an object (Part 2, 12.2.4).
#[doc(alias = "TPMT_PUBLIC")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmtPublic {
    /// The hash of the Name; `None` only for external objects.
    pub name_alg: Option<TpmiAlgHash>,
    /// What the object may be used for.
    pub object_attributes: TpmaObject,
    /// The policy that authorizes its use.
    pub auth_policy: Tpm2bDigest,
    /// Type and parameters.
    pub parameters: TpmuPublicParms,
    /// What is unique; same arm as `parameters`.
    pub unique: TpmuPublicId,
}

impl TpmtPublic {
    /// The type of the object.
    #[must_use]
    pub const fn object_type(&self) -> TpmiAlgPublic {
        self.parameters.object_type()
    }

    /// Whether all of `attributes` are set.
    #[must_use]
    pub const fn has(&self, attributes: TpmaObject) -> bool {
        self.object_attributes.contains(attributes)
    }
}

impl TpmtPublic {
    /// Everything before `unique`, which is left empty.
    fn parse_head(input: Input<'_>, name_alg_may_be_null: bool) -> Parsed<'_, Self> {
        let (rest, object_type) = TpmiAlgPublic::parse(input)?;
        let (rest, name_alg) = Option::<TpmiAlgHash>::parse(rest)?;
        if name_alg.is_none() && !name_alg_may_be_null {
            return refuse(Rc::HASH);
        }
        let (rest, object_attributes) = TpmaObject::parse(rest)?;
        let (rest, auth_policy) = Tpm2bDigest::parse(rest)?;
        let (rest, parameters) = TpmuPublicParms::parse_selected(object_type, rest)?;
        Ok((
            rest,
            Self {
                name_alg,
                object_attributes,
                auth_policy,
                parameters,
                unique: TpmuPublicId::empty(object_type),
            },
        ))
    }

    fn parse_fields(input: Input<'_>, name_alg_may_be_null: bool) -> Parsed<'_, Self> {
        let (rest, mut public) = Self::parse_head(input, name_alg_may_be_null)?;
        let (rest, unique) = TpmuPublicId::parse_selected(public.object_type(), rest)?;
        public.unique = unique;
        Ok((rest, public))
    }
}

impl Parse for TpmtPublic {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        Self::parse_fields(input, true)
    }
}

impl Marshal for TpmtPublic {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.object_type().marshal(out);
        self.name_alg.marshal(out);
        self.object_attributes.marshal(out);
        self.auth_policy.marshal(out);
        self.parameters.marshal_selected(out);
        self.unique.marshal(out);
    }
}

/// `TPM2B_PUBLIC`: a public area that has a Name; a NULL Name algorithm is `TPM_RC_HASH` (Part 2, 12.2.5).
#[doc(alias = "TPM2B_PUBLIC")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tpm2bPublic(pub TpmtPublic);

/// A public area without the `+`, as a template is: a NULL Name algorithm is `TPM_RC_HASH` (Part 2, 12.2.6).
#[doc(alias = "TPMT_TEMPLATE")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmtTemplate(pub TpmtPublic);

impl Parse for TpmtTemplate {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        TpmtPublic::parse_fields(input, false).map(|(rest, public)| (rest, Self(public)))
    }
}

/// The template of an object to derive: label and context stand where `unique` would (Part 2, 12.2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivationTemplate {
    /// The public area, `unique` empty.
    pub public: TpmtPublic,
    /// Label and context.
    pub derive: TpmsDerive,
}

impl Parse for DerivationTemplate {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, public) = TpmtPublic::parse_head(input, false)?;
        let (rest, derive) = TpmsDerive::parse(rest)?;
        Ok((rest, Self { public, derive }))
    }
}

impl Parse for Tpm2bPublic {
    const SIZED: bool = true;

    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        parse_sized(input).map(|(rest, TpmtTemplate(public))| (rest, Self(public)))
    }
}

impl Marshal for Tpm2bPublic {
    fn marshal(&self, out: &mut Vec<u8>) {
        marshal_with_size(out, |out| self.0.marshal(out));
    }
}

/// `TPM2B_PUBLIC+`: a public area whose Name algorithm may be NULL, as `TPM2_LoadExternal` takes it.
pub type Tpm2bPublicPlus = Tpm2b<TpmtPublic>;

/// `TPMU_SENSITIVE_COMPOSITE`: the secret of an object, by type (Part 2, 12.3.2.3).
#[doc(alias = "TPMU_SENSITIVE_COMPOSITE")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmuSensitiveComposite {
    /// One prime factor.
    Rsa(Tpm2bPrivateKeyRsa),
    /// The private scalar.
    Ecc(Tpm2bEccPrivate),
    /// HMAC key or sealed data.
    Bits(Tpm2bSensitiveData),
    /// The symmetric key.
    Sym(Tpm2bSymKey),
}

impl TpmuSensitiveComposite {
    /// The selector.
    #[must_use]
    pub const fn object_type(&self) -> TpmiAlgPublic {
        match self {
            Self::Rsa(_) => TpmiAlgPublic::Rsa,
            Self::Ecc(_) => TpmiAlgPublic::Ecc,
            Self::Bits(_) => TpmiAlgPublic::KeyedHash,
            Self::Sym(_) => TpmiAlgPublic::SymCipher,
        }
    }
}

/// `TPMT_SENSITIVE`: the sensitive area of an object (Part 2, 12.3.2.4).
#[doc(alias = "TPMT_SENSITIVE")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmtSensitive {
    /// The authorization value.
    pub auth_value: Tpm2bAuth,
    /// Seed of a storage key's protections, or obfuscation value.
    pub seed_value: Tpm2bSeed,
    /// The secret, with its type.
    pub sensitive: TpmuSensitiveComposite,
}

impl Parse for TpmtSensitive {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, object_type) = TpmiAlgPublic::parse(input)?;
        let (rest, auth_value) = Tpm2bAuth::parse(rest)?;
        let (rest, seed_value) = Tpm2bSeed::parse(rest)?;
        let (rest, sensitive) = match object_type {
            TpmiAlgPublic::Rsa => {
                let (rest, prime) = Tpm2bPrivateKeyRsa::parse(rest)?;
                (rest, TpmuSensitiveComposite::Rsa(prime))
            }
            TpmiAlgPublic::Ecc => {
                let (rest, scalar) = Tpm2bEccPrivate::parse(rest)?;
                (rest, TpmuSensitiveComposite::Ecc(scalar))
            }
            TpmiAlgPublic::KeyedHash => {
                let (rest, bits) = Tpm2bSensitiveData::parse(rest)?;
                (rest, TpmuSensitiveComposite::Bits(bits))
            }
            TpmiAlgPublic::SymCipher => {
                let (rest, key) = Tpm2bSymKey::parse(rest)?;
                (rest, TpmuSensitiveComposite::Sym(key))
            }
        };
        Ok((
            rest,
            Self {
                auth_value,
                seed_value,
                sensitive,
            },
        ))
    }
}

impl Marshal for TpmtSensitive {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.sensitive.object_type().marshal(out);
        self.auth_value.marshal(out);
        self.seed_value.marshal(out);
        match &self.sensitive {
            TpmuSensitiveComposite::Rsa(prime) => prime.marshal(out),
            TpmuSensitiveComposite::Ecc(scalar) => scalar.marshal(out),
            TpmuSensitiveComposite::Bits(bits) => bits.marshal(out),
            TpmuSensitiveComposite::Sym(key) => key.marshal(out),
        }
    }
}

/// `TPM2B_SENSITIVE`: a sensitive area; empty when only the public area is loaded (Part 2, 12.3.3).
#[doc(alias = "TPM2B_SENSITIVE")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tpm2bSensitive(pub Option<TpmtSensitive>);

impl Parse for Tpm2bSensitive {
    const SIZED: bool = true;

    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        match u16::parse(input)? {
            (rest, 0) => Ok((rest, Self(None))),
            _ => parse_sized(input).map(|(rest, sensitive)| (rest, Self(Some(sensitive)))),
        }
    }
}

impl Marshal for Tpm2bSensitive {
    fn marshal(&self, out: &mut Vec<u8>) {
        marshal_with_size(out, |out| {
            if let Some(sensitive) = &self.0 {
                sensitive.marshal(out);
            }
        });
    }
}

structure! {
    /// Authorization value and data for an object to create (Part 2, 11.1.15).
    #[doc(alias = "TPMS_SENSITIVE_CREATE")]
    pub struct TpmsSensitiveCreate { user_auth: Tpm2bAuth, data: Tpm2bSensitiveData }
}

/// A sized [`TpmsSensitiveCreate`].
#[doc(alias = "TPM2B_SENSITIVE_CREATE")]
pub type Tpm2bSensitiveCreate = Tpm2b<TpmsSensitiveCreate>;

structure! {
    /// Label and context of a key to derive (Part 2, 11.1.12).
    #[doc(alias = "TPMS_DERIVE")]
    pub struct TpmsDerive { label: Tpm2bLabel, context: Tpm2bLabel }
}

structure! {
    /// The circumstances of an object's creation (Part 2, 15.1).
    #[doc(alias = "TPMS_CREATION_DATA")]
    pub struct TpmsCreationData {
        pcr_select: TpmlPcrSelection,
        pcr_digest: Tpm2bDigest,
        locality: TpmaLocality,
        parent_name_alg: TpmAlgId,
        parent_name: Tpm2bName,
        parent_qualified_name: Tpm2bName,
        outside_info: Tpm2bData,
    }
}

/// A sized [`TpmsCreationData`].
#[doc(alias = "TPM2B_CREATION_DATA")]
pub type Tpm2bCreationData = Tpm2b<TpmsCreationData>;
