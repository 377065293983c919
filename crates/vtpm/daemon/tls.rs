//! The certificate of the listener: made at the first start, or given.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use der::DateTime;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use vm_store::backend::{LARGEST_TEXT, read_named};
use zeroize::Zeroizing;

/// How long a certificate of our own is good for.
const YEARS: u16 = 10;
/// How far the clocks of clients may be behind.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who the listener shows itself as.
pub(crate) struct Identity {
    /// What rustls needs for it.
    pub(crate) config: Arc<ServerConfig>,
    /// The file with the certificate, for clients to trust.
    pub(crate) certificate: PathBuf,
    /// SHA-256 of the certificate, as browsers show it.
    pub(crate) fingerprint: String,
}

impl Identity {
    /// The certificate (with those above it) and the key in two files (PEM).
    pub(crate) fn given(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let shown = certificate.display();
        let text = read_named(certificate, LARGEST_TEXT)
            .with_context(|| format!("the certificate {shown} cannot be read"))?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .with_context(|| format!("the certificate {shown} cannot be read"))?;
        let Some(first) = chain.first() else {
            bail!("the file {shown} holds no certificate in PEM");
        };
        let fingerprint = fingerprint(first);
        let what = || format!("the key {} cannot be read", key.display());
        let text = read_named(key, LARGEST_TEXT).with_context(what)?;
        let key = PrivateKeyDer::from_pem_slice(&text).with_context(what)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .with_context(|| format!("the certificate {shown} and its key cannot be used"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            certificate: certificate.to_owned(),
            fingerprint,
        })
    }

    /// The certificate in `folder`; made for the loopback interface, the name of this machine and `address` if there is none yet.
    pub(crate) fn of_our_own(folder: &Path, address: IpAddr) -> anyhow::Result<Self> {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        // The certificate is written last: with it both are there.
        if !certificate.exists() {
            make(folder, &certificate, &key, address)?;
        }
        Self::given(&certificate, &key)
    }
}

fn make(folder: &Path, certificate: &Path, key: &Path, address: IpAddr) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let host = rustix::system::uname();
    // Only what is a name in the sense of certificates.
    let host = host.nodename().to_str().unwrap_or_default().to_owned();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if !host.is_empty() && host.bytes().all(fits) && !names.contains(&host) {
        names.push(host);
    }
    if !address.is_unspecified() && !names.contains(&address.to_string()) {
        names.push(address.to_string());
    }
    let pair = KeyPair::generate().context("no key for the listener could be made")?;
    let mut parameters = CertificateParams::new(names)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "vtpm");
    parameters.distinguished_name = subject;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let month = month_before(SystemTime::now())?;
    let first_of = |year: u16| date_time_ymd(i32::from(year), month.month(), 1);
    parameters.not_before = first_of(month.year());
    parameters.not_after = first_of(month.year().saturating_add(YEARS));
    let made = parameters
        .self_signed(&pair)
        .context("no certificate for the listener could be made")?;
    write_privately(key, &Zeroizing::new(pair.serialize_pem()))?;
    write_privately(certificate, &made.pem())
}

/// A day of the month from whose first on a certificate made at `now` is valid: every month has a first, and clocks that are up to a day
/// behind find the certificate good, on the first of a month, too.
fn month_before(now: SystemTime) -> anyhow::Result<DateTime> {
    now.checked_sub(A_DAY)
        .and_then(|day| DateTime::from_system_time(day).ok())
        .context("the clock of this machine is out of its range")
}

/// The whole file or none of it, for its owner only.
fn write_privately(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().with_context(|| format!("the file {} cannot be written", path.display()))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = Sha256::digest(certificate);
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_certificate_is_good_for_a_clock_that_is_behind_at_the_beginning_of_a_month() {
        // The first of March 2028, 00:00:00, and the second before: the month begins before both.
        for (now, month) in [(1_835_481_600, 2), (1_835_481_599, 2), (1_835_568_000, 3)] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            let begins = month_before(now).unwrap();
            assert_eq!((begins.year(), begins.month()), (2028, month));
        }
        assert!(month_before(SystemTime::UNIX_EPOCH).is_err());
    }

    #[test]
    fn the_certificate_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let tls = folder.path().join("tls");
        let address = "192.0.2.7".parse().unwrap();
        let made = Identity::of_our_own(&tls, address).unwrap();
        let again = Identity::of_our_own(&tls, address).unwrap();
        assert_eq!(made.fingerprint, again.fingerprint);
        assert_eq!(made.fingerprint.len(), 95);
        for file in ["certificate.pem", "key.pem"] {
            let mode = fs::metadata(tls.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let other = tempfile::tempdir().unwrap();
        let another = Identity::of_our_own(other.path(), address).unwrap();
        assert_ne!(made.fingerprint, another.fingerprint);
        // A key that is another one's is refused.
        let mixed = Identity::given(&tls.join("certificate.pem"), &other.path().join("key.pem"));
        assert!(mixed.is_err());
        fs::write(folder.path().join("empty.pem"), "").unwrap();
        let empty = Identity::given(&folder.path().join("empty.pem"), &tls.join("key.pem"));
        assert!(
            empty
                .err()
                .unwrap()
                .to_string()
                .contains("holds no certificate")
        );
    }
}
