//! The private key of an authority: made here, or read from the files that openssl and certtool write.

use std::fmt;

use der::asn1::{Any, BitString, BitStringRef, Null, ObjectIdentifier, OctetStringRef, UintRef};
use der::pem::LineEnding;
use der::{Decode, Encode, Sequence};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rand_core::CryptoRng;
use tpm_crypto::ecc::{self, Curve};
use tpm_crypto::hash::{HashAlgorithm, hash};
use tpm_crypto::rsa;
use x509_cert::spki::{
    AlgorithmIdentifierOwned, AlgorithmIdentifierRef, SubjectPublicKeyInfoOwned,
};
use zeroize::Zeroizing;

use super::public_key::{self, EC_PUBLIC_KEY, RSA_ENCRYPTION, curve_of, curve_oid};
use crate::Error;

/// Bits of the smallest RSA key that may sign.
const SMALLEST_RSA: usize = 2048;

/// What a new authority signs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthorityAlgorithm {
    /// ECDSA with NIST P-256 and SHA-256.
    EcdsaP256,
    /// ECDSA with NIST P-384 and SHA-384.
    #[default]
    EcdsaP384,
}

/// The private key of an authority; never printed, and wiped when dropped.
#[derive(Clone)]
pub struct SigningKey(Kind);

#[derive(Clone)]
enum Kind {
    Ecc(ecc::PrivateKey),
    Rsa(Box<rsa::PrivateKey>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Ecc(_) => "SigningKey(ECC)",
            Kind::Rsa(_) => "SigningKey(RSA)",
        })
    }
}

/// `ECPrivateKey` (RFC 5915, 3).
#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    parameters: Option<ObjectIdentifier>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    public_key: Option<BitStringRef<'a>>,
}

/// `RSAPrivateKey` of two primes (RFC 8017, A.1.2).
#[derive(Sequence)]
struct RsaPrivateKey<'a> {
    version: u8,
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
    private_exponent: UintRef<'a>,
    prime_1: UintRef<'a>,
    prime_2: UintRef<'a>,
    exponent_1: UintRef<'a>,
    exponent_2: UintRef<'a>,
    coefficient: UintRef<'a>,
}

/// `ECDSA-Sig-Value` (RFC 3279, 2.2.3).
#[derive(Sequence)]
pub(super) struct EcdsaSignature<'a> {
    pub(super) r: UintRef<'a>,
    pub(super) s: UintRef<'a>,
}

impl SigningKey {
    /// Makes a key.
    pub fn generate(algorithm: AuthorityAlgorithm, rng: &mut impl CryptoRng) -> Self {
        let curve = match algorithm {
            AuthorityAlgorithm::EcdsaP256 => Curve::NistP256,
            AuthorityAlgorithm::EcdsaP384 => Curve::NistP384,
        };
        Self(Kind::Ecc(ecc::generate_private(curve, rng)))
    }

    /// Reads a key from PEM text: PKCS #8, encrypted or not, or the older forms `RSA PRIVATE KEY` and `EC PRIVATE KEY`. Text around
    /// it is left out of account.
    ///
    /// # Errors
    /// If there is no key, the password is wrong, or the key is not one that may sign here.
    pub fn from_pem(text: &[u8], password: Option<&[u8]>) -> Result<Self, Error> {
        let refused = |reason: String| Error::PrivateKey(reason);
        for block in pem_blocks(text) {
            let (label, bytes) =
                der::pem::decode_vec(block).map_err(|error| refused(error.to_string()))?;
            let bytes = Zeroizing::new(bytes);
            return match label {
                "PRIVATE KEY" => Self::from_pkcs8(&bytes),
                "ENCRYPTED PRIVATE KEY" => {
                    let password = password.ok_or_else(|| {
                        refused("it is encrypted and there is no password for it".into())
                    })?;
                    let info = EncryptedPrivateKeyInfoRef::from_der(&bytes)
                        .map_err(|error| refused(error.to_string()))?;
                    let clear = info
                        .decrypt(password)
                        .map_err(|_| refused("the password does not open it".into()))?;
                    Self::from_pkcs8(clear.as_bytes())
                }
                "RSA PRIVATE KEY" => Self::from_rsa(&bytes),
                "EC PRIVATE KEY" => Self::from_ec(&bytes, None),
                _ => continue,
            };
        }
        Err(refused("there is none in the file".into()))
    }

