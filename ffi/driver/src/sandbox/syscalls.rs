//! The system call filter: two filters, of which the kernel takes the stricter answer.
//!
//! The first is an allow-list: what glibc 2.31 and later, libmodbus, libsensors, i2c-dev, libgpiod, serial ports and
//! raw CAN sockets use on x86-64 and aarch64, plus what a driver needs for threads, timers and files. Everything else answers `ENOSYS`, as
//! if the kernel were older: C libraries probe for newer calls and fall back on that answer, and would fail on `EPERM`
//! (Docker's default profile had to make the same change for `clone3` and `faccessat2`).
//! The second says `EPERM` where a plain refusal is the better message: starting programs, tracing, signalling others.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition as Condition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::spec::Grants;

#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;
#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Restricts this process, and every thread that it will have.
pub(super) fn restrict(grants: &Grants) -> Result<(), String> {
    let failed = |error: seccompiler::BackendError| format!("seccomp: {error}");
    let (network, can) = (!grants.network.is_empty(), !grants.can.is_empty());
    let allowed = allowed(network, can).map_err(failed)?;
    let refused = refused(network, can).map_err(failed)?;
    let no_such_call = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let not_permitted = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let first = SeccompFilter::new(allowed, no_such_call, SeccompAction::Allow, ARCH);
    let second = SeccompFilter::new(refused, SeccompAction::Allow, not_permitted, ARCH);
    let first: BpfProgram = first.and_then(TryInto::try_into).map_err(failed)?;
    let second: BpfProgram = second.and_then(TryInto::try_into).map_err(failed)?;
    for program in [&first, &second] {
        seccompiler::apply_filter(program).map_err(|error| format!("seccomp: {error}"))?;
    }
    Ok(())
}

fn rule(conditions: Vec<Condition>) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(conditions)
}

/// A socket of this kind, whatever its flags.
fn socket(domain: i32, kind: i32, protocol: i32) -> Result<SeccompRule, seccompiler::BackendError> {
    let number = |number: i32| u64::from(number.cast_unsigned());
    rule(vec![
        Condition::new(0, Len::Dword, Op::Eq, number(domain))?,
        Condition::new(1, Len::Dword, Op::MaskedEq(0xf), number(kind))?,
        Condition::new(2, Len::Dword, Op::Eq, number(protocol))?,
    ])
}

/// That the first argument is this process id.
fn pid(id: u64) -> Result<Condition, seccompiler::BackendError> {
    Condition::new(0, Len::Dword, Op::Eq, id)
}

