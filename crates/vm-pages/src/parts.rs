//! What pages are made of: badges, moments, facts, links, refusals.

use der::DateTime;
use maud::{Markup, PreEscaped, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Display;
use std::time::Duration;
use vm_inventory::TaskStatus;
use vm_inventory::model::{PowerState, Timestamp};
use vm_inventory::provisioning::TpmAction;
use vm_web::Problem;

/// What stays as it is in a part of a path (RFC 3986, 2.3).
const PATH_PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The tone of a badge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Good,
    Bad,
    Warn,
    Info,
    Quiet,
}

impl Tone {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Quiet => "quiet",
        }
    }
}

/// One word about a state. The word says it all; the colour only helps.
pub(crate) fn badge(tone: Tone, text: impl Display) -> Markup {
    html! { span.badge.(tone.class()) { (text.to_string()) } }
}

pub(crate) fn power(state: PowerState) -> Markup {
    match state {
        PowerState::On => badge(Tone::Good, "on"),
        PowerState::Off => badge(Tone::Quiet, "off"),
        PowerState::Suspended => badge(Tone::Info, "suspended"),
    }
}

pub(crate) fn action(action: TpmAction) -> Markup {
    let tone = match action {
        TpmAction::New => Tone::Info,
        TpmAction::Copy => Tone::Good,
        TpmAction::Replace => Tone::Warn,
        TpmAction::Remove => Tone::Bad,
    };
    badge(tone, action.to_string())
}

/// How a task stands, in a word.
pub(crate) fn task_status(status: TaskStatus) -> Markup {
    let (tone, word) = match status {
        TaskStatus::Queued => (Tone::Quiet, "queued"),
        TaskStatus::Running => (Tone::Info, "running"),
        TaskStatus::Success => (Tone::Good, "success"),
        TaskStatus::Error => (Tone::Bad, "error"),
        TaskStatus::Canceled => (Tone::Warn, "canceled"),
    };
    badge(tone, word)
}

/// The name of an operation as people say it: `power_on` is "power on".
pub(crate) fn words(operation: &str) -> String {
    operation.replace('_', " ")
}

pub(crate) fn seconds(since_1970: u64) -> Markup {
    match DateTime::from_unix_duration(Duration::from_secs(since_1970)) {
        Ok(at) => {
            let exact = at.to_string();
            let shown: String = exact.chars().take(16).collect();
            html! { time datetime=(exact) title=(exact) { (shown.replace('T', " ")) " UTC" } }
        }
        // Beyond the year 9999.
        Err(_) => html! { (since_1970) " s" },
    }
}

pub(crate) fn moment(at: Timestamp) -> Markup {
    seconds(at.0)
}

/// A name as a part of a path.
pub(crate) fn path(part: &str) -> String {
    utf8_percent_encode(part, PATH_PART).to_string()
}

/// A long value that is read as digits.
pub(crate) fn digits(value: &str) -> Markup {
    html! { code.digits { (value) } }
}

/// The beginning of a long value, whole in its title.
pub(crate) fn short(value: &str) -> Markup {
    let beginning: String = value.chars().take(16).collect();
    if beginning.len() == value.len() {
        return html! { code { (value) } };
    }
    html! { code title=(value) { (beginning) "…" } }
}

/// A line that people copy; the script puts a button beside it.
pub(crate) fn copied(line: &str, what: &str) -> Markup {
    html! { div.copied data-copy=(what) { code tabindex="0" { (line) } } }
}

/// Facts about one thing.
pub(crate) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (term, fact) in facts {
                div { dt { (term) } dd { (fact) } }
            }
        }
    }
}

/// Where there is nothing, and what makes something.
pub(crate) fn empty(what: &str, more: &str) -> Markup {
    html! { div.empty { p { strong { (what) } } @if !more.is_empty() { p { (more) } } } }
}

/// A table that is scrolled by itself where it is wider than the window; on a phone its rows are cards.
pub(crate) fn table(label: &str, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { (labelled(heads, &rows.0)) }
            }
        }
    }
}

/// Gives each cell the head of its column, for the style to show. What people named is escaped, so each `<td` is one of ours.
fn labelled(heads: &[&str], rows: &str) -> Markup {
    let mut text = String::with_capacity(rows.len() + rows.len() / 4);
    for (place, row) in rows.split("<tr").enumerate() {
        if place > 0 {
            text.push_str("<tr");
        }
        let mut cells = row.split("<td");
        text.push_str(cells.next().unwrap_or_default());
        let mut heads = heads.iter();
        for cell in cells {
            let head = heads.next().copied().unwrap_or_default();
            text.push_str(&html! { td data-label=(head) {} }.0.replace("></td>", ""));
            text.push_str(cell);
        }
    }
    PreEscaped(text)
}

/// Links to the parts of a list, if it has more than one.
pub(crate) fn pages(pages: usize, at: usize) -> Markup {
    html! {
        @if pages > 1 {
            nav.pages aria-label="Pages" {
                ul { @for number in 0..pages { li { a href={ "?page=" (number) } aria-current=[(number == at).then_some("page")] { (number + 1) } } } }
            }
        }
    }
}

/// Why something was refused, with each rule that is not met.
pub(crate) fn refused(problem: &Problem) -> Markup {
    html! {
        div.notice.bad role="alert" {
            p { strong { (problem.title) } }
            (reasons(problem))
        }
    }
}

/// The same below a heading that has the title.
pub(crate) fn why(problem: &Problem) -> Markup {
    html! { div.notice.bad role="alert" { (reasons(problem)) } }
}

fn reasons(problem: &Problem) -> Markup {
    html! {
        p { (problem.detail) }
        @if !problem.failures.is_empty() {
            ul { @for failure in &problem.failures { li { (failure.to_string()) } } }
        }
    }
}

/// How many of something, in words.
pub(crate) fn count(number: usize, one: &str, more: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_named_stays_text_and_stays_one_part_of_a_path() {
        let hostile = "<script>alert(1)</script>\"'&";
        for markup in [
            badge(Tone::Good, hostile),
            digits(hostile),
            short(hostile),
            copied(hostile, hostile),
            empty(hostile, hostile),
        ] {
            let text = markup.into_string();
            assert!(
                !text.contains("<script>") && !text.contains("\"'&"),
                "{text}"
            );
        }
        assert_eq!(path("a/../b?c#d e"), "a%2F..%2Fb%3Fc%23d%20e");
    }

    #[test]
    fn each_cell_of_a_table_has_the_head_of_its_column() {
        let hostile = "</td><td data-label=x>";
        let rows = html! { @for name in ["a", hostile] { tr { td { (name) } td.long { "b" } } } };
        let text = table("Things", &["First", "Second \"&\""], &rows).into_string();
        assert_eq!(text.matches(r#"<td data-label="First">"#).count(), 2);
        let second = r#"<td data-label="Second &quot;&amp;&quot;" class="long">b</td>"#;
        assert_eq!(text.matches(second).count(), 2, "{text}");
        assert_eq!(text.matches("<td").count(), 4);
    }

    #[test]
    fn moments_are_dates() {
        let text = seconds(1_700_000_000).into_string();
        assert!(text.contains("2023-11-14 22:13 UTC"), "{text}");
        assert_eq!(seconds(u64::MAX).into_string(), format!("{} s", u64::MAX));
    }
}
