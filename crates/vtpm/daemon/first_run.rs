//! What a newcomer needs: made by the first start in an empty folder.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use rand::TryRng as _;
use vm_inventory::{
    CreateProvider, CreateVCenter, CreateVm, Error, Job, Name, Operations, TaskStatus,
};
use zeroize::Zeroizing;

const VCENTER: &str = "vc01";
const VERSION: &str = "8.0.3";
const PROVIDER: &str = "vc01-nkp";
const DATASTORE: &str = "datastore1";
const VM: &str = "demo";
/// The environment variable with the first password of `administrator@vsphere.local`.
const ADMIN_PASSWORD: &str = "VTPM_ADMIN_PASSWORD";

/// What the first run made and a person has to know.
pub(crate) struct FirstRun {
    /// The backup of the key provider.
    pub(crate) backup: PathBuf,
    /// Its password, which nobody keeps.
    pub(crate) password: Zeroizing<String>,
}

/// The first administrator of the system, just made.
pub(crate) struct Administrator {
    /// The password, if it was made and not given: shown once.
    pub(crate) password: Option<Zeroizing<String>>,
}

/// Makes the first administrator of the system unless there is one, with the password in `VTPM_ADMIN_PASSWORD` or one of our own.
pub(crate) fn administrator(operations: &Arc<Operations>) -> anyhow::Result<Option<Administrator>> {
    let given = std::env::var(ADMIN_PASSWORD).ok().map(Zeroizing::new);
    let is_given = given.is_some();
    let made = operations.first_administrator(|| given.map_or_else(new_password, Ok))?;
    Ok(made.map(|password| Administrator {
        password: (!is_given).then_some(password),
    }))
}

/// Makes what is missing. It can be cut short and run again: only when all is there it is recorded as done.
pub(crate) fn first_run(operations: &Arc<Operations>) -> anyhow::Result<Option<FirstRun>> {
    if operations.inventory().is_set_up()? {
        return Ok(None);
    }
    let vcenter: Name = VCENTER.parse()?;
    let provider: Name = PROVIDER.parse()?;
    let vm: Name = VM.parse()?;
    present(operations.create_vcenter(CreateVCenter {
        name: vcenter.clone(),
        version: VERSION.parse().map_err(anyhow::Error::msg)?,
    }))?;
    present(operations.create_datastore(DATASTORE.parse()?, vec![vcenter.clone()]))?;
    present(operations.create_provider(CreateProvider::native(
        provider.clone(),
        Some(vcenter.clone()),
        true,
    )))?;
    let password = new_password()?;
    let backup = operations.back_up_provider(Some(&vcenter), &provider, &password)?;
    if let Some(job) = present(operations.create_vm(CreateVm {
        tpm: true,
        ..CreateVm::named(vm)
    }))? {
        finish(job)?;
    }
    if let Some(job) = running(operations.power_on(VM, false))? {
        finish(job)?;
    }
    operations.inventory().set_up()?;
    Ok(Some(FirstRun {
        backup: backup.path,
        password,
    }))
}

fn finish(job: Job) -> anyhow::Result<()> {
    let task = job.run();
    if task.status == TaskStatus::Success {
        return Ok(());
    }
    let detail = task.error.map_or_else(String::new, |error| error.detail);
    anyhow::bail!("the VM {} of the first run: {detail}", task.vm_name)
}

/// What exists already, from a first run that was cut short, is as good as made.
fn present<T>(outcome: Result<T, Error>) -> Result<Option<T>, Error> {
    match outcome {
        Err(Error::Exists { .. }) => Ok(None),
        other => other.map(Some),
    }
}

fn running<T>(outcome: Result<T, Error>) -> Result<Option<T>, Error> {
    match outcome {
        Err(Error::Power { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// 120 random bits in groups that can be copied by hand.
fn new_password() -> anyhow::Result<Zeroizing<String>> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = Zeroizing::new([0u8; 24]);
    rand::rngs::SysRng
        .try_fill_bytes(random.as_mut())
        .context("the operating system gave no random bytes")?;
    let mut password = Zeroizing::new(String::with_capacity(29));
    for (count, byte) in random.iter().enumerate() {
        if count > 0 && count % 4 == 0 {
            password.push('-');
        }
        let letter = ALPHABET
            .get(usize::from(byte % 32))
            .copied()
            .unwrap_or(b'a');
        password.push(char::from(letter));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, two) = (new_password().unwrap(), new_password().unwrap());
        assert_eq!(one.len(), 29);
        assert_ne!(one, two);
        assert!(one.split('-').all(|group| group.len() == 4));
    }
}
