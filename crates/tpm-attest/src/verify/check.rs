//! Checks by name, where each comes from, and the verdict that they make.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! rules {
    ($($rule:ident = $name:literal, $source:literal, $says:literal;)*) => {
        /// What is checked. The names are stable: policies, programs and people may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $says] $rule,)*
        }

        impl Rule {
            /// Every rule, in the order in which they are checked.
            pub const ALL: &'static [Self] = &[$(Self::$rule),*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => $name),* }
            }

            /// The clause that it comes from.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self { $(Self::$rule => $source),* }
            }

            /// What it demands.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$rule => $says),* }
            }
        }
    };
}

rules! {
    EvidenceForm = "evidence.form", "docs/attestation.md", "The evidence is whole and no larger than allowed";
    EkKey = "ek.key", "EK Credential Profile, annex B", "The endorsement key is a restricted decryption key that never left its TPM";
    EkSize = "ek.size", "EK Credential Profile, annex B", "The endorsement key is of a size that the profile has";
    EkMatch = "ek.match", "EK Credential Profile, 3.2", "The certificate is that of this endorsement key";
    EkChain = "ek.chain", "RFC 5280, 6.1.3", "Signatures lead from the certificate to a trusted authority";
    EkValidity = "ek.validity", "RFC 5280, 4.1.2.5", "Every certificate of the chain is valid at this time";
    EkAuthority = "ek.authority", "RFC 5280, 4.2.1.9 and 4.2.1.3", "Only authorities that may sign certificates have signed";
    EkPathLength = "ek.path_length", "RFC 5280, 4.2.1.9", "No authority stands further below another than that one allows";
    EkUsage = "ek.usage", "EK Credential Profile, 3.2", "The certificate is one for an endorsement key";
    EkCritical = "ek.critical", "RFC 5280, 4.2", "No certificate has a critical extension that is not understood";
    EkSignatureStrength = "ek.signature_strength", "NIST SP 800-131A, 3 and 9", "The chain is signed by strong keys with strong hashes";
    EkRevocation = "ek.revocation", "RFC 5280, 6.3.3", "No certificate of the chain is revoked";
    KeyAttributes = "key.attributes", "Part 2, 8.3 (TPMA_OBJECT)", "The attestation key is restricted to signing, and its TPM made it and keeps it";
    KeyStrength = "key.strength", "NIST SP 800-131A, 3 and 9", "The attestation key and its hash are strong";
    KeyEnrolled = "key.enrolled", "Part 1, 24; Part 3, 12.5", "The attestation key is the one that was enrolled with its TPM";
    QuoteMagic = "quote.magic", "Part 2, 10.12.12 and 6.2", "What was signed was made inside a TPM";
    QuoteType = "quote.type", "Part 2, 10.12.12 and 6.9", "What was signed is a quote";
    QuoteForm = "quote.form", "Part 2, 10.12.12", "The quote is whole, and nothing stands behind it";
    QuoteSignature = "quote.signature", "Part 3, 18.4; Part 1, annexes B and C", "The attestation key has signed the quote";
    QuoteSigner = "quote.signer", "Part 2, 10.12.12; Part 1, 16", "The quote names the attestation key under its parents as its signer";
    QuoteNonce = "quote.nonce", "Part 3, 18.4 (qualifyingData)", "The quote was made for this question";
    QuoteSelection = "quote.selection", "Part 2, 10.6.2", "The quote covers the PCR that come with it, each once";
    QuoteDigest = "quote.digest", "Part 3, 18.4; Part 2, 10.12.4", "The PCR that come with the quote are those that were quoted";
    QuoteClock = "quote.clock", "Part 1, 36.2, 36.4 and 36.5", "Clock and counts did not go back since the latest quote";
    QuoteFirmware = "quote.firmware", "Part 2, 10.12.12 (firmwareVersion)", "The firmware of the TPM is the one that was enrolled";
    HistoryClone = "history.clone", "Part 1, 36.2 to 36.5", "No second TPM lives under this identity";
    LogForm = "log.form", "PC Client Platform Firmware Profile, 10.2 and 10.4", "The event log can be read to its end";
    LogReplay = "log.replay", "PC Client Platform Firmware Profile, 10.1; Part 1, 17.2", "The events of the log make the PCR that were quoted";
    LogData = "log.data", "PC Client Platform Firmware Profile, 10.4.1", "What events tell is what they measured, where that can be known";
    LogSeparators = "log.separators", "PC Client Platform Firmware Profile, 10.4.1 (EV_SEPARATOR)", "Firmware closed each of its PCR once, without an error";
    ImaForm = "ima.form", "Linux, Documentation/security/IMA-templates", "The list of the kernel can be read, and its entries are what they say";
    ImaReplay = "ima.replay", "Linux, Documentation/security/IMA-templates; Part 1, 17.2", "The list of the kernel makes the PCR that was quoted";
    PolicySignature = "policy.signature", "docs/attestation.md", "Somebody who may has signed the policy";
    PolicyBank = "policy.bank", "docs/attestation.md", "The quote covers every PCR that the policy is about";
    PolicyPcr = "policy.pcr", "docs/attestation.md", "The PCR have values that the policy allows";
    PolicyEvents = "policy.events", "docs/attestation.md", "The events are those that the policy allows";
    PolicySecureBoot = "policy.secure_boot", "PC Client Platform Firmware Profile, 3.3.4.8", "Secure Boot is on, as the policy demands";
    PolicyFirmware = "policy.firmware", "docs/attestation.md", "The firmware of the TPM is one that the policy allows";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not hold: the evidence is refused.
    Fail,
    /// Nothing was there to check it against.
    Skipped,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub rule: Rule,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
}

