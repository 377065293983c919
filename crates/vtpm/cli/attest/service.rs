//! The verifier of a daemon: the same evidence, judged there.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tpm_attest::verify::{Candidate, Challenge, Evidence, Hex, Policy, Verdict};
use tpm_wire::codec::Marshal as _;

use crate::cli::client::Client;
use crate::cli::server::{ServerArgs, Visit};
use crate::cli::{Threads, runtime};

/// Which daemon judges.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServiceArgs {
    /// Let the daemon of this folder judge, over its private socket
    #[arg(long, value_name = "DIR", conflicts_with = "server_url")]
    data: Option<PathBuf>,
    /// Or one elsewhere.
    #[command(flatten)]
    server: ServerArgs,
}

/// A daemon that judges.
pub(super) struct Service {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// The session there, if it is elsewhere.
    visit: Option<Visit>,
}

#[derive(Deserialize)]
struct Question {
    nonce: Hex,
}

/// What came of the first half of an enrolment.
#[derive(Deserialize)]
pub(super) struct Begun {
    pub(super) verdict: Verdict,
    pub(super) challenge: Option<Challenge>,
}

/// What came of evidence, or of an enrolment.
#[derive(Deserialize)]
pub(super) struct Judged {
    trusted: bool,
    pub(super) verdict: Verdict,
}

impl ServiceArgs {
    /// The daemon, if one is named.
    pub(super) fn open(&self) -> anyhow::Result<Option<Service>> {
        let runtime = || runtime(Threads::One);
        let service = match (&self.data, self.server.named()) {
            (Some(folder), _) => Service {
                runtime: runtime()?,
                client: Client::on_socket(folder.join("vtpm.sock")),
                visit: None,
            },
            (None, Some(url)) => {
                let runtime = runtime()?;
                let visit = runtime.block_on(self.server.visit(url))?;
                Service {
                    runtime,
                    client: visit.client(),
                    visit: Some(visit),
                }
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(service))
    }
}

impl Service {
    /// A question that is good once.
    pub(super) fn question(&self) -> anyhow::Result<Vec<u8>> {
        let nothing = json!({});
        let asked = self.client.post("/v1/attest/nonce", &nothing);
        let question: Question = self.runtime.block_on(asked)?;
        Ok(question.nonce.0)
    }

    /// Begins to enrol a TPM.
    pub(super) fn begin(&self, candidate: &Candidate) -> anyhow::Result<Begun> {
        let request = json!({
            "source": candidate.source,
            "attestation_key": tpm_attest::verify::Base64(candidate.attestation_key.to_bytes()),
            "qualified_name": Hex(candidate.qualified_name.clone()),
            "endorsement": candidate.endorsement,
        });
        let begun = self.client.post("/v1/attest/enroll", &request);
        self.runtime.block_on(begun)
    }

    /// Tells what the TPM opened.
    pub(super) fn finish(&self, session: &Hex, secret: Vec<u8>) -> anyhow::Result<Judged> {
        let request = json!({
            "session": session,
            "secret": tpm_attest::verify::Base64(secret),
        });
        self.judged("/v1/attest/enroll/finish", &request)
    }

    /// Lets evidence be judged.
    pub(super) fn judge(
        &self,
        evidence: &Evidence,
        policy: Option<&Policy>,
    ) -> anyhow::Result<Judged> {
        let mut request = json!({"evidence": evidence});
        if let (Some(policy), Some(members)) = (policy, request.as_object_mut()) {
            members.insert("policy".to_owned(), json!(policy));
        }
        self.judged("/v1/attest/verify", &request)
    }

    fn judged(&self, path: &str, request: &serde_json::Value) -> anyhow::Result<Judged> {
        let judged: Judged = self.runtime.block_on(self.client.post(path, request))?;
        // What this program makes of the checks decides; a daemon that says otherwise is not understood.
        ensure!(
            judged.trusted == judged.verdict.is_trusted(),
            "the daemon's verdict is not that of its checks"
        );
        Ok(judged)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(visit) = self.visit.take() {
            self.runtime.block_on(visit.end());
        }
    }
}
