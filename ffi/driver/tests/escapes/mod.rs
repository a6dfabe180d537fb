//! Ways out of a driver's process, modes of the hostile driver, and the errnos that say that each is closed.

/// Operation not permitted, permission denied, function not implemented: the same numbers on x86-64 and aarch64.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;

/// A driver without a grant opens no file, has no socket, and starts, signals or looks into no other process.
pub(crate) const ESCAPES: &[(&str, &[i32])] = &[
    // files
    ("constructor", &[EACCES]),
    ("shadow", &[EACCES]),
    ("proc-agent", &[EACCES]),
    ("write-file", &[EACCES]),
    ("chmod", &[EPERM, ENOSYS]),
    ("memfd", &[ENOSYS]),
    ("open-by-handle", &[ENOSYS]),
    ("openat2", &[ENOSYS]),
    ("environment", &[EACCES]),
    ("descriptors", &[EACCES]),
    // sockets
    ("socket-inet", &[EPERM]),
    ("socket-unix", &[EPERM]),
    ("socket-udp", &[EPERM]),
    ("socket-mptcp", &[EPERM]),
    ("socket-can", &[EPERM]),
    ("socket-can-bcm", &[EPERM]),
    ("socket-netlink", &[EPERM]),
    ("socket-packet", &[EPERM]),
    ("socket-vsock", &[EPERM]),
    ("socketpair", &[ENOSYS]),
    ("abstract", &[ENOSYS]),
    ("send-elsewhere", &[ENOSYS]),
    ("bind", &[EPERM]),
    ("io-uring", &[EPERM]),
    // processes
    ("fork", &[EPERM]),
    ("raw-fork", &[EPERM]),
    ("exec", &[EPERM, EACCES]),
    ("exec-fd", &[EPERM]),
    ("system", &[EPERM]),
    ("kill-agent", &[EPERM]),
    ("kill-all", &[EPERM]),
    ("tkill-agent", &[EPERM]),
    ("sigqueue", &[EPERM]),
    ("ptrace", &[EPERM]),
    ("vm-read", &[EPERM]),
    ("vm-write", &[EPERM]),
    ("pidfd", &[EPERM]),
    ("pidfd-signal", &[EPERM]),
    ("pidfd-getfd", &[ENOSYS]),
    ("outlive", &[ENOSYS]),
    ("unshare", &[EPERM]),
    ("seccomp", &[EPERM]),
];
