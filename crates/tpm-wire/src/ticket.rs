//! Tickets: proofs that this TPM checked something earlier (Part 2, 10.7).

use crate::buffers::Tpm2bDigest;
use crate::codec::{Input, Marshal, Parse, Parsed, refuse};
use crate::constants::TpmSt;
use crate::describe::{Describe, Stop, Value, Walker};
use crate::handles::TpmiRhHierarchy;
use crate::rc::Rc;
use alloc::vec::Vec;

/// Declares a ticket: the tags that it may carry, a hierarchy (none for a NULL ticket) and an HMAC. Another tag is `TPM_RC_TAG`.
macro_rules! ticket {
    ($($(#[$meta:meta])* pub struct $name:ident { $($tag:ident)|+ })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            /// What kind of check the ticket proves.
            pub tag: TpmSt,
            /// The hierarchy whose proof made it; `None` is a NULL ticket.
            pub hierarchy: Option<TpmiRhHierarchy>,
            /// The HMAC.
            pub digest: Tpm2bDigest,
        }

        impl Parse for $name {
            fn parse(input: Input<'_>) -> Parsed<'_, Self> {
                let (rest, tag) = TpmSt::parse(input)?;
                if !matches!(tag, $(TpmSt::$tag)|+) { return refuse(Rc::TAG); }
                let (rest, hierarchy) = Option::parse(rest)?;
                let (rest, digest) = Tpm2bDigest::parse(rest)?;
                Ok((rest, Self { tag, hierarchy, digest }))
            }
        }

        impl Marshal for $name {
            fn marshal(&self, out: &mut Vec<u8>) {
                self.tag.marshal(out);
                self.hierarchy.marshal(out);
                self.digest.marshal(out);
            }
        }

        impl Describe for $name {
            fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
                walker.field::<TpmSt>("tag")?;
                walker.field::<Option<TpmiRhHierarchy>>("hierarchy")?;
                walker.field::<Tpm2bDigest>("digest")?;
                Ok(Value::Group)
            }
        }
    )*};
}

ticket! {
    /// The TPM created an object with this creation data (Part 2, 10.7.3).
    #[doc(alias = "TPMT_TK_CREATION")]
    pub struct TpmtTkCreation { CREATION }
    /// The TPM verified a signature (Part 2, 10.7.4).
    #[doc(alias = "TPMT_TK_VERIFIED")]
    pub struct TpmtTkVerified { VERIFIED }
    /// The TPM verified an authorization of a policy (Part 2, 10.7.5).
    #[doc(alias = "TPMT_TK_AUTH")]
    pub struct TpmtTkAuth { AUTH_SIGNED | AUTH_SECRET }
    /// The TPM hashed a message that does not look like its own structures (Part 2, 10.7.6).
    #[doc(alias = "TPMT_TK_HASHCHECK")]
    pub struct TpmtTkHashcheck { HASHCHECK }
}
