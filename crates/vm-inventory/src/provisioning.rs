//! The decision table: operation x vCenter version -> what may become of the TPM, the default, who decides.
//!
//! The table is data, `operations.csv` beside this file, read once; the code below only looks things up in it. A row without
//! an [`Operation`], or the reverse, fails the tests.

use crate::VcVersion;
use crate::requirements::Rule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use utoipa::ToSchema;

/// The table's text.
const TABLE: &str = include_str!("operations.csv");

/// What a caller may choose for the TPM of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TpmProvisioning {
    /// The copy keeps every secret of the source: EK, seeds, NV, keys.
    Copy,
    /// The copy gets a TPM of its own: new seeds, new EK, empty NV.
    Replace,
}

/// What happens to a TPM in an operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TpmAction {
    /// A TPM where there was none.
    New,
    /// The source's TPM, secrets and all.
    Copy,
    /// A new TPM in the place of the source's.
    Replace,
    /// The TPM and its state are destroyed.
    Remove,
}

impl TpmAction {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "new" => Self::New,
            "copy" => Self::Copy,
            "replace" => Self::Replace,
            "remove" => Self::Remove,
            _ => return None,
        })
    }
}

impl From<TpmProvisioning> for TpmAction {
    fn from(choice: TpmProvisioning) -> Self {
        match choice {
            TpmProvisioning::Copy => Self::Copy,
            TpmProvisioning::Replace => Self::Replace,
        }
    }
}

impl fmt::Display for TpmAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::New => "new",
            Self::Copy => "copy",
            Self::Replace => "replace",
            Self::Remove => "remove",
        })
    }
}

/// Who decides among the allowed set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecidedBy {
    /// The caller chooses; without a word the default rules.
    Request,
    /// The flag stored in the template; the caller has no choice.
    Template,
    /// Nothing to decide.
    Fixed,
    /// The OVF package, which never carries secrets.
    Ovf,
}

/// What holds when no choice is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// No TPM unless asked for.
    None,
    /// This action.
    Action(TpmAction),
    /// What the template stores.
    Template,
}

/// Precondition when source and target vCenter differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrossVc {
    /// The same provider on the target, and shared storage or fast cross-vCenter instantiation.
    Provider,
    /// The same provider on the target, nothing about storage.
    KeyOnly,
    /// As `Provider` if the template copies, as `Target` if it replaces.
    Instantiation,
    /// The target meets the requirements for a TPM; nothing else.
    Target,
    /// There is no crossing.
    None,
}

/// One row of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// What the operation is, in words.
    pub title: &'static str,
    vc7: Vec<TpmAction>,
    vc8: Vec<TpmAction>,
    /// What holds when no choice is made.
    pub default: Default,
    /// Who decides.
    pub decided_by: DecidedBy,
    /// What crossing vCenters needs.
    pub cross_vc: CrossVc,
}

impl Row {
    /// The allowed set on a vCenter of `version`.
    #[must_use]
    pub fn allowed(&self, version: VcVersion) -> &[TpmAction] {
        if version.is_8_or_later() {
            &self.vc8
        } else {
            &self.vc7
        }
    }
}

