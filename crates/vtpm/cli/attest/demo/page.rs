//! The story as a page: the same steps with pictures, made whole on this side; nothing in it runs in the browser.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tpm_attest::verify::{Outcome, Verdict};

use super::pictures::{Line, Link, Measured, Pictures, Seen};
use super::{Step, story};
use crate::cli::boot::profile::BootProfile;

/// Its style, served beside it.
pub(super) const STYLE: &str = include_str!("page.css");

/// The steps after which a picture stands.
const WITH_CHAIN: &str = "The verifier learns whom it deals with";
const WITH_REGISTERS: &str = "A fresh quote: the machine is what it should be";
const WITH_TWINS: &str = "The clone alarm: two machines live under one identity";
const WITH_LOG: &str = "A tampered kernel is caught";

/// The whole page.
pub(super) fn page(
    profile: BootProfile,
    telling: usize,
    steps: &[Step],
    pictures: &Pictures,
    milliseconds: u128,
) -> Markup {
    let held = steps.iter().all(|step| step.held);
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(false))
            body {
                header {
                    h1 { "What a TPM proves" }
                    p.lead {
                        "A virtual machine is trusted, copied, replaced and tampered with. None of this is recorded: real TPMs, keys and files took part, in "
                        strong { (milliseconds) " ms" } ". This is telling " span.telling { (telling) } "."
                    }
                    form method="post" action="/again" {
                        label for="profile" { "The machine boots" }
                        " "
                        select id="profile" name="profile" {
                            @for (value, words) in PROFILES {
                                option value=(value) selected[value == name_of(profile)] { (words) }
                            }
                        }
                        " "
                        button type="submit" { "Run it again" }
                    }
                }
                main {
                    (preface())
                    ol.steps {
                        @for step in steps { (step_of(step, pictures)) }
                    }
                    (moral())
                    p.ending.bad[!held] {
                        @if held { "Every step ended as it must." }
                        @else { "A step did not end as it must; please report it." }
                    }
                }
            }
        }
    }
}

/// What is shown while the story goes on; the browser asks again each second.
pub(super) fn progress(profile: BootProfile, done: &[(&str, &str)]) -> Markup {
    let words = PROFILES.iter().find(|(name, _)| *name == name_of(profile));
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(true))
            body {
                header {
                    h1 { "What a TPM proves" }
                    p.lead {
                        "The story is happening now, with real TPMs"
                        @if let Some((_, words)) = words { ", on a machine that boots " (words) }
                        "."
                    }
                }
                main {
                    (preface())
                    ol.steps.progress role="status" {
                        @for (title, ended) in done {
                            li.step.(*ended) { h2 { (title) " " span.chip { (ended) } } }
                        }
                        li.step.now { h2 { "..." } }
                    }
                }
            }
        }
    }
}

/// What is shown if the story could not be told.
pub(super) fn failure(reason: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(false))
            body {
                main {
                    h1 { "The story could not be told" }
                    p { (reason) }
                    p { a href="/" { "Back to the story" } }
                }
            }
        }
    }
}

fn head(goes_on: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            @if goes_on { meta http-equiv="refresh" content="1"; }
            title { "What a TPM proves - vtpm" }
            link rel="stylesheet" href="/style.css";
        }
    }
}

const PROFILES: [(&str, &str); 3] = [
    ("linux", "Linux with shim and GRUB"),
    ("windows", "Windows"),
    ("systemd-boot", "Linux with systemd-boot"),
];

const fn name_of(profile: BootProfile) -> &'static str {
    match profile {
        BootProfile::Linux => "linux",
        BootProfile::Windows => "windows",
        BootProfile::SystemdBoot => "systemd-boot",
    }
}

fn moral() -> Markup {
    let mut parts = story::MORAL.split("\n  - ");
    html! {
        section.preface.moral {
            p { (parts.next().unwrap_or_default()) }
            ul { @for item in parts { li { (item) } } }
        }
    }
}

fn preface() -> Markup {
    let mut parts = story::PREFACE.split("\n  - ");
    let first = parts.next().unwrap_or_default();
    let mut items: Vec<&str> = parts.collect();
    // What follows the list is a line of its own.
    let last = items.pop().unwrap_or_default();
    let (last, after) = last.split_once("\nA verifier").unwrap_or((last, ""));
    items.push(last);
    html! {
        section.preface {
            p { (first) }
            ul { @for item in items { li { (item) } } }
            @if !after.is_empty() { p { "A verifier" (after) } }
        }
    }
}

