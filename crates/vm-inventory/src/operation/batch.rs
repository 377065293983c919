//! Operations on several VMs as one: all checks, one intent, the files side by side, one transaction with the outcome.
//!
//! Until that transaction nothing of the outcome can be seen and everything can be undone; after it only the files of VMs that
//! went are left to remove, which can be repeated. So a vApp is there as a whole or not at all.

use super::pace::Pace;
use super::plan::as_busy;
use super::power::side_by_side;
use super::{Hold, Job, Operations, Remarks, VmHardware, lock};
use crate::files::{StagedFile, Staging, contents};
use crate::inventory::{Stored, Transaction};
use crate::journal::{Intent, JournalEntry, Leftovers};
use crate::lineage::Lineage;
use crate::model::{
    Datastore, GenerationFloor, NameHolder, Record as _, Reservation, Template, Timestamp, Vapp,
    VappMember, Vm, VmId,
};
use crate::provisioning::TpmAction;
use crate::requirements::{Failure, Rule};
use crate::snapshot::SnapshotTree;
use crate::task::{TargetKind, Task, TaskId};
use crate::{Error, Name, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use uuid::Uuid;
use vm_store::{Contents, SectionKind, SnapshotId};

/// VMs made at once, for each core: half of the time goes into waiting for disks.
const PER_CORE: usize = 4;
/// Sources that are kept open to be copied more than once.
const KEPT_SOURCES: usize = 64;

/// More notes than this are counted instead of listed.
const NOTES: usize = 24;

/// A VM that an operation starts from: of the inventory, or of a template.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) vm: Vm,
    pub(super) datastore: Datastore,
    /// The snapshot of it that is meant, instead of its present state.
    pub(super) snapshot: Option<Uuid>,
}

/// What happens to the files of one VM.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// A VM is made with a new TPM, or with none.
    New { tpm: bool, profile: Option<String> },
    /// A VM of a package is made: with a new TPM or none, and with files that have arrived.
    Packed {
        tpm: bool,
        files: Vec<StagedFile>,
        settings: Vec<(String, String)>,
    },
    /// A VM is made like another; `None` if that one has no TPM.
    Like(Source, Option<TpmAction>),
    /// The VM goes to another datastore, keys and all.
    Carry(Source),
    /// The files stay where they are; the VM belongs elsewhere.
    Stay(Source),
}

/// One VM of an operation.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The VM as it is to be.
    pub(super) vm: Vm,
    pub(super) datastore: Datastore,
    pub(super) work: Work,
    /// The snapshots that it loses by moving.
    pub(super) snapshots: Vec<Uuid>,
    /// Its key is a new one of its provider, not the key of its source.
    pub(super) new_key: bool,
}

/// What the inventory holds afterwards, besides the VMs.
pub(super) enum Outcome {
    /// Nothing more.
    Vms,
    /// A new vApp.
    NewVapp(Vapp),
    /// A vApp that changed.
    ChangedVapp(Vapp),
    /// A new template, whose VMs are those of the operation.
    NewTemplate(Box<Template>),
    /// A template in the place of the one that has its name.
    RenewedTemplate(Box<Template>),
    /// The record of this key is gone.
    Gone(String),
}

/// A checked operation, ready to be recorded; or everything that speaks against it.
pub(super) struct Plan {
    pub(super) operation: &'static str,
    /// What other operations are told about the VMs taken.
    pub(super) doing: &'static str,
    pub(super) organization: Option<Name>,
    pub(super) target: (TargetKind, VmId, Name),
    /// The VMs, vApps and templates that no other operation may touch meanwhile.
    pub(super) busy: Vec<(VmId, Name)>,
    /// The templates that are read, and that nobody may remove meanwhile.
    pub(super) reads: Vec<(VmId, Name)>,
    pub(super) failures: Vec<Failure>,
    /// What speaks against the choice for VMs of which it changes nothing, having no TPM. It counts if those with one say nothing of it.
    pub(super) idle_choice: Option<Failure>,
    pub(super) items: Vec<Item>,
    /// VMs that go, records and files.
    pub(super) removals: Vec<Vm>,
    pub(super) expects: Transaction,
    pub(super) outcome: Outcome,
    pub(super) notes: Vec<String>,
    /// Files that have arrived for VMs of this operation.
    pub(super) staged: Option<Arc<Staging>>,
}

