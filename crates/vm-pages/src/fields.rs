//! What a form was filled in with.

use crate::refusal::Refusal;
use crate::visitor::{Outside, Visitor};
use crate::{Pages, problem};
use axum::extract::{Form, FromRequest, FromRequestParts as _, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use vm_inventory::{Error, Name};
use vm_web::Problem;
use zeroize::Zeroizing;

/// The name of the field with the visitor's token.
pub(crate) const FORM_TOKEN: &str = "form_token";

/// The fields of a form. A password may be among them, so it has no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Fields(Vec<(String, Zeroizing<String>)>);

impl Fields {
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs.iter();
        Self(
            pairs
                .map(|(name, value)| ((*name).to_owned(), Zeroizing::new((*value).to_owned())))
                .collect(),
        )
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0
            .push((name.to_owned(), Zeroizing::new(value.to_owned())));
    }

    /// What stands in a field; nothing if it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.trim());
        value.filter(|value| !value.is_empty())
    }

    /// The same, to the last blank: a password.
    pub(crate) fn secret(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// Whether a box is ticked.
    pub(crate) fn is_ticked(&self, name: &str) -> bool {
        self.text(name) == Some("yes")
    }

    /// Each field as it was sent, without the token.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter().filter(|(name, _)| name != FORM_TOKEN);
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn name(&self, field: &str) -> Result<Option<Name>, Problem> {
        let name = self.text(field).map(str::parse::<Name>).transpose();
        Ok(name.map_err(Error::from)?)
    }

    pub(crate) fn needed(&self, field: &str, label: &str) -> Result<Name, Problem> {
        self.name(field)?
            .ok_or_else(|| wrong(format!("fill in the field «{label}»")))
    }

    /// The organization of a virtual data center that was chosen from a list, which says `ORGANIZATION/NAME`.
    pub(crate) fn organization_of(&self, field: &str) -> Result<Option<Name>, Problem> {
        let chosen = self.text(field).and_then(|vdc| vdc.split_once('/'));
        let organization = chosen.map(|(organization, _)| organization.parse());
        Ok(organization.transpose().map_err(Error::from)?)
    }

    /// One of a fixed set of words, or a number.
    pub(crate) fn choice<T: DeserializeOwned>(&self, field: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(field) else {
            return Ok(None);
        };
        let value = match text.parse::<u64>() {
            Ok(number) => serde_json::Value::from(number),
            Err(_) => serde_json::Value::from(text),
        };
        let choice = serde_json::from_value(value);
        choice
            .map(Some)
            .map_err(|error| wrong(format!("the field `{field}`: {error}")))
    }
}

/// A form that is not filled in as it must be.
pub(crate) fn wrong(detail: impl Into<String>) -> Problem {
    problem(StatusCode::BAD_REQUEST, "The form is not complete", detail)
}

/// A form of this visitor: one that carries their token.
pub(crate) struct Posted {
    pub(crate) visitor: Visitor,
    pub(crate) fields: Fields,
}

/// Why a form is not taken.
pub(crate) enum NotTaken {
    Outside(Outside),
    Refused(Refusal),
}

impl IntoResponse for NotTaken {
    fn into_response(self) -> Response {
        match self {
            Self::Outside(outside) => outside.into_response(),
            Self::Refused(refusal) => refusal.into_response(),
        }
    }
}

impl FromRequest<Pages> for Posted {
    type Rejection = NotTaken;

    async fn from_request(request: Request, pages: &Pages) -> Result<Self, NotTaken> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, pages)
            .await
            .map_err(NotTaken::Outside)?;
        let request = Request::from_parts(parts, body);
        let Form(pairs) = Form::<Vec<(String, Zeroizing<String>)>>::from_request(request, &())
            .await
            .map_err(|rejection| {
                let status = rejection.status();
                let status = if status == StatusCode::PAYLOAD_TOO_LARGE {
                    status
                } else {
                    StatusCode::BAD_REQUEST
                };
                NotTaken::Refused(
                    problem(status, "The form cannot be read", rejection.body_text()).into(),
                )
            })?;
        let fields = Fields(pairs);
        if !fields
            .text(FORM_TOKEN)
            .is_some_and(|token| visitor.sent(token))
        {
            return Err(NotTaken::Refused(Refusal::new(
                StatusCode::FORBIDDEN,
                "The form is not one of this session",
                "nothing was changed; it lacks the token that this session's pages put into every form: open the page again",
            )));
        }
        Ok(Self { visitor, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_inventory::provisioning::TpmProvisioning;

    #[test]
    fn fields_are_read_as_what_they_have_to_be() {
        let fields = Fields::of(&[
            ("name", " web 01 "),
            ("tpm", "replace"),
            ("count", "3"),
            ("ok", "yes"),
            ("empty", "  "),
        ]);
        assert_eq!(fields.needed("name", "Name").unwrap().as_str(), "web 01");
        assert_eq!(
            fields.choice::<TpmProvisioning>("tpm").unwrap(),
            Some(TpmProvisioning::Replace)
        );
        assert_eq!(fields.choice::<u32>("count").unwrap(), Some(3));
        assert!(fields.is_ticked("ok") && !fields.is_ticked("name"));
        assert_eq!(fields.text("empty"), None);
        assert!(fields.choice::<TpmProvisioning>("name").is_err());
        let missing = fields.needed("other", "New name").unwrap_err();
        assert!(missing.detail.contains("New name"));
        assert_eq!(
            Fields::of(&[("name", "../x")])
                .name("name")
                .unwrap_err()
                .status,
            400
        );
    }
}
