//! Signing and verifying with any key, and which scheme a key signs by (Part 1, 11.4.5 and Annexes B and C; Part 3, 18.1 and 20).

use crate::algorithms::{hash_algorithm, hmac, small};
use crate::keys::{ecc_private, ecc_public, rsa_private, rsa_public};
use crate::object::Object;
use crate::state::Tpm;
use alloc::vec::Vec;
use subtle::ConstantTimeEq;
use tpm_crypto::ecc::{EccError, ecdaa, ecdsa, schnorr, sm2};
use tpm_crypto::rsa::{RsaError, pkcs1, pss};
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmsSignatureEcc, TpmsSignatureRsa, TpmtEccScheme, TpmtHa, TpmtKeyedhashScheme,
    TpmtRsaScheme, TpmtSigScheme, TpmtSignature,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::Tpm2bPublicKeyRsa;
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::{TpmuPublicParms, TpmuSensitiveComposite};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// Whether a scheme hides which key signed: the signature names neither key nor caller (Part 1, C.4.2).
pub(crate) const fn is_anonymous(scheme: &TpmtSigScheme) -> bool {
    matches!(scheme, TpmtSigScheme::Ecdaa(_))
}

/// Whether an object can sign: the attribute is set and the type has signatures, which symmetric ciphers have not.
pub(crate) fn can_sign(key: &Object) -> bool {
    key.public.has(TpmaObject::SIGN)
        && !matches!(key.public.parameters, TpmuPublicParms::SymCipher(_))
}

/// The scheme that a key signs by: its own, or the one given, or the one given if both agree (Part 3, 18.1).
///
/// # Errors
/// `TPM_RC_SCHEME`: neither names a scheme, both name different ones, the key cannot sign by it, or the key's own scheme
/// needs the count of a commit that only the caller can give.
pub(crate) fn select_scheme(
    key: &Object,
    given: Option<TpmtSigScheme>,
) -> Result<TpmtSigScheme, Rc> {
    let own = own_scheme(key)?;
    let chosen = match (own, given) {
        (KeyScheme::Open, Some(given)) => given,
        (KeyScheme::Signs(own), None) if !is_anonymous(&own) => own,
        (KeyScheme::Signs(own), Some(given))
            if own.algorithm() == given.algorithm() && own.hash_alg() == given.hash_alg() =>
        {
            given
        }
        _ => return Err(Rc::SCHEME),
    };
    let fits = match &key.public.parameters {
        TpmuPublicParms::Rsa(_) => {
            matches!(chosen, TpmtSigScheme::Rsassa(_) | TpmtSigScheme::Rsapss(_))
        }
        TpmuPublicParms::Ecc(_) => matches!(
            chosen,
            TpmtSigScheme::Ecdsa(_)
                | TpmtSigScheme::Ecdaa(_)
                | TpmtSigScheme::Sm2(_)
                | TpmtSigScheme::Ecschnorr(_)
        ),
        TpmuPublicParms::KeyedHash(_) => matches!(chosen, TpmtSigScheme::Hmac(_)),
        TpmuPublicParms::SymCipher(_) => false,
    };
    if fits { Ok(chosen) } else { Err(Rc::SCHEME) }
}

/// What the public area of a key says of its scheme.
enum KeyScheme {
    /// Nothing: the caller chooses.
    Open,
    /// The only scheme by which it signs.
    Signs(TpmtSigScheme),
    /// A scheme of another use, by which nothing can be signed.
    Other,
}

fn own_scheme(key: &Object) -> Result<KeyScheme, Rc> {
    let scheme = match &key.public.parameters {
        TpmuPublicParms::Rsa(parameters) => match &parameters.scheme {
            None => return Ok(KeyScheme::Open),
            Some(TpmtRsaScheme::Rsassa(scheme)) => TpmtSigScheme::Rsassa(scheme.clone()),
            Some(TpmtRsaScheme::Rsapss(scheme)) => TpmtSigScheme::Rsapss(scheme.clone()),
            Some(TpmtRsaScheme::Rsaes(_) | TpmtRsaScheme::Oaep(_)) => return Ok(KeyScheme::Other),
        },
        TpmuPublicParms::Ecc(parameters) => match &parameters.scheme {
            None => return Ok(KeyScheme::Open),
            Some(TpmtEccScheme::Ecdsa(scheme)) => TpmtSigScheme::Ecdsa(scheme.clone()),
            Some(TpmtEccScheme::Ecdaa(scheme)) => TpmtSigScheme::Ecdaa(scheme.clone()),
            Some(TpmtEccScheme::Sm2(scheme)) => TpmtSigScheme::Sm2(scheme.clone()),
            Some(TpmtEccScheme::Ecschnorr(scheme)) => TpmtSigScheme::Ecschnorr(scheme.clone()),
            Some(TpmtEccScheme::Ecdh(_) | TpmtEccScheme::Ecmqv(_)) => return Ok(KeyScheme::Other),
        },
        TpmuPublicParms::KeyedHash(scheme) => match scheme {
            None => return Ok(KeyScheme::Open),
            Some(TpmtKeyedhashScheme::Hmac(scheme)) => TpmtSigScheme::Hmac(scheme.clone()),
            Some(TpmtKeyedhashScheme::Xor(_)) => return Ok(KeyScheme::Other),
        },
        TpmuPublicParms::SymCipher(_) => return Err(Rc::SCHEME),
    };
    Ok(KeyScheme::Signs(scheme))
}

