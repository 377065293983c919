//! `.vmx`: readable settings. Unknown keys, comments and the order of lines survive an edit.

use crate::error::StoreError;
use std::path::Path;

/// Largest `.vmx` that is read.
pub(crate) const MAX_FILE_LENGTH: u64 = 1 << 20;

/// The text of a `.vmx`, line by line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vmx {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// Empty or a comment.
    Other(String),
    Pair {
        key: String,
        value: String,
        /// The line as it was read; kept until the value changes.
        text: String,
    },
}

/// Why a text is not a `.vmx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyntaxFault {
    pub(crate) line: usize,
    pub(crate) reason: &'static str,
}

impl SyntaxFault {
    pub(crate) fn at(self, path: &Path) -> StoreError {
        StoreError::Syntax {
            path: path.to_path_buf(),
            line: self.line,
            reason: self.reason,
        }
    }
}

impl Vmx {
    /// A text without lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a text.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, SyntaxFault> {
        let text = std::str::from_utf8(bytes).map_err(|error| SyntaxFault {
            line: 1 + bytes
                .iter()
                .take(error.valid_up_to())
                .filter(|byte| **byte == b'\n')
                .count(),
            reason: "it is not UTF-8",
        })?;
        let mut vmx = Self::new();
        // Not str::lines: it would drop the \r of files written elsewhere.
        let lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        for (line, text) in (1..).zip(lines) {
            let parsed = parse_line(text).map_err(|reason| SyntaxFault { line, reason })?;
            if let Line::Pair { key, .. } = &parsed
                && vmx.get(key).is_some()
            {
                return Err(SyntaxFault {
                    line,
                    reason: "this key stands in the file twice",
                });
            }
            vmx.lines.push(parsed);
        }
        Ok(vmx)
    }

    /// The value of a key; keys compare without case.
    pub fn get(&self, wanted: &str) -> Option<&str> {
        self.pairs()
            .find(|(key, _)| key.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
    }

    /// All keys and values, in the order of the file.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Pair { key, value, .. } => Some((key.as_str(), value.as_str())),
            Line::Other(_) => None,
        })
    }

    /// Sets a key where it stands, or at the end. A key of other characters than letters, digits, `.`, `:`, `_` and
    /// `-` is refused by returning false.
    pub fn set(&mut self, wanted: &str, new: &str) -> bool {
        if !is_key(wanted) {
            return false;
        }
        for line in &mut self.lines {
            if let Line::Pair { key, value, text } = line
                && key.eq_ignore_ascii_case(wanted)
            {
                if value != new {
                    *text = write_pair(key, new);
                    new.clone_into(value);
                }
                return true;
            }
        }
        self.lines.push(Line::Pair {
            key: wanted.to_owned(),
            value: new.to_owned(),
            text: write_pair(wanted, new),
        });
        true
    }

    /// Removes a key.
    pub fn remove(&mut self, wanted: &str) {
        self.lines.retain(
            |line| !matches!(line, Line::Pair { key, .. } if key.eq_ignore_ascii_case(wanted)),
        );
    }

    /// The text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let (Line::Other(line) | Line::Pair { text: line, .. }) = line;
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

fn parse_line(text: &str) -> Result<Line, &'static str> {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Ok(Line::Other(text.to_owned()));
    }
    let (key, rest) = trimmed
        .split_once('=')
        .ok_or("it is not of the form key = \"value\"")?;
    let key = key.trim_end();
    if !is_key(key) {
        return Err("a key is made of letters, digits and . : _ -");
    }
    let quoted = rest
        .trim_start()
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or("the value is not in double quotes")?;
    Ok(Line::Pair {
        key: key.to_owned(),
        value: unescape(quoted)?,
        text: text.to_owned(),
    })
}

fn is_key(key: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '_' | '-');
    !key.is_empty() && key.chars().all(allowed)
}

fn unescape(quoted: &str) -> Result<String, &'static str> {
    let mut value = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some((before, after)) = rest.split_once('|') {
        let byte = after
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(u8::is_ascii)
            .ok_or("after | come two hexadecimal digits below 80")?;
        value.push_str(before);
        value.push(char::from(byte));
        rest = after.get(2..).unwrap_or_default();
    }
    value.push_str(rest);
    if quoted.contains('"') {
        return Err("a double quote inside a value is written |22");
    }
    Ok(value)
}

fn write_pair(key: &str, value: &str) -> String {
    let mut text = format!("{key} = \"");
    for character in value.chars() {
        match character {
            '"' | '|' | '\0'..='\x1f' | '\x7f' => {
                text.push_str(&format!("|{:02X}", u32::from(character)));
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "#!/usr/bin/vmware\n.encoding = \"UTF-8\"\n\nscsi0:0.fileName   =  \"disk one.vmdk\"\n\
        # a comment\nguestOS = \"windows9-64\"\nannotation = \"two|0Alines |22quoted|22 |7C\"\n";

    #[test]
    fn an_unchanged_text_is_kept_to_the_byte() {
        for text in [SAMPLE.to_owned(), SAMPLE.replace('\n', "\r\n")] {
            assert_eq!(Vmx::parse(text.as_bytes()).unwrap().to_text(), text);
        }
    }

    #[test]
    fn an_edit_changes_its_line_only() {
        let mut vmx = Vmx::parse(SAMPLE.as_bytes()).unwrap();
        assert!(vmx.set("GUESTOS", "ubuntu-64"));
        assert!(vmx.set("new.key", "a \"b\"|\n"));
        vmx.remove(".encoding");
        let expected = SAMPLE
            .replace("windows9-64", "ubuntu-64")
            .replace(".encoding = \"UTF-8\"\n", "")
            + "new.key = \"a |22b|22|7C|0A\"\n";
        assert_eq!(vmx.to_text(), expected);
        assert_eq!(
            Vmx::parse(expected.as_bytes()).unwrap().get("new.key"),
            Some("a \"b\"|\n")
        );
    }

    #[test]
    fn values_are_unescaped() {
        let vmx = Vmx::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(vmx.get("annotation"), Some("two\nlines \"quoted\" |"));
        assert_eq!(vmx.get("SCSI0:0.FILENAME"), Some("disk one.vmdk"));
    }

    #[test]
    fn malformed_lines_are_named() {
        for (text, line) in [
            ("a = \"1\"\nb", 2),
            ("a = 1", 1),
            ("a = \"1", 1),
            ("a = \"", 1),
            ("a b = \"1\"", 1),
            ("= \"1\"", 1),
            ("a = \"x|4\"", 1),
            ("a = \"x|zz\"", 1),
            ("a = \"x|+1\"", 1),
            ("a = \"x\"y\"", 1),
            ("a = \"1\"\n\nA = \"2\"", 3),
        ] {
            assert_eq!(
                Vmx::parse(text.as_bytes()).unwrap_err().line,
                line,
                "{text}"
            );
        }
        assert_eq!(Vmx::parse(b"a = \"1\"\nb = \"\xff\"").unwrap_err().line, 2);
    }

    #[test]
    fn a_key_that_would_break_the_text_is_refused() {
        let mut vmx = Vmx::new();
        for key in ["", "a b", "a=b", "a\nb", "#a", "a\"b"] {
            assert!(!vmx.set(key, "x"), "{key:?}");
        }
        assert_eq!(vmx, Vmx::new());
    }
}
