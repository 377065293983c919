//! What a manufacturer does with a TPM: keys made and kept, banks of PCR chosen.

use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::capability::TpmsCapabilityData;
use tpm_wire::codec::Marshal;
use tpm_wire::commands::{GetCapability, PcrAllocate};
use tpm_wire::constants::TpmCap;
use tpm_wire::handles::{TpmHandle, TpmiRhPlatform};
use tpm_wire::object::TpmtPublic;
use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};

use super::{EkTemplate, IAK_KEY, IDEVID_KEY, KeyAlgorithm, STORAGE_KEY, Usage};
use crate::Error;
use crate::client::{Client, Transmit};

/// A key that was made and is persistent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where it is.
    pub handle: TpmHandle,
    /// Its public area.
    pub public: TpmtPublic,
}

/// Makes a manufacturer's keys in one TPM.
#[derive(Debug)]
pub struct Keys<'a, T> {
    client: &'a mut Client<T>,
    lock: bool,
}

impl<'a, T: Transmit> Keys<'a, T> {
    /// For the TPM of `client`; `lock` says whether what is written to NV memory is locked for ever.
    pub const fn new(client: &'a mut Client<T>, lock: bool) -> Self {
        Self { client, lock }
    }

    /// An endorsement key. A template that is not the profile's is written to its NV Index, so that others can make the key again.
    ///
    /// # Errors
    /// What the TPM refuses.
    pub fn endorsement_key(&mut self, ek: EkTemplate, usage: Usage) -> Result<Made, Error> {
        let template = ek.public(usage);
        let made = self.persistent(TpmHandle::ENDORSEMENT, &template, ek.handle())?;
        if usage != Usage::Decrypt {
            let index = ek.indices().template;
            self.client
                .write_certificate(index, &template.to_bytes(), self.lock)?;
        }
        Ok(made)
    }

    /// A storage key of the owner.
    ///
    /// # Errors
    /// What the TPM refuses.
    pub fn storage_key(&mut self, algorithm: KeyAlgorithm) -> Result<Made, Error> {
        self.persistent(TpmHandle::OWNER, &algorithm.storage_key(), STORAGE_KEY)
    }

    /// An initial attestation key.
    ///
    /// # Errors
    /// What the TPM refuses.
    pub fn attestation_key(&mut self, algorithm: KeyAlgorithm) -> Result<Made, Error> {
        let template = algorithm.attestation_key();
        self.persistent(TpmHandle::ENDORSEMENT, &template, IAK_KEY)
    }

    /// An initial device identity.
    ///
    /// # Errors
    /// What the TPM refuses.
    pub fn device_identity(&mut self, algorithm: KeyAlgorithm) -> Result<Made, Error> {
        let template = algorithm.device_identity();
        self.persistent(TpmHandle::ENDORSEMENT, &template, IDEVID_KEY)
    }

    fn persistent(
        &mut self,
        hierarchy: TpmHandle,
        template: &TpmtPublic,
        handle: TpmHandle,
    ) -> Result<Made, Error> {
        let created = self.client.create_primary(hierarchy, template)?;
        self.client.make_persistent(created.object_handle, handle)?;
        Ok(Made {
            handle,
            public: created.out_public.0,
        })
    }
}

/// The PCR banks that a TPM has, and whether each has PCR now.
///
/// # Errors
/// As [`Client::run`].
pub fn pcr_banks<T: Transmit>(client: &mut Client<T>) -> Result<Vec<(TpmiAlgHash, bool)>, Error> {
    let answer = client.run(&GetCapability {
        capability: TpmCap::PCRS,
        property: 0,
        property_count: 64,
    })?;
    let TpmsCapabilityData::Pcrs(banks) = answer.capability_data else {
        return Err(Error::Response {
            command: "GetCapability",
            fault: "it is not about PCR",
        });
    };
    Ok(banks
        .iter()
        .map(|bank| (bank.hash, !bank.pcr_select.is_empty()))
        .collect())
}

/// Gives PCR to these banks and to no others; it takes effect when the TPM is reset.
///
/// # Errors
/// What the TPM refuses.
pub fn allocate_pcr_banks<T: Transmit>(
    client: &mut Client<T>,
    wanted: &[TpmiAlgHash],
) -> Result<(), Error> {
    let mut pcr_allocation = TpmlPcrSelection::new();
    for (hash, _) in pcr_banks(client)? {
        let pcr_select = if wanted.contains(&hash) {
            TpmsPcrSelect([0xFF; 3])
        } else {
            TpmsPcrSelect([0; 3])
        };
        // There are no more than the list holds: it came from such a list.
        let _ = pcr_allocation.try_push(TpmsPcrSelection { hash, pcr_select });
    }
    let answer = client.run(&PcrAllocate {
        auth_handle: TpmiRhPlatform(TpmHandle::PLATFORM),
        pcr_allocation,
    })?;
    if answer.allocation_success {
        Ok(())
    } else {
        Err(Error::Response {
            command: "PCR_Allocate",
            fault: "the TPM has no room for these banks",
        })
    }
}
