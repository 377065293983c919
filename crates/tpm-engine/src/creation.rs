//! Making objects (Part 1, 27).
//!
//! # Where the numbers of a primary object come from
//!
//! A primary object is not stored: it is made again from its seed whenever it is asked for, and must come out the same for ever.
//! What follows is therefore a format. Its random numbers are those of a [`Drbg`] that is seeded with the primary seed of the
//! hierarchy and personalized with these three parts:
//!
//! 1. the text `Primary Object Creation` and a zero byte,
//! 2. the Name of the template: identifier of the Name algorithm, then the digest of the public area as the caller gave it,
//! 3. the sensitive data that the caller gave.
//!
//! Then it is drawn, each by one request unless said otherwise:
//!
//! - for an RSA key its two primes by [`rsa::generate`], which says how it draws;
//! - for an ECC key its scalar by [`ecc::generate`];
//! - for a block cipher the key, if the caller gave none; for triple DES drawn again while it is weak;
//! - for a keyed hash object as many bytes as its digest has, if the caller gave no data. The digest is that of the scheme, or
//!   of the Name algorithm without a scheme.
//! - In the endorsement hierarchy the generator is now reseeded with the owner's proof and again with the endorsement proof, so
//!   that the protections of children end with `TPM2_Clear`.
//! - The seed value: as many bytes as the Name algorithm's digest. An asymmetric key that is no storage key does not keep it.
//!
//! A seed that libtpms made keeps libtpms's way, which is the same except for the derivation function of the generator and for the
//! search for primes ([`libtpms`] describes both).
//!
//! An ordinary object is drawn in the same way from the live generator, unless the platform has an RSA key ready. A derived one is drawn from one long KDFa: hash of the
//! parent's scheme, the parent's secret as the key, label and context of the caller, 8192 bits, used up from its start.

use crate::algorithms::{hash_algorithm, small};
use crate::hierarchy::{Derivation, Hierarchy};
use crate::keys::{curve, rsa_exponent, wire_point};
use crate::loading::{check_cipher_key, largest_keyed_hash, symmetric_unique};
use crate::object::{Lineage, Object};
use crate::state::Tpm;
use alloc::vec::Vec;
use core::convert::Infallible;
use rand_core::{CryptoRng, TryCryptoRng, TryRng};
use tpm_crypto::drbg::Drbg;
use tpm_crypto::kdf::kdfa;
use tpm_crypto::rsa::Engine;
use tpm_crypto::symmetric::{tdes_key_valid, tdes_set_odd_parity};
use tpm_crypto::{ecc, libtpms, rsa};
use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgSymObject, TpmtKeyedhashScheme, TpmtSymDefObject};
use tpm_wire::attest::locality_attribute;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{
    Small, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bName, Tpm2bPrivateKeyRsa, Tpm2bPublicKeyRsa,
    Tpm2bSeed, Tpm2bSensitiveData, Tpm2bSymKey,
};
use tpm_wire::codec::Marshal;
use tpm_wire::constants::TpmAlgId;
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::{
    TpmsCreationData, TpmsDerive, TpmsSensitiveCreate, TpmtPublic, TpmtSensitive, TpmuPublicId,
    TpmuPublicParms, TpmuSensitiveComposite,
};
use tpm_wire::pcr::TpmlPcrSelection;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// The first personalization of a primary object's generator.
const PRIMARY_OBJECT: &[u8] = b"Primary Object Creation\0";
/// Bits of the KDFa that derived objects are made from (`TPM_MAX_DERIVATION_BITS`).
const DERIVATION_BITS: u32 = 8192;

/// Pads an authorization value to the size that the Name algorithm gives it.
///
/// # Errors
/// `TPM_RC_SIZE` if the value is longer than a digest, zeros at its end aside.
pub(crate) fn pad_auth(auth: &Tpm2bAuth, name_alg: Option<TpmiAlgHash>) -> Result<Tpm2bAuth, Rc> {
    let value = auth.without_trailing_zeros();
    let size = name_alg.map_or(tpm_wire::buffers::MAX_DIGEST, |hash| hash.digest_size());
    let mut padded = Tpm2bAuth::zeros(size);
    padded
        .as_mut_slice()
        .get_mut(..value.len())
        .ok_or(Rc::SIZE)?
        .copy_from_slice(value);
    Ok(padded)
}

