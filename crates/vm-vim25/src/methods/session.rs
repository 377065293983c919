//! Sessions and what can be asked without one.

use super::Request;
use crate::fault::Outcome;
use crate::properties;
use crate::value::Value;
use vm_inventory::model::Timestamp;

pub(super) fn retrieve_content(request: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(Some(properties::content(request.call).into()))
}

pub(super) fn current_time(_: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(Some(Timestamp::now().into()))
}

pub(super) fn log_out(request: &Request<'_>) -> Outcome<Option<Value>> {
    request.call.login()?;
    if let Some(token) = &request.call.token {
        request.call.server.logins.log_out(token);
    }
    Ok(None)
}

pub(super) fn is_active(request: &Request<'_>) -> Outcome<Option<Value>> {
    let login = request.call.login()?;
    let active = login.is(request.text("sessionID")?) && login.user == request.text("userName")?;
    Ok(Some(active.into()))
}

/// Messages are English; a locale is taken note of by nobody.
pub(super) fn set_locale(_: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(None)
}

/// Nothing is kept that would have to be read again.
pub(super) fn nothing(_: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(None)
}
