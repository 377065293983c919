//! Who we are towards key servers: a key of our own, the request for its certificate, and checks of what people hand in.

use crate::{error::Error, settings::Settings, tls};
use p256::{
    ecdsa::{DerSignature, SigningKey},
    elliptic_curve::Generate,
    pkcs8::{EncodePrivateKey, LineEnding},
};
use rand::{TryRng as _, rngs::SysRng};
use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};
use x509_cert::{
    TbsCertificate,
    builder::{Builder, CertificateBuilder, RequestBuilder, profile::BuilderProfile},
    der::{EncodePem, asn1::ObjectIdentifier},
    ext::{
        Extension, ToExtension,
        pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages},
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef},
    time::{Time, Validity},
};
use zeroize::Zeroizing;

/// How long a certificate that signs itself is valid.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How far the clock of a key server may be behind ours: the certificate is shown to it at once.
const CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);

/// The purpose "client of TLS" (RFC 5280, 4.2.1.12).
const ID_KP_CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// A client key made here (EC P-256) and the request for its certificate.
pub struct ClientKey {
    /// The private key, PKCS #8 (PEM).
    pub key: Zeroizing<Vec<u8>>,
    /// The request (RFC 2986), PEM, for whoever signs the certificates of the key server's clients.
    pub request: String,
}

impl ClientKey {
    /// Makes a key for the client `common_name`, which key servers take as the name of the user.
    pub fn generate(common_name: &str) -> Result<Self, String> {
        let (key, pem, subject) = fresh(common_name)?;
        let request = RequestBuilder::new(subject)
            .and_then(|builder| builder.build::<_, DerSignature>(&key))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            key: pem,
            request: request
                .to_pem(LineEnding::LF)
                .map_err(|error| error.to_string())?,
        })
    }

    /// Makes a key for the client `common_name`, and in the place of the request a certificate for ten years that the key signs itself.
    pub fn self_signed(common_name: &str) -> Result<Self, String> {
        let (key, pem, subject) = fresh(common_name)?;
        let mut serial = [0u8; 16];
        SysRng
            .try_fill_bytes(&mut serial)
            .map_err(|_| "the operating system gave no random bytes".to_owned())?;
        // Positive, and not a byte shorter.
        if let Some(first) = serial.first_mut() {
            *first = (*first & 0x3f) | 0x40;
        }
        let certificate = (|| {
            let public = SubjectPublicKeyInfoOwned::from_key(key.verifying_key())?;
            let start = SystemTime::now() - CLOCK_SKEW;
            let validity = Validity::new(Time::try_from(start)?, Time::try_from(start + LIFETIME)?);
            let serial = SerialNumber::new(&serial)?;
            CertificateBuilder::new(SelfSigned(subject), serial, validity, public)?
                .build::<_, DerSignature>(&key)
        })();
        let certificate = certificate.map_err(|error| error.to_string())?;
        Ok(Self {
            key: pem,
            request: certificate
                .to_pem(LineEnding::LF)
                .map_err(|error| error.to_string())?,
        })
    }
}

/// A new key, the same as PEM, and the name of whoever has it.
fn fresh(common_name: &str) -> Result<(SigningKey, Zeroizing<Vec<u8>>, Name), String> {
    let key = SigningKey::try_generate_from_rng(&mut SysRng)
        .map_err(|_| "the operating system gave no random bytes".to_owned())?;
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| error.to_string())?;
    let subject = Name::from_str(&format!("CN={}", escaped(common_name)))
        .map_err(|error| format!("{common_name:?} cannot stand in a certificate: {error}"))?;
    Ok((key, Zeroizing::new(pem.as_bytes().to_vec()), subject))
}

/// What a client's certificate that signs itself says (RFC 5280, 4.2): whose it is, and that it is for clients of TLS.
struct SelfSigned(Name);

impl BuilderProfile for SelfSigned {
    fn get_issuer(&self, _: &Name) -> Name {
        self.0.clone()
    }

    fn get_subject(&self) -> Name {
        self.0.clone()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        _: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let constraints = BasicConstraints {
            ca: false,
            path_len_constraint: None,
        };
        let usage = KeyUsage(KeyUsages::DigitalSignature.into());
        let clients = ExtendedKeyUsage(vec![ID_KP_CLIENT_AUTH]);
        Ok(vec![
            (true, &constraints).to_extension(&self.0, &[])?,
            (true, &usage).to_extension(&self.0, &[])?,
            (false, &clients).to_extension(&self.0, &[])?,
        ])
    }
}

/// Checks that settings can be used: certificates that can be read, a key that is the client certificate's.
pub fn check_identity(settings: &Settings) -> Result<(), Error> {
    tls::client_config(settings)
        .map(|_| ())
        .map_err(|reason| Error::Configuration {
            provider: settings.provider.clone(),
            reason,
        })
}

/// Checks that a PEM file holds certificates; `what` names it in the message.
pub fn check_certificates(pem: &[u8], what: &str) -> Result<(), String> {
    tls::certificates(pem, what).map(|_| ())
}

/// A value of a distinguished name (RFC 4514, 2.4).
fn escaped(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for (position, character) in text.chars().enumerate() {
        if ",+\"\\<>;=".contains(character) || (position == 0 && "# ".contains(character)) {
            value.push('\\');
        }
        value.push(character);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
    use x509_cert::{der::DecodePem, request::CertReq};

    #[test]
    fn a_certificate_that_signs_itself_is_for_a_client_of_tls() {
        let made = ClientKey::self_signed("vtpm vc01 kms").unwrap();
        let certificate = x509_cert::Certificate::from_pem(made.request.as_bytes()).unwrap();
        let tbs = certificate.tbs_certificate();
        assert_eq!(tbs.subject(), tbs.issuer());
        let (_, usage) = tbs.get_extension::<ExtendedKeyUsage>().unwrap().unwrap();
        assert_eq!(usage.0, [ID_KP_CLIENT_AUTH]);
        let settings = crate::Settings {
            provider: "kms".to_owned(),
            servers: vec!["127.0.0.1".parse().unwrap()],
            client_certificate: made.request.as_bytes().to_vec(),
            client_key: made.key,
            trust: crate::Trust::Certificates(made.request.as_bytes().to_vec()),
            limits: crate::Limits::default(),
        };
        check_identity(&settings).unwrap();
    }

    #[test]
    fn a_request_names_the_client_and_the_key_is_read_by_tls() {
        let made = ClientKey::generate("vtpm, vc01").unwrap();
        let request = CertReq::from_pem(made.request.as_bytes()).unwrap();
        assert!(
            request.info.subject.to_string().contains("vtpm"),
            "{}",
            request.info.subject
        );
        PrivateKeyDer::from_pem_slice(&made.key).unwrap();
        assert!(made.key.starts_with(b"-----BEGIN PRIVATE KEY-----"));
    }
}
