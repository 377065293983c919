//! Certificates of TPMs, and the authority of each vCenter that signs them.

use super::published::published_at;
use super::{Job, Operations, TpmBytes, lock};
use crate::certificates::{
    AuthorityChange, AuthorityOrigin, AuthorityRecord, AuthorityView, Certified, Certifier, Der,
    EndorsementKey, Issuer, PendingAuthority, PrivateKey, Revoked, SealedKey, StoredAuthority,
    TpmCertificates,
};
use crate::inventory::{Stored, Transaction};
use crate::model::{PowerState, Provider, Record as _, Timestamp, VCenter, Vm};
use crate::task::Task;
use crate::{Error, Name, Result};
use std::sync::Arc;
use vm_store::{Envelope, KeyProvider, SectionKind};

/// What the two keys of an authority are sealed for.
pub(super) const ISSUER: &str = "issuer";
const ROOT: &str = "root";
/// Most keys that a TPM gets certificates for.
const MOST_KEYS: usize = 5;

impl Operations {
    /// The certificate authority of a vCenter; without a name that of the only one there is.
    ///
    /// # Errors
    /// When there is no such vCenter.
    pub fn authority(&self, vcenter: Option<&Name>) -> Result<AuthorityView> {
        let vcenter = self.inventory.vcenter_or_only(vcenter)?.record;
        let record = self.authority_record(&vcenter.name)?;
        self.authority_view(record.map_or_else(
            || AuthorityRecord::new(vcenter.name.clone()),
            |stored| stored.record,
        ))
    }

    /// Changes how the authority of a vCenter is used from now on.
    ///
    /// # Errors
    /// When there is no such vCenter, or the keys make no sense.
    pub fn change_authority(
        &self,
        vcenter: Option<&Name>,
        change: &AuthorityChange,
    ) -> Result<AuthorityView> {
        let vcenter = self.inventory.vcenter_or_only(vcenter)?.record;
        let view = self.update_authority(&vcenter.name, |record| {
            if let Some(issue) = change.issue {
                record.issue = issue;
            }
            if let Some(keys) = &change.keys {
                let mut sorted = keys.clone();
                sorted.sort_unstable();
                sorted.dedup();
                if keys.is_empty() || keys.len() > MOST_KEYS || sorted.len() != keys.len() {
                    return Err(Error::BadValue(
                        "name each key once, and at least one: rsa2048, rsa3072, rsa4096, secp256r1, secp384r1".to_owned(),
                    ));
                }
                record.keys.clone_from(keys);
            }
            if let Some(url) = &change.published {
                record.published = published_at(url)?;
            }
            Ok(())
        })?;
        self.authority_view(view)
    }

    /// Makes a key for an authority below another one, such as a company's, and the request for its certificate (PKCS #10, DER). A
    /// request that was made before and not answered is void.
    ///
    /// # Errors
    /// When there is no such vCenter, or no key provider of it can hold the key.
    pub fn authority_request(&self, vcenter: Option<&Name>) -> Result<Der> {
        let vcenter = self.inventory.vcenter_or_only(vcenter)?.record;
        let certifier = self.needed_certifier()?;
        let (key, request) = certifier
            .authority_request(vcenter.name.as_str())
            .map_err(|error| refused(&vcenter.name, error.0))?;
        let provider = vcenter
            .default_provider
            .as_ref()
            .ok_or_else(|| refused(&vcenter.name, "the vCenter has no key provider for its key"))?;
        let key = self.seal_key(&vcenter.name, provider, ISSUER, &key)?;
        self.update_authority(&vcenter.name, |record| {
            record.pending = Some(PendingAuthority {
                key,
                request: request.clone(),
            });
            Ok(())
        })?;
        Ok(request)
    }

    /// Takes the certificate that the request was answered with, and those above it (PEM); from now on that authority signs.
    ///
    /// # Errors
    /// When no request waits, or the certificates are not those of an authority with that key.
    pub fn set_authority_certificate(
        &self,
        vcenter: Option<&Name>,
        certificates: &str,
    ) -> Result<AuthorityView> {
        let vcenter = self.inventory.vcenter_or_only(vcenter)?.record;
        let certifier = self.needed_certifier()?;
        let record = self.update_authority(&vcenter.name, |record| {
            let pending = record.pending.take().ok_or_else(|| {
                Error::BadValue(format!(
                    "no request of vCenter {name} waits for a certificate; make one first with `vtpm vcenter ca csr {name}`",
                    name = vcenter.name
                ))
            })?;
            let key = self.open_key(&vcenter.name, &pending.key, ISSUER)?;
            let chain = certifier
                .accept_authority(&key, certificates)
                .map_err(|error| Error::BadValue(error.0))?;
            let authority = StoredAuthority {
                origin: AuthorityOrigin::Given,
                chain,
                issuer_key: pending.key,
                root_key: None,
                since: Timestamp::now(),
            };
            if let Some(before) = record.authority.replace(authority) {
                record.former.push(before.chain.clone());
                record.retired.push(before);
            }
            Ok(())
        })?;
        self.authority_view(record)
    }