impl Tpm {
    /// Verifies a signature over a digest.
    ///
    /// # Errors
    /// `TPM_RC_SIGNATURE` if it is not genuine, `TPM_RC_SCHEME` if the key has no signatures of this kind that could be
    /// verified, `TPM_RC_HANDLE` for an HMAC key of which only the public area is loaded.
    pub(crate) fn verify_signature(
        &self,
        key: &Object,
        signature: &TpmtSignature,
        digest: &[u8],
    ) -> Result<(), Rc> {
        match &key.public.parameters {
            TpmuPublicParms::Rsa(_) => verify_rsa(key, signature, digest),
            TpmuPublicParms::Ecc(_) => verify_ecc(key, signature, digest),
            TpmuPublicParms::KeyedHash(scheme) => verify_hmac(key, scheme, signature, digest),
            TpmuPublicParms::SymCipher(_) => Err(Rc::SCHEME),
        }
    }

    /// Signs a digest by a scheme that [`select_scheme`] chose. An anonymous signature ends the commit that it uses.
    ///
    /// # Errors
    /// `TPM_RC_SCHEME`, `TPM_RC_VALUE` for a commit that is not open, `TPM_RC_SIZE` if the key is too short for the digest,
    /// `TPM_RC_BINDING` if its halves do not match, `TPM_RC_NV_UNAVAILABLE`.
    pub(crate) fn sign_digest(
        &mut self,
        key: TpmHandle,
        scheme: &TpmtSigScheme,
        digest: &[u8],
    ) -> Result<TpmtSignature, Rc> {
        let signature = self.compute_signature(key, scheme, digest)?;
        if is_anonymous(scheme) {
            self.void_orderly()?;
        }
        self.end_signature(scheme);
        Ok(signature)
    }

    /// What follows a signature that is given out: the commit of an anonymous one cannot be used again.
    pub(crate) fn end_signature(&mut self, scheme: &TpmtSigScheme) {
        if let TpmtSigScheme::Ecdaa(scheme) = scheme {
            self.commits.end(scheme.count);
        }
    }

    /// Signs without changing any state but that of the generator.
    ///
    /// # Errors
    /// As [`sign_digest`](Self::sign_digest).
    pub(crate) fn compute_signature(
        &mut self,
        key: TpmHandle,
        scheme: &TpmtSigScheme,
        digest: &[u8],
    ) -> Result<TpmtSignature, Rc> {
        self.power.first_use(scheme.algorithm())?;
        let key = self.objects.find(key).ok_or(Rc::KEY)?;
        let hash = scheme.hash_alg();
        let hasher = hash_algorithm(hash);
        // Fresh entropy beside the digest: a copy of this TPM does not repeat the nonce, and a bad generator is no danger.
        let mut entropy = Zeroizing::new([0; 32]);
        match scheme {
            TpmtSigScheme::Rsassa(_) => {
                let sig = pkcs1::sign(
                    &mut rsa_private(key, &*self.platform)?,
                    hasher,
                    digest,
                    &mut self.random,
                );
                Ok(TpmtSignature::Rsassa(rsa_signature(hash, sig)?))
            }
            TpmtSigScheme::Rsapss(_) => {
                let sig = pss::sign(
                    &mut rsa_private(key, &*self.platform)?,
                    hasher,
                    digest,
                    &mut self.random,
                );
                Ok(TpmtSignature::Rsapss(rsa_signature(hash, sig)?))
            }
            TpmtSigScheme::Ecdsa(_) => {
                self.random.fill(&mut *entropy);
                let signature = ecdsa::sign(&ecc_private(key)?, digest, &entropy);
                Ok(TpmtSignature::Ecdsa(ecc_signature(hash, signature)?))
            }
            TpmtSigScheme::Sm2(_) => {
                self.random.fill(&mut *entropy);
                let signature = sm2::sign(&ecc_private(key)?, digest, &entropy);
                Ok(TpmtSignature::Sm2(ecc_signature(hash, signature)?))
            }
            TpmtSigScheme::Ecschnorr(_) => {
                self.random.fill(&mut *entropy);
                let signature = schnorr::sign(&ecc_private(key)?, hasher, digest, &entropy);
                Ok(TpmtSignature::Ecschnorr(ecc_signature(hash, signature)?))
            }
            TpmtSigScheme::Ecdaa(ecdaa) => {
                let private = ecc_private(key)?;
                let count = self.commits.find(ecdaa.count).ok_or(Rc::VALUE)?;
                let r = self.commits.secret(private.curve(), &key.name, count);
                let signature = ecdaa::sign(&private, hasher, &r, digest, &mut self.random);
                Ok(TpmtSignature::Ecdaa(ecc_signature(hash, signature)?))
            }
            TpmtSigScheme::Hmac(_) => Ok(TpmtSignature::Hmac(TpmtHa {
                hash_alg: hash,
                digest: small(&hmac(hash, hmac_key(key)?, &[digest])),
            })),
        }
    }
}

