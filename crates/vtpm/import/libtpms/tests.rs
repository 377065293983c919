use super::*;
use crate::import::open_file;
use tpm_engine::{Profile, Tpm};
use tpm_wire::algorithm::TpmsEccPoint;
use tpm_wire::buffers::{Small, Tpm2bPublicKeyRsa};
use tpm_wire::codec::Marshal;
use tpm_wire::object::TpmuPublicId;

/// What swtpm 0.7.1 with libtpms 0.9.2 kept of a TPM with all that `tests/import.rs` puts into one.
const STATE: &[u8] = include_bytes!("../../../../tests/data/swtpm_0_7_state.bin");

/// The same program with libtpms 0.11, which keeps a profile (state format level 7).
const STATE_WITH_PROFILE: &[u8] = include_bytes!("../../../../tests/data/swtpm_profile_state.bin");

fn state() -> Zeroizing<Vec<u8>> {
    open_file(STATE, None).unwrap()
}

fn import(bytes: &[u8]) -> Option<Tpm> {
    let signals = std::sync::Arc::new(tpm_server::Signals::default());
    let platform = crate::platform::deterministic(1, 0)(&signals);
    Tpm::import(
        read_state(bytes).ok()?.imported,
        Profile::default(),
        platform,
    )
    .ok()
}

