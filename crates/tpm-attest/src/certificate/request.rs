//! A request for the certificate of a TPM's key, for an authority elsewhere (RFC 2986).

use der::asn1::{Any, BitString, Null, ObjectIdentifier, UintRef};
use der::{Document, Encode};
use signature::Keypair;
use tpm_crypto::hash::hash;
use tpm_wire::algorithm::{TpmiAlgHash, TpmiEccCurve, TpmtSignature};
use tpm_wire::object::TpmuPublicParms;
use x509_cert::builder::Builder;
use x509_cert::request::RequestBuilder;
use x509_cert::spki::{
    self, AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey,
    SubjectPublicKeyInfoOwned,
};

use super::issue::Request;
use super::key::EcdsaSignature;
use super::subject_public_key_info;
use crate::Error;
use crate::algorithm::hash_algorithm;

impl Request<'_> {
    /// The request as bytes. `sign` signs a digest with the key itself, by RSASSA or ECDSA, as only whoever has the TPM's seeds can do
    /// for an endorsement key.
    ///
    /// # Errors
    /// If the key cannot be certified, or what `sign` says.
    pub fn signing_request(
        &self,
        mut sign: impl FnMut(TpmiAlgHash, &[u8]) -> Result<TpmtSignature, Error>,
    ) -> Result<Vec<u8>, Error> {
        let (hash_alg, algorithm) = signature_of(&self.key.parameters);
        let signer = Signer {
            public: subject_public_key_info(self.key)?,
            algorithm,
        };
        let mut builder = RequestBuilder::new(self.subject.clone())?;
        for extension in self.extensions()? {
            builder.add_extension(extension)?;
        }
        let message = builder.finalize(&signer)?;
        let digest = hash(hash_algorithm(hash_alg), &[&message]);
        let signature = match sign(hash_alg, &digest)? {
            TpmtSignature::Rsassa(signature) => signature.sig.to_vec(),
            TpmtSignature::Ecdsa(signature) => EcdsaSignature {
                r: UintRef::new(&signature.signature_r)?,
                s: UintRef::new(&signature.signature_s)?,
            }
            .to_der()?,
            _ => return Err(Error::PublicKey("a key that signs by another scheme")),
        };
        let request = builder.assemble(BitString::from_bytes(&signature)?, &signer)?;
        Ok(request.to_der()?)
    }
}

/// The hash and the name of the signature (RFC 5758, 3.2; RFC 4055, 5).
fn signature_of(parameters: &TpmuPublicParms) -> (TpmiAlgHash, AlgorithmIdentifierOwned) {
    let named = |hash_alg, oid, parameters| {
        let oid = ObjectIdentifier::new_unwrap(oid);
        (hash_alg, AlgorithmIdentifierOwned { oid, parameters })
    };
    match parameters {
        TpmuPublicParms::Ecc(ecc) => match ecc.curve_id {
            TpmiEccCurve::NistP384 => named(TpmiAlgHash::Sha384, "1.2.840.10045.4.3.3", None),
            TpmiEccCurve::NistP521 => named(TpmiAlgHash::Sha512, "1.2.840.10045.4.3.4", None),
            _ => named(TpmiAlgHash::Sha256, "1.2.840.10045.4.3.2", None),
        },
        _ => named(
            TpmiAlgHash::Sha256,
            "1.2.840.113549.1.1.11",
            Some(Any::from(Null)),
        ),
    }
}

/// What the builder wants to know of whoever signs.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) public: SubjectPublicKeyInfoOwned,
    pub(super) algorithm: AlgorithmIdentifierOwned,
}

impl Keypair for Signer {
    type VerifyingKey = Self;

    fn verifying_key(&self) -> Self {
        self.clone()
    }
}

impl EncodePublicKey for Signer {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::encode_msg(&self.public)?)
    }
}

impl DynSignatureAlgorithmIdentifier for Signer {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(self.algorithm.clone())
    }
}
