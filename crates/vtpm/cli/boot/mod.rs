//! `vtpm boot`: measures a boot into a TPM, as the firmware and the boot loaders of a machine do, and writes the log.

pub(crate) mod profile;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use tpm_attest::attester;
use tpm_attest::client::{Client, Transmit};
use tpm_attest::ek::pcr_banks;
use tpm_attest::event_log::{EventLog, PcrBank, bank_name};
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};
use vm_inventory::VmView;
use vm_store::backend::read_named;

use super::attest::connect;
use super::client::{component, talk};
use super::output;
use super::trace::tcti::Tcti;
use crate::config::Daemon;
use profile::{BootProfile, Kernel};

/// Most bytes of a kernel, or of an image that has its initial file system in it.
const LARGEST_KERNEL: u64 = 1 << 30;

/// PCR that a boot extends.
const MEASURED: [u32; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14];

/// Measure a boot into a TPM, as firmware and boot loaders would, and write the event log
///
/// The TPM must have been reset since its last boot: PCR 0 to 9 and 11 to 14 begin at zero. Replaying the log gives the PCR.
#[derive(Args, Debug)]
pub(crate) struct Boot {
    #[command(flatten)]
    daemon: Daemon,
    /// The VM of the daemon, which must be on
    #[arg(required_unless_present = "tcti", conflicts_with = "tcti")]
    vm: Option<String>,
    /// Another TPM: swtpm:host=H,port=N, swtpm:path=SOCKET, mssim:host=H,port=N, device:PATH
    #[arg(long, value_name = "TCTI")]
    tcti: Option<Tcti>,
    /// What boots
    #[arg(long, value_enum, default_value_t)]
    profile: BootProfile,
    /// The kernel; without it, a name stands for one
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Where the log goes [default: NAME.eventlog, or boot.eventlog]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print the events and the PCR as JSON
    #[arg(long)]
    json: bool,
}

impl Boot {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let kernel = match &self.kernel {
            Some(path) => read_named(path, LARGEST_KERNEL)
                .with_context(|| path.display().to_string())?
                .to_vec(),
            None => b"the kernel of the distribution".to_vec(),
        };
        let file = self.log.clone().unwrap_or_else(|| {
            let name = self.vm.as_deref().unwrap_or("boot");
            PathBuf::from(format!("{}.eventlog", component(name)))
        });
        let tcti = match (&self.tcti, &self.vm) {
            (Some(tcti), _) => tcti.clone(),
            (None, Some(vm)) => match tcti_of(&self.daemon, vm)? {
                Ok(tcti) => tcti,
                Err(code) => return Ok(code),
            },
            (None, None) => bail!("name a VM, or a TPM with --tcti"),
        };
        let mut client = connect(&tcti)?;
        let kernel = Kernel {
            name: "/vmlinuz",
            bytes: &kernel,
        };
        let log = measure(&mut client, self.profile, kernel)?;
        fs::write(&file, log.to_bytes()).with_context(|| file.display().to_string())?;
        let bank = log
            .replayable()
            .last()
            .copied()
            .unwrap_or(TpmiAlgHash::Sha256);
        let replayed = log.replay(bank)?;
        let extended = MEASURED
            .into_iter()
            .filter(|pcr| log.events.iter().any(|event| event.pcr == *pcr));
        let values = extended.filter_map(|pcr| Some((pcr, hex::encode(replayed.get(pcr)?))));
        if self.json {
            output::json(&json!({
                "log": file,
                "events": log.events.len(),
                "bank": bank_name(bank),
                "pcrs": values.map(|(pcr, value)| (pcr.to_string(), value)).collect::<std::collections::BTreeMap<_, _>>(),
            }))?;
        } else {
            output::line(format!(
                "{} events, in {}",
                log.events.len(),
                file.display()
            ))?;
            for (pcr, value) in values {
                output::line(format!("  {}:{pcr:<2} {value}", bank_name(bank)))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where the TPM of a VM is, or the exit code of the refusal.
fn tcti_of(daemon: &Daemon, vm: &str) -> anyhow::Result<Result<Tcti, ExitCode>> {
    let mut found = None;
    let code = talk(daemon, async |client| {
        let view: VmView = client.get(&format!("/v1/vms/{}", component(vm))).await?;
        let tcti = view.tpm.tcti.with_context(|| {
            format!(
                "the TPM of {vm} is not reached: has the VM one, and is it on? `vtpm vm start {vm}`"
            )
        })?;
        found = Some(tcti.parse::<Tcti>().map_err(anyhow::Error::msg)?);
        Ok(())
    })?;
    Ok(found.ok_or(code))
}

/// Measures a boot in the banks of a TPM, and checks that the PCR came out as the log says.
pub(crate) fn measure<T: Transmit>(
    client: &mut Client<T>,
    profile: BootProfile,
    kernel: Kernel<'_>,
) -> anyhow::Result<EventLog> {
    let banks: Vec<TpmiAlgHash> = pcr_banks(client)?
        .into_iter()
        .filter(|(_, is_used)| *is_used)
        .map(|(bank, _)| bank)
        .collect();
    let selection: TpmlPcrSelection = banks
        .iter()
        .map(|hash| TpmsPcrSelection {
            hash: *hash,
            pcr_select: TpmsPcrSelect::of(&MEASURED),
        })
        .collect();
    let before = attester::read_pcrs(client, &selection)?;
    for (bank, values) in &before {
        let fresh = PcrBank::new(*bank);
        if let Some((pcr, _)) = values
            .iter()
            .find(|(pcr, value)| fresh.get(**pcr) != Some(value.as_slice()))
        {
            bail!(
                "PCR {pcr} of {} is not as after a reset: something was measured since. Restart the VM or the TPM, and boot it then",
                bank_name(*bank)
            );
        }
    }
    let log = profile.log(&banks, kernel);
    for event in &log.events {
        attester::extend(client, event, &banks)?;
    }
    for (bank, values) in attester::read_pcrs(client, &selection)? {
        let replayed = log.replay(bank)?;
        for (pcr, value) in values {
            if replayed.get(pcr) != Some(value.as_slice()) {
                bail!(
                    "somebody else measured into PCR {pcr} of {} meanwhile",
                    bank_name(bank)
                );
            }
        }
    }
    Ok(log)
}
