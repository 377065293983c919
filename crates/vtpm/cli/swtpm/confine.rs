//! What a TPM process gives up before it serves anybody: the rest of the file system and the rights of root.

use std::fs;
use std::path::Path;

use anyhow::Context;
use rustix::process::{Gid, Uid, chroot, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Somebody in the table of users.
#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    id: u32,
    group: u32,
}

/// Goes into the folder `root`, which is all that the process sees from then on, and becomes `user`. There must be no second
/// thread yet: these properties belong to threads.
pub(super) fn enter(root: Option<&Path>, user: Option<&str>) -> anyhow::Result<()> {
    // The tables of users are read where the name was given.
    let user = user.map(find_user).transpose()?;
    if let Some(root) = root {
        chroot(root)
            .map_err(std::io::Error::from)
            .and_then(|()| std::env::set_current_dir("/"))
            .with_context(|| format!("--chroot {}: only root can do that", root.display()))?;
    }
    if let Some((user, groups)) = user {
        become_user(&user, &groups)
            .with_context(|| format!("--runas {}: only root can do that", user.name))?;
    }
    Ok(())
}

fn become_user(user: &User, groups: &[u32]) -> std::io::Result<()> {
    let (id, group) = (Uid::from_raw(user.id), Gid::from_raw(user.group));
    if getuid() != id {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups)?;
    }
    // The groups first: the right to change them goes with the user.
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(id, id, id)?;
    Ok(())
}

/// A user by name or number, with all groups.
fn find_user(name: &str) -> anyhow::Result<(User, Vec<u32>)> {
    let table = |path: &str| fs::read_to_string(path).context(path.to_owned());
    let user = parse_user(&table("/etc/passwd")?, name)
        .with_context(|| format!("--runas: '{name}' is not in /etc/passwd"))?;
    let mut groups = parse_groups(&table("/etc/group")?, &user.name);
    groups.push(user.group);
    Ok((user, groups))
}

fn parse_user(table: &str, name: &str) -> Option<User> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (found, _, id, group) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        if found != name && id != name {
            return None;
        }
        Some(User {
            name: found.to_owned(),
            id: id.parse().ok()?,
            group: group.parse().ok()?,
        })
    })
}

fn parse_groups(table: &str, user: &str) -> Vec<u32> {
    let member = |line: &str| {
        let mut fields = line.split(':');
        let (_, _, id, members) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let is_member = members.split(',').any(|member| member == user);
        is_member.then(|| id.parse().ok()).flatten()
    };
    table.lines().filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/bash\ntss:x:104:110:TPM:/var/lib/tpm:/bin/false\nbroken:x\n";

    #[test]
    fn users_go_by_name_and_number() {
        let tss = parse_user(USERS, "tss").unwrap();
        assert_eq!((tss.id, tss.group), (104, 110));
        assert_eq!(parse_user(USERS, "104"), Some(tss));
        assert_eq!(parse_user(USERS, "broken"), None);
        assert_eq!(parse_user(USERS, "nobody"), None);
    }

    #[test]
    fn all_groups_of_a_user_are_found() {
        let groups = "tss:x:110:\nkvm:x:106:qemu,tss\nlog:x:4:tssd\nbroken\n";
        assert_eq!(parse_groups(groups, "tss"), [106]);
    }
}
