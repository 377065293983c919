//! What a person may say of a profile, in the words that swtpm's profiles have: algorithms, commands, limits.

use super::{Profile, ProfileError};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::codec::Limits;
use tpm_wire::commands::COMMANDS;
use tpm_wire::constants::{TpmAlgId, TpmEccCurve};
use tpm_wire::table::find;

/// Sizes of RSA keys that can be switched off.
pub(super) const RSA_KEY_SIZES: [u16; 4] = [1024, 2048, 3072, 4096];
/// Sizes of the keys of block ciphers that can be switched off.
pub(super) const SYMMETRIC_KEY_SIZES: [u16; 3] = [128, 192, 256];
/// Algorithms by which the TPM protects what is its own: objects, contexts, sessions, credentials.
const NEEDED_ALGORITHMS: [TpmAlgId; 7] = [
    TpmAlgId::HMAC,
    TpmAlgId::AES,
    TpmAlgId::KEYEDHASH,
    TpmAlgId::SHA256,
    TpmAlgId::KDF1_SP800_108,
    TpmAlgId::SYMCIPHER,
    TpmAlgId::CFB,
];
/// Commands without which nobody could start the TPM, stop it or ask what it is.
const NEEDED_COMMANDS: [u32; 4] = [0x143, 0x144, 0x145, 0x17A];
/// Algorithms that are good for nothing, or cannot be used, without another: the one, and what it needs.
const NEEDS: [(TpmAlgId, TpmAlgId); 14] = [
    (TpmAlgId::RSA, TpmAlgId::OAEP),
    (TpmAlgId::RSASSA, TpmAlgId::RSA),
    (TpmAlgId::RSAES, TpmAlgId::RSA),
    (TpmAlgId::RSAPSS, TpmAlgId::RSA),
    (TpmAlgId::OAEP, TpmAlgId::RSA),
    (TpmAlgId::OAEP, TpmAlgId::MGF1),
    (TpmAlgId::ECC, TpmAlgId::ECDH),
    (TpmAlgId::ECC, TpmAlgId::KDF1_SP800_56A),
    (TpmAlgId::ECDSA, TpmAlgId::ECC),
    (TpmAlgId::ECDH, TpmAlgId::ECC),
    (TpmAlgId::ECDAA, TpmAlgId::ECC),
    (TpmAlgId::SM2, TpmAlgId::ECC),
    (TpmAlgId::ECSCHNORR, TpmAlgId::ECC),
    (TpmAlgId::ECMQV, TpmAlgId::ECC),
];
/// Algorithms whose keys have sizes to choose from.
const SIZED: [TpmAlgId; 5] = [
    TpmAlgId::RSA,
    TpmAlgId::TDES,
    TpmAlgId::AES,
    TpmAlgId::CAMELLIA,
    TpmAlgId::ECC,
];

impl Profile {
    /// Leaves the TPM these algorithms only: names as `sha256` or `kdf1-sp800-56a`, curves as `ecc-nist-p256`, groups of them
    /// (`ecc-nist`, `ecc-bn`), and sizes of keys as `rsa-min-size=2048` or `aes-sizes=128+256`, with commas between.
    ///
    /// # Errors
    /// [`ProfileError::Word`] names the word that is none of these, [`ProfileError::Together`] what does not go together.
    /// The profile may be changed in part then.
    pub fn set_algorithms(&mut self, words: &str) -> Result<(), ProfileError> {
        let mut limits = Limits::ALL;
        limits.transient_objects = self.limits.transient_objects;
        limits.active_sessions = self.limits.active_sessions;
        limits.pcr_count = self.limits.pcr_count;
        limits.act_count = self.limits.act_count;
        let listed: Vec<&str> = split(words).collect();
        for algorithm in algorithms() {
            if !listed.contains(&&*verb(algorithm)) {
                limits.remove_algorithm(algorithm);
            }
        }
        for curve in curves() {
            let named = |name: &String| listed.contains(&name.as_str());
            let group = curve_group(curve).map(ToOwned::to_owned);
            if !named(&curve_verb(curve)) && !group.as_ref().is_some_and(named) {
                limits.remove_curve(curve.0);
            }
        }
        for word in listed {
            let is_known = word == "null"
                || algorithms().any(|algorithm| verb(algorithm) == word)
                || curves()
                    .any(|curve| curve_verb(curve) == word || curve_group(curve) == Some(word))
                || narrow_sizes(&mut limits, word).is_some();
            if !is_known {
                return Err(ProfileError::Word {
                    list: "algorithms",
                    word: word.to_owned(),
                    allowed: known_algorithms(),
                });
            }
        }
        self.pcr_banks
            .retain(|hash| limits.has_algorithm(hash.id()));
        self.limits = limits;
        self.check_algorithms()
    }

