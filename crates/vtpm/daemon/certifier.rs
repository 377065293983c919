//! Makes certificates for the inventory, to which they are bytes, and puts them into TPMs.

use std::time::{Duration, SystemTime};

use tpm_attest::Error;
use tpm_attest::attester::{self, AttestationAlgorithm, LoadedKey};
use tpm_attest::certificate::{
    self, Authority, AuthorityAlgorithm, AuthorityNames, Certificate, Facts, Lifetime, Locations,
    Name, PlatformIdentity, Purpose, Request, Revocation, RevocationReason, SigningKey,
    TpmIdentity, common_name, random_serial, serial_number_name, to_der, validity_start,
};
use tpm_attest::client::{Client, Transmit};
use tpm_attest::credential::object_name;
use tpm_attest::device::{self, DeviceKey};
use tpm_attest::ek::{CHAIN, EkTemplate, KeyAlgorithm, PLATFORM_CERTIFICATE, Usage};
use tpm_attest::verify::public_area;
use tpm_crypto::hash::HashAlgorithm;
use tpm_engine::Tpm;
use tpm_wire::algorithm::{TpmiAlgHash, TpmtSignature};
use tpm_wire::codec::Marshal as _;
use tpm_wire::commands::{Shutdown, Startup};
use tpm_wire::constants::TpmSu;
use vm_inventory::certificates::{
    self as kept, CertificateFacts, Certified, Certifier, Der, DeviceKeyKind, EkAlgorithm,
    EndorsementKey, IssuedCertificate, Issuer, NewAuthority, PrivateKey, Revoked, SignatureHash,
    TpmCertificates, WantedDeviceKey,
};
use vm_inventory::{TpmBytes, TpmMakerError};

use super::maker::{EngineMaker, guarded, load};

/// How long an authority of a vCenter signs.
const AUTHORITY_DAYS: u32 = 25 * 365;
/// How long a list of revoked certificates counts.
const LIST_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most bytes of the chain in one NV Index, which every profile has room for.
const LARGEST_CHAIN: usize = 2048;

type Result<T, E = TpmMakerError> = std::result::Result<T, E>;

impl Certifier for EngineMaker {
    fn new_authority(&self, vcenter: &str) -> Result<NewAuthority> {
        let names = AuthorityNames {
            root: name(vcenter, "root")?,
            issuer: name(vcenter, "issuing")?,
        };
        let lifetime = Lifetime::Days(AUTHORITY_DAYS);
        let algorithm = AuthorityAlgorithm::EcdsaP256;
        let (root, issuer) = Authority::root_and_issuer(
            &names,
            algorithm,
            validity_start(),
            lifetime,
            &mut rand::rng(),
        )
        .map_err(said)?;
        Ok(NewAuthority {
            root_key: private(root.key())?,
            issuer_key: private(issuer.key())?,
            chain: vec![der(issuer.certificate())?, der(root.certificate())?],
        })
    }

    fn authority_request(&self, vcenter: &str) -> Result<(PrivateKey, Der)> {
        let key = SigningKey::generate(AuthorityAlgorithm::EcdsaP256, &mut rand::rng());
        let request = key
            .certificate_request(name(vcenter, "issuing")?, &mut rand::rng())
            .map_err(said)?;
        Ok((
            private(&key)?,
            Der(certificate::pem_bytes(&request).map_err(said)?),
        ))
    }

    fn accept_authority(&self, key: &[u8], certificates: &str) -> Result<Vec<Der>> {
        let key = SigningKey::from_pem(key, None).map_err(said)?;
        let chain = certificate::read_all(certificates.as_bytes())
            .and_then(|all| certificate::chain_of(&key, all))
            .map_err(said)?;
        chain.iter().map(der).collect()
    }

    fn certify(
        &self,
        state: &[u8],
        issuer: Option<Issuer<'_>>,
        keys: &[EkAlgorithm],
        hardware_version: u16,
    ) -> Result<Certified> {
        guarded(|| {
            let mut tpm = load(state)?;
            let authority = issuer.map(authority_of).transpose()?;
            let work = Work {
                authority: authority.as_ref(),
                chain: issuer.map_or(&[], |issuer| issuer.chain),
                hardware_version,
            };
            let mut certified = work.certify(&mut tpm, keys).map_err(said)?;
            certified.state = tpm.permanent_state();
            Ok(certified)
        })
    }

