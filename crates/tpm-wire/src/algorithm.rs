//! Algorithm interface types, parameters and schemes (Part 2, 9 and 11).

use crate::buffers::{Small, Tpm2b, Tpm2bEccParameter, Tpm2bPublicKeyRsa};
use crate::codec::{
    Input, Marshal, Nullable, Parse, Parsed, TpmsEmpty, refuse, selected, structure, take,
};
use crate::constants::{TpmAlgId, TpmEccCurve, interface};
use crate::rc::Rc;
use alloc::vec::Vec;

interface! {
    /// Hash algorithms (Part 2, 9.27).
    #[doc(alias = "TPMI_ALG_HASH")]
    pub enum TpmiAlgHash(TpmAlgId) refuses HASH {
        Sha1 = SHA1, Sha256 = SHA256, Sha384 = SHA384, Sha512 = SHA512,
        Sm3_256 = SM3_256, Sha3_256 = SHA3_256, Sha3_384 = SHA3_384, Sha3_512 = SHA3_512,
    }
}

impl TpmiAlgHash {
    /// Bytes of a digest.
    #[must_use]
    pub const fn digest_size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sm3_256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }
}

interface! {
    /// Block ciphers of an object (Part 2, 9.30).
    #[doc(alias = "TPMI_ALG_SYM_OBJECT")]
    pub enum TpmiAlgSymObject(TpmAlgId) refuses SYMMETRIC { Tdes = TDES, Aes = AES, Sm4 = SM4, Camellia = CAMELLIA }
}

interface! {
    /// Modes of a block cipher, CMAC included (Part 2, 9.31).
    #[doc(alias = "TPMI_ALG_SYM_MODE")]
    pub enum TpmiAlgSymMode(TpmAlgId) refuses MODE { Ctr = CTR, Ofb = OFB, Cbc = CBC, Cfb = CFB, Ecb = ECB, Cmac = CMAC }
}

interface! {
    /// Modes that encrypt (Part 2, 9.39).
    #[doc(alias = "TPMI_ALG_CIPHER_MODE")]
    pub enum TpmiAlgCipherMode(TpmAlgId) refuses MODE { Ctr = CTR, Ofb = OFB, Cbc = CBC, Cfb = CFB, Ecb = ECB }
}

interface! {
    /// Message authentication schemes: a hash for HMAC, or CMAC (Part 2, 9.38).
    #[doc(alias = "TPMI_ALG_MAC_SCHEME")]
    pub enum TpmiAlgMacScheme(TpmAlgId) refuses SYMMETRIC {
        Sha1 = SHA1, Sha256 = SHA256, Sha384 = SHA384, Sha512 = SHA512,
        Sm3_256 = SM3_256, Sha3_256 = SHA3_256, Sha3_384 = SHA3_384, Sha3_512 = SHA3_512, Cmac = CMAC,
    }
}

interface! {
    /// Key derivation functions (Part 2, 9.32).
    #[doc(alias = "TPMI_ALG_KDF")]
    pub enum TpmiAlgKdf(TpmAlgId) refuses KDF {
        Mgf1 = MGF1, Kdf1Sp80056a = KDF1_SP800_56A, Kdf2 = KDF2, Kdf1Sp800108 = KDF1_SP800_108,
    }
}

interface! {
    /// Types of an object (Part 2, 12.2.2).
    #[doc(alias = "TPMI_ALG_PUBLIC")]
    pub enum TpmiAlgPublic(TpmAlgId) refuses TYPE { KeyedHash = KEYEDHASH, SymCipher = SYMCIPHER, Rsa = RSA, Ecc = ECC }
}

interface! {
    /// Key exchanges of two phases (Part 2, 9.34).
    #[doc(alias = "TPMI_ECC_KEY_EXCHANGE")]
    pub enum TpmiEccKeyExchange(TpmAlgId) refuses SCHEME { Ecdh = ECDH, Sm2 = SM2, Ecmqv = ECMQV }
}

