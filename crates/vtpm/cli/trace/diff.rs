//! `vtpm trace diff`: where two recordings differ.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use tpm_wire::describe::{command_name, describe_command};

use super::read_file;
use crate::cli::output;
use crate::trace::{Difference, Entry, Record, Strictness, differences};

/// Cells of the table that aligns two recordings; beyond it they are compared in step.
const LARGEST_TABLE: usize = 40_000_000;

/// Align two recordings by their commands and show what differs; exit code 1 if anything does
#[derive(Args, Debug)]
pub(super) struct Diff {
    /// The first recording or capture
    first: PathBuf,
    /// The second one
    second: PathBuf,
    #[command(flatten)]
    how: HowStrict,
    /// Print one JSON object for each command that differs
    #[arg(long)]
    json: bool,
}

/// How strictly exchanges are compared.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct HowStrict {
    /// Compare nonces, HMACs, keys, tickets and clocks by their sizes alone; this is the default
    #[arg(long)]
    ignore_random: bool,
    /// Compare every byte
    #[arg(long, conflicts_with = "ignore_random")]
    exact: bool,
}

impl HowStrict {
    pub(super) const fn strictness(self) -> Strictness {
        if self.exact {
            Strictness::Exact
        } else {
            Strictness::IgnoreRandom
        }
    }
}

/// The name of the command of an exchange.
pub(super) fn name_of(record: &Record) -> String {
    let command = describe_command(&record.command);
    match (command.info, command.code) {
        (Some(info), _) => command_name(info),
        (None, Some(code)) => format!("{code:#010x}"),
        (None, None) => "no command".to_owned(),
    }
}

/// Prints what differs in one exchange.
pub(super) fn report(
    json: bool,
    numbers: [Option<usize>; 2],
    name: &str,
    found: &[Difference],
    note: Option<&str>,
) -> anyhow::Result<()> {
    if json {
        let [first, second] = numbers;
        output::line(
            json!({ "first": first, "second": second, "command": name, "note": note, "differences": found })
                .to_string(),
        )?;
        return Ok(());
    }
    let number = |number: Option<usize>| number.map_or("-".to_owned(), |number| number.to_string());
    let [first, second] = numbers.map(number);
    let place = if first == second {
        first
    } else {
        format!("{first}/{second}")
    };
    let note = note.map_or_else(String::new, |note| format!(": {note}"));
    output::line(format!("{place} {name}{note}"))?;
    for difference in found {
        output::line(format!(
            "    {}: {} | {}",
            difference.field, difference.before, difference.after
        ))?;
    }
    Ok(())
}

/// A place in an alignment: the same command in both, or one that only the first or the second has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair {
    Both(usize, usize),
    First(usize),
    Second(usize),
}

