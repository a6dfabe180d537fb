/*
 * A driver that misbehaves on demand: the option `mode` says how. Every mode is one hazard that the host must survive
 * or die of cleanly, see ffi/driver/tests/hazards.rs. Built several times: -DBAD_... makes a wrong table.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <dunlin/driver.h>
#include <dunlin/ext/actuate.h>
#include <dunlin/ext/frames.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct dunlin_device {
  char mode[64];
  char arg[128];
  long reads;
  void *kept;
};

static int closes;

static int constructor_errno;

/* Runs at dlopen: the sandbox must be on already. */
__attribute__((constructor)) static void at_load(void) {
  int fd = open("/etc/shadow", O_RDONLY | O_CLOEXEC);
  constructor_errno = fd >= 0 ? 0 : errno;
  if (fd >= 0) close(fd);
}

__attribute__((destructor)) static void at_exit_of_process(void) { fprintf(stderr, "DESTRUCTOR RAN\n"); }

static const dunlin_option_spec options[] = {
    {"mode", "how to misbehave", NULL, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_REQUIRED, 0.0, 0.0},
    {"arg", "with what", NULL, DUNLIN_OPTION_TEXT, 0, 0.0, 0.0},
};

static int is(const struct dunlin_device *self, const char *mode) { return strcmp(self->mode, mode) == 0; }

static void nap(long ms) {
  struct timespec t;
  t.tv_sec = ms / 1000;
  t.tv_nsec = ms % 1000 * 1000000;
  nanosleep(&t, NULL);
}

static int recurse(volatile char *up) {
  volatile char room[4096];
  room[0] = *up;
  return recurse(room) + room[0];
}

static void *burn(void *arg) {
  volatile unsigned long n = 0;
  for (;;) n++;
  return arg;
}

static void *write_later(void *arg) {
  nap(50);
  memset(arg, 0x11, 8);
  return NULL;
}

static void start(void *(*body)(void *), void *arg) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, body, arg) == 0) pthread_detach(thread);
}

static int32_t failed(dunlin_text *why, int error) {
  snprintf(why->bytes, sizeof why->bytes, "%s", strerror(error));
  return -error;
}

static int32_t hostile_open(const dunlin_option *given, uint32_t count, dunlin_text *why, dunlin_device **device) {
  struct dunlin_device *self = calloc(1, sizeof *self);
  uint32_t i;
  if (self == NULL) return -ENOMEM;
  for (i = 0; i < count; i++) {
    char *to = strcmp(given[i].key, "mode") == 0 ? self->mode : self->arg;
    size_t room = to == self->mode ? sizeof self->mode : sizeof self->arg;
    snprintf(to, room, "%s", given[i].value);
  }
  if (is(self, "open-options-write")) ((char *)(uintptr_t)given[0].value)[0] = 'x';
  if (is(self, "open-options-past")) {
    const volatile char *p = given[count - 1].value;
    for (;;) p++, (void)*p;
  }
  if (is(self, "open-why-full")) {
    memset(why->bytes, 'w', sizeof why->bytes);
    free(self);
    return -EIO;
  }
  if (is(self, "open-why-past")) memset(why->bytes, 'w', sizeof why->bytes + 1);
  if (is(self, "open-fails")) {
    free(self);
    return failed(why, ENXIO);
  }
  if (is(self, "open-null")) {
    free(self);
    return 0;
  }
  if (is(self, "open-positive")) {
    free(self);
    return 7;
  }
  if (is(self, "open-crash")) raise(SIGSEGV);
  if (is(self, "open-hang")) nap(60000);
  if (is(self, "constructor")) {
    int error = constructor_errno;
    free(self);
    return failed(why, error == 0 ? EEXIST : error);
  }
  *device = self;
  return 0;
}

static int32_t hostile_channels(dunlin_device *self, dunlin_channel *out, uint32_t cap) {
  uint32_t i, n = 4;
  if (is(self, "channels-many")) return 5000;
  if (is(self, "channels-grow")) return (int32_t)cap + 1;
  if (is(self, "channels-4096")) n = 4096;
  if (is(self, "channels-none")) return 0;
  if (cap < n) return (int32_t)n;
  for (i = 0; i < n; i++) {
    snprintf(out[i].name, sizeof out[i].name, "c%u", i);
    strcpy(out[i].unit, "1");
    out[i].kind = i == 1 ? DUNLIN_KIND_I64 : i == 2 ? DUNLIN_KIND_BOOL : i == 3 ? DUNLIN_KIND_FRAME : DUNLIN_KIND_F64;
    out[i].min = -INFINITY;
    out[i].max = INFINITY;
  }
  out[0].flags = DUNLIN_CHANNEL_WRITABLE;
  if (is(self, "name-unterminated")) memset(out[0].name, 'n', sizeof out[0].name);
  if (is(self, "name-utf8")) strcpy(out[0].name, "a\xff");
  if (is(self, "name-format")) strcpy(out[0].name, "%n%s%n");
  if (is(self, "name-twice")) strcpy(out[1].name, "c0");
  if (is(self, "name-empty")) out[0].name[0] = 0;
  if (is(self, "kind-bad")) out[0].kind = 77;
  if (is(self, "range-nan")) out[0].min = NAN;
  if (is(self, "channels-past")) memset(out, 0, sizeof *out * cap + 1);
  return (int32_t)n;
}

