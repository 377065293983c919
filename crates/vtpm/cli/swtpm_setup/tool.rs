//! Another program that makes certificates, by the protocol of swtpm_setup's `create_certs_tool`: options in, a file out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use tpm_attest::certificate::TpmIdentity;
use tpm_attest::ek::Usage;
use tpm_wire::algorithm::TpmiEccCurve;
use tpm_wire::object::{TpmtPublic, TpmuPublicId, TpmuPublicParms};
use vm_store::backend::{LARGEST_TEXT, read_named};

use super::journal::Journal;
use crate::cli::private_folder::PrivateFolder;

/// The program and what it is always given.
#[derive(Clone, Debug)]
pub(super) struct CertificateTool {
    pub(super) program: PathBuf,
    pub(super) configuration: Option<String>,
    pub(super) options: Option<String>,
}

impl CertificateTool {
    /// Asks for a certificate of type `kind`, which the program leaves under its name in a folder.
    pub(super) fn make(
        &self,
        kind: &str,
        key: &TpmtPublic,
        tpm: &TpmIdentity,
        usage: Usage,
        more: &[(&str, &str)],
        journal: &mut Journal,
    ) -> anyhow::Result<Vec<u8>> {
        let folder = PrivateFolder::new().context("a folder for the certificate")?;
        let mut command = Command::new(&self.program);
        let key_option = match kind {
            "ek" | "platform" => "--ek",
            _ => "--key",
        };
        command.args(["--type", kind, key_option, &key_text(key)?]);
        command.arg("--dir").arg(folder.path()).arg("--tpm2");
        match usage {
            Usage::Decrypt => {}
            Usage::Sign => _ = command.arg("--allow-signing"),
            Usage::SignAndDecrypt => _ = command.args(["--allow-signing", "--decryption"]),
        }
        let specification = &tpm.specification;
        for (option, value) in [
            ("--tpm-spec-family", specification.family.as_str()),
            ("--tpm-spec-level", &specification.level.to_string()),
            ("--tpm-spec-revision", &specification.revision.to_string()),
            ("--tpm-manufacturer", &tpm.manufacturer),
            ("--tpm-model", &tpm.model),
            ("--tpm-version", &tpm.version),
        ] {
            command.args([option, value]);
        }
        for (option, value) in [
            ("--configfile", &self.configuration),
            ("--optsfile", &self.options),
        ] {
            if let Some(value) = value {
                command.args([option, value]);
            }
        }
        for (option, value) in more {
            command.args([option, value]);
        }
        journal.say(&format!(
            "  Invoking {} --type {kind}",
            self.program.display()
        ))?;
        self.run(command, journal)?;
        let file = folder.path().join(format!("{kind}.cert"));
        read_named(&file, LARGEST_TEXT)
            .map(|bytes| bytes.to_vec())
            .with_context(|| self.left_nothing(&file))
    }

    fn run(&self, mut command: Command, journal: &mut Journal) -> anyhow::Result<()> {
        let program = self.program.display();
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("the certificate tool {program} cannot be started"))?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            journal.say(&format!("{program}: {line}"))?;
        }
        if !output.status.success() {
            bail!(
                "the certificate tool {program} failed ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    fn left_nothing(&self, file: &Path) -> String {
        format!(
            "the certificate tool {} succeeded but left no {}",
            self.program.display(),
            file.file_name().unwrap_or_default().display()
        )
    }
}

/// A key as these programs take it: the modulus, or the coordinates and the curve.
fn key_text(key: &TpmtPublic) -> anyhow::Result<String> {
    match (&key.parameters, &key.unique) {
        (_, TpmuPublicId::Rsa(modulus)) => Ok(hex::encode(&**modulus)),
        (TpmuPublicParms::Ecc(parameters), TpmuPublicId::Ecc(point)) => {
            let curve = match parameters.curve_id {
                TpmiEccCurve::NistP256 => "secp256r1",
                TpmiEccCurve::NistP384 => "secp384r1",
                TpmiEccCurve::NistP521 => "secp521r1",
                _ => bail!("no certificate tool knows this curve"),
            };
            let (x, y) = (hex::encode(&*point.x), hex::encode(&*point.y));
            Ok(format!("x={x},y={y},id={curve}"))
        }
        _ => bail!("no certificate tool knows this type of key"),
    }
}
