//! The inventory as a tree.

use crate::chrome::{Place, Section};
use crate::refusal::Refusal;
use crate::visitor::Visitor;
use crate::{events, parts};
use axum::response::Response;
use maud::{Markup, html};
use parts::{Tone, badge};
use vm_inventory::model::{Catalog, Datastore, Organization, Template, VCenter};
use vm_inventory::{Right, VappView, VdcView, VmView};

/// VMs of a vApp that the tree shows; its own page has all.
const IN_TREE: usize = 25;

struct Everything {
    vcenters: Vec<VCenter>,
    datastores: Vec<Datastore>,
    organizations: Vec<Organization>,
    vdcs: Vec<VdcView>,
    vapps: Vec<VappView>,
    vms: Vec<VmView>,
    catalogs: Vec<Catalog>,
    templates: Vec<Template>,
}

pub(crate) async fn show(visitor: Visitor) -> Result<Response, Refusal> {
    let all = visitor
        .look(|scoped| {
            // What belongs to no organization is for users of the system.
            let (vcenters, datastores) = if scoped.principal().is_system() {
                (scoped.vcenters()?, scoped.datastores()?)
            } else {
                (Vec::new(), Vec::new())
            };
            Ok(Everything {
                vcenters,
                datastores,
                organizations: scoped.organizations()?,
                vdcs: scoped.vdcs()?,
                vapps: scoped.vapps()?,
                vms: scoped.vms()?,
                catalogs: scoped.catalogs()?,
                templates: scoped.templates()?,
            })
        })
        .await?;
    let on = all.vms.iter().filter(|vm| vm.tpm.tcti.is_some()).count();
    let with_tpm = all.vms.iter().filter(|vm| vm.tpm.present).count();
    let alone = all.vms.iter().any(|vm| vm.vapp.is_none());
    let body = html! {
        div.title {
            h1 { "Inventory" }
            div.actions {
                @if visitor.may(Right::Infrastructure) { a.button href="/ui/new/vm" { "New VM" } }
                @if visitor.may(Right::Build) && !all.vdcs.is_empty() {
                    a.button href="/ui/new/vapp" { "New vApp" }
                    a.button href="/ui/new/package" { "New vApp of a package" }
                }
            }
        }
        p.lead { "What there is, and where it belongs. The page of a VM shows its TPM; operations begin on the page of what they are about." }
        ul.figures {
            li { strong { (all.vms.len()) } " VMs" }
            li { strong { (with_tpm) } " with a TPM" }
            li { strong { (on) } " TPMs running" }
            li { strong { (all.vapps.iter().filter(|it| !it.vapp.standalone).count()) } " vApps" }
            li { strong { (all.templates.len()) } " templates" }
        }
        (events::alarm(&all.vms))
        @if !all.vcenters.is_empty() || alone {
            section.card aria-labelledby="vcenters" {
                h2 #vcenters { "vCenters" }
                ul.tree { @for vcenter in &all.vcenters { (vcenter_of(vcenter, &all)) } }
            }
        } @else if visitor.principal.is_system() {
            section.card { (parts::empty("There is no vCenter yet.", "«Setup» makes one.")) }
        }
        section.card aria-labelledby="organizations" {
            h2 #organizations { "Organizations" }
            @if all.organizations.is_empty() {
                (parts::empty("There is no organization yet.", "«Setup» makes one, and its share of a vCenter."))
            } @else {
                ul.tree { @for organization in &all.organizations { (organization_of(organization, &all)) } }
            }
        }
    };
    Ok(visitor.page("Inventory", Place::top(Section::Inventory), &body))
}

fn vcenter_of(vcenter: &VCenter, all: &Everything) -> Markup {
    let stores = all
        .datastores
        .iter()
        .filter(|it| it.vcenters.contains(&vcenter.name));
    let vms: Vec<&VmView> = all
        .vms
        .iter()
        .filter(|vm| vm.vapp.is_none() && vm.vcenter == vcenter.name)
        .collect();
    html! {
        li {
            details open {
                summary {
                    span.kind { "vCenter" } " " strong { (vcenter.name) } " " (badge(Tone::Quiet, vcenter.version))
                    @if let Some(provider) = &vcenter.default_provider { " " span.soft { "keys by " (provider) } }
                }
                ul {
                    @for store in stores {
                        li {
                            span.kind { "Datastore" } " " (store.name)
                            @if store.vcenters.len() > 1 { " " (badge(Tone::Info, format!("shared by {}", store.vcenters.len()))) }
                        }
                    }
                    @if vms.is_empty() { li.soft { "no VMs outside vApps" } }
                    @for vm in vms { li { (vm_line(vm)) } }
                }
            }
        }
    }
}