impl Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            check: &'a str,
            outcome: Outcome,
            says: &'a str,
            source: &'a str,
            detail: &'a str,
        }
        Shown {
            check: self.rule.name(),
            outcome: self.outcome,
            says: self.rule.says(),
            source: self.rule.source(),
            detail: &self.detail,
        }
        .serialize(serializer)
    }
}

/// As it is written; a check of a name that is not known here is refused.
impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Read {
            check: String,
            outcome: Outcome,
            detail: String,
        }
        let read = Read::deserialize(deserializer)?;
        let rule = Rule::ALL.iter().find(|rule| rule.name() == read.check);
        let unknown = || serde::de::Error::custom(format!("no check is called '{}'", read.check));
        Ok(Self {
            rule: *rule.ok_or_else(unknown)?,
            outcome: read.outcome,
            detail: read.detail,
        })
    }
}

/// What all checks together say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The checks, in the order in which they were made.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// Whether nothing failed. A verdict without any check is none.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        !self.checks.is_empty() && self.failed().next().is_none()
    }

    /// What failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }

    /// The names of what nothing was there to check against.
    #[must_use]
    pub fn open_names(&self) -> Vec<&'static str> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Skipped)
            .map(|check| check.rule.name())
            .collect()
    }

    /// The names of what failed.
    #[must_use]
    pub fn failed_names(&self) -> Vec<&'static str> {
        self.failed().map(|check| check.rule.name()).collect()
    }

    /// How a rule ended, if it was checked; a failure counts before all else.
    #[must_use]
    pub fn outcome(&self, rule: Rule) -> Option<Outcome> {
        let of_rule = || self.checks.iter().filter(|check| check.rule == rule);
        of_rule()
            .find(|check| check.outcome == Outcome::Fail)
            .or_else(|| of_rule().next())
            .map(|check| check.outcome)
    }

    /// Notes that a rule holds.
    pub fn pass(&mut self, rule: Rule, detail: impl Into<String>) {
        self.push(rule, Outcome::Pass, detail.into());
    }

    /// Notes that a rule does not hold.
    pub fn fail(&mut self, rule: Rule, detail: impl Into<String>) {
        self.push(rule, Outcome::Fail, detail.into());
    }

    /// Notes that there is nothing to check a rule against.
    pub fn skip(&mut self, rule: Rule, detail: impl Into<String>) {
        self.push(rule, Outcome::Skipped, detail.into());
    }

    /// Notes how a check ended: what was found, or what is wrong.
    pub fn note<T: Into<String>>(&mut self, rule: Rule, found: Result<T, String>) -> bool {
        match found {
            Ok(detail) => self.pass(rule, detail),
            Err(detail) => {
                self.fail(rule, detail);
                return false;
            }
        }
        true
    }

    fn push(&mut self, rule: Rule, outcome: Outcome, detail: String) {
        self.checks.push(Check {
            rule,
            outcome,
            detail,
        });
    }
}

impl Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            verdict: &'a str,
            failed: Vec<&'a str>,
            open: Vec<&'a str>,
            checks: &'a [Check],
        }
        Shown {
            verdict: if self.is_trusted() {
                "trusted"
            } else {
                "refused"
            },
            failed: self.failed_names(),
            open: self.open_names(),
            checks: &self.checks,
        }
        .serialize(serializer)
    }
}

/// The checks alone: what they say together follows from them.
impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Read {
            checks: Vec<Check>,
        }
        let Read { checks } = Read::deserialize(deserializer)?;
        Ok(Self { checks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_says_where_it_comes_from() {
        let mut names = std::collections::HashSet::new();
        for rule in Rule::ALL {
            assert!(names.insert(rule.name()), "{rule}");
            assert!(!rule.source().is_empty() && !rule.says().is_empty());
        }
    }

    #[test]
    fn one_failure_is_enough_and_nothing_is_no_trust() {
        let mut verdict = Verdict::default();
        assert!(!verdict.is_trusted());
        verdict.pass(Rule::QuoteMagic, "");
        verdict.skip(Rule::QuoteSigner, "");
        assert!(verdict.is_trusted());
        assert!(!verdict.note(Rule::QuoteNonce, Err::<String, _>("other".into())));
        assert!(!verdict.is_trusted());
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(json["verdict"], "refused");
        assert_eq!(json["failed"][0], "quote.nonce");
        assert_eq!(json["checks"][2]["source"], "Part 3, 18.4 (qualifyingData)");
        // It is read as it was written, whatever it says of itself.
        let mut altered = json.clone();
        altered["verdict"] = "trusted".into();
        assert_eq!(serde_json::from_value::<Verdict>(altered).unwrap(), verdict);
        let mut unknown = json;
        unknown["checks"][0]["check"] = "quote.mood".into();
        assert!(serde_json::from_value::<Verdict>(unknown).is_err());
    }
}
