/*
 * Part of hostile.c: ways out of the process, each of which the sandbox must close, and what it must leave open.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
/* Ways to do something to the agent, which runs as the same user. What escapes is harmless: the limit that is there. */
static int32_t reach_agent(const dunlin_device *self) {
  struct rlimit64 limit;
  struct f_owner_ex owner;
  struct sched_param param;
  cpu_set_t cpus;
  void *head;
  size_t length;
  int agent = (int)getppid(), fd;
  memset(&param, 0, sizeof param);
  if (is(self, "agent-rlimit")) {
    limit.rlim_cur = limit.rlim_max = RLIM64_INFINITY;
    return denied(syscall(SYS_prlimit64, agent, RLIMIT_FSIZE, &limit, NULL), "prlimit64 of the agent");
  }
  if (is(self, "agent-rlimit-read"))
    return denied(syscall(SYS_prlimit64, agent, RLIMIT_FSIZE, NULL, &limit), "prlimit64 asks about the agent");
  CPU_ZERO(&cpus);
  CPU_SET(0, &cpus);
  if (is(self, "agent-affinity")) return denied(sched_setaffinity(agent, sizeof cpus, &cpus), "sched_setaffinity");
  if (is(self, "agent-affinity-read"))
    return denied(sched_getaffinity(agent, sizeof cpus, &cpus), "sched_getaffinity");
  if (is(self, "agent-scheduler-read")) return denied(sched_getscheduler(agent), "sched_getscheduler");
  if (is(self, "agent-param-read")) return denied(sched_getparam(agent, &param), "sched_getparam");
  if (is(self, "agent-robust-list"))
    return denied(syscall(SYS_get_robust_list, agent, &head, &length), "get_robust_list");
  if (is(self, "agent-scheduler")) return denied(sched_setscheduler(agent, SCHED_BATCH, &param), "sched_setscheduler");
  if (is(self, "agent-priority")) return denied(setpriority(PRIO_PROCESS, (id_t)agent, 19), "setpriority");
  fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -EBADF;
  if (is(self, "agent-owner")) return denied(fcntl(fd, F_SETOWN, agent), "F_SETOWN");
  if (is(self, "agent-signal")) return denied(fcntl(fd, F_SETSIG, SIGKILL), "F_SETSIG");
  owner.type = F_OWNER_PID;
  owner.pid = agent;
  if (is(self, "agent-owner-ex")) return denied(fcntl(fd, F_SETOWN_EX, &owner), "F_SETOWN_EX");
  if (is(self, "agent-notify")) return denied(fcntl(fd, F_NOTIFY, DN_MODIFY), "F_NOTIFY");
  if (is(self, "agent-lease")) return denied(fcntl(fd, F_SETLEASE, F_RDLCK), "F_SETLEASE");
  if (is(self, "agent-fiosetown")) return denied(ioctl(fd, 0x8901, &agent), "FIOSETOWN");
  if (is(self, "agent-siocspgrp")) return denied(ioctl(fd, 0x8902, &agent), "SIOCSPGRP");
  return -EBADF;
}

static void *sleep_long(void *arg) {
  nap(600000);
  return arg;
}

/* More threads than a driver has any use for, each with the smallest stack. */
static void flood_threads(void) {
  pthread_attr_t attr;
  pthread_t thread;
  int n;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN);
  for (n = 0; n < 200 && pthread_create(&thread, &attr, sleep_long, NULL) == 0; n++) pthread_detach(thread);
  pthread_attr_destroy(&attr);
}

/* The host's socket to the agent, found as any code in the process can. */
static int socket_of_host(void) {
  int fd, kind;
  for (fd = 0; fd < 64; fd++) {
    socklen_t length = sizeof kind;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &length) == 0 && kind == SOCK_SEQPACKET) return fd;
  }
  return -1;
}

/* Last words as driver/src/last_words.rs sends them, without a death. */
static void *say_last_words(void *arg) {
  unsigned char message[36] = {1, 137};
  long left = *(long *)arg;
  int fd = socket_of_host();
  message[8] = SIGSEGV;
  for (; left != 0; left--) send(fd, message, sizeof message, MSG_NOSIGNAL);
  return NULL;
}

