//! Which objects a filter selects, and what it reads of them.

use crate::arguments::Read as _;
use crate::fault::{Fault, Outcome};
use crate::inventory::World;
use crate::properties;
use crate::schema::{Kind, schema};
use crate::server::Call;
use crate::value::{MoRef, Object, Value};
use crate::xml::Element;
use std::collections::{BTreeMap, BTreeSet};

/// Parts of one filter: property sets, object sets, selections.
const MOST_PARTS: usize = 1000;
/// Objects that one filter looks at.
const MOST_OBJECTS: usize = 200_000;

/// A filter as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct FilterSpec {
    properties: Vec<PropertySet>,
    objects: Vec<ObjectSet>,
    report_missing: bool,
    /// Every traversal by its place, so that each is walked once per object.
    traversals: Vec<Traversal>,
}

#[derive(Clone, Debug)]
struct PropertySet {
    kind: String,
    all: bool,
    paths: Vec<String>,
}

#[derive(Clone, Debug)]
struct ObjectSet {
    object: MoRef,
    skip: bool,
    select: Vec<Selection>,
}

#[derive(Clone, Debug)]
struct Traversal {
    kind: String,
    path: String,
    skip: bool,
    select: Vec<Selection>,
}

/// What comes next: a traversal by its place, or by the name of one.
#[derive(Clone, Debug)]
enum Selection {
    At(usize),
    Named(String),
}

/// What was read of one object.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Found {
    pub(crate) object: MoRef,
    pub(crate) values: BTreeMap<String, Value>,
    missing: Vec<(String, Box<Fault>)>,
}

impl Found {
    /// As the API answers it.
    pub(crate) fn content(self) -> Object {
        let values = self.values.into_iter().map(|(name, value)| {
            Object::new("DynamicProperty")
                .with("name", name)
                .with("val", value)
        });
        let missing = self.missing.into_iter().map(|(path, fault)| {
            Object::new("MissingProperty")
                .with("path", path)
                .with("fault", fault)
        });
        Object::new("ObjectContent")
            .with("obj", self.object)
            .with("propSet", Value::objects("DynamicProperty", values))
            .with("missingSet", Value::objects("MissingProperty", missing))
    }
}

impl FilterSpec {
    /// Reads and checks a filter: types and paths that there are, and not too many of them.
    pub(crate) fn read(call: &Call, spec: &Element) -> Outcome<Self> {
        let mut this = Self {
            properties: Vec::new(),
            objects: Vec::new(),
            report_missing: spec.flag("reportMissingObjectsInResults"),
            traversals: Vec::new(),
        };
        let mut names = BTreeMap::new();
        let mut parts = 0;
        for set in spec.all("propSet") {
            this.properties.push(property_set(call, set, &mut parts)?);
        }
        for set in spec.all("objectSet") {
            count(&mut parts)?;
            let object = set
                .reference("obj")?
                .ok_or_else(|| Fault::invalid_request("an objectSet has no obj"))?;
            let select = this.selections(call, set, &mut names, &mut parts)?;
            this.objects.push(ObjectSet {
                object,
                skip: set.flag("skip"),
                select,
            });
        }
        if this.objects.is_empty() || this.properties.is_empty() {
            return Err(Fault::invalid_argument(
                "specSet",
                "a filter needs a propSet and an objectSet",
            ));
        }
        // Names are resolved now: they may stand before the traversal that has them.
        let resolve = |select: &mut Vec<Selection>| -> Outcome<()> {
            for one in select {
                if let Selection::Named(name) = one {
                    let at = names.get(name.as_str()).ok_or_else(|| {
                        Fault::invalid_argument(
                            "specSet.objectSet.selectSet.name",
                            "a selection names a traversal that the filter does not have",
                        )
                    })?;
                    *one = Selection::At(*at);
                }
            }
            Ok(())
        };
        for set in &mut this.objects {
            resolve(&mut set.select)?;
        }
        for traversal in &mut this.traversals {
            resolve(&mut traversal.select)?;
        }
        Ok(this)
    }

