//! Key providers: backup, restore, wrong ones, and that nothing readable lies about.

use super::*;
use crate::{
    KeyProviderError, LinuxBackend, OpenOptions, StateFolder, StateKey, StoreError,
    key_provider::{
        KeyFileFormat, KeyFileMode, KeyFileProvider, KeyProviderKind, KeyProviderStatus,
        LOCAL_PROVIDER_NAME,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{fs, process::Command};

fn folder(backend: &dyn Backend) -> ProviderFolder {
    ProviderFolder::open(backend, Path::new(PROVIDERS)).unwrap()
}

#[test]
fn a_native_provider_encrypts_nothing_before_its_backup() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = ProviderFolder::open(&LinuxBackend, scratch.path()).unwrap();
    let provider = folder.create("kp1", Flavour::Native).unwrap();
    assert_eq!(provider.status(), KeyProviderStatus::NotBackedUp);
    let error = provider.new_key().unwrap_err();
    assert!(matches!(error, KeyProviderError::NotBackedUp { .. }));
    assert!(error.to_string().contains("vtpm provider backup kp1"));
    let key_id = KeyId::new("k").unwrap();
    let key = crate::DataKey::generate().unwrap();
    assert!(provider.wrap(&key_id, &key).is_err());
    let backup = scratch.path().join("kp1.p12");
    provider
        .backup_to_file(&LinuxBackend, &backup, "secret")
        .unwrap();
    assert_eq!(provider.status(), KeyProviderStatus::Active);
    assert!(provider.wrap(&key_id, &key).is_ok());
    // It is remembered, and an existing backup is not written over.
    assert!(folder.load("kp1").unwrap().is_active());
    assert!(
        provider
            .backup_to_file(&LinuxBackend, &backup, "secret")
            .is_err()
    );
}

#[test]
fn openssl_reads_the_backup() {
    let scratch = tempfile::tempdir().unwrap();
    let provider = ProviderFolder::open(&LinuxBackend, scratch.path())
        .unwrap()
        .create("kp1", Flavour::Native)
        .unwrap();
    let backup = scratch.path().join("kp1.p12");
    provider
        .backup_to_file(&LinuxBackend, &backup, "secret")
        .unwrap();
    let openssl = |password: &str| {
        Command::new("openssl")
            .args([
                "pkcs12",
                "-info",
                "-noout",
                "-passin",
                &format!("pass:{password}"),
                "-in",
            ])
            .arg(&backup)
            .output()
            .expect("openssl is installed")
    };
    let output = openssl("secret");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("MAC: sha256") && text.contains("Secret bag"),
        "{text}"
    );
    assert!(!openssl("wrong").status.success());
}

#[test]
fn a_restored_provider_opens_the_vms_elsewhere() {
    let (backend, ring) = simulated();
    drop(create(&backend, &ring, "vm", &contents(1, 100)));
    let source = folder(&backend).load("kp1").unwrap();
    let bytes = source.export("pw").unwrap();
    let elsewhere = SimulatedBackend::new();
    let target = folder(&elsewhere);
    let error = target.restore_bytes(&bytes, "other", None).unwrap_err();
    assert!(matches!(error, KeyProviderError::WrongPassword { .. }));
    let error = target.restore_bytes(&bytes, "pw", Some("kp2")).unwrap_err();
    assert!(
        matches!(error, KeyProviderError::WrongProvider { .. }),
        "{error}"
    );
    assert_eq!(target.list().unwrap(), Vec::<String>::new());
    let restored = target.restore_bytes(&bytes, "pw", Some("kp1")).unwrap();
    assert!(restored.is_active());
    assert_eq!(
        restored.provider_check_value(),
        source.provider_check_value()
    );
    let opened = datastore(&backend).open("vm", &super::ring(restored), &OpenOptions::default());
    assert_eq!(opened.unwrap().1, contents(1, 100));
    // Once more changes nothing; over a provider with another key it is refused.
    assert!(target.restore_bytes(&bytes, "pw", None).is_ok());
    let third = folder(&SimulatedBackend::new());
    third.create("kp1", Flavour::Native).unwrap();
    let error = third.restore_bytes(&bytes, "pw", None).unwrap_err();
    assert!(matches!(error, KeyProviderError::AlreadyExists { .. }));
}