#[test]
fn everything_in_a_state_is_read() {
    let libtpms = read_state(&state()).unwrap();
    let imported = &libtpms.imported;
    assert_eq!(libtpms.profile, None);
    assert!(libtpms.lost.is_empty(), "{:?}", libtpms.lost);
    let handles: Vec<u32> = imported
        .nv
        .iter()
        .map(|index| index.public.nv_index.0.0)
        .collect();
    assert_eq!(handles, [0x0150_0001, 0x0150_0002, 0x0150_0003]);
    assert_eq!(imported.nv[0].data.as_slice(), b"0123456789abcdef");
    assert_eq!(imported.nv[1].data.as_slice(), [0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(imported.nv[2].data.as_slice(), b"orderly!");
    let handles: Vec<u32> = imported
        .persistent
        .iter()
        .map(|object| object.handle.0)
        .collect();
    assert_eq!(
        handles,
        [0x8100_0001, 0x8100_0002, 0x8101_0001, 0x8101_0002]
    );
    assert_eq!(imported.persistent[0].hierarchy, TpmHandle::OWNER);
    assert_eq!(imported.persistent[2].hierarchy, TpmHandle::ENDORSEMENT);
    assert!(imported.persistent[2].primary && !imported.persistent[3].primary);
    assert_eq!(&*imported.owner.auth, b"ownerpw");
    assert_eq!(&*imported.endorsement.auth, b"endpw");
    assert_eq!(&*imported.lockout.auth, b"lockpw");
    assert_eq!(
        (
            imported.max_tries,
            imported.recovery_time,
            imported.lockout_recovery
        ),
        (7, 77, 777)
    );
    assert_eq!(imported.endorsement_secrets.seed.len(), 64);
    assert!(matches!(&imported.power_loss, PowerLoss::State(saved) if saved.pcrs.len() == 4));
    assert!(import(&state()).is_some());
}

#[test]
fn a_state_with_a_profile_is_read() {
    let state = open_file(STATE_WITH_PROFILE, None).unwrap();
    let libtpms = read_state(&state).unwrap();
    assert!(libtpms.profile.unwrap().contains(r#""Name":"default-v1""#));
    let object = &libtpms.imported.persistent[0];
    assert_eq!(object.handle, TpmHandle(0x8100_0001));
    assert_eq!(object.hierarchy, TpmHandle::OWNER);
    assert!(libtpms.lost.is_empty(), "{:?}", libtpms.lost);
    assert!(import(&state).is_some());
}

#[test]
fn a_state_from_before_there_were_levels_of_seeds_is_read() {
    let state = state();
    let magic = PERSISTENT.magic.to_be_bytes();
    let at = state.windows(4).position(|bytes| bytes == magic).unwrap();
    // The part with the levels, in the part with the banks; version 3 left an empty place for it and said that it was there.
    let levels = [1, 0, 6, 1, 1, 1, 1, 0, 0];
    let level = state[at..]
        .windows(levels.len())
        .position(|bytes| bytes == levels)
        .unwrap();
    let banks = 4 + 4 * 6;
    let (start, level) = (at - 2, at + level);
    let length = level - banks - 2;
    assert_eq!(state[length..length + 2], [0, 37]);
    let earlier = [
        &state[..start],
        &[0, 3],
        &magic,
        &[0, 1],
        &state[at + 6..length],
        &[0, 31],
        &state[length + 2..level],
        &[1, 0, 0],
        &state[level + levels.len()..],
    ]
    .concat();
    let imported = read_state(&earlier).unwrap().imported;
    assert_eq!(imported.nv.len(), 3);
    assert_eq!(imported.persistent.len(), 4);
    for secrets in [
        imported.owner_secrets,
        imported.endorsement_secrets,
        imported.platform_secrets,
    ] {
        assert!(matches!(secrets.derivation, Derivation::LibtpmsNarrow));
    }
    assert!(import(&earlier).is_some());
}

#[test]
fn no_cut_state_is_taken() {
    let whole = state();
    let near_the_end = whole.len() - 200..whole.len();
    for length in (0..whole.len()).step_by(11).chain(near_the_end) {
        assert!(read_state(&whole[..length]).is_err(), "{length}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(read_state(&longer).is_err());
}

#[test]
fn altered_states_do_no_harm() {
    let whole = state();
    for at in 0..whole.len() {
        let mut altered = whole.to_vec();
        altered[at] ^= 1 << (at % 8);
        // Refused, or taken with another value; what is taken is a TPM that can be kept.
        if read_state(&altered).is_ok() && at % 50 == 0 {
            let kept = import(&altered).map(|mut tpm| tpm.permanent_state());
            assert!(kept.is_none_or(|kept| !kept.is_empty()));
        }
    }
}

#[test]
fn a_later_version_is_named() {
    let mut later = state().to_vec();
    later[..2].copy_from_slice(&9_u16.to_be_bytes());
    later[6..8].copy_from_slice(&9_u16.to_be_bytes());
    let error = read_state(&later).unwrap_err();
    assert_eq!(
        error.to_string(),
        "its permanent state has version 9, of which this program knows nothing; it knows up to 4"
    );
}

#[test]
fn bits_of_a_list_are_codes_of_commands() {
    assert_eq!(commands(&[0x01, 0x80]), [0x11f, 0x12e]);
    assert!(commands(&[0; 8]).is_empty());
}

/// `TPM2_CreatePrimary` with a password, and the public area that it answers with.
fn create_primary(
    tpm: &mut Tpm,
    hierarchy: TpmHandle,
    auth: &[u8],
    template: &TpmtPublic,
) -> Vec<u8> {
    let size = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let template = template.to_bytes();
    let authorization = [&[0x40, 0, 0, 9, 0, 0, 0][..], &size(auth), auth].concat();
    let area = u32::try_from(authorization.len()).unwrap().to_be_bytes();
    let body = [
        &0x131_u32.to_be_bytes()[..],
        &hierarchy.0.to_be_bytes(),
        &area,
        &authorization,
        &[0, 4, 0, 0, 0, 0],
        &size(&template),
        &template,
        &[0; 6],
    ]
    .concat();
    let total = u32::try_from(body.len() + 6).unwrap().to_be_bytes();
    let command = [&[0x80, 2][..], &total, &body].concat();
    let response = tpm.execute(&command);
    assert_eq!(response[6..10], [0; 4], "{hierarchy:?}");
    let length = usize::from(u16::from_be_bytes([response[18], response[19]]));
    response[20..20 + length].to_vec()
}

#[test]
fn primary_keys_come_out_as_libtpms_made_them() {
    for (file, count) in [(STATE, 3), (STATE_WITH_PROFILE, 1)] {
        assert_eq!(primaries_made_again(&open_file(file, None).unwrap()), count);
    }
}

/// Makes the persistent primary keys of a state again.
fn primaries_made_again(state: &[u8]) -> usize {
    let imported = read_state(state).unwrap().imported;
    let mut tpm = import(state).unwrap();
    let startup = tpm.execute(&[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0]);
    assert_eq!(startup[6..10], [0; 4]);
    let primaries = imported.persistent.iter().filter(|object| object.primary);
    let mut seen = 0;
    for object in primaries {
        let (mut template, auth) = (
            object.public.clone(),
            match object.hierarchy {
                TpmHandle::OWNER => &imported.owner.auth,
                _ => &imported.endorsement.auth,
            },
        );
        // The templates of tpm2-tools have no unique part, except that of the endorsement key.
        let zeros = if object.hierarchy == TpmHandle::OWNER {
            0
        } else {
            256
        };
        template.unique = match template.unique {
            TpmuPublicId::Rsa(_) => {
                TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::new(vec![0; zeros]).unwrap())
            }
            _ => TpmuPublicId::Ecc(TpmsEccPoint {
                x: Small::EMPTY,
                y: Small::EMPTY,
            }),
        };
        let made = create_primary(&mut tpm, object.hierarchy, auth, &template);
        assert_eq!(
            hex::encode(made),
            hex::encode(object.public.to_bytes()),
            "{:?}",
            object.handle
        );
        seen += 1;
    }
    seen
}
