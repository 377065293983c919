//! Guest operating systems: which may have a TPM, from which vCenter on.
//!
//! Sources: the guide's page on TPM devices for the two families, and its floor (Windows 7, Windows Server 2008, any Linux).
//! That everything else (BSD, Solaris, macOS, DOS, "other") is refused is inferred from it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// A guest operating system by vSphere's identifier, such as `windows2019srv_64Guest` or `ubuntu64Guest`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct GuestOs(String);

/// What the rules for TPMs say about a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestFamily {
    /// Windows 7 or Windows Server 2008 and later.
    Windows,
    /// Windows older than that.
    OldWindows,
    /// Any Linux.
    Linux,
    /// Known, but neither Windows nor Linux; or not known at all.
    Other,
}

/// Beginnings of vSphere's identifiers, lower case; the first that fits decides.
const PREFIXES: &[(&str, GuestFamily)] = &[
    ("windows", GuestFamily::Windows), // windows7, windows8, windows9, windows2019srv, windows11, ...
    ("winlonghorn", GuestFamily::Windows), // Windows Server 2008
    ("win", GuestFamily::OldWindows),  // win95, winNT, win2000, winXP, winNet, winVista
    ("almalinux", GuestFamily::Linux),
    ("amazonlinux", GuestFamily::Linux),
    ("asianux", GuestFamily::Linux),
    ("centos", GuestFamily::Linux),
    ("coreos", GuestFamily::Linux),
    ("crxpod", GuestFamily::Linux),
    ("crxsys", GuestFamily::Linux),
    ("debian", GuestFamily::Linux),
    ("fedora", GuestFamily::Linux),
    ("flatcar", GuestFamily::Linux),
    ("genericlinux", GuestFamily::Linux),
    ("kylinlinux", GuestFamily::Linux),
    ("mandrake", GuestFamily::Linux),
    ("mandriva", GuestFamily::Linux),
    ("miraclelinux", GuestFamily::Linux),
    ("nld9", GuestFamily::Linux),
    ("oes", GuestFamily::Linux),
    ("opensuse", GuestFamily::Linux),
    ("oraclelinux", GuestFamily::Linux),
    ("other24xlinux", GuestFamily::Linux),
    ("other26xlinux", GuestFamily::Linux),
    ("other3xlinux", GuestFamily::Linux),
    ("other4xlinux", GuestFamily::Linux),
    ("other5xlinux", GuestFamily::Linux),
    ("other6xlinux", GuestFamily::Linux),
    ("other7xlinux", GuestFamily::Linux),
    ("otherlinux", GuestFamily::Linux),
    ("pardus", GuestFamily::Linux),
    ("redhat", GuestFamily::Linux),
    ("rhel", GuestFamily::Linux),
    ("rockylinux", GuestFamily::Linux),
    ("sjds", GuestFamily::Linux),
    ("sles", GuestFamily::Linux),
    ("suse", GuestFamily::Linux),
    ("turbolinux", GuestFamily::Linux),
    ("ubuntu", GuestFamily::Linux),
    ("vmkernel", GuestFamily::Other),
    ("vmwarephoton", GuestFamily::Linux),
];

impl GuestOs {
    /// The identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the rules say about this guest.
    #[must_use]
    pub fn family(&self) -> GuestFamily {
        let lower = self.0.to_ascii_lowercase();
        PREFIXES
            .iter()
            .find(|(prefix, _)| lower.starts_with(prefix))
            .map_or(GuestFamily::Other, |(_, family)| *family)
    }
}

impl FromStr for GuestOs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{}` is not a guest identifier; use vSphere's, such as ubuntu64Guest or windows2019srv_64Guest",
                text.chars().take(40).collect::<String>().escape_debug()
            ))
        }
    }
}

impl fmt::Display for GuestOs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for GuestOs {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GuestOs> for String {
    fn from(guest: GuestOs) -> String {
        guest.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_the_floor() {
        let family = |id: &str| id.parse::<GuestOs>().unwrap().family();
        for windows in [
            "windows7_64Guest",
            "winLonghorn64Guest",
            "windows7Server64Guest",
            "windows9Server64Guest",
            "windows2019srv_64Guest",
            "windows11_64Guest",
            "windows9-64",
        ] {
            assert_eq!(family(windows), GuestFamily::Windows, "{windows}");
        }
        for old in [
            "winVistaGuest",
            "winXPProGuest",
            "winNetEnterpriseGuest",
            "win98Guest",
        ] {
            assert_eq!(family(old), GuestFamily::OldWindows, "{old}");
        }
        for linux in [
            "ubuntu64Guest",
            "other6xLinux64Guest",
            "rhel9_64Guest",
            "vmwarePhoton64Guest",
        ] {
            assert_eq!(family(linux), GuestFamily::Linux, "{linux}");
        }
        for other in [
            "freebsd14_64Guest",
            "darwin19_64Guest",
            "solaris11_64Guest",
            "dosGuest",
            "otherGuest",
            "otherGuest64",
        ] {
            assert_eq!(family(other), GuestFamily::Other, "{other}");
        }
    }

    #[test]
    fn identifiers_with_quotes_or_lines_are_refused() {
        for bad in ["", "a b", "a\"b", "a\nb", "../x"] {
            assert!(bad.parse::<GuestOs>().is_err());
        }
    }
}
