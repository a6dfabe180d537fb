//! The part of OpenSSL that dunlin uses.
