//! What things are called in the API: identifiers, URNs and addresses.
//!
//! VMs, vApps, templates and tasks have an identifier in the inventory. What has only a name there gets one that is derived from the name,
//! so that it is the same for ever and on every server.

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

/// What kind of thing an address leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Org,
    Vdc,
    Vapp,
    Vm,
    Template,
    TemplateVm,
    Catalog,
    CatalogItem,
    Task,
    VimServer,
    StorageProfile,
    User,
    Role,
}

impl Kind {
    /// Kind, word in URNs, path below `/api/` up to the identifier, media type in XML.
    const TABLE: &'static [(Self, &'static str, &'static str, &'static str)] = &[
        (Self::Org, "org", "org/", "vcloud.org"),
        (Self::Vdc, "vdc", "vdc/", "vcloud.vdc"),
        (Self::Vapp, "vapp", "vApp/vapp-", "vcloud.vApp"),
        (Self::Vm, "vm", "vApp/vm-", "vcloud.vm"),
        (
            Self::Template,
            "vapptemplate",
            "vAppTemplate/vappTemplate-",
            "vcloud.vAppTemplate",
        ),
        (Self::TemplateVm, "vm", "vAppTemplate/vm-", "vcloud.vm"),
        (Self::Catalog, "catalog", "catalog/", "vcloud.catalog"),
        (
            Self::CatalogItem,
            "catalogitem",
            "catalogItem/",
            "vcloud.catalogItem",
        ),
        (Self::Task, "task", "task/", "vcloud.task"),
        (
            Self::VimServer,
            "vimserver",
            "admin/extension/vimServer/",
            "admin.vmwvirtualcenter",
        ),
        (
            Self::StorageProfile,
            "vdcstorageProfile",
            "vdcStorageProfile/",
            "vcloud.vdcStorageProfile",
        ),
        (Self::User, "user", "admin/user/", "admin.user"),
        (Self::Role, "role", "admin/role/", "admin.role"),
    ];

    fn row(self) -> (&'static str, &'static str, &'static str) {
        Self::TABLE
            .iter()
            .find(|row| row.0 == self)
            .map_or(("", "", ""), |row| (row.1, row.2, row.3))
    }

    /// The URN of one.
    pub(crate) fn urn(self, id: Uuid) -> String {
        format!("urn:vcloud:{}:{id}", self.row().0)
    }

    /// The address of one on a server.
    pub(crate) fn href(self, base: &str, id: Uuid) -> String {
        format!("{base}/api/{}{id}", self.row().1)
    }

    /// The media type of its document in XML.
    pub(crate) fn media(self) -> String {
        format!("application/vnd.vmware.{}+xml", self.row().2)
    }

    /// What a reference of a client leads to: an address of any server name, or a URN.
    pub(crate) fn read(reference: &str) -> Option<(Self, Uuid)> {
        if let Some(rest) = reference.strip_prefix("urn:vcloud:") {
            let (word, id) = rest.split_once(':')?;
            let kind = Self::TABLE.iter().find(|row| row.1 == word)?.0;
            return Some((kind, strict(id)?));
        }
        let (_, path) = reference.rsplit_once("/api/")?;
        let path = path.trim_end_matches('/');
        Self::TABLE.iter().find_map(|row| {
            let id = path
                .strip_prefix(row.2)
                .or_else(|| path.strip_prefix("admin/")?.strip_prefix(row.2))?;
            Some((row.0, strict(id)?))
        })
    }
}

/// An identifier as it is written in addresses: with dashes, nothing before or after it.
pub(crate) fn strict(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    id.to_string().eq_ignore_ascii_case(text).then_some(id)
}

/// The identifier of something that has a name only.
pub(crate) fn derived(kind: Kind, name: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"vtpm: identifier of a name\0");
    hash.update(kind.row().1.as_bytes());
    hash.update([0]);
    hash.update(name.as_bytes());
    let mut bytes = [0_u8; 16];
    for (to, from) in bytes.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The identifier of an organization; the system is one too.
pub(crate) fn org(name: &str) -> Uuid {
    derived(Kind::Org, name)
}

/// The identifier of something that an organization has by name.
pub(crate) fn of_org(kind: Kind, organization: &str, name: &str) -> Uuid {
    derived(kind, &format!("{organization}/{name}"))
}

/// The identifier of a template's entry in its catalog.
pub(crate) fn catalog_item(template: Uuid) -> Uuid {
    derived(Kind::CatalogItem, &template.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_urns_lead_back() {
        let id = org("acme");
        assert_eq!(id, org("acme"));
        assert_ne!(id, derived(Kind::Vdc, "acme"));
        for row in Kind::TABLE {
            let href = row.0.href("https://h:1/x", id);
            assert_eq!(Kind::read(&href), Some((row.0, id)), "{href}");
        }
        assert_eq!(Kind::read(&Kind::Vm.urn(id)), Some((Kind::Vm, id)));
        let admin = format!("https://h/api/admin/vdc/{id}");
        assert_eq!(Kind::read(&admin), Some((Kind::Vdc, id)));
    }

    #[test]
    fn what_is_no_reference_leads_nowhere() {
        let id = org("acme");
        for text in [
            "",
            "x",
            "urn:vcloud:vm",
            "urn:vcloud:vm:1",
            "https://h/api/vApp/vm-",
            "https://h/api/vApp/vm-../../x",
            "https://h/api/nothing/1",
            &format!("https://h/api/vApp/vm-{}", id.simple()),
            &format!("https://h/api/vApp/vm-{{{id}}}"),
        ] {
            assert_eq!(Kind::read(text), None, "{text}");
        }
    }
}
