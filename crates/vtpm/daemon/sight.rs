//! Looks at running TPMs for the pages: by commands that any client may send, without a session, so that nothing in them changes.

use std::io;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use tpm_attest::Error;
use tpm_attest::client::{Client, Transmit};
use tpm_server::Device;
use tpm_wire::attributes::{TpmaPermanent, TpmaStartupClear};
use tpm_wire::capability::TpmsCapabilityData;
use tpm_wire::commands::{GetCapability, NvReadPublic, PcrRead, ReadPublic};
use tpm_wire::constants::{TpmCap, TpmPt};
use tpm_wire::handles::{TpmHandle, TpmHt, TpmiDhObject, TpmiRhNvIndex};
use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};
use tpm_wire::rc::Rc;
use vm_inventory::model::VmId;
use vm_pages::{Bank, Lockout, NvIndex, Persistent, Sight, TpmSight};

use super::machines::RunningMachines;

/// A TPM that makes a key may take its time; a page does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(20);
/// Handles of one answer.
const AT_ONCE: u32 = 254;

impl Sight for RunningMachines {
    fn look(&self, vm: VmId) -> Option<Result<TpmSight, String>> {
        let device = self.device(vm)?;
        let runtime = self.runtime();
        let seen = look(&mut Client::new(Commands { device, runtime }));
        Some(seen.map_err(|error| match error {
            Error::Refused { code, .. } if code == Rc::INITIALIZE => {
                "it has not been started: its guest's firmware, or a client, sends TPM2_Startup first".to_owned()
            }
            error => error.to_string(),
        }))
    }
}

/// One TPM, from a thread that may block.
struct Commands {
    device: Device,
    runtime: Handle,
}

impl Transmit for Commands {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let answer = async {
            let mut out = Vec::new();
            self.device.execute(command, None, &mut out).await;
            out
        };
        self.runtime
            .block_on(async { timeout(PATIENCE, answer).await })
            .map_err(|_elapsed| io::Error::other("it is busy; look again in a moment"))
    }
}

fn look(tpm: &mut Client<Commands>) -> Result<TpmSight, Error> {
    let property =
        |tpm: &mut Client<Commands>, which| tpm.property(which).map(Option::unwrap_or_default);
    let permanent = TpmaPermanent(property(tpm, TpmPt::PERMANENT)?);
    let startup = TpmaStartupClear(property(tpm, TpmPt::STARTUP_CLEAR)?);
    let revision = property(tpm, TpmPt::REVISION)?;
    let firmware = property(tpm, TpmPt::FIRMWARE_VERSION_1)?;
    Ok(TpmSight {
        manufacturer: text(property(tpm, TpmPt::MANUFACTURER)?),
        firmware: format!("{}.{}", firmware >> 16, firmware & 0xFFFF),
        revision: format!("{}.{:02}", revision / 100, revision % 100),
        flags: flags(permanent, startup),
        banks: banks(tpm)?,
        nv: indices(tpm)?,
        objects: objects(tpm)?,
        lockout: Lockout {
            locked: permanent.contains(TpmaPermanent::IN_LOCKOUT),
            failures: property(tpm, TpmPt::LOCKOUT_COUNTER)?,
            most: property(tpm, TpmPt::MAX_AUTH_FAIL)?,
            interval: property(tpm, TpmPt::LOCKOUT_INTERVAL)?,
            recovery: property(tpm, TpmPt::LOCKOUT_RECOVERY)?,
        },
    })
}

/// Four letters in a number.
fn text(number: u32) -> String {
    let letters = number.to_be_bytes().map(char::from);
    letters
        .into_iter()
        .filter(|it| it.is_ascii_graphic())
        .collect()
}