    /// The key as PKCS #8, encrypted if there is a password.
    ///
    /// # Errors
    /// For an RSA key, which is only ever read.
    pub fn to_pem(
        &self,
        password: Option<&[u8]>,
        rng: &mut impl CryptoRng,
    ) -> Result<Zeroizing<String>, Error> {
        let Kind::Ecc(key) = &self.0 else {
            return Err(Error::PrivateKey("an RSA key is not written".into()));
        };
        let encoding = |error: der::pem::Error| Error::Encoding(error.to_string());
        let point = key.public();
        let point = public_key::uncompressed(key.curve(), point.x(), point.y())?;
        let inner = EcPrivateKey {
            version: 1,
            private_key: OctetStringRef::new(key.as_bytes())?,
            parameters: None,
            public_key: Some(BitStringRef::from_bytes(&point)?),
        };
        let inner = Zeroizing::new(inner.to_der()?);
        let curve = curve_oid(key.curve())?;
        let algorithm = AlgorithmIdentifierRef {
            oid: EC_PUBLIC_KEY,
            parameters: Some((&curve).into()),
        };
        let info = PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(&inner)?);
        let text = match password {
            None => {
                let bytes = Zeroizing::new(info.to_der()?);
                der::pem::encode_string("PRIVATE KEY", LineEnding::LF, &bytes).map_err(encoding)?
            }
            Some(password) => {
                let sealed = info
                    .encrypt_with_rng(rng, password)
                    .map_err(|error| Error::Encoding(error.to_string()))?;
                der::pem::encode_string("ENCRYPTED PRIVATE KEY", LineEnding::LF, sealed.as_bytes())
                    .map_err(encoding)?
            }
        };
        Ok(Zeroizing::new(text))
    }

    /// The public part, as certificates hold it.
    ///
    /// # Errors
    /// None for a key that was made or read here.
    pub fn public(&self) -> Result<SubjectPublicKeyInfoOwned, Error> {
        match &self.0 {
            Kind::Ecc(key) => {
                let point = key.public();
                public_key::ecc(key.curve(), point.x(), point.y())
            }
            Kind::Rsa(key) => public_key::rsa(key.public().modulus(), key.public().exponent()),
        }
    }

    /// How signatures of this key are named (RFC 5758, 3.2; RFC 4055, 5).
    pub(crate) fn signature_algorithm(&self) -> AlgorithmIdentifierOwned {
        let (oid, parameters) = match &self.0 {
            Kind::Ecc(key) => (
                match hash_for(key.curve()) {
                    HashAlgorithm::Sha512 => "1.2.840.10045.4.3.4",
                    HashAlgorithm::Sha384 => "1.2.840.10045.4.3.3",
                    _ => "1.2.840.10045.4.3.2",
                },
                None,
            ),
            Kind::Rsa(_) => ("1.2.840.113549.1.1.11", Some(Any::from(Null))),
        };
        AlgorithmIdentifierOwned {
            oid: ObjectIdentifier::new_unwrap(oid),
            parameters,
        }
    }

    /// Signs these bytes, in the form in which certificates carry a signature.
    pub(crate) fn sign(
        &self,
        message: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<BitString, Error> {
        let signature = match &self.0 {
            Kind::Ecc(key) => {
                let digest = hash(hash_for(key.curve()), &[message]);
                let mut entropy = Zeroizing::new([0; 32]);
                rng.fill_bytes(&mut *entropy);
                let signature = ecc::ecdsa::sign(key, digest.as_slice(), &entropy)?;
                EcdsaSignature {
                    r: UintRef::new(&signature.r)?,
                    s: UintRef::new(&signature.s)?,
                }
                .to_der()?
            }
            Kind::Rsa(key) => {
                let digest = hash(HashAlgorithm::Sha256, &[message]);
                let mut key = key.clone();
                rsa::pkcs1::sign(&mut key, HashAlgorithm::Sha256, digest.as_slice(), rng)?
            }
        };
        Ok(BitString::from_bytes(&signature)?)
    }

    fn from_pkcs8(bytes: &[u8]) -> Result<Self, Error> {
        let info = PrivateKeyInfoRef::from_der(bytes)
            .map_err(|error| Error::PrivateKey(error.to_string()))?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => Self::from_rsa(info.private_key.as_bytes()),
            EC_PUBLIC_KEY => {
                let curve = info.algorithm.parameters_oid().ok();
                Self::from_ec(info.private_key.as_bytes(), curve)
            }
            other => Err(Error::PrivateKey(format!(
                "its algorithm {other} is neither RSA nor ECDSA"
            ))),
        }
    }

    fn from_ec(bytes: &[u8], curve: Option<ObjectIdentifier>) -> Result<Self, Error> {
        let key =
            EcPrivateKey::from_der(bytes).map_err(|error| Error::PrivateKey(error.to_string()))?;
        let curve =
            key.parameters.or(curve).and_then(curve_of).ok_or_else(|| {
                Error::PrivateKey("its curve is none of P-256, P-384, P-521".into())
            })?;
        ecc::PrivateKey::new(curve, key.private_key.as_bytes())
            .map(|key| Self(Kind::Ecc(key)))
            .ok_or_else(|| Error::PrivateKey("its scalar is outside its range".into()))
    }

    fn from_rsa(bytes: &[u8]) -> Result<Self, Error> {
        let refused = |reason: String| Error::PrivateKey(reason);
        let key = RsaPrivateKey::from_der(bytes).map_err(|error| refused(error.to_string()))?;
        let modulus = key.modulus.as_bytes();
        if modulus.len() * 8 < SMALLEST_RSA {
            return Err(refused(format!(
                "an RSA key of {} bits is too short to sign certificates",
                modulus.len() * 8
            )));
        }
        let mut exponent = [0; 4];
        for (to, from) in exponent
            .iter_mut()
            .rev()
            .zip(key.public_exponent.as_bytes().iter().rev())
        {
            *to = *from;
        }
        let key = rsa::PrivateKey::from_prime(
            modulus,
            u32::from_be_bytes(exponent),
            key.prime_1.as_bytes(),
        )
        .and_then(rsa::PrivateKey::prepared)
        .map_err(|error| refused(error.to_string()))?;
        Ok(Self(Kind::Rsa(Box::new(key))))
    }
}

/// The hash that is as strong as the curve.
const fn hash_for(curve: Curve) -> HashAlgorithm {
    match curve {
        Curve::NistP521 => HashAlgorithm::Sha512,
        Curve::NistP384 => HashAlgorithm::Sha384,
        _ => HashAlgorithm::Sha256,
    }
}

/// The PEM blocks in a text, without what stands before, between and after them.
pub(super) fn pem_blocks(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    const DASHES: &[u8] = b"-----";
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|part| part == what);
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, from) = rest.split_at_checked(find(rest, BEGIN)?)?;
        let end = find(from, END)?;
        let label = end + END.len();
        let close = label + find(from.get(label..)?, DASHES)? + DASHES.len();
        let (block, after) = from.split_at_checked(close)?;
        rest = after;
        Some(block)
    })
}
