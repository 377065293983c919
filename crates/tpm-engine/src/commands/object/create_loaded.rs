//! `TPM2_CreateLoaded` (Part 3, 12.9): a primary object under a hierarchy, an ordinary one under a parent, or one derived from a
//! derivation parent.

use crate::creation::{derive, pad_auth};
use crate::execute::Execute;
use crate::object::{Lineage, Object};
use crate::protection::Protector;
use crate::state::Tpm;
use crate::template::{check_attributes, check_creation};
use tpm_wire::algorithm::TpmiAlgPublic;
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Tpm2b, Tpm2bPrivate};
use tpm_wire::codec::{Input, Limits, Parse, response_code};
use tpm_wire::commands::{CreateLoaded, CreateLoadedResponse};
use tpm_wire::handles::{HandleField, TpmHandle, TpmHt};
use tpm_wire::object::{DerivationTemplate, TpmsDerive, TpmsSensitiveCreate, TpmtTemplate};
use tpm_wire::rc::Rc;

impl Execute for CreateLoaded {
    fn execute(self, tpm: &mut Tpm) -> Result<CreateLoadedResponse, Rc> {
        let parent_handle = self.parent_handle.handle();
        let is_primary = parent_handle.kind() == Some(TpmHt::Permanent);
        let not_parent = Rc::TYPE.at(Self::parent_handle);
        let derives = if is_primary {
            false
        } else {
            let parent = tpm.objects.get(parent_handle).map_err(|_| not_parent)?;
            if !parent.is_parent() && !parent.is_derivation_parent() {
                return Err(not_parent);
            }
            parent.is_derivation_parent()
        };
        tpm.objects.check_room()?;
        let mut out_private = Tpm2bPrivate::EMPTY;
        let object = if derives {
            self.derive(tpm, parent_handle)?
        } else if is_primary {
            let lineage = Lineage::Primary(parent_handle);
            let (public, create) = self.checked(lineage, &tpm.profile.limits)?;
            tpm.create_primary(parent_handle, public, &create)?
        } else {
            let lineage = Lineage::Child(tpm.objects.get(parent_handle)?);
            let (public, create) = self.checked(lineage, &tpm.profile.limits)?;
            let object = tpm.create_child(parent_handle, public, &create)?;
            let sensitive = object.sensitive.as_ref().ok_or(Rc::SENSITIVE)?;
            out_private = Protector::parent(tpm.objects.get(parent_handle)?)?.wrap_private(
                &object.name,
                object.public.name_alg,
                sensitive,
                &mut tpm.random,
            )?;
            object
        };
        let (out_public, name) = (Tpm2b(object.public.clone()), object.name.clone());
        Ok(CreateLoadedResponse {
            object_handle: tpm.objects.load(object)?,
            out_private,
            out_public,
            name,
        })
    }
}

/// Template and sensitive data, ready to create from.
type Checked = (tpm_wire::object::TpmtPublic, TpmsSensitiveCreate);

/// The steps of the three forms.
trait Forms {
    fn checked(self, lineage: Lineage<'_>, limits: &Limits) -> Result<Checked, Rc>;
    fn derive(self, tpm: &Tpm, parent: TpmHandle) -> Result<Object, Rc>;
}

impl Forms for CreateLoaded {
    fn checked(self, lineage: Lineage<'_>, limits: &Limits) -> Result<Checked, Rc> {
        let at_public = |rc: Rc| rc.at(Self::in_public);
        let TpmtTemplate(public) = self.in_public.parse_content(limits).map_err(at_public)?;
        let mut create = self.in_sensitive.0;
        create.user_auth =
            pad_auth(&create.user_auth, public.name_alg).map_err(|rc| rc.at(Self::in_sensitive))?;
        check_creation(lineage, &public, !create.data.is_empty()).map_err(at_public)?;
        Ok((public, create))
    }

    fn derive(self, tpm: &Tpm, parent: TpmHandle) -> Result<Object, Rc> {
        let limits = &tpm.profile.limits;
        let at_public = |rc: Rc| rc.at(Self::in_public);
        let template: DerivationTemplate =
            self.in_public.parse_content(limits).map_err(at_public)?;
        let (public, mut label_and_context) = (template.public, template.derive);
        let mut create = self.in_sensitive.0;
        create.user_auth =
            pad_auth(&create.user_auth, public.name_alg).map_err(|rc| rc.at(Self::in_sensitive))?;
        // An RSA key would need more numbers than a derivation gives.
        if public.object_type() == TpmiAlgPublic::Rsa {
            return Err(at_public(Rc::TYPE));
        }
        if public.has(TpmaObject::SENSITIVE_DATA_ORIGIN) {
            return Err(Rc::ATTRIBUTES);
        }
        let parent = tpm.objects.get(parent)?;
        check_attributes(Some(Lineage::Child(parent)), &public).map_err(at_public)?;
        // Label and context of the template go before those of the sensitive data.
        if !create.data.is_empty() {
            let input = Input::new(&create.data, limits);
            let (_, given) = TpmsDerive::parse(input).map_err(response_code)?;
            if label_and_context.label.is_empty() {
                label_and_context.label = given.label;
            }
            if label_and_context.context.is_empty() {
                label_and_context.context = given.context;
            }
        }
        create.data = Default::default();
        derive(parent, public, &create, &label_and_context)
    }
}
