//! Who is logged in: tokens that say who somebody is, until they have been idle for too long.
//!
//! A token is 256 random bits. What is kept is its SHA-256, so that a look into the daemon's memory finds none.

use crate::Problem;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng as _;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use vm_inventory::{Error, LoginName, Operations, Principal, UserView, is_system};
use zeroize::Zeroizing;

/// A session that nobody used for so long has ended.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// Sessions of one user; the one that was idle longest makes room.
const PER_USER: usize = 64;
/// Sessions of one organization, whoever its users are: none can take the memory of all.
const PER_ORGANIZATION: usize = 1024;
/// Passwords that are looked at at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// Those that wait for it. More are told to come back.
const WAITING: usize = 32;

/// A token as it is given out, once: wiped when dropped, never shown.
pub type Token = Zeroizing<String>;

/// Everybody who is logged in. Clones share what they know.
#[derive(Clone)]
pub struct Sessions {
    operations: Arc<Operations>,
    open: Arc<Mutex<HashMap<[u8; 32], Session>>>,
    checking: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

struct Session {
    principal: Principal,
    used: Instant,
}

impl Sessions {
    /// Nobody yet; users are those of `operations`.
    #[must_use]
    pub fn new(operations: Arc<Operations>) -> Self {
        Self {
            operations,
            open: Arc::default(),
            checking: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
        }
    }

    /// Logs `USER@ORGANIZATION` in; the system's users are `USER@vsphere.local` or `USER@system`.
    ///
    /// # Errors
    /// 401 if there is no such user or the password is another, without saying which; 429 if too many try at once.
    pub async fn log_in(&self, user: &str, password: &str) -> Result<(Token, Principal), Problem> {
        let principal = self.authenticate(user, password).await?;
        let token = self.open(principal.clone())?;
        Ok((token, principal))
    }

    /// Whose name and password these are, without a session.
    ///
    /// # Errors
    /// Those of [`Self::log_in`].
    pub async fn authenticate(&self, user: &str, password: &str) -> Result<Principal, Problem> {
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(too_many("too many users log in at this moment; try again"));
        };
        // A closed semaphore would be a defect: nobody closes it.
        let _turn = self.checking.acquire().await.map_err(|_closed| refused())?;
        // A name that cannot be one takes as long as one that nobody has.
        let name = LoginName::parse(user).ok();
        let password = Zeroizing::new(password.to_owned());
        let operations = Arc::clone(&self.operations);
        let found = tokio::task::spawn_blocking(move || match name {
            Some(name) => operations.authenticate(&name.organization, &name.user, &password),
            None => operations.authenticate_nobody(&password),
        });
        match found.await {
            Ok(found) => found?.map(principal_of).ok_or_else(refused),
            Err(_panicked) => Err(Error::Internal("a login stopped half-way".to_owned()).into()),
        }
    }

    /// A session for somebody who has shown who they are.
    ///
    /// # Errors
    /// 429 if the organization has too many already.
    pub fn open(&self, principal: Principal) -> Result<Token, Problem> {
        let mut random = Zeroizing::new([0u8; 32]);
        rand::rngs::SysRng
            .try_fill_bytes(random.as_mut())
            .map_err(|error| Error::Internal(format!("no random bytes: {error}")))?;
        let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_ref()));
        let now = Instant::now();
        let mut open = self.lock();
        open.retain(|_, session| !session.is_over(now));
        let of_user = open
            .values()
            .filter(|session| session.principal == principal)
            .count();
        if of_user >= PER_USER {
            let oldest = open
                .iter()
                .filter(|(_, session)| session.principal == principal)
                .min_by_key(|(_, session)| session.used)
                .map(|(digest, _)| *digest);
            if let Some(oldest) = oldest {
                open.remove(&oldest);
            }
        }
        let of_organization = open
            .values()
            .filter(|session| session.principal.organization == principal.organization)
            .count();
        if of_organization >= PER_ORGANIZATION {
            return Err(too_many(
                "the organization has too many sessions; log out of some, or wait until they have been idle for 30 minutes",
            ));
        }
        open.insert(
            digest(&token),
            Session {
                principal,
                used: now,
            },
        );
        Ok(token)
    }

    /// Who has this token; `None` if nobody has. The session has been used now.
    #[must_use]
    pub fn principal(&self, token: &str) -> Option<Principal> {
        let now = Instant::now();
        let digest = digest(token);
        let mut open = self.lock();
        let session = open.get_mut(&digest)?;
        if session.is_over(now) {
            open.remove(&digest);
            return None;
        }
        session.used = now;
        let principal = session.principal.clone();
        // Somebody who was removed, or has another role now, logs in anew.
        match self.operations.is_user(&principal) {
            Ok(false) => {
                open.remove(&digest);
                None
            }
            Ok(true) | Err(_) => Some(principal),
        }
    }

    /// Whether a session goes on, without using it.
    #[must_use]
    pub fn is_open(&self, token: &str) -> bool {
        let now = Instant::now();
        self.lock()
            .get(&digest(token))
            .is_some_and(|session| !session.is_over(now))
    }

    /// Ends a session; says whether there was one.
    pub fn log_out(&self, token: &str) -> bool {
        let now = Instant::now();
        self.lock()
            .remove(&digest(token))
            .is_some_and(|session| !session.is_over(now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= IDLE
    }
}

/// Looking a token up by its digest takes the same time for every wrong one: whoever does not know the token cannot choose the digest.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn principal_of(user: UserView) -> Principal {
    Principal {
        organization: (!is_system(user.organization.as_str())).then_some(user.organization),
        name: user.name,
        role: user.role,
    }
}