impl Diff {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        // What happened beside the commands shows in their answers.
        let commands = |path: &Path| -> anyhow::Result<Vec<Record>> {
            let entries = read_file(path)?.into_iter();
            let commands = entries.filter_map(|entry| match entry {
                Entry::Exchange(record) => Some(*record),
                Entry::Event(_) => None,
            });
            Ok(commands.collect())
        };
        let (first, second) = (commands(&self.first)?, commands(&self.second)?);
        if first.is_empty() && second.is_empty() {
            bail!("neither of them has a command in it");
        }
        let codes = |records: &[Record]| -> Vec<Vec<u8>> {
            let code = |record: &Record| record.command.get(6..10).unwrap_or_default().to_vec();
            records.iter().map(code).collect()
        };
        let mut differ = 0usize;
        let mut same = 0usize;
        for pair in align(&codes(&first), &codes(&second)) {
            let (numbers, name, found, note) = match pair {
                Pair::Both(a, b) => {
                    let (Some(one), Some(other)) = (first.get(a), second.get(b)) else {
                        continue;
                    };
                    let found = differences(one, other, self.how.strictness(), true);
                    if found.is_empty() {
                        same = same.saturating_add(1);
                        continue;
                    }
                    ([Some(a), Some(b)], name_of(one), found, None)
                }
                Pair::First(a) => {
                    let name = first.get(a).map(name_of).unwrap_or_default();
                    ([Some(a), None], name, Vec::new(), Some("only in the first"))
                }
                Pair::Second(b) => {
                    let name = second.get(b).map(name_of).unwrap_or_default();
                    (
                        [None, Some(b)],
                        name,
                        Vec::new(),
                        Some("only in the second"),
                    )
                }
            };
            differ = differ.saturating_add(1);
            let numbers = numbers.map(|index| index.map(|index| index.saturating_add(1)));
            report(self.json, numbers, &name, &found, note)?;
        }
        if !self.json {
            output::line(format!("{same} commands alike, {differ} not"))?;
        }
        Ok(if differ == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The longest common subsequence of two lists, and what is left of each.
fn align<T: PartialEq>(first: &[T], second: &[T]) -> Vec<Pair> {
    let alike = first.iter().zip(second);
    let head = alike.take_while(|(a, b)| a == b).count();
    let rest = |list: &[T]| list.len().saturating_sub(head);
    let (rows, columns) = (rest(first), rest(second));
    let mut pairs: Vec<Pair> = (0..head).map(|index| Pair::Both(index, index)).collect();
    let width = columns.saturating_add(1);
    let (mut row, mut column) = (0, 0);
    if rows.saturating_mul(width) <= LARGEST_TABLE {
        let lengths = common_lengths(first, second, head, rows, width);
        let length = |row: usize, column: usize| {
            lengths
                .get(row.saturating_mul(width).saturating_add(column))
                .copied()
                .unwrap_or_default()
        };
        while row < rows && column < columns {
            let (a, b) = (head.saturating_add(row), head.saturating_add(column));
            if first.get(a) == second.get(b) {
                pairs.push(Pair::Both(a, b));
                (row, column) = (row.saturating_add(1), column.saturating_add(1));
            } else if length(row.saturating_add(1), column) >= length(row, column.saturating_add(1))
            {
                pairs.push(Pair::First(a));
                row = row.saturating_add(1);
            } else {
                pairs.push(Pair::Second(b));
                column = column.saturating_add(1);
            }
        }
    }
    pairs.extend((row..rows).map(|row| Pair::First(head.saturating_add(row))));
    pairs.extend((column..columns).map(|column| Pair::Second(head.saturating_add(column))));
    pairs
}

/// For each pair of places, the length of the longest common subsequence from there on.
fn common_lengths<T: PartialEq>(
    first: &[T],
    second: &[T],
    head: usize,
    rows: usize,
    width: usize,
) -> Vec<u32> {
    let mut lengths = vec![0u32; rows.saturating_add(1).saturating_mul(width)];
    for row in (0..rows).rev() {
        for column in (0..width.saturating_sub(1)).rev() {
            let here = row.saturating_mul(width).saturating_add(column);
            let below = here.saturating_add(width);
            let at = |place: usize| lengths.get(place).copied().unwrap_or_default();
            let [a, b] = [row, column].map(|index| head.saturating_add(index));
            let best = if first.get(a) == second.get(b) {
                at(below.saturating_add(1)).saturating_add(1)
            } else {
                at(below).max(at(here.saturating_add(1)))
            };
            if let Some(length) = lengths.get_mut(here) {
                *length = best;
            }
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_one_side_lacks_do_not_shift_the_rest() {
        assert_eq!(
            align(&[1, 2, 3, 4], &[1, 3, 5, 4]),
            [
                Pair::Both(0, 0),
                Pair::First(1),
                Pair::Both(2, 1),
                Pair::Second(2),
                Pair::Both(3, 3)
            ]
        );
        assert_eq!(align(&[1], &[]), [Pair::First(0)]);
        assert_eq!(align::<u8>(&[], &[]), []);
    }
}
