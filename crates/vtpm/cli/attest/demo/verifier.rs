//! The verifier of the story, and what it asks of a machine.

use std::time::{Duration, SystemTime};

use tpm_attest::attester::{self, AttestationAlgorithm};
use tpm_attest::certificate::{
    self, Authority, AuthorityAlgorithm, AuthorityNames, Certificate, Lifetime, Purpose, Request,
    TpmIdentity, common_name, random_serial, to_der,
};
use tpm_attest::ek::{EkTemplate, Usage};
use tpm_attest::event_log::EventLog;
use tpm_attest::verify::{
    Base64, Candidate, Challenge, Demand, Endorsement, Enrolled, Enrolments, Evidence, Once,
    Policy, Rule, TICKET_SIZE, Trust, Verdict, verify,
};
use tpm_wire::codec::Marshal as _;

use super::machine::Machine;
use super::pictures::Link;

const EK: EkTemplate = EkTemplate::L2;
const PCRS: &str = "sha256:0,1,2,3,4,5,6,7,8,9,11,14";
const PATIENCE: Duration = Duration::from_secs(60);

/// Who trusts, and whom.
pub(super) struct Verifier {
    issuer: Authority,
    roots: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    /// Each with the time at which it was given out.
    questions: Once<SystemTime>,
    enrolments: Enrolments,
}

impl Verifier {
    pub(super) fn new() -> anyhow::Result<Self> {
        let names = AuthorityNames {
            root: common_name("demo root authority")?,
            issuer: common_name("demo vCenter authority")?,
        };
        let algorithm = AuthorityAlgorithm::EcdsaP256;
        let (root, issuer) = Authority::root_and_issuer(
            &names,
            algorithm,
            SystemTime::now(),
            Lifetime::Days(3650),
            &mut rand::rng(),
        )?;
        Ok(Self {
            roots: vec![root.certificate().clone()],
            intermediates: vec![issuer.certificate().clone()],
            issuer,
            questions: Once::new(PATIENCE, 16),
            enrolments: Enrolments::new(PATIENCE, 16),
        })
    }

    /// Gives a new TPM the certificate of its endorsement key, as a vCenter does when it makes a VM.
    pub(super) fn certify(&self, machine: &mut Machine) -> anyhow::Result<()> {
        let name = machine.name.clone();
        let mut client = machine.client();
        let identity = TpmIdentity::read(&mut client)?;
        let ek = attester::endorsement_key(&mut client, EK)?;
        let request = Request {
            key: &ek.public,
            purpose: Purpose::Endorsement {
                tpm: &identity,
                usage: Usage::Decrypt,
            },
            subject: common_name(&name)?,
            serial: random_serial(&mut rand::rng()),
            start: SystemTime::now(),
            lifetime: Lifetime::Endless,
        };
        let certificate = self.issuer.issue(&request, &mut rand::rng())?;
        attester::release(&mut client, &ek)?;
        client.write_certificate(EK.indices().certificate, &to_der(&certificate)?, false)?;
        Ok(())
    }

    /// The certificates from the root down to a machine's endorsement key, to be drawn.
    pub(super) fn chain(&self, machine: &mut Machine) -> anyhow::Result<Vec<Link>> {
        let mut links = Vec::new();
        for root in &self.roots {
            links.push(Link::new("root", "demo root authority", root)?);
        }
        for issuer in &self.intermediates {
            links.push(Link::new("issuer", "demo vCenter authority", issuer)?);
        }
        let index = EK.indices().certificate;
        let bytes = machine.client().read_certificate(index)?;
        if let Some(bytes) = bytes {
            let name = format!("endorsement key of {}", machine.name);
            links.push(Link::new("identity", &name, &certificate::read(&bytes)?)?);
        }
        Ok(links)
    }

