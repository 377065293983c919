//! Objects: what is loaded, what is persistent, Names and qualified Names (Part 1, 23 to 27).

mod sequence;
mod table;

pub(crate) use sequence::{Sequence, SequenceState};
pub(crate) use table::{Objects, Slot};

use crate::algorithms::name_of;
use crate::hierarchy::Hierarchy;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::OnceCell;
use tpm_crypto::rsa;
use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgPublic};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::Tpm2bName;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed};
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::{TpmtPublic, TpmtSensitive};
use tpm_wire::rc::Rc;

/// An object with a public area: a key or sealed data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// The public area.
    pub(crate) public: TpmtPublic,
    /// The sensitive area; `None` if only the public area is loaded.
    pub(crate) sensitive: Option<TpmtSensitive>,
    /// The Name; empty without a Name algorithm.
    pub(crate) name: Tpm2bName,
    /// The Name that tells the ancestors.
    pub(crate) qualified_name: Tpm2bName,
    /// The hierarchy, as the handle that it was created under; limited hierarchies keep their own handle.
    pub(crate) hierarchy: TpmHandle,
    /// Loaded by `TPM2_LoadExternal`.
    pub(crate) external: bool,
    /// Created from a primary seed.
    pub(crate) primary: bool,
    /// It or an ancestor is `stClear`: gone after the next TPM Reset or Restart.
    pub(crate) st_clear: bool,
    /// The RSA key, once something asked for it.
    pub(crate) rsa: RsaKeyCache,
}

/// The RSA key of an object, kept so that not every signature computes it anew. It is no part of the state: it is made
/// from the object, compared with nothing, and not copied with the object.
#[derive(Default)]
pub(crate) struct RsaKeyCache(OnceCell<Box<rsa::PrivateKey>>);

impl RsaKeyCache {
    /// The key that is kept, or the one that `make` gives.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn get_or_make(
        &self,
        make: impl FnOnce() -> Result<rsa::PrivateKey, Rc>,
    ) -> Result<&rsa::PrivateKey, Rc> {
        if let Some(key) = self.0.get() {
            return Ok(key);
        }
        let key = make()?;
        Ok(self.0.get_or_init(|| Box::new(key)))
    }
}

impl Clone for RsaKeyCache {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for RsaKeyCache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RsaKeyCache {}

impl core::fmt::Debug for RsaKeyCache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RsaKeyCache(..)")
    }
}

/// Where an object belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lineage<'a> {
    /// A primary object of a hierarchy.
    Primary(TpmHandle),
    /// A child of a parent.
    Child(&'a Object),
    /// An external object of a hierarchy.
    External(TpmHandle),
}

impl Object {
    /// An object as it is loaded: Names, hierarchy and the rest follow from the lineage (Part 1, 26).
    pub(crate) fn new(
        public: TpmtPublic,
        sensitive: Option<TpmtSensitive>,
        lineage: Lineage<'_>,
    ) -> Self {
        let name = Self::name_of(&public);
        let own_st_clear = public.has(TpmaObject::ST_CLEAR);
        let (qualified_name, hierarchy, st_clear) = match lineage {
            Lineage::Primary(handle) => (
                Self::qualified_name_of(public.name_alg, &handle.0.to_be_bytes(), &name),
                handle,
                own_st_clear,
            ),
            Lineage::Child(parent) => (
                Self::qualified_name_of(public.name_alg, &parent.qualified_name, &name),
                parent.hierarchy,
                own_st_clear || parent.st_clear,
            ),
            Lineage::External(handle) => (name.clone(), handle, own_st_clear),
        };
        Self {
            public,
            sensitive,
            name,
            qualified_name,
            hierarchy,
            external: matches!(lineage, Lineage::External(_)),
            primary: matches!(lineage, Lineage::Primary(_))
                && Hierarchy::from_handle(hierarchy) != Some(Hierarchy::Null),
            st_clear,
            rsa: RsaKeyCache::default(),
        }
    }

    /// Whether the object is a restricted decryption key of which all is loaded, and that this TPM protects.
    fn is_restricted_decryption(&self) -> bool {
        self.sensitive.is_some()
            && !self.external
            && self.public.name_alg.is_some()
            && self
                .public
                .has(TpmaObject::RESTRICTED | TpmaObject::DECRYPT)
    }

    /// Whether children can be created and loaded under the object: a storage key with its sensitive area (Part 1, 23.3).
    pub(crate) fn is_parent(&self) -> bool {
        self.is_restricted_decryption() && self.public.object_type() != TpmiAlgPublic::KeyedHash
    }

    /// Whether objects can be derived from it (Part 1, 28).
    pub(crate) fn is_derivation_parent(&self) -> bool {
        self.is_restricted_decryption() && self.public.object_type() == TpmiAlgPublic::KeyedHash
    }

    /// Whether objects can be duplicated to it: an asymmetric storage key, of which the public area suffices.
    pub(crate) fn is_storage_key(&self) -> bool {
        self.is_asymmetric()
            && self
                .public
                .has(TpmaObject::RESTRICTED | TpmaObject::DECRYPT)
            && !self.public.has(TpmaObject::SIGN)
    }

    /// Whether it is an RSA or ECC key.
    pub(crate) const fn is_asymmetric(&self) -> bool {
        matches!(
            self.public.object_type(),
            TpmiAlgPublic::Rsa | TpmiAlgPublic::Ecc
        )
    }

    /// The handle of the hierarchy, without the limit of a limited one.
    pub(crate) fn base_hierarchy(&self) -> TpmHandle {
        Hierarchy::from_handle(self.hierarchy).map_or(TpmHandle::NULL, Hierarchy::handle)
    }

    /// The Name of a public area (Part 1, 16).
    pub(crate) fn name_of(public: &TpmtPublic) -> Tpm2bName {
        public
            .name_alg
            .map_or(Tpm2bName::EMPTY, |hash| name_of(hash, &public.to_bytes()))
    }

    /// The qualified Name of an object under a parent (Part 1, 26.5).
    pub(crate) fn qualified_name_of(
        name_alg: Option<TpmiAlgHash>,
        parent_qualified_name: &[u8],
        name: &[u8],
    ) -> Tpm2bName {
        name_alg.map_or(Tpm2bName::EMPTY, |hash| {
            name_of(hash, &[parent_qualified_name, name].concat())
        })
    }
}

impl Marshal for Object {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.public.marshal(out);
        self.sensitive.is_some().marshal(out);
        if let Some(sensitive) = &self.sensitive {
            sensitive.marshal(out);
        }
        self.qualified_name.marshal(out);
        self.hierarchy.marshal(out);
        for flag in [self.external, self.primary, self.st_clear] {
            flag.marshal(out);
        }
    }
}

impl Parse for Object {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, public) = TpmtPublic::parse(input)?;
        let (rest, has_sensitive) = bool::parse(rest)?;
        let (rest, sensitive) = if has_sensitive {
            let (rest, sensitive) = TpmtSensitive::parse(rest)?;
            (rest, Some(sensitive))
        } else {
            (rest, None)
        };
        let (rest, qualified_name) = Tpm2bName::parse(rest)?;
        let (rest, hierarchy) = TpmHandle::parse(rest)?;
        let (rest, external) = bool::parse(rest)?;
        let (rest, primary) = bool::parse(rest)?;
        let (rest, st_clear) = bool::parse(rest)?;
        let name = Self::name_of(&public);
        Ok((
            rest,
            Self {
                public,
                sensitive,
                name,
                qualified_name,
                hierarchy,
                external,
                primary,
                st_clear,
                rsa: RsaKeyCache::default(),
            },
        ))
    }
}
