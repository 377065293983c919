//! Filters of queries: comparisons joined by `;` (and) and `,` (or), in parentheses if need be.

use crate::fault::Fault;
use crate::ids::Kind;
use crate::node::Node;
use crate::schema::Type;
use percent_encoding::percent_decode_str;

/// The longest filter.
const LENGTH: usize = 8 * 1024;
/// How many comparisons a filter may have.
const TERMS: usize = 100;
/// How deep parentheses may stand in each other.
const DEPTH: usize = 10;

/// A filter.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Is(Term),
}

/// One comparison.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Term {
    field: &'static str,
    operator: Operator,
    value: String,
    wildcard: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OPERATORS: &[(&str, Operator)] = &[
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("=lt=", Operator::Less),
    ("=le=", Operator::LessOrEqual),
    ("=gt=", Operator::Greater),
    ("=ge=", Operator::GreaterOrEqual),
];

impl Filter {
    /// Reads a filter over the records of a type. With `encoded` the values are percent-encoded once more.
    ///
    /// # Errors
    /// When it is too long, is none, or names a field that the records do not have.
    pub(crate) fn read(text: &str, ty: &'static Type, encoded: bool) -> Result<Self, Fault> {
        if text.len() > LENGTH {
            return Err(Fault::bad_request(format!(
                "the filter is longer than {LENGTH} bytes; ask for less at once"
            )));
        }
        let mut parser = Parser {
            rest: text,
            ty,
            encoded,
            terms: 0,
        };
        let filter = parser.any(0)?;
        if parser.rest.is_empty() {
            Ok(filter)
        } else {
            Err(parser.wrong("the end"))
        }
    }

    /// Whether a record fits.
    pub(crate) fn fits(&self, record: &Node) -> bool {
        match self {
            Self::All(all) => all.iter().all(|filter| filter.fits(record)),
            Self::Any(any) => any.iter().any(|filter| filter.fits(record)),
            Self::Is(term) => term.fits(record),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    ty: &'static Type,
    encoded: bool,
    terms: usize,
}

impl Parser<'_> {
    fn wrong(&self, expected: &str) -> Fault {
        Fault::bad_request(format!(
            "Bad request: the filter has no {expected} at {}; it is made of FIELD==VALUE, joined by ; and ,",
            crate::xml::shown(self.rest)
        ))
    }

    fn any(&mut self, depth: usize) -> Result<Filter, Fault> {
        let mut all = vec![self.all(depth)?];
        while let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            all.push(self.all(depth)?);
        }
        Ok(match (all.len(), all.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                all.extend(last);
                Filter::Any(all)
            }
        })
    }

    fn all(&mut self, depth: usize) -> Result<Filter, Fault> {
        let mut all = vec![self.one(depth)?];
        while let Some(rest) = self.rest.strip_prefix(';') {
            self.rest = rest;
            all.push(self.one(depth)?);
        }
        Ok(match (all.len(), all.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                all.extend(last);
                Filter::All(all)
            }
        })
    }

    fn one(&mut self, depth: usize) -> Result<Filter, Fault> {
        if let Some(rest) = self.rest.strip_prefix('(') {
            if depth >= DEPTH {
                return Err(Fault::bad_request(format!(
                    "the parentheses of the filter stand more than {DEPTH} deep in each other"
                )));
            }
            self.rest = rest;
            let inner = self.any(depth + 1)?;
            self.rest = self
                .rest
                .strip_prefix(')')
                .ok_or_else(|| self.wrong("closing parenthesis"))?;
            return Ok(inner);
        }
        self.terms += 1;
        if self.terms > TERMS {
            return Err(Fault::bad_request(format!(
                "the filter has more than {TERMS} comparisons; ask for less at once"
            )));
        }
        let end = self
            .rest
            .find(['=', '!', ';', ',', '(', ')'])
            .ok_or_else(|| self.wrong("comparison"))?;
        let (name, rest) = self
            .rest
            .split_at_checked(end)
            .ok_or_else(|| self.wrong("comparison"))?;
        let (word, operator) = OPERATORS
            .iter()
            .find(|(word, _)| rest.starts_with(word))
            .ok_or_else(|| self.wrong("comparison"))?;
        let field = self
            .ty
            .fields()
            .find(|field| field.name == name && field.name != "Link")
            .ok_or_else(|| {
                Fault::bad_request(format!(
                    "Bad request: the records have no field {} to filter by",
                    crate::xml::shown(name)
                ))
            })?;
        self.rest = rest.strip_prefix(word).unwrap_or_default();
        let (value, wildcard) = self.value();
        Ok(Filter::Is(Term {
            field: field.name,
            operator: *operator,
            value,
            wildcard,
        }))
    }

    /// The value, up to what ends it; a backslash takes the meaning of what follows away.
    fn value(&mut self) -> (String, bool) {
        let mut value = String::new();
        let mut wildcard = false;
        let mut letters = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => value.extend(letters.next().map(|(_, next)| next)),
                ';' | ',' | ')' => {
                    end = at;
                    break;
                }
                '*' => {
                    wildcard = true;
                    value.push(letter);
                }
                _ => value.push(letter),
            }
        }
        self.rest = self.rest.get(end..).unwrap_or_default();
        if self.encoded {
            value = percent_decode_str(&value).decode_utf8_lossy().into_owned();
        }
        (value, wildcard)
    }
}

