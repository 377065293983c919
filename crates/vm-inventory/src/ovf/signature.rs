//! Certificate files: who signed the manifest of a package (DSP0243, clause 5.1).

use super::manifest::{Algorithm, parse_line};
use crate::certificates::{CertificateFacts, SignatureHash};
use crate::model::Timestamp;

const BEGIN: &str = "-----BEGIN ";
const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
const END_CERTIFICATE: &str = "-----END CERTIFICATE-----";

/// What a certificate file says: the signature of the manifest, and the certificate of the key that made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Signature {
    /// The manifest.
    pub(crate) manifest: String,
    /// The hash that was signed.
    pub(crate) hash: SignatureHash,
    /// The signature.
    pub(crate) bytes: Vec<u8>,
    /// The certificate, as PEM.
    pub(crate) certificate: String,
    /// There are further blocks, which nobody looks at: certificates of authorities, time stamps.
    pub(crate) more: bool,
}

/// Checks that the signature is one of the manifest by the key of the certificate; says what the certificate says, or what is wrong.
/// Where nobody can tell, it is `None`.
pub(crate) type SignatureCheck<'a> =
    &'a dyn Fn(&Signature, &[u8]) -> Option<Result<CertificateFacts, String>>;

impl Signature {
    /// Reads a certificate file; the error says what is wrong with it.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let (line, rest) = text.trim_start().split_once('\n').unwrap_or((text, ""));
        let (manifest, algorithm, digits) = parse_line(line.trim())
            .ok_or("its first line is not of the form SHA256(manifest)= digits")?;
        let bytes = from_hex(digits)
            .filter(|bytes| !bytes.is_empty())
            .ok_or("the signature in its first line is not of hexadecimal digits")?;
        let (_, certificate) = rest
            .split_once(BEGIN_CERTIFICATE)
            .ok_or("it has no certificate")?;
        let (certificate, after) = certificate
            .split_once(END_CERTIFICATE)
            .ok_or("its certificate has no end")?;
        Ok(Self {
            manifest: manifest.to_owned(),
            hash: match algorithm {
                Algorithm::Sha1 => SignatureHash::Sha1,
                Algorithm::Sha256 => SignatureHash::Sha256,
                Algorithm::Sha512 => SignatureHash::Sha512,
            },
            bytes,
            certificate: format!("{BEGIN_CERTIFICATE}{certificate}{END_CERTIFICATE}\n"),
            more: after.contains(BEGIN),
        })
    }

    /// What people are told of a signature that is right.
    pub(crate) fn words(&self, facts: &CertificateFacts, now: Timestamp) -> String {
        let CertificateFacts {
            subject,
            issuer,
            fingerprint,
            ..
        } = facts;
        let by = if subject == issuer {
            "a certificate that it issued itself".to_owned()
        } else {
            format!("a certificate of {issuer}")
        };
        let from = facts.not_before > now.0;
        let until = facts.not_after.is_some_and(|end| end < now.0);
        let time = match (from, until) {
            (true, _) => ", not valid yet",
            (_, true) => ", no longer valid",
            _ => "",
        };
        let weak = match self.hash {
            SignatureHash::Sha1 => "; SHA-1 is weak",
            SignatureHash::Sha256 | SignatureHash::Sha512 => "",
        };
        let more = if self.more {
            "; what else is in the file was not looked at"
        } else {
            ""
        };
        format!(
            "the manifest is signed by {subject}, with {by}{time} (SHA-256 {fingerprint}); whom to trust is yours to say{weak}{more}"
        )
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_standard_is_read_and_nothing_else() {
        let pem = format!("{BEGIN_CERTIFICATE}\nMIIB\n{END_CERTIFICATE}\n");
        let text = format!("SHA256(a (1).mf)= 00fF10\r\n{pem}");
        let signature = Signature::read(text.as_bytes()).unwrap();
        assert_eq!(signature.manifest, "a (1).mf");
        assert_eq!(signature.hash, SignatureHash::Sha256);
        assert_eq!(signature.bytes, [0, 0xff, 0x10]);
        assert_eq!(signature.certificate, pem);
        assert!(!signature.more);
        let long = format!("{text}-----BEGIN CMS-----\nMIIB\n-----END CMS-----\n");
        assert!(Signature::read(long.as_bytes()).unwrap().more);
        for (bad, words) in [
            (pem.clone(), "first line"),
            (format!("MD5(a.mf)= 00\n{pem}"), "first line"),
            (format!("SHA1(a.mf)= \n{pem}"), "hexadecimal"),
            (format!("SHA1(a.mf)= 000\n{pem}"), "hexadecimal"),
            (format!("SHA1(a.mf)= 0g\n{pem}"), "hexadecimal"),
            (format!("SHA1(a.mf)= é0\n{pem}"), "hexadecimal"),
            ("SHA1(a.mf)= 00".to_owned(), "no certificate"),
            (
                format!("SHA1(a.mf)= 00\n{BEGIN_CERTIFICATE}\nMIIB"),
                "no end",
            ),
        ] {
            let said = Signature::read(bad.as_bytes()).unwrap_err();
            assert!(said.contains(words), "{bad}: {said}");
        }
        assert!(Signature::read(b"\xff").is_err());
    }

    #[test]
    fn words_say_who_and_what_is_doubtful() {
        let signature = Signature {
            manifest: "a.mf".to_owned(),
            hash: SignatureHash::Sha1,
            bytes: vec![1],
            certificate: String::new(),
            more: true,
        };
        let facts = CertificateFacts {
            subject: "CN=maker".to_owned(),
            issuer: "CN=maker".to_owned(),
            serial: "01".to_owned(),
            not_before: 10,
            not_after: Some(20),
            fingerprint: "ab".to_owned(),
        };
        let words = |now| signature.words(&facts, Timestamp(now));
        assert!(words(15).contains("signed by CN=maker") && words(15).contains("itself"));
        assert!(words(15).contains("weak") && words(15).contains("not looked at"));
        assert!(!words(15).contains("valid") && words(21).contains("no longer valid"));
        assert!(words(9).contains("not valid yet"));
    }
}
