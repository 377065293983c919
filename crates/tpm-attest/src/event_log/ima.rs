//! The list of the kernel's Integrity Measurement Architecture: what it measured into PCR 10, as text and as bytes.
//!
//! Templates `ima`, `ima-ng` and `ima-sig` are understood; of others only the text form cannot be checked. The digest of an entry is
//! that of its template data; in banks other than SHA-1 a kernel extends the bank's own digest of the data (since Linux 5.8), or,
//! before, the SHA-1 digest followed by zeros.

use tpm_crypto::hash::{HashAlgorithm, hash};
use tpm_wire::algorithm::TpmiAlgHash;

use super::bytes::{Reader, put_size};
use super::{LogError, PcrBank};
use crate::algorithm::hash_algorithm;

/// Most bytes of a list.
pub const MAX_LIST: usize = 64 * 1024 * 1024;
/// Most entries of a list.
pub const MAX_ENTRIES: usize = 1_000_000;
const MAX_TEMPLATE_NAME: usize = 255;
const MAX_TEMPLATE_DATA: usize = 1024 * 1024;
/// Bytes of a file's name in the data of the template `ima`, which pads it with zeros.
const OLD_NAME: usize = 256;
const SHA1_SIZE: usize = 20;

/// One measured file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImaEntry {
    /// The PCR that was extended, usually 10.
    pub pcr: u32,
    /// The digest of the entry in the list: SHA-1 of the template data, or zeros where the kernel saw a file change under it.
    pub template_hash: [u8; SHA1_SIZE],
    /// `ima`, `ima-ng`, `ima-sig`.
    pub template: String,
    /// What the digest is of.
    pub template_data: Vec<u8>,
    /// The algorithm of the file's digest, as the kernel writes it.
    pub file_algorithm: String,
    /// The file's digest.
    pub file_digest: Vec<u8>,
    /// The file.
    pub path: String,
    /// Its signature, if the template has one.
    pub signature: Vec<u8>,
}

/// How a kernel extends banks other than SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImaExtension {
    /// With the bank's own digest of the template data.
    OwnDigest,
    /// With the SHA-1 digest and zeros.
    PaddedSha1,
}

impl ImaEntry {
    /// Whether the kernel saw that it could not measure the file reliably; it extends all bits set then.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        self.template_hash.iter().all(|byte| *byte == 0)
    }

    /// Whether the digest of the entry is that of its data.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.is_violation()
            || hash(HashAlgorithm::Sha1, &[&self.measured()]) == self.template_hash[..]
    }

    fn measured(&self) -> Vec<u8> {
        let mut data = self.template_data.clone();
        if self.template == "ima" {
            data.resize(SHA1_SIZE + OLD_NAME, 0);
        }
        data
    }

    fn extended(&self, bank: TpmiAlgHash, how: ImaExtension) -> Vec<u8> {
        if self.is_violation() {
            return vec![0xFF; bank.digest_size()];
        }
        match (bank, how) {
            (TpmiAlgHash::Sha1, _) => self.template_hash.to_vec(),
            (_, ImaExtension::OwnDigest) => {
                hash(hash_algorithm(bank), &[&self.measured()]).to_vec()
            }
            (_, ImaExtension::PaddedSha1) => {
                let mut digest = self.template_hash.to_vec();
                digest.resize(bank.digest_size(), 0);
                digest
            }
        }
    }
}

/// Reads a list, as `ascii_runtime_measurements` or as `binary_runtime_measurements` gives it.
///
/// # Errors
/// [`LogError`], with the entry that makes no sense or whose digest is not that of its data.
pub fn parse(bytes: &[u8]) -> Result<Vec<ImaEntry>, LogError> {
    if bytes.len() > MAX_LIST {
        return Err(LogError {
            event: 0,
            offset: 0,
            fault: format!("the list has {} bytes, more than {MAX_LIST}", bytes.len()),
        });
    }
    // A PCR in binary form has zeros in it, and text has none.
    let entries = if bytes.iter().take(4).any(|byte| *byte == 0) {
        parse_binary(bytes)?
    } else {
        parse_text(bytes)?
    };
    Ok(entries)
}

