//! The authority of this machine or user, in the files of swtpm_localca: made at its first use.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tpm_attest::certificate::{
    self, Authority, AuthorityAlgorithm, AuthorityNames, Lifetime, SigningKey, common_name,
    random_serial, validity_start,
};
use vm_store::backend::{LARGEST_TEXT, read_named, read_named_text};
use zeroize::Zeroizing;

use super::configuration::{self, Configuration};
use super::journal::Journal;
use crate::cli::process;

const ROOT_KEY: &str = "swtpm-localca-rootca-privkey.pem";
const ROOT_CERTIFICATE: &str = "swtpm-localca-rootca-cert.pem";
const LOCK: &str = ".lock.swtpm-localca";
/// The password of a new root's key is taken from here.
const ROOT_PASSWORD: &str = "SWTPM_ROOTCA_PASSWORD";
/// Where the files are that the machine's administrator shares.
const SHARED_FOLDER: &str = "/var/lib/swtpm-localca";

/// Where the files of an authority are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuthorityFiles {
    folder: PathBuf,
    signing_key: PathBuf,
    password: Option<Zeroizing<String>>,
    certificate: PathBuf,
    serial: PathBuf,
}

impl AuthorityFiles {
    /// As `swtpm-localca.conf` says.
    pub(super) fn configured(configuration: &Configuration) -> anyhow::Result<Self> {
        let signing_key = configuration.need("signingkey")?;
        if signing_key.starts_with("pkcs11:") {
            bail!(
                "the signing key {signing_key} is in a PKCS #11 token, and only files are supported"
            );
        }
        let folder = PathBuf::from(configuration.need("statedir")?);
        let serial = configuration
            .value("certserial")?
            .map_or_else(|| folder.join("certserial"), PathBuf::from);
        Ok(Self {
            signing_key: signing_key.into(),
            password: configuration
                .value("signingkey_password")?
                .map(Zeroizing::new),
            certificate: configuration.need("issuercert")?.into(),
            serial,
            folder,
        })
    }

    /// The usual place: one for the machine if root asks, else one for each user.
    pub(super) fn usual() -> anyhow::Result<Self> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self::in_folder(SHARED_FOLDER.into()));
        }
        let folder = configuration::user_folder().context(
            "where is the authority to be kept? Neither XDG_CONFIG_HOME nor HOME is set",
        )?;
        Ok(Self::in_folder(folder.join("var/lib/swtpm-localca")))
    }

    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self {
            signing_key: folder.join("signkey.pem"),
            password: None,
            certificate: folder.join("issuercert.pem"),
            serial: folder.join("certserial"),
            folder,
        }
    }

    /// The lines of `swtpm-localca.conf` that say this.
    pub(super) fn to_configuration(&self) -> String {
        format!(
            "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
            self.folder.display(),
            self.signing_key.display(),
            self.certificate.display(),
            self.serial.display()
        )
    }

    /// The folder of the state.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// An authority that is ready to sign.
#[derive(Debug)]
pub(super) struct LocalAuthority {
    pub(super) authority: Authority,
    files: AuthorityFiles,
}

impl LocalAuthority {
    /// Reads the files, or makes them if there is neither a key nor a certificate.
    pub(super) fn open(files: AuthorityFiles, journal: &mut Journal) -> anyhow::Result<Self> {
        let parents = [&files.signing_key, &files.certificate, &files.serial];
        for folder in parents
            .into_iter()
            .filter_map(|file| file.parent())
            .chain([files.folder.as_path()])
        {
            DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(folder)
                .with_context(|| format!("the authority's folder {}", folder.display()))?;
        }
        let _turn = take_turn(&files.folder)?;
        match (files.signing_key.exists(), files.certificate.exists()) {
            (false, false) => {
                journal.say("Creating root CA and a local CA's signing key and issuer cert.")?;
                create(&files)?;
            }
            (true, true) => {}
            (there, _) => {
                let (missing, present) = if there {
                    (&files.certificate, &files.signing_key)
                } else {
                    (&files.signing_key, &files.certificate)
                };
                bail!(
                    "{} is there and {} is not: put it back, or remove both for a new authority",
                    present.display(),
                    missing.display()
                );
            }
        }
        let key = read_key(&files)?;
        let certificate = read_certificate(&files.certificate)?;
        let authority = Authority::from_parts(key, certificate)
            .with_context(|| format!("the authority in {}", files.certificate.display()))?;
        Ok(Self { authority, files })
    }

    /// The next serial number, which is noted before it is used. Where none was noted they begin anywhere.
    pub(super) fn next_serial(&self) -> anyhow::Result<u128> {
        let _turn = take_turn(&self.files.folder)?;
        let path = &self.files.serial;
        let last = read_named_text(path, LARGEST_TEXT)
            .ok()
            .and_then(|text| text.trim().parse::<u128>().ok());
        let next = last
            .and_then(|last| last.checked_add(1))
            .unwrap_or_else(|| random_serial(&mut rand::rng()));
        let scratch = path.with_extension("new");
        write(&scratch, 0o640, next.to_string().as_bytes())?;
        fs::rename(&scratch, path)
            .with_context(|| format!("the serial number in {}", path.display()))?;
        Ok(next)
    }
}

