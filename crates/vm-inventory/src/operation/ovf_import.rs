//! Packages that are uploaded: as a vApp, as a template, as a standalone VM.
//!
//! The files of a package are taken off the stream into a hidden folder of the datastore that will have them, after the descriptor has
//! passed every rule. What is then planned and carried out is an operation like any other; a crash before it leaves nothing but
//! that folder, which the next start removes.

use super::batch::{Item, Plan, Work};
use super::plan::{Place, refused};
use super::preview::Preview;
use super::template::Header;
use super::{Job, Like, Operations, planned};
use crate::files::{StagedFile, Staging, is_state};
use crate::guest::GuestOs;
use crate::model::{Datastore, SocketKind, TemplateOrigin, VmId};
use crate::ovf::{
    Arrived, Descriptor, Limits, PackageError, Signature, System, descriptor_of, receive,
};
use crate::provisioning::{self, Operation, TpmProvisioning};
use crate::requirements::{Failure, Rule};
use crate::task::TargetKind;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use uuid::Uuid;

/// A request to make a vApp, a template or a VM of a package.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportPackage {
    /// The name of what is made; that of the package if left out.
    #[serde(default)]
    pub name: Option<Name>,
    /// As a template in this catalog, or
    #[serde(default)]
    pub catalog: Option<String>,
    /// as a vApp in this virtual data center; the only one there is if both are left out.
    #[serde(default)]
    pub vdc: Option<String>,
    /// The organization of the virtual data center.
    #[serde(default)]
    pub organization: Option<Name>,
    /// Make a standalone VM instead of a vApp; the package has one.
    #[serde(default)]
    pub standalone: bool,
}

impl Operations {
    /// Takes a package (OVA) off a stream and makes what the request says of it. Returns when everything has arrived and was checked; the job
    /// makes the VMs.
    ///
    /// # Errors
    /// Every rule that is not met, before any file is taken; what is wrong with the package. Then nothing is left of it.
    pub fn import_package(
        self: &Arc<Self>,
        request: &ImportPackage,
        package: &mut dyn Read,
    ) -> Result<Job> {
        self.take_package(request, package, &|_| Ok(()))
    }

    /// The same, if `permit` has nothing against it; it is told whether the package has a TPM.
    pub(crate) fn take_package(
        self: &Arc<Self>,
        request: &ImportPackage,
        package: &mut dyn Read,
        permit: &dyn Fn(bool) -> Result<()>,
    ) -> Result<Job> {
        let id = Uuid::new_v4();
        let mut staging = self.files.stage(&self.datastore_for(request)?)?;
        let mut look = |descriptor: &Descriptor| {
            permit(descriptor.systems.iter().any(|system| system.tpm))?;
            self.plan_package(id, request, descriptor, None)?.refuse()
        };
        let check = |signature: &Signature, manifest: &[u8]| {
            let certifier = self.maker.certifier()?;
            let (certificate, hash) = (&signature.certificate, signature.hash);
            let signer = certifier.signer(certificate, hash, manifest, &signature.bytes);
            Some(signer.map_err(|error| error.0))
        };
        let arrived = receive(package, &Limits::default(), &mut staging, &check, &mut look)?;
        let staging = Arc::new(staging);
        self.accept(|this| {
            let staging = Some((&arrived, &staging));
            this.plan_package(id, request, &arrived.descriptor, staging)
        })
    }

    /// What [`Self::import_package`] would do. Nothing behind the descriptor is read.
    ///
    /// # Errors
    /// When something that the request names does not exist, or the descriptor is wrong.
    pub fn preview_import_package(
        &self,
        request: &ImportPackage,
        package: &mut dyn Read,
    ) -> Result<Preview> {
        let descriptor = descriptor_of(package, &Limits::default())?;
        self.preview_of(|this| this.plan_package(Uuid::nil(), request, &descriptor, None))
    }

    /// Where the files of a package go.
    fn datastore_for(&self, request: &ImportPackage) -> Result<Datastore> {
        if let Some(catalog) = &request.catalog {
            let catalog = self.find_catalog(catalog)?.record;
            return Ok(self.inventory.datastore(catalog.datastore.as_str())?.record);
        }
        let vdc = self
            .find_vdc(request.organization.as_ref(), request.vdc.as_deref())?
            .record;
        let found = self
            .inventory
            .datastore_on(&vdc.vcenter, vdc.datastore.as_ref())?;
        Ok(found.record)
    }

