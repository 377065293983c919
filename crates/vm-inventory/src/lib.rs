//! vm-inventory