impl Tpm {
    /// Makes the primary object that a template describes; all has been checked.
    ///
    /// # Errors
    /// Those of [`make`].
    pub(crate) fn create_primary(
        &mut self,
        hierarchy: TpmHandle,
        public: TpmtPublic,
        create: &TpmsSensitiveCreate,
    ) -> Result<Object, Rc> {
        self.power.first_use(public.object_type().id())?;
        let stirring = if Hierarchy::from_handle(hierarchy) == Some(Hierarchy::Endorsement) {
            let proofs = [TpmHandle::OWNER, TpmHandle::ENDORSEMENT];
            Some(proofs.map(|handle| self.hierarchies.proof(handle)))
        } else {
            None
        };
        let seed = self.hierarchies.seed(hierarchy);
        let derivation = self.hierarchies.derivation(hierarchy);
        let rsa = RsaMaking {
            engine: self.platform.rsa_engine(),
            ready: None,
            cancel: &mut || self.platform.canceled(),
        };
        let stirring = stirring.as_ref();
        let (public, sensitive) = make_primary(&seed, derivation, stirring, public, create, rsa)?;
        let lineage = Lineage::Primary(hierarchy);
        Ok(Object::new(public, Some(sensitive), lineage))
    }

    /// Makes an object under a parent from the live generator; all has been checked.
    ///
    /// # Errors
    /// Those of [`make`].
    pub(crate) fn create_child(
        &mut self,
        parent: TpmHandle,
        public: TpmtPublic,
        create: &TpmsSensitiveCreate,
    ) -> Result<Object, Rc> {
        self.power.first_use(public.object_type().id())?;
        let Self {
            random,
            platform,
            objects,
            ..
        } = self;
        let ready = match &public.parameters {
            TpmuPublicParms::Rsa(parameters)
                if rsa_exponent(parameters) == rsa::DEFAULT_EXPONENT =>
            {
                platform.ready_rsa_key(parameters.key_bits.0.into())
            }
            _ => None,
        };
        let rsa = RsaMaking {
            engine: platform.rsa_engine(),
            ready,
            cancel: &mut || platform.canceled(),
        };
        let (public, sensitive) = make(public, create, random, |_| {}, rsa)?;
        let lineage = Lineage::Child(objects.get(parent)?);
        Ok(Object::new(public, Some(sensitive), lineage))
    }

    /// Creation data and their digest by the Name algorithm (Part 1, 27.6).
    pub(crate) fn creation_data(
        &self,
        lineage: Lineage<'_>,
        name_alg: TpmiAlgHash,
        selection: &TpmlPcrSelection,
        outside_info: Tpm2bData,
    ) -> (TpmsCreationData, Tpm2bDigest) {
        let (pcr_select, pcr_digest) = self.pcrs.digest(name_alg, selection);
        let (parent_name_alg, parent_name, parent_qualified_name) = match lineage {
            Lineage::Child(parent) => (
                parent
                    .public
                    .name_alg
                    .map_or(TpmAlgId::NULL, |hash| hash.id()),
                parent.name.clone(),
                parent.qualified_name.clone(),
            ),
            Lineage::Primary(hierarchy) | Lineage::External(hierarchy) => {
                let name: Tpm2bName = small(&hierarchy.0.to_be_bytes());
                (TpmAlgId::NULL, name.clone(), name)
            }
        };
        let data = TpmsCreationData {
            pcr_select,
            pcr_digest,
            locality: locality_attribute(self.platform.locality()),
            parent_name_alg,
            parent_name,
            parent_qualified_name,
            outside_info,
        };
        let digest = small(&crate::algorithms::hash(name_alg, &[&data.to_bytes()]));
        (data, digest)
    }
}

/// What an RSA key is made with.
struct RsaMaking<'a> {
    engine: &'static dyn Engine,
    /// A key that the platform had ready, for an object that follows from no seed.
    ready: Option<rsa::PrivateKey>,
    cancel: &'a mut dyn FnMut() -> bool,
}

impl<'a> RsaMaking<'a> {
    /// The engine that is everywhere, and no key that is ready.
    fn portable(cancel: &'a mut dyn FnMut() -> bool) -> Self {
        Self {
            engine: &rsa::Portable,
            ready: None,
            cancel,
        }
    }
}

/// Makes a primary object, as the head of this file says; `stirring` are the proofs in the endorsement hierarchy.
fn make_primary(
    seed: &[u8],
    derivation: Derivation,
    stirring: Option<&[Tpm2bSeed; 2]>,
    public: TpmtPublic,
    create: &TpmsSensitiveCreate,
    rsa: RsaMaking<'_>,
) -> Result<(TpmtPublic, TpmtSensitive), Rc> {
    let template = Object::name_of(&public);
    let proofs = || stirring.into_iter().flatten();
    let start = match derivation {
        Derivation::Own => {
            let mut random = Drbg::new(seed, &[PRIMARY_OBJECT, &template, &create.data]);
            let stir = |random: &mut Drbg| proofs().for_each(|proof| random.reseed(proof));
            return make(public, create, &mut random, stir, rsa);
        }
        Derivation::LibtpmsNarrow => libtpms::Start::Narrow,
        Derivation::LibtpmsWide => libtpms::Start::Wide,
    };
    let parts: [&[u8]; 4] = [seed, PRIMARY_OBJECT, &template, &create.data];
    let mut random = libtpms::Generator::new(&parts, start);
    let stir = |random: &mut libtpms::Generator| proofs().for_each(|proof| random.reseed(proof));
    make(public, create, &mut random, stir, rsa)
}

