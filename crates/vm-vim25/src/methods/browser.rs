//! Looking into datastores: the folders of VMs and their files.

use super::Request;
use crate::arguments::Read as _;
use crate::fault::{self, About, Fault, Outcome};
use crate::inventory;
use crate::server::Work;
use crate::value::{Object, Value};
use vm_inventory::{Error, Name, StoredFile};

/// What is looked for, and where.
struct Search {
    datastore: Name,
    /// The folder in the datastore; `None` for the datastore itself.
    folder: Option<Name>,
    patterns: Vec<String>,
    caseless: bool,
}

pub(super) fn search(request: &Request<'_>) -> Outcome<Option<Value>> {
    let search = Search::read(request)?;
    let of = inventory::datastore(&search.datastore);
    let name = search.datastore.to_string();
    let task = request
        .call
        .start("SearchDatastore_Task", &of, name, move |work| {
            Ok(Some(search.look(work, search.folder.as_ref())?.into()))
        })?;
    Ok(Some(task))
}

pub(super) fn search_below(request: &Request<'_>) -> Outcome<Option<Value>> {
    let search = Search::read(request)?;
    let of = inventory::datastore(&search.datastore);
    let name = search.datastore.to_string();
    let task = request
        .call
        .start("SearchDatastoreSubFolders_Task", &of, name, move |work| {
            let mut found = vec![search.look(work, search.folder.as_ref())?];
            if search.folder.is_none() {
                for entry in search.list(work, None)? {
                    let folder = entry.name.parse::<Name>();
                    if let (None, Ok(folder)) = (entry.bytes, folder) {
                        found.push(search.look(work, Some(&folder))?);
                    }
                }
            }
            Ok(Some(Value::objects(
                "HostDatastoreBrowserSearchResults",
                found,
            )))
        })?;
    Ok(Some(task))
}

impl Search {
    fn read(request: &Request<'_>) -> Outcome<Self> {
        let path = request.text("datastorePath")?.trim().to_owned();
        let wrong = || {
            Fault::new("InvalidDatastorePath", "a path is [DATASTORE] FOLDER")
                .with("datastorePath", path.chars().take(200).collect::<String>())
        };
        let (datastore, folder) = path
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .ok_or_else(wrong)?;
        let world = request.world()?;
        let found = world
            .datastores
            .iter()
            .find(|it| it.name.as_str() == datastore.trim());
        let datastore = found.ok_or_else(wrong)?.name.clone();
        let own = inventory::datastore_browser(&datastore);
        if request.this != own && request.this != inventory::any_datastore_browser() {
            return Err(wrong());
        }
        let folder = match folder.trim().trim_matches('/') {
            "" | "." => None,
            folder => Some(folder.parse().map_err(|_| not_found(&path))?),
        };
        let spec = request.args.child("searchSpec");
        let patterns = spec
            .into_iter()
            .flat_map(|spec| spec.all("matchPattern"))
            .map(|it| it.text.trim().to_owned())
            .collect();
        Ok(Self {
            datastore,
            folder,
            patterns,
            caseless: spec.is_some_and(|spec| spec.flag("searchCaseInsensitive")),
        })
    }

    fn path(&self, folder: Option<&Name>) -> String {
        match folder {
            Some(folder) => format!("[{}] {folder}/", self.datastore),
            None => format!("[{}]", self.datastore),
        }
    }

    fn list(&self, work: &Work, folder: Option<&Name>) -> Outcome<Vec<StoredFile>> {
        let listed = work.act.stored_files(&self.datastore, folder);
        listed.map_err(|error| match error {
            Error::NotFound { .. } => not_found(&self.path(folder)),
            other => fault::of(&other, &About::default()),
        })
    }

    fn look(&self, work: &Work, folder: Option<&Name>) -> Outcome<Object> {
        let mut files = self.list(work, folder)?;
        files.retain(|it| {
            self.patterns.is_empty()
                || self
                    .patterns
                    .iter()
                    .any(|pattern| self.fits(pattern, &it.name))
        });
        let files = files.into_iter().map(|it| match it.bytes {
            Some(bytes) => Object::new("FileInfo")
                .with("path", it.name)
                .with("fileSize", i64::try_from(bytes).unwrap_or(i64::MAX)),
            None => Object::new("FolderFileInfo").with("path", it.name),
        });
        Ok(Object::new("HostDatastoreBrowserSearchResults")
            .with("datastore", inventory::datastore(&self.datastore))
            .with("folderPath", self.path(folder))
            .with("file", Value::objects("FileInfo", files)))
    }

    fn fits(&self, pattern: &str, name: &str) -> bool {
        if self.caseless {
            return fits(&pattern.to_lowercase(), &name.to_lowercase());
        }
        fits(pattern, name)
    }
}

fn not_found(path: &str) -> Box<Fault> {
    let shown: String = path.chars().take(200).collect();
    Fault::new("FileNotFound", format!("File {shown} was not found")).with("file", shown)
}

/// Whether a name is what a pattern with `*` (any text) and `?` (any character) means.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(it) if *it == '?' || Some(it) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, reach)) = star else {
                    return false;
                };
                star = Some((at, reach + 1));
                p = at + 1;
                n = reach + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|it| *it == '*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_mean_what_shells_mean_by_them() {
        for (pattern, name, meant) in [
            ("*", "a", true),
            ("*.vmx", "web01.vmx", true),
            ("*.vmx", "web01.nvram", false),
            ("w?b*1.v*x", "web01.vmx", true),
            ("web", "web01", false),
            ("", "", true),
            ("**a", "bba", true),
            ("a*b*c", "axxbyyb", false),
        ] {
            assert_eq!(fits(pattern, name), meant, "{pattern} {name}");
        }
    }
}