macro_rules! operations {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// The operations of vSphere and Cloud Director that touch a TPM: one for each row of the table.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Operation { $($(#[doc = $doc])* $name,)* }

        impl Operation {
            /// Every operation, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in the table.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

operations! {
    /// Create a standalone VM.
    CreateVm = "create_vm",
    /// Create a VM from a VM template.
    CreateVmFromTemplate = "create_vm_from_template",
    /// Build a new vApp.
    BuildVapp = "build_vapp",
    /// Create a vApp from an OVF package.
    CreateVappFromOvf = "create_vapp_from_ovf",
    /// Create a vApp from a vApp template.
    InstantiateVappTemplate = "instantiate_vapp_template",
    /// Import a VM from vCenter as a vApp.
    ImportVmAsVapp = "import_vm_as_vapp",
    /// Add a new VM to a vApp.
    AddVmToVapp = "add_vm_to_vapp",
    /// Add a VM from a template to a vApp.
    AddTemplateVmToVapp = "add_template_vm_to_vapp",
    /// Copy a VM to a different vApp.
    CopyVm = "copy_vm",
    /// Move a VM to a different vApp.
    MoveVm = "move_vm",
    /// Copy a vApp.
    CopyVapp = "copy_vapp",
    /// Move a vApp to another virtual data center.
    MoveVapp = "move_vapp",
    /// Move a vApp by the API call moveVApp.
    MoveVappApi = "move_vapp_api",
    /// Save a vApp as a vApp template.
    CaptureVapp = "capture_vapp",
    /// Add a standalone VM to a catalog.
    AddVmToCatalog = "add_vm_to_catalog",
    /// Create a vApp template from an OVF or OVA.
    OvfToTemplate = "ovf_to_template",
    /// Import a VM from vCenter as a template.
    ImportVmAsTemplate = "import_vm_as_template",
    /// Add a TPM to a VM.
    AddTpm = "add_tpm",
    /// Remove the TPM of a VM.
    RemoveTpm = "remove_tpm",
    /// Publish a catalog with TPM templates.
    PublishCatalogTemplate = "publish_catalog_template",
    /// Subscribe to or sync a catalog with TPM templates.
    SyncCatalogTemplate = "sync_catalog_template",
    /// Clone a VM by vSphere's own call.
    VsphereClone = "vsphere_clone",
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A choice that the table does not allow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The action is not in the allowed set.
    #[error(
        "`{asked}` is not possible for the operation {operation} on vCenter {version}; possible: {}", list(.allowed)
    )]
    NotAllowed {
        /// The operation.
        operation: Operation,
        /// What was asked.
        asked: TpmAction,
        /// The version whose column rules.
        version: VcVersion,
        /// What may be asked instead.
        allowed: Vec<TpmAction>,
    },
    /// The template decides, and decided otherwise.
    #[error("`{asked}` contradicts the template, which says `{stored}`; leave the choice out")]
    TemplateDecides {
        /// What was asked.
        asked: TpmAction,
        /// What the template stores.
        stored: TpmAction,
    },
    /// The template stores no decision.
    #[error(
        "the template of the operation {operation} stores no decision about its TPM; capture it again"
    )]
    NoDecision {
        /// The operation.
        operation: Operation,
    },
}

impl Refusal {
    /// The rule that is not met.
    #[must_use]
    pub fn rule(&self) -> Rule {
        match self {
            Self::NotAllowed { .. } => Rule::TpmChoice,
            Self::TemplateDecides { .. } | Self::NoDecision { .. } => Rule::TemplateDecides,
        }
    }
}

fn list(actions: &[TpmAction]) -> String {
    let words: Vec<String> = actions.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// The table's row for an operation.
#[must_use]
pub fn row(operation: Operation) -> &'static Row {
    static EMPTY: Row = Row {
        title: "",
        vc7: Vec::new(),
        vc8: Vec::new(),
        default: Default::None,
        decided_by: DecidedBy::Fixed,
        cross_vc: CrossVc::None,
    };
    // A row that could not be read allows nothing; the tests see to it that there is none.
    table().get(&operation).unwrap_or(&EMPTY)
}

/// Decides what becomes of a TPM.
///
/// `version` is the lower of source and target vCenter, since nothing says whose column rules when they differ. `asked` is the
/// caller's choice, `stored` what a template stores. `None` means: no TPM is made.
///
/// # Errors
/// A [`Refusal`] when the table does not allow the choice.
pub fn decide(
    operation: Operation,
    version: VcVersion,
    asked: Option<TpmAction>,
    stored: Option<TpmAction>,
) -> Result<Option<TpmAction>, Refusal> {
    let row = row(operation);
    let action = match (row.decided_by, row.default) {
        (DecidedBy::Template, _) | (_, Default::Template) => {
            let stored = stored.ok_or(Refusal::NoDecision { operation })?;
            if let Some(asked) = asked.filter(|asked| *asked != stored) {
                return Err(Refusal::TemplateDecides { asked, stored });
            }
            Some(stored)
        }
        (_, Default::Action(default)) => Some(asked.unwrap_or(default)),
        (_, Default::None) => asked,
    };
    let allowed = row.allowed(version);
    match action {
        Some(asked) if !allowed.contains(&asked) => Err(Refusal::NotAllowed {
            operation,
            asked,
            version,
            allowed: allowed.to_vec(),
        }),
        other => Ok(other),
    }
}

fn table() -> &'static BTreeMap<Operation, Row> {
    static READ: OnceLock<BTreeMap<Operation, Row>> = OnceLock::new();
    READ.get_or_init(|| TABLE.lines().skip(1).filter_map(parse_row).collect())
}