static int32_t denied(long answer, const char *what) {
  int error = errno;
  if (answer >= 0) {
    fprintf(stderr, "ESCAPED: %s\n", what);
    return -EEXIST; /* no sandbox says this */
  }
  return -error;
}

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
  if (is(self, "shadow")) return denied(open("/etc/shadow", O_RDONLY), "shadow");
  if (is(self, "proc-agent")) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)getppid());
    return denied(open(path, O_RDONLY), path);
  }
  if (is(self, "write-file")) return denied(open("/tmp/dunlin-hostile-was-here", O_WRONLY | O_CREAT, 0600), "create");
  if (is(self, "chmod")) return denied(chmod(self->arg, 0777), "chmod");
  if (is(self, "kill-agent")) return denied(kill(getppid(), SIGTERM), "kill");
  if (is(self, "kill-all")) return denied(kill(-1, SIGTERM), "kill");
  if (is(self, "tkill-agent")) return denied(syscall(SYS_tkill, getppid(), SIGTERM), "tkill");
  if (is(self, "ptrace")) return denied(ptrace(PTRACE_ATTACH, getppid(), 0, 0), "ptrace");
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
  if (is(self, "connect")) {
    struct sockaddr_in to;
    int port = atoi(self->arg), fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -errno;
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
      close(fd);
      return -EISCONN;
    }
    port = errno;
    close(fd);
    return -port;
  }
  return 0;
}

static int32_t fill(dunlin_device *self, dunlin_sample *out, uint32_t cap) {
  uint32_t i, n = cap < 3 ? cap : 3;
  memset(out, 0, sizeof *out * n);
  for (i = 0; i < n; i++) {
    out[i].channel = i;
    if (i == 0) out[i].value.f64 = 0.5 + (double)self->reads;
    if (i == 1) out[i].value.i64 = self->reads;
    if (i == 2) out[i].value.i64 = self->reads & 1;
  }
  return (int32_t)n;
}

static int32_t hostile_read(dunlin_device *self, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  int32_t n;
  (void)timeout_ms;
  self->reads++;
  if (is(self, "bench")) { /* well-behaved: as many samples as fit */
    uint32_t i;
    memset(out, 0, sizeof *out * cap);
    for (i = 0; i < cap; i++) out[i].value.f64 = (double)i;
    return (int32_t)cap;
  }
  n = reach_out(self);
  if (n != 0) return n;
  /* `arg` = how many good readings come first */
  if (self->reads <= atol(self->arg)) return fill(self, out, cap);
  if (is(self, "crash")) *(volatile int *)16 = 1;
  if (is(self, "abort")) abort();
  if (is(self, "free-twice")) {
    void *volatile block = malloc(24);
    void *again = block;
    free(block);
    free(again);
  }
  if (is(self, "exit")) exit(3);
  if (is(self, "_exit")) _exit(0);
  if (is(self, "hang")) nap(600000);
  if (is(self, "spin"))
    for (;;) errno = 1;
  if (is(self, "stop")) raise(SIGSTOP);
  if (is(self, "recurse")) {
    char top = 1;
    return recurse(&top);
  }
  if (is(self, "leak"))
    for (;;) memset(malloc(1 << 20), 1, 1 << 20);
  if (is(self, "close-fds")) {
    int fd;
    for (fd = 0; fd < 64; fd++) close(fd);
    nap(20);
    return 0;
  }
  if (is(self, "negative")) return -100000;
  if (is(self, "int-min")) return INT_MIN;
  if (is(self, "eio")) {
    errno = ENOENT; /* not what counts */
    return -EIO;
  }
  if (is(self, "enodev")) return -ENODEV;
  if (is(self, "eio-once") && self->reads == atol(self->arg) + 1) return -EIO;
  if (is(self, "flood")) {
    for (n = 0; n < 3000; n++) fprintf(stderr, "noise %d \x1b[31m %s\n", (int)n, "0123456789012345678901234567890123456789");
    return fill(self, out, cap);
  }
  if (is(self, "last-words-flood") || is(self, "last-words-many")) {
    long count = is(self, "last-words-many") ? 60 : -1;
    say_last_words(&count);
  }
  if (is(self, "burn-ahead")) {
    answer_ahead(self);
    for (;;) errno = 1;
  }
  if (is(self, "threads") && self->reads == 1) flood_threads();
  if (is(self, "burn") && self->reads == 1) start(burn, NULL);
  if (is(self, "overcount")) return (int32_t)cap + 1;
  if (is(self, "int-max")) return INT_MAX;
  if (is(self, "past-end")) {
    memset(out, 0, sizeof *out * cap + 1);
    return 1;
  }
  if (is(self, "past-front")) {
    ((char *)out)[-1] = 1;
    return fill(self, out, cap);
  }
  if (is(self, "far-front")) {
    ((char *)out)[-70000] = 1;
    return fill(self, out, cap);
  }
  if (is(self, "unwritten")) return cap < 2 ? (int32_t)cap : 2;
  n = fill(self, out, cap);
  if (is(self, "half-written")) memset(&out[0].value, 0xA5, sizeof out[0].value);
  if (is(self, "channel-bad")) out[0].channel = 4;
  if (is(self, "channel-frame")) out[0].channel = 3;
  if (is(self, "quality-bad")) out[0].quality = 3;
  if (is(self, "bool-2")) out[2].value.i64 = 2;
  if (is(self, "bool-255")) out[2].value.i64 = 255;
  if (is(self, "stamp-negative")) out[0].monotonic_ns = -1;
  if (is(self, "stamp-future")) out[0].monotonic_ns = INT64_MAX;
  if (is(self, "stamp-back")) out[0].monotonic_ns = self->reads == 1 ? 0 : 1;
  if (is(self, "reserved")) out[0].reserved = 0xFFFFFFFFu;
  if (is(self, "kept") && self->reads == 1) start(write_later, out);
  if (is(self, "kept-same-thread")) {
    if (self->kept != NULL) memset(self->kept, 1, 8);
    self->kept = out - 1;
  }
  return n;
}