fn refused() -> Problem {
    Problem::unauthenticated("there is no such user, or the password is another")
}

fn too_many(detail: &str) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many",
        "There is too much of it",
        detail,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_inventory::model::Role;

    fn user(name: &str, organization: &str) -> Principal {
        Principal {
            name: name.parse().unwrap(),
            organization: Some(organization.parse().unwrap()),
            role: Role::VappUser,
        }
    }

    #[tokio::test]
    async fn a_token_is_good_until_the_logout_and_only_its_digest_is_kept() {
        let world = crate::tests::world();
        let operations = Arc::clone(&world.operations);
        operations
            .create_organization("acme".parse().unwrap())
            .unwrap();
        let acme = "acme".parse().unwrap();
        let name = "ann".parse().unwrap();
        operations
            .create_user(Some(&acme), name, Role::VappUser, "correct horse")
            .unwrap();
        let sessions = Sessions::new(operations);
        for (user, password) in [
            ("ann@acme", "wrong horse"),
            ("bob@acme", "correct horse"),
            ("ann@rival", "correct horse"),
            ("ann", "correct horse"),
            ("ann@../..", "correct horse"),
        ] {
            let refused = sessions.log_in(user, password).await.unwrap_err();
            assert_eq!(refused, super::refused(), "{user}");
        }
        let (token, principal) = sessions.log_in("ann@acme", "correct horse").await.unwrap();
        assert_eq!(principal, user("ann", "acme"));
        assert_eq!(token.len(), 43);
        let other = sessions.clone();
        assert_eq!(other.principal(&token), Some(principal));
        assert!(
            !sessions
                .lock()
                .keys()
                .any(|kept| kept.as_slice() == token.as_bytes())
        );
        assert_eq!(other.principal("no such token"), None);
        assert!(other.log_out(&token) && !other.log_out(&token));
        assert_eq!(sessions.principal(&token), None);
    }

    #[tokio::test]
    async fn sessions_end_when_idle_and_nobody_has_too_many() {
        let world = crate::tests::world();
        let sessions = Sessions::new(Arc::clone(&world.operations));
        let first = sessions.open(user("ann", "acme")).unwrap();
        for session in sessions.lock().values_mut() {
            session.used = session.used.checked_sub(IDLE).unwrap();
        }
        assert_eq!(sessions.principal(&first), None);

        let tokens: Vec<Token> = (0..PER_USER)
            .map(|_| sessions.open(user("ann", "acme")).unwrap())
            .collect();
        let _one_more = sessions.open(user("ann", "acme")).unwrap();
        let left = tokens.iter().filter(|token| sessions.is_open(token));
        assert_eq!(left.count(), PER_USER - 1);
        let users = PER_ORGANIZATION / PER_USER;
        for number in 1..users {
            for _ in 0..PER_USER {
                sessions.open(user(&format!("u{number}"), "acme")).unwrap();
            }
        }
        let refused = sessions.open(user("late", "acme")).unwrap_err();
        assert_eq!(refused.status, 429);
        assert!(sessions.open(user("ann", "rival")).is_ok());
    }
}
