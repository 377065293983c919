//! The permanent state of libtpms, versions 0.6 to 0.11: nested structures, each with a version and a magic number.
//!
//! Where a structure may grow, a flag, a length of 16 bits and that many bytes stand in it: whoever does not know what is in
//! there skips it. All integers are big-endian.

#[cfg(test)]
mod tests;

use tpm_engine::import::{
    Derivation, EntityAuthorization, Imported, NvContents, PersistentObject, PowerLoss, SavedState,
};
use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgPublic};
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bDigest, Tpm2bName, Tpm2bSeed};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::nv::TpmsNvPublic;
use tpm_wire::object::{TpmtPublic, TpmtSensitive};
use tpm_wire::pcr::TpmlPcrSelection;
use zeroize::Zeroizing;

use super::ImportError;
use super::reader::Reader;

/// What a structure begins with, and the last version of it that is known here.
struct Kind {
    what: &'static str,
    magic: u32,
    known: u16,
}

const fn kind(what: &'static str, magic: u32, known: u16) -> Kind {
    Kind { what, magic, known }
}

const ALL: Kind = kind("permanent state", 0xab36_4723, 4);
const CONSTANTS: Kind = kind("list of constants", 0xc9ea_6431, 3);
const PERSISTENT: Kind = kind("persistent data", 0x1221_3443, 5);
const PCR_POLICY: Kind = kind("PCR policy", 0x176b_e626, 2);
const ORDERLY: Kind = kind("orderly data", 0x5665_7887, 2);
const GENERATOR: Kind = kind("generator state", 0x6fe8_3ea1, 2);
const STATE_RESET: Kind = kind("state until TPM Reset", 0x0110_2332, 4);
const STATE_CLEAR: Kind = kind("state until TPM Restart", 0x9889_7667, 2);
const PCR_SAVE: Kind = kind("saved PCR", 0x7372_eabc, 2);
const PCR_AUTH: Kind = kind("authorization of PCR", 0x6be8_2eaf, 2);
const ORDERLY_NV: Kind = kind("contents of orderly NV indices", 0x5346_feab, 2);
const NV: Kind = kind("NV memory", 0x094f_22c3, 2);
const NV_INDEX: Kind = kind("NV index", 0x2547_265a, 2);
const ANY_OBJECT: Kind = kind("persistent object", 0xfe9a_3974, 2);
const OBJECT: Kind = kind("persistent object", 0x75be_73af, 4);

/// What the number is called that says how old the way from a seed to its keys is.
const SEED_LEVEL: &str = "derivation of primary keys";

/// From these versions on the persistent data have the banks in use, and how old the derivation from each seed is.
const BANKS_IN_USE_SINCE: u16 = 3;
const SEED_LEVELS_SINCE: u16 = 4;
/// From this version on the state until TPM Reset has the same for the seed of the null hierarchy.
const NULL_LEVEL_SINCE: u16 = 3;
/// The code of the command that bit 0 of a list of commands stands for.
const FIRST_COMMAND: u32 = 0x11f;
/// From this version on a list of commands has a bit for each code; before, for each command that was implemented.
const BITS_ARE_CODES_SINCE: u16 = 5;
/// How power was lost: `TPM_SU_STATE`, two flags beside it, and two values for a loss without a shutdown.
const SU_CLEAR: u16 = 0;
const SU_STATE: u16 = 1;
const SU_FLAGS: u16 = 0xC000;
const SU_HCRTM: u16 = 0x8000;
const SU_LOCALITY_3: u16 = 0x4000;
const SU_DA_USED: u16 = 0xFFFE;
const SU_NONE: u16 = 0xFFFF;
/// Bytes of an entry of the orderly indices besides its contents.
const ORDERLY_ENTRY: usize = 12;

/// What was read, and what cannot be carried over.
#[derive(Debug)]
pub(crate) struct Libtpms {
    pub(crate) imported: Imported,
    /// The profile that libtpms made the TPM with, as JSON; versions before 0.10 had none.
    pub(crate) profile: Option<String>,
    /// What there was besides, in words.
    pub(crate) lost: Vec<String>,
}