    /// Revokes a certificate of the vCenter's authority: that of a VM's TPM (each of its keys), or one by its serial number.
    ///
    /// # Errors
    /// When there is no such VM, or it has no certificate of this authority.
    pub fn revoke_certificates(
        &self,
        vcenter: Option<&Name>,
        vm: Option<&str>,
        serial: Option<&str>,
    ) -> Result<Vec<Revoked>> {
        let (serials, name, vcenter) = match (vm, serial) {
            (Some(reference), None) => {
                let vm = self.inventory.vm(reference)?.record;
                let views = vm.tpm.as_ref().map(|tpm| tpm.certificates.views());
                let views = views.unwrap_or_default();
                let serials: Vec<String> = views.into_iter().map(|it| it.facts.serial).collect();
                if serials.is_empty() {
                    return Err(Error::BadValue(format!(
                        "the VM {} has no certificate",
                        vm.name
                    )));
                }
                (serials, Some(vm.name), vm.vcenter)
            }
            (None, Some(serial)) => {
                let digits = serial.trim().to_ascii_lowercase();
                let fits = (2..=32).contains(&digits.len())
                    && digits.len() % 2 == 0
                    && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                if !fits {
                    return Err(Error::BadValue(format!(
                        "`{}` is no serial number; it has an even number of hexadecimal digits, at most 32",
                        crate::inventory::shown(serial)
                    )));
                }
                let vcenter = self.inventory.vcenter_or_only(vcenter)?.record;
                (vec![digits], None, vcenter.name)
            }
            _ => {
                return Err(Error::BadValue(
                    "say whose certificate: either a VM or a serial number".to_owned(),
                ));
            }
        };
        let mut transaction = Transaction::default();
        let mut revoked = Vec::new();
        for serial in serials {
            let key = Revoked::key_of(vcenter.as_str(), &serial);
            let known = self.inventory.find::<Revoked>(&key)?;
            if let Some(known) = known {
                revoked.push(known.record);
                continue;
            }
            let new = Revoked {
                vcenter: vcenter.clone(),
                serial,
                since: Timestamp::now(),
                vm: name.clone(),
            };
            transaction.insert(&new)?;
            revoked.push(new);
        }
        self.inventory.commit(transaction)?;
        Ok(revoked)
    }

    /// The list of certificates that the vCenter's authority revoked (DER), signed now, and behind it those of the authorities that
    /// signed for the vCenter before.
    ///
    /// # Errors
    /// When there is no authority yet, or its key cannot be had.
    pub fn revocation_lists(&self, vcenter: Option<&Name>) -> Result<Vec<Der>> {
        let vcenter = self.inventory.vcenter_or_only(vcenter)?.record.name;
        let record = self.settings_of(&vcenter)?;
        if record.authority.is_none() {
            return Err(refused(
                &vcenter,
                "there is none yet; it is made with the first TPM that gets a certificate",
            ));
        }
        let lists = record.all().map(|it| self.signed_list(&vcenter, it));
        lists.collect()
    }

    /// The list of one authority. Numbers of certificates are random, so that one of another authority on it does no harm.
    pub(super) fn signed_list(&self, vcenter: &Name, authority: &StoredAuthority) -> Result<Der> {
        let certifier = self.needed_certifier()?;
        let key = self.open_key(vcenter, &authority.issuer_key, ISSUER)?;
        let issuer = Issuer {
            key: &key,
            chain: &authority.chain,
            published: None,
        };
        let revoked = self.revoked(vcenter)?;
        certifier
            .revocation_list(issuer, Timestamp::now().0, &revoked)
            .map_err(|error| refused(vcenter, error.0))
    }

