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
#include <fenv.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

struct dunlin_device {
  char mode[64];
  char arg[128];
  long reads;
  long thread; /* that opened it */
  void *kept;
  int bus; /* a file that stands for one */
};

static int devices_open;

static int exit_hangs;

static int constructor_errno;

static long first_thread;

/* Runs at dlopen: the sandbox must be on already. */
__attribute__((constructor)) static void at_load(void) {
  int fd = open("/etc/shadow", O_RDONLY | O_CLOEXEC);
  constructor_errno = fd >= 0 ? 0 : errno;
  first_thread = syscall(SYS_gettid);
  if (fd >= 0) close(fd);
}

__attribute__((destructor)) static void at_exit_of_process(void) {
  struct timespec long_time = {60, 0};
  if (exit_hangs) nanosleep(&long_time, NULL);
}

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

#include "net.h"
#include "reach.h"

#include "upset.h"

static void swap_table(void);

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
  if (is(self, "open-options-past-one")) {
    const volatile char *last = given[count - 1].value;
    (void)last[strlen(given[count - 1].value) + 1];
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
  if (is(self, "bus")) { /* one owner at a time, and what its last owner left half done is undone */
    char left = 0;
    self->bus = open(self->arg, O_RDWR | O_CLOEXEC);
    if (self->bus < 0 || flock(self->bus, LOCK_EX | LOCK_NB) != 0) return failed(why, errno);
    if (pread(self->bus, &left, 1, 0) == 1 && left == 'b' && pwrite(self->bus, "reset", 5, 0) != 5) return -EIO;
  }
  if (is(self, "table-swap")) swap_table();
  if (spoil_next_opening(self) != 0) {
    free(self);
    return failed(why, EXDEV);
  }
  exit_hangs = is(self, "exit-hang");
  self->thread = syscall(SYS_gettid);
  devices_open++;
  *device = self;
  return 0;
}

static int32_t hostile_channels(dunlin_device *self, dunlin_channel *out, uint32_t cap) {
  uint32_t i, n = 4;
  if (is(self, "channels-many")) return 5000;
  if (is(self, "channels-grow")) return (int32_t)cap + 1;
  if (is(self, "channels-4096")) n = 4096;
  if (is(self, "channels-none")) return 0;
  if (is(self, "counts-by-room") && cap > 0 && cap < n) return (int32_t)cap;
  if (cap < n) return (int32_t)n;
  for (i = 0; i < n; i++) {
    snprintf(out[i].name, sizeof out[i].name, "c%u", i);
    strcpy(out[i].unit, "1");
    out[i].kind = i == 1 ? DUNLIN_KIND_I64 : i == 2 ? DUNLIN_KIND_BOOL : i == 3 ? DUNLIN_KIND_FRAME : DUNLIN_KIND_F64;
    out[i].min = -INFINITY;
    out[i].max = INFINITY;
  }
  out[0].flags = DUNLIN_CHANNEL_WRITABLE;
  if (is(self, "unit-high-bytes")) strcpy(out[0].unit, "\xc2\xb5m"); /* a micro sign, UTF-8 */
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
  if (self->thread != syscall(SYS_gettid)) return -EXDEV; /* another thread than the one that opened */
  /* `arg` = how many good readings come first */
  if (self->reads <= atol(self->arg)) return fill(self, out, cap);
  upset(self, out);
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
  if (is(self, "errno-unknown")) return -4000;
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
  if (is(self, "kept-read") && self->reads == 1) start(read_later, out);
  if (is(self, "racing") && self->reads == 1) start_racing(out);
  if (is(self, "kept-same-thread")) {
    if (self->kept != NULL) memset(self->kept, 1, 8);
    self->kept = out - 1;
  }
  return n;
}

static int32_t hostile_close(dunlin_device *self) {
  if (is(self, "close-crash")) abort();
  if (is(self, "close-hang")) nap(60000);
  if (devices_open-- <= 0) abort(); /* closed more often than opened */
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

#ifndef EXTENSION_SHIFT /* bytes from where the table is to where it is said to be */
#define EXTENSION_SHIFT 0
#endif

static const void *hostile_extension(const char *id) {
  if (strcmp(id, DUNLIN_FRAMES_1) == 0) return (const char *)&frames + EXTENSION_SHIFT;
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
#ifdef INTERPOSES /* names that others have, here as what ends whoever calls them */
DUNLIN_EXPORT void SSL_connect(void) { abort(); }
DUNLIN_EXPORT void EVP_DigestInit_ex(void) { abort(); }
DUNLIN_EXPORT void X509_verify_cert(void) { abort(); }
DUNLIN_EXPORT int clock_gettime(clockid_t id, struct timespec *t) { abort(); }
DUNLIN_EXPORT ssize_t send(int fd, const void *bytes, size_t length, int flags) { abort(); }
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

static int32_t swapped_read(dunlin_device *self, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  (void)self, (void)out, (void)cap, (void)timeout_ms;
  abort();
}

/* The table is constant by contract; this one changes once it was read. */
static void swap_table(void) {
  int32_t (*replacement)(dunlin_device *, dunlin_sample *, uint32_t, uint32_t) = swapped_read;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), field = (uintptr_t)&ENTRY.read;
  void *start = (void *)(field & ~(page - 1));
  if (mprotect(start, field + sizeof replacement - (uintptr_t)start, PROT_READ | PROT_WRITE) != 0) abort();
  memcpy((void *)field, &replacement, sizeof replacement);
}
