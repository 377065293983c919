//! The files of tpm2-tools and keylime.

use std::process::Command;

use tpm_wire::object::Tpm2bPublic;

use super::*;

#[test]
fn tpm2_checkquote_accepts_our_quotes_and_we_read_its_file() {
    let mut tpm = started();
    boot(&mut tpm, b"kernel");
    for algorithm in [
        AttestationAlgorithm::EcdsaP256,
        AttestationAlgorithm::Rsassa2048,
    ] {
        let evidence = quoted(&mut tpm, algorithm, QUESTION);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key = Tpm2bPublic(public_area(&evidence.attestation_key.0).unwrap());
        let selection = attester::selection("sha256:0,1,2,3,4,5,6,7,8,9,14,23").unwrap();
        let values = evidence.pcr_values().unwrap();
        let file = write_pcr_file(&selection, &values);
        assert_eq!(read_pcr_file(&file).unwrap(), values);
        std::fs::write(path("ak"), key.to_bytes()).unwrap();
        std::fs::write(path("pcrs"), &file).unwrap();
        std::fs::write(path("message"), &evidence.quote.message.0).unwrap();
        std::fs::write(path("signature"), &evidence.quote.signature.0).unwrap();
        let check = |nonce: &[u8]| {
            let output = Command::new("tpm2_checkquote")
                .current_dir(folder.path())
                .args([
                    "-u",
                    "ak",
                    "-m",
                    "message",
                    "-s",
                    "signature",
                    "-f",
                    "pcrs",
                    "-g",
                    "sha256",
                ])
                .args(["-q", &hex::encode(nonce)])
                .output()
                .unwrap();
            (
                output.status.success(),
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )
        };
        let (accepted, said) = check(&evidence.nonce.0);
        assert!(accepted, "{said}");
        assert!(!check(b"another question").0);
    }
}

#[test]
fn keylimes_request_carries_the_quote() {
    let mut scene = Scene::new(EkTemplate::L2);
    let evidence = scene.evidence(QUESTION);
    let golden = [(4, vec!["00".repeat(32)])].into();
    let request = keylime_request(&evidence, &golden).unwrap();
    assert_eq!(request["type"], "tpm");
    assert_eq!(request["data"]["hash_alg"], "sha256");
    assert_eq!(
        request["data"]["quote"]
            .as_str()
            .unwrap()
            .matches(':')
            .count(),
        2
    );
    let mut lonely = evidence;
    lonely.endorsement = None;
    assert!(
        keylime_request(&lonely, &golden)
            .unwrap_err()
            .contains("endorsement")
    );
}

#[test]
fn a_pcr_file_that_makes_no_sense_is_refused() {
    let mut tpm = started();
    let selection = attester::selection("sha1:1+sha256:0,1,2,3,4,5,6,7,8").unwrap();
    let values = attester::read_pcrs(&mut client(&mut tpm), &selection).unwrap();
    let good = write_pcr_file(&selection, &values);
    assert_eq!(read_pcr_file(&good).unwrap(), values);
    for cut in [0, 3, 100, 135, 200, good.len() - 1] {
        assert!(read_pcr_file(&good[..cut]).is_err(), "{cut}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(read_pcr_file(&longer).is_err());
    for (at, byte) in [(0, 17), (4, 0xFF), (6, 4), (7, 0), (136, 7), (140, 0xFF)] {
        let mut altered = good.clone();
        altered[at] = byte;
        assert!(read_pcr_file(&altered).is_err(), "{at}");
    }
    for bad in [
        "sha256",
        "sha256:24",
        "sha256:x",
        "md5:0",
        "sha256:0+sha256:",
    ] {
        assert!(attester::selection(bad).is_err(), "{bad}");
    }
}
