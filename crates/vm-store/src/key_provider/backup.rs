//! The backup of a native provider: a PKCS#12 file with the key-derivation key as its one secret.

use super::KeyCheckValue;
use crate::{error::KeyProviderError, seal::Key};
use p12_keystore::{
    KeyStore, KeyStoreEntry, MacAlgorithm, Pkcs12ImportPolicy, secret::Secret,
    secret::SecretKeyType,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Largest backup that is read.
pub(super) const MAX_LENGTH: u64 = 1 << 20;

/// PBKDF2 rounds: a guess at the password costs an attacker about a tenth of a second.
const ITERATIONS: u32 = 200_000;
const FORMAT: &str = "vtpm-native-key-provider";

/// What a backup holds.
pub(super) struct Backup {
    pub(super) name: String,
    pub(super) key: Key,
}

#[derive(Serialize, Deserialize)]
struct Label {
    format: String,
    version: u32,
    name: String,
    check: String,
}

/// Makes a backup. It is opened again before it is handed out.
pub(super) fn write(name: &str, key: &Key, password: &str) -> Result<Vec<u8>, KeyProviderError> {
    let fault = |reason: String| KeyProviderError::Backup {
        file: format!("of key provider {name:?}"),
        reason,
    };
    if password.is_empty() {
        return Err(fault(
            "an empty password protects nothing; give one".to_owned(),
        ));
    }
    let label = Label {
        format: FORMAT.to_owned(),
        version: 1,
        name: name.to_owned(),
        check: KeyCheckValue::of_provider(key, name).to_string(),
    };
    let label = serde_json::to_vec(&label).map_err(|error| fault(error.to_string()))?;
    let secret = Secret::builder(SecretKeyType::Aes)
        .with_key(key.to_vec())
        .with_local_key_id(label)
        .build()
        .map_err(|error| fault(error.to_string()))?;
    // A friendly name is UTF-16 without surrogates; the exact name stands in the label.
    let alias: String = name
        .chars()
        .map(|c| if u32::from(c) > 0xffff { '?' } else { c })
        .collect();
    let mut store = KeyStore::new();
    store.add_entry(&alias, KeyStoreEntry::Secret(secret));
    let bytes = store
        .writer(password)
        .encryption_iterations(ITERATIONS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(ITERATIONS)
        .write()
        .map_err(|error| fault(error.to_string()))?;
    let again = read("just made", &bytes, password)?;
    if again.name != name || again.key != *key {
        return Err(fault("it did not read back as it was written".to_owned()));
    }
    Ok(bytes)
}

/// Opens a backup; `file` names it in messages.
pub(super) fn read(file: &str, bytes: &[u8], password: &str) -> Result<Backup, KeyProviderError> {
    let fault = |reason: String| KeyProviderError::Backup {
        file: file.to_owned(),
        reason,
    };
    let store = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Raw).map_err(
        |error| match error {
            p12_keystore::error::Error::MacError(_) | p12_keystore::error::Error::Pkcs5Error(_) => {
                KeyProviderError::WrongPassword {
                    file: file.to_owned(),
                }
            }
            other => fault(format!("it is no PKCS#12 file that can be read ({other})")),
        },
    )?;
    for (_, entry) in store.entries() {
        let KeyStoreEntry::Secret(secret) = entry else {
            continue;
        };
        let Ok(label) = serde_json::from_slice::<Label>(secret.local_key_id().as_ref()) else {
            continue;
        };
        if label.format != FORMAT {
            continue;
        }
        if label.version != 1 {
            return Err(fault(format!(
                "its version is {}; use the newer program that wrote it",
                label.version
            )));
        }
        let bytes = Zeroizing::new(secret.key().to_vec());
        let key = <[u8; 32]>::try_from(bytes.as_slice())
            .map(Key::new)
            .map_err(|_| fault("its key has not 32 bytes".to_owned()))?;
        // A PKCS#12 file may come without its MAC: then only this tells whether it is what was written.
        if KeyCheckValue::parse(&label.check) != Some(KeyCheckValue::of_provider(&key, &label.name))
        {
            return Err(fault(
                "its key is not the one that its label names; the file was changed".to_owned(),
            ));
        }
        return Ok(Backup {
            name: label.name,
            key,
        });
    }
    Err(fault(
        "it holds no key of a native key provider. Give the file that vtpm provider backup wrote"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal;

    #[test]
    fn a_backup_opens_with_its_password_only() {
        let key = seal::random_key().unwrap();
        let bytes = write("kp 1 🦀", &key, "pässword").unwrap();
        let backup = read("f", &bytes, "pässword").unwrap();
        assert_eq!((backup.name.as_str(), *backup.key), ("kp 1 🦀", *key));
        let error = read("file.p12", &bytes, "password").err().unwrap();
        assert!(
            matches!(error, KeyProviderError::WrongPassword { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("file.p12"));
    }

    #[test]
    fn cut_or_foreign_bytes_are_refused() {
        let key = seal::random_key().unwrap();
        let bytes = write("kp", &key, "pw").unwrap();
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(read("f", &bytes[..length], "pw").is_err());
        }
        assert!(read("f", b"not a PKCS#12 file", "pw").is_err());
        let empty = KeyStore::new().writer("pw").write().unwrap();
        assert!(read("f", &empty, "pw").is_err());
        assert!(write("kp", &key, "").is_err());
    }
}
