//! Sessions: who is logged in at which vCenter, and the views and filters made there.

use crate::collector::{Filter, Pages};
use crate::fault::{Fault, Outcome};
use crate::inventory::World;
use crate::methods::history::History;
use crate::schema::schema;
use crate::value::{MoRef, Object, Value};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;
use vm_inventory::model::Timestamp;
use vm_inventory::{Name, Principal};
use vm_web::Sessions;

/// Views, filters and collectors of one session.
const MOST_OBJECTS: usize = 500;
/// Collectors of tasks or events among them, as `maxCollector` tells: each keeps its filter.
const MOST_HISTORIES: usize = 32;

/// A session.
#[derive(Debug)]
pub(crate) struct Login {
    /// Its name towards the client; not the secret.
    key: Uuid,
    vcenter: Name,
    /// Who.
    pub(crate) user: String,
    pub(crate) principal: Principal,
    /// Names it among the others.
    digest: [u8; 32],
    since: Timestamp,
    address: String,
    last: Mutex<Timestamp>,
    objects: Mutex<Objects>,
}

/// What was made in the sessions that there are; who they are, [`Sessions`] knows.
pub(crate) struct Logins {
    sessions: Sessions,
    open: Mutex<BTreeMap<[u8; 32], Arc<Login>>>,
}

impl Logins {
    pub(crate) fn new(sessions: Sessions) -> Self {
        Self {
            sessions,
            open: Mutex::default(),
        }
    }

    /// Logs somebody in at a vCenter; gives the token too.
    pub(crate) async fn log_in(
        &self,
        vcenter: &Name,
        user: &str,
        password: &str,
        address: &str,
    ) -> Outcome<(vm_web::Token, Arc<Login>)> {
        let (token, principal) = self
            .sessions
            .log_in(user, password)
            .await
            .map_err(|problem| {
                if problem.status == 401 {
                    let message =
                        "Cannot complete login due to an incorrect user name or password.";
                    Fault::new("InvalidLogin", message)
                } else {
                    Fault::new("InvalidState", problem.detail)
                }
            })?;
        let now = Timestamp::now();
        let login = Arc::new(Login {
            key: Uuid::new_v4(),
            vcenter: vcenter.clone(),
            user: user.to_owned(),
            principal,
            digest: digest(&token),
            since: now,
            address: address.to_owned(),
            last: Mutex::new(now),
            objects: Mutex::default(),
        });
        self.open().insert(login.digest, Arc::clone(&login));
        Ok((token, login))
    }

    /// Whether these are the name and password of somebody.
    pub(crate) async fn check(&self, user: &str, password: &str) -> Outcome<Principal> {
        self.sessions
            .authenticate(user, password)
            .await
            .map_err(|_| {
                Fault::new(
                    "InvalidLogin",
                    "the credentials for the other vCenter are wrong",
                )
            })
    }

    /// The session with that token at a vCenter.
    pub(crate) fn find(&self, vcenter: &Name, token: &str) -> Option<Arc<Login>> {
        let digest = digest(token);
        let login = self.open().get(&digest).cloned()?;
        if login.vcenter != *vcenter {
            return None;
        }
        if self.sessions.principal(token).is_none() {
            self.open().remove(&digest);
            return None;
        }
        *login.last.lock().unwrap_or_else(PoisonError::into_inner) = Timestamp::now();
        Some(login)
    }

    /// Ends the session with that token.
    pub(crate) fn log_out(&self, token: &str) {
        self.open().remove(&digest(token));
        self.sessions.log_out(token);
    }

    /// Forgets what was made in sessions that have ended long ago.
    fn forget(open: &mut BTreeMap<[u8; 32], Arc<Login>>) {
        let now = Timestamp::now().0;
        open.retain(|_, login| {
            let last = *login.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.0.saturating_add(vm_web::IDLE.as_secs()) >= now
        });
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Arc<Login>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() > MOST_LOGINS {
            Self::forget(&mut open);
        }
        open
    }
}

