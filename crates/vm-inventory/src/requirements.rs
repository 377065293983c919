//! What a VM must meet to get or to carry a TPM, on the vCenter that will hold it.
//!
//! Source: the guide's page on TPM devices, and the questions and answers on native key providers. Every rule is checked and
//! every failure reported at once, so that a person mends all of it in one go.

use crate::guest::{GuestFamily, GuestOs};
use crate::model::{Firmware, ProviderKind};
use crate::{Name, VcVersion};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The oldest hardware version with a TPM.
pub const HARDWARE_FLOOR: u16 = 14;

/// What the rules look at.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Firmware of the VM.
    pub firmware: Firmware,
    /// Hardware version (vmx-NN).
    pub hardware_version: u16,
    /// Its guest.
    pub guest: &'a GuestOs,
    /// The vCenter that will hold the VM.
    pub vcenter: &'a Name,
    /// Its version.
    pub version: VcVersion,
    /// The provider that will hold the VM's key; `None` if none is named and none is the default.
    pub provider: Option<ProviderState<'a>>,
}

/// What the rules look at in a key provider.
#[derive(Clone, Copy, Debug)]
pub struct ProviderState<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Its kind.
    pub kind: ProviderKind,
    /// Whether a backup has been taken.
    pub backed_up: bool,
}

/// The rules.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The firmware is EFI.
    EfiFirmware,
    /// The hardware version is 14 or newer.
    HardwareVersion,
    /// The guest is Windows 7, Windows Server 2008 or newer, or a Linux.
    GuestFloor,
    /// The vCenter is new enough for the guest's family.
    VcenterForGuest,
    /// A key provider is configured: the default or one named in the request.
    KeyProvider,
    /// A native key provider needs vCenter 7.0 Update 2.
    NativeProviderVcenter,
    /// A native key provider has been backed up.
    NativeProviderBackup,
    /// The choice for the TPM is one that the table allows.
    TpmChoice,
    /// The template decides, and nobody overrides it.
    TemplateDecides,
    /// The two vCenters trust each other's certificates.
    MutualTrust,
    /// The provider that encrypted the VM is registered on the target under the same name.
    ProviderOnTarget,
    /// The key behind that name is the same one.
    SameKey,
    /// Both vCenters see the VM's datastore, or fast cross-vCenter instantiation is on.
    SharedStorage,
    /// Only templates that replace are published and offered for synchronization.
    PublishReplaceOnly,
    /// The VM is in the right power state.
    PowerState,
    /// The VM has no snapshots.
    NoSnapshots,
    /// The request confirms that a TPM is destroyed.
    Confirmation,
    /// Names are unique, and what is named exists.
    Place,
}

impl Rule {
    /// The rule's number in the behaviour specification (`docs/provisioning.md` lists them).
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::EfiFirmware
            | Self::HardwareVersion
            | Self::GuestFloor
            | Self::VcenterForGuest
            | Self::KeyProvider
            | Self::NativeProviderVcenter
            | Self::NativeProviderBackup => "1.1",
            Self::TpmChoice => "1.3",
            Self::TemplateDecides => "1.5",
            Self::MutualTrust => "1.6",
            Self::ProviderOnTarget | Self::SameKey => "1.6a",
            Self::SharedStorage => "1.6b",
            Self::PublishReplaceOnly => "1.7",
            Self::PowerState => "1.8",
            Self::NoSnapshots | Self::Confirmation => "1.10",
            Self::Place => "2.4",
        }
    }

    /// Whether it is about the key that any encrypted VM needs.
    pub(crate) fn is_about_keys(self) -> bool {
        matches!(
            self,
            Self::KeyProvider | Self::NativeProviderVcenter | Self::NativeProviderBackup
        )
    }

    /// Whether it is about a passing state rather than about what is possible at all.
    pub(crate) fn is_about_state(self) -> bool {
        matches!(self, Self::PowerState | Self::NoSnapshots | Self::Place)
    }
}

/// One rule that is not met.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The VM, where an operation is about several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<Name>,
    /// Which rule.
    pub rule: Rule,
    /// The rule's number.
    #[serde(default)]
    pub number: String,
    /// What is wrong, and what to do.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(vm) = &self.vm {
            write!(f, "{vm}: ")?;
        }
        f.write_str(&self.detail)?;
        write!(f, " (rule {})", self.rule.number())
    }
}

impl Failure {
    /// A rule that is not met, by no VM in particular.
    pub(crate) fn of(rule: Rule, detail: String) -> Self {
        Self {
            vm: None,
            rule,
            number: rule.number().to_owned(),
            detail,
        }
    }

    /// The same, by this VM.
    pub(crate) fn for_vm(mut self, vm: &Name) -> Self {
        self.vm = Some(vm.clone());
        self
    }
}

/// The oldest vCenter on which a guest may have a TPM, and what such guests are called; `None` if it may have none anywhere.
fn floor(guest: &GuestOs) -> Option<(VcVersion, &'static str)> {
    match guest.family() {
        GuestFamily::Windows => Some((VcVersion::V6_7, "Windows guests")),
        GuestFamily::Linux => Some((VcVersion::V7_0_2, "Linux guests")),
        GuestFamily::OldWindows | GuestFamily::Other => None,
    }
}

/// Whether a guest may have a TPM on a vCenter of that version, by the rules that are about guests.
#[must_use]
pub fn may_have_tpm(guest: &GuestOs, version: VcVersion) -> bool {
    floor(guest).is_some_and(|(needed, _)| version >= needed)
}