/// Reads a whole permanent state.
pub(crate) fn read_state(bytes: &[u8]) -> Result<Libtpms, ImportError> {
    let mut reader = Reader::new(bytes, ALL.what);
    let version = header(&mut reader, &ALL)?;
    let profile = if version >= 4 {
        let text = reader.sized()?;
        let text = text.strip_suffix(&[0]).unwrap_or(text);
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    } else {
        None
    };
    skip_constants(&mut reader)?;
    let mut lost = Vec::new();
    let mut imported = Imported::default();
    let power_loss = read_persistent(&mut reader, &mut imported, &mut lost)?;
    read_orderly(&mut reader, &mut imported)?;
    let is_state =
        !matches!(power_loss, SU_DA_USED | SU_NONE) && power_loss & !SU_FLAGS == SU_STATE;
    let saved = if is_state || version < 3 {
        let mut saved = SavedState {
            startup_locality_3: power_loss & SU_LOCALITY_3 != 0,
            hcrtm: power_loss & SU_HCRTM != 0,
            ..SavedState::default()
        };
        read_state_reset(&mut reader, &mut saved)?;
        read_state_clear(&mut reader, &mut saved)?;
        Some(saved)
    } else {
        None
    };
    imported.power_loss = match saved {
        Some(saved) if is_state => PowerLoss::State(Box::new(saved)),
        _ if power_loss & !SU_FLAGS == SU_CLEAR => PowerLoss::Clear,
        _ => PowerLoss::Sudden {
            da_used: power_loss == SU_DA_USED,
        },
    };
    let orderly = read_orderly_nv(&mut reader)?;
    read_nv(&mut reader, &mut imported, &orderly)?;
    reader.enter(ALL.what);
    growth(&mut reader, version)?;
    if reader.word()? != ALL.magic || !reader.is_empty() {
        return Err(reader.damaged());
    }
    Ok(Libtpms {
        imported,
        profile,
        lost,
    })
}

/// Reads the beginning of a structure and gives its version.
fn header(reader: &mut Reader<'_>, kind: &Kind) -> Result<u16, ImportError> {
    reader.enter(kind.what);
    let version = reader.short()?;
    if reader.word()? != kind.magic || version == 0 {
        return Err(reader.damaged());
    }
    if version >= 2 {
        // Older programs may read it from this version on.
        let least = reader.short()?;
        if least > kind.known {
            return Err(ImportError::TooNew {
                what: kind.what,
                version: least,
                known: kind.known,
            });
        }
    }
    Ok(version)
}

/// A part that may be there or not.
fn optional<'a>(
    reader: &mut Reader<'a>,
    what: &'static str,
) -> Result<Option<Reader<'a>>, ImportError> {
    let there = reader.flag()?;
    let bytes = reader.sized()?;
    Ok(there.then(|| Reader::new(bytes, what)))
}

/// Skips what later versions have added at the end of a structure.
fn growth(reader: &mut Reader<'_>, version: u16) -> Result<(), ImportError> {
    if version >= 2 {
        optional(reader, "")?;
    }
    Ok(())
}

fn skip_constants(reader: &mut Reader<'_>) -> Result<(), ImportError> {
    let version = header(reader, &CONSTANTS)?;
    let count = usize::try_from(reader.word()?).unwrap_or(usize::MAX);
    reader.take(count.saturating_mul(4))?;
    growth(reader, version)
}

fn hash(number: u16) -> Option<TpmiAlgHash> {
    TpmiAlgHash::from_id(TpmAlgId(number))
}

