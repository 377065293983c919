//! The typed form of each of swtpm's options.

use std::net::IpAddr;
use std::path::PathBuf;

use tpm_server::StartupKind;
use vtpm_host::StatePlace;

use super::options::Values;
use crate::confine::system_calls::Offence;

/// `--tpmstate`
#[derive(Clone, Debug)]
pub(super) struct StateOption {
    pub(super) place: StatePlace,
    /// What was asked for and is not granted, as the state is kept with more care.
    pub(super) stricter: Vec<&'static str>,
}

impl std::str::FromStr for StateOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let place = match (values.take("dir")?, values.take("backend-uri")?) {
            (Some(folder), None) if !folder.is_empty() => StatePlace::folder(folder),
            (Some(_), None) => return Err("the name of the state folder is empty".into()),
            (None, Some(uri)) if uri.starts_with("dir://") || uri.starts_with("file://") => {
                uri.parse()?
            }
            (None, Some(uri)) => {
                return Err(format!(
                    "'{uri}': the state lives in a folder or a file, so this must be dir:// or file://"
                ));
            }
            (Some(_), Some(_)) => return Err("'dir' and 'backend-uri' exclude each other".into()),
            (None, None) => return Err("'dir=' or 'backend-uri=' is missing".into()),
        };
        // The files are for their owner alone, always locked and always synchronised.
        let mut stricter = Vec::new();
        if values
            .take_mode("mode")?
            .is_some_and(|mode| mode & 0o077 != 0)
        {
            stricter.push("mode: the files are for their owner alone");
        }
        if values.take_flag("lock")? == Some(false) {
            stricter.push("lock=false: the state is always locked");
        }
        if values.take_flag("fsync")? == Some(false) {
            stricter.push("fsync=false: the state is on stable storage before an answer leaves");
        }
        // The state before the last one is always there, in the other slot of the same file, and taken when the newest is not whole.
        if values.take_flag("backup")? == Some(true) && place.is_one_file() {
            return Err("'backup' goes with a folder: one file has no other beside it".into());
        }
        values.finish()?;
        Ok(Self { place, stricter })
    }
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp {
        port: u16,
        address: IpAddr,
        interface: Option<String>,
    },
    Unix {
        path: PathBuf,
        mode: u32,
        owner: Option<u32>,
        group: Option<u32>,
    },
    /// A descriptor that was inherited, either listening or connected.
    Descriptor(i32),
    /// A character device.
    Device(PathBuf),
    /// A character device or a connected socket that was inherited.
    DeviceDescriptor(i32),
    /// A device that the kernel's vTPM proxy makes.
    Proxy,
}

/// `--server`
#[derive(Clone, Debug)]
pub(super) struct ServerOption {
    pub(super) place: Place,
    pub(super) disconnect: bool,
}

impl std::str::FromStr for ServerOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let disconnect = values.take_flag("disconnect")?.unwrap_or(false);
        let kind = values.take("type")?;
        let place = place(kind.as_deref().unwrap_or("tcp"), &mut values, false)?;
        values.finish()?;
        Ok(Self { place, disconnect })
    }
}

/// `--ctrl`
#[derive(Clone, Debug)]
pub(super) struct ControlOption {
    pub(super) place: Place,
    pub(super) terminate: bool,
}

impl std::str::FromStr for ControlOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let terminate = values.take_flag("terminate")?.unwrap_or(false);
        let kind = values.need("type")?;
        let place = place(&kind, &mut values, true)?;
        values.finish()?;
        Ok(Self { place, terminate })
    }
}

fn place(kind: &str, values: &mut Values, control: bool) -> Result<Place, String> {
    let client = if control {
        values.take_parsed("clientfd")?
    } else {
        None
    };
    if let Some(descriptor) = values.take_parsed("fd")?.or(client) {
        return match descriptor {
            3.. => Ok(Place::Descriptor(descriptor)),
            _ => Err(format!("descriptor {descriptor} cannot be a socket here")),
        };
    }
    match kind {
        "tcp" => {
            let port = match values.take_parsed("port")? {
                Some(port) => port,
                None if control => return Err("'port=' or 'fd=' is missing".into()),
                None => environment_port()?,
            };
            let address = values
                .take_parsed("bindaddr")?
                .unwrap_or(IpAddr::from([127, 0, 0, 1]));
            Ok(Place::Tcp {
                port,
                address,
                interface: values.take("ifname")?,
            })
        }
        "unixio" => {
            let path = values
                .take("path")?
                .filter(|path| !path.is_empty())
                .ok_or("'path=' or 'fd=' is missing")?;
            let owner = values
                .take("uid")?
                .map(|name| number_of(&name, "/etc/passwd"))
                .transpose()?;
            let group = values
                .take("gid")?
                .map(|name| number_of(&name, "/etc/group"))
                .transpose()?;
            Ok(Place::Unix {
                path: path.into(),
                mode: values.take_mode("mode")?.unwrap_or(0o600),
                owner,
                group,
            })
        }
        other => Err(format!("'type={other}' is neither tcp nor unixio")),
    }
}