/* Answers to requests that were not made yet: reads that found nothing. */
static void answer_ahead(const struct dunlin_device *self) {
  /* setup, open and channels came before the first read */
  uint32_t first = 4, i;
  int fd = socket_of_host();
  if (self->reads > 1) return;
  for (i = 0; i < 200; i++) {
    unsigned char message[12] = {1, 132};
    uint32_t sequence = first + i;
    memcpy(message + 4, &sequence, sizeof sequence);
    send(fd, message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

static void *nothing(void *arg) { return arg; }

/* What C libraries do to their own process and must go on doing; EALREADY = it works. */
static int32_t keep_to_itself(const dunlin_device *self) {
  if (is(self, "own-limits")) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -errno;
    if (syscall(SYS_prlimit64, getpid(), RLIMIT_AS, NULL, &limit) != 0) return -errno;
    return sysconf(_SC_OPEN_MAX) > 0 ? -EALREADY : -EINVAL;
  }
  if (is(self, "own-limits-set")) { /* not needed, so not allowed */
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -errno;
    return denied(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
  }
  if (is(self, "own-affinity")) {
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) return -errno;
    if (sched_setaffinity(getpid(), sizeof cpus, &cpus) != 0) return -errno;
    return sched_getscheduler(0) >= 0 ? -EALREADY : -errno;
  }
  if (is(self, "own-thread")) { /* glibc asks for the affinity of another thread on the way */
    pthread_attr_t attr;
    pthread_t thread;
    int error = pthread_create(&thread, NULL, nothing, NULL);
    if (error != 0) return -error;
    error = pthread_getattr_np(thread, &attr);
    if (error == 0) pthread_attr_destroy(&attr);
    pthread_join(thread, NULL);
    return error == 0 ? -EALREADY : -error;
  }
  return -EBADF;
}

static int32_t reach_out(dunlin_device *self) {
  if (is(self, "fork")) {
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    return denied(pid, "fork");
  }
  if (is(self, "raw-fork")) {
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    return denied(pid, "clone");
  }
  if (is(self, "system")) {
    int status = system("true");
    if (status != 0) errno = EPERM; /* the shell could not be started: status 127 */
    return denied(status == 0 ? 0 : -1, "system");
  }
  if (is(self, "exec")) return denied(execl("/bin/true", "true", (char *)NULL), "exec");
  if (is(self, "socket-inet")) return denied(socket(AF_INET, SOCK_STREAM, 0), "socket");
  if (is(self, "socket-unix")) return denied(socket(AF_UNIX, SOCK_STREAM, 0), "socket");
  if (is(self, "socket-udp")) return denied(socket(AF_INET, SOCK_DGRAM, 0), "socket");
  if (is(self, "socket-mptcp")) return denied(socket(AF_INET, SOCK_STREAM, 262), "socket");
  if (is(self, "socket-can-bcm")) return denied(socket(AF_CAN, SOCK_DGRAM, 2), "socket");
  if (is(self, "socket-can")) return socket(AF_CAN, SOCK_RAW, 1) >= 0 ? -EALREADY : -errno; /* where it is granted */
  if (is(self, "bind")) return denied(bind(-1, NULL, (socklen_t)atoi(self->arg)), "bind");
  if (is(self, "shadow")) return denied(open("/etc/shadow", O_RDONLY), "shadow");
  if (is(self, "proc-agent")) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)getppid());
    return denied(open(path, O_RDONLY), path);
  }
  if (is(self, "truncate-file")) return open(self->arg, O_WRONLY | O_TRUNC) >= 0 ? -EALREADY : -errno; /* where it is granted */
  if (is(self, "write-file")) return denied(open("/tmp/dunlin-hostile-was-here", O_WRONLY | O_CREAT, 0600), "create");
  if (is(self, "chmod")) return denied(chmod(self->arg, 0777), "chmod");
  if (is(self, "kill-agent")) return denied(kill(getppid(), SIGTERM), "kill");
  if (is(self, "kill-all")) return denied(kill(-1, SIGTERM), "kill");
  if (is(self, "tkill-agent")) return denied(syscall(SYS_tkill, getppid(), SIGTERM), "tkill");
  if (is(self, "ptrace")) return denied(ptrace(PTRACE_ATTACH, getppid(), 0, 0), "ptrace");
  if (is(self, "vm-read") || is(self, "vm-write")) {
    char byte = 0;
    struct iovec ours = {&byte, 1}, theirs = {(void *)&environ, 1};
    long call = is(self, "vm-read") ? SYS_process_vm_readv : SYS_process_vm_writev;
    return denied(syscall(call, getppid(), &ours, 1L, &theirs, 1L, 0L), "process_vm");
  }
  if (is(self, "pidfd")) return denied(syscall(434, getppid(), 0), "pidfd_open");
  if (is(self, "pidfd-signal")) return denied(syscall(424, 0, SIGTERM, NULL, 0), "pidfd_send_signal");
  if (is(self, "pidfd-getfd")) return denied(syscall(438, 0, 0, 0), "pidfd_getfd");
  if (is(self, "io-uring")) {
    char params[120] = {0}; /* struct io_uring_params */
    return denied(syscall(425, 1, params), "io_uring_setup");
  }
  if (is(self, "memfd")) return denied(syscall(SYS_memfd_create, "x", 0), "memfd_create");
  if (is(self, "open-by-handle")) return denied(syscall(SYS_open_by_handle_at, -1, NULL, O_RDONLY), "open_by_handle_at");
  if (is(self, "openat2")) { /* O_RDONLY of a file that nothing opens to a driver */
    uint64_t how[3] = {0, 0, 0};
    return denied(syscall(437, AT_FDCWD, "/etc/passwd", how, sizeof how), "openat2");
  }
  if (is(self, "exec-fd")) { /* a program from a descriptor */
    char *none[] = {NULL};
    int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
    return denied(syscall(SYS_execveat, fd, "", none, none, 0x1000 /* AT_EMPTY_PATH */), "execveat");
  }
  if (is(self, "sigqueue")) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    return denied(syscall(SYS_rt_sigqueueinfo, getppid(), 0, &info), "rt_sigqueueinfo");
  }
  if (is(self, "socket-netlink")) return denied(socket(AF_NETLINK, SOCK_RAW, 0), "socket");
  if (is(self, "socket-packet")) return denied(socket(AF_PACKET, SOCK_RAW, 0), "socket");
  if (is(self, "socket-vsock")) return denied(socket(40, SOCK_STREAM, 0), "socket");
  if (is(self, "abstract")) { /* by the socket that the host has: to a name of the abstract space */
    struct sockaddr_un to = {AF_UNIX, "\0dunlin"};
    return denied(connect(socket_of_host(), (struct sockaddr *)&to, sizeof to), "connect");
  }
  if (is(self, "send-elsewhere")) {
    struct sockaddr_un to = {AF_UNIX, "\0dunlin"};
    return denied(sendto(socket_of_host(), "x", 1, 0, (struct sockaddr *)&to, sizeof to), "sendto");
  }
  if (is(self, "socketpair")) {
    int pair[2];
    return denied(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
  }
  if (is(self, "outlive")) return denied(prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0), "pdeathsig");
  if (is(self, "unshare")) return denied(syscall(SYS_unshare, 0x10000000), "unshare");
  if (is(self, "seccomp")) return denied(syscall(SYS_seccomp, 0, 0, NULL), "seccomp");
  if (strncmp(self->mode, "agent-", 6) == 0) return reach_agent(self);
  if (strncmp(self->mode, "own-", 4) == 0) return keep_to_itself(self);
  if (is(self, "environment")) return environ != NULL && environ[0] != NULL ? -EEXIST : -EACCES;
  if (is(self, "read-file")) {
    int fd = open(self->arg, O_RDONLY);
    if (fd < 0) return -errno;
    close(fd);
    return -EALREADY; /* it was allowed */
  }
  if (is(self, "descriptors")) {
    int fd, open_ones = 0;
    for (fd = 3; fd < 1024; fd++) open_ones += fcntl(fd, F_GETFD) >= 0;
    return open_ones > 3 ? -EEXIST : -EACCES; /* the socket, statm, at most a pinned library */
  }
  if (is(self, "fd-flood")) {
    int n = 0;
    while (open("/dev/null", O_RDONLY) >= 0 && n < 100000) n++;
    return n >= 4096 ? -EEXIST : -errno;
  }
  if (strncmp(self->mode, "net-", 4) == 0) return reach_address(self);
  return 0;
}
