//! The verifier of a daemon: the same evidence, judged there.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tpm_attest::verify::{Candidate, Challenge, Evidence, Hex, Policy, Verdict};
use tpm_wire::codec::Marshal as _;
use zeroize::Zeroizing;

use super::files::read;
use crate::cli::client::Client;
use crate::cli::server::Server;
use crate::cli::{Threads, runtime};

/// Which daemon judges.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServiceArgs {
    /// Let the daemon of this folder judge, over its private socket
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    data: Option<PathBuf>,
    /// Let the daemon at this URL judge (https://HOST:PORT), as the session in VTPM_TOKEN, or as --user with the password in VTPM_PASSWORD
    #[arg(long, value_name = "URL", requires = "server_ca")]
    server: Option<String>,
    /// The daemon's certificate, or that of the authority that signed it (PEM): what `vtpm serve --listen` names when it starts
    #[arg(long, value_name = "FILE", requires = "server")]
    server_ca: Option<PathBuf>,
    /// Who logs in.
    #[arg(
        long,
        value_name = "USER@ORGANIZATION",
        requires = "server",
        help = "Who logs in [default: administrator@vsphere.local]"
    )]
    user: Option<String>,
}

/// The user that every daemon with a listener has.
const ADMINISTRATOR: &str = "administrator@vsphere.local";

/// A daemon that judges.
pub(super) struct Service {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// Whether the session is ours to end.
    logged_in: bool,
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
        let (client, logged_in, runtime) = match (&self.data, &self.server) {
            (Some(folder), _) => {
                let socket = folder.join("vtpm.sock");
                (Client::on_socket(socket), false, runtime(Threads::One)?)
            }
            (None, Some(url)) => {
                let runtime = runtime(Threads::One)?;
                let certificates = match &self.server_ca {
                    Some(path) => read(path)?,
                    None => bail!("name the daemon's certificate with --server-ca"),
                };
                let server = || Server::new(url, &certificates);
                let token = env::var("VTPM_TOKEN").map(Zeroizing::new);
                if let Ok(token) = token {
                    let client = Client::of_server(server()?.with_token(&token));
                    (client, false, runtime)
                } else {
                    let password = env::var("VTPM_PASSWORD").map(Zeroizing::new).context(
                        "nobody is logged in: put a token into VTPM_TOKEN, or the user's password into VTPM_PASSWORD",
                    )?;
                    let user = self.user.as_deref().unwrap_or(ADMINISTRATOR);
                    let asking = Client::of_server(server()?.with_password(user, &password));
                    let token = runtime.block_on(asking.log_in())?;
                    let client = Client::of_server(server()?.with_token(token.expose()));
                    (client, true, runtime)
                }
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Service {
            runtime,
            client,
            logged_in,
        }))
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
        if self.logged_in {
            // A session that is not ended ends by itself.
            let _ = self.runtime.block_on(self.client.log_out());
        }
    }
}