impl Term {
    fn fits(&self, record: &Node) -> bool {
        let found = record.all(self.field).find_map(|value| value.as_text());
        let Some(found) = found else {
            return self.operator == Operator::Unequal;
        };
        match self.operator {
            Operator::Equal => self.is(&found),
            Operator::Unequal => !self.is(&found),
            Operator::Less => self.compare(&found).is_lt(),
            Operator::LessOrEqual => self.compare(&found).is_le(),
            Operator::Greater => self.compare(&found).is_gt(),
            Operator::GreaterOrEqual => self.compare(&found).is_ge(),
        }
    }

    fn is(&self, found: &str) -> bool {
        if self.wildcard {
            return matches_wildcard(&self.value, found);
        }
        if found.eq_ignore_ascii_case(&self.value) {
            return true;
        }
        // References are the same whether written as address, URN or identifier.
        match (Kind::read(found), Kind::read(&self.value)) {
            (Some(one), Some(other)) => one == other,
            (Some((_, id)), None) => crate::ids::strict(&self.value) == Some(id),
            _ => false,
        }
    }

    fn compare(&self, found: &str) -> std::cmp::Ordering {
        match (found.parse::<i64>(), self.value.parse::<i64>()) {
            (Ok(one), Ok(other)) => one.cmp(&other),
            _ => found.cmp(self.value.as_str()),
        }
    }
}

/// Whether text fits a pattern in which `*` stands for anything. Takes time by the product of both lengths, no more.
fn matches_wildcard(pattern: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    let pattern = pattern.to_lowercase();
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let middle: Vec<&str> = parts.collect();
    let Some((last, middle)) = middle.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record;

    fn vm(name: &str, hardware: i64) -> Node {
        Node::of(&record::VM)
            .with("name", name)
            .with("hardwareVersion", hardware)
            .with(
                "vdc",
                "http://h:1/api/vdc/5d3a7c4e-9d1a-4f7d-8f0e-2f2f6f2f6f2f",
            )
            .with("tpmPresent", true)
    }

    fn fits(filter: &str, node: &Node) -> bool {
        Filter::read(filter, &record::VM, false).unwrap().fits(node)
    }

    #[test]
    fn comparisons_are_joined_by_and_or_and_parentheses() {
        let web = vm("web (1)", 19);
        for (filter, expected) in [
            ("name==web \\(1\\)", true),
            ("name==WEB*", true),
            ("name==*e*\\(*", true),
            ("name==w*x", false),
            ("name!=db", true),
            ("hardwareVersion=gt=9", true),
            ("hardwareVersion=lt=19", false),
            ("hardwareVersion=le=19;hardwareVersion=ge=19", true),
            ("tpmPresent==true", true),
            ("name==db,name==web*", true),
            ("(name==db,name==web*);hardwareVersion==20", false),
            ("name==db;(hardwareVersion==19,name==x)", false),
            (
                "vdc==https://other/api/vdc/5d3a7c4e-9d1a-4f7d-8f0e-2f2f6f2f6f2f",
                true,
            ),
            (
                "vdc==urn:vcloud:vdc:5d3a7c4e-9d1a-4f7d-8f0e-2f2f6f2f6f2f",
                true,
            ),
            ("vdc==5d3a7c4e-9d1a-4f7d-8f0e-2f2f6f2f6f2f", true),
            (
                "vdc==urn:vcloud:org:5d3a7c4e-9d1a-4f7d-8f0e-2f2f6f2f6f2f",
                false,
            ),
            ("status==x", false),
        ] {
            assert_eq!(fits(filter, &web), expected, "{filter}");
        }
        let encoded = Filter::read("name==web%20%281%29", &record::VM, true).unwrap();
        assert!(encoded.fits(&web));
    }

    #[test]
    fn what_is_no_filter_or_too_much_of_one_is_refused() {
        let long = format!("name=={}", "a".repeat(10_000));
        let many = vec!["name==a"; 101].join(",");
        let deep = format!("{}name==a{}", "(".repeat(50), ")".repeat(50));
        for filter in [
            "",
            "name",
            "name=a",
            "==a",
            "nothing==a",
            "Link==a",
            "name==a;",
            "(name==a",
            "name==a)",
            "name=xx=a",
            &long,
            &many,
            &deep,
        ] {
            assert_eq!(
                Filter::read(filter, &record::VM, false).unwrap_err().status,
                400,
                "{filter}"
            );
        }
    }
}
