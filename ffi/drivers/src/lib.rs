//! First-party drivers in C over real C libraries.