interface! {
    /// Curves (Part 2, 11.2.5.5).
    #[doc(alias = "TPMI_ECC_CURVE")]
    pub enum TpmiEccCurve(TpmEccCurve) refuses CURVE {
        NistP192 = NIST_P192, NistP224 = NIST_P224, NistP256 = NIST_P256, NistP384 = NIST_P384, NistP521 = NIST_P521,
        BnP256 = BN_P256, BnP638 = BN_P638, Sm2P256 = SM2_P256,
    }
}

macro_rules! null_algorithm {
    ($($type:ident),*) => {$(
        impl Nullable for $type {
            const NULL: &'static [u8] = &[0x00, 0x10];
        }
    )*};
}

null_algorithm!(
    TpmiAlgHash,
    TpmiAlgSymObject,
    TpmiAlgSymMode,
    TpmiAlgCipherMode,
    TpmiAlgMacScheme,
    TpmiAlgKdf
);

/// `TPMT_HA`: a hash algorithm and a digest of its size (Part 2, 10.3.2).
#[doc(alias = "TPMT_HA")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmtHa {
    /// The algorithm.
    pub hash_alg: TpmiAlgHash,
    /// The digest; its length is that of the algorithm.
    pub digest: Small<64>,
}

impl Parse for TpmtHa {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, hash_alg) = TpmiAlgHash::parse(input)?;
        let (rest, bytes) = take(rest, hash_alg.digest_size())?;
        Ok((
            rest,
            Self {
                hash_alg,
                digest: Small::new(bytes).unwrap_or_default(),
            },
        ))
    }
}

impl Marshal for TpmtHa {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.hash_alg.marshal(out);
        out.extend_from_slice(&self.digest);
    }
}

impl Nullable for TpmtHa {
    const NULL: &'static [u8] = &[0x00, 0x10];
}

/// `TPMT_SYM_DEF_OBJECT`: a block cipher, its key size and its mode (Part 2, 11.1.7).
#[doc(alias = "TPMT_SYM_DEF_OBJECT")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmtSymDefObject {
    /// The cipher.
    pub algorithm: TpmiAlgSymObject,
    /// Bits of the key.
    pub key_bits: u16,
    /// The mode; `None` leaves it open.
    pub mode: Option<TpmiAlgSymMode>,
}

impl TpmtSymDefObject {
    fn parse_after(algorithm: TpmiAlgSymObject, rest: Input<'_>) -> Parsed<'_, Self> {
        let limits = rest.limits;
        let (rest, key_bits) = u16::parse(rest)?;
        if !limits.has_symmetric_key_size(algorithm.id(), key_bits) {
            return refuse(Rc::VALUE);
        }
        let (rest, mode) = Option::<TpmiAlgSymMode>::parse(rest)?;
        Ok((
            rest,
            Self {
                algorithm,
                key_bits,
                mode,
            },
        ))
    }
}

impl Parse for TpmtSymDefObject {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, algorithm) = TpmiAlgSymObject::parse(input)?;
        Self::parse_after(algorithm, rest)
    }
}

impl Marshal for TpmtSymDefObject {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.algorithm.marshal(out);
        self.key_bits.marshal(out);
        self.mode.marshal(out);
    }
}

impl Nullable for TpmtSymDefObject {
    const NULL: &'static [u8] = &[0x00, 0x10];
}

/// `TPMT_SYM_DEF`: how a session encrypts parameters (Part 2, 11.1.6).
#[doc(alias = "TPMT_SYM_DEF")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TpmtSymDef {
    /// A block cipher.
    Block(TpmtSymDefObject),
    /// XOR with a mask made by this hash.
    Xor(TpmiAlgHash),
}

impl Parse for TpmtSymDef {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, id) = TpmAlgId::parse(input)?;
        if id == TpmAlgId::XOR && input.limits.has_algorithm(id) {
            let (rest, hash) = TpmiAlgHash::parse(rest)?;
            return Ok((rest, Self::Xor(hash)));
        }
        let (rest, algorithm) = TpmiAlgSymObject::parse(input)?;
        let (rest, block) = TpmtSymDefObject::parse_after(algorithm, rest)?;
        Ok((rest, Self::Block(block)))
    }
}