fn flags(permanent: TpmaPermanent, startup: TpmaStartupClear) -> Vec<String> {
    let said = [
        (
            startup.contains(TpmaStartupClear::PH_ENABLE),
            "platform on",
            "platform off",
        ),
        (
            startup.contains(TpmaStartupClear::SH_ENABLE),
            "storage on",
            "storage off",
        ),
        (
            startup.contains(TpmaStartupClear::EH_ENABLE),
            "endorsement on",
            "endorsement off",
        ),
        (
            permanent.contains(TpmaPermanent::OWNER_AUTH_SET),
            "owner password set",
            "",
        ),
        (
            permanent.contains(TpmaPermanent::ENDORSEMENT_AUTH_SET),
            "endorsement password set",
            "",
        ),
        (
            permanent.contains(TpmaPermanent::LOCKOUT_AUTH_SET),
            "lockout password set",
            "",
        ),
        (
            permanent.contains(TpmaPermanent::DISABLE_CLEAR),
            "clear disabled",
            "",
        ),
        (
            startup.contains(TpmaStartupClear::READ_ONLY),
            "read-only",
            "",
        ),
    ];
    let words = said
        .into_iter()
        .map(|(is, yes, no)| if is { yes } else { no });
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn banks(tpm: &mut Client<Commands>) -> Result<Vec<Bank>, Error> {
    let answer = tpm.run(&GetCapability {
        capability: TpmCap::PCRS,
        property: 0,
        property_count: 1,
    })?;
    let TpmsCapabilityData::Pcrs(selections) = answer.capability_data else {
        return Ok(Vec::new());
    };
    let mut banks = Vec::new();
    for selection in selections.iter().filter(|it| !it.pcr_select.is_empty()) {
        banks.push(Bank {
            algorithm: format!("{:?}", selection.hash).to_lowercase(),
            values: values(tpm, selection)?,
        });
    }
    Ok(banks)
}

/// The values of one bank; an answer has eight at most.
fn values(
    tpm: &mut Client<Commands>,
    bank: &TpmsPcrSelection,
) -> Result<Vec<(u32, String)>, Error> {
    let wanted: Vec<u32> = bank.pcr_select.iter().collect();
    let mut values = Vec::with_capacity(wanted.len());
    for few in wanted.chunks(8) {
        let selection = TpmsPcrSelection {
            hash: bank.hash,
            pcr_select: TpmsPcrSelect::of(few),
        };
        let pcr_selection_in: TpmlPcrSelection = [selection].into_iter().collect();
        let answer = tpm.run(&PcrRead { pcr_selection_in })?;
        let digests = answer
            .pcr_values
            .iter()
            .map(|digest| hex::encode(&**digest));
        values.extend(few.iter().copied().zip(digests));
    }
    Ok(values)
}

/// Every handle of one kind.
fn handles(tpm: &mut Client<Commands>, kind: TpmHt) -> Result<Vec<TpmHandle>, Error> {
    let mut all: Vec<TpmHandle> = Vec::new();
    let mut from = kind.first().0;
    loop {
        let answer = tpm.run(&GetCapability {
            capability: TpmCap::HANDLES,
            property: from,
            property_count: AT_ONCE,
        })?;
        let TpmsCapabilityData::Handles(some) = answer.capability_data else {
            return Ok(all);
        };
        all.extend(some.iter().copied());
        match some.last() {
            Some(last) if answer.more_data => from = last.0.saturating_add(1),
            _ => return Ok(all),
        }
    }
}

fn indices(tpm: &mut Client<Commands>) -> Result<Vec<NvIndex>, Error> {
    let mut all = Vec::new();
    for handle in handles(tpm, TpmHt::NvIndex)? {
        let public = match tpm.run(&NvReadPublic {
            nv_index: TpmiRhNvIndex(handle),
        }) {
            Ok(answer) => answer.nv_public.0,
            // The guest has removed it meanwhile.
            Err(Error::Refused { code, .. }) if code.base() == Rc::HANDLE => continue,
            Err(error) => return Err(error),
        };
        all.push(NvIndex {
            handle: handle.0,
            size: public.data_size.0,
            attributes: readable(&format!("{:?}", public.attributes)),
            algorithm: format!("{:?}", public.name_alg).to_lowercase(),
            policy: !public.auth_policy.is_empty(),
        });
    }
    Ok(all)
}

fn objects(tpm: &mut Client<Commands>) -> Result<Vec<Persistent>, Error> {
    let mut all = Vec::new();
    for handle in handles(tpm, TpmHt::Persistent)? {
        let answer = match tpm.run(&ReadPublic {
            object_handle: TpmiDhObject(handle),
        }) {
            Ok(answer) => answer,
            Err(Error::Refused { code, .. }) if code.base() == Rc::HANDLE => continue,
            Err(error) => return Err(error),
        };
        let public = &*answer.out_public;
        all.push(Persistent {
            handle: handle.0,
            kind: format!("{:?}", public.parameters.object_type()).to_lowercase(),
            attributes: readable(&format!("{:?}", public.object_attributes)),
            name: hex::encode(&*answer.name),
        });
    }
    Ok(all)
}

/// Attributes as words with room to break between them.
fn readable(attributes: &str) -> String {
    attributes.to_lowercase().replace('|', " ")
}