#[test]
fn same_name_with_other_key_bytes_is_found_before_anything_is_written() {
    let (backend, ring) = simulated();
    drop(create(&backend, &ring, "vm", &contents(1, 100)));
    let operations = backend.operations();
    let impostor = folder(&SimulatedBackend::new())
        .create("kp1", Flavour::Native)
        .unwrap();
    impostor.mark_backed_up().unwrap();
    let error = datastore(&backend)
        .open("vm", &super::ring(impostor), &OpenOptions::default())
        .unwrap_err();
    let StoreError::Provider {
        source: KeyProviderError::OtherKey { provider, .. },
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(provider, "kp1");
    assert!(error.to_string().contains("vm.vmx"));
    assert_eq!(backend.operations(), operations);
}

#[test]
fn a_provider_that_is_not_registered_is_named_with_its_key() {
    let (backend, ring) = simulated();
    let file = create(&backend, &ring, "vm", &contents(1, 100));
    let key_id = file.binding().locator.key_id.clone();
    drop(file);
    let other = folder(&backend).create("kp2", Flavour::Local).unwrap();
    for (ring, names) in [(Ring::new(), "none"), (super::ring(other), "kp2")] {
        let text = datastore(&backend)
            .open("vm", &ring, &OpenOptions::default())
            .unwrap_err()
            .to_string();
        for part in ["\"kp1\"", key_id.as_str(), names] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn a_damaged_provider_file_is_refused() {
    let backend = SimulatedBackend::new();
    folder(&backend).create("kp1", Flavour::Native).unwrap();
    let path = Path::new(PROVIDERS).join("kp1.provider.json");
    let good = backend.read(&path).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        backend.overwrite(&path, &bytes);
        if let Ok(provider) = folder(&backend).load("kp1") {
            // White space, at most.
            let (a, b) = (provider.provider_check_value(), good.clone());
            assert!(String::from_utf8(b).unwrap().contains(&a.to_string()));
        }
    }
    for length in 0..good.len() {
        backend.overwrite(&path, &good[..length]);
        assert!(folder(&backend).load("kp1").is_err());
    }
}

#[test]
fn provider_names_follow_the_rules_and_are_taken_once() {
    let folder = folder(&SimulatedBackend::new());
    for name in ["", "..", "a/b", ".x", "a\0"] {
        assert!(matches!(
            folder.create(name, Flavour::Native),
            Err(KeyProviderError::InvalidName { .. })
        ));
        assert!(folder.load(name).is_err());
    }
    folder.create("kp", Flavour::Native).unwrap();
    assert!(matches!(
        folder.create("kp", Flavour::Native),
        Err(KeyProviderError::AlreadyExists { .. })
    ));
    assert_eq!(folder.list().unwrap(), ["kp"]);
    folder.delete("kp").unwrap();
    assert!(matches!(
        folder.load("kp"),
        Err(KeyProviderError::NoSuchProvider { .. })
    ));
}

#[test]
fn a_state_folder_works_with_the_key_beside_it_or_given() {
    let scratch = tempfile::tempdir().unwrap();
    let beside = scratch.path().join("beside");
    let state = StateFolder::open(&LinuxBackend, &beside, StateKey::Beside).unwrap();
    assert!(state.load(&OpenOptions::default()).unwrap().is_none());
    let file = state.create(&contents(1, 100)).unwrap();
    assert_eq!(file.binding().locator.provider, LOCAL_PROVIDER_NAME);
    // In use: refused while the state folder or its file lives.
    let open = || StateFolder::open(&LinuxBackend, &beside, StateKey::Beside);
    assert!(matches!(open(), Err(StoreError::Locked { .. })));
    drop(state);
    assert!(matches!(
        open().unwrap().load(&OpenOptions::default()),
        Err(StoreError::Locked { .. })
    ));
    drop(file);
    let (_, found) = open()
        .unwrap()
        .load(&OpenOptions::default())
        .unwrap()
        .unwrap();
    assert_eq!(found, contents(1, 100));
    // Its key gone, it says which is missing, and makes no other.
    fs::remove_file(beside.join("local.provider.json")).unwrap();
    let error = open().unwrap().load(&OpenOptions::default()).unwrap_err();
    assert!(
        matches!(error, StoreError::NoSuchProvider { .. }),
        "{error}"
    );
    assert!(!beside.join("local.provider.json").exists());

    let given = scratch.path().join("given");
    let key = |byte: u8| {
        let provider = KeyFileProvider::from_file_bytes(
            "k",
            &[byte; 32],
            KeyFileFormat::Binary,
            KeyFileMode::Aes256,
        );
        StateKey::Given(Arc::new(provider.unwrap()))
    };
    drop(
        StateFolder::open(&LinuxBackend, &given, key(1))
            .unwrap()
            .create(&contents(2, 100))
            .unwrap(),
    );
    assert!(!given.join("local.provider.json").exists());
    let load = |key| {
        StateFolder::open(&LinuxBackend, &given, key)
            .unwrap()
            .load(&OpenOptions::default())
    };
    assert_eq!(load(key(1)).unwrap().unwrap().1, contents(2, 100));
    let error = load(key(2)).unwrap_err();
    assert!(error.to_string().contains("has another key"), "{error}");
    let error = load(StateKey::Beside).unwrap_err();
    assert!(error.to_string().contains("\"file\""), "{error}");

    // Who gives a key to a state that had its own beside it wants it to be under the given one.
    let moved = scratch.path().join("moved");
    let open = |key| StateFolder::open(&LinuxBackend, &moved, key).unwrap();
    drop(open(StateKey::Beside).create(&contents(3, 100)).unwrap());
    for _ in 0..2 {
        let loaded = open(key(1)).load(&OpenOptions::default()).unwrap();
        assert_eq!(loaded.unwrap().1, contents(3, 100));
        assert!(!moved.join("local.provider.json").exists());
    }
    for other in [key(2), StateKey::Beside] {
        assert!(open(other).load(&OpenOptions::default()).is_err());
    }
}

#[test]
fn a_state_folder_that_lost_a_file_is_no_new_start() {
    for victim in ["tpm.vmx", "tpm.nvram"] {
        let scratch = tempfile::tempdir().unwrap();
        let open = || StateFolder::open(&LinuxBackend, scratch.path(), StateKey::Beside).unwrap();
        drop(open().create(&contents(1, 100)).unwrap());
        fs::remove_file(scratch.path().join("tpm").join(victim)).unwrap();
        assert!(open().load(&OpenOptions::default()).is_err(), "{victim}");
        assert!(open().create(&contents(2, 100)).is_err(), "{victim}");
    }
}

#[test]
fn nothing_secret_is_readable_in_the_files() {
    let scratch = tempfile::tempdir().unwrap();
    let secret = b"the seed and the sealed secret of this TPM";
    let state = StateFolder::open(&LinuxBackend, scratch.path(), StateKey::Beside).unwrap();
    let mut file = state.create(&Contents::of_tpm(secret.to_vec())).unwrap();
    let mut contents = Contents::of_tpm([secret.as_slice(), &[0; 70_000]].concat());
    contents.set(SectionKind::TPM_VOLATILE, secret.to_vec());
    contents.set(SectionKind::UEFI_VARIABLES, secret.to_vec());
    file.save(&contents).unwrap();
    file.save(&contents).unwrap();
    let data_key = {
        let provider = ProviderFolder::open(&LinuxBackend, scratch.path())
            .unwrap()
            .load(LOCAL_PROVIDER_NAME)
            .unwrap();
        let binding = file.binding();
        provider
            .unwrap(&binding.locator.key_id, &binding.wrapped)
            .unwrap()
    };
    file.close().unwrap();
    let mut files = 0;
    let mut folders = vec![scratch.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = fs::read(&path).unwrap();
            for secret in [secret.as_slice(), &secret[8..24], data_key.expose()] {
                let base64 = STANDARD.encode(secret);
                let hex = hex::encode(secret);
                for needle in [
                    secret,
                    hex.as_bytes(),
                    hex.to_uppercase().as_bytes(),
                    base64.trim_end_matches('=').as_bytes(),
                ] {
                    let found = bytes.windows(needle.len()).any(|window| window == needle);
                    assert!(!found, "{}", path.display());
                }
            }
        }
    }
    assert_eq!(files, 5);
    assert!(!format!("{contents:?}{data_key:?}").contains("seed"));
}

#[test]
fn kinds_have_names() {
    assert_eq!(
        folder(&SimulatedBackend::new())
            .create("x", Flavour::Local)
            .unwrap()
            .kind(),
        KeyProviderKind::Local
    );
    assert_eq!(KeyProviderKind::Native.name(), "native");
}
