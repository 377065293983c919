//! A provider's client: its servers in their order, connections kept, faults that may pass waited for.

use crate::{
    connection::Connection,
    error::{Error, Failures, Fault, Purpose, ServerFailure},
    key::{KeyBytes, is_key_id},
    message::{KeyAttributes, KeyState, Operation, RevocationReason, ServerDescription},
    settings::{ServerAddress, Settings},
    tls,
};
use rustls::ClientConfig;
use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How many unused connections to one server are kept.
const KEPT: usize = 4;

/// A client of one provider. Calls block; several threads may make them at once, each on a connection of its own.
pub struct Client {
    settings: Settings,
    tls: Arc<ClientConfig>,
    servers: Vec<Server>,
}

/// Whether one server can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHealth {
    /// The server, `HOST:PORT`.
    pub server: String,
    /// What it says of itself, or why it says nothing.
    pub state: Result<ServerDescription, Fault>,
}

struct Server {
    address: ServerAddress,
    kept: Mutex<Vec<Connection>>,
    failed: Mutex<Option<Instant>>,
}

impl Client {
    /// Takes a provider's settings. Nothing is sent yet.
    pub fn new(mut settings: Settings) -> Result<Self, Error> {
        let configuration = |reason| Error::Configuration {
            provider: settings.provider.clone(),
            reason,
        };
        if settings.servers.is_empty() {
            return Err(configuration("it has no server; name one".to_owned()));
        }
        let tls = tls::client_config(&settings).map_err(configuration)?;
        // TLS has its own by now.
        settings.client_key = Vec::new().into();
        let servers = settings.servers.iter().cloned();
        Ok(Self {
            servers: servers.map(Server::new).collect(),
            tls,
            settings,
        })
    }

    /// The provider's name.
    pub fn provider(&self) -> &str {
        &self.settings.provider
    }

    /// Makes an AES-256 key, activates it and returns its id.
    ///
    /// Where the reply to Create is lost the key is made again; the first stays at the server, and nothing uses it.
    pub fn new_key(&self, name: Option<&str>) -> Result<String, Error> {
        let (key_id, _) = self.call(Operation::Create, None, |connection| {
            let key_id = connection.create(name)?;
            activate(connection, &key_id)?;
            Ok(key_id)
        })?;
        Ok(key_id)
    }

    /// The bytes of a key that is to protect something new: the key has to be active. A pre-active one is activated.
    pub fn key_to_wrap(&self, key_id: &str) -> Result<KeyBytes, Error> {
        self.key_for(Purpose::Wrap, key_id)
    }

    /// The bytes of a key that is to open what it protects already: active, deactivated and compromised keys do.
    pub fn key_to_unwrap(&self, key_id: &str) -> Result<KeyBytes, Error> {
        self.key_for(Purpose::Unwrap, key_id)
    }

    /// Makes a key without activating it.
    pub fn create(&self, name: Option<&str>) -> Result<String, Error> {
        let answer = self.call(Operation::Create, None, |c| c.create(name))?;
        Ok(answer.0)
    }

    /// Activates a key. One that is active already stays so.
    pub fn activate(&self, key_id: &str) -> Result<(), Error> {
        self.check_id(key_id)?;
        self.call(Operation::Activate, Some(key_id), |c| activate(c, key_id))?;
        Ok(())
    }

    /// What a server tells of a key.
    pub fn attributes(&self, key_id: &str) -> Result<KeyAttributes, Error> {
        self.check_id(key_id)?;
        let answer = self.call(Operation::GetAttributes, Some(key_id), |c| {
            c.attributes(key_id)
        })?;
        Ok(answer.0)
    }

    /// The ids of the symmetric keys with that name, or of all, at most so many.
    pub fn locate(&self, name: Option<&str>, at_most: u16) -> Result<Vec<String>, Error> {
        let answer = self.call(Operation::Locate, None, |c| {
            c.locate(name, i32::from(at_most))
        })?;
        Ok(answer.0)
    }

