//! The file of PCR values that `tpm2_quote -o` writes, and keylime's quote, which carries it.
//!
//! The file is what tpm2-tools has in memory: a selection of sixteen places of eight bytes, then lists of eight digests each, all of
//! it little-endian.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attest::{TpmsAttest, TpmuAttest};
use tpm_wire::codec::{Limits, Marshal, parse_all};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::object::Tpm2bPublic;
use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};

use super::evidence::{Evidence, public_area};
use super::quote::PcrValues;
use crate::event_log::bank_name;
use crate::event_log::bytes::{Reader, put_size, put_u16};

const PLACES: usize = 16;
const DIGESTS: usize = 8;
const DIGEST_ROOM: usize = 64;

/// The values in a file.
///
/// # Errors
/// What is wrong with it.
pub fn read_pcr_file(bytes: &[u8]) -> Result<PcrValues, String> {
    let mut reader = Reader::new(bytes);
    let short = || "the file of PCR values is cut short".to_owned();
    let count = reader.size().ok_or_else(short)?;
    if count > PLACES {
        return Err(format!("the file of PCR values has {count} banks"));
    }
    let mut wanted = Vec::new();
    for place in 0..PLACES {
        let algorithm = TpmAlgId(reader.u16().ok_or_else(short)?);
        let size = reader.u8().ok_or_else(short)?;
        let select = reader.take(4).ok_or_else(short)?;
        reader.take(1).ok_or_else(short)?;
        if place >= count {
            continue;
        }
        let bank = TpmiAlgHash::from_id(algorithm)
            .ok_or_else(|| format!("no bank has algorithm {:#06x}", algorithm.0))?;
        let set = match select {
            [a, b, c, _] if size == 3 => TpmsPcrSelect([*a, *b, *c]),
            _ => return Err(format!("a selection of {size} bytes")),
        };
        wanted.extend(set.iter().map(|pcr| (bank, pcr)));
    }
    let lists = reader.size().ok_or_else(short)?;
    let mut wanted = wanted.into_iter();
    let mut values = PcrValues::new();
    for _ in 0..lists {
        let used = reader.size().ok_or_else(short)?;
        for place in 0..DIGESTS {
            let size = usize::from(reader.u16().ok_or_else(short)?);
            let room = reader.take(DIGEST_ROOM).ok_or_else(short)?;
            if place >= used {
                continue;
            }
            let (bank, pcr) = wanted.next().ok_or("there are more values than PCR")?;
            let value = room.get(..size).ok_or("a value is too long")?;
            values.entry(bank).or_default().insert(pcr, value.to_vec());
        }
    }
    if wanted.next().is_some() || !reader.rest().is_empty() {
        return Err("the file of PCR values has not the values that it announces".to_owned());
    }
    Ok(values)
}

/// The file of these values, in the order of a selection.
#[must_use]
pub fn write_pcr_file(selection: &TpmlPcrSelection, values: &PcrValues) -> Vec<u8> {
    let mut out = Vec::new();
    put_size(&mut out, selection.len());
    let empty = TpmsPcrSelection {
        hash: TpmiAlgHash::Sha1,
        pcr_select: TpmsPcrSelect([0; 3]),
    };
    for place in 0..PLACES {
        let bank = selection.get(place);
        put_u16(&mut out, bank.map_or(0, |bank| bank.hash.id().0));
        out.push(if bank.is_some() { 3 } else { 0 });
        out.extend(bank.unwrap_or(&empty).pcr_select.0);
        out.extend([0; 2]);
    }
    let list: Vec<&[u8]> = selection
        .iter()
        .flat_map(|bank| {
            let values = values.get(&bank.hash);
            let digest = move |pcr: u32| values?.get(&pcr).map(Vec::as_slice);
            bank.pcr_select.iter().filter_map(digest)
        })
        .collect();
    put_size(&mut out, list.chunks(DIGESTS).len());
    for chunk in list.chunks(DIGESTS) {
        put_size(&mut out, chunk.len());
        for place in 0..DIGESTS {
            let value = chunk.get(place).copied().unwrap_or_default();
            put_u16(&mut out, u16::try_from(value.len()).unwrap_or_default());
            let mut room = value.to_vec();
            room.resize(DIGEST_ROOM, 0);
            out.extend(room);
        }
    }
    out
}

/// The body of keylime's `POST /v2.4/verify/evidence`, with golden values as its policy. Keylime knows one bank a quote.
///
/// # Errors
/// If the evidence cannot be read, or has other than one bank.
pub fn keylime_request(
    evidence: &Evidence,
    golden: &std::collections::BTreeMap<u32, Vec<String>>,
) -> Result<serde_json::Value, String> {
    let message = &evidence.quote.message.0;
    let attest = parse_all::<TpmsAttest>(message, &Limits::ALL).map_err(|code| code.to_string())?;
    let TpmuAttest::Quote(info) = attest.attested else {
        return Err("it is no quote".to_owned());
    };
    let [bank] = info.pcr_select.as_slice() else {
        return Err("keylime judges quotes of one bank".to_owned());
    };
    let pcrs = write_pcr_file(&info.pcr_select, &evidence.pcr_values()?);
    let key = Tpm2bPublic(public_area(&evidence.attestation_key.0)?);
    let ek = evidence.endorsement.as_ref().map(|ek| &ek.public.0);
    let ek = ek.ok_or("keylime wants the endorsement key")?;
    let ek = Tpm2bPublic(public_area(ek)?);
    let policy = serde_json::to_string(golden).map_err(|error| error.to_string())?;
    let quote = format!(
        "r{}:{}:{}",
        STANDARD.encode(message),
        STANDARD.encode(&evidence.quote.signature.0),
        STANDARD.encode(pcrs)
    );
    let data = json!({
        "quote": quote,
        "nonce": STANDARD.encode(&evidence.nonce.0),
        "hash_alg": bank_name(bank.hash),
        "tpm_ek": STANDARD.encode(ek.to_bytes()),
        "tpm_ak": STANDARD.encode(key.to_bytes()),
        "tpm_policy": policy,
    });
    Ok(json!({"type": "tpm", "data": data}))
}