fn organization_of(organization: &Organization, all: &Everything) -> Markup {
    let name = &organization.name;
    let vdcs: Vec<&VdcView> = all
        .vdcs
        .iter()
        .filter(|it| it.vdc.organization == *name)
        .collect();
    let catalogs: Vec<&Catalog> = all
        .catalogs
        .iter()
        .filter(|it| it.organization == *name)
        .collect();
    html! {
        li {
            details open {
                summary { span.kind { "Organization" } " " strong { (name) } }
                ul {
                    @for vdc in &vdcs { (vdc_of(vdc, all)) }
                    @if vdcs.is_empty() { li.soft { "no virtual data center" } }
                    @for catalog in &catalogs { (catalog_of(catalog, all)) }
                    @if catalogs.is_empty() { li.soft { "no catalog" } }
                }
            }
        }
    }
}

fn vdc_of(view: &VdcView, all: &Everything) -> Markup {
    let vdc = &view.vdc;
    let vapps = all
        .vapps
        .iter()
        .filter(|it| it.vapp.organization == vdc.organization && it.vapp.vdc == vdc.name);
    html! {
        li {
            details open {
                summary {
                    span.kind { "vDC" } " " (vdc.name) " "
                    @if view.tpm_supported { (badge(Tone::Good, "supports TPM")) }
                    @else { (badge(Tone::Warn, "no TPM")) @if let Some(reason) = &view.reason { " " span.soft { (reason) } } }
                }
                ul {
                    @for vapp in vapps {
                        @if vapp.vapp.standalone { @for vm in &vapp.vms { li { (vm_line(vm)) } } }
                        @else { (vapp_of(vapp)) }
                    }
                }
            }
        }
    }
}

fn vapp_of(view: &VappView) -> Markup {
    let address = format!("/ui/vapps/{}", view.vapp.id);
    html! {
        li {
            details open[view.vms.len() <= IN_TREE] {
                summary {
                    span.kind { "vApp" } " " a href=(address) { (view.vapp.name) } " "
                    span.soft { (parts::count(view.vms.len(), "VM", "VMs")) }
                }
                ul {
                    @for vm in view.vms.iter().take(IN_TREE) { li { (vm_line(vm)) } }
                    @if view.vms.len() > IN_TREE { li { a href=(address) { "all " (view.vms.len()) " VMs of " (view.vapp.name) } } }
                }
            }
        }
    }
}

fn catalog_of(catalog: &Catalog, all: &Everything) -> Markup {
    let templates = all
        .templates
        .iter()
        .filter(|it| it.organization == catalog.organization && it.catalog == catalog.name);
    html! {
        li {
            details open {
                summary {
                    span.kind { "Catalog" } " "
                    a href={ "/ui/catalogs/" (parts::path(catalog.organization.as_str())) "/" (parts::path(catalog.name.as_str())) } { (catalog.name) }
                    @if catalog.published { " " (badge(Tone::Info, "published")) }
                    @if let Some(from) = &catalog.subscription { " " (badge(Tone::Quiet, format!("follows {}/{}", from.organization, from.catalog))) }
                }
                ul {
                    @for template in templates {
                        li.leaf {
                            span.kind { "Template" } " " a href={ "/ui/templates/" (template.id) } { (template.name) } " "
                            (badge(Tone::Quiet, template.origin)) " "
                            @if template.has_tpm() { span.soft { "TPM: " (template_choice(template)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What instances of a template get.
pub(crate) fn template_choice(template: &Template) -> Markup {
    parts::action(template.provisioning.into())
}

/// A VM in a list.
pub(crate) fn vm_line(vm: &VmView) -> Markup {
    html! {
        span.leaf {
            span.kind { "VM" } " " a href={ "/ui/vms/" (vm.id) } { (vm.name) } " " (vm_badges(vm))
        }
    }
}

/// How a VM is.
pub(crate) fn vm_badges(vm: &VmView) -> Markup {
    html! {
        (parts::power(vm.power))
        @if vm.tpm.present {
            " " (badge(Tone::Info, "TPM"))
        } @else { " " (badge(Tone::Quiet, "no TPM")) }
        @if vm.locked.is_some() { " " (badge(Tone::Bad, "locked")) }
    }
}
