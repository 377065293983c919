//! Who we are towards key servers: a key of our own, the request for its certificate, and checks of what people hand in.

use crate::{error::Error, settings::Settings, tls};
use p256::{
    ecdsa::{DerSignature, SigningKey},
    elliptic_curve::Generate,
    pkcs8::{EncodePrivateKey, LineEnding},
};
use rand::rngs::SysRng;
use std::str::FromStr;
use x509_cert::{
    builder::{Builder, RequestBuilder},
    der::EncodePem,
    name::Name,
};
use zeroize::Zeroizing;

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
        let key = SigningKey::try_generate_from_rng(&mut SysRng)
            .map_err(|_| "the operating system gave no random bytes".to_owned())?;
        let pem = key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| error.to_string())?;
        let subject = Name::from_str(&format!("CN={}", escaped(common_name)))
            .map_err(|error| format!("{common_name:?} cannot stand in a certificate: {error}"))?;
        let request = RequestBuilder::new(subject)
            .and_then(|builder| builder.build::<_, DerSignature>(&key))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            key: Zeroizing::new(pem.as_bytes().to_vec()),
            request: request
                .to_pem(LineEnding::LF)
                .map_err(|error| error.to_string())?,
        })
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
