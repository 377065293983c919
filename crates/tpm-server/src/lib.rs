//! tpm-server