/// Reads one line: `op,title,vc7,vc8,default,decided_by,cross_vc,status,notes`; the notes may hold commas.
fn parse_row(line: &'static str) -> Option<(Operation, Row)> {
    let mut fields = line.splitn(9, ',');
    let mut next = || fields.next();
    let name = next()?;
    let operation = *Operation::ALL.iter().find(|op| op.as_str() == name)?;
    let title = next()?;
    let set = |words: &str| {
        words
            .split('|')
            .map(TpmAction::parse)
            .collect::<Option<Vec<_>>>()
    };
    let (vc7, vc8) = (set(next()?)?, set(next()?)?);
    let default = match next()? {
        "none" => Default::None,
        "template" => Default::Template,
        word => Default::Action(TpmAction::parse(word)?),
    };
    let decided_by = match next()? {
        "request" => DecidedBy::Request,
        "template" => DecidedBy::Template,
        "fixed" => DecidedBy::Fixed,
        "ovf" => DecidedBy::Ovf,
        _ => return None,
    };
    let cross_vc = match next()? {
        "P" => CrossVc::Provider,
        "K" => CrossVc::KeyOnly,
        "I" => CrossVc::Instantiation,
        "T" => CrossVc::Target,
        "none" => CrossVc::None,
        _ => return None,
    };
    let row = Row {
        title,
        vc7,
        vc8,
        default,
        decided_by,
        cross_vc,
    };
    Some((operation, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> VcVersion {
        text.parse().unwrap()
    }

    #[test]
    fn every_row_has_an_operation_and_every_operation_a_row() {
        let names: Vec<&str> = TABLE
            .lines()
            .skip(1)
            .filter(|line| !line.is_empty())
            .map(|line| line.split(',').next().unwrap())
            .collect();
        let operations: Vec<&str> = Operation::ALL.iter().map(|op| op.as_str()).collect();
        assert_eq!(names, operations);
        assert_eq!(table().len(), names.len(), "a row did not parse");
        for operation in Operation::ALL {
            let json = serde_json::to_string(operation).unwrap();
            assert_eq!(json.trim_matches('"'), operation.as_str());
        }
    }

    #[test]
    fn defaults_lie_inside_the_allowed_sets() {
        for operation in Operation::ALL {
            let row = row(*operation);
            assert!(!row.title.is_empty() && !row.vc7.is_empty() && !row.vc8.is_empty());
            if let Default::Action(action) = row.default {
                assert!(
                    row.vc7.contains(&action) && row.vc8.contains(&action),
                    "{operation}"
                );
            }
            if row.decided_by == DecidedBy::Fixed {
                assert_eq!(row.vc8.len(), 1, "{operation}");
            }
        }
    }

    #[test]
    fn a_clone_without_a_choice_copies() {
        for version in ["7.0.3", "8.0.3"] {
            for operation in [
                Operation::VsphereClone,
                Operation::CopyVm,
                Operation::CopyVapp,
            ] {
                assert_eq!(
                    decide(operation, v(version), None, None),
                    Ok(Some(TpmAction::Copy))
                );
            }
        }
    }

    #[test]
    fn replace_in_a_direct_clone_needs_vcenter_8() {
        let asked = Some(TpmAction::Replace);
        assert_eq!(
            decide(Operation::CopyVm, v("8.0.0"), asked, None),
            Ok(asked)
        );
        let refused = decide(Operation::CopyVm, v("7.0.3"), asked, None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`replace` is not possible for the operation copy_vm on vCenter 7.0.3; possible: copy"
        );
    }

    #[test]
    fn a_move_never_replaces() {
        for operation in [
            Operation::MoveVm,
            Operation::MoveVapp,
            Operation::MoveVappApi,
        ] {
            assert!(decide(operation, v("8.0.3"), Some(TpmAction::Replace), None).is_err());
            assert_eq!(
                decide(operation, v("8.0.3"), None, None),
                Ok(Some(TpmAction::Copy))
            );
        }
    }

    #[test]
    fn a_template_decides_and_is_not_overridden() {
        let op = Operation::InstantiateVappTemplate;
        let (copy, replace) = (Some(TpmAction::Copy), Some(TpmAction::Replace));
        assert_eq!(decide(op, v("7.0.3"), None, replace), Ok(replace));
        assert_eq!(decide(op, v("7.0.3"), replace, replace), Ok(replace));
        assert!(decide(op, v("8.0.3"), copy, replace).is_err());
        assert!(decide(op, v("8.0.3"), copy, None).is_err());
    }

    #[test]
    fn a_new_vm_has_a_tpm_only_when_asked() {
        let new = Some(TpmAction::New);
        assert_eq!(
            decide(Operation::CreateVm, v("8.0.3"), None, None),
            Ok(None)
        );
        assert_eq!(decide(Operation::CreateVm, v("8.0.3"), new, None), Ok(new));
        assert!(decide(Operation::CreateVm, v("8.0.3"), Some(TpmAction::Copy), None).is_err());
        assert!(
            decide(
                Operation::OvfToTemplate,
                v("8.0.3"),
                Some(TpmAction::Copy),
                None
            )
            .is_err()
        );
    }
}
