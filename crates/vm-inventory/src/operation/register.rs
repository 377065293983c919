//! Taking VMs out of the inventory while their files stay, and files into it again.

use super::{Job, Operations, VmHardware};
use crate::certificates::TpmCertificates;
use crate::inventory::{Transaction, shown};
use crate::journal::{Intent, JournalEntry};
use crate::model::{
    Datastore, Firmware, NameHolder, PowerState, Record, SocketKind, Template, Timestamp, Vm, VmId,
    VmTpm,
};
use crate::provisioning::TpmAction;
use crate::snapshot::SnapshotTree;
use crate::task::Task;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm_store::{SectionKind, TpmProvisioning, VmDescription};

/// A VM as it was when it was taken out of the inventory: what its files do not tell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Unregistered {
    vm: Vm,
    hardware: VmHardware,
}

impl Record for Unregistered {
    const PREFIX: &'static str = "unregistered/";
    fn key(&self) -> String {
        Self::key_of(&self.vm.datastore, &self.vm.folder)
    }
}

impl Unregistered {
    fn key_of(datastore: &Name, folder: &Name) -> String {
        format!("{}{datastore}/{folder}", Self::PREFIX)
    }
}

impl Operations {
    /// Takes a VM out of the inventory; its files stay as they are, TPM and all.
    ///
    /// # Errors
    /// When there is no such VM, it runs, belongs to a vApp, or has snapshots.
    pub fn unregister_vm(self: &Arc<Self>, reference: &str) -> Result<()> {
        let (vm, _busy) = self.occupy_vm(reference, "being unregistered")?;
        let record = &vm.record;
        if record.power != PowerState::Off {
            return Err(Error::Power {
                vm: record.name.clone(),
                is: record.power,
                hint: "power it off first",
            });
        }
        let refused = |why: &str| Err(Error::BadValue(format!("{} {why}", record.name)));
        if record.vapp.is_some() {
            return refused("belongs to a vApp, which would miss it: move or delete it there");
        }
        if !self.tree(record.id)?.snapshots.is_empty() {
            return refused("has snapshots, which the inventory alone knows: remove them first");
        }
        let left = Unregistered {
            vm: record.clone(),
            hardware: self.vm_hardware(&record.id.to_string())?,
        };
        let mut task = Task::of("unregister_vm", record);
        task.notes.push(format!(
            "the files of {} stay in {}/{}",
            record.name, record.datastore, record.folder
        ));
        let mut transaction = Transaction::default();
        transaction.remove(&vm);
        transaction.remove_key(record.name_key());
        transaction.remove_key(SnapshotTree::key_of(record.id));
        transaction.remove_key(VmHardware::key_of(record.id));
        // The floor of the TPM's generation stays: older files are found out when the VM is back.
        transaction.put(&left)?;
        transaction.put(&task.succeeded())?;
        self.inventory.commit(transaction)
    }

    /// Takes the VM of a folder of a datastore into the inventory of a vCenter, and records the task.
    ///
    /// # Errors
    /// When the vCenter does not see the datastore, the folder holds no VM or one that is in the inventory, its name is taken, or it has
    /// a TPM that this inventory does not know and that cannot be opened.
    pub fn register_vm(
        self: &Arc<Self>,
        vcenter: &Name,
        datastore: &Name,
        folder: &Name,
        name: Option<&Name>,
    ) -> Result<Job> {
        let vcenter = self.inventory.vcenter(vcenter.as_str())?.record;
        let datastore = self
            .inventory
            .datastore_on(&vcenter.name, Some(datastore))?
            .record;
        let found = self.files.describe(&datastore, folder)?;
        let id = VmId(found.identity.vm_id);
        let key = Unregistered::key_of(&datastore.name, folder);
        let known = self.inventory.find::<Unregistered>(&key)?;
        let known = known.filter(|stored| {
            let vm = &stored.record.vm;
            vm.id == id && vm.instance_id == found.identity.instance_id
        });
        if let Some(other) = self.inventory.find::<Vm>(&Vm::key_of(id))? {
            return Err(Error::Exists {
                what: "VM with the identifier of these files",
                name: other.record.name,
                place: "the inventory".to_owned(),
            });
        }
        self.check_unused(id, folder)?;
        let (mut vm, hardware) = match &known {
            Some(stored) => (
                stored.record.vm.clone(),
                Some(stored.record.hardware.clone()),
            ),
            None => (described(&found, &datastore, folder)?, None),
        };
        vm.vcenter = vcenter.name.clone();
        vm.power = PowerState::Off;
        if let Some(name) = name {
            vm.name = name.clone();
        }
        self.check_vm_name(&vm, &vm.name)?;
        if known.is_none() && vm.tpm.is_some() {
            let (_, contents) = self.files.open(&vm, &datastore, None)?;
            let state = contents.get(SectionKind::TPM_PERMANENT).unwrap_or_default();
            let ek_name = self.maker.ek_name(state).map_err(|error| Error::Tpm {
                vm: vm.name.clone(),
                reason: error.0,
            })?;
            if let Some(tpm) = &mut vm.tpm {
                tpm.ek_name = ek_name;
            }
        }
        let task = Task::of("register_vm", &vm);
        let busy = self.occupy(vm.id, &vm.name, "being registered")?;
        let mut transaction = Transaction::default();
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        Ok(self.job(task, vec![busy], move |this, task| {
            let task = task.succeeded();
            let mut transaction = Transaction::default();
            transaction.insert(&vm)?;
            transaction.insert(&NameHolder {
                vcenter: vm.vcenter.clone(),
                name: vm.name.clone(),
                vm: vm.id,
            })?;
            if let Some(hardware) = &hardware {
                transaction.put(hardware)?;
            }
            if let Some(stored) = &known {
                transaction.remove(stored);
            }
            transaction.put(&task)?;
            this.inventory.commit(transaction)?;
            this.tell_files(&vm);
            if vm.is_encrypted() {
                this.find_out_lock(&vm);
            }
            Ok(task)
        }))
    }
}

