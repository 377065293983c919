//! Logs, judged by tpm2_eventlog and by what is wrong with them.

use std::process::Command;

use tpm_crypto::hash::HashAlgorithm;

use super::data::*;
use super::*;

const BANKS: [TpmiAlgHash; 2] = [TpmiAlgHash::Sha1, TpmiAlgHash::Sha256];

/// A boot with events of every kind that is written here.
fn boot(locality: u8) -> EventLog {
    let mut log = LogWriter::new(&BANKS);
    if locality != 0 {
        log.startup_locality(locality);
    }
    log.measure_data(
        0,
        EventType::S_CRTM_VERSION,
        &[b'1', 0, b'.', 0, b'0', 0, 0, 0],
    );
    let blob = firmware_blob("PEIFV", 0x82_0000, 0xE_0000);
    log.measure(
        0,
        EventType::EFI_PLATFORM_FIRMWARE_BLOB2,
        &blob,
        b"firmware",
    );
    let global = Guid::GLOBAL_VARIABLE;
    let certificate = signature_list(Guid::CERT_X509, Guid::SHIM_LOCK, &[0x30, 0x03, 2, 1, 5]);
    log.measure_data(
        7,
        EventType::EFI_VARIABLE_DRIVER_CONFIG,
        &variable(global, "SecureBoot", &[1]),
    );
    for (vendor, name) in [
        (global, "PK"),
        (global, "KEK"),
        (Guid::IMAGE_SECURITY_DATABASE, "db"),
        (Guid::IMAGE_SECURITY_DATABASE, "dbx"),
    ] {
        let data = variable(vendor, name, &certificate);
        log.measure_data(7, EventType::EFI_VARIABLE_DRIVER_CONFIG, &data);
    }
    for pcr in 0..8 {
        log.measure_data(pcr, EventType::SEPARATOR, &[0; 4]);
    }
    let path = file_device_path("\\EFI\\BOOT\\BOOTX64.EFI");
    log.measure(
        1,
        EventType::EFI_VARIABLE_BOOT,
        &variable(global, "BootOrder", &boot_order(&[1, 0])),
        &boot_order(&[1, 0]),
    );
    let option = load_option("Linux", &path);
    log.measure(
        1,
        EventType::EFI_VARIABLE_BOOT,
        &variable(global, "Boot0001", &option),
        &option,
    );
    log.measure_data(
        4,
        EventType::EFI_ACTION,
        b"Calling EFI Application from Boot Option",
    );
    log.measure_data(
        5,
        EventType::EFI_GPT_EVENT,
        &gpt(Guid([1; 16]), Guid([2; 16]), Guid([3; 16]), "EFI"),
    );
    let image = image_load(0x7E00_0000, 0x12_3456, &path);
    log.measure(
        4,
        EventType::EFI_BOOT_SERVICES_APPLICATION,
        &image,
        b"boot loader",
    );
    log.measure(9, EventType::IPL, b"/boot/vmlinuz\0", b"kernel");
    log.measure(8, EventType::IPL, b"grub_cmd: boot\0", b"boot");
    log.measure(
        9,
        EventType::EVENT_TAG,
        &tagged(0x8F3B_22EC, b"initrd"),
        b"initrd",
    );
    log.finish()
}

#[test]
fn tpm2_eventlog_reads_what_is_written_and_replays_the_same_pcr() {
    let folder = tempfile::tempdir().unwrap();
    for locality in [0, 3] {
        let log = boot(locality);
        let file = folder.path().join("log");
        std::fs::write(&file, log.to_bytes()).unwrap();
        let output = Command::new("tpm2_eventlog").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{complaint}");
        assert!(!complaint.contains("ERROR"), "{complaint}");
        assert_eq!(text.matches("EventNum:").count(), log.events.len());
        for event in &log.events {
            let name = event.kind.name().unwrap();
            assert!(
                text.contains(&format!("EventType: {name}")),
                "{name} in {text}"
            );
        }
        for name in ["SecureBoot", "dbx", "BootOrder", "Boot0001"] {
            assert!(text.contains(name), "{name} in {text}");
        }
        for alg in BANKS {
            let bank = log.replay(alg).unwrap();
            for event in log
                .events
                .iter()
                .filter(|event| event.kind != EventType::NO_ACTION)
            {
                // This version of tpm2_eventlog leaves the locality out of account.
                if event.pcr == 0 && locality != 0 && !text.contains("StartupLocality") {
                    continue;
                }
                let value = hex::encode(bank.get(event.pcr).unwrap());
                assert!(text.contains(&value), "PCR {} {value} in {text}", event.pcr);
            }
        }
    }
}