impl Plan {
    /// A plan without VMs yet.
    pub(super) fn new(
        operation: &'static str,
        doing: &'static str,
        target: (TargetKind, VmId, Name),
    ) -> Self {
        Self {
            operation,
            doing,
            organization: None,
            target,
            busy: Vec::new(),
            reads: Vec::new(),
            failures: Vec::new(),
            idle_choice: None,
            items: Vec::new(),
            removals: Vec::new(),
            expects: Transaction::default(),
            outcome: Outcome::Vms,
            notes: Vec::new(),
            staged: None,
        }
    }

    /// Takes a VM for this operation, once.
    pub(super) fn take(&mut self, vm: &Stored<Vm>) {
        if self.busy.iter().all(|(id, _)| *id != vm.record.id) {
            self.busy.push((vm.record.id, vm.record.name.clone()));
            self.expects.unchanged(vm);
        }
    }

    /// Makes VMs of a template: any number of operations may do that at a time, and it stays as long as one of them needs it.
    pub(super) fn read(&mut self, template: &Stored<Template>) {
        self.expects.unchanged(template);
        let id = as_busy(template.record.id);
        if self.reads.iter().all(|(known, _)| *known != id) {
            self.reads.push((id, template.record.name.clone()));
        }
    }

    /// Two VMs of one name in one place are a failure.
    pub(super) fn check_names(&mut self, taken: &BTreeSet<Name>) {
        let mut seen = taken.clone();
        for item in &self.items {
            if !seen.insert(item.vm.name.clone()) {
                let detail = format!(
                    "there is already a VM called {} in that vApp; give it another name",
                    item.vm.name
                );
                self.failures
                    .push(Failure::of(Rule::Place, detail).for_vm(&item.vm.name));
            }
        }
    }

    /// With everything that speaks against it.
    pub(super) fn settled(mut self) -> Self {
        if let Some(idle) = self.idle_choice.take()
            && self.failures.iter().all(|it| it.rule != idle.rule)
        {
            self.failures.push(idle);
        }
        self
    }

    pub(super) fn refuse(&self) -> Result<()> {
        if self.failures.is_empty() {
            return Ok(());
        }
        Err(Error::Rules {
            operation: self.operation,
            failures: self.failures.clone(),
        })
    }

    /// Keys that are held from before the first file is made, until the outcome is recorded.
    fn reservations(&self) -> Vec<Reservation> {
        let key = match &self.outcome {
            Outcome::NewVapp(vapp) => vapp.key(),
            Outcome::NewTemplate(template) | Outcome::RenewedTemplate(template) => template.key(),
            Outcome::Vms | Outcome::ChangedVapp(_) | Outcome::Gone(_) => return Vec::new(),
        };
        vec![Reservation { of: key }]
    }

    fn is_template(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::NewTemplate(_) | Outcome::RenewedTemplate(_)
        )
    }

    /// The names of standalone VMs that are to be.
    pub(super) fn new_holders(&self) -> Vec<NameHolder> {
        if self.is_template() {
            return Vec::new();
        }
        let standalone = self.items.iter().filter(|item| match &item.work {
            // A VM that keeps its place has its name already.
            Work::Carry(source) | Work::Stay(source) => source.vm.name_key() != item.vm.name_key(),
            Work::New { .. } | Work::Like(..) | Work::Packed { .. } => true,
        });
        standalone
            .map(|item| &item.vm)
            .filter(|vm| vm.vapp.is_none())
            .map(|vm| NameHolder {
                vcenter: vm.vcenter.clone(),
                name: vm.name.clone(),
                vm: vm.id,
            })
            .collect()
    }
}

/// What sources hold that several VMs are made of, read once; gone with the operation.
struct Sources(BTreeMap<VmId, Mutex<Option<Arc<Contents>>>>);

impl Sources {
    fn of(plan: &Plan) -> Self {
        let mut uses: BTreeMap<VmId, usize> = BTreeMap::new();
        for item in &plan.items {
            if let Work::Like(source, Some(_)) = &item.work {
                *uses.entry(source.vm.id).or_default() += 1;
            }
        }
        let often = uses.into_iter().filter(|(_, uses)| *uses > 1);
        Self(
            often
                .take(KEPT_SOURCES)
                .map(|(vm, _)| (vm, Mutex::new(None)))
                .collect(),
        )
    }

