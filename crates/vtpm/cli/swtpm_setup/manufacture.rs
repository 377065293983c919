//! The TPM that is being made: in memory, until everything about it is done.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use tpm_attest::certificate::TpmIdentity;
use tpm_attest::client::{Client, Transmit};
use tpm_attest::ek::{self, EkTemplate, KeyAlgorithm, Keys, Made, Usage};
use tpm_engine::Profile;
use tpm_server::{
    Device as ServerDevice, SaveFuture, Settings, StartupKind, StateStore, StoreError, Stored,
};
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::commands;
use tpm_wire::constants::TpmSu;
use zeroize::Zeroizing;

use super::journal::Journal;
use crate::cli::{Threads, runtime};
use crate::platform;

/// The banks by the names that swtpm's options know.
const BANKS: [(&str, TpmiAlgHash); 8] = [
    ("sha1", TpmiAlgHash::Sha1),
    ("sha256", TpmiAlgHash::Sha256),
    ("sha384", TpmiAlgHash::Sha384),
    ("sha512", TpmiAlgHash::Sha512),
    ("sm3-256", TpmiAlgHash::Sm3_256),
    ("sha3-256", TpmiAlgHash::Sha3_256),
    ("sha3-384", TpmiAlgHash::Sha3_384),
    ("sha3-512", TpmiAlgHash::Sha3_512),
];

/// Reads names of banks with commas between them.
pub(super) fn banks_by_name(text: &str) -> anyhow::Result<Vec<TpmiAlgHash>> {
    let mut banks = Vec::new();
    for name in text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let known = BANKS.iter().find(|(known, _)| *known == name);
        let (_, bank) = known.with_context(|| {
            let names: Vec<&str> = BANKS.iter().map(|(name, _)| *name).collect();
            format!("there is no PCR bank '{name}', only {}", names.join(", "))
        })?;
        banks.push(*bank);
    }
    Ok(banks)
}

/// The name of a bank.
pub(super) fn bank_name(bank: TpmiAlgHash) -> &'static str {
    BANKS
        .iter()
        .find(|(_, known)| *known == bank)
        .map_or("?", |(name, _)| *name)
}

/// Keys of a device, which sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Device {
    Attestation,
    Identity,
}

impl Device {
    /// The name in file names.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Attestation => "iak",
            Self::Identity => "idevid",
        }
    }

    /// The name for people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Attestation => "IAK",
            Self::Identity => "IDevID",
        }
    }
}

/// State that is kept in memory, and looked at when the TPM is done.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Option<Stored>>>);

impl Kept {
    fn get(&self) -> Option<Stored> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl StateStore for Kept {
    fn load(&mut self) -> Result<Option<Stored>, StoreError> {
        Ok(self.get())
    }

    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Carries commands to the TPM in this process.
struct Wire {
    runtime: tokio::runtime::Runtime,
    device: ServerDevice,
}

impl Transmit for Wire {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut response = Vec::new();
        self.runtime
            .block_on(self.device.execute(command, None, &mut response));
        Ok(response)
    }
}

/// A TPM in the making.
pub(super) struct Manufacture {
    client: Client<Wire>,
    device: ServerDevice,
    kept: Kept,
    profile: String,
    /// What was put into NV memory: its Index, what it is, its bytes.
    written: Vec<(u32, String, Vec<u8>)>,
    made: Vec<(String, Made)>,
}

impl Manufacture {
    /// A new TPM of this profile, or the one whose permanent state is `before`; started.
    pub(super) fn start(
        profile: Profile,
        before: Option<Zeroizing<Vec<u8>>>,
    ) -> anyhow::Result<Self> {
        let name = profile.name.to_string();
        let settings = Settings {
            profile: before.is_none().then_some(profile),
            platform: platform::real(),
            auto_shutdown: true,
            incoming: false,
        };
        let kept = Kept::default();
        if let Some(permanent) = before {
            *kept.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stored {
                permanent,
                volatile: None,
            });
        }
        let device = ServerDevice::new(Box::new(kept.clone()), settings);
        let runtime = runtime(Threads::One)?;
        runtime.block_on(async {
            device.power_on().await?;
            device.startup(StartupKind::Clear).await
        })?;
        let wire = Wire {
            runtime,
            device: device.clone(),
        };
        Ok(Self {
            client: Client::new(wire),
            device,
            kept,
            profile: name,
            written: Vec::new(),
            made: Vec::new(),
        })
    }

    pub(super) fn profile_name(&self) -> &str {
        &self.profile
    }

    /// What the TPM calls itself.
    pub(super) fn identity(&mut self) -> anyhow::Result<TpmIdentity> {
        Ok(TpmIdentity::read(&mut self.client)?)
    }

    pub(super) fn storage_key(
        &mut self,
        algorithm: KeyAlgorithm,
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        let made = Keys::new(&mut self.client, false)
            .storage_key(algorithm)
            .with_context(|| format!("the {algorithm} storage key"))?;
        self.note("storage primary key".into(), made, journal)?;
        Ok(())
    }

