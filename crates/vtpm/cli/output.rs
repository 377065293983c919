//! What verbs print: lines, tables, JSON.

use std::io::{self, ErrorKind, Write as _};
use std::time::Duration;

use der::DateTime;
use serde::Serialize;

/// Prints text and a line end. A reader that went away is no error.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let outcome = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// Prints rows under their headings, in columns.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    line(format_table(headings, rows).trim_end())
}

/// A moment, in seconds since 1970, as a date and time of UTC.
pub(crate) fn date(seconds: u64) -> String {
    DateTime::from_unix_duration(Duration::from_secs(seconds))
        .map_or_else(|_| format!("second {seconds}"), |date| date.to_string())
}

fn format_table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_owned);
    let mut widths = [0usize; N];
    for row in std::iter::once(&headings).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["über".to_owned(), "on".to_owned()],
            ["a".to_owned(), String::new()],
        ];
        assert_eq!(
            format_table(["NAME", "POWER"], &rows),
            "NAME  POWER\nüber  on\na\n"
        );
    }
}
