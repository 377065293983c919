//! Catalogs that follow a published one: they take over what that offers, renew what has changed there, and drop what is gone.

use super::batch::{Outcome, Plan};
use super::plan::Wanted;
use super::template::Header;
use super::{Job, Operations, Preview};
use crate::inventory::Stored;
use crate::model::{Catalog, Template, TemplateOrigin};
use crate::provisioning::{Operation, TpmAction, TpmProvisioning};
use crate::{Error, Name, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a catalog has to do to be what it follows.
struct Due {
    /// Templates of its own that go.
    dropped: Vec<String>,
    /// Templates of the other that are taken over.
    taken: Vec<String>,
    /// The catalog itself.
    own: String,
}

impl Operations {
    /// Makes a catalog what the published one that it follows offers: a job for each template that is to be taken over, renewed or dropped.
    ///
    /// # Errors
    /// When the catalog follows none, that one is not published any more, or a rule is not met.
    pub fn sync_catalog(self: &Arc<Self>, catalog: &str) -> Result<Vec<Job>> {
        let due = self.due(catalog)?;
        let mut jobs = Vec::new();
        for template in &due.dropped {
            jobs.push(self.delete_template(template)?);
        }
        for source in &due.taken {
            let id = Uuid::new_v4();
            jobs.push(self.accept(|this| this.plan_sync(id, source, &due.own))?);
        }
        Ok(jobs)
    }

    /// What [`Self::sync_catalog`] would do, all of it as one.
    ///
    /// # Errors
    /// When the catalog follows none, or that one is not published any more.
    pub fn preview_sync_catalog(&self, catalog: &str) -> Result<Preview> {
        let due = self.due(catalog)?;
        let mut all = Preview::nothing(Operation::SyncCatalogTemplate.as_str());
        for template in &due.dropped {
            all.and(self.preview_delete_template(template)?);
        }
        for source in &due.taken {
            all.and(self.preview_of(|this| this.plan_sync(Uuid::nil(), source, &due.own))?);
        }
        Ok(all)
    }

    /// What makes a catalog what the published one that it follows offers.
    fn due(&self, catalog: &str) -> Result<Due> {
        let catalog = self.find_catalog(catalog)?.record;
        let subscription = catalog.subscription.clone().ok_or_else(|| {
            Error::BadValue(format!(
                "the catalog {} follows no other; make one with --subscribe ORGANIZATION/CATALOG",
                catalog.name
            ))
        })?;
        let reference = format!("{}/{}", subscription.organization, subscription.catalog);
        self.subscribable(&reference, &catalog.organization)?;
        let followed = self.find_catalog(&reference)?.record;
        let theirs = self.templates_of(&followed)?;
        let ours = self.templates_of(&catalog)?;
        let own = format!("{}/{}", catalog.organization, catalog.name);
        let offer = self.offer(followed)?;
        let mut due = Due {
            dropped: Vec::new(),
            taken: Vec::new(),
            own,
        };
        for (name, template) in &ours {
            if template.record.origin == TemplateOrigin::Synced && !offer.templates.contains(name) {
                due.dropped.push(format!("{}/{name}", due.own));
            }
        }
        for name in &offer.templates {
            let Some(source) = theirs.get(name) else {
                continue;
            };
            if let Some(present) = ours.get(name)
                && (present.record.origin != TemplateOrigin::Synced
                    || is_of(&present.record, &source.record))
            {
                continue;
            }
            due.taken.push(format!("{reference}/{name}"));
        }
        Ok(due)
    }

    fn templates_of(&self, catalog: &Catalog) -> Result<BTreeMap<Name, Stored<Template>>> {
        let prefix = Template::key_of(catalog.organization.as_str(), catalog.name.as_str(), "");
        let templates = self.inventory.within::<Template>(&prefix)?;
        Ok(templates
            .into_iter()
            .map(|template| (template.record.name.clone(), template))
            .collect())
    }

    fn plan_sync(&self, id: Uuid, source: &str, catalog: &str) -> Result<Plan> {
        let catalog = self.find_catalog(catalog)?;
        let source = self.find_template(source)?;
        let present = self.templates_of(&catalog.record)?;
        let present = present.get(&source.record.name);
        let header = Header {
            id,
            name: &source.record.name,
            origin: TemplateOrigin::Synced,
            provisioning: TpmProvisioning::Replace,
        };
        let operation = Operation::SyncCatalogTemplate;
        let mut plan = self.plan_template_anew(&catalog, header, operation)?;
        let place = self.place_on_shelf(&catalog.record)?;
        if let Outcome::NewTemplate(template) = &mut plan.outcome {
            template.synced_from = Some(source.record.id);
        }
        if let Some(old) = present {
            Self::in_the_place_of(&mut plan, old);
            plan.notes.push(format!(
                "{} takes the place of the one taken over earlier",
                old.record.name
            ));
        }
        plan.read(&source);
        for vm in &source.record.vms {
            let wanted = Wanted {
                operation,
                source: vm,
                name: vm.name.clone(),
                asked: None,
                stored: Some(TpmAction::Replace),
                moves: false,
                by_name: false,
            };
            self.plan_from(&mut plan, &place, wanted)?;
        }
        Ok(plan)
    }
}

/// Whether a template was taken over from this very one. Those of earlier versions do not say; then the older one is taken for out of date.
fn is_of(own: &Template, source: &Template) -> bool {
    match own.synced_from {
        Some(id) => id == source.id,
        None => source.created <= own.created,
    }
}
