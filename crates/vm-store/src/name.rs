//! Names that become names of files: of VMs and of key providers.

/// Longest name, in characters.
pub const MAX_NAME_CHARACTERS: usize = 80;

/// Longest name in bytes: with our suffixes it must fit the 255 bytes of a file name.
pub const MAX_NAME_BYTES: usize = 200;

/// Longest name of a file of ours, in bytes: that of a temporary one in its place must still fit.
const MAX_FILE_NAME_BYTES: usize = 220;

/// Checks a name; the error is the rule that it breaks.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.chars().count() > MAX_NAME_CHARACTERS {
        return Err("a name has at most 80 characters");
    }
    if name.len() > MAX_NAME_BYTES {
        return Err("a name has at most 200 bytes of UTF-8");
    }
    check_file_name(name)
}

/// Checks the name of a file in a VM's folder, which is a VM's name with something of ours behind it.
pub fn check_file_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("a name has at least one character");
    }
    if name.len() > MAX_FILE_NAME_BYTES {
        return Err("the name of a file has at most 220 bytes of UTF-8");
    }
    if name == ".." || name == "." {
        return Err("\".\" and \"..\" are folders, not names");
    }
    if name.contains(['/', '\\']) {
        return Err("a name contains no \"/\" and no \"\\\"");
    }
    if name.contains('\0') {
        return Err("a name contains no NUL");
    }
    if name.chars().any(is_invisible) {
        return Err("a name contains no control characters");
    }
    if name.starts_with('.') {
        return Err("a name does not begin with a dot; such names are temporary files");
    }
    if name.trim() != name {
        return Err("a name neither begins nor ends with a space");
    }
    Ok(())
}

/// Control characters, and those that turn the direction of text or hide: a name must look like what it is.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_of_all_scripts_pass() {
        for name in [
            "web01",
            "My VM (2)",
            "Zürich",
            "仮想マシン",
            "a.b",
            "x",
            "🦀",
            &"a".repeat(80),
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn each_rule_refuses() {
        for (name, word) in [
            ("", "at least one"),
            (&"a".repeat(81), "80 characters"),
            (&"🦀".repeat(51), "200 bytes"),
            ("..", "folders"),
            (".", "folders"),
            ("a/b", "\"/\""),
            ("../x", "\"/\""),
            ("a\\b", "\"/\""),
            ("a\0b", "NUL"),
            ("a\nb", "control"),
            ("a\u{202e}b", "control"),
            (".hidden", "dot"),
            (" a", "space"),
            ("a ", "space"),
        ] {
            let rule = check_name(name).unwrap_err();
            assert!(rule.contains(word), "{name:?}: {rule}");
        }
    }
}
