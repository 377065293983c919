//! vm-web