    fn contents(&self, operations: &Operations, vm: &Vm) -> Result<Arc<Contents>> {
        let Some(kept) = self.0.get(&vm.id) else {
            return operations.contents_of(vm).map(Arc::new);
        };
        let mut kept = lock(kept);
        if let Some(contents) = &*kept {
            return Ok(Arc::clone(contents));
        }
        let contents = Arc::new(operations.contents_of(vm)?);
        *kept = Some(Arc::clone(&contents));
        Ok(contents)
    }
}

impl Operations {
    /// Checks an operation, takes its VMs, checks again now that they are ours, and records the task.
    pub(super) fn accept(self: &Arc<Self>, make: impl Fn(&Self) -> Result<Plan>) -> Result<Job> {
        let first = make(self)?.settled();
        first.refuse()?;
        let mut busy = Vec::new();
        for (id, name) in &first.busy {
            let hold = Hold {
                doing: first.doing,
                removes: !first.removals.is_empty(),
            };
            busy.push(self.hold(*id, name, hold)?);
        }
        for (id, name) in &first.reads {
            busy.push(self.keep_to_read(*id, name)?);
        }
        let plan = make(self)?.settled();
        plan.refuse()?;
        if let Some((_, name)) = plan.busy.iter().find(|taken| !first.busy.contains(taken)) {
            return Err(Error::Conflict {
                key: name.to_string(),
            });
        }
        let (kind, id, name) = &plan.target;
        let mut task = Task::new(plan.operation, *id, name);
        task.target = *kind;
        task.organization.clone_from(&plan.organization);
        task.notes.clone_from(&plan.notes);
        self.record_plan(&task, &plan)?;
        lock(&self.cancels).insert(task.id, false);
        Ok(self.job(task, busy, move |this, task| this.carry_out(task, plan)))
    }

    fn record_plan(&self, task: &Task, plan: &Plan) -> Result<()> {
        let mut transaction = plan.expects.clone();
        let reserved = plan.reservations();
        for reservation in &reserved {
            if !matches!(plan.outcome, Outcome::RenewedTemplate(_)) {
                transaction.absent(reservation.of.clone());
            }
            transaction.insert(reservation)?;
        }
        let holders = plan.new_holders();
        for holder in &holders {
            transaction.insert(holder)?;
        }
        transaction.insert(&JournalEntry {
            task: task.id,
            intent: Intent::Make {
                vms: plan
                    .items
                    .iter()
                    .filter(|item| !matches!(item.work, Work::Stay(_)))
                    .map(|item| item.vm.clone())
                    .collect(),
                names: reserved
                    .iter()
                    .map(crate::model::Record::key)
                    .chain(holders.iter().map(crate::model::Record::key))
                    .collect(),
            },
        })?;
        transaction.insert(task)?;
        self.inventory.commit(transaction).map_err(|error| {
            let Error::Conflict { key } = &error else {
                return error;
            };
            let (_, _, name) = &plan.target;
            let what = match () {
                () if key.starts_with("reserved/vapp/") => "vApp",
                () if key.starts_with("reserved/template/") => "template",
                () if key.starts_with("vm-name/") => "VM",
                () => return error,
            };
            Error::Exists {
                what,
                name: name.clone(),
                place: "the place".to_owned(),
            }
        })
    }

    fn carry_out(&self, mut task: Task, plan: Plan) -> Result<Task> {
        let began = Instant::now();
        let made = self.make_all(&task, &plan)?;
        let seconds = began.elapsed().as_secs_f64();
        self.pass_no_return(task.id)?;
        self.report(&task, 95, "recording the outcome");
        let many = made.len() > NOTES;
        for (_, notes) in &made {
            if !many {
                task.notes.extend(notes.iter().cloned());
            }
        }
        if many {
            let number = u32::try_from(made.len()).unwrap_or(u32::MAX);
            let rate = f64::from(number) / seconds.max(1e-6);
            task.notes.push(format!(
                "{number} VMs were made in {seconds:.1} s, {rate:.1} a second"
            ));
        }
        let vms: Vec<Vm> = made.into_iter().map(|(vm, _)| vm).collect();
        let left = self.conclude(&task, plan, vms)?;
        if left.is_empty() {
            return Ok(task.succeeded());
        }
        self.report(&task, 97, "removing files");
        Ok(self.remove_left(task, &left))
    }