    /// Leaves the TPM these commands only: codes and ranges of codes, as `0x11f-0x122,0x124`.
    ///
    /// # Errors
    /// As [`set_algorithms`](Self::set_algorithms).
    pub fn set_commands(&mut self, ranges: &str) -> Result<(), ProfileError> {
        let mut listed = Vec::new();
        for range in split(ranges) {
            let bad = || ProfileError::Word {
                list: "commands",
                word: range.to_owned(),
                allowed: ranges_text(COMMANDS.iter().map(|command| command.code)),
            };
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (code(first), code(last));
            let (Some(first), Some(last)) = (first, last) else {
                return Err(bad());
            };
            // Every code must be known, which bounds the length of a range too.
            if first > last || !(first..=last).all(|code| find(code).is_some()) {
                return Err(bad());
            }
            listed.extend(first..=last);
        }
        if let Some(code) = NEEDED_COMMANDS.iter().find(|code| !listed.contains(code)) {
            let name = find(*code).map_or("", |command| command.name);
            return Err(ProfileError::Together(format!(
                "no TPM can be without the command {code:#x} ({name})"
            )));
        }
        self.disabled_commands = COMMANDS
            .iter()
            .map(|command| command.code)
            .filter(|code| !listed.contains(code))
            .collect();
        Ok(())
    }

    /// Gives a new TPM these PCR banks, by the names of their hashes with commas between; others can be allocated later.
    ///
    /// # Errors
    /// As [`set_algorithms`](Self::set_algorithms); a hash that the TPM does not have is refused too.
    pub fn set_pcr_banks(&mut self, words: &str) -> Result<(), ProfileError> {
        let hashes = || {
            let all = TpmiAlgHash::ALL.iter().copied();
            all.filter(|hash| self.limits.has_algorithm(hash.id()))
        };
        let mut banks = Vec::new();
        for word in split(words) {
            match hashes().find(|hash| verb(hash.id()) == word) {
                Some(hash) if !banks.contains(&hash) => banks.push(hash),
                Some(_) => {}
                None => {
                    let allowed = hashes().map(|hash| verb(hash.id()));
                    return Err(ProfileError::Word {
                        list: "PCR banks",
                        word: word.to_owned(),
                        allowed: join(allowed),
                    });
                }
            }
        }
        banks.sort_by_key(|hash| bank_order(*hash));
        self.pcr_banks = banks;
        Ok(())
    }

    /// Sets a limit by its name in the text form.
    ///
    /// # Errors
    /// [`ProfileError::Word`] if there is no such limit, [`ProfileError::Limit`] if it cannot have this value.
    pub fn set_limit(&mut self, name: &str, value: u32) -> Result<(), ProfileError> {
        let numbers = self.numbers();
        let Some((key, _, range)) = numbers.iter().find(|(key, _, _)| *key == name) else {
            return Err(ProfileError::Word {
                list: "limits",
                word: name.to_owned(),
                allowed: join(numbers.iter().map(|(key, _, _)| (*key).to_string())),
            });
        };
        if !range.contains(&value) {
            return Err(ProfileError::Limit {
                key,
                value,
                range: range.clone(),
            });
        }
        self.set_number(name, value);
        Ok(())
    }