    fn selections(
        &mut self,
        call: &Call,
        of: &Element,
        names: &mut BTreeMap<String, usize>,
        parts: &mut usize,
    ) -> Outcome<Vec<Selection>> {
        let mut found = Vec::new();
        for select in of.all("selectSet") {
            count(parts)?;
            let name = select.text_of("name").map(str::trim).unwrap_or_default();
            if select.kind.as_deref() != Some("TraversalSpec") {
                found.push(Selection::Named(name.to_owned()));
                continue;
            }
            let kind = type_name(select.text_of("type").unwrap_or_default())?;
            let path = select.text_of("path").unwrap_or_default().trim().to_owned();
            properties::check_path(call, &kind, &path)?;
            // Its place is taken before those in it take theirs.
            let at = self.traversals.len();
            self.traversals.push(Traversal {
                kind,
                path,
                skip: select.flag("skip"),
                select: Vec::new(),
            });
            if !name.is_empty() {
                names.insert(name.to_owned(), at);
            }
            let inner = self.selections(call, select, names, parts)?;
            if let Some(traversal) = self.traversals.get_mut(at) {
                traversal.select = inner;
            }
            found.push(Selection::At(at));
        }
        Ok(found)
    }

    /// The objects that are selected now, with what is read of them.
    pub(crate) fn evaluate(&self, call: &Call) -> Outcome<Vec<Found>> {
        // Some objects are in no inventory; without a session there are no others.
        let world = if !self.needs_world() {
            None
        } else if self.names_all() {
            Some(call.world_of(self.objects.iter().map(|set| &set.object))?)
        } else {
            Some(call.world()?)
        };
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for set in &self.objects {
            if !properties::exists(call, world.as_ref(), &set.object) {
                if self.report_missing {
                    continue;
                }
                return Err(Fault::object_not_found(&set.object));
            }
            let mut walk = Walk {
                call,
                world: world.as_ref(),
                seen: &mut seen,
                walked: BTreeSet::new(),
                found: &mut found,
                spec: self,
            };
            if !set.skip {
                walk.take(&set.object)?;
            }
            walk.follow(&set.object, &set.select)?;
        }
        Ok(found)
    }

    /// Whether all VMs that it looks at are named in it.
    fn names_all(&self) -> bool {
        let alone = |kind: &str| matches!(kind, "VirtualMachine" | "Task" | "ServiceInstance");
        self.traversals.is_empty() && self.objects.iter().all(|set| alone(set.object.kind))
    }

    /// Whether it may look at anything that is in the inventory.
    fn needs_world(&self) -> bool {
        let outside = |kind: &str| {
            matches!(
                kind,
                "Task" | "TaskManager" | "ServiceInstance" | "SessionManager"
            )
        };
        !self.traversals.is_empty() || !self.objects.iter().all(|set| outside(set.object.kind))
    }

    fn read_of(
        &self,
        call: &Call,
        world: Option<&World>,
        object: &MoRef,
    ) -> Outcome<Option<Found>> {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        let mut selected = false;
        for set in &self.properties {
            if !schema().is(object.kind, &set.kind) {
                continue;
            }
            selected = true;
            let all: Vec<String>;
            let paths = if set.all {
                all = schema()
                    .fields(object.kind)
                    .into_iter()
                    .filter(|field| field.since <= call.version)
                    .map(|field| field.name.to_owned())
                    .collect();
                &all
            } else {
                &set.paths
            };
            for path in paths {
                match properties::at_path(call, world, object, path) {
                    Ok(Some(value)) => {
                        values.insert(path.clone(), value);
                    }
                    Ok(None) => {}
                    // It went while it was looked at.
                    Err(fault) if fault.kind() == "ManagedObjectNotFound" => return Ok(None),
                    Err(fault) if fault.kind() == "NotAuthenticated" => return Err(fault),
                    Err(fault) => missing.push((path.clone(), fault)),
                }
            }
        }
        Ok(selected.then(|| Found {
            object: object.clone(),
            values,
            missing,
        }))
    }
}

