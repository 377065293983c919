//! Lists in parts.

use crate::Problem;
use crate::api::Page;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use std::str::FromStr;
use vm_inventory::model::{Catalog, Datastore, Organization, Template, VCenter};
use vm_inventory::{LineageNode, Offer, ProviderView, Task, UserView, VappView, VdcView, VmView};

/// The most that one part may have.
const LARGEST: usize = 1000;

/// Which part of a list; all of it if nothing is said.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub(crate) struct Paging {
    limit: Option<usize>,
    after: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(paging) = Query::<Self>::from_request_parts(parts, state)
            .await
            .map_err(|error: QueryRejection| Problem::bad_request(error.body_text()))?;
        match paging.limit {
            Some(limit) if !(1..=LARGEST).contains(&limit) => Err(Problem::bad_request(format!(
                "limit is a number from 1 to {LARGEST}"
            ))),
            _ => Ok(paging),
        }
    }
}

/// What lists are of.
pub(crate) trait Listed {
    /// Tells it from all others of the list.
    fn mark(&self) -> String;
}

macro_rules! listed {
    ($($of:ty: $it:ident => $mark:expr;)*) => {
        $(impl Listed for $of {
            fn mark(&self) -> String {
                let $it = self;
                $mark
            }
        })*
    };
}

// One line for each kind of thing instead of six.
listed! {
    VCenter: it => it.name.to_string();
    Datastore: it => it.name.to_string();
    ProviderView: it => format!("{}/{}", it.vcenter, it.name);
    VmView: it => it.id.to_string();
    Task: it => it.id.to_string();
    Organization: it => it.name.to_string();
    UserView: it => format!("{}/{}", it.organization, it.name);
    VdcView: it => format!("{}/{}", it.vdc.organization, it.vdc.name);
    Catalog: it => format!("{}/{}", it.organization, it.name);
    Offer: it => format!("{}/{}", it.catalog.organization, it.catalog.name);
    Template: it => it.id.to_string();
    VappView: it => it.vapp.id.to_string();
    LineageNode: it => it.tpm.vm.to_string();
}

impl Paging {
    /// What the part comes after.
    pub(crate) fn after_id<I: FromStr>(&self) -> Result<Option<I>, Problem> {
        let after = self.after.as_deref();
        after
            .map(|after| after.parse().map_err(|_no_id| gone()))
            .transpose()
    }

    /// How many to read: one more than asked for tells whether there is more.
    pub(crate) fn most(&self) -> usize {
        self.limit
            .map_or(usize::MAX, |limit| limit.saturating_add(1))
    }
}

/// That a part comes after nothing.
pub(crate) fn gone() -> Problem {
    Problem::bad_request("what `after` names is not in the list any more; begin again without it")
}

/// The part that was asked for.
pub(crate) fn cut<T: Listed>(mut items: Vec<T>, paging: &Paging) -> Result<Page<T>, Problem> {
    if let Some(after) = &paging.after {
        let place = items.iter().position(|it| it.mark() == *after);
        items.drain(..=place.ok_or_else(gone)?);
    }
    first(items, paging)
}

/// The beginning of what is left of a list.
pub(crate) fn first<T: Listed>(mut items: Vec<T>, paging: &Paging) -> Result<Page<T>, Problem> {
    let mut next = None;
    if let Some(limit) = paging.limit
        && items.len() > limit
    {
        items.truncate(limit);
        next = items.last().map(Listed::mark);
    }
    Ok(Page { items, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_list_are_the_whole_of_it() {
        let all: Vec<Organization> = (0..5)
            .map(|number| serde_json::json!({"name": format!("o{number}"), "created": 0}))
            .map(|record| serde_json::from_value(record).unwrap())
            .collect();
        let mut paging = Paging {
            limit: Some(2),
            after: None,
        };
        let mut found = Vec::new();
        loop {
            let page = cut(all.clone(), &paging).unwrap();
            assert!(page.items.len() <= 2);
            found.extend(page.items);
            match page.next {
                Some(next) => paging.after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, all);
        paging.after = Some("gone".to_owned());
        assert_eq!(cut(all, &paging).unwrap_err().status, 400);
    }
}