    /// Ends a key's use: it becomes deactivated or compromised.
    pub fn revoke(&self, key_id: &str, reason: RevocationReason) -> Result<(), Error> {
        self.check_id(key_id)?;
        self.call(Operation::Revoke, Some(key_id), |c| {
            c.revoke(key_id, reason)
        })?;
        Ok(())
    }

    /// Deletes a key's bytes for good. Servers refuse that for active keys: revoke them first.
    ///
    /// Where the reply is lost the second try may find no key: [`Error::KeyMissing`] then says that it is gone.
    pub fn destroy(&self, key_id: &str) -> Result<(), Error> {
        self.check_id(key_id)?;
        self.call(Operation::Destroy, Some(key_id), |c| c.destroy(key_id))?;
        Ok(())
    }

    /// Asks every server once, in their order, whether it can be used.
    pub fn health(&self) -> Vec<ServerHealth> {
        let servers = self.servers.iter();
        servers
            .map(|server| ServerHealth {
                server: server.address.to_string(),
                state: self.at(server, &Connection::query),
            })
            .collect()
    }

    fn key_for(&self, purpose: Purpose, key_id: &str) -> Result<KeyBytes, Error> {
        self.check_id(key_id)?;
        let fits = |state: KeyState| match purpose {
            Purpose::Wrap => state.wraps(),
            Purpose::Unwrap => state.unwraps(),
        };
        let (outcome, server) = self.call(Operation::Get, Some(key_id), |connection| {
            let mut state = state_of(connection, key_id)?;
            if state == KeyState::PreActive && purpose == Purpose::Wrap {
                activate(connection, key_id)?;
                state = KeyState::Active;
            }
            if !fits(state) {
                return Ok(Err(state));
            }
            connection.get(key_id).map(Ok)
        })?;
        outcome.map_err(|state| Error::KeyState {
            provider: self.settings.provider.clone(),
            server: server.to_string(),
            key_id: key_id.to_owned(),
            state,
            purpose,
        })
    }

    fn check_id(&self, key_id: &str) -> Result<(), Error> {
        if is_key_id(key_id) {
            return Ok(());
        }
        Err(Error::Configuration {
            provider: self.settings.provider.clone(),
            reason: format!(
                "{:?} is no key id: it has 1 to 200 bytes and no control characters",
                key_id.chars().take(200).collect::<String>()
            ),
        })
    }

    /// Does some work at the first server that can, and says which that was.
    fn call<T>(
        &self,
        operation: Operation,
        key_id: Option<&str>,
        work: impl Fn(&mut Connection) -> Result<T, Fault>,
    ) -> Result<(T, &ServerAddress), Error> {
        let limits = &self.settings.limits;
        let mut pause = limits.pause;
        let mut failures = Failures::default();
        for round in 1..=limits.rounds.max(1) {
            if round > 1 {
                thread::sleep(spread(pause));
                pause = pause.saturating_mul(2);
            }
            failures.0.clear();
            for server in self.in_order() {
                match self.at(server, &work) {
                    Ok(answer) => return Ok((answer, &server.address)),
                    Err(fault) if fault.is_final() => {
                        return Err(self.refused(operation, key_id, server, fault));
                    }
                    Err(fault) => {
                        tracing::warn!(
                            provider = self.settings.provider,
                            server = %server.address,
                            key_id,
                            "{operation} failed: the server {fault}"
                        );
                        failures.0.push(ServerFailure {
                            server: server.address.to_string(),
                            fault,
                        });
                    }
                }
            }
            if !failures.0.iter().any(|f| f.fault.is_transient()) {
                break;
            }
        }
        let provider = self.settings.provider.clone();
        let missing = failures.0.iter().any(|f| f.fault.is_missing_key());
        Err(match key_id {
            Some(key_id) if missing => Error::KeyMissing {
                provider,
                key_id: key_id.to_owned(),
                failures,
            },
            _ => Error::Unavailable {
                provider,
                operation,
                key_id: key_id.map(str::to_owned),
                failures,
            },
        })
    }

