//! Logging in and out, and who somebody is.

use crate::fault::Fault;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vm_inventory::Principal;
use vm_web::{Problem, Sessions, Token};
use zeroize::Zeroizing;

/// The header that sends a token in the old way.
pub(crate) const OLD_TOKEN: &str = "x-vcloud-authorization";
/// The header that answers with a bearer token.
pub(crate) const ACCESS_TOKEN: &str = "x-vmware-vcloud-access-token";
/// The header that says what kind of token it is.
pub(crate) const TOKEN_TYPE: &str = "x-vmware-vcloud-token-type";

/// The token that a request brings.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    bearer.or_else(|| {
        [OLD_TOKEN, ACCESS_TOKEN]
            .into_iter()
            .find_map(|name| headers.get(name)?.to_str().ok())
    })
}

/// Who sends a request.
pub(crate) fn principal(sessions: &Sessions, headers: &HeaderMap) -> Result<Principal, Fault> {
    token(headers)
        .and_then(|token| sessions.principal(token))
        .ok_or_else(Fault::unauthorized)
}

/// Logs somebody in by a Basic header.
pub(crate) async fn log_in(
    sessions: &Sessions,
    headers: &HeaderMap,
    system: bool,
) -> Result<(Token, Principal), Fault> {
    let (user, password) = basic(headers).ok_or_else(|| {
        Fault::unauthorized_because(
            "send USER@ORGANIZATION and the password in a Basic Authorization header",
        )
    })?;
    let (token, principal) = sessions
        .log_in(&user, &password)
        .await
        .map_err(|problem| refused(&problem))?;
    if system && !principal.is_system() {
        sessions.log_out(&token);
        return Err(Fault::unauthorized_because(
            "there is no such user of the system, or the password is another",
        ));
    }
    Ok((token, principal))
}

fn refused(problem: &Problem) -> Fault {
    match problem.status {
        401 => Fault::unauthorized_because(&problem.detail),
        429 => Fault::too_many(&problem.detail),
        _ => Fault::internal(problem.detail.clone()),
    }
}

fn basic(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = Zeroizing::new(STANDARD.decode(rest.trim()).ok()?);
    let both = std::str::from_utf8(&bytes).ok()?;
    let (user, password) = both.split_once(':')?;
    Some((user.to_owned(), Zeroizing::new(password.to_owned())))
}