/// Extends the PCR of a bank by these entries.
///
/// # Errors
/// [`LogError`] for a PCR that does not exist.
pub fn replay(entries: &[ImaEntry], bank: &mut PcrBank, how: ImaExtension) -> Result<(), LogError> {
    for (number, entry) in entries.iter().enumerate() {
        if !bank.extend(entry.pcr, &entry.extended(bank.algorithm(), how)) {
            return Err(LogError {
                event: number,
                offset: 0,
                fault: format!("there is no PCR {}", entry.pcr),
            });
        }
    }
    Ok(())
}

fn checked(entry: ImaEntry, number: usize, offset: usize) -> Result<ImaEntry, LogError> {
    let fault = |fault: &str| LogError {
        event: number,
        offset,
        fault: fault.to_owned(),
    };
    if number >= MAX_ENTRIES {
        return Err(fault("the list is too long"));
    }
    if !entry.is_consistent() {
        return Err(fault("its digest is not that of its template data"));
    }
    Ok(entry)
}

fn parse_binary(bytes: &[u8]) -> Result<Vec<ImaEntry>, LogError> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while !reader.rest().is_empty() {
        let (number, offset) = (entries.len(), reader.offset());
        let entry = binary_entry(&mut reader).map_err(|fault| LogError {
            event: number,
            offset,
            fault: fault.to_owned(),
        })?;
        entries.push(checked(entry, number, offset)?);
    }
    Ok(entries)
}

fn binary_entry(reader: &mut Reader<'_>) -> Result<ImaEntry, &'static str> {
    const SHORT: &str = "the list is cut short";
    let pcr = reader.u32().ok_or(SHORT)?;
    let template_hash = reader.take(SHA1_SIZE).ok_or(SHORT)?;
    let template_hash = template_hash.try_into().map_err(|_| SHORT)?;
    let length = reader.size().ok_or(SHORT)?;
    if length > MAX_TEMPLATE_NAME {
        return Err("the name of its template is too long");
    }
    let template = reader.take(length).ok_or(SHORT)?;
    let template =
        String::from_utf8(template.to_vec()).map_err(|_| "the name of its template is no text")?;
    let data = if template == "ima" {
        // The one template without a size of its own: a digest, the size of a name, a name.
        let digest = reader.take(SHA1_SIZE).ok_or(SHORT)?;
        let length = reader.size().ok_or(SHORT)?;
        if length > OLD_NAME {
            return Err("the name of its file is too long");
        }
        let name = reader.take(length).ok_or(SHORT)?;
        [digest, name].concat()
    } else {
        let length = reader.size().ok_or(SHORT)?;
        if length > MAX_TEMPLATE_DATA {
            return Err("its template data is too long");
        }
        reader.take(length).ok_or(SHORT)?.to_vec()
    };
    from_data(pcr, template_hash, template, data)
}

/// An entry whose fields are read from its template data.
fn from_data(
    pcr: u32,
    template_hash: [u8; SHA1_SIZE],
    template: String,
    template_data: Vec<u8>,
) -> Result<ImaEntry, &'static str> {
    const SHORT: &str = "its template data is cut short";
    let name = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0);
        let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
        String::from_utf8_lossy(bytes).into_owned()
    };
    let mut reader = Reader::new(&template_data);
    let (file_algorithm, file_digest, path, signature) = match template.as_str() {
        "ima" => {
            let digest = reader.take(SHA1_SIZE).ok_or(SHORT)?.to_vec();
            ("sha1".to_owned(), digest, name(reader.rest()), Vec::new())
        }
        "ima-ng" | "ima-sig" => {
            let size = reader.size().ok_or(SHORT)?;
            let digest = reader.take(size).ok_or(SHORT)?;
            let colon = digest.windows(2).position(|pair| pair == b":\0");
            let (algorithm, digest) = colon
                .and_then(|colon| digest.split_at_checked(colon))
                .ok_or("its file's digest names no algorithm")?;
            let digest = digest.get(2..).unwrap_or_default().to_vec();
            let size = reader.size().ok_or(SHORT)?;
            let path = name(reader.take(size).ok_or(SHORT)?);
            let mut signature = Vec::new();
            if template == "ima-sig" {
                let size = reader.size().ok_or(SHORT)?;
                signature.extend_from_slice(reader.take(size).ok_or(SHORT)?);
            }
            if !reader.rest().is_empty() {
                return Err("its template data is too long");
            }
            (name(algorithm), digest, path, signature)
        }
        _ => return Err("its template is none of ima, ima-ng, ima-sig"),
    };
    Ok(ImaEntry {
        pcr,
        template_hash,
        template,
        file_algorithm,
        file_digest,
        path,
        signature,
        template_data,
    })
}