    /// Makes the files of every VM, on all cores; stops at the first failure and when the task is canceled.
    fn make_all(&self, task: &Task, plan: &Plan) -> Result<Vec<(Vm, Vec<String>)>> {
        let total = plan.items.len();
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let at_once = cores.saturating_mul(PER_CORE);
        let sources = Sources::of(plan);
        let (pace, stop) = (Pace::begin(total), AtomicBool::new(false));
        let numbered: Vec<(usize, &Item)> = plan.items.iter().enumerate().collect();
        let mut made = side_by_side(at_once, numbered, |(number, item)| {
            if stop.load(Ordering::Relaxed) {
                return (number, Err(Error::Canceled));
            }
            let outcome = self
                .check_canceled(task.id)
                .and_then(|()| self.make_one(item, plan.staged.as_deref(), &sources));
            if outcome.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let step = pace.step("making the VMs");
            self.report(task, pace.percent(90), step);
            (number, outcome)
        });
        made.sort_by_key(|(number, _)| *number);
        let mut results = Vec::with_capacity(total);
        let mut canceled = false;
        for (_, outcome) in made {
            match outcome {
                Ok(made) => results.push(made),
                // Those that stopped because of another say nothing.
                Err(Error::Canceled) => canceled = true,
                Err(error) => return Err(error),
            }
        }
        if canceled {
            return Err(Error::Canceled);
        }
        Ok(results)
    }

    fn make_one(
        &self,
        item: &Item,
        staged: Option<&Staging>,
        sources: &Sources,
    ) -> Result<(Vm, Vec<String>)> {
        let mut vm = item.vm.clone();
        let at = &item.datastore;
        let mut notes = Vec::new();
        match &item.work {
            Work::New { tpm: false, .. } => self.files.create_plain(&vm, at)?,
            Work::New { tpm: true, profile } => {
                let state = match profile {
                    Some(profile) => self.maker.new_tpm_of(profile),
                    None => self.maker.new_tpm(),
                };
                let state = self.install(&mut vm, TpmAction::New, state)?;
                self.files.create(&vm, at, &contents(state, None))?;
                notes.push(format!("{} has a new TPM", vm.name));
            }
            Work::Packed {
                tpm,
                files,
                settings,
            } => {
                if *tpm {
                    let state = self.install(&mut vm, TpmAction::New, self.maker.new_tpm())?;
                    self.files.create(&vm, at, &contents(state, None))?;
                    notes.push(format!("{} has a new TPM", vm.name));
                } else {
                    self.files.create_plain(&vm, at)?;
                    notes.push(format!("{} has no TPM", vm.name));
                }
                let staged = staged.ok_or_else(|| {
                    Error::Internal("the files of a package did not arrive".to_owned())
                })?;
                self.files.take_in(staged, files, settings, &vm, at)?;
            }
            Work::Like(source, None) => {
                self.create_without_tpm(&vm, at, &source.vm, item.new_key)?;
                self.files
                    .copy_disks(&source.vm, &source.datastore, &vm, at)?;
                notes.push(format!("{} has no TPM, like {}", vm.name, source.vm.name));
            }
            Work::Like(source, Some(action)) => {
                let found = match source.snapshot {
                    Some(snapshot) => Arc::new(self.contents_at(&source.vm, snapshot)?),
                    None => sources.contents(self, &source.vm)?,
                };
                let state = if *action == TpmAction::Copy {
                    notes.push(format!("copy: {} keeps the endorsement key, seeds, NV indices, persistent keys and sealed data of {}", vm.name, source.vm.name));
                    self.copy_of(&source.vm, &found, &mut vm)?
                } else {
                    notes.push(format!(
                        "replace: {} has a new TPM; what was sealed in {} does not open in it",
                        vm.name, source.vm.name
                    ));
                    let like = found.get(SectionKind::TPM_PERMANENT).map_or_else(
                        || self.maker.new_tpm(),
                        |state| self.maker.new_tpm_like(state),
                    );
                    let state = self.install(&mut vm, TpmAction::Replace, like)?;
                    if let Some(tpm) = &mut vm.tpm {
                        tpm.source = Some(super::clone::source_of(&source.vm));
                    }
                    state
                };
                let contents = contents(state, Some(&found));
                if item.new_key {
                    self.files.create(&vm, at, &contents)?;
                } else {
                    self.files
                        .create_like(&vm, at, &contents, &source.vm, &source.datastore)?;
                }
                self.files
                    .copy_disks(&source.vm, &source.datastore, &vm, at)?;
            }
            Work::Carry(source) => {
                self.files.carry(&source.vm, &source.datastore, &vm, at)?;
                notes.push(format!("{} was moved with its TPM", vm.name));
            }
            Work::Stay(_) => notes.push(format!(
                "{} was moved with its TPM, its files stay where they are",
                vm.name
            )),
        }
        if !item.snapshots.is_empty() {
            notes.push(format!(
                "{} lost its {} snapshots: moving drops them",
                vm.name,
                item.snapshots.len()
            ));
        }
        Ok((vm, notes))
    }

