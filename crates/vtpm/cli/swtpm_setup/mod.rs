//! `vtpm swtpm-setup`: makes a TPM with its keys and certificates, with swtpm_setup's options.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "help texts show optional parts in brackets, as swtpm_setup does"
)]

mod authority;
mod certify;
mod config_files;
mod configuration;
mod journal;
mod manufacture;
mod options_file;
mod profiles;
mod storage;
mod tool;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use tpm_attest::ek::{KeyAlgorithm, Usage};
use tpm_engine::Profile;
use tpm_wire::algorithm::TpmiAlgHash;
use vm_store::StateKey;

use super::profile::{ProfileOption, remove_disabled};
use super::{output, swtpm};
use certify::Certifier;
use config_files::ConfigFilesOption;
use configuration::Configuration;
use journal::Journal;
use manufacture::{Manufacture, banks_by_name};
use storage::Storage;
use vtpm_host::StatePlace;

/// The banks of a TPM when nobody says which.
const USUAL_BANKS: &str = "sha256";

/// Stands in for swtpm_setup: makes the TPM of a VM, with its keys and certificates
// As for the original, the last of several values counts, and long options may be cut short.
#[derive(Args, Debug)]
#[command(args_override_self = true, infer_long_args = true, version = super::swtpm::VERSION)]
pub(crate) struct SwtpmSetup {
    /// Where the state is put: a folder, dir://<folder>, or file://<file> for one file that holds it all
    #[arg(long, alias = "tpmstate", value_name = "DIR")]
    tpm_state: Option<String>,
    /// A TPM 2.0; there is no other
    #[arg(long)]
    tpm2: bool,
    /// Accepted: the TPM is in this program, and no other is started
    #[arg(long, value_name = "PROGRAM")]
    tpm: Option<String>,
    /// Create the endorsement keys
    #[arg(long)]
    createek: bool,
    /// Create a certificate for each endorsement key, and the keys
    #[arg(long)]
    create_ek_cert: bool,
    /// Create a platform certificate, and the endorsement keys
    #[arg(long)]
    create_platform_cert: bool,
    /// Create a storage key at 0x81000001
    #[arg(long)]
    create_spk: bool,
    /// Make the storage key an ECC key
    #[arg(long)]
    ecc: bool,
    /// Bits of the first endorsement key if it is RSA: 2048, 3072, 4096 or max
    #[arg(long, value_name = "BITS")]
    rsa_keysize: Option<String>,
    /// Algorithm of the first endorsement key: rsa2048, rsa3072, rsa4096, secp256r1, secp384r1, secp521r1 [default: rsa2048]
    #[arg(long, value_name = "ALGORITHM")]
    ek1keyalgo: Option<KeyAlgorithm>,
    /// Algorithm of the second endorsement key [default: secp384r1]
    #[arg(long, value_name = "ALGORITHM")]
    ek2keyalgo: Option<KeyAlgorithm>,
    /// Create an initial attestation key of this algorithm, and its certificate
    #[arg(long, value_name = "ALGORITHM")]
    iakkeyalgo: Option<KeyAlgorithm>,
    /// Create an initial device identity of this algorithm, and its certificate
    #[arg(long, value_name = "ALGORITHM")]
    idevidkeyalgo: Option<KeyAlgorithm>,
    /// Create neither of these two, whatever the configuration file says
    #[arg(long)]
    no_iak: bool,
    /// Let the endorsement keys sign; they are not those of the standard then
    #[arg(long)]
    allow_signing: bool,
    /// Let the endorsement keys decrypt, which they do anyway without --allow-signing
    #[arg(long)]
    decryption: bool,
    /// Lock the NV indices that are written
    #[arg(long)]
    lock_nvram: bool,
    /// Tell at the end what the TPM has
    #[arg(long)]
    display: bool,
    /// A name for the VM, which becomes the subject of its certificates
    #[arg(long, value_name = "ID")]
    vmid: Option<String>,
    /// Configuration file [default: swtpm_setup.conf in $XDG_CONFIG_HOME, ~/.config or /etc]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write what is done to this file instead of the terminal
    #[arg(long, value_name = "FILE")]
    logfile: Option<PathBuf>,
    /// File with the key of the state, in hexadecimal digits
    #[arg(long, value_name = "FILE", group = "state_key")]
    keyfile: Option<PathBuf>,
    /// Descriptor with the key of the state
    #[arg(long, value_name = "FD", group = "state_key")]
    keyfile_fd: Option<i32>,
    /// File with a passphrase that gives the key of the state
    #[arg(long, value_name = "FILE", group = "state_key")]
    pwdfile: Option<PathBuf>,
    /// Descriptor with a passphrase that gives the key of the state
    #[arg(long, value_name = "FD", group = "state_key")]
    pwdfile_fd: Option<i32>,
    /// Length of that key, by swtpm's names: aes-128-cbc or aes-256-cbc
    #[arg(long, value_name = "CIPHER", default_value = "aes-128-cbc", value_parser = ["aes-cbc", "aes-128-cbc", "aes-256-cbc"])]
    cipher: String,
    /// Replace a TPM that is there already
    #[arg(long)]
    overwrite: bool,
    /// Leave a TPM that is there already as it is, and succeed
    #[arg(long)]
    not_overwrite: bool,
    /// PCR banks to use, with commas between them; '-' for all
    #[arg(long, value_name = "BANKS")]
    pcr_banks: Vec<String>,
    /// Change the PCR banks of a TPM that is there
    #[arg(long)]
    reconfigure: bool,
    /// Write the certificates to this folder as well
    #[arg(long, value_name = "DIR")]
    write_ek_cert_files: Option<PathBuf>,
    /// Write configuration files for this user: overwrite, root, skip-if-exist
    #[arg(long, value_name = "OPTIONS", num_args = 0..=1, default_missing_value = "")]
    create_config_files: Option<ConfigFilesOption>,
    /// The profile of the TPM, as JSON
    #[arg(long, value_name = "JSON", group = "chosen_profile")]
    profile: Option<String>,
    /// The profile of the TPM by its name
    #[arg(long, value_name = "NAME", group = "chosen_profile")]
    profile_name: Option<String>,
    /// A file with the profile of the TPM
    #[arg(long, value_name = "FILE", group = "chosen_profile")]
    profile_file: Option<PathBuf>,
    /// A descriptor with the profile of the TPM
    #[arg(long, value_name = "FD", group = "chosen_profile")]
    profile_file_fd: Option<i32>,
    /// Run as this user, by name or number
    #[arg(long, value_name = "USER")]
    runas: Option<String>,
    /// Print as JSON what this program can do, and end
    #[arg(long)]
    print_capabilities: bool,
    /// Print as JSON the profiles there are, and end
    #[arg(long)]
    print_profiles: bool,
    /// Accepted without effect, as by swtpm_setup
    #[arg(long = "swtpm_ioctl", hide = true, value_name = "PROGRAM")]
    swtpm_ioctl: Option<String>,
    /// Accepted without effect, as by swtpm_setup
    #[arg(long, hide = true, value_name = "FILE")]
    tcsd_system_ps_file: Option<String>,
    /// What becomes of algorithms that this machine's cryptographic policy disables: check, which finds none
    #[arg(long, value_name = "HOW")]
    profile_remove_disabled: Option<String>,
    /// For a TPM 1.2 alone
    #[arg(long, hide = true)]
    take_ownership: bool,
    /// For a TPM 1.2 alone
    #[arg(long, hide = true, value_name = "PASSWORD")]
    ownerpass: Option<String>,
    /// For a TPM 1.2 alone
    #[arg(long, hide = true)]
    owner_well_known: bool,
    /// For a TPM 1.2 alone
    #[arg(long, hide = true, value_name = "PASSWORD")]
    srkpass: Option<String>,
    /// For a TPM 1.2 alone
    #[arg(long, hide = true)]
    srk_well_known: bool,
}

