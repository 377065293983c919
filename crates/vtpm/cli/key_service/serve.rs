//! `vtpm key-service serve`.

use std::net::{TcpListener, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use key_service::{Address, Server, server_config};
use zeroize::Zeroizing;

use super::Place;
use crate::cli::process::{EndSignals, Readiness};
use crate::cli::{Threads, log, output, runtime};
use crate::confine::memory::{self, Children};
use crate::confine::system_calls::{self, Offence};
use crate::daemon::{OwnedFolder, bind_privately};

#[derive(Args, Debug)]
pub(super) struct Serve {
    #[command(flatten)]
    place: Place,
    /// Where to listen: unix:PATH, or HOST:PORT; port 0 is one that is free
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Listen,
    /// The service's certificate and those above it (PEM); needed unless everything stays on this machine
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

#[derive(Clone, Debug)]
enum Listen {
    Unix(PathBuf),
    Tcp { text: String, remote: bool },
}

/// Unlike a host, a server may be told port 0.
fn listen_address(text: &str) -> Result<Listen, String> {
    let shaped = match text.strip_suffix(":0") {
        Some(host) => format!("{host}:1"),
        None => text.to_owned(),
    };
    let address: Address = shaped
        .parse()
        .map_err(|error: key_service::NoAddress| error.to_string())?;
    Ok(match address {
        Address::Unix(path) => Listen::Unix(path),
        Address::Tcp(_) => Listen::Tcp {
            text: text.to_owned(),
            remote: address.is_remote(),
        },
    })
}

impl Serve {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        log::to_stderr("warn,vtpm=info,key_service=info");
        memory::forbid_dumps(Children::None);
        memory::lock(Children::None).warn();
        let tls = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let (cert, key) = (super::read(cert)?, Zeroizing::new(super::read(key)?));
                Some(server_config(&cert, &key).map_err(anyhow::Error::msg)?)
            }
            _ => None,
        };
        if let Listen::Tcp { text, remote: true } = &self.listen {
            anyhow::ensure!(
                tls.is_some(),
                "{text} can be reached from elsewhere, so it needs TLS: give --cert and --key, or listen at unix:PATH or 127.0.0.1"
            );
        }
        anyhow::ensure!(
            self.place.data.is_dir(),
            "there is no folder {}; `vtpm key-service init` sets a service up",
            self.place.data.display()
        );
        let _owned = OwnedFolder::claim_for(&self.place.data, "vtpm key-service serve")?;
        let service = Arc::new(self.place.open()?);
        let server = Server::new(service, tls);
        let runtime = runtime(Threads::One)?;
        let mut end = EndSignals::catch_in(&runtime)?;
        let (listening, socket) = self.listen.start(server)?;
        if let Err(error) = system_calls::forbid(Offence::Refuse) {
            tracing::warn!("no sandbox for system calls: {error:#}");
        }
        let ended = runtime.block_on(async {
            output::line(format!("listening at {listening}"))?;
            Readiness::default().tell()?;
            end.asked().await;
            anyhow::Ok(())
        });
        if let Some(socket) = socket {
            // Whoever connects now is told at once that nobody is there.
            let _ = std::fs::remove_file(socket);
        }
        ended?;
        // What was answered is on stable storage, and what was not answered does not count: threads end with the process.
        Ok(ExitCode::SUCCESS)
    }
}

impl Listen {
    /// Starts to serve on a thread, and gives the address, and the socket's file if there is one.
    fn start(self, server: Server) -> anyhow::Result<(String, Option<PathBuf>)> {
        match self {
            Self::Unix(path) => {
                // Left from a service that was killed; the folder is locked, so nobody else listens for it.
                if std::os::unix::net::UnixStream::connect(&path).is_err() {
                    let _ = std::fs::remove_file(&path);
                }
                let listener = bind_privately(&path)?;
                std::thread::Builder::new().spawn(move || told(server.serve_unix(&listener)))?;
                Ok((format!("unix:{}", path.display()), Some(path)))
            }
            Self::Tcp { text, .. } => {
                let addresses: Vec<_> = text
                    .to_socket_addrs()
                    .with_context(|| format!("{text} cannot be looked up"))?
                    .collect();
                let listener = TcpListener::bind(addresses.as_slice())
                    .with_context(|| format!("{text} cannot be listened at"))?;
                let address = listener.local_addr()?;
                std::thread::Builder::new().spawn(move || told(server.serve_tcp(&listener)))?;
                Ok((address.to_string(), None))
            }
        }
    }
}

fn told(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!("no connection is taken any more: {error}");
    }
}