/// Reads the persistent data, and gives how power was lost.
fn read_persistent(
    reader: &mut Reader<'_>,
    imported: &mut Imported,
    lost: &mut Vec<String>,
) -> Result<u16, ImportError> {
    let version = header(reader, &PERSISTENT)?;
    imported.disable_clear = reader.flag()?;
    {
        let mut entities = [
            &mut imported.owner,
            &mut imported.endorsement,
            &mut imported.lockout,
        ];
        for entity in &mut entities {
            entity.policy_hash = hash(reader.short()?);
        }
        for entity in &mut entities {
            entity.policy = reader.parse()?;
        }
        for entity in &mut entities {
            entity.auth = reader.parse()?;
        }
    }
    imported.endorsement_secrets.seed = reader.parse()?;
    imported.owner_secrets.seed = reader.parse()?;
    imported.platform_secrets.seed = reader.parse()?;
    imported.platform_secrets.proof = reader.parse()?;
    imported.owner_secrets.proof = reader.parse()?;
    imported.endorsement_secrets.proof = reader.parse()?;
    imported.total_reset_count = reader.long()?;
    imported.reset_count = reader.word()?;
    if let Some(mut policies) = optional(reader, PCR_POLICY.what)? {
        imported.pcr_policy = read_pcr_policy(&mut policies)?;
    }
    imported.pcr_allocation = reader.parse::<TpmlPcrSelection>()?;
    let presence = reader.sized()?;
    imported.failed_tries = reader.word()?;
    imported.max_tries = reader.word()?;
    imported.recovery_time = reader.word()?;
    imported.lockout_recovery = reader.word()?;
    imported.lockout_auth_enabled = reader.flag()?;
    let power_loss = reader.short()?;
    let audited = reader.sized()?;
    imported.audit_hash = hash(reader.short()?);
    imported.audit_counter = reader.long()?;
    let algorithm_set = reader.word()?;
    // The version of the firmware.
    reader.long()?;
    imported.time_epoch = match reader.byte()? {
        4 => reader.word()?.into(),
        8 => reader.long()?,
        _ => return Err(reader.damaged()),
    };
    // Nested: the banks in use at present, how old the derivation from each seed is, and what is still unknown.
    let mut levels = if version >= 2 {
        match optional(reader, PERSISTENT.what)? {
            Some(mut grown) if version >= BANKS_IN_USE_SINCE => {
                grown.parse::<TpmlPcrSelection>()?;
                // The version before these leaves an empty place for them, which it says is there.
                optional(&mut grown, PERSISTENT.what)?.filter(|_| version >= SEED_LEVELS_SINCE)
            }
            _ => None,
        }
    } else {
        None
    };
    for secrets in [
        &mut imported.endorsement_secrets,
        &mut imported.owner_secrets,
        &mut imported.platform_secrets,
    ] {
        secrets.derivation = derivation(levels.as_mut())?;
    }
    let bits_are_codes = version >= BITS_ARE_CODES_SINCE;
    match commands(audited) {
        codes if bits_are_codes => imported.audit_commands = Some(codes),
        // That of its own list is always there.
        bits if bits.len() == 1 => {}
        _ => lost.push("the list of audited commands: set it anew".into()),
    }
    if commands(presence).len() > 1 {
        lost.push("the list of commands that need physical presence: set it anew".into());
    }
    if algorithm_set != 0 {
        lost.push("the number that TPM2_SetAlgorithmSet stored: set it anew".into());
    }
    Ok(power_loss)
}

/// The way from a seed to its primary keys, by the level that is stored for it; versions that stored none had the first level.
fn derivation(levels: Option<&mut Reader<'_>>) -> Result<Derivation, ImportError> {
    match levels.map(Reader::byte).transpose()? {
        None | Some(0) => Ok(Derivation::LibtpmsNarrow),
        Some(1) => Ok(Derivation::LibtpmsWide),
        Some(level) => Err(ImportError::TooNew {
            what: SEED_LEVEL,
            version: level.into(),
            known: 1,
        }),
    }
}

/// The codes of a list of commands, a bit each.
fn commands(bits: &[u8]) -> Vec<u32> {
    let is_set = |(number, byte): (u32, &u8)| {
        (0..8)
            .filter(|bit| byte >> bit & 1 == 1)
            .map(|bit| FIRST_COMMAND + number * 8 + bit)
            .collect::<Vec<_>>()
    };
    (0..).zip(bits).flat_map(is_set).collect()
}

fn read_pcr_policy(reader: &mut Reader<'_>) -> Result<EntityAuthorization, ImportError> {
    header(reader, &PCR_POLICY)?;
    // There is one group of PCR that share a policy.
    let count = reader.short()?;
    if count != 1 {
        return Err(reader.damaged());
    }
    Ok(EntityAuthorization {
        auth: Tpm2bAuth::EMPTY,
        policy_hash: hash(reader.short()?),
        policy: reader.parse()?,
    })
}

fn read_orderly(reader: &mut Reader<'_>, imported: &mut Imported) -> Result<(), ImportError> {
    let version = header(reader, &ORDERLY)?;
    imported.clock = reader.long()?;
    imported.clock_safe = reader.flag()?;
    // The state of the generator stays behind: what it would give must come from one TPM only.
    let generator = header(reader, &GENERATOR)?;
    reader.long()?;
    reader.word()?;
    reader.sized()?;
    let words = usize::from(reader.short()?);
    reader.take(words.saturating_mul(4))?;
    growth(reader, generator)?;
    // Timers of the lockout, which start anew with each TPM2_Startup here.
    optional(reader, "")?;
    growth(reader, version)
}

