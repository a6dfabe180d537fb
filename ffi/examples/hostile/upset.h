/*
 * Part of hostile.c: what a driver can do to the process and the threads that it runs in, and to those who listen to it.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

static volatile char seen;

/* Reads what it was lent once, long after the call, for as long as that is possible. */
static void *read_later(void *arg) {
  int turn;
  nap(30);
  for (turn = 0; turn < 2000; turn++) {
    seen = *(volatile char *)arg;
    nap(turn % 2);
  }
  return NULL;
}

/* Writes a channel that does not exist into the first sample, over and over: also while it is being checked. */
static void *write_on(void *arg) {
  volatile uint32_t *channel = &((dunlin_sample *)arg)->channel;
  for (;;) *channel = 0;
  return NULL;
}

static void start_racing(dunlin_sample *out) {
  int n;
  for (n = 0; n < 8; n++) start(write_on, out);
  nap(5);
}

static __thread int ticks;

static void *tick(void *arg) {
  for (;;) {
    nap(2);
    ticks++;
  }
  return arg;
}

static void *overflow(void *arg) {
  char top = 1;
  seen = (char)recurse(&top);
  return arg;
}

static void overflow_thread(void) {
  pthread_attr_t attr;
  pthread_t thread;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 128 * 1024);
  if (pthread_create(&thread, &attr, overflow, NULL) == 0) pthread_join(thread, NULL);
}

static jmp_buf gone;

static void leave_a_frame_behind(void) {
  if (setjmp(gone) != 0) _exit(43);
}

/* What `throw` does in C++: it looks for a frame that catches, and finds out whether it may unwind ours. */
static void throw_over_the_border(void) {
  static struct _Unwind_Exception exception;
  _Unwind_RaiseException(&exception);
  _exit(42); /* nobody may catch it: C++ calls std::terminate here */
}

static void on_signal(int signal) { (void)signal; }

static void change_signals(void) {
  struct sigaction action;
  int signal;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  for (signal = 1; signal < 32; signal++) sigaction(signal, &action, NULL);
}

static void block_signals(void) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
}

static void change_globals(void) {
  if (chdir("/usr") != 0) fprintf(stderr, "chdir\n");
  umask(0777);
  setlocale(LC_ALL, "de_DE.UTF-8");
  setenv("PATH", "/nowhere", 1);
  srand(1);
  close(0);
}

/* Other files under the numbers that everybody knows. */
static void replace_std(void) {
  int fd, zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  for (fd = 0; fd < 3; fd++) dup2(zero, fd);
}

/* Messages as a host sends them, but wrong: for a request of long ago, too long, and of random bytes. */
static void forge(const dunlin_device *self) {
  static unsigned char message[200000] = {1, 132};
  size_t length = 12, at;
  int fd = socket_of_host();
  if (is(self, "forge-sequence")) message[4] = 1;
  if (is(self, "forge-long")) length = sizeof message;
  if (is(self, "forge-random"))
    for (at = 0, length = 64; at < length; at++) message[at] = (unsigned char)(at * 37 + 11);
  send(fd, message, length, MSG_NOSIGNAL);
}

static void *volatile leaked[4096];

/* What an opening leaves behind for the next one, or takes for granted. */
static int spoil_next_opening(dunlin_device *self) {
  static int count;
  pthread_attr_t attr;
  pthread_t thread;
  char *volatile text;
  if (is(self, "leak-a-little")) leaked[count++ % 4096] = malloc(8);
  if (is(self, "leak-a-descriptor")) seen = (char)open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (is(self, "leak-a-thread")) {
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN);
    if (pthread_create(&thread, &attr, sleep_long, NULL) == 0) pthread_detach(thread);
    pthread_attr_destroy(&attr);
  }
  if (is(self, "one-at-a-time") && devices_open > 0) abort();
  if (is(self, "one-thread") && first_thread != syscall(SYS_gettid)) return -1;
  if (is(self, "no-memory-unchecked")) {
    text = malloc(16);
    *(volatile char *)text = 'x';
    free(text);
  }
  return 0;
}

/* Returns where there is nothing to upset, or where readings go on in spite of it. */
static void upset(dunlin_device *self, dunlin_sample *out) {
  if (is(self, "thread-exit")) pthread_exit(NULL);
  if (is(self, "throw")) throw_over_the_border();
  if (is(self, "longjmp")) {
    leave_a_frame_behind();
    longjmp(gone, 1);
  }
  if (is(self, "raise")) raise(SIGTERM);
  if (is(self, "overflow")) {
    volatile int most = INT_MAX;
    most = most + 1;
  }
  if (is(self, "free-ours")) {
    void *volatile ours = out;
    void *lent = ours;
    free(lent);
  }
  if (is(self, "recurse-thread")) overflow_thread();
  if (is(self, "late-thread") && self->reads == 1) start(tick, NULL);
  if (is(self, "signals-changed")) change_signals();
  if (is(self, "signals-blocked")) {
    block_signals();
    nap(600000);
  }
  if (is(self, "globals")) change_globals();
  if (is(self, "dup2")) replace_std();
  if (is(self, "rounding")) fesetround(FE_UPWARD);
  if (strncmp(self->mode, "forge-", 6) == 0) forge(self);
  if (is(self, "bus") && pwrite(self->bus, "busy ", 5, 0) == 5) nap(600000);
}
