//! The query service: typed queries over everything that somebody sees, with filters, order and pages.

mod filter;
mod records;

use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::node::{Node, Value};
use crate::schema::record::{
    Finds, ID_RECORDS_MEDIA, QUERIES, Query, RECORDS, RECORDS_MEDIA, REFERENCES, REFERENCES_MEDIA,
};
use crate::schema::{Namespace, Root, entity};
use crate::show::link;
use filter::Filter;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::cmp::Ordering;

/// Records on a page, if nobody says how many.
const PAGE: usize = 25;
/// The most records on a page.
const MOST: usize = 128;

/// How found things are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Records,
    IdRecords,
    References,
}

impl Shown {
    const ALL: &'static [(&'static str, Self, &'static str)] = &[
        ("records", Self::Records, RECORDS_MEDIA),
        ("idrecords", Self::IdRecords, ID_RECORDS_MEDIA),
        ("references", Self::References, REFERENCES_MEDIA),
    ];
}

/// `GET /api/query`: the queries there are, or the answer of one.
pub(crate) fn run(call: &Call) -> Answer {
    match call.parameter("type") {
        None => list(call),
        Some(name) => find(call, name),
    }
}

fn visible(call: &Call) -> impl Iterator<Item = &'static Query> {
    let system = call.is_system();
    QUERIES.iter().filter(move |query| system || !query.system)
}

fn list(call: &Call) -> Answer {
    let base = &call.base;
    let mut node = Node::of(&entity::QUERY_LIST)
        .with("href", format!("{base}/api/query"))
        .with("type", entity::media(&entity::QUERY_LIST_ROOT));
    for query in visible(call) {
        for (word, _, media) in Shown::ALL {
            let href = format!("{base}/api/query?type={}&format={word}", query.name);
            let link = link("down", href, Some(&format!("{media}+xml"))).with("name", query.name);
            node.push("Link", link);
        }
    }
    Ok(Reply::ok(&entity::QUERY_LIST_ROOT, node))
}

fn find(call: &Call, name: &str) -> Answer {
    let query = visible(call)
        .find(|query| query.name == name)
        .ok_or_else(|| {
            Fault::bad_request(format!(
                "Bad request: there is no query of the type {}; GET /api/query lists them",
                crate::xml::shown(name)
            ))
        })?;
    let shown = match call.parameter("format") {
        None => Shown::Records,
        Some(word) => Shown::ALL
            .iter()
            .find(|row| row.0 == word)
            .map(|row| row.1)
            .ok_or_else(|| {
                Fault::bad_request(
                    "Bad request: the format of a query is records, idrecords or references",
                )
            })?,
    };
    let page = number(call, "page", 1, usize::MAX)?;
    let size = number(call, "pageSize", PAGE, MOST)?;
    let ty = query.finds.ty();
    let filter = match call.parameter("filter") {
        None | Some("") => None,
        Some(text) => {
            let encoded = call.parameter("filterEncoded") == Some("true");
            Some(Filter::read(text, ty, encoded)?)
        }
    };
    let order = order(call, query.finds)?;
    let mut found = records::all(call, query.finds)?;
    if let Some(filter) = &filter {
        found.retain(|record| filter.fits(record));
    }
    if let Some((field, descending)) = order {
        found.sort_by(|one, other| {
            let order = compare(one, other, field);
            if descending { order.reverse() } else { order }
        });
    }
    let total = found.len();
    let first = page.saturating_sub(1).saturating_mul(size);
    let found: Vec<Node> = found.into_iter().skip(first).take(size).collect();
    let (element, ty, field) = match shown {
        Shown::References => (query.references, &REFERENCES, query.reference),
        _ => ("QueryResultRecords", &RECORDS, query.record),
    };
    let media = Shown::ALL
        .iter()
        .find(|row| row.1 == shown)
        .map_or(RECORDS_MEDIA, |row| row.2);
    let mut node = Node::of(ty)
        .with(
            "href",
            format!("{}/api/query{}", call.base, again(call, page)),
        )
        .with("type", format!("{media}+xml"))
        .with("name", query.name)
        .with("page", page)
        .with("pageSize", size)
        .with("total", total);
    let more = |rel: &str, page: usize| {
        let href = format!("{}/api/query{}", call.base, again(call, page));
        link(rel, href, Some(&format!("{media}+xml")))
    };
    if page > 1 {
        node.push("Link", more("firstPage", 1));
        node.push("Link", more("previousPage", page - 1));
    }
    if first.saturating_add(size) < total {
        node.push("Link", more("nextPage", page + 1));
        node.push("Link", more("lastPage", total.div_ceil(size)));
    }
    let kept = kept_fields(call, query.finds)?;
    for mut record in found {
        match shown {
            Shown::References => {
                record = as_reference(&record);
            }
            Shown::Records => record.remove("id"),
            Shown::IdRecords => {}
        }
        if let (Some(kept), Shown::Records | Shown::IdRecords) = (&kept, shown) {
            let dropped: Vec<&str> = record
                .present()
                .map(|(field, _)| field.name)
                .filter(|name| !matches!(*name, "href" | "id" | "type") && !kept.contains(name))
                .collect();
            for name in dropped {
                record.remove(name);
            }
        }
        node.push(field, record);
    }
    let root = Root {
        element,
        namespace: Namespace::Vcloud,
        ty,
        media,
    };
    Ok(Reply::ok(&root, node))
}