    fn set_certificate(
        &self,
        state: &[u8],
        certificate: &str,
    ) -> Result<(TpmBytes, EndorsementKey)> {
        guarded(|| {
            let given = read_given(certificate)?;
            let mut tpm = load(state)?;
            let key = put(&mut tpm, &given).map_err(said)?;
            Ok((tpm.permanent_state(), key))
        })
    }

    fn device_keys(
        &self,
        state: &[u8],
        issuer: Issuer<'_>,
        wanted: &[WantedDeviceKey],
    ) -> Result<(TpmBytes, Vec<kept::DeviceKey>)> {
        guarded(|| {
            let authority = authority_of(issuer)?;
            let mut tpm = load(state)?;
            start(&mut tpm).map_err(said)?;
            let keys: Result<_, Error> = wanted
                .iter()
                .map(|wanted| make_device_key(&mut tpm, &authority, *wanted))
                .collect();
            let keys = keys.map_err(said)?;
            stop(&mut tpm).map_err(said)?;
            Ok((tpm.permanent_state(), keys))
        })
    }

    fn set_device_certificate(
        &self,
        state: &[u8],
        certificate: &str,
        known: &[kept::DeviceKey],
    ) -> Result<(TpmBytes, kept::DeviceKey)> {
        guarded(|| {
            let given = read_given(certificate)?;
            let mut tpm = load(state)?;
            let key = put_for_device_key(&mut tpm, &given, known).map_err(said)?;
            Ok((tpm.permanent_state(), key))
        })
    }

    fn facts(&self, certificate: &Der) -> Result<CertificateFacts> {
        Facts::of_der(&certificate.0).map(facts).map_err(said)
    }

    fn signer(
        &self,
        pem: &str,
        hash: SignatureHash,
        message: &[u8],
        signature: &[u8],
    ) -> Result<CertificateFacts> {
        let signer = certificate::read(pem.as_bytes()).map_err(said)?;
        let hash = match hash {
            SignatureHash::Sha1 => HashAlgorithm::Sha1,
            SignatureHash::Sha256 => HashAlgorithm::Sha256,
            SignatureHash::Sha512 => HashAlgorithm::Sha512,
        };
        certificate::check_signature(&signer, hash, message, signature).map_err(said)?;
        Facts::of(&signer).map(facts).map_err(said)
    }

    fn revocation_list(&self, issuer: Issuer<'_>, number: u64, revoked: &[Revoked]) -> Result<Der> {
        let authority = authority_of(issuer)?;
        let revocations: Vec<Revocation> = revoked
            .iter()
            .filter_map(|entry| {
                Some(Revocation {
                    serial: u128::from_str_radix(&entry.serial, 16).ok()?,
                    since: SystemTime::UNIX_EPOCH + Duration::from_secs(entry.since.0),
                    reason: RevocationReason::CessationOfOperation,
                })
            })
            .collect();
        let start = validity_start();
        let list = authority
            .revocation_list(
                number,
                &revocations,
                start,
                start + LIST_LIFETIME,
                &mut rand::rng(),
            )
            .and_then(|list| certificate::list_to_der(&list))
            .map_err(said)?;
        Ok(Der(list))
    }
}

/// What is done to one TPM.
struct Work<'a> {
    authority: Option<&'a Authority>,
    chain: &'a [Der],
    hardware_version: u16,
}

