//! What stands behind the colon in `vtpm:dir=D,profile=NAME,seed=N`.

use std::path::PathBuf;

use tpm_engine::Profile;

/// What a program sees of the configuration's form.
pub(crate) const HELP: &std::ffi::CStr =
    c"dir=DIR keeps the TPM in a folder, without it is gone with the process; profile=NAME, what a new TPM is like; \
      seed=N, everything random follows from it, for tests";

/// The configuration of one context.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// The folder that keeps the TPM.
    pub(crate) folder: Option<PathBuf>,
    /// What a TPM is like that has to be made.
    pub(crate) profile: Option<Profile>,
    /// What everything random follows from.
    pub(crate) seed: Option<u64>,
}

impl Config {
    /// Reads the configuration; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("'{part}' has no value"))?;
            let given_before = match key {
                "dir" => config.folder.replace(folder(value)?).is_some(),
                "profile" => config
                    .profile
                    .replace(
                        Profile::by_name(value)
                            .ok_or_else(|| format!("there is no profile '{value}'"))?,
                    )
                    .is_some(),
                "seed" => config
                    .seed
                    .replace(
                        value
                            .parse()
                            .map_err(|_| format!("the seed '{value}' is no number"))?,
                    )
                    .is_some(),
                _ => {
                    return Err(format!("'{key}' is not known: dir, profile and seed are"));
                }
            };
            if given_before {
                return Err(format!("'{key}' is given twice"));
            }
        }
        Ok(config)
    }
}

fn folder(value: &str) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("'dir' has no value".to_owned());
    }
    Ok(PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_optional_and_in_any_order() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        let config = Config::parse("seed=7,dir=/a b/c=d,profile=pc-client").unwrap();
        assert_eq!(config.folder, Some(PathBuf::from("/a b/c=d")));
        assert_eq!(config.seed, Some(7));
        assert_eq!(config.profile, Profile::by_name("pc-client"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("dir", "'dir'"),
            ("dir=", "'dir'"),
            ("port=2321", "'port'"),
            ("seed=x", "'x'"),
            ("profile=tin", "'tin'"),
            ("dir=/a,dir=/b", "twice"),
        ] {
            let fault = Config::parse(text).unwrap_err();
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }
}