    /// Checks the keys of a machine, and makes a credential that only its TPM can open.
    pub(super) fn challenge(
        &mut self,
        verdict: &mut Verdict,
        machine: &mut Machine,
    ) -> anyhow::Result<Option<Challenge>> {
        let source = machine.name.clone();
        let mut client = machine.client();
        let certificate = client.read_certificate(EK.indices().certificate)?;
        let ek = attester::endorsement_key(&mut client, EK)?;
        let ak = attester::attestation_key(&mut client, AttestationAlgorithm::EcdsaP256)?;
        for key in [&ek, &ak] {
            attester::release(&mut client, key)?;
        }
        let candidate = Candidate {
            source,
            attestation_key: ak.public,
            qualified_name: ak.qualified_name,
            endorsement: Endorsement {
                public: Base64(ek.public.to_bytes()),
                certificate: certificate.map(Base64),
                chain: Vec::new(),
            },
        };
        let trust = trust(&self.roots, &self.intermediates);
        let now = trust.now;
        Ok(self
            .enrolments
            .begin(verdict, &candidate, Some(&trust), now, &mut rand::rng()))
    }

    /// Takes what a TPM found in the credential.
    pub(super) fn finish(
        &mut self,
        verdict: &mut Verdict,
        challenge: &Challenge,
        secret: &[u8],
    ) -> Option<Enrolled> {
        let session = &challenge.session.0;
        self.enrolments
            .finish(verdict, session, secret, SystemTime::now())
    }

    /// A question that is answered once.
    pub(super) fn ask(&mut self) -> anyhow::Result<[u8; TICKET_SIZE]> {
        let now = SystemTime::now();
        Ok(self.questions.issue(now, now, &mut rand::rng())?)
    }

    /// Judges an answer; the question is used up.
    pub(super) fn judge(
        &mut self,
        evidence: &Evidence,
        enrolled: &mut Enrolled,
        policy: Option<&Policy>,
    ) -> Verdict {
        let now = SystemTime::now();
        let asked = match self.questions.redeem(&evidence.nonce.0, now) {
            Ok(asked) => asked,
            Err(fault) => {
                let mut verdict = Verdict::default();
                verdict.fail(Rule::QuoteNonce, format!("the question: {fault}"));
                return verdict;
            }
        };
        let mut demand = Demand {
            nonce: Some(&evidence.nonce.0),
            asked: Some(asked),
            enrolled: Some(enrolled),
            trust: Some(trust(&self.roots, &self.intermediates)),
            policy,
            now,
        };
        verify(evidence, &mut demand)
    }
}

fn trust<'a>(roots: &'a [Certificate], intermediates: &'a [Certificate]) -> Trust<'a> {
    Trust {
        roots,
        intermediates,
        revoked: &[],
        revocation_required: false,
        now: SystemTime::now(),
    }
}

/// Opens a credential with the keys of a machine.
pub(super) fn activate(
    machine: &mut Machine,
    challenge: &Challenge,
) -> Result<Vec<u8>, tpm_attest::Error> {
    let mut client = machine.client();
    let ek = attester::endorsement_key(&mut client, EK)?;
    let ak = attester::attestation_key(&mut client, AttestationAlgorithm::EcdsaP256)?;
    let opened = attester::activate(&mut client, &ak, &ek, challenge);
    for key in [&ek, &ak] {
        attester::release(&mut client, key)?;
    }
    opened
}

/// Answers a question with a quote and the log of the boot.
pub(super) fn answer(
    machine: &mut Machine,
    log: &EventLog,
    question: &[u8],
) -> anyhow::Result<Evidence> {
    let name = machine.name.clone();
    let mut client = machine.client();
    let selection = attester::selection(PCRS).map_err(anyhow::Error::msg)?;
    let ak = attester::attestation_key(&mut client, AttestationAlgorithm::EcdsaP256)?;
    let (quote, pcrs) = attester::quote(&mut client, &ak, question, &selection)?;
    attester::release(&mut client, &ak)?;
    let mut evidence = Evidence::new(&name, &ak.public, question, quote, &pcrs);
    evidence.event_log = Some(Base64(log.to_bytes()));
    Ok(evidence)
}