/// The secret of a keyed hash object.
///
/// # Errors
/// `TPM_RC_KEY` if it is none, or only its public area is loaded.
pub(crate) fn hmac_key(key: &Object) -> Result<&[u8], Rc> {
    match key.sensitive.as_ref().map(|area| &area.sensitive) {
        Some(TpmuSensitiveComposite::Bits(bits)) => Ok(bits),
        _ => Err(Rc::KEY),
    }
}

fn verify_rsa(key: &Object, signature: &TpmtSignature, digest: &[u8]) -> Result<(), Rc> {
    let public = rsa_public(&key.public).map_err(|_| Rc::SIGNATURE);
    let verified = match signature {
        TpmtSignature::Rsassa(rsa) => {
            pkcs1::verify(&public?, hash_algorithm(rsa.hash), digest, &rsa.sig)
        }
        TpmtSignature::Rsapss(rsa) => {
            pss::verify(&public?, hash_algorithm(rsa.hash), digest, &rsa.sig)
        }
        _ => return Err(Rc::SCHEME),
    };
    verified.map_err(|_| Rc::SIGNATURE)
}

fn verify_ecc(key: &Object, signature: &TpmtSignature, digest: &[u8]) -> Result<(), Rc> {
    let public = ecc_public(&key.public).map_err(|_| Rc::SIGNATURE);
    let verified = match signature {
        TpmtSignature::Ecdsa(ecc) => {
            ecdsa::verify(&public?, digest, &ecc.signature_r, &ecc.signature_s)
        }
        TpmtSignature::Sm2(ecc) => {
            sm2::verify(&public?, digest, &ecc.signature_r, &ecc.signature_s)
        }
        TpmtSignature::Ecschnorr(ecc) => schnorr::verify(
            &public?,
            hash_algorithm(ecc.hash),
            digest,
            &ecc.signature_r,
            &ecc.signature_s,
        ),
        // An anonymous signature is verified with points that a TPM does not have.
        _ => return Err(Rc::SCHEME),
    };
    verified.map_err(|_| Rc::SIGNATURE)
}

fn verify_hmac(
    key: &Object,
    own: &Option<TpmtKeyedhashScheme>,
    signature: &TpmtSignature,
    digest: &[u8],
) -> Result<(), Rc> {
    if key.sensitive.is_none() {
        return Err(Rc::HANDLE);
    }
    let TpmtSignature::Hmac(mac) = signature else {
        return Err(Rc::SCHEME);
    };
    // A key with a scheme verifies by no other hash, which may be weaker.
    match own {
        None => {}
        Some(TpmtKeyedhashScheme::Hmac(own)) if own.hash_alg == mac.hash_alg => {}
        Some(_) => return Err(Rc::SIGNATURE),
    }
    let expected = hmac(mac.hash_alg, hmac_key(key)?, &[digest]);
    if bool::from(expected.ct_eq(&mac.digest)) {
        Ok(())
    } else {
        Err(Rc::SIGNATURE)
    }
}

fn rsa_signature(
    hash: TpmiAlgHash,
    signature: Result<Vec<u8>, RsaError>,
) -> Result<TpmsSignatureRsa, Rc> {
    let sig = signature.map_err(|error| match error {
        RsaError::KeyTooSmall | RsaError::InputTooLarge => Rc::SIZE,
        RsaError::DigestSize => Rc::VALUE,
        // The parts of an external key may not belong together, which shows only when it is used.
        _ => Rc::BINDING,
    })?;
    let sig = Tpm2bPublicKeyRsa::new(sig).ok_or(Rc::SIZE)?;
    Ok(TpmsSignatureRsa { hash, sig })
}

fn ecc_signature(
    hash: TpmiAlgHash,
    signature: Result<tpm_crypto::ecc::Signature, EccError>,
) -> Result<TpmsSignatureEcc, Rc> {
    let signature = signature.map_err(|error| match error {
        EccError::Infinity | EccError::Scalar => Rc::NO_RESULT,
        _ => Rc::VALUE,
    })?;
    Ok(TpmsSignatureEcc {
        hash,
        signature_r: small(&signature.r),
        signature_s: small(&signature.s),
    })
}
