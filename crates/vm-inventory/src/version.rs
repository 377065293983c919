//! Versions of vCenter Server.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// A vCenter version, `major.minor.update.patch`, as the API version of the product counts: 7.0 Update 2 is `7.0.2.0`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct VcVersion([u16; 4]);

impl VcVersion {
    /// The first version with native key providers and with TPMs for Linux guests: 7.0 Update 2.
    pub const V7_0_2: Self = Self([7, 0, 2, 0]);
    /// The first version with a virtual TPM at all: 6.7.
    pub const V6_7: Self = Self([6, 7, 0, 0]);
    /// The first version in which a clone may replace the TPM: 8.0.
    pub const V8: Self = Self([8, 0, 0, 0]);

    /// Whether the table's column for vCenter 8 rules; the one for vCenter 7 rules below.
    #[must_use]
    pub fn is_8_or_later(self) -> bool {
        self >= Self::V8
    }

    /// The newest hardware version that this vCenter makes by default.
    #[must_use]
    pub fn newest_hardware(self) -> u16 {
        if self >= Self([8, 0, 2, 0]) {
            21
        } else if self >= Self::V8 {
            20
        } else if self >= Self::V7_0_2 {
            19
        } else if self >= Self([7, 0, 0, 0]) {
            17
        } else {
            14
        }
    }
}

impl fmt::Display for VcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, update, patch] = self.0;
        write!(f, "{major}.{minor}.{update}")?;
        if patch != 0 {
            write!(f, ".{patch}")?;
        }
        Ok(())
    }
}

impl FromStr for VcVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{}` is not a vCenter version; write it as 8.0.3 or 7.0.2.0",
                text.escape_debug()
            )
        };
        let mut parts = [0u16; 4];
        let mut count = 0usize;
        for part in text.split('.') {
            let slot = parts.get_mut(count).ok_or_else(bad)?;
            if part.is_empty() || part.len() > 4 || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad());
            }
            *slot = part.parse().map_err(|_| bad())?;
            count += 1;
        }
        if count < 2 || parts.first() == Some(&0) {
            return Err(bad());
        }
        Ok(Self(parts))
    }
}

impl TryFrom<String> for VcVersion {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<VcVersion> for String {
    fn from(version: VcVersion) -> String {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_by_number_and_print_back() {
        let v = |s: &str| s.parse::<VcVersion>().unwrap();
        assert!(v("7.0.1.0") < VcVersion::V7_0_2);
        assert_eq!(v("7.0.2"), VcVersion::V7_0_2);
        assert!(v("8.0").is_8_or_later() && !v("7.0.3").is_8_or_later());
        assert!(v("10.0") > v("8.0.3"));
        assert_eq!(v("8.0.0.1").to_string(), "8.0.0.1");
        assert_eq!(v("8.0").to_string(), "8.0.0");
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for bad in [
            "",
            "8",
            "8.",
            ".8",
            "8.0.0.0.0",
            "8.x",
            "-8.0",
            "8.00000",
            "+8.0",
            "0.1",
            "８.0",
        ] {
            assert!(bad.parse::<VcVersion>().is_err(), "{bad}");
        }
    }
}
