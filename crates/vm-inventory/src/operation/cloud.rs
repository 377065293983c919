//! Organizations, users, virtual data centers, catalogs, and what vCenters share.

use super::{Operations, records};
use crate::inventory::{Stored, Transaction};
use crate::model::{
    Catalog, CloudSettings, Datastore, Organization, Privilege, Provider, Record, Role, Timestamp,
    User, VCenter, Vdc,
};
use crate::{AuditCheck, AuditEntry, Error, Name, Result, VcVersion, access, audit};
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// Characters of a password, as VMware Cloud Director asks for by default.
const SHORTEST: usize = 6;

/// A request to make a virtual data center.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVdc {
    /// Its name.
    pub name: Name,
    /// The organization; the only one there is if left out.
    #[serde(default)]
    pub organization: Option<Name>,
    /// The vCenter behind it; the only one there is if left out.
    #[serde(default)]
    pub vcenter: Option<Name>,
    /// Where files go; the first datastore that the vCenter sees if left out.
    #[serde(default)]
    pub datastore: Option<Name>,
}

/// A virtual data center as people and programs see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VdcView {
    /// The record.
    #[serde(flatten)]
    pub vdc: Vdc,
    /// Whether VMs with TPMs may be in it (computed).
    pub tpm_supported: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A request to make a catalog.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCatalog {
    /// Its name.
    pub name: Name,
    /// The organization; the only one there is if left out.
    #[serde(default)]
    pub organization: Option<Name>,
    /// The virtual data center whose vCenter and datastore hold its templates. If it is left out, templates stay where their sources
    /// are, and those that have none go to the organization's first virtual data center.
    #[serde(default)]
    pub vdc: Option<String>,
    /// The published catalog that it follows, as `ORGANIZATION/NAME`.
    #[serde(default)]
    pub subscribe: Option<String>,
}

/// A user as people and programs see one: without the password's hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// The organization.
    pub organization: Name,
    /// The user's name.
    pub name: Name,
    /// What the user may do.
    pub role: Role,
    /// The privileges over keys that the role has, by vSphere's names.
    pub privileges: Vec<String>,
    /// When the user was added.
    pub created: Timestamp,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let privileges = Privilege::ALL
            .iter()
            .filter(|privilege| user.role.has(**privilege))
            .map(ToString::to_string)
            .collect();
        Self {
            organization: user.organization,
            name: user.name,
            role: user.role,
            privileges,
            created: user.created,
        }
    }
}