/// What is to be made, once options and configuration are known.
#[derive(Debug)]
struct Plan {
    ek1: KeyAlgorithm,
    ek2: KeyAlgorithm,
    attestation_key: Option<KeyAlgorithm>,
    device_identity: Option<KeyAlgorithm>,
    storage_key: Option<KeyAlgorithm>,
    usage: Usage,
    /// `None` leaves them as the profile has them.
    banks: Option<Vec<TpmiAlgHash>>,
}

impl SwtpmSetup {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if self.print_capabilities {
            output::line(capabilities())?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(user) = &self.runas {
            swtpm::become_user(user)?;
        }
        if let Some(option) = &self.create_config_files {
            return config_files::create(option);
        }
        let mut journal = Journal::new(self.logfile.as_deref())?;
        let outcome = self.author(&mut journal);
        if let Err(error) = &outcome {
            journal.failed(error);
        }
        outcome
    }

    fn author(&self, journal: &mut Journal) -> anyhow::Result<ExitCode> {
        if self.print_profiles {
            let configuration = Configuration::find(self.config.as_deref())?;
            output::line(profiles::listing(&configuration)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        self.refuse_unsupported()?;
        let place = self
            .tpm_state
            .as_deref()
            .context("where is the state to be put? Say --tpm-state <folder>")?;
        let place: StatePlace = place.parse().map_err(anyhow::Error::msg)?;
        if let Some(folder) = &self.write_ek_cert_files {
            check_folder(folder)?;
        }
        let mut storage = Storage::open(&place, self.state_key(journal)?)?;
        if !self.reconfigure && storage.holds_tpm()? {
            if self.not_overwrite {
                journal.say("Not overwriting existing state file.")?;
                return Ok(ExitCode::SUCCESS);
            }
            if !self.overwrite && storage.holds_tpm_of_swtpm() {
                bail!(
                    "{place} holds a TPM of swtpm: take it over with 'vtpm import swtpm', or say --overwrite to lose it, or --not-overwrite to keep it"
                );
            }
            if !self.overwrite {
                bail!(
                    "{place} holds a TPM already: say --overwrite to lose it, or --not-overwrite to keep it"
                );
            }
        }
        let configuration = Configuration::find(self.config.as_deref())?;
        let profile = self.profile(&configuration)?;
        let plan = self.plan(&configuration, &profile)?;
        let doing = if self.reconfigure {
            "reconfiguration"
        } else {
            "manufacturing"
        };
        journal.say(&format!("Starting vTPM {doing} as {}", user::current()))?;
        if self.tpm.is_some() {
            journal.say("The TPM is the one in this program; --tpm starts no other.")?;
        }
        let before = if self.reconfigure {
            let found = storage.load()?;
            Some(found.with_context(|| format!("{place} holds no TPM that could be changed"))?)
        } else {
            None
        };
        let mut manufacture = Manufacture::start(profile, before)?;
        if !self.reconfigure {
            self.make(&mut manufacture, &plan, &configuration, journal)?;
        }
        if let Some(banks) = &plan.banks {
            manufacture.allocate_banks(banks, journal)?;
        }
        if self.display {
            manufacture.describe(journal)?;
        }
        storage.save(&manufacture.finish()?)?;
        journal.say("Successfully authored TPM state.")?;
        journal.say(&format!("Ending vTPM {doing}"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn make(
        &self,
        manufacture: &mut Manufacture,
        plan: &Plan,
        configuration: &Configuration,
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        journal.say(&format!("Active profile: {}", manufacture.profile_name()))?;
        if let Some(algorithm) = plan.storage_key {
            manufacture.storage_key(algorithm, journal)?;
        }
        let with_certificates = self.create_ek_cert || self.create_platform_cert;
        if !self.createek && !with_certificates {
            return Ok(());
        }
        let mut certifier = if with_certificates {
            let identity = manufacture.identity()?;
            Some(Certifier::open(
                configuration,
                identity,
                self.vmid.as_deref(),
                self.write_ek_cert_files.as_deref(),
                journal,
            )?)
        } else {
            None
        };
        let mut first = None;
        let second = (plan.ek2 != plan.ek1).then_some(plan.ek2);
        for algorithm in [Some(plan.ek1), second].into_iter().flatten() {
            let made =
                manufacture.endorsement_key(algorithm, plan.usage, self.lock_nvram, journal)?;
            let Some(certifier) = &mut certifier else {
                continue;
            };
            if self.create_ek_cert {
                let certificate =
                    certifier.endorsement(algorithm, &made.public, plan.usage, journal)?;
                manufacture.keep_ek_certificate(
                    algorithm,
                    &certificate,
                    self.lock_nvram,
                    journal,
                )?;
                first.get_or_insert(certificate);
            }
            // One platform, one certificate: it is about the first key.
            if self.create_platform_cert && algorithm == plan.ek1 {
                let certificate = certifier.platform(&made.public, plan.usage, journal)?;
                manufacture.keep_platform_certificate(&certificate, self.lock_nvram, journal)?;
            }
        }
        let (Some(certifier), Some(ek_certificate)) = (&mut certifier, &first) else {
            return Ok(());
        };
        for (kind, algorithm) in [
            (manufacture::Device::Attestation, plan.attestation_key),
            (manufacture::Device::Identity, plan.device_identity),
        ] {
            let Some(algorithm) = algorithm else { continue };
            let made = manufacture.device_key(kind, algorithm, self.lock_nvram, journal)?;
            let certificate =
                certifier.device(kind, algorithm, &made.public, ek_certificate, journal)?;
            manufacture.keep_device_certificate(kind, &certificate, self.lock_nvram, journal)?;
        }
        Ok(())
    }

    fn refuse_unsupported(&self) -> anyhow::Result<()> {
        if !self.tpm2 {
            bail!("a TPM 1.2 is not supported: say --tpm2");
        }
        for (given, option) in [
            (self.take_ownership, "--take-ownership"),
            (self.ownerpass.is_some(), "--ownerpass"),
            (self.owner_well_known, "--owner-well-known"),
            (self.srkpass.is_some(), "--srkpass"),
            (self.srk_well_known, "--srk-well-known"),
        ] {
            if given {
                bail!("{option} is for a TPM 1.2, and this one is a TPM 2.0");
            }
        }
        if let Some(how) = &self.profile_remove_disabled {
            let profile = self.chosen_profile();
            let is_custom = profile.is_none_or(|profile| profile.is_custom());
            remove_disabled(how, is_custom).map_err(anyhow::Error::msg)?;
        }
        if self.reconfigure
            && (self.createek
                || self.create_ek_cert
                || self.create_platform_cert
                || self.create_spk)
        {
            bail!(
                "--reconfigure changes the PCR banks of a TPM, and makes no keys or certificates"
            );
        }
        if self.reconfigure && self.chosen_profile().is_some() {
            bail!("--reconfigure keeps the profile of the TPM, so none can be chosen");
        }
        if self.overwrite && self.not_overwrite {
            bail!("--overwrite and --not-overwrite exclude each other");
        }
        if !self.create_ek_cert && (self.iakkeyalgo.is_some() || self.idevidkeyalgo.is_some()) {
            bail!(
                "the certificates of --iakkeyalgo and --idevidkeyalgo name that of the endorsement key: say --create-ek-cert"
            );
        }
        Ok(())
    }

    /// The key of the state, as `vtpm swtpm --key` will be given it.
    fn state_key(&self, journal: &mut Journal) -> anyhow::Result<StateKey> {
        let of_file = |key: &str, path: &PathBuf| format!("{key}={}", path.display());
        let option = match (
            &self.keyfile,
            self.keyfile_fd,
            &self.pwdfile,
            self.pwdfile_fd,
        ) {
            (Some(path), ..) => of_file("file", path),
            (_, Some(descriptor), ..) => format!("fd={descriptor}"),
            (_, _, Some(path), _) => of_file("pwdfile", path),
            (.., Some(descriptor)) => format!("pwdfd={descriptor}"),
            _ => return Ok(StateKey::Beside),
        };
        let mode = match self.cipher.as_str() {
            "aes-256-cbc" => "aes-256-cbc",
            _ => "aes-cbc",
        };
        let key = swtpm::state_key(&format!("{option},mode={mode}"))?;
        journal.say("  The TPM's state will be encrypted with a provided key.")?;
        Ok(key)
    }

    fn chosen_profile(&self) -> Option<ProfileOption> {
        if let Some(json) = &self.profile {
            return Some(ProfileOption::Json(json.clone()));
        }
        if let Some(name) = &self.profile_name {
            return Some(ProfileOption::Name(name.clone()));
        }
        if let Some(path) = &self.profile_file {
            return Some(ProfileOption::File(path.clone()));
        }
        self.profile_file_fd.map(ProfileOption::Descriptor)
    }

    fn profile(&self, configuration: &Configuration) -> anyhow::Result<Profile> {
        match self.chosen_profile() {
            Some(option) => profiles::chosen(&option, configuration),
            None => profiles::configured(configuration),
        }
    }

    fn plan(&self, configuration: &Configuration, profile: &Profile) -> anyhow::Result<Plan> {
        let algorithm = |given: Option<KeyAlgorithm>, key: &str| match given {
            Some(algorithm) => Ok(Some(algorithm)),
            None => configuration.parsed::<KeyAlgorithm>(key),
        };
        let ek1 = match algorithm(self.ek1keyalgo, "ek1keyalgo")? {
            Some(algorithm) => algorithm,
            None => self.rsa_algorithm(configuration, profile)?,
        };
        let ek2 = algorithm(self.ek2keyalgo, "ek2keyalgo")?.unwrap_or(KeyAlgorithm::EccP384);
        // As the configuration file's, they count only where there is a certificate that they can name.
        let device = |given, key| {
            if self.create_ek_cert && !self.no_iak {
                algorithm(given, key)
            } else {
                Ok(None)
            }
        };
        Ok(Plan {
            ek1,
            ek2,
            attestation_key: device(self.iakkeyalgo, "iakkeyalgo")?,
            device_identity: device(self.idevidkeyalgo, "idevidkeyalgo")?,
            storage_key: self.create_spk.then_some(if self.ecc {
                KeyAlgorithm::EccP384
            } else {
                KeyAlgorithm::Rsa3072
            }),
            usage: match (self.allow_signing, self.decryption) {
                (false, _) => Usage::Decrypt,
                (true, false) => Usage::Sign,
                (true, true) => Usage::SignAndDecrypt,
            },
            banks: self.banks(configuration)?,
        })
    }

    fn rsa_algorithm(
        &self,
        configuration: &Configuration,
        profile: &Profile,
    ) -> anyhow::Result<KeyAlgorithm> {
        let text = match &self.rsa_keysize {
            Some(text) => text.clone(),
            None => configuration
                .value("rsa_keysize")?
                .unwrap_or_else(|| "2048".into()),
        };
        let sizes = rsa_sizes(profile);
        let bits = match text.as_str() {
            "max" => sizes.last().copied(),
            text => text.parse().ok().filter(|bits| sizes.contains(bits)),
        };
        bits.and_then(KeyAlgorithm::rsa).with_context(|| {
            format!("RSA keys of '{text}' bits cannot be made: the profile has {sizes:?}")
        })
    }

    fn banks(&self, configuration: &Configuration) -> anyhow::Result<Option<Vec<TpmiAlgHash>>> {
        let given: String = self.pcr_banks.join(",");
        let configured = configuration.value("active_pcr_banks")?;
        let text = [Some(given), configured]
            .into_iter()
            .flatten()
            .find(|text| text.split(',').any(|bank| !bank.trim().is_empty()))
            .unwrap_or_else(|| USUAL_BANKS.to_owned());
        if text.trim() == "-" {
            return Ok(None);
        }
        banks_by_name(&text).map(Some)
    }
}

/// RSA key sizes of endorsement keys that a profile has, ascending.
fn rsa_sizes(profile: &Profile) -> Vec<u16> {
    KeyAlgorithm::ALL
        .into_iter()
        .filter_map(KeyAlgorithm::rsa_bits)
        .filter(|bits| profile.limits.has_rsa_key_size(*bits))
        .collect()
}

/// swtpm_setup's JSON, in its order and with its spaces, as there are scripts that look for the text.
fn capabilities() -> String {
    let sizes = rsa_sizes(&Profile::default());
    let sizes = sizes.iter().map(|bits| format!("tpm2-rsa-keysize-{bits}"));
    let before = [
        "tpm-2.0",
        "cmdarg-keyfile-fd",
        "cmdarg-pwdfile-fd",
        "tpm12-not-need-root",
        "cmdarg-write-ek-cert-files",
        "cmdarg-create-config-files",
        "cmdarg-reconfigure-pcr-banks",
    ];
    let behind = [
        "cmdarg-profile",
        "cmdarg-profile-remove-disabled",
        "cmdarg-ek1keyalgo",
        "cmdarg-ek2keyalgo",
        "cmdarg-iakkeyalgo",
        "cmdarg-idevidkeyalgo",
    ];
    let features: Vec<String> = before
        .map(str::to_owned)
        .into_iter()
        .chain(sizes)
        .chain(behind.map(str::to_owned))
        .collect();
    format!(
        r#"{{ "type": "swtpm_setup", "features": [ "{}" ], "profiles": [ "{}" ], "version": "{}" }}"#,
        features.join(r#"", ""#),
        Profile::NAMES.join(r#"", ""#),
        super::swtpm::SWTPM_VERSION
    )
}

fn check_folder(folder: &std::path::Path) -> anyhow::Result<()> {
    use rustix::fs::{Access, access};
    if !folder.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .with_context(|| format!("{} cannot be written", folder.display()))
}
