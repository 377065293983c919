//! `vtpm attest demo`: the whole story, told by real TPMs, in one process, without a network.

mod machine;
mod page;
mod pictures;
mod secret;
mod serve;
mod story;
mod verifier;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use tpm_attest::verify::{Outcome, Verdict};

use pictures::Pictures;

use crate::cli::boot::profile::BootProfile;
use crate::cli::output;

/// Tell the story of a VM whose TPM is trusted, copied, replaced, and whose kernel and files are tampered with
///
/// Every step happens with real TPMs, keys and files in a private folder that is gone afterwards; no root and no network is needed.
/// Exit code 0 if every step ended as it must.
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// What the VM boots
    #[arg(long, value_enum, default_value_t)]
    profile: BootProfile,
    /// Print the story as JSON, with every check
    #[arg(long)]
    json: bool,
    /// Keep the evidence, the log, the policy and the record of the enrolment in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Tell it with pictures on a page of the loopback interface, and again when asked for there, until SIGINT or SIGTERM
    #[arg(long, conflicts_with_all = ["json", "keep"])]
    serve: bool,
    /// Port of the page; 0 for any that is free
    #[arg(long, value_name = "N", default_value_t = PORT, requires = "serve")]
    port: u16,
}

/// Where the page is if nobody says otherwise.
const PORT: u16 = 8717;

/// One step of the story.
#[derive(Serialize)]
struct Step {
    step: usize,
    title: &'static str,
    told: Vec<String>,
    expected: &'static str,
    ended: &'static str,
    held: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
}

/// The steps that are done, by title and by how they ended, for whoever follows the story.
type Headings = Arc<Mutex<Vec<(&'static str, &'static str)>>>;

/// Tells the steps as they happen.
struct Teller {
    aloud: bool,
    followed: Option<Headings>,
    steps: Vec<Step>,
    pictures: Pictures,
}

impl Teller {
    /// One that says nothing before the end.
    fn silent() -> Self {
        Self {
            aloud: false,
            followed: None,
            steps: Vec::new(),
            pictures: Pictures::default(),
        }
    }

    /// One that says nothing but how far it is.
    fn followed(by: Headings) -> Self {
        Self {
            followed: Some(by),
            ..Self::silent()
        }
    }

    /// Tells a step that a verdict ends.
    fn judged(
        &mut self,
        title: &'static str,
        told: Vec<String>,
        trusted: bool,
        verdict: Verdict,
    ) -> anyhow::Result<()> {
        let held = verdict.is_trusted() == trusted;
        self.step(title, told, trusted, held, Some(verdict))
    }

    /// Tells a step that ends with something done or refused.
    fn done(
        &mut self,
        title: &'static str,
        told: Vec<String>,
        good: bool,
        held: bool,
    ) -> anyhow::Result<()> {
        self.step(title, told, good, held, None)
    }

    fn step(
        &mut self,
        title: &'static str,
        told: Vec<String>,
        good: bool,
        held: bool,
        verdict: Option<Verdict>,
    ) -> anyhow::Result<()> {
        let word = |good| if good { "trusted" } else { "refused" };
        let step = Step {
            step: self.steps.len().saturating_add(1),
            title,
            told,
            expected: word(good),
            ended: word(good == held),
            held,
            verdict,
        };
        if self.aloud {
            print_step(&step)?;
        }
        if let Some(headings) = &self.followed {
            let mut headings = headings.lock().unwrap_or_else(PoisonError::into_inner);
            headings.push((step.title, step.ended));
        }
        self.steps.push(step);
        Ok(())
    }
}

fn print_step(step: &Step) -> anyhow::Result<()> {
    output::line(format!("\n{}. {}", step.step, step.title))?;
    for line in &step.told {
        output::line(format!("   {line}"))?;
    }
    if let Some(verdict) = &step.verdict {
        let passed = verdict
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Pass);
        let (passed, failed) = (passed.count(), verdict.failed().count());
        output::line(format!(
            "   The verifier: {passed} checks passed, {failed} failed."
        ))?;
        for check in verdict.failed() {
            let (rule, says, source) = (check.rule, check.rule.says(), check.rule.source());
            output::line(format!("   x {rule}: {says} ({source})"))?;
            output::line(format!("     {}", check.detail))?;
        }
    }
    let surprise = if step.held {
        ", as it must be"
    } else {
        " -- AND SHOULD NOT BE"
    };
    Ok(output::line(format!(
        "   => {}{surprise}",
        step.ended.to_uppercase()
    ))?)
}

impl Demo {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        if self.serve {
            return serve::serve(self.profile, self.port);
        }
        let start = Instant::now();
        if !self.json {
            output::line(story::PREFACE)?;
        }
        let mut teller = Teller {
            aloud: !self.json,
            ..Teller::silent()
        };
        let papers = story::tell(&mut teller, self.profile)?;
        if let Some(folder) = &self.keep {
            papers
                .write(folder)
                .with_context(|| folder.display().to_string())?;
        }
        let held = teller.steps.iter().all(|step| step.held);
        let milliseconds = start.elapsed().as_millis();
        if self.json {
            output::json(&serde_json::json!({
                "held": held,
                "milliseconds": milliseconds,
                "steps": teller.steps,
                "pictures": teller.pictures,
            }))?;
        } else {
            let ending = if held {
                "Every step ended as it must."
            } else {
                "A step did not end as it must; please report it."
            };
            let count = teller.steps.len();
            output::line(format!("\n{}", story::MORAL))?;
            output::line(format!("\n{ending} {count} steps, {milliseconds} ms."))?;
            if self.keep.is_none() {
                output::line(
                    "--serve tells it with pictures; --keep DIR keeps the papers, for `vtpm attest verify` and other judges.",
                )?;
            }
        }
        Ok(ExitCode::from(u8::from(!held)))
    }
}
