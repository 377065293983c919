//! Keys of a TPM by which others know the device, made on request.

use super::certificate::{ISSUER, failed, refused};
use super::{Job, Operations};
use crate::certificates::{DeviceKey, Issuer, TpmCertificates, WantedDeviceKey};
use crate::{Error, Result};
use std::sync::Arc;

impl Operations {
    /// The keys that were made in a VM's TPM on request.
    ///
    /// # Errors
    /// When there is no such VM, or it has no TPM.
    pub fn device_keys(&self, reference: &str) -> Result<Vec<DeviceKey>> {
        let vm = self.inventory.vm(reference)?.record;
        match vm.tpm {
            Some(tpm) => Ok(tpm.certificates.device),
            None => Err(Error::NoTpm { vm: vm.name }),
        }
    }

    /// Makes keys in the TPM of a VM that is off, by which others know the device. The TPM has to show that they are in it; then the
    /// vCenter's authority certifies them. A key that is there already gets another certificate.
    ///
    /// # Errors
    /// When the VM runs, has no TPM, or has snapshots; or a key is named twice, or none.
    pub fn make_device_keys(
        self: &Arc<Self>,
        vm: &str,
        wanted: Vec<WantedDeviceKey>,
    ) -> Result<Job> {
        let twice = wanted.iter().enumerate().any(|(place, one)| {
            let mut before = wanted.iter().take(place);
            before.any(|other| other.kind == one.kind)
        });
        if wanted.is_empty() || twice {
            return Err(Error::BadValue(
                "name each key once, and at least one: ak, iak, idevid".to_owned(),
            ));
        }
        self.change_certificates(vm, "make_device_keys", move |this, vm, state| {
            let certifier = this.needed_certifier()?;
            let settings = this.with_authority(certifier, vm)?;
            let place = this.place(&settings)?;
            let authority = settings
                .authority
                .ok_or_else(|| refused(&vm.vcenter, "there is none"))?;
            let key = this.open_key(&vm.vcenter, &authority.issuer_key, ISSUER)?;
            let issuer = Issuer {
                key: &key,
                chain: &authority.chain,
                published: place.as_deref(),
            };
            let (state, made) = certifier
                .device_keys(state, issuer, &wanted)
                .map_err(|error| failed(vm, error.0))?;
            let mut certificates = match &vm.tpm {
                Some(tpm) => tpm.certificates.clone(),
                None => TpmCertificates::default(),
            };
            let mut notes = Vec::new();
            for key in made {
                notes.push(format!(
                    "{} of {}: {} at {:#010x}, certificate at NV Index {:#010x}; the TPM showed that it has the key",
                    key.kind, vm.name, key.algorithm, key.handle, key.certificate.nv_index
                ));
                certificates.device.retain(|known| known.kind != key.kind);
                certificates.device.push(key);
            }
            certificates.device.sort_by_key(|key| key.kind);
            Ok((state, certificates, notes))
        })
    }

    /// Puts a certificate (PEM, or base64 of DER) into the TPM of a VM that is off, in the place of the one that it has for a key that was
    /// made on request. The TPM has to show that the key is in it.
    ///
    /// # Errors
    /// When the VM runs, has no TPM, or has snapshots.
    pub fn set_device_certificate(self: &Arc<Self>, vm: &str, certificate: String) -> Result<Job> {
        self.change_certificates(vm, "set_device_certificate", move |this, vm, state| {
            let mut certificates = match &vm.tpm {
                Some(tpm) => tpm.certificates.clone(),
                None => TpmCertificates::default(),
            };
            if certificates.device.is_empty() {
                return Err(Error::BadValue(format!(
                    "the TPM of {vm} has no key that was made on request; make one with `vtpm vm identity create {vm}`",
                    vm = vm.name
                )));
            }
            let (state, key) = this
                .needed_certifier()?
                .set_device_certificate(state, &certificate, &certificates.device)
                .map_err(|error| Error::BadValue(error.0))?;
            let note = format!(
                "the {} of {} has a certificate of {}; the TPM showed that it has the key",
                key.kind, vm.name, key.certificate.facts.issuer
            );
            certificates.device.retain(|known| known.kind != key.kind);
            certificates.device.push(key);
            certificates.device.sort_by_key(|key| key.kind);
            Ok((state, certificates, vec![note]))
        })
    }
}
