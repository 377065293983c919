//! `swtpm-localca.options`: options of swtpm_cert, which hold for every certificate.

use std::path::Path;

use anyhow::{Context, bail};
use tpm_attest::certificate::{Lifetime, PlatformIdentity};
use vm_store::backend::{LARGEST_TEXT, read_named_text};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertificateOptions {
    pub(super) platform: PlatformIdentity,
    /// Attributes of the subject beside its common name, as `C=US,ST=NY,L=1`.
    pub(super) subject: Option<String>,
    pub(super) lifetime: Lifetime,
    /// Options about the TPM, which speaks for itself.
    pub(super) about_the_tpm: Vec<String>,
}

impl Default for CertificateOptions {
    fn default() -> Self {
        Self {
            platform: PlatformIdentity {
                manufacturer: "vtpm".into(),
                model: "virtual machine".into(),
                version: env!("CARGO_PKG_VERSION").into(),
            },
            subject: None,
            lifetime: Lifetime::Endless,
            about_the_tpm: Vec::new(),
        }
    }
}

impl CertificateOptions {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let what = || format!("the options {}", path.display());
        let text = read_named_text(path, LARGEST_TEXT).with_context(what)?;
        Self::parse(&text).with_context(what)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut words = words(text)?.into_iter();
        while let Some(option) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("'{option}' needs a value"))
            };
            match option.as_str() {
                "--platform-manufacturer" => options.platform.manufacturer = value()?,
                "--platform-model" => options.platform.model = value()?,
                "--platform-version" => options.platform.version = value()?,
                "--subject" => options.subject = Some(value()?),
                "--days" => options.lifetime = lifetime(&value()?)?,
                "--tpm-manufacturer"
                | "--tpm-model"
                | "--tpm-version"
                | "--tpm-spec-family"
                | "--tpm-spec-level"
                | "--tpm-spec-revision" => {
                    value()?;
                    options.about_the_tpm.push(option);
                }
                _ => bail!("'{option}' is not known here"),
            }
        }
        Ok(options)
    }
}

/// Days; none at all, or fewer, is without end.
fn lifetime(text: &str) -> anyhow::Result<Lifetime> {
    let days: i64 = text
        .parse()
        .with_context(|| format!("'--days {text}' is no number of days"))?;
    match u32::try_from(days) {
        Ok(0) | Err(_) if days <= 0 => Ok(Lifetime::Endless),
        Ok(days) => Ok(Lifetime::Days(days)),
        Err(_) => bail!("'--days {text}' is longer than any certificate lives"),
    }
}

/// The words of a text; quotes hold words together.
fn words(text: &str) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        bail!("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_over_several_lines_and_with_quotes_are_read() {
        let text = "--platform-manufacturer \"Fedora XYZ\"\n--platform-version 2.1\n--platform-model 'QEMU A.B'\n\
            --days 30 --subject C=US,ST=NY --tpm-model x";
        let options = CertificateOptions::parse(text).unwrap();
        assert_eq!(options.platform.manufacturer, "Fedora XYZ");
        assert_eq!(options.platform.model, "QEMU A.B");
        assert_eq!(options.platform.version, "2.1");
        assert_eq!(options.lifetime, Lifetime::Days(30));
        assert_eq!(options.subject.as_deref(), Some("C=US,ST=NY"));
        assert_eq!(options.about_the_tpm, ["--tpm-model"]);
        let endless = CertificateOptions::parse("--days -1").unwrap();
        assert_eq!(endless, CertificateOptions::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("--color red", "--color"),
            ("--days", "--days"),
            ("--days x", "days"),
            ("--days 99999999999", "longer"),
            ("--platform-model \"x", "quote"),
        ] {
            let error = CertificateOptions::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