fn parse_text(bytes: &[u8]) -> Result<Vec<ImaEntry>, LogError> {
    let mut entries = Vec::new();
    let mut offset = 0_usize;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let number = entries.len();
        let entry = text_entry(line).map_err(|fault| LogError {
            event: number,
            offset,
            fault: fault.to_owned(),
        })?;
        if let Some(entry) = entry {
            entries.push(checked(entry, number, offset)?);
        }
        offset = offset.saturating_add(line.len());
    }
    Ok(entries)
}

/// The entry of a line: `10 TEMPLATE-HASH TEMPLATE [ALGORITHM:]DIGEST PATH [SIGNATURE]`; none for an empty line.
fn text_entry(line: &[u8]) -> Result<Option<ImaEntry>, &'static str> {
    const FORM: &str = "it is no line of PCR, digest, template, file digest and path";
    let line = std::str::from_utf8(line).map_err(|_| "it is no text")?;
    let line = line.trim_matches(['\n', '\r', ' ']);
    if line.is_empty() {
        return Ok(None);
    }
    let mut words = line.splitn(5, ' ');
    let mut word = || words.next().ok_or(FORM);
    let pcr: u32 = word()?.parse().map_err(|_| FORM)?;
    let template_hash = hex::decode(word()?).map_err(|_| FORM)?;
    let template_hash: [u8; SHA1_SIZE] = template_hash.try_into().map_err(|_| FORM)?;
    let template = word()?.to_owned();
    let file = word()?;
    let rest = word()?;
    let (algorithm, digest) = file.rsplit_once(':').unwrap_or(("sha1", file));
    let digest = hex::decode(digest).map_err(|_| FORM)?;
    let mut data = Vec::new();
    match template.as_str() {
        "ima" => {
            data.extend_from_slice(&digest);
            data.extend_from_slice(rest.as_bytes());
        }
        "ima-ng" | "ima-sig" => {
            let (path, signature) = if template == "ima-sig" {
                // The last word is the signature only if it is one: most files have none, and paths may have blanks.
                rest.rsplit_once(' ')
                    .and_then(|(path, word)| Some((path, hex::decode(word).ok()?)))
                    .unwrap_or((rest, Vec::new()))
            } else {
                (rest, Vec::new())
            };
            put_size(&mut data, algorithm.len() + 2 + digest.len());
            data.extend_from_slice(algorithm.as_bytes());
            data.extend(b":\0");
            data.extend_from_slice(&digest);
            put_size(&mut data, path.len() + 1);
            data.extend_from_slice(path.as_bytes());
            data.push(0);
            if template == "ima-sig" {
                put_size(&mut data, signature.len());
                data.extend_from_slice(&signature);
            }
        }
        _ => return Err("its template is none of ima, ima-ng, ima-sig"),
    }
    from_data(pcr, template_hash, template, data).map(Some)
}