    pub(super) fn endorsement_key(
        &mut self,
        algorithm: KeyAlgorithm,
        usage: Usage,
        lock: bool,
        journal: &mut Journal,
    ) -> anyhow::Result<Made> {
        let template = EkTemplate::usual(algorithm);
        let made = Keys::new(&mut self.client, lock)
            .endorsement_key(template, usage)
            .with_context(|| format!("the {algorithm} endorsement key"))?;
        let made = self.note(format!("{algorithm} EK"), made, journal)?;
        if usage != Usage::Decrypt {
            journal.say(&format!(
                "Successfully created NVRAM area {:#x} for {algorithm} EK template.",
                template.indices().template
            ))?;
        }
        Ok(made)
    }

    pub(super) fn device_key(
        &mut self,
        device: Device,
        algorithm: KeyAlgorithm,
        lock: bool,
        journal: &mut Journal,
    ) -> anyhow::Result<Made> {
        let mut keys = Keys::new(&mut self.client, lock);
        let made = match device {
            Device::Attestation => keys.attestation_key(algorithm),
            Device::Identity => keys.device_identity(algorithm),
        };
        let made = made.with_context(|| format!("the {algorithm} {}", device.title()))?;
        self.note(
            format!("{algorithm} {} primary key", device.title()),
            made,
            journal,
        )
    }

    fn note(&mut self, what: String, made: Made, journal: &mut Journal) -> anyhow::Result<Made> {
        journal.say(&format!(
            "Successfully created {what} with handle {:#x}.",
            made.handle.0
        ))?;
        self.made.push((what, made.clone()));
        Ok(made)
    }

    pub(super) fn keep_ek_certificate(
        &mut self,
        algorithm: KeyAlgorithm,
        certificate: &[u8],
        lock: bool,
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        let index = EkTemplate::usual(algorithm).indices().certificate;
        let what = format!("{algorithm} EK certificate");
        self.keep(index, what, certificate, lock, journal)
    }

    pub(super) fn keep_platform_certificate(
        &mut self,
        certificate: &[u8],
        lock: bool,
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        let what = "platform certificate".to_owned();
        self.keep(ek::PLATFORM_CERTIFICATE, what, certificate, lock, journal)
    }

    pub(super) fn keep_device_certificate(
        &mut self,
        device: Device,
        certificate: &[u8],
        lock: bool,
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        let index = match device {
            Device::Attestation => ek::IAK_CERTIFICATE,
            Device::Identity => ek::IDEVID_CERTIFICATE,
        };
        let what = format!("{} certificate", device.title());
        self.keep(index, what, certificate, lock, journal)
    }

    fn keep(
        &mut self,
        index: u32,
        what: String,
        certificate: &[u8],
        lock: bool,
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        self.client.write_certificate(index, certificate, lock)?;
        journal.say(&format!(
            "Successfully created NVRAM area {index:#x} for {what}."
        ))?;
        self.written.push((index, what, certificate.to_vec()));
        Ok(())
    }

    /// Gives PCR to these banks alone. Those that the TPM has not are left out, as swtpm_setup does; none at all is an error.
    pub(super) fn allocate_banks(
        &mut self,
        wanted: &[TpmiAlgHash],
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        let all = ek::pcr_banks(&mut self.client)?;
        let mut chosen = Vec::new();
        for bank in wanted {
            if all.iter().any(|(known, _)| known == bank) && !chosen.contains(bank) {
                chosen.push(*bank);
            }
        }
        let names = |banks: &mut dyn Iterator<Item = TpmiAlgHash>| {
            banks.map(bank_name).collect::<Vec<_>>().join(",")
        };
        let available = names(&mut all.iter().map(|(bank, _)| *bank));
        if chosen.is_empty() {
            bail!("the TPM has none of the PCR banks that were asked for, only {available}");
        }
        ek::allocate_pcr_banks(&mut self.client, &chosen)?;
        journal.say(&format!(
            "Successfully activated PCR banks {} among {available}.",
            names(&mut chosen.iter().copied())
        ))
    }

    /// Tells what the TPM has.
    pub(super) fn describe(&mut self, journal: &mut Journal) -> anyhow::Result<()> {
        let identity = self.identity()?;
        journal.say(&format!(
            "TPM {} of {}, version {}, specification {} revision {}",
            identity.model,
            identity.manufacturer,
            identity.version,
            identity.specification.family,
            identity.specification.revision
        ))?;
        for (what, made) in &self.made {
            journal.say(&format!("{:#x}: {what}", made.handle.0))?;
        }
        for (index, what, certificate) in &self.written {
            journal.say(&format!(
                "{index:#x}: {what}, {} bytes, SHA-256 {}",
                certificate.len(),
                hex::encode(Sha256::digest(certificate))
            ))?;
        }
        Ok(())
    }

    /// Shuts the TPM down and gives its permanent state.
    pub(super) fn finish(mut self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        self.client.run(&commands::Shutdown {
            shutdown_type: TpmSu::Clear,
        })?;
        let ended = runtime(Threads::One)?;
        ended.block_on(self.device.close());
        let stored = self.kept.get().context("the TPM has no state")?;
        Ok(stored.permanent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_go_by_their_names() {
        assert_eq!(
            banks_by_name("sha256, sha1,").unwrap(),
            [TpmiAlgHash::Sha256, TpmiAlgHash::Sha1]
        );
        let error = banks_by_name("sha256,md5").unwrap_err().to_string();
        assert!(
            error.contains("md5") && error.contains("sha3-512"),
            "{error}"
        );
        assert_eq!(bank_name(TpmiAlgHash::Sm3_256), "sm3-256");
    }
}
