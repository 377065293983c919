//! The files of swtpm: a header, then parts with a tag and a length each; encrypted ones are AES-CBC with an HMAC behind it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tpm_crypto::symmetric::{BlockCipher, Mode, decrypt};
use zeroize::Zeroizing;

use super::ImportError;
use super::reader::Reader;

/// The name of the file with a TPM 2.0's permanent state.
pub(crate) const STATE_FILE: &str = "tpm2-00.permall";
/// The name of the file with the volatile state of a suspended one.
pub(crate) const VOLATILE_FILE: &str = "tpm2-00.volatilestate";

const HEADER: u16 = 10;
/// The last version of the header that is known here.
const VERSION: u8 = 2;
const FLAG_ENCRYPTED: u16 = 0x01;
const FLAG_256_BIT_KEY: u16 = 0x08;
const TAG_DATA: u16 = 1;
const TAG_ENCRYPTED: u16 = 2;
const TAG_HMAC: u16 = 3;
const TAG_IV: u16 = 6;
const BLOCK: usize = 16;
const DIGEST: usize = 32;

/// Takes libtpms's state out of a file of swtpm.
pub(crate) fn open_file(
    file: &[u8],
    key: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let mut reader = Reader::new(file, "header");
    let (version, least) = (reader.byte(), reader.byte());
    let (header, flags, total) = (reader.short(), reader.short(), reader.word());
    let (Ok(version), Ok(least), Ok(HEADER), Ok(flags), Ok(total)) =
        (version, least, header, flags, total)
    else {
        return Err(ImportError::NotSwtpm);
    };
    if version == 0 {
        return Err(ImportError::NotSwtpm);
    }
    if least > VERSION {
        return Err(ImportError::TooNew {
            what: "file header",
            version: least.into(),
            known: VERSION.into(),
        });
    }
    if usize::try_from(total).ok() != Some(file.len()) {
        return Err(reader.damaged());
    }
    reader.enter("contents");
    let contents = reader.rest();
    if flags & FLAG_ENCRYPTED == 0 {
        return Ok(Zeroizing::new(match version {
            1 => contents.to_vec(),
            _ => part(contents, TAG_DATA)?
                .ok_or_else(|| reader.damaged())?
                .to_vec(),
        }));
    }
    let bits = if flags & FLAG_256_BIT_KEY == 0 {
        128
    } else {
        256
    };
    let key = key.ok_or(ImportError::NeedsKey(bits))?;
    if key.len() != usize::from(bits) / 8 {
        return Err(ImportError::KeySize {
            wanted: bits,
            given: key.len().saturating_mul(8),
        });
    }
    if version == 1 {
        return open_first_version(contents, key);
    }
    let encrypted = part(contents, TAG_ENCRYPTED)?.ok_or_else(|| reader.damaged())?;
    let expected = part(contents, TAG_HMAC)?.ok_or_else(|| reader.damaged())?;
    let iv = part(contents, TAG_IV)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| ImportError::WrongKey)?;
    mac.update(encrypted);
    mac.update(iv.unwrap_or_default());
    mac.verify_slice(expected)
        .map_err(|_| ImportError::WrongKey)?;
    decrypt_padded(encrypted, key, iv)
}

/// The first version had no HMAC: a digest of the data stands in front of them, and all of it is encrypted.
fn open_first_version(contents: &[u8], key: &[u8]) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let plain = decrypt_padded(contents, key, None)?;
    let (digest, data) = plain
        .split_at_checked(DIGEST)
        .ok_or(ImportError::WrongKey)?;
    if Sha256::digest(data).as_slice() != digest {
        return Err(ImportError::WrongKey);
    }
    Ok(Zeroizing::new(data.to_vec()))
}

fn decrypt_padded(
    encrypted: &[u8],
    key: &[u8],
    iv: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let mut chain = [0; BLOCK];
    for (to, from) in chain.iter_mut().zip(iv.unwrap_or_default()) {
        *to = *from;
    }
    let mut plain = Zeroizing::new(encrypted.to_vec());
    decrypt(BlockCipher::Aes, Mode::Cbc, key, &mut chain, &mut plain)
        .map_err(|_| ImportError::WrongKey)?;
    // It pads to the length of the key, which may be two blocks.
    let padding = plain.last().copied().map_or(0, usize::from);
    let length = plain
        .len()
        .checked_sub(padding)
        .filter(|_| (1..=key.len()).contains(&padding))
        .ok_or(ImportError::WrongKey)?;
    plain.truncate(length);
    Ok(plain)
}

/// The first part with this tag.
fn part(contents: &[u8], wanted: u16) -> Result<Option<&[u8]>, ImportError> {
    let mut reader = Reader::new(contents, "contents");
    while !reader.is_empty() {
        let (tag, length) = (reader.short()?, reader.word()?);
        let data = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        if tag == wanted {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, flags: u16, contents: &[u8]) -> Vec<u8> {
        let total = u32::try_from(contents.len() + 10).unwrap();
        [
            &[version, 1][..],
            &HEADER.to_be_bytes(),
            &flags.to_be_bytes(),
            &total.to_be_bytes(),
            contents,
        ]
        .concat()
    }

    #[test]
    fn plain_files_of_both_versions() {
        let data = b"\0\x01\0\0\0\x05state";
        assert_eq!(
            open_file(&file(2, 0, data), None).unwrap().as_slice(),
            b"state"
        );
        assert_eq!(
            open_file(&file(1, 0, b"state"), None).unwrap().as_slice(),
            b"state"
        );
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let good = file(2, 0, b"\0\x01\0\0\0\x05state");
        for cut in 0..10 {
            assert_eq!(open_file(&good[..cut], None), Err(ImportError::NotSwtpm));
        }
        for cut in 10..good.len() {
            assert_eq!(
                open_file(&good[..cut], None),
                Err(ImportError::Damaged("header"))
            );
        }
        assert_eq!(
            open_file(&file(2, 0, b"\0\x01\0\0\0\x06state"), None),
            Err(ImportError::Damaged("contents"))
        );
        let encrypted = file(2, FLAG_ENCRYPTED | FLAG_256_BIT_KEY, b"");
        assert_eq!(open_file(&encrypted, None), Err(ImportError::NeedsKey(256)));
        assert_eq!(
            open_file(&encrypted, Some(&[0; 16])),
            Err(ImportError::KeySize {
                wanted: 256,
                given: 128
            })
        );
        let mut later = good.clone();
        later[1] = 3;
        assert!(matches!(
            open_file(&later, None),
            Err(ImportError::TooNew { .. })
        ));
    }
}