fn step_of(step: &Step, pictures: &Pictures) -> Markup {
    html! {
        li.step.(step.ended) id={ "step-" (step.step) } {
            h2 {
                (step.title)
                " "
                span.chip { (step.ended) @if step.held { ", as it must be" } @else { ", and should not be" } }
            }
            @for part in told(&step.told) {
                @match part {
                    Told::Words(words) => p { (words) },
                    Told::List(lines) => ul.facts { @for line in lines { li { (line) } } },
                }
            }
            @if step.title == WITH_CHAIN { (chain(&pictures.chain)) }
            @if step.title == WITH_REGISTERS {
                (registers("The registers that are golden from now on", &pictures.golden, None))
            }
            @if step.title == WITH_TWINS { (twins(&pictures.twins, &pictures.alarm)) }
            @if step.title == WITH_LOG {
                (registers("The registers, against the golden ones", &pictures.tampered, Some(&pictures.golden)))
                (changed_log(&pictures.golden, &pictures.tampered))
            }
            @if let Some(verdict) = &step.verdict { (checks(verdict)) }
        }
    }
}

/// Words, and lines that belong below them.
enum Told<'a> {
    Words(&'a str),
    List(Vec<&'a str>),
}

fn told(lines: &[String]) -> Vec<Told<'_>> {
    let mut parts = Vec::new();
    for line in lines {
        match line.strip_prefix("  ") {
            None => parts.push(Told::Words(line)),
            Some(item) => match parts.last_mut() {
                Some(Told::List(items)) => items.push(item),
                _ => parts.push(Told::List(vec![item])),
            },
        }
    }
    parts
}

