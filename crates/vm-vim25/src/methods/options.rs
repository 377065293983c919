//! Settings of a vCenter. The one that can be changed is what becomes of TPMs in clones that do not say.

use super::Request;
use crate::arguments::Read as _;
use crate::fault::{Fault, Outcome};
use crate::inventory;
use crate::server::Call;
use crate::value::{Object, Value};
use vm_inventory::provisioning::TpmProvisioning;

const CLONE_POLICY: &str = "vpxd.clone.tpmProvisionPolicy";

pub(crate) fn settings(call: &Call) -> Outcome<Vec<Object>> {
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
        let replaces = clone_policy(call)? == Some(TpmProvisioning::Replace);
        settings.push(setting(
            CLONE_POLICY,
            if replaces { "replace" } else { "copy" },
        ));
    }
    Ok(settings)
}

/// What a clone gets that does not say.
pub(super) fn clone_policy(call: &Call) -> Outcome<Option<TpmProvisioning>> {
    let options = call.act()?.vcenter_options(&call.vcenter.name);
    let options = options.map_err(Call::about(&inventory::option_manager()))?;
    Ok(options.clone_policy)
}

pub(super) fn update(request: &Request<'_>) -> Outcome<Option<Value>> {
    let call = request.call;
    let mut wanted = None;
    for change in request.args.all("changedValue") {
        let key = change.text_of("key").unwrap_or_default().trim();
        let value = change.text_of("value").unwrap_or_default().trim();
        let known = key == CLONE_POLICY && call.vcenter.version.is_8_or_later();
        if !known {
            let shown: String = key.chars().take(200).collect();
            let message = "there is no setting of that name that can be changed";
            return Err(Fault::new("InvalidName", message).with("name", shown));
        }
        wanted = match value {
            "copy" => Some(TpmProvisioning::Copy),
            "replace" => Some(TpmProvisioning::Replace),
            _ => {
                return Err(Fault::invalid_argument(
                    "changedValue",
                    "the policy for the TPMs of clones is copy or replace",
                ));
            }
        };
    }
    if let Some(policy) = wanted {
        call.act()?
            .set_clone_policy(&call.vcenter.name, policy)
            .map_err(Call::about(&request.this))?;
    }
    Ok(None)
}

pub(super) fn query(request: &Request<'_>) -> Outcome<Option<Value>> {
    let name = request.args.text_of("name").unwrap_or_default().trim();
    let mut found = settings(request.call)?;
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
