//! An authority: a key that signs, and the certificate that says so.

use std::time::SystemTime;

use der::asn1::{BitString, Ia5String, ObjectIdentifier};
use der::pem::LineEnding;
use der::{Encode, EncodePem};
use rand_core::CryptoRng;
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
    CrlDistributionPoints, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::request::RequestBuilder;
use x509_cert::spki::{self, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};

use super::issue::{Lifetime, Request, serial_bytes};
use super::key::{AuthorityAlgorithm, SigningKey};
use super::request::Signer;
use super::{public_key::subject_public_key_info, random_serial};
use crate::Error;

/// Where a certificate is fetched from (RFC 5280, 4.2.2.1).
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// Where others find what belongs to an authority; each is an URI, and may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locations {
    /// The authority's own certificate.
    pub certificate: Option<String>,
    /// Its list of revoked certificates.
    pub revocations: Option<String>,
}

/// The names of a root authority and of the one below it.
#[derive(Clone, Debug)]
pub struct AuthorityNames {
    /// The root.
    pub root: Name,
    /// The one that issues.
    pub issuer: Name,
}

/// A key that signs certificates, and its own certificate.
#[derive(Clone, Debug)]
pub struct Authority {
    key: SigningKey,
    certificate: Certificate,
    /// What issued certificates say about it.
    pub locations: Locations,
}

impl Authority {
    /// A root, which signs its own certificate.
    ///
    /// # Errors
    /// If the certificate cannot be made.
    pub fn root(
        subject: Name,
        algorithm: AuthorityAlgorithm,
        start: SystemTime,
        lifetime: Lifetime,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let key = SigningKey::generate(algorithm, rng);
        let profile = CertificateProfile {
            issuer: subject.clone(),
            issuer_id: None,
            subject,
            constraints: authority(1),
            extensions: vec![authority_usage()?],
            locations: Locations::default(),
        };
        let serial = random_serial(rng);
        let public = key.public()?;
        let certificate = sign(&key, profile, serial, start, lifetime, public, rng)?;
        Ok(Self {
            key,
            certificate,
            locations: Locations::default(),
        })
    }

    /// An authority below this one, which may sign certificates of TPM keys and no further authority.
    ///
    /// # Errors
    /// If the certificate cannot be made.
    pub fn subordinate(
        &self,
        subject: Name,
        algorithm: AuthorityAlgorithm,
        start: SystemTime,
        lifetime: Lifetime,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let key = SigningKey::generate(algorithm, rng);
        let profile = CertificateProfile {
            issuer: self.subject().clone(),
            issuer_id: Some(self.key_identifier()?),
            subject,
            constraints: authority(0),
            extensions: vec![authority_usage()?],
            locations: self.locations.clone(),
        };
        let serial = random_serial(rng);
        let public = key.public()?;
        let certificate = sign(&self.key, profile, serial, start, lifetime, public, rng)?;
        Ok(Self {
            key,
            certificate,
            locations: Locations::default(),
        })
    }

    /// A root and the authority below it, in this order.
    ///
    /// # Errors
    /// If a certificate cannot be made.
    pub fn root_and_issuer(
        names: &AuthorityNames,
        algorithm: AuthorityAlgorithm,
        start: SystemTime,
        lifetime: Lifetime,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Self), Error> {
        let root = Self::root(names.root.clone(), algorithm, start, lifetime, rng)?;
        let issuer = root.subordinate(names.issuer.clone(), algorithm, start, lifetime, rng)?;
        Ok((root, issuer))
    }

    /// An authority from a key and a certificate that belong together.
    ///
    /// # Errors
    /// If the certificate is for another key, or forbids to sign certificates.
    pub fn from_parts(key: SigningKey, certificate: Certificate) -> Result<Self, Error> {
        let refused = |reason: &str| Error::Certificate(reason.to_owned());
        let tbs = certificate.tbs_certificate();
        if *tbs.subject_public_key_info() != key.public()? {
            return Err(refused("it belongs to another key than the signing key"));
        }
        let constraints = tbs.get_extension::<BasicConstraints>()?;
        if !constraints.is_some_and(|(_, constraints)| constraints.ca) {
            return Err(refused("it is not the certificate of an authority"));
        }
        let usage = tbs.get_extension::<KeyUsage>()?;
        if usage.is_some_and(|(_, usage)| !usage.key_cert_sign()) {
            return Err(refused("its key usage forbids to sign certificates"));
        }
        Ok(Self {
            key,
            certificate,
            locations: Locations::default(),
        })
    }

    /// The authority's certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The authority's key.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The name under which it signs.
    #[must_use]
    pub fn subject(&self) -> &Name {
        self.certificate.tbs_certificate().subject()
    }