static int32_t hostile_close(dunlin_device *self) {
  if (is(self, "close-crash")) abort();
  if (is(self, "close-hang")) nap(60000);
  if (closes++ > 0) abort(); /* a host opens one device, and closes it once */
  free(self);
  return 0;
}

static void hostile_explain(dunlin_device *self, dunlin_text *why) {
  if (is(self, "explain-past")) memset(why->bytes, 'e', sizeof why->bytes + 1);
  if (is(self, "eio")) snprintf(why->bytes, sizeof why->bytes, "the \x1b[31m wire %%n is cut");
}

static int32_t hostile_read_frames(dunlin_device *self, uint8_t *bytes, uint32_t bytes_cap, dunlin_frame *out,
                                   uint32_t cap, uint32_t timeout_ms) {
  (void)timeout_ms;
  (void)cap;
  memset(out, 0, sizeof *out);
  out[0].channel = 3;
  out[0].length = 5;
  memcpy(bytes, "hello", 5);
  if (is(self, "frame-length")) out[0].length = 0xFFFFFFFFu;
  if (is(self, "frame-offset")) out[0].offset = bytes_cap - 4;
  if (is(self, "frame-wrap")) out[0].offset = 0xFFFFFFFEu;
  if (is(self, "frame-zero")) out[0].length = 0;
  if (is(self, "frame-channel")) out[0].channel = 0;
  if (is(self, "frame-past")) bytes[bytes_cap] = 1;
  if (is(self, "frame-count")) return (int32_t)cap + 1;
  return 1;
}

static int32_t hostile_write(dunlin_device *self, uint32_t channel, const dunlin_value *value, uint32_t timeout_ms) {
  (void)channel;
  (void)timeout_ms;
  if (is(self, "write-value")) ((dunlin_value *)(uintptr_t)value)->value.i64 = 0;
  if (is(self, "write-crash")) abort();
  if (value->value.f64 > 100.0) return -ERANGE;
  return 0;
}

static const dunlin_frames_1 frames = {sizeof(dunlin_frames_1), 64, hostile_read_frames};
static const dunlin_actuate_1 actuate = {sizeof(dunlin_actuate_1), 0, hostile_write};

static const void *hostile_extension(const char *id) {
  if (strcmp(id, DUNLIN_FRAMES_1) == 0) return &frames;
  if (strcmp(id, DUNLIN_ACTUATE_1) == 0) return &actuate;
  return NULL;
}

#ifndef STRUCT_SIZE
#define STRUCT_SIZE sizeof(dunlin_driver)
#endif
#ifndef MAJOR
#define MAJOR DUNLIN_ABI_MAJOR
#endif
#ifndef ID
#define ID "hostile"
#endif
#ifndef READ
#define READ hostile_read
#endif
#ifndef ENTRY
#define ENTRY dunlin_driver_entry
#endif

DUNLIN_EXPORT const dunlin_driver ENTRY = {
    STRUCT_SIZE,
    MAJOR,
    DUNLIN_ABI_MINOR,
    0,
    sizeof options / sizeof options[0],
    ID,
    "6.6.6",
    "Misbehaves on demand",
    options,
    hostile_open,
    hostile_channels,
    READ,
    hostile_close,
    hostile_explain,
    hostile_extension,
};