fn checks(verdict: &Verdict) -> Markup {
    let count = |outcome| {
        let of = verdict.checks.iter().filter(|it| it.outcome == outcome);
        of.count()
    };
    html! {
        @for check in verdict.failed() {
            div.failed {
                p { strong { (check.rule.to_string()) } ": " (check.rule.says()) " " span.source { "(" (check.rule.source()) ")" } }
                p.detail { (check.detail) }
            }
        }
        details {
            summary { (count(Outcome::Pass)) " checks passed, " (count(Outcome::Fail)) " failed" }
            table {
                thead { tr { th { "Check" } th { "Demands" } th { "Ended" } } }
                tbody {
                    @for check in &verdict.checks {
                        tr {
                            td { code { (check.rule.to_string()) } }
                            td { (check.rule.says()) " " span.source { "(" (check.rule.source()) ")" } }
                            td {
                                @match check.outcome {
                                    Outcome::Pass => "passed",
                                    Outcome::Fail => strong.bad { "failed" },
                                    Outcome::Skipped => "open",
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// From the root authority down to what is signed with the key.
fn chain(links: &[Link]) -> Markup {
    html! {
        figure.chain {
            figcaption { "The chain of trust: each vouches for the next" }
            ol {
                @for link in links {
                    li {
                        span.role { (link.role) }
                        strong { (link.name) }
                        code { (short(&link.fingerprint)) }
                    }
                }
                li { span.role { "signing key" } strong { "attestation key" } span.note { "proven to be in the same TPM" } }
                li { span.role { "signature" } strong { "quote" } span.note { "registers, question, clock" } }
            }
        }
    }
}

/// The registers, each with stripes that are as different as the values.
fn registers(title: &str, measured: &Measured, golden: Option<&Measured>) -> Markup {
    html! {
        figure.registers {
            figcaption { (title) }
            div.bank {
                @for (pcr, value) in &measured.pcrs {
                    @let changed = golden.is_some_and(|golden| golden.pcrs.get(pcr) != Some(value));
                    div.pcr.changed[changed] {
                        span.number { "PCR " (pcr) }
                        (stripes(value))
                        code { (short(value)) }
                        @if changed { span.mark { "changed" } }
                    }
                }
            }
        }
    }
}

/// A value as eight stripes, of which height and shade follow the digits.
fn stripes(value: &str) -> Markup {
    let bytes = hex::decode(value).unwrap_or_default();
    let bars = bytes.chunks(4).take(8).zip(0u32..).map(|(chunk, place)| {
        let sum: u32 = chunk.iter().copied().map(u32::from).sum();
        let height = 6 + sum % 19;
        let (x, y) = (place * 8, 24 - height);
        format!(r#"<rect x="{x}" y="{y}" width="6" height="{height}" rx="1"/>"#)
    });
    let bars: String = bars.collect();
    html! {
        svg viewBox="0 0 62 24" width="62" height="24" aria-hidden="true" { (PreEscaped(bars)) }
    }
}

/// Two lanes, one for each of the TPMs that live under one identity, and when they were seen.
fn twins(seen: &[Seen], alarm: &str) -> Markup {
    let mut lanes: Vec<&str> = Vec::new();
    for one in seen {
        if !lanes.contains(&one.source.as_str()) {
            lanes.push(&one.source);
        }
    }
    let width = 90 + 110 * seen.len().max(1);
    let height = 30 + 70 * lanes.len().max(1);
    let mut drawn = String::new();
    for lane in 0..lanes.len() {
        let y = 40 + 70 * lane;
        drawn.push_str(&format!(
            r#"<line x1="20" y1="{y}" x2="{}" y2="{y}"/>"#,
            width - 20
        ));
    }
    let words = html! {
        @for (number, one) in seen.iter().enumerate() {
            @let lane = lanes.iter().position(|lane| *lane == one.source).unwrap_or_default();
            @let x = 80 + 110 * number;
            @let y = 40 + 70 * lane;
            circle cx=(x) cy=(y) r="8" class=(if one.taken { "taken" } else { "alarm" }) {}
            text x=(x) y=(y + 24) text-anchor="middle" { "resets " (one.resets) }
            text x=(x) y=(y + 38) text-anchor="middle" { (if one.taken { "taken" } else { "ALARM" }) }
        }
        @for (lane, name) in lanes.iter().enumerate() {
            text.lane x="20" y=(40 + 70 * lane - 16) { (name) }
        }
    };
    html! {
        figure.twins {
            figcaption { "Two TPMs answer under one identity, one after the other" }
            div.scroll {
                svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label={ "The quotes of " (lanes.join(" and ")) ": " (alarm) } {
                    (PreEscaped(drawn))
                    (words)
                }
            }
            p.alarm { (alarm) }
        }
    }
}

/// The event log where it differs, with its neighbours.
fn changed_log(golden: &Measured, tampered: &Measured) -> Markup {
    let differs = |place: usize| {
        golden.events.get(place).map(|line| &line.digest)
            != tampered.events.get(place).map(|line| &line.digest)
    };
    let count = golden.events.len().max(tampered.events.len());
    let near =
        |place: usize| (place.saturating_sub(2)..=place + 2).any(|it| it < count && differs(it));
    let row = |line: &Line, class: &str, sign: &str| {
        html! {
            tr class=(class) {
                td { (sign) }
                td { (line.number) }
                td { (line.pcr) }
                td { (line.says) br; span.source { (line.kind) } }
                td { code { (short(&line.digest)) } }
            }
        }
    };
    html! {
        figure.log {
            figcaption { "The event log: the line that is another one, and those around it" }
            div.scroll {
                table {
                    thead { tr { th { } th { "Event" } th { "PCR" } th { "What was measured" } th { "Fingerprint" } } }
                    tbody {
                        @for place in (0..count).filter(|place| near(*place)) {
                            @if differs(place) {
                                @if let Some(line) = golden.events.get(place) { (row(line, "was", "was")) }
                                @if let Some(line) = tampered.events.get(place) { (row(line, "is", "is")) }
                            } @else if let Some(line) = tampered.events.get(place) {
                                (row(line, "", ""))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(16).collect::<String>() + "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_shows_what_is_done_and_asks_again_and_the_end_does_not() {
        let done = [("A first step", "trusted"), ("A <second> step", "refused")];
        let page = progress(BootProfile::Windows, &done).into_string();
        assert!(page.contains(r#"http-equiv="refresh""#));
        assert!(page.contains("A first step") && page.contains("A &lt;second&gt; step"));
        assert!(page.contains("boots Windows"));
        assert!(!failure("why").into_string().contains("refresh"));
        let whole = super::page(BootProfile::Linux, 3, &[], &Pictures::default(), 12);
        let whole = whole.into_string();
        assert!(!whole.contains("refresh") && whole.contains("12 ms"));
    }
}