    /// Records the outcome in one transaction; returns the VMs whose files are to be removed now, and snapshots of others.
    fn conclude(&self, task: &Task, plan: Plan, vms: Vec<Vm>) -> Result<Leftovers> {
        let mut transaction = Transaction::default();
        let now = Timestamp::now();
        let template = plan.is_template();
        for reservation in plan.reservations() {
            transaction.remove_key(reservation.key());
        }
        let mut left = Leftovers {
            vms: plan.removals,
            snapshots: Vec::new(),
        };
        for vm in &left.vms {
            transaction.remove_key(Vm::key_of(vm.id));
            transaction.remove_key(GenerationFloor::key_of(vm.id));
            transaction.remove_key(SnapshotTree::key_of(vm.id));
            transaction.remove_key(VmHardware::key_of(vm.id));
            transaction.remove_key(Remarks::key_of(&vm.id.to_string()));
            // A VM of a template has no name on the vCenter; the VM that has it may be another.
            if self.inventory.holder(&vm.name_key())? == Some(vm.id) {
                transaction.remove_key(vm.name_key());
            }
            Lineage::end(&self.inventory, &mut transaction, vm.id, now)?;
        }
        for (vm, item) in vms.iter().zip(&plan.items) {
            if let Work::Carry(source) | Work::Stay(source) = &item.work {
                transaction.remove_key(source.vm.name_key());
                transaction.remove_key(SnapshotTree::key_of(vm.id));
                if matches!(item.work, Work::Carry(_)) {
                    left.vms.push(source.vm.clone());
                } else if !item.snapshots.is_empty() {
                    left.snapshots.push((vm.clone(), item.snapshots.clone()));
                }
            } else {
                Lineage::begin(
                    &mut transaction,
                    vm,
                    plan.organization.as_ref(),
                    plan.operation,
                    now,
                )?;
            }
            if let Work::Like(source, _) = &item.work {
                // A copy is said to have what its source has.
                let key = VmHardware::key_of(source.vm.id);
                if let Some(stored) = self.inventory.find::<VmHardware>(&key)? {
                    transaction.put(&VmHardware {
                        vm: vm.id,
                        template: false,
                        folder: None,
                        ..stored.record
                    })?;
                }
            }
            if template {
                continue;
            }
            transaction.put(vm)?;
            let stays = match &item.work {
                Work::Carry(source) | Work::Stay(source) => source.vm.name_key() == vm.name_key(),
                Work::New { .. } | Work::Packed { .. } | Work::Like(..) => false,
            };
            match &vm.vapp {
                Some(vapp) => {
                    let member = VappMember {
                        vapp: vapp.id,
                        name: vm.name.clone(),
                        vm: vm.id,
                    };
                    if !stays {
                        transaction.absent(member.key());
                    }
                    transaction.put(&member)?;
                }
                None => transaction.put(&NameHolder {
                    vcenter: vm.vcenter.clone(),
                    name: vm.name.clone(),
                    vm: vm.id,
                })?,
            }
        }
        match plan.outcome {
            Outcome::Vms => {}
            Outcome::NewVapp(vapp) => transaction.insert(&vapp)?,
            Outcome::ChangedVapp(vapp) => transaction.put(&vapp)?,
            Outcome::NewTemplate(mut template) => {
                template.vms = vms;
                transaction.insert(&*template)?;
            }
            Outcome::RenewedTemplate(mut template) => {
                template.vms = vms;
                transaction.put(&*template)?;
            }
            Outcome::Gone(key) => {
                transaction.remove_key(Remarks::key_of(&task.vm.to_string()));
                transaction.remove_key(key);
            }
        }
        if let Some(entry) = self.journal_entry(task.id)? {
            if left.is_empty() {
                transaction.remove(&entry);
            } else {
                let intent = Intent::Remove { left: left.clone() };
                transaction.update(
                    &entry,
                    &JournalEntry {
                        task: task.id,
                        intent,
                    },
                )?;
            }
        }
        if left.is_empty() {
            transaction.put(&task.clone().succeeded())?;
        } else {
            transaction.put(task)?;
        }
        self.inventory.commit(transaction)?;
        Ok(left)
    }