fn allowed(network: bool, can: bool) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = ALWAYS.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend(ALWAYS_X86_64.iter().map(|call| (*call, Vec::new())));

    // Threads, not processes: CLONE_THREAD must be there. clone3 takes its flags through a pointer that a filter cannot
    // follow; it is not listed, answers ENOSYS, and glibc falls back to clone.
    let thread = libc::CLONE_THREAD.cast_unsigned().into();
    let is_thread = Condition::new(0, Len::Qword, Op::MaskedEq(thread), thread)?;
    rules.insert(libc::SYS_clone, vec![rule(vec![is_thread])?]);

    // Signals to this process only: abort and raise.
    let own = u64::from(std::process::id());
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(
            call,
            vec![rule(vec![Condition::new(0, Len::Dword, Op::Eq, own)?])?],
        );
    }

    // Calls that name a process: this one only. The agent has the same user, so the kernel would let a driver lower the
    // agent's limits (RLIMIT_FSIZE 0 kills it at its next write) or pin its threads to one CPU. Another thread of this
    // process cannot be told from another process by a filter; where glibc asks about one, in pthread_getattr_np, it
    // lives with ENOSYS and not with EPERM, which is why the second filter leaves the calls that only ask alone.
    for call in OF_A_PROCESS.iter().chain(ASKS_OF_A_PROCESS) {
        rules.insert(*call, vec![rule(vec![pid(0)?])?, rule(vec![pid(own)?])?]);
    }
    // getrlimit, which is prlimit64 without a new limit. glibc, libmodbus and libsensors set none.
    let asks = || Condition::new(2, Len::Qword, Op::Eq, 0);
    let rlimit = vec![
        rule(vec![pid(0)?, asks()?])?,
        rule(vec![pid(own)?, asks()?])?,
    ];
    rules.insert(libc::SYS_prlimit64, rlimit);

    // prctl, but not to outlive the agent or to be traced.
    let kept = [
        libc::PR_SET_PDEATHSIG,
        libc::PR_SET_DUMPABLE,
        libc::PR_SET_PTRACER,
    ];
    let kept: Result<Vec<_>, _> = kept
        .into_iter()
        .map(|option| Condition::new(0, Len::Dword, Op::Ne, u64::from(option.cast_unsigned())))
        .collect();
    rules.insert(libc::SYS_prctl, vec![rule(kept?)?]);

    let mut sockets = Vec::new();
    if can {
        sockets.push(socket(libc::AF_CAN, libc::SOCK_RAW, libc::CAN_RAW)?);
        // An address of CAN, by its size: without an interface for this process there, and with the one of newer headers.
        let sized = [16, 24].map(|size| Condition::new(2, Len::Dword, Op::Eq, size));
        let sized: Result<Vec<_>, _> = sized.into_iter().map(|size| rule(vec![size?])).collect();
        rules.insert(libc::SYS_bind, sized?);
    }
    if network {
        // TCP only, of which the gate knows the addresses.
        for domain in [libc::AF_INET, libc::AF_INET6] {
            for protocol in [0, libc::IPPROTO_TCP] {
                sockets.push(socket(domain, libc::SOCK_STREAM, protocol)?);
            }
        }
        let calls = [
            libc::SYS_connect,
            libc::SYS_getpeername,
            libc::SYS_getsockname,
        ];
        rules.extend(calls.iter().map(|call| (*call, Vec::new())));
        // sendto and sendmsg could open a connection of their own by MSG_FASTOPEN, past the gate.
        let fast = u64::from(libc::MSG_FASTOPEN.cast_unsigned());
        let slow = |flags: u8| Condition::new(flags, Len::Dword, Op::MaskedEq(fast), 0);
        rules.insert(libc::SYS_sendto, vec![rule(vec![slow(3)?])?]);
        rules.insert(libc::SYS_sendmsg, vec![rule(vec![slow(2)?])?]);
    } else {
        // The host itself answers with sendto on its connected socket.
        let none = Condition::new(4, Len::Qword, Op::Eq, 0)?;
        rules.insert(libc::SYS_sendto, vec![rule(vec![none])?]);
    }
    if !sockets.is_empty() {
        rules.insert(libc::SYS_socket, sockets);
        rules.insert(libc::SYS_setsockopt, options(can)?);
    }
    Ok(rules)
}

/// The options of a socket that may be set. Others lead past the address of a connection: a source route (`IP_OPTIONS`,
/// `IPV6_RTHDR`) sends it elsewhere first, `SO_BINDTODEVICE` out of another interface.
fn options(can: bool) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let number = |number: i32| u64::from(number.cast_unsigned());
    let mut rules = Vec::new();
    for (level, options) in OPTIONS {
        for option in *options {
            rules.push(rule(vec![
                Condition::new(1, Len::Dword, Op::Eq, number(*level))?,
                Condition::new(2, Len::Dword, Op::Eq, number(*option))?,
            ])?);
        }
    }
    if can {
        let level = Condition::new(1, Len::Dword, Op::Eq, number(libc::SOL_CAN_RAW))?;
        rules.push(rule(vec![level])?);
    }
    Ok(rules)
}

fn refused(network: bool, can: bool) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend(
        [libc::SYS_fork, libc::SYS_vfork]
            .iter()
            .map(|call| (*call, Vec::new())),
    );
    if !network && !can {
        // "Operation not permitted" tells a user to grant the network; "Function not implemented" would not.
        rules.insert(libc::SYS_socket, Vec::new());
    }
    if !can {
        rules.insert(libc::SYS_bind, Vec::new());
    }
    let thread: u64 = libc::CLONE_THREAD.cast_unsigned().into();
    let is_process = Condition::new(0, Len::Qword, Op::MaskedEq(thread), 0)?;
    rules.insert(libc::SYS_clone, vec![rule(vec![is_process])?]);
    let own = u64::from(std::process::id());
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(
            call,
            vec![rule(vec![Condition::new(0, Len::Dword, Op::Ne, own)?])?],
        );
    }
    let other = |id| Condition::new(0, Len::Dword, Op::Ne, id);
    for call in OF_A_PROCESS {
        rules.insert(*call, vec![rule(vec![other(0)?, other(own)?])?]);
    }
    let sets = Condition::new(2, Len::Qword, Op::Ne, 0)?;
    let limits = vec![rule(vec![sets])?, rule(vec![other(0)?, other(own)?])?];
    rules.insert(libc::SYS_prlimit64, limits);
    // Both take the request or command as 32 bits and ignore what lies above.
    let second_is_one_of = |requests: &[u32]| -> Result<Vec<_>, _> {
        let is = |request: &u32| Condition::new(1, Len::Dword, Op::Eq, u64::from(*request));
        requests.iter().map(|r| rule(vec![is(r)?])).collect()
    };
    rules.insert(libc::SYS_ioctl, second_is_one_of(REFUSED_IOCTLS)?);
    rules.insert(libc::SYS_fcntl, second_is_one_of(REFUSED_FCNTLS)?);
    Ok(rules)
}

