//! The property collector: what to read of which objects, at once or as it changes.

mod select;
mod wait;

pub(crate) use select::{FilterSpec, Found};
pub(crate) use wait::{Filter, Waiting, wait};

use crate::fault::{Fault, Outcome};
use crate::server::Call;
use crate::value::{Object, Value};
use std::collections::BTreeMap;

/// Results that a client fetches page by page.
const MOST_PAGES: usize = 20;

/// The rest of results that were too many for one answer, by the token they are asked for with.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    left: BTreeMap<u64, (usize, Vec<Found>)>,
    made: u64,
}

impl Pages {
    /// The first `most` of them; the rest is kept.
    pub(crate) fn begin(&mut self, mut found: Vec<Found>, most: usize) -> Object {
        let rest = if found.len() > most {
            found.split_off(most)
        } else {
            Vec::new()
        };
        let token = (!rest.is_empty()).then(|| {
            self.made += 1;
            self.left.insert(self.made, (most, rest));
            while self.left.len() > MOST_PAGES {
                self.left.pop_first();
            }
            self.made.to_string()
        });
        Object::new("RetrieveResult")
            .with_some("token", token)
            .with("objects", contents(found))
    }

    /// The next ones.
    pub(crate) fn go_on(&mut self, token: &str) -> Outcome<Object> {
        let (most, found) = self.take(token)?;
        Ok(self.begin(found, most))
    }

    /// Nobody wants the rest.
    pub(crate) fn take(&mut self, token: &str) -> Outcome<(usize, Vec<Found>)> {
        token
            .parse()
            .ok()
            .and_then(|token: u64| self.left.remove(&token))
            .ok_or_else(|| {
                Fault::invalid_argument("token", "there are no results under that token")
            })
    }
}

/// What was found, as the API answers it.
pub(crate) fn contents(found: Vec<Found>) -> Value {
    Value::objects("ObjectContent", found.into_iter().map(Found::content))
}

/// Evaluates filters one after another.
pub(crate) fn retrieve(call: &Call, specs: &[FilterSpec]) -> Outcome<Vec<Found>> {
    let mut all = Vec::new();
    for spec in specs {
        all.extend(spec.evaluate(call)?);
    }
    Ok(all)
}
