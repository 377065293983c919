//! Where others find what belongs to the authority of a vCenter, and what they find there.

use super::Operations;
use super::certificate::refused;
use crate::certificates::{AuthorityRecord, Der, StoredAuthority};
use crate::{Error, Name, Result};

impl Operations {
    /// The certificate of one of a vCenter's authorities (DER), if the vCenter publishes them. For everybody: it knows no user.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn published_issuer(&self, vcenter: &str, authority: &str) -> Result<Option<Der>> {
        let found = self.published(vcenter, authority)?;
        Ok(found.and_then(|(_, authority)| authority.chain.into_iter().next()))
    }

    /// How many certificates are revoked, if the vCenter publishes that: whoever has a list of then has the newest one.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn published_revocations(&self, vcenter: &str, authority: &str) -> Result<Option<usize>> {
        let Some((vcenter, _)) = self.published(vcenter, authority)? else {
            return Ok(None);
        };
        Ok(Some(self.revoked(&vcenter)?.len()))
    }

    /// The list of what is revoked, of one of a vCenter's authorities (DER), if the vCenter publishes that.
    ///
    /// # Errors
    /// When the authority's key cannot be had.
    pub fn published_list(&self, vcenter: &str, authority: &str) -> Result<Option<Der>> {
        let found = self.published(vcenter, authority)?;
        let list = found.map(|(vcenter, authority)| self.signed_list(&vcenter, &authority));
        list.transpose()
    }

    fn published(&self, vcenter: &str, authority: &str) -> Result<Option<(Name, StoredAuthority)>> {
        // A name that is none has no record.
        let Ok(name) = vcenter.parse::<Name>() else {
            return Ok(None);
        };
        let Some(stored) = self.authority_record(&name)? else {
            return Ok(None);
        };
        if stored.record.published.is_none() {
            return Ok(None);
        }
        for one in stored.record.all() {
            if self.id_of(&name, one)? == authority {
                return Ok(Some((name, one.clone())));
            }
        }
        Ok(None)
    }

    /// What an authority is called in URLs: the beginning of its certificate's SHA-256.
    fn id_of(&self, vcenter: &Name, authority: &StoredAuthority) -> Result<String> {
        let certifier = self.needed_certifier()?;
        let Some(certificate) = authority.chain.first() else {
            return Err(refused(vcenter, "it has no certificate"));
        };
        let facts = certifier
            .facts(certificate)
            .map_err(|error| refused(vcenter, error.0))?;
        Ok(facts.fingerprint.chars().take(16).collect())
    }

    /// The URL below which certificates say that their authority's own and the list of revoked ones are.
    pub(super) fn place(&self, settings: &AuthorityRecord) -> Result<Option<String>> {
        let (Some(base), Some(authority)) = (&settings.published, &settings.authority) else {
            return Ok(None);
        };
        let mut place = format!("{base}/pki/");
        for byte in settings.vcenter.as_str().bytes() {
            // What may stand in a path as it is (RFC 3986, 2.3).
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                place.push(char::from(byte));
            } else {
                place.push_str(&format!("%{byte:02X}"));
            }
        }
        let id = self.id_of(&settings.vcenter, authority)?;
        Ok(Some(format!("{place}/{id}")))
    }
}

/// The URL below which an authority is published; none for an empty text.
pub(super) fn published_at(url: &str) -> Result<Option<String>> {
    const LONGEST: usize = 200;
    let url = url.trim().trim_end_matches('/');
    if url.is_empty() {
        return Ok(None);
    }
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let fits = host.is_some_and(|host| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
        host.bytes().all(letters)
            && host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
    });
    if fits && url.len() <= LONGEST {
        return Ok(Some(url.to_owned()));
    }
    Err(Error::BadValue(format!(
        "`{}` is no URL like https://pki.example.com:8443 that others reach the daemon under, of at most {LONGEST} characters",
        crate::inventory::shown(url)
    )))
}