    /// Issues a certificate.
    ///
    /// # Errors
    /// If the key cannot be certified.
    pub fn issue(
        &self,
        request: &Request<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Certificate, Error> {
        let profile = CertificateProfile {
            issuer: self.subject().clone(),
            issuer_id: Some(self.key_identifier()?),
            subject: request.subject.clone(),
            constraints: BasicConstraints {
                ca: false,
                path_len_constraint: None,
            },
            extensions: request.extensions()?,
            locations: self.locations.clone(),
        };
        let public = subject_public_key_info(request.key)?;
        let (serial, start) = (request.serial, request.start);
        sign(
            &self.key,
            profile,
            serial,
            start,
            request.lifetime,
            public,
            rng,
        )
    }

    /// The identifier of the authority's key: the one in its certificate, else the one that RFC 5280 recommends.
    pub(super) fn key_identifier(&self) -> Result<AuthorityKeyIdentifier, Error> {
        let tbs = self.certificate.tbs_certificate();
        if let Some((_, SubjectKeyIdentifier(id))) = tbs.get_extension::<SubjectKeyIdentifier>()? {
            return Ok(AuthorityKeyIdentifier {
                key_identifier: Some(id),
                ..Default::default()
            });
        }
        let public = tbs.subject_public_key_info().to_der()?;
        let public = SubjectPublicKeyInfoRef::try_from(public.as_slice())?;
        Ok(AuthorityKeyIdentifier::try_from(public)?)
    }
}

impl SigningKey {
    /// A request to another authority, such as a company's own, for the certificate of an authority that signs with this key, as
    /// PEM text (RFC 2986).
    ///
    /// # Errors
    /// If the request cannot be made.
    pub fn certificate_request(
        &self,
        subject: Name,
        rng: &mut impl CryptoRng,
    ) -> Result<String, Error> {
        let mut builder = RequestBuilder::new(subject)?;
        builder.add_extension((true, &authority(0)))?;
        builder.add_extension(authority_usage()?)?;
        Ok(finish(builder, self, rng)?.to_pem(LineEnding::LF)?)
    }
}

impl From<spki::Error> for Error {
    fn from(error: spki::Error) -> Self {
        Self::Encoding(error.to_string())
    }
}

fn sign(
    key: &SigningKey,
    profile: impl BuilderProfile,
    serial: u128,
    start: SystemTime,
    lifetime: Lifetime,
    public: SubjectPublicKeyInfoOwned,
    rng: &mut impl CryptoRng,
) -> Result<Certificate, Error> {
    let validity = lifetime.from(start)?;
    let builder = CertificateBuilder::new(profile, serial_bytes(serial)?, validity, public)?;
    finish(builder, key, rng)
}

/// Signs what a builder has built.
fn finish<B: Builder>(
    mut builder: B,
    key: &SigningKey,
    rng: &mut impl CryptoRng,
) -> Result<B::Output, Error> {
    let signer = Signer {
        public: key.public()?,
        algorithm: key.signature_algorithm(),
    };
    let message = builder.finalize(&signer)?;
    let signature: BitString = key.sign(&message, rng)?;
    Ok(builder.assemble(signature, &signer)?)
}

/// What a certificate says beside its key, number and time (RFC 5280, 4.2).
struct CertificateProfile {
    issuer: Name,
    /// The issuer's key; `None` for one that signs itself.
    issuer_id: Option<AuthorityKeyIdentifier>,
    subject: Name,
    constraints: BasicConstraints,
    extensions: Vec<Extension>,
    locations: Locations,
}

/// The constraints of an authority with at most so many others below it.
const fn authority(path_length: u8) -> BasicConstraints {
    BasicConstraints {
        ca: true,
        path_len_constraint: Some(path_length),
    }
}

fn authority_usage() -> Result<Extension, der::Error> {
    let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    (true, &usage).to_extension(&Name::default(), &[])
}

impl BuilderProfile for CertificateProfile {
    fn get_issuer(&self, _: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        public: SubjectPublicKeyInfoRef<'_>,
        issuer: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let issuer_id = match &self.issuer_id {
            Some(id) => id.clone(),
            None => AuthorityKeyIdentifier::try_from(issuer)?,
        };
        let subject = tbs.subject();
        let mut extensions = self.extensions.clone();
        extensions.extend([
            (true, &self.constraints).to_extension(subject, &[])?,
            (false, &issuer_id).to_extension(subject, &[])?,
            (false, &SubjectKeyIdentifier::try_from(public)?).to_extension(subject, &[])?,
        ]);
        extensions.extend(location_extensions(&self.locations, subject)?);
        Ok(extensions)
    }
}

fn location_extensions(
    locations: &Locations,
    subject: &Name,
) -> Result<Vec<Extension>, der::Error> {
    let uri = |text: &str| Ia5String::new(text).map(GeneralName::UniformResourceIdentifier);
    let mut extensions = Vec::new();
    if let Some(place) = &locations.certificate {
        let access = AuthorityInfoAccessSyntax(vec![AccessDescription {
            access_method: CA_ISSUERS,
            access_location: uri(place)?,
        }]);
        extensions.push((false, &access).to_extension(subject, &[])?);
    }
    if let Some(place) = &locations.revocations {
        let points = CrlDistributionPoints(vec![DistributionPoint {
            distribution_point: Some(DistributionPointName::FullName(vec![uri(place)?])),
            reasons: None,
            crl_issuer: None,
        }]);
        extensions.push((false, &points).to_extension(subject, &[])?);
    }
    Ok(extensions)
}