/// What an object's numbers come from.
trait Source: CryptoRng + Sized {
    /// The RSA key of a size and an exponent that comes next.
    fn rsa_key(
        &mut self,
        engine: &'static dyn Engine,
        bits: usize,
        exponent: u32,
        cancel: &mut dyn FnMut() -> bool,
    ) -> Result<rsa::PrivateKey, rsa::RsaError> {
        rsa::generate_with(engine, bits, exponent, self, cancel)
    }
}

impl Source for Drbg {}

impl Source for KdfStream {}

impl Source for libtpms::Generator {
    fn rsa_key(
        &mut self,
        engine: &'static dyn Engine,
        bits: usize,
        exponent: u32,
        cancel: &mut dyn FnMut() -> bool,
    ) -> Result<rsa::PrivateKey, rsa::RsaError> {
        rsa::generate_as_libtpms(engine, bits, exponent, self.start(), self, cancel)
    }
}

/// Makes an object derived from a derivation parent; all has been checked.
///
/// # Errors
/// `TPM_RC_TYPE` if the parent cannot derive, and those of [`make`].
pub(crate) fn derive(
    parent: &Object,
    public: TpmtPublic,
    create: &TpmsSensitiveCreate,
    derive: &TpmsDerive,
) -> Result<Object, Rc> {
    let secret = parent.sensitive.as_ref().map(|area| &area.sensitive);
    let (
        TpmuPublicParms::KeyedHash(Some(TpmtKeyedhashScheme::Xor(scheme))),
        Some(TpmuSensitiveComposite::Bits(secret)),
    ) = (&parent.public.parameters, secret)
    else {
        return Err(Rc::TYPE);
    };
    let mut random = KdfStream::new(scheme.hash_alg, secret, derive);
    // No RSA key is derived.
    let mut never = || false;
    let rsa = RsaMaking::portable(&mut never);
    let (public, sensitive) = make(public, create, &mut random, |_| {}, rsa)?;
    Ok(Object::new(public, Some(sensitive), Lineage::Child(parent)))
}

/// Completes a public area and makes its sensitive area. `stir` is called between key and seed value.
///
/// # Errors
/// `TPM_RC_RANGE` for an RSA exponent, `TPM_RC_VALUE` for an RSA key size, `TPM_RC_CANCELED`; `TPM_RC_KEY_SIZE` and `TPM_RC_KEY` for a block
/// cipher key that the caller gave, `TPM_RC_SIZE` for keyed hash data that are too long.
fn make<R: Source>(
    mut public: TpmtPublic,
    create: &TpmsSensitiveCreate,
    random: &mut R,
    stir: impl FnOnce(&mut R),
    rsa: RsaMaking<'_>,
) -> Result<(TpmtPublic, TpmtSensitive), Rc> {
    let name_alg = public.name_alg.ok_or(Rc::HASH)?;
    let given: &[u8] = if public.has(TpmaObject::SENSITIVE_DATA_ORIGIN) {
        &[]
    } else {
        &create.data
    };
    let composite = match &public.parameters {
        TpmuPublicParms::Rsa(parameters) => {
            let bits = usize::from(parameters.key_bits.0);
            let exponent = rsa_exponent(parameters);
            let made = match rsa.ready {
                Some(key) if key.public().len() * 8 == bits => Ok(key),
                _ => random.rsa_key(rsa.engine, bits, exponent, rsa.cancel),
            };
            let key = made.map_err(|error| match error {
                rsa::RsaError::Cancelled => Rc::CANCELED,
                rsa::RsaError::Exponent => Rc::RANGE,
                _ => Rc::VALUE,
            })?;
            let modulus = Tpm2bPublicKeyRsa::new(key.public().modulus().to_vec());
            public.unique = TpmuPublicId::Rsa(modulus.ok_or(Rc::VALUE)?);
            let prime = Tpm2bPrivateKeyRsa::new(key.prime().to_vec());
            TpmuSensitiveComposite::Rsa(prime.ok_or(Rc::VALUE)?)
        }
        TpmuPublicParms::Ecc(parameters) => {
            let (key, point) = ecc::generate(curve(parameters.curve_id), random);
            public.unique = TpmuPublicId::Ecc(wire_point(&point));
            TpmuSensitiveComposite::Ecc(small(key.as_bytes()))
        }
        TpmuPublicParms::SymCipher(cipher) => {
            TpmuSensitiveComposite::Sym(make_cipher_key(cipher, given, random)?)
        }
        TpmuPublicParms::KeyedHash(scheme) => {
            TpmuSensitiveComposite::Bits(make_keyed_hash(scheme.as_ref(), name_alg, given, random)?)
        }
    };
    stir(random);
    let mut seed_value = Tpm2bSeed::zeros(name_alg.digest_size());
    random.fill_bytes(seed_value.as_mut_slice());
    let is_asymmetric = matches!(
        composite,
        TpmuSensitiveComposite::Rsa(_) | TpmuSensitiveComposite::Ecc(_)
    );
    if is_asymmetric && (public.has(TpmaObject::SIGN) || !public.has(TpmaObject::RESTRICTED)) {
        seed_value = Tpm2bSeed::EMPTY;
    }
    let sensitive = TpmtSensitive {
        auth_value: create.user_auth.clone(),
        seed_value,
        sensitive: composite,
    };
    match &mut public.unique {
        TpmuPublicId::Sym(_) => {
            public.unique = TpmuPublicId::Sym(symmetric_unique(&public, &sensitive));
        }
        TpmuPublicId::KeyedHash(_) => {
            public.unique = TpmuPublicId::KeyedHash(symmetric_unique(&public, &sensitive));
        }
        TpmuPublicId::Rsa(_) | TpmuPublicId::Ecc(_) => {}
    }
    Ok((public, sensitive))
}