impl Operations {
    /// The VMs that were taken out of the inventory and whose files are still there.
    pub(super) fn unregistered_vms(&self) -> Result<Vec<Vm>> {
        let mut there = Vec::new();
        for stored in self.inventory.all::<Unregistered>()? {
            let vm = stored.record.vm;
            if self.files.holds(&vm, &self.datastore_of(&vm)?)? {
                there.push(vm);
            }
        }
        Ok(there)
    }

    /// That nothing else is made of the files of a VM, or is about to be, or they are about to go.
    fn check_unused(&self, id: VmId, folder: &Name) -> Result<()> {
        for template in self.inventory.all::<Template>()? {
            if template.record.vms.iter().any(|vm| vm.id == id) {
                return Err(Error::Exists {
                    what: "template with the VM of these files",
                    name: template.record.name,
                    place: format!("the catalog {}", template.record.catalog),
                });
            }
        }
        for entry in self.inventory.all::<JournalEntry>()? {
            let busy = match &entry.record.intent {
                Intent::Create { vm } | Intent::Delete { vm } | Intent::Encrypt { vm } => {
                    vm.id == id
                }
                Intent::Make { vms, .. } => vms.iter().any(|vm| vm.id == id),
                Intent::Remove { left } => left.vms.iter().any(|vm| vm.id == id),
                _ => false,
            };
            if busy {
                return Err(Error::Busy {
                    vm: folder.clone(),
                    doing: "its making or removal",
                });
            }
        }
        Ok(())
    }
}

/// The VM that files tell of, of which the inventory knows nothing.
fn described(found: &VmDescription, datastore: &Datastore, folder: &Name) -> Result<Vm> {
    let setting = |key: &str| found.settings.get(key).unwrap_or_default();
    let wrong = |key: &str| {
        Error::BadValue(format!(
            "the settings in {}/{folder} say {key} = \"{}\", which is none that there is",
            datastore.name,
            shown(setting(key))
        ))
    };
    let name = match setting("displayName") {
        "" => folder.clone(),
        name => name.parse()?,
    };
    let provider = match found.locator() {
        Some(locator) => Some(locator.provider.parse()?),
        None => None,
    };
    let tpm = found.tpm().map(|binding| VmTpm {
        origin: match binding.provisioning {
            TpmProvisioning::New => TpmAction::New,
            TpmProvisioning::Copy => TpmAction::Copy,
            TpmProvisioning::Replace => TpmAction::Replace,
        },
        source: None,
        made: Timestamp::now(),
        ek_name: String::new(),
        certificates: TpmCertificates::default(),
    });
    Ok(Vm {
        id: VmId(found.identity.vm_id),
        instance_id: found.identity.instance_id,
        name,
        vcenter: datastore
            .vcenters
            .first()
            .cloned()
            .unwrap_or_else(|| folder.clone()),
        vapp: None,
        datastore: datastore.name.clone(),
        folder: folder.clone(),
        firmware: match setting("firmware") {
            "efi" => Firmware::Efi,
            "" | "bios" => Firmware::Bios,
            _ => return Err(wrong("firmware")),
        },
        hardware_version: setting("virtualHW.version")
            .parse()
            .map_err(|_| wrong("virtualHW.version"))?,
        guest: setting("guestOS").parse().map_err(|_| wrong("guestOS"))?,
        power: PowerState::Off,
        provider,
        encrypted: found
            .binding
            .as_ref()
            .is_some_and(|binding| binding.encryption.is_of_vm()),
        tpm,
        socket: SocketKind::default(),
        startup: true,
        created: Timestamp::now(),
        locked: None,
    })
}