    /// Removes the files of VMs that went. What cannot be removed now is removed at the next start.
    pub(super) fn remove_left(&self, mut task: Task, left: &Leftovers) -> Task {
        let mut failed = None;
        let folders = left.vms.iter().map(|vm| (vm, None));
        let snapshots = left.snapshots.iter().map(|(vm, lost)| (vm, Some(lost)));
        for (vm, lost) in folders.chain(snapshots) {
            let removed = self.datastore_of(vm).and_then(|datastore| match lost {
                None => self.files.remove_whole(vm, &datastore),
                Some(lost) => lost
                    .iter()
                    .try_for_each(|id| self.files.remove_snapshot(vm, &datastore, SnapshotId(*id))),
            });
            if let Err(error) = removed {
                tracing::error!(vm = %vm.name, "its files could not be removed: {error}");
                failed = Some(format!(
                    "the files of {} could not be removed, that is tried again at the next start: {error}",
                    vm.name
                ));
            }
        }
        let keep = failed.is_some();
        task.notes.extend(failed);
        let task = task.succeeded();
        let recorded = (|| {
            let mut transaction = Transaction::default();
            if let Some(entry) = self.journal_entry(task.id)?
                && !keep
            {
                transaction.remove(&entry);
            }
            transaction.put(&task)?;
            self.inventory.commit(transaction)
        })();
        if let Err(error) = recorded {
            tracing::error!(task = %task.id, "the end of a task was not recorded: {error}");
        }
        task
    }

    /// Undoes an operation whose outcome was not recorded.
    pub(super) fn undo_making(
        &self,
        entry: &Stored<JournalEntry>,
        vms: &[Vm],
        names: &[String],
        task: Option<Task>,
    ) -> Result<()> {
        for vm in vms {
            self.files.remove_whole(vm, &self.datastore_of(vm)?)?;
        }
        let mut transaction = Transaction::default();
        transaction.remove(entry);
        for name in names {
            transaction.remove_key(name.clone());
        }
        if let Some(task) = task {
            transaction.put(&task)?;
        }
        self.inventory.commit(transaction)
    }

    /// Asks a task to stop. It does so before its next VM, and undoes what it made.
    ///
    /// # Errors
    /// When there is no such task, or it is too late.
    pub fn cancel_task(&self, id: TaskId) -> Result<Task> {
        let task = self.task(id)?;
        if let Some(flag) = lock(&self.cancels).get_mut(&id) {
            *flag = true;
            return Ok(task);
        }
        Err(Error::TooLate {
            task: id.to_string(),
        })
    }

    fn check_canceled(&self, id: TaskId) -> Result<()> {
        if lock(&self.cancels).get(&id) == Some(&true) {
            return Err(Error::Canceled);
        }
        Ok(())
    }

    /// From here on the task cannot be canceled.
    fn pass_no_return(&self, id: TaskId) -> Result<()> {
        if lock(&self.cancels).remove(&id) == Some(true) {
            return Err(Error::Canceled);
        }
        Ok(())
    }
}
