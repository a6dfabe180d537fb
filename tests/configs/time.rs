//! What can be wrong with the servers that sign the time.

use super::{good, refused};

/// What it is, a configuration in the place of `[sources.sim]`, and words of the refusal.
const WRONG: &[(&str, &str, &[&str])] = &[
    (
        "a time without servers",
        "[time]\n[sources.sim]",
        &["time.servers", "add [time.servers.NAME]"],
    ),
    (
        "a server of time that is none, and one without a key",
        "[time.servers.a]\naddress = \"udp://a\"\nkey = \"abc\"\n[time.servers.b]\naddress = \"b\"\n[sources.sim]",
        &[
            "time.servers.a.address: is \"udp://a\"",
            "time.servers.a.key",
            "32 bytes in base64",
            "time.servers.b.key: is missing",
        ],
    ),
    (
        "two servers of time with one key",
        "[time.servers.a]\naddress = \"a\"\nkey = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n[time.servers.b]\naddress = \"b\"\nkey = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n[sources.sim]",
        &[
            "time.servers.b.key: is the key of a as well",
            "different owners",
        ],
    ),
];

#[test]
fn every_mistake_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (name, with, parts) in WRONG {
        let config = good(dir.path()).replacen("[sources.sim]", with, 1);
        refused(dir.path(), name, &config, parts);
    }
}