    /// The endorsement keys of a VM's TPM: for each a request for a certificate (PKCS #10, DER), and its certificate if it has one
    /// (DER). What is not known of a TPM that was made elsewhere is found out now, and kept.
    ///
    /// # Errors
    /// When there is no such VM, it has no TPM, or its state cannot be read.
    pub fn endorsement_keys(self: &Arc<Self>, reference: &str) -> Result<Vec<EndorsementKey>> {
        let vm = &self.inventory.vm(reference)?.record;
        let Some(tpm) = &vm.tpm else {
            return Err(Error::NoTpm {
                vm: vm.name.clone(),
            });
        };
        if !tpm.certificates.keys.is_empty() {
            return Ok(tpm.certificates.keys.clone());
        }
        let Some(certifier) = self.maker.certifier() else {
            return Ok(Vec::new());
        };
        let contents = self.contents_of(vm)?;
        let state = contents.get(SectionKind::TPM_PERMANENT);
        let state = state.ok_or_else(|| failed(vm, "its file holds no TPM state"))?;
        let keys = self.settings_of(&vm.vcenter)?.keys;
        // What comes of it is thrown away, so that the VM's TPM notices nothing.
        let looked = certifier
            .certify(state, None, &keys, vm.hardware_version)
            .map_err(|error| failed(vm, error.0))?;
        // Kept only if nobody is at work on the VM: the next who asks looks again.
        if let Ok((stored, _busy)) = self.occupy_vm(&vm.id.to_string(), "a look at its keys") {
            let mut changed = stored.record.clone();
            if let Some(tpm) = &mut changed.tpm {
                let device = std::mem::take(&mut tpm.certificates.device);
                tpm.certificates = looked.certificates.clone();
                tpm.certificates.device = device;
            }
            let mut transaction = Transaction::default();
            transaction.update(&stored, &changed)?;
            self.inventory.commit(transaction)?;
        }
        Ok(looked.certificates.keys)
    }

    /// Puts a certificate (PEM, or base64 of DER) into the TPM of a VM that is off, in the place of the one that it has for that key.
    /// The TPM has to show that it has the key.
    ///
    /// # Errors
    /// When the VM runs, has no TPM, or has snapshots.
    pub fn set_ek_certificate(self: &Arc<Self>, vm: &str, certificate: String) -> Result<Job> {
        self.change_certificates(vm, "set_ek_certificate", move |this, vm, state| {
            let certifier = this.needed_certifier()?;
            let (state, key) = certifier
                .set_certificate(state, &certificate)
                .map_err(|error| Error::BadValue(error.0))?;
            let mut certificates = match &vm.tpm {
                Some(tpm) => tpm.certificates.clone(),
                None => TpmCertificates::default(),
            };
            let note = format!(
                "the {} endorsement key of {} has a certificate of {}; the TPM showed that it has the key",
                key.algorithm,
                vm.name,
                key.certificate
                    .as_ref()
                    .map_or("nobody", |certificate| &certificate.facts.issuer)
            );
            match certificates
                .keys
                .iter_mut()
                .find(|known| known.algorithm == key.algorithm)
            {
                Some(known) => known.certificate = key.certificate,
                None => certificates.keys.push(key),
            }
            Ok((state, certificates, vec![note]))
        })
    }

    /// Gives the TPM of a VM that is off certificates of its vCenter's authority: one that was made without, or elsewhere.
    ///
    /// # Errors
    /// When the VM runs, has no TPM, or has snapshots.
    pub fn issue_ek_certificates(self: &Arc<Self>, vm: &str) -> Result<Job> {
        self.change_certificates(vm, "issue_ek_certificates", |this, vm, state| {
            let certifier = this.needed_certifier()?;
            let mut certified = this.certify_by(certifier, vm, state, true)?;
            // They stay in the TPM.
            if let Some(tpm) = &vm.tpm {
                certified
                    .certificates
                    .device
                    .clone_from(&tpm.certificates.device);
            }
            let mut notes = certified.notes;
            notes.push(format!(
                "the TPM of {} has certificates of the authority of vCenter {}",
                vm.name, vm.vcenter
            ));
            Ok((certified.state, certified.certificates, notes))
        })
    }