    /// Checks what no setting alone can tell.
    ///
    /// # Errors
    /// [`ProfileError::Together`] says what does not go together.
    pub fn check(&self) -> Result<(), ProfileError> {
        let nv_index = u32::from(self.max_nv_index);
        let nv_buffer = u32::from(self.max_nv_buffer);
        for (wrong, text) in [
            (
                self.loaded_sessions > self.limits.active_sessions,
                "`loaded-sessions` is more than `active-sessions`",
            ),
            (
                self.persistent_min > self.persistent_objects,
                "`persistent-min` is more than `persistent-objects`",
            ),
            (
                !self.clock_update.is_power_of_two(),
                "`clock-update` is no power of two",
            ),
            (
                self.nv_memory <= nv_index,
                "`nv-memory` has no room for one Index of the size `nv-index`",
            ),
            (
                // What stands around the data in a command with two sessions fits into half a kilobyte.
                nv_buffer > nv_index || self.max_command_size < nv_buffer + 512,
                "`nv-buffer` is more than `nv-index`, or no command of `command-size` could carry it",
            ),
        ] {
            if wrong {
                return Err(ProfileError::Together(text.to_owned()));
            }
        }
        self.check_algorithms()
    }

    fn check_algorithms(&self) -> Result<(), ProfileError> {
        let limits = &self.limits;
        let together = |text| Err(ProfileError::Together(text));
        let missing = |id: &&TpmAlgId| !limits.has_algorithm(**id);
        if let Some(id) = NEEDED_ALGORITHMS.iter().find(missing) {
            return together(format!("no TPM can be without `{}`", verb(*id)));
        }
        for (id, needed) in NEEDS {
            if limits.has_algorithm(id) && !limits.has_algorithm(needed) {
                return together(format!("`{}` needs `{}`", verb(id), verb(needed)));
            }
        }
        for id in SIZED {
            if limits.has_algorithm(id) && sizes(limits, id).is_empty() {
                return together(format!("`{}` has no key size left", verb(id)));
            }
        }
        if !limits.has_algorithm(TpmAlgId::ECC) && !sizes(limits, TpmAlgId::ECC).is_empty() {
            return together("curves need `ecc`".to_owned());
        }
        Ok(())
    }

    /// The algorithms in the words of [`set_algorithms`](Self::set_algorithms).
    #[must_use]
    pub fn algorithms_text(&self) -> String {
        let limits = &self.limits;
        let mut words: Vec<String> = Vec::new();
        for id in algorithms().filter(|id| limits.has_algorithm(*id)) {
            words.push(verb(id));
            if id == TpmAlgId::ECC {
                let has = curves().filter(|curve| limits.has_curve(curve.0));
                words.extend(has.map(curve_verb));
            } else if SIZED.contains(&id) {
                let (all, has) = (sizes(&Limits::ALL, id), sizes(limits, id));
                let name = verb(id);
                words.push(match has.first() {
                    Some(least) if all.ends_with(&has) => format!("{name}-min-size={least}"),
                    _ => {
                        let has: Vec<String> = has.iter().map(ToString::to_string).collect();
                        format!("{name}-sizes={}", has.join("+"))
                    }
                });
            }
        }
        join(words.into_iter())
    }

    /// The commands in the words of [`set_commands`](Self::set_commands).
    #[must_use]
    pub fn commands_text(&self) -> String {
        ranges_text(self.commands().map(|command| command.code))
    }
}

/// Every algorithm that can be switched off.
pub(super) fn algorithms() -> impl Iterator<Item = TpmAlgId> {
    TpmAlgId::NAMED
        .iter()
        .copied()
        .filter(|id| !matches!(*id, TpmAlgId::ERROR | TpmAlgId::NULL))
}

/// Every curve that can be switched off.
pub(super) fn curves() -> impl Iterator<Item = TpmEccCurve> {
    TpmEccCurve::NAMED
        .iter()
        .copied()
        .filter(|curve| *curve != TpmEccCurve::NONE)
}

/// Where the bank of a hash stands among the banks that a TPM reports.
pub(super) fn bank_order(hash: TpmiAlgHash) -> (bool, u16) {
    let later = !super::DEFAULT_BANKS.contains(&hash);
    (later, hash.id().0)
}

fn split(words: &str) -> impl Iterator<Item = &str> {
    words
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// The word for an algorithm: its name in small letters.
pub(super) fn verb(id: TpmAlgId) -> String {
    small_letters(id.name())
}

fn curve_verb(curve: TpmEccCurve) -> String {
    format!("ecc-{}", small_letters(curve.name()))
}

/// The word for all curves of a family.
fn curve_group(curve: TpmEccCurve) -> Option<&'static str> {
    match curve.name()?.split('_').next()? {
        "NIST" => Some("ecc-nist"),
        "BN" => Some("ecc-bn"),
        _ => None,
    }
}

