//! Makes TPMs for the inventory, to which they are bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tpm_engine::{Platform, Profile, Tpm};
use tpm_server::Signals;
use tpm_wire::Limits;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmiRsaKeyBits, TpmtSymDefObject,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{
    Tpm2b, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bPublicKeyRsa, Tpm2bSensitiveData,
};
use tpm_wire::commands::{CreatePrimary, CreatePrimaryResponse};
use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy};
use tpm_wire::object::{
    Tpm2bPublic, TpmsRsaParms, TpmsSensitiveCreate, TpmtPublic, TpmuPublicId, TpmuPublicParms,
};
use tpm_wire::pcr::TpmlPcrSelection;
use tpm_wire::table::{Command as _, Response as _};
use vm_inventory::{TpmBytes, TpmMaker, TpmMakerError};

use crate::cli::profile;
use crate::platform;

/// `TPM2_Startup(TPM_SU_CLEAR)`.
const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
const SESSIONS_TAG: [u8; 2] = [0x80, 2];
/// One password session with an empty password: `TPM_RS_PW`, no nonce, no attributes, no password.
const EMPTY_PASSWORD: [u8; 9] = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];
/// `PolicySecret(TPM_RH_ENDORSEMENT)`: who may use an endorsement key of the default templates (EK credential profile, B.6).
const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// Makes TPMs with the engine, on the platform of this machine.
#[derive(Debug, Default)]
pub(crate) struct EngineMaker;

impl TpmMaker for EngineMaker {
    fn new_tpm(&self) -> Result<TpmBytes, TpmMakerError> {
        guarded(|| Ok(made(Profile::default())))
    }

    fn new_tpm_of(&self, profile: &str) -> Result<TpmBytes, TpmMakerError> {
        let profile =
            profile::parse(profile).map_err(|error| TpmMakerError(format!("{error:#}")))?;
        guarded(|| Ok(made(profile)))
    }

    fn new_tpm_like(&self, state: &[u8]) -> Result<TpmBytes, TpmMakerError> {
        guarded(|| Ok(made(load(state)?.profile().clone())))
    }

    fn fork(&self, state: &[u8]) -> Result<TpmBytes, TpmMakerError> {
        guarded(|| {
            let mut tpm = load(state)?;
            tpm.fork();
            Ok(tpm.permanent_state())
        })
    }

    fn ek_name(&self, state: &[u8]) -> Result<String, TpmMakerError> {
        guarded(|| {
            // A TPM of its own, thrown away afterwards: the VM's notices nothing.
            let mut tpm = load(state)?;
            succeed("Startup", tpm.execute(&STARTUP))?;
            let command = create_ek().ok_or_else(|| {
                TpmMakerError("the template of the endorsement key is wrong".to_owned())
            })?;
            let response = succeed("CreatePrimary", tpm.execute(&command))?;
            let created = read_created(response).ok_or_else(|| {
                TpmMakerError("the TPM's answer to CreatePrimary makes no sense".to_owned())
            })?;
            Ok(hex::encode(&*created.name))
        })
    }
}

/// A defect of the engine costs this one operation.
fn guarded<T>(work: impl FnOnce() -> Result<T, TpmMakerError>) -> Result<T, TpmMakerError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(TpmMakerError(
            "the TPM engine failed; please report it".to_owned(),
        ))
    })
}

fn made(profile: Profile) -> TpmBytes {
    Tpm::new(profile, scratch_platform()).permanent_state()
}

fn scratch_platform() -> Box<dyn Platform> {
    platform::real()(&Arc::new(Signals::default()))
}

fn load(state: &[u8]) -> Result<Tpm, TpmMakerError> {
    Tpm::load(state, scratch_platform())
        .map_err(|error| TpmMakerError(format!("its state was refused: {error}")))
}

fn succeed<'a>(what: &str, response: &'a [u8]) -> Result<&'a [u8], TpmMakerError> {
    let code = response
        .get(6..10)
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
        .map(u32::from_be_bytes);
    match code {
        Some(0) => Ok(response),
        Some(code) => Err(TpmMakerError(format!("TPM2_{what} answered {code:#x}"))),
        None => Err(TpmMakerError(format!("TPM2_{what} gave no answer"))),
    }
}