impl Marshal for TpmtSymDef {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Self::Block(block) => block.marshal(out),
            Self::Xor(hash) => {
                TpmAlgId::XOR.marshal(out);
                hash.marshal(out);
            }
        }
    }
}

impl Nullable for TpmtSymDef {
    const NULL: &'static [u8] = &[0x00, 0x10];
}

structure! {
    /// A scheme that is a hash (Part 2, 11.1.17).
    #[doc(alias = "TPMS_SCHEME_HASH")]
    pub struct TpmsSchemeHash { hash_alg: TpmiAlgHash }
}

structure! {
    /// ECDAA: a hash and the count of the commit (Part 2, 11.1.18).
    #[doc(alias = "TPMS_SCHEME_ECDAA")]
    pub struct TpmsSchemeEcdaa { hash_alg: TpmiAlgHash, count: u16 }
}

structure! {
    /// XOR obfuscation: a hash and a KDF (Part 2, 11.1.20).
    #[doc(alias = "TPMS_SCHEME_XOR")]
    pub struct TpmsSchemeXor { hash_alg: TpmiAlgHash, kdf: Option<TpmiAlgKdf> }
}

selected! {
    /// Scheme of a keyed hash object (Part 2, 11.1.23).
    #[doc(alias = "TPMT_KEYEDHASH_SCHEME")]
    pub enum TpmtKeyedhashScheme refuses VALUE { Hmac(TpmsSchemeHash) = HMAC, Xor(TpmsSchemeXor) = XOR }
}

selected! {
    /// A signing scheme (Part 2, 11.2.1.5).
    #[doc(alias = "TPMT_SIG_SCHEME")]
    pub enum TpmtSigScheme refuses SCHEME {
        Rsassa(TpmsSchemeHash) = RSASSA,
        Rsapss(TpmsSchemeHash) = RSAPSS,
        Ecdsa(TpmsSchemeHash) = ECDSA,
        Ecdaa(TpmsSchemeEcdaa) = ECDAA,
        Sm2(TpmsSchemeHash) = SM2,
        Ecschnorr(TpmsSchemeHash) = ECSCHNORR,
        Hmac(TpmsSchemeHash) = HMAC,
    }
}

impl TpmtSigScheme {
    /// The hash of the scheme.
    #[must_use]
    pub const fn hash_alg(&self) -> TpmiAlgHash {
        match self {
            Self::Rsassa(scheme)
            | Self::Rsapss(scheme)
            | Self::Ecdsa(scheme)
            | Self::Sm2(scheme)
            | Self::Ecschnorr(scheme)
            | Self::Hmac(scheme) => scheme.hash_alg,
            Self::Ecdaa(scheme) => scheme.hash_alg,
        }
    }
}

selected! {
    /// Scheme of an RSA key (Part 2, 11.2.4.2).
    #[doc(alias = "TPMT_RSA_SCHEME")]
    pub enum TpmtRsaScheme refuses VALUE {
        Rsassa(TpmsSchemeHash) = RSASSA,
        Rsaes(TpmsEmpty) = RSAES,
        Rsapss(TpmsSchemeHash) = RSAPSS,
        Oaep(TpmsSchemeHash) = OAEP,
    }
}

selected! {
    /// How RSA encrypts (Part 2, 11.2.4.4).
    #[doc(alias = "TPMT_RSA_DECRYPT")]
    pub enum TpmtRsaDecrypt refuses VALUE { Rsaes(TpmsEmpty) = RSAES, Oaep(TpmsSchemeHash) = OAEP }
}

selected! {
    /// Scheme of an ECC key (Part 2, 11.2.5.6).
    #[doc(alias = "TPMT_ECC_SCHEME")]
    pub enum TpmtEccScheme refuses SCHEME {
        Ecdsa(TpmsSchemeHash) = ECDSA,
        Ecdh(TpmsSchemeHash) = ECDH,
        Ecdaa(TpmsSchemeEcdaa) = ECDAA,
        Sm2(TpmsSchemeHash) = SM2,
        Ecschnorr(TpmsSchemeHash) = ECSCHNORR,
        Ecmqv(TpmsSchemeHash) = ECMQV,
    }
}

