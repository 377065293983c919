//! The certificate that a server shows: for people to look at before they trust it.

use crate::{
    connection::{TimedStream, connect},
    settings::ServerAddress,
    tls::{self, Judge, Shown, Verifier},
};
use rustls::{
    CertificateError, ClientConnection, Error, client::danger::ServerCertVerified, crypto::ring,
    pki_types::ServerName,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use x509_cert::{
    Certificate,
    der::{Decode, EncodePem, pem::LineEnding},
};

/// How long a server may take to show it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps the certificate and ends the handshake: nothing is ever sent to whom nobody trusts.
#[derive(Debug, Clone, Default)]
struct Look(Arc<Mutex<Option<Vec<u8>>>>);

impl Look {
    fn seen(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge for Look {
    fn judge(&self, shown: &Shown<'_>) -> Result<ServerCertVerified, Error> {
        *self.seen() = Some(shown.certificate.to_vec());
        Err(CertificateError::UnknownIssuer.into())
    }
}

/// The certificate (PEM) that a server shows. Nobody has checked whose it is.
///
/// # Errors
/// When nothing answers there by TLS, in words.
pub fn server_certificate(server: &ServerAddress) -> Result<String, String> {
    let provider = Arc::new(ring::default_provider());
    let look = Look::default();
    let verifier = Arc::new(Verifier {
        judge: look.clone(),
        provider: Arc::clone(&provider),
    });
    let config = tls::config(provider, verifier)?.with_no_client_auth();
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
    let der = look
        .seen()
        .take()
        .ok_or_else(|| format!("{server} showed no certificate: {ended}"))?;
    Certificate::from_der(&der)
        .and_then(|certificate| certificate.to_pem(LineEnding::LF))
        .map_err(|error| format!("the certificate of {server} cannot be read: {error}"))
}
