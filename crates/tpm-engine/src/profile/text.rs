//! The text form of a profile: a line for each setting, numbers in lists as ranges.

use super::words::{RSA_KEY_SIZES, SYMMETRIC_KEY_SIZES, algorithms, bank_order, curves};
use super::{DEFAULT_BANKS, Profile};
use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::ops::RangeInclusive;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::codec::Limits;
use tpm_wire::commands::COMMANDS;
use tpm_wire::constants::TpmAlgId;

/// The first line: the form and its version.
const HEAD: &str = "vtpm profile 1";
/// Longest name.
const MAX_NAME: usize = 64;

/// Why a text is no profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileError {
    /// It does not begin with the line that names form and version.
    NotAProfile,
    /// The setting is missing, or stands twice.
    Setting(&'static str),
    /// The line names no setting, or its value cannot be.
    Line(String),
    /// A word of a list is none of those that can stand there.
    Word {
        /// The list.
        list: &'static str,
        /// The word.
        word: String,
        /// What can stand there.
        allowed: String,
    },
    /// A limit cannot have this value.
    Limit {
        /// The limit.
        key: &'static str,
        /// The value.
        value: u32,
        /// The values that it can have.
        range: RangeInclusive<u32>,
    },
    /// Settings do not go together, or leave out what no TPM can be without.
    Together(String),
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAProfile => write!(f, "a profile begins with the line `{HEAD}`"),
            Self::Setting(key) => {
                write!(f, "a profile has exactly one line that begins with `{key}`")
            }
            Self::Line(line) => write!(f, "the line `{line}` of the profile cannot be"),
            Self::Word {
                list,
                word,
                allowed,
            } => write!(
                f,
                "`{word}` is not among the {list} that a profile can have: {allowed}"
            ),
            Self::Limit { key, value, range } => write!(
                f,
                "the profile's limit `{key}` cannot be {value}: it is {} to {}",
                range.start(),
                range.end()
            ),
            Self::Together(text) => write!(f, "the profile contradicts itself: {text}"),
        }
    }
}

impl core::error::Error for ProfileError {}

/// How the numbers of a list are written.
#[derive(Clone, Copy)]
enum Radix {
    Decimal,
    Hexadecimal,
}