/// Sessions beyond which the old ones are looked for.
const MOST_LOGINS: usize = 256;

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Login {
    /// The data object about it.
    pub(crate) fn session(&self) -> Object {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Object::new("UserSession")
            .with("key", self.key.to_string())
            .with("userName", self.user.as_str())
            .with("fullName", self.user.as_str())
            .with("loginTime", self.since)
            .with("lastActiveTime", last)
            .with("locale", "en")
            .with("messageLocale", "en")
            .with("extensionSession", false)
            .with("ipAddress", self.address.as_str())
            .with("userAgent", "")
            .with("callCount", 0i64)
    }

    /// What was made in it.
    pub(crate) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client calls it that.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.key.to_string() == key
    }
}

/// A view of entities.
#[derive(Clone, Debug)]
pub(crate) enum ViewOf {
    /// Entities of some types in a container.
    Container {
        container: MoRef,
        types: Vec<String>,
        recursive: bool,
    },
    /// These.
    List(Vec<MoRef>),
}

impl ViewOf {
    /// The entities that are in it now.
    pub(crate) fn members(&self, world: &World) -> Vec<MoRef> {
        match self {
            Self::Container {
                container,
                types,
                recursive,
            } => {
                let found = if *recursive {
                    world.below(container)
                } else {
                    world.children(container)
                };
                let fits = |it: &MoRef| {
                    types.is_empty() || types.iter().any(|above| schema().is(it.kind, above))
                };
                found.into_iter().filter(fits).collect()
            }
            Self::List(members) => members.clone(),
        }
    }

    /// Its properties besides the entities.
    pub(crate) fn property(&self, name: &str) -> Option<Value> {
        match (self, name) {
            (Self::Container { container, .. }, "container") => Some(container.clone().into()),
            (Self::Container { types, .. }, "type") => Some(Value::List(
                "string",
                types.iter().map(|it| Value::from(it.as_str())).collect(),
            )),
            (Self::Container { recursive, .. }, "recursive") => Some((*recursive).into()),
            _ => None,
        }
    }
}

/// A property collector: its filters and the version it has told of.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) filters: BTreeMap<String, Made>,
    /// How many updates it has told of.
    pub(crate) version: u64,
    /// Counts requests to stop waiting.
    pub(crate) canceled: u64,
    pub(crate) pages: Pages,
}

/// A filter, and what is known of it without waiting for whoever uses it.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) filter: Arc<Mutex<Filter>>,
    partial: bool,
}

/// What was made in a session.
#[derive(Debug)]
pub(crate) struct Objects {
    views: BTreeMap<String, (MoRef, ViewOf)>,
    collectors: BTreeMap<String, Collector>,
    histories: BTreeMap<String, (MoRef, History)>,
    made: u64,
}

impl Default for Objects {
    fn default() -> Self {
        let own = crate::inventory::property_collector().id;
        Self {
            views: BTreeMap::new(),
            collectors: BTreeMap::from([(own, Collector::default())]),
            histories: BTreeMap::new(),
            made: 0,
        }
    }
}

impl Objects {
    /// Whether something of that name was made here.
    pub(crate) fn has(&self, of: &MoRef) -> bool {
        match of.kind {
            "PropertyCollector" => self.collectors.contains_key(&of.id),
            "PropertyFilter" => self
                .collectors
                .values()
                .any(|collector| collector.filters.contains_key(&of.id)),
            "TaskHistoryCollector" | "EventHistoryCollector" => self.history(of).is_some(),
            _ => self.views.get(&of.id).is_some_and(|(it, _)| it == of),
        }
    }

    pub(crate) fn view(&self, of: &MoRef) -> Option<ViewOf> {
        self.views
            .get(&of.id)
            .filter(|(it, _)| it == of)
            .map(|(_, view)| view.clone())
    }

    pub(crate) fn views(&self) -> Vec<MoRef> {
        self.views.values().map(|(it, _)| it.clone()).collect()
    }