/// Waits until nobody else changes the authority's files.
fn take_turn(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(LOCK);
    let lock = process::create_file(&path, 0o640, true)
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("the lock {}", path.display()))?;
    Ok(lock)
}

fn create(files: &AuthorityFiles) -> anyhow::Result<()> {
    let names = AuthorityNames {
        root: common_name("swtpm-localca-rootca")?,
        issuer: common_name("swtpm-localca")?,
    };
    let mut rng = rand::rng();
    let (root, issuer) = Authority::root_and_issuer(
        &names,
        AuthorityAlgorithm::default(),
        validity_start(),
        Lifetime::Endless,
        &mut rng,
    )?;
    let folder = files.signing_key.parent().unwrap_or(&files.folder);
    let root_password = std::env::var(ROOT_PASSWORD).ok().map(Zeroizing::new);
    let password =
        |text: &Option<Zeroizing<String>>| text.as_ref().map(|text| text.as_bytes().to_vec());
    let mut save = |path: &Path, key: &SigningKey, secret: Option<Vec<u8>>| {
        let secret = secret.map(Zeroizing::new);
        let text = key.to_pem(secret.as_ref().map(|secret| secret.as_slice()), &mut rng)?;
        write(path, 0o600, text.as_bytes())
    };
    save(&folder.join(ROOT_KEY), root.key(), password(&root_password))?;
    let text = certificate::to_pem(root.certificate())?;
    write(&folder.join(ROOT_CERTIFICATE), 0o644, text.as_bytes())?;
    save(&files.signing_key, issuer.key(), password(&files.password))?;
    let text = certificate::to_pem(issuer.certificate())?;
    write(&files.certificate, 0o644, text.as_bytes())
}

fn read_key(files: &AuthorityFiles) -> anyhow::Result<SigningKey> {
    let path = &files.signing_key;
    let what = || format!("the authority's key {}", path.display());
    let text = read_named(path, LARGEST_TEXT).with_context(what)?;
    let password = files.password.as_ref().map(|text| text.as_bytes());
    SigningKey::from_pem(&text, password).with_context(what)
}

fn read_certificate(path: &Path) -> anyhow::Result<certificate::Certificate> {
    let what = || format!("the authority's certificate {}", path.display());
    certificate::read(&read_named(path, LARGEST_TEXT).with_context(what)?).with_context(what)
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
    process::create_file(path, mode, false)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn open(files: &AuthorityFiles) -> anyhow::Result<LocalAuthority> {
        LocalAuthority::open(files.clone(), &mut Journal::new(None)?)
    }

    #[test]
    fn an_authority_is_made_once_and_its_keys_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = AuthorityFiles::in_folder(folder.path().join("a/b"));
        files.password = Some(Zeroizing::new("secret".into()));
        let made = open(&files).unwrap();
        for key in [&files.signing_key, &files.folder.join(ROOT_KEY)] {
            let mode = fs::metadata(key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", key.display());
        }
        let again = open(&files).unwrap();
        assert_eq!(again.authority.certificate(), made.authority.certificate());
        files.password = None;
        let error = format!("{:#}", open(&files).unwrap_err());
        assert!(
            error.contains("signkey.pem") && error.contains("encrypted"),
            "{error}"
        );
        fs::remove_file(&files.certificate).unwrap();
        let error = format!("{:#}", open(&files).unwrap_err());
        assert!(error.contains("issuercert.pem is not"), "{error}");
    }

    #[test]
    fn serial_numbers_go_up_and_begin_with_20_digits() {
        let folder = tempfile::tempdir().unwrap();
        let local = open(&AuthorityFiles::in_folder(folder.path().into())).unwrap();
        let first = local.next_serial().unwrap();
        assert_eq!(first.to_string().len(), 20);
        assert_eq!(local.next_serial().unwrap(), first + 1);
        let file = folder.path().join("certserial");
        for (noted, next) in [("41\n", Some(42)), ("nonsense", None)] {
            fs::write(&file, noted).unwrap();
            let serial = local.next_serial().unwrap();
            assert!(next.is_none_or(|next| next == serial));
            assert_eq!(fs::read_to_string(&file).unwrap(), serial.to_string());
        }
    }

    #[test]
    fn keys_in_tokens_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf");
        let text = "statedir = /x\nsigningkey = pkcs11:token=x\nissuercert = /y\n";
        fs::write(&path, text).unwrap();
        let error = AuthorityFiles::configured(&Configuration::read(&path).unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("PKCS #11"), "{error}");
        let files = AuthorityFiles::in_folder("/z".into());
        fs::write(&path, files.to_configuration()).unwrap();
        let again = AuthorityFiles::configured(&Configuration::read(&path).unwrap()).unwrap();
        assert_eq!(again, files);
    }
}