impl Operations {
    /// Every organization.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn organizations(&self) -> Result<Vec<Organization>> {
        Ok(records(self.inventory.all()?))
    }

    /// Makes an organization.
    ///
    /// # Errors
    /// When the name is taken, or means the system.
    pub fn create_organization(&self, name: Name) -> Result<Organization> {
        if access::is_system(name.as_str()) {
            return Err(Error::BadValue(format!(
                "{name} is what the system itself is called; choose another name"
            )));
        }
        let organization = Organization {
            name,
            created: Timestamp::now(),
        };
        self.insert_named(
            &organization,
            "organization",
            &organization.name,
            "the inventory",
        )?;
        Ok(organization)
    }

    /// Every user of an organization, or of all.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn users(&self, organization: Option<&Name>) -> Result<Vec<UserView>> {
        let users: Vec<User> = match organization {
            Some(name) => records(self.inventory.within(&User::key_of(name.as_str(), ""))?),
            None => records(self.inventory.all()?),
        };
        Ok(users.into_iter().map(UserView::from).collect())
    }

    /// Removes a user of an organization, whose sessions end with that.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn remove_user(&self, organization: &Name, name: &Name) -> Result<()> {
        let stored = self.user(organization, name)?;
        let mut transaction = Transaction::default();
        transaction.remove(&stored);
        self.inventory.commit(transaction)
    }

    /// Gives a user of an organization another role; who is logged in with the former one logs in again.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn change_user_role(
        &self,
        organization: &Name,
        name: &Name,
        role: Role,
    ) -> Result<UserView> {
        let stored = self.user(organization, name)?;
        let mut changed = stored.record.clone();
        changed.role = role;
        let mut transaction = Transaction::default();
        transaction.update(&stored, &changed)?;
        self.inventory.commit(transaction)?;
        Ok(changed.into())
    }

    /// Whether somebody of an organization is still the user that logged in.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn is_user(&self, principal: &access::Principal) -> Result<bool> {
        let Some(organization) = &principal.organization else {
            return Ok(true);
        };
        let key = User::key_of(organization.as_str(), principal.name.as_str());
        let found = self.inventory.find::<User>(&key)?;
        Ok(found.is_some_and(|user| user.record.role == principal.role && !user.record.disabled))
    }

    /// Lets a user log in, or keeps the user from it: then sessions end too.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn enable_user(&self, organization: &Name, name: &Name, enabled: bool) -> Result<()> {
        let stored = self.user(organization, name)?;
        let mut changed = stored.record.clone();
        changed.disabled = !enabled;
        let mut transaction = Transaction::default();
        transaction.update(&stored, &changed)?;
        self.inventory.commit(transaction)
    }

    /// Whether a user of an organization may log in.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn is_enabled(&self, organization: &Name, name: &Name) -> Result<bool> {
        Ok(!self.user(organization, name)?.record.disabled)
    }

    fn user(&self, organization: &Name, name: &Name) -> Result<Stored<User>> {
        let key = User::key_of(organization.as_str(), name.as_str());
        let found = self.inventory.find::<User>(&key)?;
        found
            .filter(|_| !access::is_system(organization.as_str()))
            .ok_or_else(|| super::plan::missing("user", &format!("{name}@{organization}")))
    }

    /// Adds a user to an organization, or to the system ([`access::SYSTEM`]).
    ///
    /// # Errors
    /// When the name is taken, there is no such organization, or the password is too short.
    pub fn create_user(
        &self,
        organization: Option<&Name>,
        name: Name,
        role: Role,
        password: &str,
    ) -> Result<UserView> {
        let (organization, home) = match organization {
            Some(name) if access::is_system(name.as_str()) => (None, Name::fixed(access::SYSTEM)),
            other => {
                let found = self.organization_or_only(other)?;
                let name = found.record.name.clone();
                (Some(found), name)
            }
        };
        if password.chars().count() < SHORTEST || password.len() > 1024 {
            return Err(Error::BadValue(format!(
                "a password has {SHORTEST} characters or more, and at most 1024 bytes"
            )));
        }
        self.add_user(organization, home, name, role, password)
    }

    fn add_user(
        &self,
        organization: Option<Stored<Organization>>,
        home: Name,
        name: Name,
        role: Role,
        password: &str,
    ) -> Result<UserView> {
        let hash = Argon2::default()
            .hash_password(password.as_bytes())
            .map_err(|error| Error::Internal(format!("the password was not hashed: {error}")))?;
        let user = User {
            organization: home,
            name,
            role,
            password: hash.to_string(),
            created: Timestamp::now(),
            disabled: false,
        };
        let mut transaction = Transaction::default();
        if let Some(organization) = &organization {
            transaction.unchanged(organization);
        }
        transaction.insert(&user)?;
        self.commit_named(transaction, "user", &user.name, &user.organization)?;
        Ok(user.into())
    }

    /// Makes the first administrator of the system, unless there is one: with the password that `password` gives. Says whether it did.
    ///
    /// # Errors
    /// When the inventory fails, or the password is empty.
    pub fn first_administrator<E: From<Error>>(
        &self,
        password: impl FnOnce() -> std::result::Result<Zeroizing<String>, E>,
    ) -> std::result::Result<Option<Zeroizing<String>>, E> {
        let key = User::key_of(access::SYSTEM, access::ADMINISTRATOR);
        if self.inventory.find::<User>(&key)?.is_some() {
            return Ok(None);
        }
        let password = password()?;
        if password.is_empty() {
            let detail = "the first password of the administrator is empty; choose one, or leave it to be made";
            return Err(Error::BadValue(detail.to_owned()).into());
        }
        // Whoever starts the installation decides how long it is.
        self.add_user(
            None,
            Name::fixed(access::SYSTEM),
            Name::fixed(access::ADMINISTRATOR),
            Role::Administrator,
            &password,
        )?;
        Ok(Some(password))
    }

    /// The user whose name and password these are. Takes as long when there is no such user.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn authenticate(
        &self,
        organization: &Name,
        name: &Name,
        password: &str,
    ) -> Result<Option<UserView>> {
        let key = User::key_of(organization.as_str(), name.as_str());
        let found = self.inventory.find::<User>(&key)?;
        let hash = found
            .as_ref()
            .map_or(NOBODY, |user| user.record.password.as_str());
        let fits = is_password(hash, password);
        Ok(found
            .filter(|user| fits && !user.record.disabled)
            .map(|user| UserView::from(user.record)))
    }

    /// Takes as long as [`Self::authenticate`], for names that cannot be one: finds nobody.
    ///
    /// # Errors
    /// None; the type is that of the other.
    pub fn authenticate_nobody(&self, password: &str) -> Result<Option<UserView>> {
        let _never = is_password(NOBODY, password);
        Ok(None)
    }

    /// Every virtual data center.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn vdcs(&self) -> Result<Vec<VdcView>> {
        let vdcs: Vec<Vdc> = records(self.inventory.all()?);
        vdcs.into_iter().map(|vdc| self.vdc_view(vdc)).collect()
    }

    /// At most so many of them, of an organization or of all, after one of them; `None` if that one is not among them.
    pub(crate) fn some_vdcs(
        &self,
        organization: Option<&Name>,
        after: Option<&str>,
        most: usize,
    ) -> Result<Option<Vec<VdcView>>> {
        let found: Option<Vec<Vdc>> = self.some_of(organization, after, most)?;
        let views = found.map(|vdcs| vdcs.into_iter().map(|vdc| self.vdc_view(vdc)).collect());
        views.transpose()
    }

    /// At most so many records whose keys are `ORGANIZATION/NAME`, or a name, of an organization or of all, after the one of that key;
    /// `None` if there is none.
    pub(crate) fn some_of<T: Record>(
        &self,
        organization: Option<&Name>,
        after: Option<&str>,
        most: usize,
    ) -> Result<Option<Vec<T>>> {
        let prefix = match organization {
            Some(organization) => format!("{}{organization}/", T::PREFIX),
            None => T::PREFIX.to_owned(),
        };
        let key = match after {
            Some(after) => {
                let key = format!("{}{after}", T::PREFIX);
                if !key.starts_with(&prefix) || self.inventory.find::<T>(&key)?.is_none() {
                    return Ok(None);
                }
                key
            }
            None => String::new(),
        };
        Ok(Some(records(
            self.inventory.some_within(&prefix, &key, most)?,
        )))
    }

    /// Makes a virtual data center.
    ///
    /// # Errors
    /// When the name is taken in the organization, or something that it names does not exist.
    pub fn create_vdc(&self, request: CreateVdc) -> Result<VdcView> {
        let organization = self.organization_or_only(request.organization.as_ref())?;
        let vcenter = self.inventory.vcenter_or_only(request.vcenter.as_ref())?;
        if let Some(datastore) = &request.datastore {
            self.inventory
                .datastore_on(&vcenter.record.name, Some(datastore))?;
        }
        let vdc = Vdc {
            organization: organization.record.name.clone(),
            name: request.name,
            vcenter: vcenter.record.name.clone(),
            datastore: request.datastore,
            created: Timestamp::now(),
        };
        let mut transaction = Transaction::default();
        transaction.unchanged(&organization);
        transaction.insert(&vdc)?;
        self.commit_named(
            transaction,
            "virtual data center",
            &vdc.name,
            &vdc.organization,
        )?;
        self.vdc_view(vdc)
    }

    /// Whether VMs with TPMs may be there (rule 1.1, the part that does not depend on the VM).
    fn vdc_view(&self, vdc: Vdc) -> Result<VdcView> {
        let vcenter = self.inventory.vcenter(vdc.vcenter.as_str())?.record;
        let reason = self.no_tpm_on(&vcenter)?;
        Ok(VdcView {
            tpm_supported: reason.is_none(),
            reason,
            vdc,
        })
    }

    fn no_tpm_on(&self, vcenter: &VCenter) -> Result<Option<String>> {
        if vcenter.version < VcVersion::V6_7 {
            return Ok(Some(format!(
                "vCenter {} is {}; TPMs need 6.7 or newer",
                vcenter.name, vcenter.version
            )));
        }
        let Some(name) = &vcenter.default_provider else {
            return Ok(Some(format!(
                "vCenter {} has no default key provider",
                vcenter.name
            )));
        };
        let key = Provider::key_of(vcenter.name.as_str(), name.as_str());
        let usable = match self.inventory.find::<Provider>(&key)? {
            Some(provider) => self
                .files
                .provider(&provider.record)
                .is_ok_and(|open| open.is_active()),
            None => false,
        };
        Ok((!usable).then(|| {
            format!(
                "the key provider {name} of vCenter {} cannot be used; `vtpm provider list` says why",
                vcenter.name
            )
        }))
    }

    /// Every catalog.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn catalogs(&self) -> Result<Vec<Catalog>> {
        Ok(records(self.inventory.all()?))
    }

    /// Makes a catalog.
    ///
    /// # Errors
    /// When the name is taken in the organization, or something that it names does not exist.
    pub fn create_catalog(&self, request: CreateCatalog) -> Result<Catalog> {
        let organization = self.organization_or_only(request.organization.as_ref())?;
        let (vcenter, datastore) =
            self.shelf_of(&organization.record.name, request.vdc.as_deref())?;
        let subscription = match &request.subscribe {
            Some(reference) => Some(self.subscribable(reference, &organization.record.name)?),
            None => None,
        };
        let catalog = Catalog {
            organization: organization.record.name.clone(),
            name: request.name,
            vcenter,
            datastore,
            anywhere: request.vdc.is_none(),
            published: false,
            subscription,
            created: Timestamp::now(),
        };
        let mut transaction = Transaction::default();
        transaction.unchanged(&organization);
        transaction.insert(&catalog)?;
        self.commit_named(transaction, "catalog", &catalog.name, &catalog.organization)?;
        Ok(catalog)
    }

    /// Where a catalog keeps what comes from nowhere: the vCenter and datastore of a virtual data center.
    pub(super) fn shelf_of(&self, organization: &Name, vdc: Option<&str>) -> Result<(Name, Name)> {
        let mut own = match vdc {
            Some(_) => vec![self.find_vdc(Some(organization), vdc)?],
            None => self.inventory.all::<Vdc>()?,
        };
        own.retain(|vdc| vdc.record.organization == *organization);
        let first = own
            .into_iter()
            .map(|vdc| vdc.record)
            .min_by_key(|vdc| (vdc.created, vdc.name.clone()));
        let vdc = match first {
            Some(vdc) => vdc,
            // It says what is missing.
            None => self.find_vdc(Some(organization), vdc)?.record,
        };
        let datastore = self
            .inventory
            .datastore_on(&vdc.vcenter, vdc.datastore.as_ref())?;
        Ok((vdc.vcenter, datastore.record.name))
    }

    /// Makes two vCenters trust each other's certificates, which everything between them needs.
    ///
    /// # Errors
    /// When one does not exist, or both are the same.
    pub fn trust(&self, one: &Name, other: &Name) -> Result<()> {
        if one == other {
            return Err(Error::BadValue(format!(
                "vCenter {one} needs no trust in itself; name two vCenters"
            )));
        }
        let mut transaction = Transaction::default();
        for (this, that) in [(one, other), (other, one)] {
            let stored = self.inventory.vcenter(this.as_str())?;
            let mut changed = stored.record.clone();
            if !changed.trusts.contains(that) {
                changed.trusts.push(that.clone());
                transaction.update(&stored, &changed)?;
            }
        }
        self.inventory.commit(transaction)
    }

    /// Lets one more vCenter see a datastore.
    ///
    /// # Errors
    /// When one of the two does not exist.
    pub fn share_datastore(&self, name: &Name, vcenter: &Name) -> Result<Datastore> {
        let stored = self.inventory.datastore(name.as_str())?;
        let vcenter = self.inventory.vcenter(vcenter.as_str())?.record.name;
        let mut changed = stored.record.clone();
        if !changed.vcenters.contains(&vcenter) {
            changed.vcenters.push(vcenter);
            let mut transaction = Transaction::default();
            transaction.update(&stored, &changed)?;
            self.inventory.commit(transaction)?;
        }
        Ok(changed)
    }

    /// Changes settings of the whole installation.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn change_cloud_settings(&self, settings: CloudSettings) -> Result<CloudSettings> {
        let mut transaction = Transaction::default();
        transaction.put(&settings)?;
        self.inventory.commit(transaction)?;
        Ok(settings)
    }

    /// Entries of the audit log after number `after`, the oldest first, so many at most.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn audit(&self, after: u64, most: usize) -> Result<Vec<AuditEntry>> {
        let key = AuditEntry::key_of(after);
        Ok(records(self.inventory.after(&key, most)?))
    }

    /// Entries of the audit log before number `before`, or the last ones, the newest first: so many at most of those that are `wanted`.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn audit_before(
        &self,
        before: Option<u64>,
        most: usize,
        wanted: impl Fn(&AuditEntry) -> bool,
    ) -> Result<Vec<AuditEntry>> {
        const AT_ONCE: u64 = 500;
        let written = audit::written(&self.inventory)?;
        let mut end = before.map_or(written, |before| written.min(before.saturating_sub(1)));
        let mut found = Vec::new();
        while end > 0 && found.len() < most {
            let start = end.saturating_sub(AT_ONCE);
            let count = usize::try_from(end - start).unwrap_or(usize::MAX);
            let mut part = self.audit(start, count)?;
            part.retain(|entry| entry.number <= end && wanted(entry));
            part.reverse();
            found.extend(part);
            end = start;
        }
        found.truncate(most);
        Ok(found)
    }

    /// Looks through the whole audit log for entries that were changed, taken out or put in.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn check_audit(&self) -> Result<AuditCheck> {
        audit::check(&self.inventory)
    }

    pub(super) fn organization_or_only(&self, name: Option<&Name>) -> Result<Stored<Organization>> {
        let missing = |name: &str| Error::NotFound {
            what: "organization",
            name: name.to_owned(),
            hint: "make one with `vtpm org add NAME`",
        };
        if let Some(name) = name {
            return self
                .inventory
                .find(&Organization::key_of(name.as_str()))?
                .ok_or_else(|| missing(name.as_str()));
        }
        let mut all = self.inventory.all::<Organization>()?;
        if all.len() > 1 {
            return Err(Error::ChoiceNeeded {
                what: "organization",
                option: "--org",
            });
        }
        all.pop().ok_or_else(|| missing("any"))
    }

    fn insert_named<T: Record>(
        &self,
        record: &T,
        what: &'static str,
        name: &Name,
        place: &str,
    ) -> Result<()> {
        let mut transaction = Transaction::default();
        transaction.insert(record)?;
        self.commit_in(transaction, what, name, place.to_owned())
    }

    fn commit_named(
        &self,
        transaction: Transaction,
        what: &'static str,
        name: &Name,
        organization: &Name,
    ) -> Result<()> {
        self.commit_in(
            transaction,
            what,
            name,
            format!("the organization {organization}"),
        )
    }

    fn commit_in(
        &self,
        transaction: Transaction,
        what: &'static str,
        name: &Name,
        place: String,
    ) -> Result<()> {
        self.inventory
            .commit(transaction)
            .map_err(|error| match error {
                // The organization itself changes only when it goes.
                Error::Conflict { key }
                    if !key.starts_with(Organization::PREFIX) || what == "organization" =>
                {
                    Error::Exists {
                        what,
                        name: name.clone(),
                        place,
                    }
                }
                other => other,
            })
    }
}

fn is_password(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// A hash that no password has, for names that nobody has: salt and digest are zeros.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