fn read_state_reset(reader: &mut Reader<'_>, saved: &mut SavedState) -> Result<(), ImportError> {
    let version = header(reader, &STATE_RESET)?;
    saved.null.proof = reader.parse()?;
    saved.null.seed = reader.parse::<Tpm2bSeed>()?;
    saved.clear_count = reader.word()?;
    // Numbers of saved contexts, which cannot be loaded any more.
    reader.long()?;
    let slots = usize::from(reader.short()?);
    if version <= 3 {
        reader.take(slots)?;
    } else {
        reader.take(slots.saturating_mul(2))?;
        reader.short()?;
    }
    reader.long()?;
    saved.audit_digest = reader.parse()?;
    saved.restart_count = reader.word()?;
    saved.pcr_counter = reader.word()?;
    // Commits that are open: their secrets are made from one nonce, which stays behind.
    optional(reader, "")?;
    let mut level = if version >= 2 {
        // As with the persistent data, the version before leaves an empty place.
        optional(reader, STATE_RESET.what)?.filter(|_| version >= NULL_LEVEL_SINCE)
    } else {
        None
    };
    saved.null.derivation = derivation(level.as_mut())?;
    Ok(())
}

fn read_state_clear(reader: &mut Reader<'_>, saved: &mut SavedState) -> Result<(), ImportError> {
    let version = header(reader, &STATE_CLEAR)?;
    for enabled in &mut saved.enabled {
        *enabled = reader.flag()?;
    }
    saved.platform = EntityAuthorization {
        policy_hash: hash(reader.short()?),
        policy: reader.parse()?,
        auth: reader.parse()?,
    };
    read_pcrs(reader, saved)?;
    let authorizations = header(reader, &PCR_AUTH)?;
    // There is one group of PCR that share an authorization value.
    let count = reader.short()?;
    if count != 1 {
        return Err(reader.damaged());
    }
    saved.pcr_auth = reader
        .parse::<Tpm2bDigest>()
        .and_then(|auth| Tpm2bAuth::new(&auth).ok_or_else(|| reader.damaged()))?;
    growth(reader, authorizations)?;
    growth(reader, version)
}

fn read_pcrs(reader: &mut Reader<'_>, saved: &mut SavedState) -> Result<(), ImportError> {
    let version = header(reader, &PCR_SAVE)?;
    let count = usize::from(reader.short()?);
    loop {
        let id = reader.short()?;
        if TpmAlgId(id) == TpmAlgId::NULL {
            break;
        }
        let values = reader.sized()?;
        let bank = hash(id).ok_or_else(|| reader.damaged())?;
        if values.len() != count.saturating_mul(bank.digest_size()) {
            return Err(reader.damaged());
        }
        let values = values.chunks(bank.digest_size()).map(<[u8]>::to_vec);
        saved.pcrs.push((bank, values.collect()));
    }
    growth(reader, version)
}

/// What an orderly index was when it was stored last.
struct OrderlyContents<'a> {
    handle: u32,
    attributes: TpmaNv,
    data: &'a [u8],
}

fn read_orderly_nv<'a>(reader: &mut Reader<'a>) -> Result<Vec<OrderlyContents<'a>>, ImportError> {
    let version = header(reader, &ORDERLY_NV)?;
    let room = usize::try_from(reader.word()?).unwrap_or(usize::MAX);
    let mut contents = Vec::new();
    let mut used = 0_usize;
    // A size of zero ends the list, unless the list fills its room.
    while used.saturating_add(ORDERLY_ENTRY) <= room {
        if reader.word()? == 0 {
            break;
        }
        let (handle, attributes) = (reader.word()?, TpmaNv(reader.word()?));
        let data = reader.sized()?;
        used = used
            .saturating_add(ORDERLY_ENTRY)
            .saturating_add(data.len());
        contents.push(OrderlyContents {
            handle,
            attributes,
            data,
        });
    }
    growth(reader, version)?;
    Ok(contents)
}

