//! The files of a VM, as its properties tell them.

use crate::fault::Outcome;
use crate::inventory;
use crate::server::Call;
use crate::value::{Object, Value};
use vm_inventory::{Error, StoredFile, VmView};

/// The files in a VM's folder; none if that is gone.
fn files(call: &Call, vm: &VmView) -> Outcome<Vec<StoredFile>> {
    match call.act()?.stored_files(&vm.datastore, Some(&vm.folder)) {
        Ok(files) => Ok(files),
        Err(Error::NotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(Call::about(&inventory::vm(vm.id))(error)),
    }
}

fn bytes(file: &StoredFile) -> i64 {
    i64::try_from(file.bytes.unwrap_or_default()).unwrap_or(i64::MAX)
}

fn committed(call: &Call, vm: &VmView) -> Outcome<i64> {
    let files = files(call, vm)?;
    Ok(files.iter().map(bytes).fold(0, i64::saturating_add))
}

/// What a VM takes on its datastore: `capacity` is what its disks could take.
pub(super) fn storage_summary(call: &Call, vm: &VmView, capacity: i64) -> Outcome<Object> {
    let committed = committed(call, vm)?;
    Ok(Object::new("VirtualMachineStorageSummary")
        .with("committed", committed)
        .with("uncommitted", capacity)
        .with("unshared", committed)
        // What is told does not change as long as nothing has changed.
        .with("timestamp", vm.created))
}

/// The same for each datastore, of which there is one.
pub(super) fn storage(call: &Call, vm: &VmView, capacity: i64) -> Outcome<Object> {
    let committed = committed(call, vm)?;
    let usage = Object::new("VirtualMachineUsageOnDatastore")
        .with("datastore", inventory::datastore(&vm.datastore))
        .with("committed", committed)
        .with("uncommitted", capacity)
        .with("unshared", committed);
    Ok(Object::new("VirtualMachineStorageInfo")
        .with(
            "perDatastoreUsage",
            Value::objects("VirtualMachineUsageOnDatastore", [usage]),
        )
        .with("timestamp", vm.created))
}

/// The files that are the VM's configuration.
pub(super) fn layout(call: &Call, vm: &VmView) -> Outcome<Object> {
    let mut own = files(call, vm)?;
    own.retain(|file| !file.name.ends_with(".vmdk"));
    let names = own.into_iter().map(|file| file.name.into()).collect();
    Ok(Object::new("VirtualMachineFileLayout").with("configFile", Value::List("string", names)))
}

/// All files, with what they are.
pub(super) fn layout_ex(call: &Call, vm: &VmView) -> Outcome<Object> {
    let files = files(call, vm)?;
    let told = (0i32..).zip(&files).map(|(number, file)| {
        let kind = match file.name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("vmx") => "config",
            Some("nvram") => "nvram",
            Some("vmsn") => "snapshotData",
            Some("vmsd") => "snapshotList",
            Some("vmdk") => "diskExtent",
            Some("log") => "log",
            _ => "extendedConfig",
        };
        Object::new("VirtualMachineFileLayoutExFileInfo")
            .with("key", number)
            .with(
                "name",
                format!("[{}] {}/{}", vm.datastore, vm.folder, file.name),
            )
            .with("type", kind)
            .with("size", bytes(file))
            .with("uniqueSize", bytes(file))
            .with("accessible", true)
    });
    Ok(Object::new("VirtualMachineFileLayoutEx")
        .with(
            "file",
            Value::objects("VirtualMachineFileLayoutExFileInfo", told),
        )
        .with("timestamp", vm.created))
}