#[test]
fn a_log_is_read_as_it_was_written() {
    let log = boot(3);
    let bytes = log.to_bytes();
    let again = EventLog::parse(&bytes).unwrap();
    assert_eq!(again, log);
    for padding in [0_u8, 0xFF] {
        let mut padded = bytes.clone();
        padded.extend([padding; 100]);
        assert_eq!(EventLog::parse(&padded).unwrap(), log);
    }
    let details: Vec<String> = log.events.iter().map(|e| e.detail().to_string()).collect();
    for text in [
        "log of 2 banks",
        "started at locality 3",
        "SecureBoot = on",
        "\\EFI\\BOOT\\BOOTX64.EFI",
        "1.0",
        "/boot/vmlinuz",
        "separator 00000000",
        "tag 0x8f3b22ec, 6 bytes",
    ] {
        assert!(
            details.iter().any(|detail| detail == text),
            "{text}: {details:#?}"
        );
    }
}

#[test]
fn the_older_form_is_read_and_replayed() {
    let agile = boot(0);
    let mut events: Vec<Event> = agile.events.into_iter().skip(1).collect();
    for event in &mut events {
        event
            .digests
            .retain(|digest| digest.algorithm == TpmAlgId::SHA1);
    }
    let old = EventLog {
        format: LogFormat::Sha1,
        banks: vec![(TpmAlgId::SHA1, 20)],
        events,
    };
    let read = EventLog::parse(&old.to_bytes()).unwrap();
    assert_eq!(read.format, LogFormat::Sha1);
    assert_eq!(
        read.replay(TpmiAlgHash::Sha1).unwrap(),
        boot(0).replay(TpmiAlgHash::Sha1).unwrap()
    );
    let error = read.replay(TpmiAlgHash::Sha256).unwrap_err();
    assert!(error.to_string().contains("no sha256 digest"), "{error}");
}