    fn refused(
        &self,
        operation: Operation,
        key_id: Option<&str>,
        server: &Server,
        fault: Fault,
    ) -> Error {
        let provider = self.settings.provider.clone();
        let server = server.address.to_string();
        let key_id = key_id.map(str::to_owned);
        match fault {
            Fault::Refused(refusal) => Error::Refused {
                provider,
                server,
                operation,
                key_id,
                refusal,
            },
            other => Error::KeyShape {
                provider,
                server,
                key_id: key_id.unwrap_or_default(),
                reason: match other {
                    Fault::KeyShape(reason) => reason,
                    other => other.to_string(),
                },
            },
        }
    }

    /// Does some work at one server, on a connection that is kept if there is one.
    fn at<T>(
        &self,
        server: &Server,
        work: &impl Fn(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if let Some(connection) = server.take(self.settings.limits.idle) {
            match server.work(connection, work) {
                // The server ended it while nobody looked; that says nothing about whether it serves.
                Err(Fault::Cut | Fault::Connection(_)) => {}
                outcome => return server.note(outcome),
            }
        }
        let opened = Connection::open(&server.address, &self.tls, &self.settings.limits);
        server.note(opened.and_then(|connection| server.work(connection, work)))
    }

    /// The servers in their order, those that failed a moment ago last.
    fn in_order(&self) -> Vec<&Server> {
        let set_aside = self.settings.limits.set_aside;
        let mut servers: Vec<_> = self.servers.iter().collect();
        servers.sort_by_key(|server| server.failed_within(set_aside));
        servers
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.settings).finish()
    }
}

impl Server {
    fn new(address: ServerAddress) -> Self {
        Self {
            address,
            kept: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    fn take(&self, idle: Duration) -> Option<Connection> {
        let mut kept = lock(&self.kept);
        kept.retain(|connection| connection.last_used().elapsed() < idle);
        kept.pop()
    }

    /// Works on a connection and keeps it, unless what came over it can no longer be told apart.
    fn work<T>(
        &self,
        mut connection: Connection,
        work: &impl Fn(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let outcome = work(&mut connection);
        if matches!(outcome, Ok(_) | Err(Fault::Refused(_) | Fault::KeyShape(_))) {
            let mut kept = lock(&self.kept);
            if kept.len() < KEPT {
                kept.push(connection);
            }
        }
        outcome
    }

    /// Remembers whether the server can be used. What is kept of one that cannot would only fail later.
    fn note<T>(&self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        let failed = matches!(&outcome, Err(fault) if fault.is_transient());
        *lock(&self.failed) = failed.then(Instant::now);
        if failed {
            lock(&self.kept).clear();
        }
        outcome
    }

    fn failed_within(&self, time: Duration) -> bool {
        lock(&self.failed).is_some_and(|when| when.elapsed() < time)
    }
}

/// Activates a key. Servers refuse that for an active key, so a refusal counts only if the key is not active then.
fn activate(connection: &mut Connection, key_id: &str) -> Result<(), Fault> {
    match connection.activate(key_id) {
        Err(Fault::Refused(refusal)) => match state_of(connection, key_id) {
            Ok(KeyState::Active) => Ok(()),
            _ => Err(Fault::Refused(refusal)),
        },
        outcome => outcome,
    }
}

fn state_of(connection: &mut Connection, key_id: &str) -> Result<KeyState, Fault> {
    let attributes = connection.attributes(key_id)?;
    attributes
        .state
        .ok_or_else(|| Fault::WrongReply(format!("it does not tell the state of key {key_id:?}")))
}

/// Adds up to half at random, so that many clients do not come back all at once.
fn spread(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(()) % 512;
    let share = u32::try_from(share).unwrap_or_default();
    pause.saturating_add(pause.saturating_mul(share) / 1024)
}

/// A thread that panicked while it held such a lock leaves a list or a time behind, both of which still hold.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_over_half_of_themselves() {
        let pause = Duration::from_millis(200);
        for _ in 0..100 {
            let spread = spread(pause);
            assert!(spread >= pause && spread < pause + pause / 2, "{spread:?}");
        }
    }
}
