//! What a profile of one's own may leave out, found by asking the rules for profiles.

use tpm_engine::Profile;
use tpm_wire::constants::TpmEccCurve;

/// The words among `algorithms`, as a profile lists them, that may be left out: any of them, and all of them together.
pub(crate) fn algorithms(algorithms: &[String]) -> Vec<String> {
    let everything = Profile::default().algorithms_text();
    let mut words: Vec<&str> = everything.split(',').collect();
    let mut free = Vec::new();
    for algorithm in algorithms {
        // Some curve has to stay: the one that all firmware and all guests use.
        if TpmEccCurve::NIST_P256
            .name()
            .is_some_and(|curve| is_curve(algorithm, curve))
        {
            continue;
        }
        let mut fewer = words.clone();
        fewer.retain(|word| word != algorithm && !is_size_of(word, algorithm));
        if fewer.len() != words.len()
            && is_allowed(|profile| profile.set_algorithms(&fewer.join(",")).is_ok())
        {
            words = fewer;
            free.push(algorithm.clone());
        }
    }
    free
}

/// The codes among `commands` that may be left out.
pub(crate) fn commands(commands: &[u32]) -> Vec<u32> {
    let may_go = |code: &u32| {
        let fewer: Vec<String> = commands
            .iter()
            .filter(|other| *other != code)
            .map(|other| format!("{other:#x}"))
            .collect();
        is_allowed(|profile| profile.set_commands(&fewer.join(",")).is_ok())
    };
    commands.iter().copied().filter(may_go).collect()
}

fn is_allowed(narrow: impl FnOnce(&mut Profile) -> bool) -> bool {
    let mut profile = Profile::default();
    narrow(&mut profile) && profile.check().is_ok()
}

fn is_curve(algorithm: &str, curve: &str) -> bool {
    algorithm
        .strip_prefix("ecc-")
        .is_some_and(|name| name.eq_ignore_ascii_case(&curve.replace('_', "-")))
}

fn is_size_of(word: &str, algorithm: &str) -> bool {
    let rest = word.strip_prefix(algorithm);
    rest.is_some_and(|rest| rest.starts_with("-min-size=") || rest.starts_with("-sizes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_may_go_and_what_a_tpm_needs_is_not_listed() {
        let all = [
            "rsa",
            "tdes",
            "sha1",
            "sha256",
            "rsaes",
            "ecc",
            "ecc-nist-p192",
            "ecc-nist-p256",
        ];
        let all = all.map(str::to_owned);
        assert_eq!(algorithms(&all), ["tdes", "sha1", "rsaes", "ecc-nist-p192"]);
        // TPM2_NV_Write may, TPM2_Startup may not.
        assert_eq!(commands(&[0x137, 0x144, 0x143, 0x145, 0x17a]), [0x137]);
    }
}
