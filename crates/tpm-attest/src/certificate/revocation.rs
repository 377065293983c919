//! Lists of revoked certificates (RFC 5280, 5).

use std::time::SystemTime;

use der::Encode;
use der::asn1::Uint;
use rand_core::CryptoRng;
use x509_cert::certificate::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::ToExtension;
use x509_cert::ext::pkix::{CrlNumber, CrlReason};
use x509_cert::time::Time;

use super::authority::Authority;
use super::issue::serial_bytes;
use crate::Error;

/// Why a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    /// The key is in other hands.
    KeyCompromise,
    /// Another certificate took its place.
    Superseded,
    /// The TPM is no more: it was removed, or replaced by a new one.
    CessationOfOperation,
}

/// A certificate that is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its serial number.
    pub serial: u128,
    /// Since when.
    pub since: SystemTime,
    /// Why.
    pub reason: RevocationReason,
}

impl Authority {
    /// A list of what this authority has revoked; `number` must be larger than that of every list before.
    ///
    /// # Errors
    /// If the list cannot be made.
    pub fn revocation_list(
        &self,
        number: u64,
        revoked: &[Revocation],
        this_update: SystemTime,
        next_update: SystemTime,
        rng: &mut impl CryptoRng,
    ) -> Result<CertificateList, Error> {
        // Not by the library's builder, which takes the issuer's own issuer for the one that signs.
        let number = CrlNumber(Uint::new(&number.to_be_bytes())?);
        let subject = self.subject();
        let entries = revoked
            .iter()
            .map(|entry| self.entry(entry))
            .collect::<Result<Vec<_>, _>>()?;
        let tbs_cert_list = TbsCertList {
            version: Version::V2,
            signature: self.key().signature_algorithm(),
            issuer: subject.clone(),
            this_update: Time::try_from(this_update)?,
            next_update: Some(Time::try_from(next_update)?),
            // An empty list must be left out (RFC 5280, 5.1.2.6).
            revoked_certificates: (!entries.is_empty()).then_some(entries),
            crl_extensions: Some(vec![
                (false, &self.key_identifier()?).to_extension(subject, &[])?,
                (false, &number).to_extension(subject, &[])?,
            ]),
        };
        let signature = self.key().sign(&tbs_cert_list.to_der()?, rng)?;
        Ok(CertificateList {
            signature_algorithm: tbs_cert_list.signature.clone(),
            tbs_cert_list,
            signature,
        })
    }

    fn entry(&self, revocation: &Revocation) -> Result<RevokedCert, Error> {
        let reason = match revocation.reason {
            RevocationReason::KeyCompromise => CrlReason::KeyCompromise,
            RevocationReason::Superseded => CrlReason::Superseded,
            RevocationReason::CessationOfOperation => CrlReason::CessationOfOperation,
        };
        Ok(RevokedCert {
            serial_number: serial_bytes(revocation.serial)?,
            revocation_date: Time::try_from(revocation.since)?,
            crl_entry_extensions: Some(vec![(false, &reason).to_extension(self.subject(), &[])?]),
        })
    }
}
