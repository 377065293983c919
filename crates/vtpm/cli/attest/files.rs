//! The files that verifiers read and write.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use clap::Args;
use tpm_attest::certificate::{self, Certificate, CertificateList};
use tpm_attest::verify::{MAX_EVIDENCE, Trust};
use vm_store::backend::{open_named, read_named};

/// Most bytes of any file that is read.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Whom to trust with endorsement keys.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct TrustArgs {
    /// Certificates of authorities to trust, PEM or DER
    #[arg(long = "ca", value_name = "FILE", conflicts_with_all = ["data", "server_url"])]
    authorities: Vec<PathBuf>,
    /// Certificates that may stand between an authority and the endorsement key's
    #[arg(long = "untrusted", value_name = "FILE", conflicts_with_all = ["data", "server_url"])]
    untrusted: Vec<PathBuf>,
    /// Lists of revoked certificates, PEM or DER
    #[arg(long = "crl", value_name = "FILE", conflicts_with_all = ["data", "server_url"])]
    lists: Vec<PathBuf>,
    /// Refuse certificates for which no list of revoked ones is in force
    #[arg(long, conflicts_with_all = ["data", "server_url"])]
    require_crl: bool,
    /// Judge as if it were this time, in seconds since 1970
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["data", "server_url"])]
    at: Option<u64>,
}

/// The same, read.
pub(super) struct Trusted {
    roots: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    revoked: Vec<CertificateList>,
    revocation_required: bool,
    now: SystemTime,
}

impl TrustArgs {
    /// Reads the files; `None` if no authority is named.
    pub(super) fn read(&self) -> anyhow::Result<Option<Trusted>> {
        let all = |paths: &[PathBuf]| {
            let mut list = Vec::new();
            for path in paths {
                list.extend(certificates(path)?);
            }
            anyhow::Ok(list)
        };
        let roots = all(&self.authorities)?;
        if roots.is_empty() {
            if !self.untrusted.is_empty() || !self.lists.is_empty() || self.require_crl {
                bail!("no authority is trusted: name one with --ca");
            }
            return Ok(None);
        }
        let mut revoked = Vec::new();
        for path in &self.lists {
            let bytes = read(path)?;
            let lists = certificate::read_lists(&bytes);
            revoked.extend(lists.with_context(|| path.display().to_string())?);
        }
        Ok(Some(Trusted {
            roots,
            intermediates: all(&self.untrusted)?,
            revoked,
            revocation_required: self.require_crl,
            now: self.now(),
        }))
    }

    /// The time of the judgement.
    pub(super) fn now(&self) -> SystemTime {
        self.at.map_or_else(SystemTime::now, |seconds| {
            SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
        })
    }
}

impl Trusted {
    /// As the verifier takes it.
    pub(super) fn trust(&self) -> Trust<'_> {
        Trust {
            roots: &self.roots,
            intermediates: &self.intermediates,
            revoked: &self.revoked,
            revocation_required: self.revocation_required,
            now: self.now,
        }
    }
}

/// Every certificate in a file, which has at least one.
pub(crate) fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let all = certificate::read_all(&read(path)?).with_context(|| path.display().to_string())?;
    anyhow::ensure!(!all.is_empty(), "{} holds no certificate", path.display());
    Ok(all)
}

/// A file, up to a size that nothing here exceeds.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = read_named(path, LARGEST).with_context(|| path.display().to_string())?;
    Ok(bytes.to_vec())
}

/// A document of evidence: of a larger one, no more is read than shows that it is too large.
pub(super) fn read_evidence(path: &Path) -> anyhow::Result<Vec<u8>> {
    let name = || path.display().to_string();
    let most = u64::try_from(MAX_EVIDENCE)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    let file = open_named(path).with_context(name)?;
    file.take(most).read_to_end(&mut bytes).with_context(name)?;
    Ok(bytes)
}

/// Writes a document: whole, or not at all.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let name = || path.display().to_string();
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = File::create(&temporary).with_context(name)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(name)
}