/// What C libraries of field buses set on their sockets, by level.
const OPTIONS: &[(i32, &[i32])] = &[
    (
        libc::SOL_SOCKET,
        &[
            libc::SO_REUSEADDR,
            libc::SO_KEEPALIVE,
            libc::SO_LINGER,
            libc::SO_RCVBUF,
            libc::SO_SNDBUF,
            libc::SO_RCVTIMEO,
            libc::SO_SNDTIMEO,
            libc::SO_TIMESTAMP,
            libc::SO_TIMESTAMPNS,
            libc::SO_RXQ_OVFL,
        ],
    ),
    (
        libc::IPPROTO_TCP,
        &[
            libc::TCP_NODELAY,
            libc::TCP_CORK,
            libc::TCP_QUICKACK,
            libc::TCP_KEEPIDLE,
            libc::TCP_KEEPINTVL,
            libc::TCP_KEEPCNT,
            libc::TCP_SYNCNT,
            libc::TCP_USER_TIMEOUT,
        ],
    ),
    (libc::IPPROTO_IP, &[libc::IP_TOS]),
    (libc::IPPROTO_IPV6, &[libc::IPV6_V6ONLY, libc::IPV6_TCLASS]),
];

/// Calls whose first argument is a process and that change it.
const OF_A_PROCESS: &[i64] = &[libc::SYS_sched_setaffinity];
/// Calls whose first argument is a process and that only ask.
const ASKS_OF_A_PROCESS: &[i64] = &[
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_get_robust_list,
];

/// Ways out that need no other right: TIOCSTI types into a terminal, TIOCLINUX pastes into one, FIOSETOWN and
/// `SIOCSPGRP` name a process that gets this descriptor's signals. Numbers: asm-generic/ioctls.h and sockios.h.
const REFUSED_IOCTLS: &[u32] = &[0x5412, 0x541C, 0x8901, 0x8902];

/// The same by fcntl: `F_SETOWN` 8, `F_SETSIG` 10 and `F_SETOWN_EX` 15 choose the process and the signal, SIGKILL
/// included. `F_SETLEASE` 1024 holds up whoever opens the file next, `F_NOTIFY` 1026 sends signals. Numbers:
/// asm-generic/fcntl.h, linux/fcntl.h.
const REFUSED_FCNTLS: &[u32] = &[8, 10, 15, 1024, 1026];

const REFUSED: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_capset,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_mknodat,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_sethostname,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_seccomp,
];

const ALWAYS: &[i64] = &[
    // files; Landlock decides which
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_umask,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_ioctl,
    libc::SYS_pipe2,
    libc::SYS_fadvise64,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // memory
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    // threads
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_sched_yield,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getcpu,
    // time
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_delete,
    libc::SYS_timer_getoverrun,
    libc::SYS_setitimer,
    libc::SYS_getitimer,
    libc::SYS_times,
    // waiting
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_signalfd4,
    // signals of this process
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // who and where
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getgroups,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    // to put the second filter on, which takes it away
    libc::SYS_seccomp,
    // sockets that are there already: the host's own, and those that `socket` was allowed to make
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
];

#[cfg(target_arch = "x86_64")]
const ALWAYS_X86_64: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_eventfd,
    libc::SYS_time,
    libc::SYS_alarm,
    libc::SYS_pause,
    libc::SYS_arch_prctl,
    libc::SYS_getpgrp,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_inotify_init,
];