    /// Records that a verifier saw two TPMs alive under one identity, whose endorsement certificate has this SHA-256 (hexadecimal): with
    /// each VM that has it, in the audit log. Gives those VMs.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn raise_clone_alarm(&self, fingerprint: &str, detail: &str) -> Result<Vec<Name>> {
        let mut transaction = Transaction::default();
        let mut twins = Vec::new();
        for stored in self.inventory.all::<Vm>()? {
            let vm = stored.record;
            let has_it = vm.tpm.as_ref().is_some_and(|tpm| {
                let views = tpm.certificates.views();
                views.iter().any(|it| it.facts.fingerprint == fingerprint)
            });
            if !has_it {
                continue;
            }
            let mut task = Task::new("clone_alarm", vm.id, &vm.name);
            task.notes.push(format!(
                "event: a verifier saw two TPMs alive under the identity of {}: {detail}",
                vm.name
            ));
            transaction.insert(&task.succeeded())?;
            tracing::warn!(vm = %vm.name, "clone alarm: {detail}");
            twins.push(vm.name);
        }
        self.inventory.commit(transaction)?;
        Ok(twins)
    }

    pub(super) fn change_certificates(
        self: &Arc<Self>,
        reference: &str,
        operation: &'static str,
        change: impl FnOnce(&Self, &Vm, &[u8]) -> Result<(TpmBytes, TpmCertificates, Vec<String>)>
        + Send
        + 'static,
    ) -> Result<Job> {
        let (stored, busy) = self.occupy_vm(reference, "a change of its certificates")?;
        let vm = &stored.record;
        if vm.tpm.is_none() {
            return Err(Error::NoTpm {
                vm: vm.name.clone(),
            });
        }
        if vm.power != PowerState::Off {
            return Err(Error::Power {
                vm: vm.name.clone(),
                is: vm.power,
                hint: "its certificates are changed while it is off; power it off with `vtpm vm stop`",
            });
        }
        let snapshots = self.tree(vm.id)?.snapshots.len();
        if snapshots > 0 {
            return Err(Error::BadValue(format!(
                "the VM {} has {snapshots} snapshots, which keep the certificates of then; forget them first with `vtpm vm forget`",
                vm.name
            )));
        }
        let task = self.record_task(operation, &stored)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            let vm = &stored.record;
            this.report(&task, 10, "opening the files");
            let floor = this.inventory.generation_floor(vm.id)?;
            let (mut file, mut contents) =
                this.files.open(vm, &this.datastore_of(vm)?, Some(floor))?;
            if contents.get(SectionKind::TPM_VOLATILE).is_some() {
                return Err(Error::BadValue(format!(
                    "the VM {} is to go on from a snapshot of its memory; power it on and off once",
                    vm.name
                )));
            }
            let state = contents.get(SectionKind::TPM_PERMANENT);
            let state = state.ok_or_else(|| failed(vm, "its file holds no TPM state"))?;
            this.report(&task, 30, "changing the certificates");
            let (state, certificates, notes) = change(this, vm, state)?;
            this.report(&task, 80, "writing the files");
            contents.set(SectionKind::TPM_PERMANENT, state);
            let generation = file.save(&contents)?;
            file.close()?;
            this.inventory.raise_floors(&[(vm.id, generation)])?;
            let mut changed = vm.clone();
            if let Some(tpm) = &mut changed.tpm {
                tpm.certificates = certificates;
            }
            task.notes.extend(notes);
            let task = task.succeeded();
            let mut transaction = Transaction::default();
            transaction.update(&stored, &changed)?;
            transaction.put(&task)?;
            this.inventory.commit(transaction)?;
            Ok(task)
        }))
    }

    /// The same TPM, which nobody has had before, with certificates in it if its vCenter issues them.
    pub(super) fn certify(
        &self,
        certifier: &dyn Certifier,
        vm: &Vm,
        state: &[u8],
    ) -> Result<Certified> {
        let issue = self.settings_of(&vm.vcenter)?.issue;
        self.certify_by(certifier, vm, state, issue)
    }

    fn certify_by(
        &self,
        certifier: &dyn Certifier,
        vm: &Vm,
        state: &[u8],
        issue: bool,
    ) -> Result<Certified> {
        let settings = if issue {
            self.with_authority(certifier, vm)?
        } else {
            self.settings_of(&vm.vcenter)?
        };
        let held = match settings.authority.as_ref().filter(|_| issue) {
            Some(authority) => Some((
                self.open_key(&vm.vcenter, &authority.issuer_key, ISSUER)?,
                &authority.chain,
            )),
            None => None,
        };
        let place = self.place(&settings)?;
        let issuer = held.as_ref().map(|(key, chain)| Issuer {
            key,
            chain,
            published: place.as_deref(),
        });
        certifier
            .certify(state, issuer, &settings.keys, vm.hardware_version)
            .map_err(|error| failed(vm, error.0))
    }

    /// The authority of a VM's vCenter, made now if there is none.
    pub(super) fn with_authority(
        &self,
        certifier: &dyn Certifier,
        vm: &Vm,
    ) -> Result<AuthorityRecord> {
        let _one_at_a_time = lock(&self.authorities);
        let settings = self.settings_of(&vm.vcenter)?;
        if settings.authority.is_some() {
            return Ok(settings);
        }
        let vcenter = self.inventory.vcenter(vm.vcenter.as_str())?.record;
        let provider = vcenter.default_provider.as_ref().or(vm.provider.as_ref());
        let provider =
            provider.ok_or_else(|| refused(&vcenter.name, "no key provider can hold its keys"))?;
        let new = certifier
            .new_authority(vcenter.name.as_str())
            .map_err(|error| refused(&vcenter.name, error.0))?;
        let seal = |purpose, key: &PrivateKey| self.seal_key(&vcenter.name, provider, purpose, key);
        let authority = StoredAuthority {
            origin: AuthorityOrigin::Own,
            chain: new.chain,
            issuer_key: seal(ISSUER, &new.issuer_key)?,
            root_key: Some(seal(ROOT, &new.root_key)?),
            since: Timestamp::now(),
        };
        tracing::info!(vcenter = %vcenter.name, "made the certificate authority");
        self.change_record(&vcenter.name, |record| {
            record.authority = Some(authority);
            Ok(())
        })
    }

    /// Puts the keys of a vCenter's authority that this provider wraps under another key. Says whether there were any.
    pub(super) fn rewrap_authority(
        &self,
        from: &Provider,
        to: &dyn KeyProvider,
        key_id: &vm_store::KeyId,
    ) -> Result<bool> {
        let vcenter = &from.vcenter;
        let _one_at_a_time = lock(&self.authorities);
        let open = self.files.provider(from)?;
        let rewrapped = |sealed: &mut SealedKey| -> Result<bool> {
            let envelope = sealed.envelope(vcenter)?;
            if envelope.locator.provider != from.name.as_str() {
                return Ok(false);
            }
            *sealed = SealedKey::new(envelope.rewrap(&open, to, key_id)?);
            Ok(true)
        };
        let mut record = self.settings_of(vcenter)?;
        let mut changed = false;
        if let Some(authority) = &mut record.authority {
            changed |= rewrapped(&mut authority.issuer_key)?;
            if let Some(root) = &mut authority.root_key {
                changed |= rewrapped(root)?;
            }
        }
        for authority in &mut record.retired {
            changed |= rewrapped(&mut authority.issuer_key)?;
            if let Some(root) = &mut authority.root_key {
                changed |= rewrapped(root)?;
            }
        }
        if let Some(pending) = &mut record.pending {
            changed |= rewrapped(&mut pending.key)?;
        }
        if changed {
            self.change_record(vcenter, |stored| {
                *stored = record;
                Ok(())
            })?;
        }
        Ok(changed)
    }

    fn seal_key(
        &self,
        vcenter: &Name,
        provider: &Name,
        purpose: &str,
        key: &[u8],
    ) -> Result<SealedKey> {
        let provider = self
            .inventory
            .provider(vcenter.as_str(), provider.as_str())?;
        let sealed = (|| {
            let open = self.files.provider(&provider.record)?;
            let key_id = open.new_key()?;
            let held = open.hold(&key_id)?;
            let purpose = purpose_of(vcenter, purpose);
            Ok(Envelope::seal(&*held, &key_id, &purpose, key)?)
        })();
        sealed
            .map(SealedKey::new)
            .map_err(|error: Error| refused(vcenter, error.to_string()))
    }

    pub(super) fn open_key(
        &self,
        vcenter: &Name,
        sealed: &SealedKey,
        purpose: &str,
    ) -> Result<PrivateKey> {
        let envelope = sealed.envelope(vcenter)?;
        let opened = (|| {
            let provider = self
                .inventory
                .provider(vcenter.as_str(), &envelope.locator.provider)?;
            let open = self.files.provider(&provider.record)?;
            Ok(envelope.open(&open, &purpose_of(vcenter, purpose))?)
        })();
        opened
            .map_err(|error: Error| {
                refused(
                    vcenter,
                    format!(
                        "its key is under key {} of key provider {}, which cannot be had: {error}",
                        envelope.locator.key_id, envelope.locator.provider
                    ),
                )
            })?
            .ok_or_else(|| Error::Record {
                key: AuthorityRecord::key_of(vcenter.as_str()),
                reason: "its key does not open".to_owned(),
            })
    }

    pub(super) fn needed_certifier(&self) -> Result<&dyn Certifier> {
        self.maker
            .certifier()
            .ok_or_else(|| Error::BadValue("certificates are not made by this program".to_owned()))
    }

    pub(super) fn authority_record(
        &self,
        vcenter: &Name,
    ) -> Result<Option<Stored<AuthorityRecord>>> {
        self.inventory
            .find(&AuthorityRecord::key_of(vcenter.as_str()))
    }

    fn settings_of(&self, vcenter: &Name) -> Result<AuthorityRecord> {
        let stored = self.authority_record(vcenter)?;
        Ok(stored.map_or_else(
            || AuthorityRecord::new(vcenter.clone()),
            |stored| stored.record,
        ))
    }

    fn update_authority(
        &self,
        vcenter: &Name,
        change: impl FnOnce(&mut AuthorityRecord) -> Result<()>,
    ) -> Result<AuthorityRecord> {
        let _one_at_a_time = lock(&self.authorities);
        self.change_record(vcenter, change)
    }

    /// The same for whoever keeps others away already.
    fn change_record(
        &self,
        vcenter: &Name,
        change: impl FnOnce(&mut AuthorityRecord) -> Result<()>,
    ) -> Result<AuthorityRecord> {
        let stored = self.authority_record(vcenter)?;
        let mut record = match &stored {
            Some(stored) => stored.record.clone(),
            None => AuthorityRecord::new(vcenter.clone()),
        };
        change(&mut record)?;
        let mut transaction = Transaction::default();
        match &stored {
            Some(stored) => transaction.update(stored, &record)?,
            None => {
                let key = VCenter::key_of(vcenter.as_str());
                let owner = self.inventory.find::<VCenter>(&key)?;
                transaction.unchanged(&owner.ok_or(Error::Conflict { key })?);
                transaction.insert(&record)?;
            }
        }
        self.inventory.commit(transaction)?;
        Ok(record)
    }

    fn authority_view(&self, record: AuthorityRecord) -> Result<AuthorityView> {
        let certificates = match self.maker.certifier() {
            Some(certifier) => record
                .authority
                .iter()
                .flat_map(|authority| &authority.chain)
                .map(|certificate| certifier.facts(certificate))
                .collect::<std::result::Result<_, _>>()
                .map_err(|error| refused(&record.vcenter, error.0))?,
            None => Vec::new(),
        };
        let pem = |chain: &[Der]| -> String {
            let certificates = chain.iter().map(|der| der.to_pem("CERTIFICATE"));
            certificates.collect()
        };
        let provider = match &record.authority {
            Some(authority) => {
                let envelope = authority.issuer_key.envelope(&record.vcenter)?;
                Some(envelope.locator.provider)
            }
            None => None,
        };
        Ok(AuthorityView {
            revoked: self.revoked(&record.vcenter)?.len(),
            issue: record.issue,
            keys: record.keys,
            origin: record.authority.as_ref().map(|authority| authority.origin),
            provider,
            chain: record
                .authority
                .as_ref()
                .map(|authority| pem(&authority.chain))
                .unwrap_or_default(),
            certificates,
            former: record.former.iter().map(|chain| pem(chain)).collect(),
            published: record.published,
            pending: record.pending.is_some(),
            vcenter: record.vcenter,
        })
    }

    pub(super) fn revoked(&self, vcenter: &Name) -> Result<Vec<Revoked>> {
        let prefix = format!("{}{vcenter}/", Revoked::PREFIX);
        Ok(super::records(self.inventory.within(&prefix)?))
    }
}

fn purpose_of(vcenter: &Name, purpose: &str) -> String {
    format!("certificate authority of {vcenter}: {purpose}")
}

pub(super) fn refused(vcenter: &Name, reason: impl Into<String>) -> Error {
    Error::Authority {
        vcenter: vcenter.clone(),
        reason: reason.into(),
    }
}

pub(super) fn failed(vm: &Vm, reason: impl Into<String>) -> Error {
    Error::Tpm {
        vm: vm.name.clone(),
        reason: reason.into(),
    }
}