fn environment_port() -> Result<u16, String> {
    let port = std::env::var("TPM_PORT").map_err(|_| "'port=' or 'fd=' is missing")?;
    port.parse()
        .map_err(|_| format!("TPM_PORT is '{port}', which is no port"))
}

/// The number of a user or group, by the tables of this machine.
fn number_of(name: &str, table: &str) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(table).map_err(|error| format!("{table}: {error}"))?;
    let entry = text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(':')?
            .split(':')
            .nth(1)
    });
    entry
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("'{name}' is not in {table}"))
}

/// `--flags`
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FlagsOption {
    pub(super) not_need_init: bool,
    pub(super) startup: Option<StartupKind>,
    pub(super) disable_auto_shutdown: bool,
}

impl std::str::FromStr for FlagsOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let mut flag = |key| Ok::<_, String>(values.take_flag(key)?.unwrap_or(false));
        let (clear, state, deactivated, none) = (
            flag("startup-clear")?,
            flag("startup-state")?,
            flag("startup-deactivated")?,
            flag("startup-none")?,
        );
        let (not_need_init, disable_auto_shutdown) =
            (flag("not-need-init")?, flag("disable-auto-shutdown")?);
        values.finish()?;
        let startup = match (clear, state, deactivated, none) {
            (false, false, true, false) => {
                return Err("a TPM 2.0 has no startup of the kind 'startup-deactivated'".into());
            }
            (true, false, false, false) => Some(StartupKind::Clear),
            (false, true, false, false) => Some(StartupKind::State),
            (false, false, false, _) => None,
            _ => return Err("only one kind of startup can be asked for".into()),
        };
        Ok(Self {
            not_need_init: not_need_init || startup.is_some(),
            startup,
            disable_auto_shutdown,
        })
    }
}

/// `--locality`
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LocalityOption {
    pub(super) reject_locality_4: bool,
    pub(super) allow_set_locality: bool,
}

impl std::str::FromStr for LocalityOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let reject_locality_4 = values.take_flag("reject-locality-4")?.unwrap_or(false);
        let allow_set_locality = values.take_flag("allow-set-locality")?.unwrap_or(false);
        values.finish()?;
        Ok(Self {
            reject_locality_4,
            allow_set_locality,
        })
    }
}

/// `--log`
#[derive(Clone, Debug)]
pub(super) struct LogOption {
    pub(super) target: LogTarget,
    pub(super) level: u32,
    pub(super) prefix: String,
    pub(super) truncate: bool,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LogTarget {
    StandardError,
    Nowhere,
    File(PathBuf),
    Descriptor(i32),
}

impl std::str::FromStr for LogOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let target = match (values.take("file")?, values.take_parsed("fd")?) {
            (Some(file), None) if file == "-" => LogTarget::Nowhere,
            (Some(file), None) => LogTarget::File(file.into()),
            (None, Some(descriptor)) => LogTarget::Descriptor(descriptor),
            (None, None) => LogTarget::StandardError,
            (Some(_), Some(_)) => return Err("'file' and 'fd' exclude each other".into()),
        };
        let level = values.take_parsed("level")?.unwrap_or(1);
        let prefix = values.take("prefix")?.unwrap_or_default();
        let truncate = values.take_flag("truncate")?.unwrap_or(false);
        values.finish()?;
        Ok(Self {
            target,
            level,
            prefix,
            truncate,
        })
    }
}

/// `--pid`
#[derive(Clone, Debug)]
pub(super) enum PidOption {
    File(PathBuf),
    Descriptor(i32),
}

impl std::str::FromStr for PidOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let option = match (values.take("file")?, values.take_parsed("fd")?) {
            (Some(file), None) => Self::File(file.into()),
            (None, Some(descriptor)) => Self::Descriptor(descriptor),
            _ => return Err("one of 'file=' and 'fd=' is needed".into()),
        };
        values.finish()?;
        Ok(option)
    }
}

/// `--migration`
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MigrationOption {
    pub(super) incoming: bool,
    pub(super) release_lock_outgoing: bool,
}

impl std::str::FromStr for MigrationOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let incoming = values.take_flag("incoming")?.unwrap_or(false);
        let release_lock_outgoing = values.take_flag("release-lock-outgoing")?.unwrap_or(false);
        values.finish()?;
        Ok(Self {
            incoming,
            release_lock_outgoing,
        })
    }
}

/// `--seccomp`
#[derive(Clone, Copy, Debug)]
pub(super) struct SeccompOption(pub(super) Option<Offence>);