    fn plan_package(
        &self,
        id: Uuid,
        request: &ImportPackage,
        descriptor: &Descriptor,
        arrived: Option<(&Arrived, &Arc<Staging>)>,
    ) -> Result<Plan> {
        if request.catalog.is_some() && (request.vdc.is_some() || request.standalone) {
            return Err(Error::BadValue(
                "a package becomes a template, a vApp or a standalone VM; name a catalog or a virtual data center"
                    .to_owned(),
            ));
        }
        let name = match &request.name {
            Some(name) => name.clone(),
            None => own_name(descriptor)?.parse()?,
        };
        let (operation, mut plan, place) = if let Some(catalog) = &request.catalog {
            let catalog = self.find_catalog(catalog)?;
            let header = Header {
                id,
                name: &name,
                origin: TemplateOrigin::Ovf,
                // Nobody has had these TPMs, and every instance gets one of its own (rule 1.5).
                provisioning: TpmProvisioning::Replace,
            };
            let operation = Operation::OvfToTemplate;
            let plan = self.plan_new_template(&catalog, header, operation)?;
            let place = self.place_on_shelf(&catalog.record)?;
            (operation, plan, place)
        } else {
            let operation = Operation::CreateVappFromOvf;
            let vdc = self.find_vdc(request.organization.as_ref(), request.vdc.as_deref())?;
            if request.standalone {
                let target = (TargetKind::Vm, VmId(id), name.clone());
                let mut plan = Plan::new(operation.as_str(), "being uploaded", target);
                plan.organization = Some(vdc.record.organization.clone());
                plan.expects.unchanged(&vdc);
                (operation, plan, self.place_in(&vdc.record, None, None)?)
            } else {
                let (plan, place) =
                    self.plan_new_vapp(id, &name, &vdc, operation, "being uploaded")?;
                (operation, plan, place)
            }
        };
        Self::check_count(descriptor.systems.len())?;
        if request.standalone && descriptor.systems.len() != 1 {
            return Err(Error::BadValue(format!(
                "the package has {} VMs; a standalone VM is one, so make a vApp of it",
                descriptor.systems.len()
            )));
        }
        for system in &descriptor.systems {
            let own = if request.standalone {
                name.clone()
            } else {
                system.name.parse()?
            };
            let vm = self.plan_system(&mut plan, &place, operation, descriptor, system, own)?;
            if request.standalone {
                plan.target.1 = vm;
            }
        }
        plan.check_names(&BTreeSet::new());
        self.check_free_names(&mut plan)?;
        if let Some((arrived, staging)) = arrived {
            plan.notes.extend(arrived.notes.iter().cloned());
            plan.staged = Some(Arc::clone(staging));
        }
        Ok(plan)
    }

    fn plan_system(
        &self,
        plan: &mut Plan,
        place: &Place,
        operation: Operation,
        descriptor: &Descriptor,
        system: &System,
        name: Name,
    ) -> Result<VmId> {
        let vcenter = &place.vcenter;
        let mut failures = Vec::new();
        let action = if system.tpm {
            provisioning::decide(operation, vcenter.version, None, None).unwrap_or_else(|refusal| {
                failures.push(refused(&refusal));
                None
            })
        } else {
            None
        };
        let guest: GuestOs = system
            .guest
            .parse()
            .map_err(|error| in_descriptor(&name, error))?;
        let newest = vcenter.version.newest_hardware();
        let fitting = system.hardware_versions.iter().copied();
        let hardware_version = match fitting.filter(|it| (3..=newest).contains(it)).max() {
            Some(version) => version,
            None => {
                if let Some(asked) = system.hardware_versions.iter().max() {
                    let detail = format!(
                        "it needs hardware version {asked}, and vCenter {} {} knows 3 to {newest}; use a newer vCenter",
                        vcenter.name, vcenter.version
                    );
                    failures.push(Failure::of(Rule::HardwareVersion, detail));
                }
                newest
            }
        };
        let like = Like {
            firmware: system.firmware,
            hardware_version,
            guest,
            provider: action.and_then(|_| vcenter.default_provider.clone()),
            encrypted: false,
            socket: SocketKind::default(),
            startup: true,
        };
        let datastore = self
            .inventory
            .datastore_on(&vcenter.name, place.datastore.as_ref())?
            .record;
        let mut vm = planned(name.clone(), vcenter, &datastore, name.clone(), like);
        vm.vapp.clone_from(&place.vapp);
        vm.folder = self.folder_for(&vm, &datastore, place.template)?;
        if action.is_some() {
            self.check_requirements(&mut failures, &vm, vcenter, false)?;
        }
        plan.failures
            .extend(failures.into_iter().map(|failure| failure.for_vm(&name)));
        let (files, settings) = drives(descriptor, system, &name)?;
        let id = vm.id;
        plan.items.push(Item {
            vm,
            datastore,
            work: Work::Packed {
                tpm: action.is_some(),
                files,
                settings,
            },
            snapshots: Vec::new(),
            new_key: true,
        });
        Ok(id)
    }
}

/// Keys and values of a VM's settings.
type Settings = Vec<(String, String)>;

/// The files of a VM's drives, and the settings of all its devices.
fn drives(
    descriptor: &Descriptor,
    system: &System,
    name: &Name,
) -> Result<(Vec<StagedFile>, Settings)> {
    let uses = descriptor.uses();
    let mut files: Vec<StagedFile> = Vec::new();
    let mut settings = system.settings.clone();
    for drive in &system.drives {
        let slot = &drive.slot;
        let Some(file) = descriptor.file_of(drive) else {
            continue;
        };
        if is_state(&file.kept) || is_state(&file.href) {
            return Err(in_descriptor(
                name,
                format!(
                    "a drive has the file {}, whose name is that of a VM's own state",
                    file.kept
                ),
            ));
        }
        settings.push((format!("{slot}.present"), "TRUE".to_owned()));
        settings.push((format!("{slot}.fileName"), file.kept.clone()));
        if drive.cdrom {
            settings.push((format!("{slot}.deviceType"), "cdrom-image".to_owned()));
        }
        if files.iter().all(|known| known.name != file.kept) {
            files.push(StagedFile {
                name: file.kept.clone(),
                shared: uses.get(file.kept.as_str()).is_some_and(|uses| *uses > 1),
            });
        }
    }
    Ok((files, settings))
}

fn in_descriptor(vm: &Name, reason: String) -> Error {
    PackageError::Refused {
        part: format!("the VM {vm}"),
        reason,
    }
    .into()
}

/// The name of a package: its own, or that of its only VM.
fn own_name(descriptor: &Descriptor) -> Result<&str> {
    match (&descriptor.name, descriptor.systems.as_slice()) {
        (Some(name), _) => Ok(name),
        (None, [one]) => Ok(&one.name),
        (None, _) => Err(Error::BadValue(
            "the package has no name of its own; give it one".to_owned(),
        )),
    }
}
