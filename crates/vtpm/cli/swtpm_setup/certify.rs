//! Certificates for the keys that are made: by the authority in this program, or by the tool that the configuration names.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tpm_attest::certificate::{
    self, Name, Purpose, Request, TpmIdentity, common_name, distinguished_name, serial_number_name,
    validity_start,
};
use tpm_attest::ek::{KeyAlgorithm, Usage};
use tpm_wire::object::TpmtPublic;

use super::authority::{AuthorityFiles, LocalAuthority};
use super::configuration::{self, Configuration};
use super::journal::Journal;
use super::manufacture::Device;
use super::options_file::CertificateOptions;
use super::tool::CertificateTool;
use crate::cli::process;

/// The name of a VM that has none.
const NAMELESS: &str = "unknown";
/// The programs whose work is done here, since they are this program's own.
const LOCAL_TOOLS: [&str; 2] = ["swtpm_localca", "swtpm-localca"];

/// Makes the certificates of one TPM.
#[derive(Debug)]
pub(super) struct Certifier {
    maker: Maker,
    tpm: TpmIdentity,
    vm: Option<String>,
    copies: Option<PathBuf>,
}

#[derive(Debug)]
enum Maker {
    Local(Box<LocalAuthority>, CertificateOptions),
    Tool(CertificateTool),
}

impl Certifier {
    pub(super) fn open(
        configuration: &Configuration,
        tpm: TpmIdentity,
        vm: Option<&str>,
        copies: Option<&Path>,
        journal: &mut Journal,
    ) -> anyhow::Result<Self> {
        let program = configuration.value("create_certs_tool")?.map(PathBuf::from);
        let settings = configuration.value("create_certs_tool_config")?;
        let options = configuration.value("create_certs_tool_options")?;
        let maker = match program {
            Some(program) if !is_local(&program) => Maker::Tool(CertificateTool {
                program,
                configuration: settings,
                options,
            }),
            None if configuration.is_there() => {
                configuration.need("create_certs_tool")?;
                anyhow::bail!("no certificate tool is configured");
            }
            _ => {
                let search = |given: Option<String>, name: &str| {
                    given
                        .map(PathBuf::from)
                        .or_else(|| configuration::search(name))
                };
                let files = match search(settings, "swtpm-localca.conf") {
                    Some(path) => AuthorityFiles::configured(&Configuration::read(&path)?)?,
                    None => AuthorityFiles::usual()?,
                };
                let options = match search(options, "swtpm-localca.options") {
                    Some(path) => CertificateOptions::read(&path)?,
                    None => CertificateOptions::default(),
                };
                for option in &options.about_the_tpm {
                    journal.say(&format!(
                        "{option} of the options file is not used: the TPM says that itself."
                    ))?;
                }
                let local = LocalAuthority::open(files, journal)?;
                Maker::Local(Box::new(local), options)
            }
        };
        Ok(Self {
            maker,
            tpm,
            vm: vm.map(str::to_owned),
            copies: copies.map(Path::to_owned),
        })
    }

    /// The certificate of an endorsement key, with a copy where one is wanted.
    pub(super) fn endorsement(
        &mut self,
        algorithm: KeyAlgorithm,
        key: &TpmtPublic,
        usage: Usage,
        journal: &mut Journal,
    ) -> anyhow::Result<Vec<u8>> {
        let tpm = &self.tpm;
        let purpose = Purpose::Endorsement { tpm, usage };
        let certificate = self.make("ek", purpose, key, usage, None, journal)?;
        self.copy("ek", algorithm, &certificate)?;
        Ok(certificate)
    }

    /// The platform certificate.
    pub(super) fn platform(
        &mut self,
        key: &TpmtPublic,
        usage: Usage,
        journal: &mut Journal,
    ) -> anyhow::Result<Vec<u8>> {
        let platform = match &self.maker {
            Maker::Local(_, options) => options.platform.clone(),
            Maker::Tool(_) => CertificateOptions::default().platform,
        };
        let purpose = Purpose::Platform {
            tpm: &self.tpm,
            platform: &platform,
            usage,
        };
        self.make("platform", purpose, key, usage, None, journal)
    }

    /// The certificate of a device key, with a copy where one is wanted.
    pub(super) fn device(
        &mut self,
        device: Device,
        algorithm: KeyAlgorithm,
        key: &TpmtPublic,
        ek_certificate: &[u8],
        journal: &mut Journal,
    ) -> anyhow::Result<Vec<u8>> {
        let serial = self
            .tpm
            .serial_number(&certificate::read(ek_certificate)?)?;
        let purpose = Purpose::Device { serial: &serial };
        let made = self.make(
            device.name(),
            purpose,
            key,
            Usage::Decrypt,
            Some(&serial),
            journal,
        )?;
        self.copy(device.name(), algorithm, &made)?;
        Ok(made)
    }

    fn make(
        &self,
        kind: &str,
        purpose: Purpose<'_>,
        key: &TpmtPublic,
        usage: Usage,
        serial: Option<&str>,
        journal: &mut Journal,
    ) -> anyhow::Result<Vec<u8>> {
        match &self.maker {
            Maker::Tool(tool) => {
                let vm = self.vm.as_deref().map(|vm| ("--vmid", vm));
                let serial = serial.map(|serial| ("--tpm-serial-num", serial));
                let more: Vec<_> = vm.into_iter().chain(serial).collect();
                tool.make(kind, key, &self.tpm, usage, &more, journal)
            }
            Maker::Local(local, options) => {
                let request = Request {
                    key,
                    purpose,
                    subject: self.subject(&purpose, options)?,
                    serial: local.next_serial()?,
                    start: validity_start(),
                    lifetime: options.lifetime,
                };
                let issued = local.authority.issue(&request, &mut rand::rng())?;
                journal.say(&format!(
                    "swtpm_localca: Successfully created {kind} certificate locally."
                ))?;
                Ok(certificate::to_der(&issued)?)
            }
        }
    }

    fn subject(&self, purpose: &Purpose<'_>, options: &CertificateOptions) -> anyhow::Result<Name> {
        let vm = self.vm.as_deref().unwrap_or(NAMELESS);
        let name = match purpose {
            Purpose::Device { .. } => serial_number_name(vm),
            _ => match &options.subject {
                Some(more) => distinguished_name(more)
                    .and_then(|more| certificate::joined(&more, &common_name(vm)?)),
                None => common_name(vm),
            },
        };
        name.context("--vmid")
    }

    /// Writes a copy of a certificate to the folder of `--write-ek-cert-files`.
    fn copy(&self, kind: &str, algorithm: KeyAlgorithm, bytes: &[u8]) -> anyhow::Result<()> {
        let Some(folder) = &self.copies else {
            return Ok(());
        };
        let path = folder.join(format!("{kind}-{}.crt", algorithm.name()));
        process::create_file(&path, 0o640, false)
            .and_then(|mut file| file.write_all(bytes))
            .with_context(|| format!("the certificate {}", path.display()))
    }
}

fn is_local(program: &Path) -> bool {
    let name = program.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| LOCAL_TOOLS.contains(&name))
}