/// Checks every rule; the result lists all that fail.
#[must_use]
pub fn check(candidate: &Candidate<'_>) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut fail = |rule, detail| failures.push(Failure::of(rule, detail));
    let Candidate {
        vcenter, version, ..
    } = candidate;

    if candidate.firmware != Firmware::Efi {
        fail(
            Rule::EfiFirmware,
            "a TPM needs EFI firmware, this VM has BIOS; use firmware efi".to_owned(),
        );
    }
    if candidate.hardware_version < HARDWARE_FLOOR {
        fail(
            Rule::HardwareVersion,
            format!(
                "a TPM needs hardware version {HARDWARE_FLOOR} or newer, this VM has {}; upgrade its virtual hardware",
                candidate.hardware_version
            ),
        );
    }
    match floor(candidate.guest) {
        None => fail(
            Rule::GuestFloor,
            format!(
                "the guest {} cannot have a TPM; possible are Windows 7, Windows Server 2008 and later, and any Linux",
                candidate.guest
            ),
        ),
        Some((needed, guests)) if *version < needed => fail(
            Rule::VcenterForGuest,
            format!(
                "a TPM for {guests} needs vCenter {needed} or newer, {vcenter} is {version}; use another vCenter or upgrade it"
            ),
        ),
        Some(_) => {}
    }
    failures.extend(check_keys(
        candidate.vcenter,
        candidate.version,
        candidate.provider,
    ));
    failures
}

/// Those of the rules that are about the key provider.
pub(crate) fn check_keys(
    vcenter: &Name,
    version: VcVersion,
    provider: Option<ProviderState<'_>>,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut fail = |rule, detail| failures.push(Failure::of(rule, detail));
    let Some(provider) = provider else {
        fail(
            Rule::KeyProvider,
            format!(
                "vCenter {vcenter} has no default key provider and the request names none; create one with `vtpm provider create NAME --vcenter {vcenter}`"
            ),
        );
        return failures;
    };
    let name = provider.name;
    match provider.kind {
        ProviderKind::Native => {
            if version < VcVersion::V7_0_2 {
                fail(
                    Rule::NativeProviderVcenter,
                    format!(
                        "native key providers such as {name} need vCenter 7.0.2 or newer, {vcenter} is {version}"
                    ),
                );
            }
            if !provider.backed_up {
                fail(
                    Rule::NativeProviderBackup,
                    format!(
                        "the native key provider {name} of vCenter {vcenter} has never been backed up; run `vtpm provider backup {name} --vcenter {vcenter}` once"
                    ),
                );
            }
        }
        ProviderKind::Standard | ProviderKind::Trusted => {}
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(change: impl FnOnce(&mut Given)) -> Vec<Rule> {
        let mut given = Given::good();
        change(&mut given);
        let (vcenter, provider): (Name, Name) = ("vc01".parse().unwrap(), "kp1".parse().unwrap());
        let guest = given.guest.parse().unwrap();
        let candidate = Candidate {
            firmware: given.firmware,
            hardware_version: given.hardware,
            guest: &guest,
            vcenter: &vcenter,
            version: given.version.parse().unwrap(),
            provider: given.backed_up.map(|backed_up| ProviderState {
                name: &provider,
                kind: ProviderKind::Native,
                backed_up,
            }),
        };
        check(&candidate)
            .into_iter()
            .map(|failure| failure.rule)
            .collect()
    }

    struct Given {
        firmware: Firmware,
        hardware: u16,
        guest: &'static str,
        version: &'static str,
        backed_up: Option<bool>,
    }

    impl Given {
        fn good() -> Self {
            Self {
                firmware: Firmware::Efi,
                hardware: 14,
                guest: "windows2019srv_64Guest",
                version: "7.0.3",
                backed_up: Some(true),
            }
        }
    }

    #[test]
    fn a_good_vm_meets_every_rule() {
        assert_eq!(rules(|_| {}), []);
    }

    #[test]
    fn each_rule_is_named() {
        assert_eq!(rules(|g| g.firmware = Firmware::Bios), [Rule::EfiFirmware]);
        assert_eq!(rules(|g| g.hardware = 13), [Rule::HardwareVersion]);
        assert_eq!(rules(|g| g.guest = "winVistaGuest"), [Rule::GuestFloor]);
        assert_eq!(rules(|g| g.guest = "freebsd13_64Guest"), [Rule::GuestFloor]);
        assert_eq!(rules(|g| g.backed_up = None), [Rule::KeyProvider]);
        assert_eq!(
            rules(|g| g.backed_up = Some(false)),
            [Rule::NativeProviderBackup]
        );
    }

    #[test]
    fn linux_needs_7_0_update_2_and_windows_6_7() {
        let linux = |version| {
            rules(|g| {
                g.guest = "ubuntu64Guest";
                g.version = version;
            })
        };
        assert_eq!(linux("7.0.2.0"), []);
        assert!(linux("7.0.1.0").contains(&Rule::VcenterForGuest));
        let windows = |version| rules(|g| g.version = version);
        assert!(!windows("7.0.1.0").contains(&Rule::VcenterForGuest));
        assert!(windows("6.5.0").contains(&Rule::VcenterForGuest));
        assert_eq!(windows("7.0.1.0"), [Rule::NativeProviderVcenter]);
    }

    #[test]
    fn all_failures_are_reported_at_once() {
        let all = rules(|g| {
            *g = Given {
                firmware: Firmware::Bios,
                hardware: 9,
                guest: "dosGuest",
                version: "6.5.0",
                backed_up: Some(false),
            };
        });
        assert_eq!(
            all,
            [
                Rule::EfiFirmware,
                Rule::HardwareVersion,
                Rule::GuestFloor,
                Rule::NativeProviderVcenter,
                Rule::NativeProviderBackup
            ]
        );
    }
}