fn small_letters(name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    name.to_ascii_lowercase().replace('_', "-")
}

/// Understands `NAME-min-size=BITS`, and `NAME-sizes=BITS+BITS` of what has no curves.
fn narrow_sizes(limits: &mut Limits, word: &str) -> Option<()> {
    let (what, bits) = word.split_once('=')?;
    let id_of = |name: &str| SIZED.iter().copied().find(|id| verb(*id) == name);
    if let Some(name) = what.strip_suffix("-min-size") {
        let least: u16 = bits.parse().ok()?;
        remove_sizes(limits, id_of(name)?, |size| size < least);
    } else {
        let id = id_of(what.strip_suffix("-sizes")?).filter(|id| *id != TpmAlgId::ECC)?;
        let bits = bits.split('+').map(|bits| bits.parse().ok());
        let bits = bits.collect::<Option<Vec<u16>>>()?;
        let all = sizes(&Limits::ALL, id);
        if !bits.iter().all(|size| all.contains(size)) {
            return None;
        }
        remove_sizes(limits, id, |size| !bits.contains(&size));
    }
    Some(())
}

fn remove_sizes(limits: &mut Limits, id: TpmAlgId, gone: impl Fn(u16) -> bool) {
    match id {
        TpmAlgId::RSA => {
            for size in RSA_KEY_SIZES.into_iter().filter(|size| gone(*size)) {
                limits.remove_rsa_key_size(size);
            }
        }
        TpmAlgId::ECC => {
            for curve in curves().filter(|curve| gone(curve_bits(*curve))) {
                limits.remove_curve(curve.0);
            }
        }
        cipher => {
            for size in SYMMETRIC_KEY_SIZES.into_iter().filter(|size| gone(*size)) {
                limits.remove_symmetric_key_size(cipher, size);
            }
        }
    }
}

/// The key sizes that an algorithm has.
fn sizes(limits: &Limits, id: TpmAlgId) -> Vec<u16> {
    match id {
        TpmAlgId::RSA => {
            let sizes = RSA_KEY_SIZES.iter().copied();
            sizes
                .filter(|bits| limits.has_rsa_key_size(*bits))
                .collect()
        }
        TpmAlgId::ECC => {
            let has = curves().filter(|curve| limits.has_curve(curve.0));
            has.map(curve_bits).collect()
        }
        cipher => {
            let sizes = SYMMETRIC_KEY_SIZES.iter().copied();
            sizes
                .filter(|bits| limits.has_symmetric_key_size(cipher, *bits))
                .collect()
        }
    }
}

/// Bits of a curve, which end its name.
fn curve_bits(curve: TpmEccCurve) -> u16 {
    let name = curve.name().unwrap_or_default();
    let digits = name.rsplit('P').next().unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// A command code in decimal, or in hexadecimal after `0x`.
fn code(text: &str) -> Option<u32> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn known_algorithms() -> String {
    let sized = SIZED.iter().flat_map(|id| {
        let exact = (*id != TpmAlgId::ECC).then(|| format!("{}-sizes=BITS+BITS", verb(*id)));
        [Some(format!("{}-min-size=BITS", verb(*id))), exact]
    });
    let groups = ["ecc-nist", "ecc-bn"].map(ToOwned::to_owned);
    let words = algorithms().map(verb).chain(curves().map(curve_verb));
    join(words.chain(groups).chain(sized.flatten()))
}

fn join(words: impl Iterator<Item = String>) -> String {
    let mut list = String::new();
    for word in words {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&word);
    }
    list
}

/// Ascending codes, neighbours joined to ranges.
fn ranges_text(codes: impl Iterator<Item = u32>) -> String {
    join(super::text::ranges(codes).into_iter().map(|(first, last)| {
        if first == last {
            format!("{first:#x}")
        } else {
            format!("{first:#x}-{last:#x}")
        }
    }))
}

#[cfg(test)]
mod tests;
