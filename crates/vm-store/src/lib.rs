//! vm-store
