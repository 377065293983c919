//! Mutual TLS: our certificate, and whose certificates are accepted.

use crate::settings::{Settings, Trust};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
    client::{
        WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{fmt, sync::Arc};
use x509_cert::{Certificate, der::Decode, ext::pkix::BasicConstraints};
use zeroize::Zeroize;

/// Makes the TLS side of a provider's settings, or says which of them cannot be used.
pub(crate) fn client_config(settings: &Settings) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&settings.client_certificate, "the client certificate")?;
    let certified = Arc::new(certified_key(chain, &settings.client_key)?);
    let verifier = verifier(&settings.trust, &provider)?;
    let config = config(provider, verifier)?
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    Ok(Arc::new(config))
}

/// TLS without a certificate of ours, to servers whose certificates (PEM) are each accepted as that very certificate, and those of
/// authorities as authorities too.
pub fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(&Trust::Either(pem.to_vec()), &provider)?;
    Ok(Arc::new(config(provider, verifier)?.with_no_client_auth()))
}

/// TLS to servers that this verifier accepts.
pub(crate) fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn verifier(
    trust: &Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    Ok(match trust {
        Trust::Certificates(pem) => Arc::new(Verifier {
            judge: Pinned(certificates(pem, "the server certificate")?),
            provider: Arc::clone(provider),
        }),
        Trust::Authorities(pem) => by_authorities(
            certificates(pem, "the authorities' certificates")?,
            provider,
        )?,
        Trust::Either(pem) => {
            let pinned = certificates(pem, "the server certificate")?;
            let mut authorities = pinned.clone();
            authorities.retain(|certificate| says_to_be_an_authority(certificate));
            let signed = match authorities.is_empty() {
                true => None,
                false => Some(by_authorities(authorities, provider)?),
            };
            Arc::new(Verifier {
                judge: Either {
                    pinned: Pinned(pinned),
                    signed,
                },
                provider: Arc::clone(provider),
            })
        }
    })
}

/// Takes the private key apart from its text and wipes that copy; the one that signs stays inside ring.
fn certified_key(chain: Vec<CertificateDer<'static>>, pem: &[u8]) -> Result<CertifiedKey, String> {
    let mut key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        format!("the client key is no PEM file with a private key that is not encrypted ({error})")
    })?;
    let signer = ring::sign::any_supported_type(&key);
    key.zeroize();
    let signer = signer.map_err(|error| {
        format!("the client key is of no kind that is supported ({error}); use RSA or EC P-256")
    })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            Err("the client key is not the one of the client certificate".to_owned())
        }
        Err(error) => Err(format!("the client certificate is refused: {error}")),
    }
}

pub(crate) fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{what} cannot be read ({error})"))?;
    if certificates.is_empty() {
        return Err(format!("{what} is no PEM file with a certificate"));
    }
    Ok(certificates)
}

fn by_authorities(
    authorities: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots
            .add(authority)
            .map_err(|error| format!("an authority's certificate is refused: {error}"))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())
}

/// Whether a certificate's basic constraints (RFC 5280, 4.2.1.9) name an authority. What cannot be read names none.
fn says_to_be_an_authority(certificate: &CertificateDer<'_>) -> bool {
    Certificate::from_der(certificate).is_ok_and(|certificate| {
        matches!(
            certificate
                .tbs_certificate()
                .get_extension::<BasicConstraints>(),
            Ok(Some((_, BasicConstraints { ca: true, .. })))
        )
    })
}

/// Whose certificates are accepted.
pub(crate) trait Judge: fmt::Debug + Send + Sync {
    /// Accepts the certificate that a server shows, or says why not.
    fn judge(&self, shown: &Shown<'_>) -> Result<ServerCertVerified, Error>;
}

/// What a server shows.
pub(crate) struct Shown<'a> {
    pub(crate) certificate: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    server_name: &'a ServerName<'a>,
    ocsp_response: &'a [u8],
    now: UnixTime,
}

/// Has the certificate judged; that the server has its key, is checked for all in one way.
#[derive(Debug)]
pub(crate) struct Verifier<J> {
    pub(crate) judge: J,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl<J: Judge> ServerCertVerifier for Verifier<J> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge.judge(&Shown {
            certificate: end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Accepts certain certificates, and those that certain authorities signed.
#[derive(Debug)]
struct Either {
    pinned: Pinned,
    signed: Option<Arc<WebPkiServerVerifier>>,
}

impl Judge for Either {
    fn judge(&self, shown: &Shown<'_>) -> Result<ServerCertVerified, Error> {
        match &self.signed {
            Some(signed) if !self.pinned.0.contains(shown.certificate) => signed
                .verify_server_cert(
                    shown.certificate,
                    shown.intermediates,
                    shown.server_name,
                    shown.ocsp_response,
                    shown.now,
                ),
            _ => self.pinned.judge(shown),
        }
    }
}

/// Accepts certain certificates and no others.
#[derive(Debug)]
struct Pinned(Vec<CertificateDer<'static>>);

/// The certificate is another than the pinned ones.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is not the one that was set up")]
struct OtherCertificate;

impl Judge for Pinned {
    fn judge(&self, shown: &Shown<'_>) -> Result<ServerCertVerified, Error> {
        if self.0.contains(shown.certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherError(Arc::new(OtherCertificate));
        Err(CertificateError::Other(other).into())
    }
}