impl Profile {
    /// The profile as text: what is stored with a TPM, and what [`from_text`](Self::from_text) reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::with_capacity(1024);
        out.push_str(HEAD);
        out.push('\n');
        line(&mut out, "name", &self.name);
        self.write_lists(&mut out);
        for (key, number, _) in self.numbers() {
            line(&mut out, key, number);
        }
        for (key, words, _) in self.words() {
            let mut list = String::new();
            for (index, word) in words.iter().enumerate() {
                let separator = if index == 0 { "" } else { "," };
                let _ = write!(list, "{separator}{word:x}");
            }
            line(&mut out, key, list);
        }
        out
    }

    fn write_lists(&self, out: &mut String) {
        let limits = &self.limits;
        let algorithms = algorithms()
            .filter(|id| limits.has_algorithm(*id))
            .map(|id| u32::from(id.0));
        let curves = curves()
            .filter(|curve| limits.has_curve(curve.0))
            .map(|curve| u32::from(curve.0));
        let rsa = RSA_KEY_SIZES
            .iter()
            .filter(|bits| limits.has_rsa_key_size(**bits));
        list(out, "algorithms", Radix::Hexadecimal, algorithms);
        list(out, "curves", Radix::Hexadecimal, curves);
        list(
            out,
            "commands",
            Radix::Hexadecimal,
            self.commands().map(|command| command.code),
        );
        list(out, "rsa", Radix::Decimal, rsa.map(|bits| u32::from(*bits)));
        for (key, cipher) in [("aes", TpmAlgId::AES), ("camellia", TpmAlgId::CAMELLIA)] {
            let sizes = SYMMETRIC_KEY_SIZES
                .iter()
                .filter(|bits| limits.has_symmetric_key_size(cipher, **bits));
            list(out, key, Radix::Decimal, sizes.map(|bits| u32::from(*bits)));
        }
        // The settings below came after the first profiles were stored: they stand there if they are not the usual.
        if !limits.has_symmetric_key_size(TpmAlgId::TDES, 128) {
            line(out, TDES, "192");
        }
        if self.pcr_banks != usual_banks(limits) {
            let banks = self.pcr_banks.iter().map(|hash| u32::from(hash.id().0));
            list(out, PCR_BANKS, Radix::Hexadecimal, banks);
        }
    }

    /// The settings that are one number: the key, the value, and the values that can be.
    pub(super) fn numbers(&self) -> [(&'static str, u32, RangeInclusive<u32>); 18] {
        let limits = &self.limits;
        [
            ("transient-objects", limits.transient_objects, 1..=1024),
            ("active-sessions", limits.active_sessions, 1..=4096),
            ("loaded-sessions", self.loaded_sessions, 1..=4096),
            ("persistent-objects", self.persistent_objects, 0..=4096),
            ("persistent-min", self.persistent_min, 0..=4096),
            ("timers", limits.act_count, 0..=16),
            ("command-size", self.max_command_size, 2896..=8192),
            ("nv-index", u32::from(self.max_nv_index), 64..=65535),
            ("nv-buffer", u32::from(self.max_nv_buffer), 64..=2048),
            ("nv-memory", self.nv_memory, 0..=1 << 24),
            ("orderly-memory", self.orderly_memory, 0..=1 << 20),
            ("clock-update", self.clock_update, 1..=1 << 22),
            ("object-context", self.max_object_context, 0..=8192),
            ("session-context", self.max_session_context, 0..=8192),
            ("memory", self.memory, 0..=7),
            ("revision", self.revision, 116..=999),
            ("vendor-type", self.vendor_type, 0..=u32::MAX),
            ("pcr", limits.pcr_count, 24..=24),
        ]
    }

    pub(super) fn set_number(&mut self, key: &str, number: u32) {
        let short = u16::try_from(number).unwrap_or(u16::MAX);
        match key {
            "transient-objects" => self.limits.transient_objects = number,
            "active-sessions" => self.limits.active_sessions = number,
            "loaded-sessions" => self.loaded_sessions = number,
            "persistent-objects" => self.persistent_objects = number,
            "persistent-min" => self.persistent_min = number,
            "timers" => self.limits.act_count = number,
            "command-size" => self.max_command_size = number,
            "nv-index" => self.max_nv_index = short,
            "nv-buffer" => self.max_nv_buffer = short,
            "nv-memory" => self.nv_memory = number,
            "orderly-memory" => self.orderly_memory = number,
            "clock-update" => self.clock_update = number,
            "object-context" => self.max_object_context = number,
            "session-context" => self.max_session_context = number,
            "memory" => self.memory = number,
            "revision" => self.revision = number,
            "vendor-type" => self.vendor_type = number,
            _ => {}
        }
    }

    /// The settings that are words of 32 bits: the key, the words, and how many there are.
    fn words(&self) -> [(&'static str, Vec<u32>, usize); 5] {
        let high = u32::try_from(self.firmware_version >> 32).unwrap_or_default();
        let low = u32::try_from(self.firmware_version & 0xFFFF_FFFF).unwrap_or_default();
        let vendor = self.vendor_strings.iter().copied();
        [
            ("date", self.date.to_vec(), 2),
            ("platform", self.platform.to_vec(), 5),
            (
                "manufacturer",
                Vec::from([u32::from_be_bytes(self.manufacturer)]),
                1,
            ),
            ("vendor", vendor.map(u32::from_be_bytes).collect(), 4),
            ("firmware", Vec::from([high, low]), 2),
        ]
    }

    fn set_words(&mut self, key: &str, words: &[u32]) {
        match (key, words) {
            ("date", [day, year]) => self.date = [*day, *year],
            ("platform", [family, level, revision, day, year]) => {
                self.platform = [*family, *level, *revision, *day, *year];
            }
            ("manufacturer", [word]) => self.manufacturer = word.to_be_bytes(),
            ("vendor", [first, second, third, fourth]) => {
                self.vendor_strings = [*first, *second, *third, *fourth].map(u32::to_be_bytes);
            }
            ("firmware", [high, low]) => {
                self.firmware_version = u64::from(*high) << 32 | u64::from(*low);
            }
            _ => {}
        }
    }

    /// The profile of a text.
    ///
    /// # Errors
    /// What about the text is wrong: each setting must stand there once, and must be possible in this program.
    pub fn from_text(text: &str) -> Result<Self, ProfileError> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(ProfileError::NotAProfile);
        }
        let mut settings = Settings(Vec::new());
        for line in lines {
            let (key, value) = line
                .split_once(' ')
                .ok_or_else(|| ProfileError::Line(line.to_owned()))?;
            settings.0.push((key, value, line));
        }
        let mut profile = Self::default();
        let (name, line) = settings.take("name")?;
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(bad(line));
        }
        profile.name = Cow::Owned(name.to_owned());
        profile.read_lists(&mut settings)?;
        for (key, _, range) in profile.numbers() {
            let (value, line) = settings.take(key)?;
            match value.parse() {
                Ok(number) if range.contains(&number) => profile.set_number(key, number),
                _ => return Err(bad(line)),
            }
        }
        for (key, _, count) in profile.words() {
            let (value, line) = settings.take(key)?;
            let words: Option<Vec<u32>> = value
                .split(',')
                .map(|word| u32::from_str_radix(word, 16).ok())
                .collect();
            match words {
                Some(words) if words.len() == count => profile.set_words(key, &words),
                _ => return Err(bad(line)),
            }
        }
        if let Some((_, _, line)) = settings.0.first() {
            return Err(bad(line));
        }
        profile.check_together()?;
        Ok(profile)
    }

    /// What no line alone can tell.
    fn check_together(&self) -> Result<(), ProfileError> {
        for (key, wrong) in [
            (
                "loaded-sessions",
                self.loaded_sessions > self.limits.active_sessions,
            ),
            (
                "persistent-min",
                self.persistent_min > self.persistent_objects,
            ),
            ("clock-update", !self.clock_update.is_power_of_two()),
        ] {
            if wrong {
                return Err(ProfileError::Setting(key));
            }
        }
        Ok(())
    }

    fn read_lists(&mut self, settings: &mut Settings<'_>) -> Result<(), ProfileError> {
        let mut limits = Limits::ALL;
        let known: Vec<u32> = algorithms().map(|id| u32::from(id.0)).collect();
        let has = settings.subset("algorithms", Radix::Hexadecimal, &known)?;
        for id in algorithms() {
            if !has.contains(&u32::from(id.0)) {
                limits.remove_algorithm(id);
            }
        }
        let known: Vec<u32> = curves().map(|curve| u32::from(curve.0)).collect();
        let has = settings.subset("curves", Radix::Hexadecimal, &known)?;
        for curve in curves() {
            if !has.contains(&u32::from(curve.0)) {
                limits.remove_curve(curve.0);
            }
        }
        let known: Vec<u32> = COMMANDS.iter().map(|command| command.code).collect();
        let has = settings.subset("commands", Radix::Hexadecimal, &known)?;
        self.disabled_commands = known
            .into_iter()
            .filter(|code| has.binary_search(code).is_err())
            .collect();
        let has = settings.subset("rsa", Radix::Decimal, &RSA_KEY_SIZES.map(u32::from))?;
        for bits in RSA_KEY_SIZES {
            if !has.contains(&u32::from(bits)) {
                limits.remove_rsa_key_size(bits);
            }
        }
        for (key, cipher) in [("aes", TpmAlgId::AES), ("camellia", TpmAlgId::CAMELLIA)] {
            let has = settings.subset(key, Radix::Decimal, &SYMMETRIC_KEY_SIZES.map(u32::from))?;
            for bits in SYMMETRIC_KEY_SIZES {
                if !has.contains(&u32::from(bits)) {
                    limits.remove_symmetric_key_size(cipher, bits);
                }
            }
        }
        if settings.has(TDES) {
            settings.subset(TDES, Radix::Decimal, &[192])?;
            limits.remove_symmetric_key_size(TpmAlgId::TDES, 128);
        }
        self.pcr_banks = usual_banks(&limits);
        if settings.has(PCR_BANKS) {
            let hashes = TpmiAlgHash::ALL.iter();
            let mut hashes: Vec<TpmiAlgHash> = hashes
                .copied()
                .filter(|hash| limits.has_algorithm(hash.id()))
                .collect();
            let id = |hash: &TpmiAlgHash| u32::from(hash.id().0);
            let known: Vec<u32> = hashes.iter().map(id).collect();
            let has = settings.subset(PCR_BANKS, Radix::Hexadecimal, &known)?;
            hashes.retain(|hash| has.contains(&id(hash)));
            hashes.sort_by_key(|hash| bank_order(*hash));
            self.pcr_banks = hashes;
        }
        self.limits = limits;
        Ok(())
    }
}

