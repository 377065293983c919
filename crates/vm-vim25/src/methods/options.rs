//! Settings of a vCenter, to be read.

use super::Request;
use crate::arguments::Read as _;
use crate::fault::{Fault, Outcome};
use crate::server::Call;
use crate::value::{Object, Value};

pub(crate) fn settings(call: &Call) -> Vec<Object> {
    let setting = |key: &str, value: &str| {
        Object::new("OptionValue")
            .with("key", key)
            .with("value", value)
    };
    let mut settings = vec![setting(
        "VirtualCenter.InstanceName",
        call.vcenter.name.as_str(),
    )];
    if call.vcenter.version.is_8_or_later() {
        // What a clone without a word about its TPM gets, by the provisioning table.
        settings.push(setting("vpxd.clone.tpmProvisionPolicy", "copy"));
    }
    settings
}

pub(super) fn query(request: &Request<'_>) -> Outcome<Option<Value>> {
    let name = request.args.text_of("name").unwrap_or_default().trim();
    let mut found = settings(request.call);
    found.retain(|setting| match setting.get("key") {
        Some(Value::Text(key)) => {
            key == name || name.is_empty() || (name.ends_with('.') && key.starts_with(name))
        }
        _ => false,
    });
    if found.is_empty() {
        let message = "there is no setting of that name";
        return Err(Fault::new("InvalidName", message).with("name", name));
    }
    Ok(Some(Value::objects("OptionValue", found)))
}
