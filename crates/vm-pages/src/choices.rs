//! What forms offer to choose from, as far as somebody may know it.

use crate::form::Kind;
use vm_inventory::{Error, Scoped};

/// A list to choose from, with something in the place of no choice.
pub(crate) fn choices(none: Option<&str>, values: &[String]) -> Kind {
    let none = none.map(|words| (String::new(), words.to_owned()));
    let values = values.iter().map(|it| (it.clone(), it.clone()));
    Kind::Choice(none.into_iter().chain(values).collect())
}

/// Virtual data centers, as `ORGANIZATION/NAME`.
pub(crate) fn vdcs(scoped: &Scoped) -> Result<Vec<String>, Error> {
    let all = scoped.vdcs()?;
    let names = all
        .iter()
        .map(|it| format!("{}/{}", it.vdc.organization, it.vdc.name));
    Ok(names.collect())
}

/// Catalogs that templates can be put into, as `ORGANIZATION/NAME`.
pub(crate) fn catalogs(scoped: &Scoped) -> Result<Vec<String>, Error> {
    let all = scoped.catalogs()?;
    let own = all.iter().filter(|it| it.subscription.is_none());
    let names = own.map(|it| format!("{}/{}", it.organization, it.name));
    Ok(names.collect())
}