/// The setting of the key sizes of TDES.
const TDES: &str = "tdes";
/// The setting of the PCR banks of a new TPM.
const PCR_BANKS: &str = "pcr-banks";

/// The PCR banks of a profile that says nothing of them.
fn usual_banks(limits: &Limits) -> Vec<TpmiAlgHash> {
    let banks = DEFAULT_BANKS.iter().copied();
    banks
        .filter(|hash| limits.has_algorithm(hash.id()))
        .collect()
}

/// The lines that were not yet understood: key, value, line.
struct Settings<'a>(Vec<(&'a str, &'a str, &'a str)>);

impl<'a> Settings<'a> {
    /// Takes out the one line of a key.
    fn take(&mut self, key: &'static str) -> Result<(&'a str, &'a str), ProfileError> {
        let index = self
            .0
            .iter()
            .position(|(found, _, _)| *found == key)
            .ok_or(ProfileError::Setting(key))?;
        let (_, value, line) = self.0.remove(index);
        if self.0.iter().any(|(found, _, _)| *found == key) {
            return Err(ProfileError::Setting(key));
        }
        Ok((value, line))
    }

    /// Whether there is a line of a key that may be missing.
    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(found, _, _)| *found == key)
    }

    /// Takes out a list of numbers that must all be `known`, ascending.
    fn subset(
        &mut self,
        key: &'static str,
        radix: Radix,
        known: &[u32],
    ) -> Result<Vec<u32>, ProfileError> {
        let (value, line) = self.take(key)?;
        let radix = match radix {
            Radix::Decimal => 10,
            Radix::Hexadecimal => 16,
        };
        let number = |text| u32::from_str_radix(text, radix).map_err(|_| bad(line));
        let mut numbers: Vec<u32> = Vec::new();
        for range in value.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = match range.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(range)?, number(range)?),
            };
            let after = numbers.last().is_none_or(|before| *before < first);
            // Every number must be known, which bounds the length of a range too.
            if !after
                || first > last
                || usize::try_from(last - first).is_ok_and(|n| n > known.len())
            {
                return Err(bad(line));
            }
            numbers.extend(first..=last);
        }
        if numbers.iter().all(|number| known.contains(number)) {
            Ok(numbers)
        } else {
            Err(bad(line))
        }
    }
}