struct Walk<'a> {
    call: &'a Call,
    world: Option<&'a World>,
    /// Objects that were read.
    seen: &'a mut BTreeSet<MoRef>,
    /// Traversals that were walked, from which object.
    walked: BTreeSet<(MoRef, usize)>,
    found: &'a mut Vec<Found>,
    spec: &'a FilterSpec,
}

impl Walk<'_> {
    fn take(&mut self, object: &MoRef) -> Outcome<()> {
        if !self.seen.insert(object.clone()) {
            return Ok(());
        }
        if let Some(found) = self.spec.read_of(self.call, self.world, object)? {
            self.found.push(found);
        }
        Ok(())
    }

    /// Goes on from an object. A list of what is left takes the place of recursion: filters can be deep.
    fn follow(&mut self, from: &MoRef, select: &[Selection]) -> Outcome<()> {
        let mut left: Vec<(MoRef, usize)> =
            places(select).rev().map(|at| (from.clone(), at)).collect();
        while let Some((object, at)) = left.pop() {
            let Some(traversal) = self.spec.traversals.get(at) else {
                continue;
            };
            if !schema().is(object.kind, &traversal.kind)
                || !self.walked.insert((object.clone(), at))
            {
                continue;
            }
            if self.walked.len() > MOST_OBJECTS {
                return Err(Fault::invalid_argument(
                    "specSet",
                    "the filter selects too many objects",
                ));
            }
            let targets = match properties::at_path(self.call, self.world, &object, &traversal.path)
            {
                Ok(Some(value)) => references(value),
                Ok(None) => Vec::new(),
                Err(fault) if fault.kind() == "NotAuthenticated" => return Err(fault),
                Err(_) => Vec::new(),
            };
            let mut next = Vec::new();
            for target in targets {
                if !traversal.skip {
                    self.take(&target)?;
                }
                next.extend(places(&traversal.select).map(|at| (target.clone(), at)));
            }
            next.reverse();
            left.extend(next);
        }
        Ok(())
    }
}

fn places(select: &[Selection]) -> impl DoubleEndedIterator<Item = usize> + '_ {
    select.iter().filter_map(|one| match one {
        Selection::At(at) => Some(*at),
        Selection::Named(_) => None,
    })
}

fn references(value: Value) -> Vec<MoRef> {
    match value {
        Value::Ref(reference) => vec![reference],
        Value::List(_, items) => items.into_iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

fn count(parts: &mut usize) -> Outcome<()> {
    *parts += 1;
    if *parts > MOST_PARTS {
        return Err(Fault::invalid_argument(
            "specSet",
            format!("a filter has at most {MOST_PARTS} parts"),
        ));
    }
    Ok(())
}

/// A type that can have objects.
fn type_name(text: &str) -> Outcome<String> {
    let name = text.trim();
    let name = name.rsplit(':').next().unwrap_or(name);
    if name == "ManagedObject"
        || schema()
            .get(name)
            .is_some_and(|it| it.kind == Kind::Managed)
    {
        return Ok(name.to_owned());
    }
    let shown: String = name.chars().take(80).collect();
    Err(Fault::new(
        "InvalidType",
        format!("\"{shown}\" is not a type of managed objects that is known here"),
    )
    .with("argument", "type"))
}

fn property_set(call: &Call, set: &Element, parts: &mut usize) -> Outcome<PropertySet> {
    count(parts)?;
    let kind = type_name(set.text_of("type").unwrap_or_default())?;
    let mut paths = Vec::new();
    for path in set.all("pathSet") {
        count(parts)?;
        let path = path.text.trim();
        properties::check_path(call, &kind, path)?;
        paths.push(path.to_owned());
    }
    Ok(PropertySet {
        kind,
        all: set.flag("all"),
        paths,
    })
}