selected! {
    /// A key derivation function and its hash (Part 2, 11.2.3.3).
    #[doc(alias = "TPMT_KDF_SCHEME")]
    pub enum TpmtKdfScheme refuses KDF {
        Mgf1(TpmsSchemeHash) = MGF1,
        Kdf1Sp80056a(TpmsSchemeHash) = KDF1_SP800_56A,
        Kdf2(TpmsSchemeHash) = KDF2,
        Kdf1Sp800108(TpmsSchemeHash) = KDF1_SP800_108,
    }
}

structure! {
    /// A point of a curve (Part 2, 11.2.5.2).
    #[doc(alias = "TPMS_ECC_POINT")]
    pub struct TpmsEccPoint { x: Tpm2bEccParameter, y: Tpm2bEccParameter }
}

/// A point with its size.
#[doc(alias = "TPM2B_ECC_POINT")]
pub type Tpm2bEccPoint = Tpm2b<TpmsEccPoint>;

structure! {
    /// An RSA signature (Part 2, 11.3.1).
    #[doc(alias = "TPMS_SIGNATURE_RSA")]
    pub struct TpmsSignatureRsa { hash: TpmiAlgHash, sig: Tpm2bPublicKeyRsa }
}

structure! {
    /// An ECC signature (Part 2, 11.3.2).
    #[doc(alias = "TPMS_SIGNATURE_ECC")]
    pub struct TpmsSignatureEcc { hash: TpmiAlgHash, signature_r: Tpm2bEccParameter, signature_s: Tpm2bEccParameter }
}

selected! {
    /// A signature (Part 2, 11.3.4).
    #[doc(alias = "TPMT_SIGNATURE")]
    pub enum TpmtSignature refuses SCHEME {
        Rsassa(TpmsSignatureRsa) = RSASSA,
        Rsapss(TpmsSignatureRsa) = RSAPSS,
        Ecdsa(TpmsSignatureEcc) = ECDSA,
        Ecdaa(TpmsSignatureEcc) = ECDAA,
        Sm2(TpmsSignatureEcc) = SM2,
        Ecschnorr(TpmsSignatureEcc) = ECSCHNORR,
        Hmac(TpmtHa) = HMAC,
    }
}

impl TpmtSignature {
    /// The hash that the signature names.
    #[must_use]
    pub const fn hash_alg(&self) -> TpmiAlgHash {
        match self {
            Self::Rsassa(signature) | Self::Rsapss(signature) => signature.hash,
            Self::Ecdsa(signature)
            | Self::Ecdaa(signature)
            | Self::Sm2(signature)
            | Self::Ecschnorr(signature) => signature.hash,
            Self::Hmac(mac) => mac.hash_alg,
        }
    }
}

/// Bits of an RSA key (Part 2, 11.2.4.6): the sizes that are implemented, others are `TPM_RC_VALUE`.
#[doc(alias = "TPMI_RSA_KEY_BITS")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmiRsaKeyBits(pub u16);

impl Parse for TpmiRsaKeyBits {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, bits) = u16::parse(input)?;
        if input.limits.has_rsa_key_size(bits) {
            Ok((rest, Self(bits)))
        } else {
            refuse(Rc::VALUE)
        }
    }
}

impl Marshal for TpmiRsaKeyBits {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
    }
}

structure! {
    /// The parameters of a curve (Part 2, 11.2.5.9).
    #[doc(alias = "TPMS_ALGORITHM_DETAIL_ECC")]
    pub struct TpmsAlgorithmDetailEcc {
        curve_id: TpmEccCurve,
        key_size: u16,
        kdf: Option<TpmtKdfScheme>,
        sign: Option<TpmtEccScheme>,
        p: Tpm2bEccParameter,
        a: Tpm2bEccParameter,
        b: Tpm2bEccParameter,
        g_x: Tpm2bEccParameter,
        g_y: Tpm2bEccParameter,
        n: Tpm2bEccParameter,
        h: Tpm2bEccParameter,
    }
}