    pub(crate) fn filters(&self, of: &MoRef) -> Vec<MoRef> {
        let collector = self.collectors.get(&of.id);
        let names = collector.map(|collector| collector.filters.keys());
        names
            .into_iter()
            .flatten()
            .map(|id| MoRef::new("PropertyFilter", id.as_str()))
            .collect()
    }

    /// Whether a filter was made for partial updates.
    pub(crate) fn partial(&self, filter: &MoRef) -> Option<bool> {
        let mut collectors = self.collectors.values();
        let found = collectors.find_map(|collector| collector.filters.get(&filter.id))?;
        Some(found.partial)
    }

    fn name(&mut self, what: &str) -> Outcome<String> {
        let filters: usize = self.collectors.values().map(|it| it.filters.len()).sum();
        let made = self.views.len() + self.collectors.len() + self.histories.len() + filters;
        if made >= MOST_OBJECTS {
            return Err(Fault::new(
                "InvalidState",
                format!(
                    "a session has at most {MOST_OBJECTS} views, filters and collectors; destroy some first"
                ),
            ));
        }
        self.made += 1;
        Ok(format!("session-{what}-{}", self.made))
    }

    pub(crate) fn add_view(&mut self, kind: &'static str, view: ViewOf) -> Outcome<MoRef> {
        let reference = MoRef::new(kind, self.name("view")?);
        self.views
            .insert(reference.id.clone(), (reference.clone(), view));
        Ok(reference)
    }

    pub(crate) fn change_view(&mut self, of: &MoRef, view: ViewOf) {
        if let Some((_, old)) = self.views.get_mut(&of.id) {
            *old = view;
        }
    }

    pub(crate) fn add_history(&mut self, kind: &'static str, history: History) -> Outcome<MoRef> {
        if self.histories.len() >= MOST_HISTORIES {
            return Err(Fault::new(
                "InvalidState",
                format!("a session has at most {MOST_HISTORIES} collectors; destroy some first"),
            ));
        }
        let reference = MoRef::new(kind, self.name("history")?);
        let made = (reference.clone(), history);
        self.histories.insert(reference.id.clone(), made);
        Ok(reference)
    }

    pub(crate) fn history(&self, of: &MoRef) -> Option<&History> {
        let found = self.histories.get(&of.id);
        found.filter(|(it, _)| it == of).map(|(_, history)| history)
    }

    pub(crate) fn history_mut(&mut self, of: &MoRef) -> Option<&mut History> {
        let found = self.histories.get_mut(&of.id);
        found.filter(|(it, _)| it == of).map(|(_, history)| history)
    }

    pub(crate) fn remove_history(&mut self, of: &MoRef) {
        self.histories.remove(&of.id);
    }

    pub(crate) fn remove_view(&mut self, of: &MoRef) {
        self.views.remove(&of.id);
    }

    pub(crate) fn add_collector(&mut self) -> Outcome<MoRef> {
        let id = self.name("collector")?;
        self.collectors.insert(id.clone(), Collector::default());
        Ok(MoRef::new("PropertyCollector", id))
    }

    pub(crate) fn collector(&mut self, of: &MoRef) -> Outcome<&mut Collector> {
        self.collectors
            .get_mut(&of.id)
            .ok_or_else(|| Fault::object_not_found(of))
    }

    pub(crate) fn remove_collector(&mut self, of: &MoRef) {
        self.collectors.remove(&of.id);
    }

    pub(crate) fn add_filter(
        &mut self,
        collector: &MoRef,
        filter: Filter,
        partial: bool,
    ) -> Outcome<MoRef> {
        let id = self.name("filter")?;
        let filter = Arc::new(Mutex::new(filter));
        self.collector(collector)?
            .filters
            .insert(id.clone(), Made { filter, partial });
        Ok(MoRef::new("PropertyFilter", id))
    }

    pub(crate) fn remove_filter(&mut self, of: &MoRef) {
        for collector in self.collectors.values_mut() {
            collector.filters.remove(&of.id);
        }
    }
}