/// `TPM2_CreatePrimary` of the RSA-2048 endorsement key by its default template (EK credential profile, template L-1).
fn create_ek() -> Option<Vec<u8>> {
    let create = CreatePrimary {
        primary_handle: Some(TpmiRhHierarchy(TpmHandle::ENDORSEMENT)),
        in_sensitive: Tpm2b(TpmsSensitiveCreate {
            user_auth: Tpm2bAuth::EMPTY,
            data: Tpm2bSensitiveData::EMPTY,
        }),
        in_public: Tpm2bPublic(TpmtPublic {
            name_alg: Some(TpmiAlgHash::Sha256),
            object_attributes: TpmaObject::FIXED_TPM
                | TpmaObject::FIXED_PARENT
                | TpmaObject::SENSITIVE_DATA_ORIGIN
                | TpmaObject::ADMIN_WITH_POLICY
                | TpmaObject::RESTRICTED
                | TpmaObject::DECRYPT,
            auth_policy: Tpm2bDigest::new(&EK_POLICY)?,
            parameters: TpmuPublicParms::Rsa(TpmsRsaParms {
                symmetric: Some(TpmtSymDefObject {
                    algorithm: TpmiAlgSymObject::Aes,
                    key_bits: 128,
                    mode: Some(TpmiAlgSymMode::Cfb),
                }),
                scheme: None,
                key_bits: TpmiRsaKeyBits(2048),
                exponent: 0,
            }),
            unique: TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::new(vec![0; 256])?),
        }),
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    };
    let mut body = Vec::new();
    body.extend(TpmHandle::ENDORSEMENT.0.to_be_bytes());
    body.extend(u32::try_from(EMPTY_PASSWORD.len()).ok()?.to_be_bytes());
    body.extend(EMPTY_PASSWORD);
    create.marshal_parameters(&mut body);
    let mut command = Vec::from(SESSIONS_TAG);
    command.extend(u32::try_from(body.len() + 10).ok()?.to_be_bytes());
    command.extend(CreatePrimary::INFO.code.to_be_bytes());
    command.extend(body);
    Some(command)
}

fn read_created(response: &[u8]) -> Option<CreatePrimaryResponse> {
    let (_header, rest) = response.split_at_checked(10)?;
    let (handle, rest) = rest.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let parameters = rest.get(..usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
    let handle = TpmHandle(u32::from_be_bytes(*handle));
    CreatePrimaryResponse::parse(Some(handle), parameters, &Limits::ALL).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_endorsement_key_of_its_source_and_a_new_tpm_has_not() {
        let maker = EngineMaker;
        let source = maker.new_tpm().unwrap();
        let copy = maker.fork(&source).unwrap();
        let other = maker.new_tpm().unwrap();
        let name = maker.ek_name(&source).unwrap();
        assert!(name.starts_with("000b") && name.len() == 68, "{name}");
        assert_eq!(maker.ek_name(&copy).unwrap(), name);
        assert_ne!(maker.ek_name(&other).unwrap(), name);
        assert_ne!(*source, *copy, "a fork is told apart");
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for bad in [&b""[..], b"not a TPM", &[0; 4000]] {
            assert!(EngineMaker.fork(bad).is_err());
            assert!(EngineMaker.ek_name(bad).is_err());
        }
    }

    #[test]
    fn a_tpm_has_the_profile_that_was_asked_for_and_one_in_its_place_has_it_too() {
        let json = r#"{"Name":"custom:small","Base":"pc-client","Limits":{"nv-index":1024}}"#;
        for (asked, name, nv_index) in [
            ("swtpm-0.7", "swtpm-0.7", 2048),
            (json, "custom:small", 1024),
        ] {
            let state = EngineMaker.new_tpm_of(asked).unwrap();
            let replacement = EngineMaker.new_tpm_like(&state).unwrap();
            assert_ne!(
                EngineMaker.ek_name(&state).unwrap(),
                EngineMaker.ek_name(&replacement).unwrap()
            );
            for state in [state, replacement] {
                let tpm = load(&state).unwrap();
                assert_eq!(tpm.profile().name, name);
                assert_eq!(tpm.profile().max_nv_index, nv_index);
            }
        }
        for (bad, word) in [("nobody", "'nobody'"), (r#"{"Name":"nobody"}"#, "'nobody'")] {
            assert!(EngineMaker.new_tpm_of(bad).unwrap_err().0.contains(word));
        }
        assert!(EngineMaker.new_tpm_like(b"not a TPM").is_err());
    }
}
