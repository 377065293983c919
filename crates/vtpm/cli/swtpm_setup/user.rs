//! Who runs this, for the log.

use rustix::process::{getgid, getuid};

/// User and group by their names, or by number where they have none.
pub(super) fn current() -> String {
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    format!(
        "{}:{}",
        name("/etc/passwd", user),
        name("/etc/group", group)
    )
}

/// The name in front of a number in a table of the system.
fn name(table: &str, number: u32) -> String {
    let text = std::fs::read_to_string(table).unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, found) = (fields.next()?, fields.nth(1)?);
        (found.parse() == Ok(number)).then(|| name.to_owned())
    };
    text.lines()
        .find_map(entry)
        .unwrap_or_else(|| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_names_where_they_have_one() {
        assert_eq!(name("/etc/passwd", 0), "root");
        assert_eq!(name("/etc/passwd", 4_000_000_000), "4000000000");
        assert_eq!(name("/no such table", 0), "0");
        assert!(current().contains(':'));
    }
}
