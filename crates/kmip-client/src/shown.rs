//! The certificate that a server shows: for people to look at before they trust it.

use crate::{
    connection::{TimedStream, connect},
    settings::ServerAddress,
};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use x509_cert::{
    Certificate,
    der::{Decode, EncodePem, pem::LineEnding},
};

/// How long a server may take to show it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps the certificate and ends the handshake: nothing is ever sent to whom nobody trusts.
#[derive(Debug)]
struct Look {
    seen: Mutex<Option<Vec<u8>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Look {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(end_entity.to_vec());
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The certificate (PEM) that a server shows. Nobody has checked whose it is.
///
/// # Errors
/// When nothing answers there by TLS, in words.
pub fn server_certificate(server: &ServerAddress) -> Result<String, String> {
    let provider = Arc::new(ring::default_provider());
    let look = Arc::new(Look {
        seen: Mutex::new(None),
        provider: Arc::clone(&provider),
    });
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<Look>::clone(&look);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| format!("{server} is no host name"))?;
    let deadline = Instant::now() + PATIENCE;
    let socket = connect(server, deadline).map_err(|fault| format!("{server}: {fault}"))?;
    let mut stream = TimedStream { socket, deadline };
    let mut tls =
        ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let ended = loop {
        if !tls.is_handshaking() {
            break "its handshake ended without a certificate".to_owned();
        }
        if let Err(error) = tls.complete_io(&mut stream) {
            break error.to_string();
        }
    };
    let seen = look
        .seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let der = seen.ok_or_else(|| format!("{server} showed no certificate: {ended}"))?;
    Certificate::from_der(&der)
        .and_then(|certificate| certificate.to_pem(LineEnding::LF))
        .map_err(|error| format!("the certificate of {server} cannot be read: {error}"))
}