#[test]
fn the_locality_of_startup_is_in_pcr_0_and_nowhere_else() {
    let without = boot(0).replay(TpmiAlgHash::Sha256).unwrap();
    let with = boot(3).replay(TpmiAlgHash::Sha256).unwrap();
    for pcr in 0..PCR_COUNT {
        assert_eq!(without.get(pcr) != with.get(pcr), pcr == 0, "PCR {pcr}");
    }
    let mut log = boot(3);
    log.events.swap(1, 2);
    assert!(
        log.replay(TpmiAlgHash::Sha256)
            .unwrap_err()
            .fault
            .contains("locality")
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_its_event_and_its_place() {
    let log = boot(0);
    let good = log.to_bytes();
    let refused = |bytes: &[u8]| EventLog::parse(bytes).unwrap_err();
    // Cut anywhere but between two events, a log is refused at the event that is cut.
    for (event, next) in log.events.iter().zip(log.events.iter().skip(1)) {
        for cut in [event.offset + 5, event.offset + 17, next.offset - 1] {
            let error = refused(&good[..cut]);
            assert_eq!(
                (error.event, error.offset),
                (event.number, event.offset),
                "{error}"
            );
        }
    }
    assert!(refused(b"").fault.contains("empty"));
    assert!(refused(&vec![1; MAX_LOG + 1]).fault.contains("more than"));
    let second = log.events[1].offset;
    let altered = |at: usize, bytes: &[u8]| {
        let mut log = good.clone();
        log[at..at + bytes.len()].copy_from_slice(bytes);
        EventLog::parse(&log).unwrap_err()
    };
    // The count of digests, the algorithm of the first and of the second, and the size of the data.
    assert!(altered(second + 8, &[3, 0]).fault.contains("3 digests"));
    assert!(altered(second + 12, &[0x0C, 0]).fault.contains("0x000c"));
    assert!(altered(second + 34, &[4, 0]).fault.contains("two digests"));
    assert!(altered(second + 68, &[0xFF; 4]).fault.contains("more than"));
    // In the Spec ID event: the count of banks, and the size of the first one's digests.
    assert!(
        altered(32 + 24, &[0, 0, 0, 0])
            .fault
            .contains("names 0 banks")
    );
    assert!(
        altered(32 + 30, &[21, 0])
            .fault
            .contains("digests of 21 bytes")
    );
    assert!(
        altered(32 + 32, &[4, 0])
            .fault
            .contains("digests of 32 bytes")
    );
    let mut many = boot(0);
    let event = many.events.last().unwrap().clone();
    many.events.extend(std::iter::repeat_n(event, MAX_EVENTS));
    assert!(refused(&many.to_bytes()).to_string().contains("more than"));
}

#[test]
fn data_that_is_not_what_was_measured_is_noticed() {
    let log = boot(0);
    for event in &log.events {
        assert_eq!(event.contradiction(), None);
        let mut altered = event.clone();
        // Of a boot variable, the value alone may be what was measured; it is at the end.
        let place = match altered.kind {
            EventType::EFI_VARIABLE_BOOT => altered.data.len() - 1,
            _ => 12,
        };
        if let Some(byte) = altered.data.get_mut(place) {
            *byte ^= 1;
        }
        let is_checked = altered.kind.measures_its_data()
            || altered.kind == EventType::EFI_VARIABLE_BOOT
            || altered.data.starts_with(b"grub_cmd: ");
        let noticed = is_checked && altered != *event;
        assert_eq!(altered.contradiction().is_some(), noticed, "{}", event.kind);
    }
}

#[test]
fn an_event_that_extends_nothing_has_no_digest() {
    let mut log = boot(3);
    log.events[1].digests[1].bytes[7] = 1;
    let found = log.events[1].contradiction().unwrap();
    assert!(found.contains("extends nothing"), "{found}");
}

#[test]
fn pcr_that_do_not_exist_are_refused() {
    let mut log = boot(0);
    log.events[3].pcr = 24;
    let error = log.replay(TpmiAlgHash::Sha1).unwrap_err();
    assert_eq!(error.event, 3);
    assert!(error.fault.contains("no PCR 24"));
}

mod lists {
    use super::super::ima::{ImaEntry, ImaExtension, parse, replay};
    use super::*;

    /// Template data of `ima-ng` and `ima-sig`, by hand.
    fn data(path: &str, signature: Option<&[u8]>) -> Vec<u8> {
        let mut data = vec![40, 0, 0, 0];
        data.extend(b"sha256:\0");
        data.extend([0xAB; 32]);
        data.extend([u8::try_from(path.len() + 1).unwrap(), 0, 0, 0]);
        data.extend(path.as_bytes());
        data.push(0);
        if let Some(signature) = signature {
            data.extend([u8::try_from(signature.len()).unwrap(), 0, 0, 0]);
            data.extend(signature);
        }
        data
    }

    fn text(template: &str, path: &str, signature: Option<&[u8]>) -> String {
        let digest = hash(HashAlgorithm::Sha1, &[&data(path, signature)]);
        let signature = signature.map(|s| format!(" {}", hex::encode(s)));
        format!(
            "10 {} {template} sha256:{} {path}{}\n",
            hex::encode(&*digest),
            "ab".repeat(32),
            signature.unwrap_or_default()
        )
    }

    fn binary(template: &str, path: &str, signature: Option<&[u8]>) -> Vec<u8> {
        let data = data(path, signature);
        let mut out = vec![10, 0, 0, 0];
        out.extend_from_slice(&hash(HashAlgorithm::Sha1, &[&data]));
        out.extend([u8::try_from(template.len()).unwrap(), 0, 0, 0]);
        out.extend(template.as_bytes());
        out.extend([u8::try_from(data.len()).unwrap(), 0, 0, 0]);
        out.extend(data);
        out
    }

    #[test]
    fn both_forms_say_the_same() {
        for (template, path, signature) in [
            ("ima-ng", "/usr/bin/with blank", None),
            ("ima-sig", "/usr/bin/ls", Some(&[3, 2, 4, 5][..])),
            ("ima-sig", "/usr/bin/cat", Some(&[][..])),
        ] {
            let read = parse(text(template, path, signature).as_bytes()).unwrap();
            assert_eq!(read, parse(&binary(template, path, signature)).unwrap());
            let [
                ImaEntry {
                    path: got,
                    file_algorithm,
                    pcr: 10,
                    ..
                },
            ] = read.as_slice()
            else {
                panic!("{read:?}");
            };
            assert_eq!((got.as_str(), file_algorithm.as_str()), (path, "sha256"));
        }
    }

    #[test]
    fn the_oldest_template_pads_its_name() {
        let mut measured = vec![7; 20];
        measured.extend(b"/sbin/init");
        measured.resize(276, 0);
        let digest = hash(HashAlgorithm::Sha1, &[&measured]);
        let line = format!(
            "10 {} ima {} /sbin/init\n",
            hex::encode(&*digest),
            "07".repeat(20)
        );
        let read = parse(line.as_bytes()).unwrap();
        assert_eq!(read[0].path, "/sbin/init");
        let mut bytes = vec![10, 0, 0, 0];
        bytes.extend_from_slice(&digest);
        bytes.extend([3, 0, 0, 0]);
        bytes.extend(b"ima");
        bytes.extend([7; 20]);
        bytes.extend([10, 0, 0, 0]);
        bytes.extend(b"/sbin/init");
        assert_eq!(parse(&bytes).unwrap(), read);
    }

    #[test]
    fn a_list_is_replayed_as_kernels_extend() {
        let mut list = text("ima-ng", "/bin/a", None);
        list.push_str(&format!(
            "10 {} ima-ng sha1:{} /bin/b\n",
            "0".repeat(40),
            "0".repeat(40)
        ));
        let entries = parse(list.as_bytes()).unwrap();
        assert!(entries[1].is_violation());
        let own = hash(HashAlgorithm::Sha256, &[&data("/bin/a", None)]).to_vec();
        let mut padded = hash(HashAlgorithm::Sha1, &[&data("/bin/a", None)]).to_vec();
        padded.resize(32, 0);
        for (how, first) in [
            (ImaExtension::OwnDigest, own),
            (ImaExtension::PaddedSha1, padded),
        ] {
            let mut bank = PcrBank::new(TpmiAlgHash::Sha256);
            replay(&entries, &mut bank, how).unwrap();
            let one = hash(HashAlgorithm::Sha256, &[&[0; 32], &first]);
            let two = hash(HashAlgorithm::Sha256, &[&one, &[0xFF; 32]]);
            assert_eq!(bank.get(10).unwrap(), &*two);
        }
    }

    #[test]
    fn altered_and_cut_lists_are_refused() {
        let good = text("ima-ng", "/bin/a", None) + &text("ima-ng", "/bin/b", None);
        let error = parse(good.replace("/bin/b", "/bin/c").as_bytes()).unwrap_err();
        assert_eq!((error.event, error.offset), (1, good.len() / 2));
        let mut bytes = binary("ima-sig", "/bin/a", Some(&[1]));
        let whole = bytes.len();
        for cut in [3, 20, 30, whole - 1] {
            assert!(parse(&bytes[..cut]).is_err(), "{cut}");
        }
        bytes[whole - 3] = 9;
        assert!(parse(&bytes).is_err());
        assert!(parse(b"10 xyz ima-ng sha1:00 /bin/a").is_err());
        assert!(parse(good.replace("ima-ng", "evm-sig").as_bytes()).is_err());
    }
}

#[test]
fn every_byte_of_what_is_told_of_a_piece_of_firmware_is_in_its_text() {
    let data = super::data::firmware_blob("PEI volume", 0x82_0000, 0x1_0000);
    let told = |data: &[u8]| {
        let event = Event {
            number: 1,
            offset: 0,
            pcr: 0,
            kind: EventType::EFI_PLATFORM_FIRMWARE_BLOB2,
            digests: Vec::new(),
            data: data.to_vec(),
        };
        event.detail().to_string()
    };
    assert_eq!(told(&data), "PEI volume, 0x10000 bytes at 0x820000");
    for at in 0..data.len() {
        let mut changed = data.clone();
        changed[at] ^= 1;
        assert_ne!(told(&changed), told(&data), "byte {at}");
    }
    assert_ne!(told(&[&data[..], &[0]].concat()), told(&data));
}