/// The fields that a query asks for.
fn kept_fields(call: &Call, finds: Finds) -> Result<Option<Vec<&'static str>>, Fault> {
    let Some(fields) = call.parameter("fields") else {
        return Ok(None);
    };
    let mut kept = Vec::new();
    for name in fields.split(',').filter(|name| !name.is_empty()) {
        let field = finds.ty().field(name).ok_or_else(|| {
            Fault::bad_request(format!(
                "Bad request: the records have no field {}",
                crate::xml::shown(name)
            ))
        })?;
        kept.push(field.name);
    }
    Ok(Some(kept))
}

fn as_reference(record: &Node) -> Node {
    ["href", "id", "name", "type"]
        .into_iter()
        .fold(Node::of(&entity::REFERENCE), |node, name| {
            node.with_some(name, record.text(name).map(str::to_owned))
        })
}

fn number(call: &Call, name: &str, default: usize, most: usize) -> Result<usize, Fault> {
    let Some(text) = call.parameter(name) else {
        return Ok(default);
    };
    text.parse()
        .ok()
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| {
            Fault::bad_request(format!(
                "Bad request: {name} is a number from 1 on{}",
                if most == usize::MAX {
                    String::new()
                } else {
                    format!(", at most {most}")
                }
            ))
        })
}

/// The field that the answer is ordered by, and whether it goes down.
fn order(call: &Call, finds: Finds) -> Result<Option<(&'static str, bool)>, Fault> {
    let (name, descending) = match (call.parameter("sortAsc"), call.parameter("sortDesc")) {
        (Some(name), _) => (name, false),
        (None, Some(name)) => (name, true),
        (None, None) => return Ok(None),
    };
    let field = finds.ty().field(name).ok_or_else(|| {
        Fault::bad_request(format!(
            "Bad request: the records have no field {} to sort by",
            crate::xml::shown(name)
        ))
    })?;
    Ok(Some((field.name, descending)))
}

fn compare(one: &Node, other: &Node, field: &str) -> Ordering {
    let value = |node: &Node| node.all(field).next().cloned();
    match (value(one), value(other)) {
        (Some(Value::Int(one)), Some(Value::Int(other))) => one.cmp(&other),
        (one, other) => one
            .and_then(|value| value.as_text())
            .cmp(&other.and_then(|value| value.as_text())),
    }
}

/// The parameters of this request for another page.
fn again(call: &Call, page: usize) -> String {
    let mut text = String::new();
    for (name, value) in call.parameters.iter().filter(|(name, _)| name != "page") {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(&utf8_percent_encode(name, NON_ALPHANUMERIC).to_string());
        text.push('=');
        text.push_str(&utf8_percent_encode(value, NON_ALPHANUMERIC).to_string());
    }
    format!("{text}&page={page}")
}