fn bad(line: &str) -> ProfileError {
    ProfileError::Line(line.to_owned())
}

fn line(out: &mut String, key: &str, value: impl fmt::Display) {
    let _ = writeln!(out, "{key} {value}");
}

/// Ascending numbers as ranges of neighbours.
pub(super) fn ranges(numbers: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if number == last.wrapping_add(1) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// Writes ascending numbers, neighbours joined to ranges.
fn list(out: &mut String, key: &str, radix: Radix, numbers: impl Iterator<Item = u32>) {
    let mut text = String::new();
    for (index, (first, last)) in ranges(numbers).iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        let _ = match radix {
            Radix::Decimal => write!(text, "{separator}{first}"),
            Radix::Hexadecimal => write!(text, "{separator}{first:x}"),
        };
        if last > first {
            let _ = match radix {
                Radix::Decimal => write!(text, "-{last}"),
                Radix::Hexadecimal => write!(text, "-{last:x}"),
            };
        }
    }
    line(out, key, text);
}

#[cfg(test)]
mod tests {
    use super::{Profile, ProfileError};
    use alloc::string::ToString;

    #[test]
    fn numbers_are_written_as_ranges() {
        let text = Profile::by_name("swtpm-0.7").unwrap().to_text();
        assert!(text.contains("\ncurves 1-5,10-11,20\n"), "{text}");
        assert!(text.contains("\nrsa 1024,2048,3072\n"), "{text}");
        assert!(text.contains("\ncommands 11f-122,124-12e,130-"), "{text}");
    }

    #[test]
    fn a_text_with_a_line_too_many_too_few_or_wrong_is_refused() {
        let text = Profile::default().to_text();
        assert_eq!(Profile::from_text(""), Err(ProfileError::NotAProfile));
        let without = text.replace("timers 1\n", "");
        assert_eq!(
            Profile::from_text(&without),
            Err(ProfileError::Setting("timers"))
        );
        let twice = text.clone() + "timers 1\n";
        assert_eq!(
            Profile::from_text(&twice),
            Err(ProfileError::Setting("timers"))
        );
        for (right, wrong) in [
            ("timers 1\n", "timers 17\n"),
            ("timers 1\n", "timers 1\ncolour 7\n"),
            ("rsa 1024,", "rsa 1025,"),
            ("rsa 1024,", "rsa 1024,1024,"),
            ("commands 11f-", "commands 1-"),
            ("commands 11f-", "commands 0-ffffffff,11f-"),
            ("name default", "name "),
        ] {
            assert!(text.contains(right));
            let error = Profile::from_text(&text.replace(right, wrong)).unwrap_err();
            assert!(matches!(error, ProfileError::Line(_)), "{error:?}");
            assert!(error.to_string().contains("line"));
        }
        let text = text.replace("clock-update 4194304", "clock-update 4194303");
        assert_eq!(
            Profile::from_text(&text),
            Err(ProfileError::Setting("clock-update"))
        );
    }
}