fn make_cipher_key<R: CryptoRng>(
    cipher: &TpmtSymDefObject,
    given: &[u8],
    random: &mut R,
) -> Result<Tpm2bSymKey, Rc> {
    if !given.is_empty() {
        check_cipher_key(cipher, given)?;
        return Tpm2bSymKey::new(given).ok_or(Rc::KEY_SIZE);
    }
    let mut key = Tpm2bSymKey::zeros(usize::from(cipher.key_bits) / 8);
    random.fill_bytes(key.as_mut_slice());
    if cipher.algorithm == TpmiAlgSymObject::Tdes {
        while !tdes_key_valid(&key) {
            random.fill_bytes(key.as_mut_slice());
        }
        tdes_set_odd_parity(key.as_mut_slice());
    }
    Ok(key)
}

fn make_keyed_hash<R: CryptoRng>(
    scheme: Option<&TpmtKeyedhashScheme>,
    name_alg: TpmiAlgHash,
    given: &[u8],
    random: &mut R,
) -> Result<Tpm2bSensitiveData, Rc> {
    let bytes = if given.is_empty() {
        let hash = match scheme {
            None => name_alg,
            Some(TpmtKeyedhashScheme::Hmac(hmac)) => hmac.hash_alg,
            Some(TpmtKeyedhashScheme::Xor(xor)) => xor.hash_alg,
        };
        let mut bytes = alloc::vec![0; hash.digest_size()];
        random.fill_bytes(&mut bytes);
        bytes
    } else if given.len() > largest_keyed_hash(scheme) {
        return Err(Rc::SIZE);
    } else {
        given.to_vec()
    };
    Tpm2bSensitiveData::new(bytes).ok_or(Rc::SIZE)
}

/// The numbers of a derived object (Part 1, 28.4).
struct KdfStream {
    bytes: Zeroizing<Vec<u8>>,
    used: usize,
}

impl KdfStream {
    fn new(hash: TpmiAlgHash, secret: &[u8], derive: &TpmsDerive) -> Self {
        // A label may bring its terminating zero along; KDFa has one in any case.
        let label: &[u8] = derive.label.strip_suffix(&[0]).unwrap_or(&derive.label);
        let bytes = kdfa(
            hash_algorithm(hash),
            secret,
            label,
            &derive.context,
            &[],
            DERIVATION_BITS,
        );
        Self { bytes, used: 0 }
    }
}

impl TryRng for KdfStream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes: Small<4, true> = Small::zeros(4);
        self.try_fill_bytes(bytes.as_mut_slice())?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let high = self.try_next_u32()?;
        Ok(u64::from(high) << 32 | u64::from(self.try_next_u32()?))
    }

    /// No object needs a fifth of what there is; beyond its end the stream would start again.
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let stream = self.bytes.iter().cycle().skip(self.used);
        for (to, from) in out.iter_mut().zip(stream) {
            *to = *from;
        }
        self.used += out.len();
        Ok(())
    }
}

impl TryCryptoRng for KdfStream {}

#[cfg(test)]
mod tests;