impl std::str::FromStr for SeccompOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Values::parse(text)?;
        let action = values.need("action")?;
        values.finish()?;
        match action.as_str() {
            "none" => Ok(Self(None)),
            "kill" => Ok(Self(Some(Offence::Kill))),
            "log" => Ok(Self(Some(Offence::Log))),
            _ => Err(format!(
                "'action={action}' is none of the actions kill, log and none"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::ProfileOption;

    #[test]
    fn options_that_libvirt_passes_are_read() {
        let control: ControlOption = "type=unixio,path=/run/x.sock,mode=0600".parse().unwrap();
        assert_eq!(
            control.place,
            Place::Unix {
                path: "/run/x.sock".into(),
                mode: 0o600,
                owner: None,
                group: None
            }
        );
        let state: StateOption = "dir=/var/lib/x,mode=0600,lock".parse().unwrap();
        assert_eq!(state.place, StatePlace::folder("/var/lib/x"));
        let state: StateOption = "backend-uri=file:///x,lock".parse().unwrap();
        assert!(state.place.is_one_file());
        assert!(state.stricter.is_empty());
        let state: StateOption = "dir=/x,lock,backup,fsync".parse().unwrap();
        assert!(state.stricter.is_empty());
        let state: StateOption = "dir=/x,mode=0640,lock=false,fsync=false".parse().unwrap();
        assert_eq!(state.stricter.len(), 3);
        let log: LogOption = "file=/var/log/x.log,level=5".parse().unwrap();
        assert_eq!(
            (log.target, log.level),
            (LogTarget::File("/var/log/x.log".into()), 5)
        );
        let migration: MigrationOption = "release-lock-outgoing,incoming".parse().unwrap();
        assert!(migration.incoming && migration.release_lock_outgoing);
    }

    #[test]
    fn options_that_test_suites_pass_are_read() {
        let server: ServerOption = "type=tcp,port=2321,disconnect".parse().unwrap();
        assert!(server.disconnect);
        assert_eq!(
            server.place,
            Place::Tcp {
                port: 2321,
                address: IpAddr::from([127, 0, 0, 1]),
                interface: None
            }
        );
        assert!("port=2321".parse::<ServerOption>().is_ok());
        let flags: FlagsOption = "not-need-init,startup-clear".parse().unwrap();
        assert_eq!(
            (flags.not_need_init, flags.startup),
            (true, Some(StartupKind::Clear))
        );
        let flags: FlagsOption = "startup-state".parse().unwrap();
        assert!(flags.not_need_init, "a startup needs a TPM with power");
        assert!(
            "type=tcp,fd=7"
                .parse::<ServerOption>()
                .is_ok_and(|server| server.place == Place::Descriptor(7))
        );
        assert!(
            "type=unixio,clientfd=8,terminate"
                .parse::<ControlOption>()
                .is_ok_and(|control| control.terminate)
        );
        assert_eq!(
            "name=default".parse(),
            Ok(ProfileOption::Name("default".into()))
        );
    }

    #[test]
    fn what_is_not_supported_is_refused_with_words() {
        let refused = [
            "backend-uri=http:///x".parse::<StateOption>().unwrap_err(),
            "backend-uri=file:///x,backup"
                .parse::<StateOption>()
                .unwrap_err(),
            "path=/x".parse::<StateOption>().unwrap_err(),
            "type=pipe".parse::<ServerOption>().unwrap_err(),
            "type=tcp,port=70000".parse::<ServerOption>().unwrap_err(),
            "type=tcp,port=1,color=red"
                .parse::<ServerOption>()
                .unwrap_err(),
            "type=unixio".parse::<ControlOption>().unwrap_err(),
            "type=tcp,fd=1".parse::<ControlOption>().unwrap_err(),
            "path=/x".parse::<ControlOption>().unwrap_err(),
            "startup-deactivated".parse::<FlagsOption>().unwrap_err(),
            "startup-clear,startup-state"
                .parse::<FlagsOption>()
                .unwrap_err(),
            "need-init".parse::<FlagsOption>().unwrap_err(),
            "action=shrug".parse::<SeccompOption>().unwrap_err(),
            "name=custom,remove-disabled=fips-host"
                .parse::<ProfileOption>()
                .unwrap_err(),
            "level=1".parse::<PidOption>().unwrap_err(),
            "type=unixio,path=/x,uid=nobody-of-that-name"
                .parse::<ControlOption>()
                .unwrap_err(),
        ];
        for message in refused {
            assert!(
                message.contains('\'')
                    || message.contains("missing")
                    || message.contains("only one")
                    || message.contains("descriptor"),
                "{message}"
            );
        }
    }

    #[test]
    fn users_are_found_by_name() {
        assert_eq!(number_of("root", "/etc/passwd"), Ok(0));
        assert_eq!(number_of("42", "/etc/passwd"), Ok(42));
    }
}