impl Work<'_> {
    /// Starts the TPM, gives it certificates, and shuts it down.
    fn certify(&self, tpm: &mut Tpm, keys: &[EkAlgorithm]) -> Result<Certified, Error> {
        start(tpm)?;
        let identity = TpmIdentity::read(&mut client(tpm))?;
        let mut certified = Certified {
            state: TpmBytes::default(),
            ek_name: String::new(),
            certificates: TpmCertificates::default(),
            notes: Vec::new(),
        };
        // The first key names the TPM, whether it is to have a certificate or not.
        let first = endorsement_key(tpm, EkTemplate::L1)?;
        certified.ek_name = hex::encode(&*object_name(&first.public)?);
        let mut first = Some(first);
        for algorithm in keys {
            let template = template(*algorithm);
            let key = match first.take_if(|_| template == EkTemplate::L1) {
                Some(first) => first,
                None => match endorsement_key(tpm, template) {
                    Ok(key) => key,
                    // Profiles need not have every algorithm.
                    Err(Error::Refused { code, .. }) => {
                        certified.notes.push(format!(
                            "its profile has no {algorithm} endorsement key: {code}"
                        ));
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            self.add(
                tpm,
                &identity,
                *algorithm,
                &key,
                &mut certified.certificates,
            )?;
            attester::release(&mut client(tpm), &key)?;
        }
        if let Some(first) = first {
            attester::release(&mut client(tpm), &first)?;
        }
        self.add_chain(tpm)?;
        stop(tpm)?;
        Ok(certified)
    }

    fn add(
        &self,
        tpm: &mut Tpm,
        identity: &TpmIdentity,
        algorithm: EkAlgorithm,
        key: &LoadedKey,
        certificates: &mut TpmCertificates,
    ) -> Result<(), Error> {
        let purpose = Purpose::Endorsement {
            tpm: identity,
            usage: Usage::Decrypt,
        };
        let wanted = request(&key.public, purpose);
        let pkcs10 = signed_request(tpm, key, &wanted)?;
        let index = template(algorithm).indices().certificate;
        let certificate = self.issue(tpm, &wanted, index)?;
        certificates.keys.push(EndorsementKey {
            algorithm,
            request: Der(pkcs10),
            certificate,
        });
        if certificates.platform.is_none() {
            let platform = PlatformIdentity {
                manufacturer: "vtpm".to_owned(),
                model: "virtual machine".to_owned(),
                version: format!("vmx-{}", self.hardware_version),
            };
            let purpose = Purpose::Platform {
                tpm: identity,
                platform: &platform,
                usage: Usage::Decrypt,
            };
            let wanted = request(&key.public, purpose);
            certificates.platform = self.issue(tpm, &wanted, PLATFORM_CERTIFICATE)?;
        }
        Ok(())
    }

    /// A certificate, in its NV Index; none without an authority.
    fn issue(
        &self,
        tpm: &mut Tpm,
        request: &Request<'_>,
        index: u32,
    ) -> Result<Option<IssuedCertificate>, Error> {
        let Some(authority) = self.authority else {
            return Ok(None);
        };
        let certificate = authority.issue(request, &mut rand::rng())?;
        let issued = issued(&certificate, index)?;
        client(tpm).replace_certificate(index, &issued.der.0)?;
        Ok(Some(issued))
    }

    /// Puts the issuer's certificate and those above it where guests look for them.
    fn add_chain(&self, tpm: &mut Tpm) -> Result<(), Error> {
        let mut chain = Vec::new();
        for certificate in self.chain {
            if chain.len() + certificate.0.len() > LARGEST_CHAIN {
                break;
            }
            chain.extend_from_slice(&certificate.0);
        }
        if chain.is_empty() {
            return Ok(());
        }
        client(tpm).replace_certificate(CHAIN, &chain)
    }
}

/// Puts a certificate of another authority into a TPM.
fn put(tpm: &mut Tpm, given: &Certificate) -> Result<EndorsementKey, Error> {
    start(tpm)?;
    let mut others = Vec::new();
    for algorithm in EkAlgorithm::ALL {
        if !certificate::may_certify(given, key_algorithm(algorithm)) {
            continue;
        }
        let template = template(algorithm);
        let key = endorsement_key(tpm, template)?;
        if certificate::certifies(given, &key.public)? {
            prove(tpm, &key)?;
            let identity = TpmIdentity::read(&mut client(tpm))?;
            let purpose = Purpose::Endorsement {
                tpm: &identity,
                usage: Usage::Decrypt,
            };
            let pkcs10 = signed_request(tpm, &key, &request(&key.public, purpose))?;
            let index = template.indices().certificate;
            let issued = issued(given, index)?;
            client(tpm).replace_certificate(index, &issued.der.0)?;
            attester::release(&mut client(tpm), &key)?;
            stop(tpm)?;
            return Ok(EndorsementKey {
                algorithm,
                request: Der(pkcs10),
                certificate: Some(issued),
            });
        }
        attester::release(&mut client(tpm), &key)?;
        others.push(algorithm.as_str());
    }
    Err(Error::Certificate(match others.first() {
        Some(algorithm) => format!(
            "it is for another key than the {algorithm} endorsement key of this TPM; have the request of `vtpm vm ek csr` signed"
        ),
        None => "it is for no kind of key that a TPM has: RSA 2048, 3072 or 4096, P-256 or P-384"
            .to_owned(),
    }))
}

/// Lets the TPM show that it has an endorsement key.
fn prove(tpm: &mut Tpm, key: &LoadedKey) -> Result<(), Error> {
    let mut client = client(tpm);
    let object = attester::attestation_key(&mut client, AttestationAlgorithm::EcdsaP256)?;
    device::prove_possession(&mut client, key, &object, &mut rand::rng())?;
    attester::release(&mut client, &object)
}

/// Makes a key that the TPM shows to have, keeps it in the TPM, and certifies it.
fn make_device_key(
    tpm: &mut Tpm,
    authority: &Authority,
    wanted: WantedDeviceKey,
) -> Result<kept::DeviceKey, Error> {
    let which = device_key(wanted.kind);
    let algorithm = key_algorithm(wanted.algorithm);
    let shown = device::make(&mut client(tpm), which, algorithm, &mut rand::rng())?;
    let key = shown.key;
    let identity = TpmIdentity::read(&mut client(tpm))?;
    let ek_certificate = shown.endorsement.certificate.unwrap_or_default();
    let serial = identity.serial_number(&certificate::read(&ek_certificate.0)?)?;
    let (purpose, subject) = match which {
        // Known by its TPM, as the endorsement key is.
        DeviceKey::Attestation => (Purpose::Attestation { tpm: &identity }, Name::default()),
        // A device has a subject of its own (802.1AR, 8.6): here the digest in the Name of its endorsement key, which a copy has, too.
        DeviceKey::InitialAttestation | DeviceKey::InitialIdentity => {
            let ek = public_area(&shown.endorsement.public.0).map_err(Error::Certificate)?;
            let name = object_name(&ek)?;
            let digest = hex::encode(name.get(2..).unwrap_or_default());
            let subject: String = digest.chars().take(64).collect();
            (
                Purpose::Device { serial: &serial },
                serial_number_name(&subject)?,
            )
        }
    };
    let wanted_certificate = Request {
        subject,
        ..request(&key.public, purpose)
    };
    let pkcs10 = signed_request(tpm, &key, &wanted_certificate)?;
    let index = which.certificate_index(algorithm);
    let certificate = issued(
        &authority.issue(&wanted_certificate, &mut rand::rng())?,
        index,
    )?;
    client(tpm).replace_certificate(index, &certificate.der.0)?;
    if let Some(index) = which.template_index(algorithm) {
        let template = which.template(algorithm)?.to_bytes();
        client(tpm).replace_certificate(index, &template)?;
    }
    device::keep(&mut client(tpm), which, &key)?;
    Ok(kept::DeviceKey {
        kind: wanted.kind,
        algorithm: wanted.algorithm,
        handle: which.handle().0,
        name: hex::encode(&*object_name(&key.public)?),
        public: Der(device::public_file(&key.public)),
        request: Der(pkcs10),
        certificate,
    })
}

const fn device_key(kind: DeviceKeyKind) -> DeviceKey {
    match kind {
        DeviceKeyKind::Ak => DeviceKey::Attestation,
        DeviceKeyKind::Iak => DeviceKey::InitialAttestation,
        DeviceKeyKind::Idevid => DeviceKey::InitialIdentity,
    }
}

/// Puts a certificate of another authority for a key that was made on request into a TPM, which makes the key once more and shows that
/// it is in it.
fn put_for_device_key(
    tpm: &mut Tpm,
    given: &Certificate,
    known: &[kept::DeviceKey],
) -> Result<kept::DeviceKey, Error> {
    let mut found = None;
    for one in known {
        let public = public_area(&one.public.0).map_err(Error::Certificate)?;
        if certificate::certifies(given, &public)? {
            found = Some((one, public));
        }
    }
    let Some((known, public)) = found else {
        let kinds: Vec<_> = known.iter().map(|one| one.kind.as_str()).collect();
        return Err(Error::Certificate(format!(
            "it is for another key than the {} of this TPM; have the request of `vtpm vm identity csr` signed",
            kinds.join(" and the ")
        )));
    };
    let which = device_key(known.kind);
    let algorithm = key_algorithm(known.algorithm);
    start(tpm)?;
    let shown = device::make(&mut client(tpm), which, algorithm, &mut rand::rng())?;
    if shown.key.public != public {
        return Err(Error::Certificate(format!(
            "the TPM does not make the {} any more that it is for: its endorsement hierarchy was changed",
            known.kind
        )));
    }
    let certificate = issued(given, which.certificate_index(algorithm))?;
    client(tpm).replace_certificate(certificate.nv_index, &certificate.der.0)?;
    device::keep(&mut client(tpm), which, &shown.key)?;
    stop(tpm)?;
    Ok(kept::DeviceKey {
        certificate,
        ..known.clone()
    })
}

/// The request for a key's certificate, with a signature that commands would not give.
fn signed_request(tpm: &mut Tpm, key: &LoadedKey, request: &Request<'_>) -> Result<Vec<u8>, Error> {
    request.signing_request(
        |hash: TpmiAlgHash, digest: &[u8]| -> Result<TpmtSignature, Error> {
            tpm.sign_as_manufacturer(key.handle, hash, digest)
                .map_err(|code| Error::Refused {
                    command: "Sign",
                    about: " for a certificate request".to_owned(),
                    code,
                })
        },
    )
}

/// A request as every TPM gets it: the alternative name describes the TPM, so that a copy of the VM has no foreign name in it.
fn request<'a>(key: &'a tpm_wire::object::TpmtPublic, purpose: Purpose<'a>) -> Request<'a> {
    Request {
        key,
        purpose,
        subject: Name::default(),
        serial: random_serial(&mut rand::rng()),
        start: validity_start(),
        lifetime: Lifetime::Endless,
    }
}

fn client(tpm: &mut Tpm) -> Client<impl Transmit + '_> {
    Client::new(|command: &[u8]| Ok(tpm.execute(command).to_vec()))
}

fn start(tpm: &mut Tpm) -> Result<(), Error> {
    client(tpm)
        .run(&Startup {
            startup_type: TpmSu::Clear,
        })
        .map(drop)
}

fn stop(tpm: &mut Tpm) -> Result<(), Error> {
    client(tpm)
        .run(&Shutdown {
            shutdown_type: TpmSu::Clear,
        })
        .map(drop)
}

fn endorsement_key(tpm: &mut Tpm, template: EkTemplate) -> Result<LoadedKey, Error> {
    attester::endorsement_key(&mut client(tpm), template)
}

const fn template(algorithm: EkAlgorithm) -> EkTemplate {
    EkTemplate::usual(key_algorithm(algorithm))
}

const fn key_algorithm(algorithm: EkAlgorithm) -> KeyAlgorithm {
    match algorithm {
        EkAlgorithm::Rsa2048 => KeyAlgorithm::Rsa2048,
        EkAlgorithm::Rsa3072 => KeyAlgorithm::Rsa3072,
        EkAlgorithm::Rsa4096 => KeyAlgorithm::Rsa4096,
        EkAlgorithm::Secp256r1 => KeyAlgorithm::EccP256,
        EkAlgorithm::Secp384r1 => KeyAlgorithm::EccP384,
    }
}

fn authority_of(issuer: Issuer<'_>) -> Result<Authority> {
    let key = SigningKey::from_pem(issuer.key, None).map_err(said)?;
    let certificate = issuer
        .chain
        .first()
        .ok_or_else(|| TpmMakerError("it has no certificate".to_owned()))?;
    let mut authority = certificate::read(&certificate.0)
        .and_then(|certificate| Authority::from_parts(key, certificate))
        .map_err(said)?;
    authority.locations = Locations {
        certificate: issuer.published.map(|url| format!("{url}/issuer.cer")),
        revocations: issuer.published.map(|url| format!("{url}/revoked.crl")),
    };
    Ok(authority)
}

/// A certificate as PEM, or as base64 of DER.
fn read_given(text: &str) -> Result<Certificate> {
    if text.contains("-----BEGIN") {
        return certificate::read(text.as_bytes()).map_err(said);
    }
    let bytes = Der::try_from(text.split_whitespace().collect::<String>());
    let bytes = bytes.map_err(|error| TpmMakerError(format!("the certificate: {error}")))?;
    certificate::read(&bytes.0).map_err(said)
}

fn issued(certificate: &Certificate, nv_index: u32) -> Result<IssuedCertificate, Error> {
    Ok(IssuedCertificate {
        der: Der(to_der(certificate)?),
        nv_index,
        facts: facts(Facts::of(certificate)?),
    })
}

fn facts(facts: Facts) -> CertificateFacts {
    CertificateFacts {
        subject: facts.subject,
        issuer: facts.issuer,
        serial: facts.serial,
        not_before: facts.not_before,
        not_after: facts.not_after,
        fingerprint: facts.fingerprint,
    }
}

fn name(vcenter: &str, role: &str) -> Result<Name> {
    // A common name has 64 characters at most.
    let short: String = vcenter.chars().take(32).collect();
    common_name(&format!("{short} TPM {role} authority")).map_err(said)
}

fn private(key: &SigningKey) -> Result<PrivateKey> {
    let pem = key.to_pem(None, &mut rand::rng()).map_err(said)?;
    Ok(pem.as_bytes().to_vec().into())
}

fn der(certificate: &Certificate) -> Result<Der> {
    to_der(certificate).map(Der).map_err(said)
}

fn said(error: Error) -> TpmMakerError {
    TpmMakerError(error.to_string())
}