fn read_nv(
    reader: &mut Reader<'_>,
    imported: &mut Imported,
    orderly: &[OrderlyContents<'_>],
) -> Result<(), ImportError> {
    let version = header(reader, &NV)?;
    // How much room there is.
    reader.long()?;
    while reader.word()? != 0 {
        let handle = TpmHandle(reader.word()?);
        match handle.kind() {
            Some(TpmHt::NvIndex) => imported.nv.push(read_index(reader, handle, orderly)?),
            Some(TpmHt::Persistent) => imported.persistent.push(read_object(reader, handle)?),
            _ => return Err(ImportError::UnknownHandle(handle.0)),
        }
        reader.enter(NV.what);
    }
    imported.max_counter = reader.long()?;
    growth(reader, version)
}

fn read_index(
    reader: &mut Reader<'_>,
    handle: TpmHandle,
    orderly: &[OrderlyContents<'_>],
) -> Result<NvContents, ImportError> {
    let version = header(reader, &NV_INDEX)?;
    let mut public: TpmsNvPublic = reader.parse()?;
    let auth = reader.parse()?;
    growth(reader, version)?;
    let size = usize::try_from(reader.word()?).unwrap_or(usize::MAX);
    let mut data = reader.take(size)?;
    if TpmHandle::from(public.nv_index) != handle {
        return Err(reader.damaged());
    }
    // Attributes and contents of an orderly index live apart, wherever it was stored last.
    if public.attributes.contains(TpmaNv::ORDERLY) {
        let live = orderly
            .iter()
            .find(|contents| contents.handle == handle.0)
            .ok_or_else(|| reader.damaged())?;
        public.attributes = live.attributes;
        data = live.data;
    }
    // An entry is as long as the one before it left room for.
    let wanted = usize::from(public.data_size.0);
    let data = data.get(..wanted).ok_or_else(|| reader.damaged())?;
    Ok(NvContents {
        public,
        auth,
        data: Zeroizing::new(data.to_vec()),
    })
}

/// Bits of an object's attributes.
mod object {
    pub(super) const PUBLIC_ONLY: u32 = 1 << 0;
    pub(super) const ENDORSEMENT: u32 = 1 << 1;
    pub(super) const PLATFORM: u32 = 1 << 2;
    pub(super) const OWNER: u32 = 1 << 3;
    pub(super) const PRIMARY: u32 = 1 << 5;
    pub(super) const ST_CLEAR: u32 = 1 << 7;
    pub(super) const SEQUENCE: u32 = 7 << 8;
    pub(super) const OCCUPIED: u32 = 1 << 15;
    pub(super) const EXTERNAL: u32 = 1 << 17;
}

fn read_object(
    reader: &mut Reader<'_>,
    handle: TpmHandle,
) -> Result<PersistentObject, ImportError> {
    let outer = header(reader, &ANY_OBJECT)?;
    let attributes = reader.word()?;
    let has = |bits: u32| attributes & bits != 0;
    if !has(object::OCCUPIED) || has(object::SEQUENCE | object::EXTERNAL) {
        return Err(reader.damaged());
    }
    let version = header(reader, &OBJECT)?;
    let public: TpmtPublic = reader.parse()?;
    let sensitive = read_sensitive(reader)?;
    // Values that make computing with an RSA key quicker.
    optional(reader, "")?;
    let qualified_name: Tpm2bName = reader.parse()?;
    reader.word()?;
    let name: Tpm2bName = reader.parse()?;
    let mut hierarchy = match () {
        () if has(object::OWNER) => TpmHandle::OWNER,
        () if has(object::ENDORSEMENT) => TpmHandle::ENDORSEMENT,
        () if has(object::PLATFORM) => TpmHandle::PLATFORM,
        () => TpmHandle::NULL,
    };
    if version >= 2
        && let Some(mut third) = optional(reader, OBJECT.what)?
        && version >= 3
    {
        // How old the derivation from its seed is.
        third.byte()?;
        if let Some(mut fourth) = optional(&mut third, OBJECT.what)?
            && version >= 4
        {
            hierarchy = TpmHandle(fourth.word()?);
        }
    }
    growth(reader, outer)?;
    if has(object::PUBLIC_ONLY) != sensitive.is_none() {
        return Err(reader.damaged());
    }
    Ok(PersistentObject {
        handle,
        hierarchy,
        public,
        sensitive,
        name,
        qualified_name,
        primary: has(object::PRIMARY),
        st_clear: has(object::ST_CLEAR),
    })
}

/// The sensitive area, which begins with a type that none has if only the public area is there.
fn read_sensitive(reader: &mut Reader<'_>) -> Result<Option<TpmtSensitive>, ImportError> {
    let [high, low, ..] = *reader.rest() else {
        return Err(reader.damaged());
    };
    let id = TpmAlgId(u16::from_be_bytes([high, low]));
    if TpmiAlgPublic::from_id(id).is_some() {
        return reader.parse().map(Some);
    }
    reader.short()?;
    let (auth, seed) = (reader.sized()?, reader.sized()?);
    if !auth.is_empty() || !seed.is_empty() {
        return Err(reader.damaged());
    }
    Ok(None)
}
