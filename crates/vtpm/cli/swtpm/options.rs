//! swtpm's way of writing options: `key=value,flag,key={json}`.

use std::fmt;
use std::str::FromStr;

/// The values of one option, each with its key; a key without a value is a flag.
#[derive(Clone, Debug)]
pub(super) struct Values(Vec<(String, Option<String>)>);

impl Values {
    /// Cuts an option into its values. What stands in braces belongs together.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut values: Vec<(String, Option<String>)> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (item, after) = split_item(rest)?;
            rest = after;
            let (key, value) = match item.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (item, None),
            };
            if key.is_empty() {
                return Err(format!("'{text}' has an empty part"));
            }
            if values.iter().any(|(known, _)| known == key) {
                return Err(format!("'{key}' is given twice"));
            }
            values.push((key.to_owned(), value));
        }
        Ok(Self(values))
    }

    /// Takes a value out; `None` if its key is not there.
    pub(super) fn take(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.remove(key) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(format!("'{key}' needs a value")),
        }
    }

    /// Takes a value out that must be there.
    pub(super) fn need(&mut self, key: &str) -> Result<String, String> {
        self.take(key)?
            .ok_or_else(|| format!("'{key}=' is missing"))
    }

    /// Takes a value out and reads it.
    pub(super) fn take_parsed<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, String>
    where
        T::Err: fmt::Display,
    {
        let Some(value) = self.take(key)? else {
            return Ok(None);
        };
        value
            .parse()
            .map(Some)
            .map_err(|error| format!("'{key}={value}': {error}"))
    }

    /// Takes out the permission bits of a file, which are octal.
    pub(super) fn take_mode(&mut self, key: &str) -> Result<Option<u32>, String> {
        let Some(value) = self.take(key)? else {
            return Ok(None);
        };
        match u32::from_str_radix(&value, 8) {
            Ok(mode) if mode <= 0o777 => Ok(Some(mode)),
            _ => Err(format!(
                "'{key}={value}' is not an octal file mode up to 0777"
            )),
        }
    }

    /// Takes a flag out: alone, or with `true`, `false`, `1`, `0`.
    pub(super) fn take_flag(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.remove(key) {
            None => Ok(None),
            Some(None) => Ok(Some(true)),
            Some(Some(value)) => match value.to_ascii_lowercase().as_str() {
                "true" | "1" => Ok(Some(true)),
                "false" | "0" => Ok(Some(false)),
                _ => Err(format!("'{key}={value}' is neither true nor false")),
            },
        }
    }

    /// Nothing may be left over.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("'{key}' is not known here")),
        }
    }

    fn remove(&mut self, key: &str) -> Option<Option<String>> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(at).1)
    }
}

/// The first item of `text`, and what comes after the comma.
fn split_item(text: &str) -> Result<(&str, &str), String> {
    let mut depth = 0_u32;
    let braces = text
        .find("={")
        .filter(|at| !text.get(..*at).unwrap_or_default().contains(','));
    for (at, letter) in text.char_indices() {
        match letter {
            '{' if braces.is_some() => depth = depth.saturating_add(1),
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                let (item, after) = text.split_at(at);
                return Ok((item, after.get(1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    if depth > 0 {
        Err(format!("'{text}' has a brace that is not closed"))
    } else {
        Ok((text, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_flags_and_json_are_told_apart() {
        let mut values = Values::parse(r#"type=unixio,path=/a b/c=d,mode=0600,terminate,profile={"a":[1,2],"b":{"c":3}},lock=false"#).unwrap();
        assert_eq!(values.need("type").unwrap(), "unixio");
        assert_eq!(values.need("path").unwrap(), "/a b/c=d");
        assert_eq!(values.take_mode("mode").unwrap(), Some(0o600));
        assert_eq!(values.take_flag("terminate").unwrap(), Some(true));
        assert_eq!(values.take_flag("lock").unwrap(), Some(false));
        assert_eq!(
            values.need("profile").unwrap(),
            r#"{"a":[1,2],"b":{"c":3}}"#
        );
        assert_eq!(values.take("absent").unwrap(), None);
        values.finish().unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fault = |text: &str, use_it: fn(&mut Values) -> Result<(), String>| {
            let error = Values::parse(text).and_then(|mut values| {
                use_it(&mut values)?;
                values.finish()
            });
            error.unwrap_err()
        };
        assert!(fault("prot=7", |values| values.take("port").map(drop)).contains("'prot'"));
        assert!(
            fault("port=x", |values| values
                .take_parsed::<u16>("port")
                .map(drop))
            .contains("port=x")
        );
        assert!(fault("port", |values| values.take("port").map(drop)).contains("'port'"));
        assert!(fault("mode=0888", |values| values.take_mode("mode").map(drop)).contains("octal"));
        assert!(fault("mode=1777", |values| values.take_mode("mode").map(drop)).contains("octal"));
        assert!(fault("lock=maybe", |values| values.take_flag("lock").map(drop)).contains("maybe"));
        assert!(fault("a=1,a=2", |_| Ok(())).contains("twice"));
        assert!(fault("a=1,,b", |_| Ok(())).contains("empty"));
        assert!(fault("p={\"a\"", |_| Ok(())).contains("brace"));
        assert!(fault("", |values| values.need("type").map(drop)).contains("type"));
    }
}
