//! Saved contexts (Part 2, 14).

use crate::buffers::Tpm2bContextData;
use crate::codec::structure;
use crate::handles::{TpmiDhSaved, TpmiRhHierarchy};

structure! {
    /// A saved object or session (Part 2, 14.5).
    #[doc(alias = "TPMS_CONTEXT")]
    pub struct TpmsContext {
        sequence: u64,
        saved_handle: TpmiDhSaved,
        hierarchy: Option<TpmiRhHierarchy>,
        context_blob: Tpm2bContextData,
    }
}
