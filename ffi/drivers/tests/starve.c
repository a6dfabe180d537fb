/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * starve DRIVER.so [key=value ...]: opens, reads and closes with the 1st allocation failing, then with the 2nd, and so
 * on until none is left to fail; each time in a process of its own. Ends with 0 if none of them crashed, leaked (where a
 * sanitizer looks) or broke the contract of open.
 *
 * With STARVE_REFUSED in the environment the device cannot be opened, whatever memory there is: the way to the refusal is
 * what starves.
 *
 * As it stands it replaces malloc for all: driver and libraries. Compiled with -DWRAP it serves a driver linked with
 * --wrap=malloc,--wrap=calloc instead, so that an address sanitizer keeps malloc to itself. */
#include <dlfcn.h>
#include <dunlin/driver.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_MAX 10000 /* no driver here allocates as often */
enum { SURVIVED = 0, NONE_FAILED = 10, BROKE_CONTRACT = 11 };

static long left; /* allocations until the one that fails; 0 = none does */
static int failed;
static int refused; /* by the driver, with memory enough */

static int fails(void) {
  if (left == 0 || --left != 0) {
    return 0;
  }
  failed = 1;
  errno = ENOMEM;
  return 1;
}

#ifdef WRAP
#define NAME(function) __wrap_##function
#define REAL(function) __real_##function
#define __real_malloc malloc
#define __real_calloc calloc
#define __real_realloc realloc
#else
#define NAME(function) function
#define REAL(function) __libc_##function
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
#endif
void *NAME(malloc)(size_t bytes);
void *NAME(calloc)(size_t count, size_t bytes);
void *NAME(realloc)(void *old, size_t bytes);
void *NAME(malloc)(size_t bytes) { return fails() ? NULL : REAL(malloc)(bytes); }
void *NAME(calloc)(size_t count, size_t bytes) { return fails() ? NULL : REAL(calloc)(count, bytes); }
void *NAME(realloc)(void *old, size_t bytes) { return fails() ? NULL : REAL(realloc)(old, bytes); }

static int round_of(const dunlin_driver *driver, const dunlin_option *options, uint32_t count, long nth) {
  static dunlin_sample samples[64];
  static dunlin_channel channels[64];
  dunlin_device *const untouched = (dunlin_device *)&left;
  dunlin_device *device = untouched;
  dunlin_text why;
  memset(&why, 0, sizeof why);
  left = nth;
  int32_t status = driver->open(options, count, &why, &device);
  if (status == 0) {
    (void)driver->channels(device, channels, 64);
    (void)driver->read(device, samples, 64, 1000);
    (void)driver->read(device, samples, 1, 1000);
    (void)driver->close(device);
  }
  left = 0;
  if (status > 0 || status < -4095 || (status < 0) != (device == untouched) || why.bytes[sizeof why.bytes - 1] != '\0') {
    return BROKE_CONTRACT;
  }
  return failed ? SURVIVED : (status != 0) == refused ? NONE_FAILED : BROKE_CONTRACT;
}

/* libsensors ends the process by exit(1), and the scanner that it is generated from by exit(2): a choice, not a crash,
 * and the driver host is started anew. Where only the driver starves, there is no library to blame. */
static int library_gave_up(int code) {
#ifdef WRAP
  (void)code;
  return 0;
#else
  return code == 1 || code == 2;
#endif
}

int main(int argc, char **argv) {
  void *library = argc < 2 ? NULL : dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  const dunlin_driver *driver = library == NULL ? NULL : dlsym(library, "dunlin_driver_entry");
  static dunlin_option options[64];
  uint32_t count = 0;
  for (; driver != NULL && (int)count + 2 < argc && count < 64; count++) {
    char *equals = strchr(argv[count + 2], '=');
    if (equals == NULL) {
      return 2;
    }
    *equals = '\0';
    options[count] = (dunlin_option){argv[count + 2], equals + 1};
  }
  if (driver == NULL) {
    fprintf(stderr, "%s\n", argc < 2 ? "usage: starve driver.so [key=value ...]" : dlerror());
    return 2;
  }
  int gave_up = 0;
  refused = getenv("STARVE_REFUSED") != NULL;
  for (long nth = 1; nth < ROUNDS_MAX; nth++) {
    pid_t child = fork();
    if (child == 0) {
      exit(round_of(driver, options, count, nth));
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
      return 2;
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code == NONE_FAILED) {
      printf("starved %ld times, a library gave up %d times\n", nth - 1, gave_up);
      return nth == 1 ? 3 : 0; /* a driver that allocates nothing would be no test */
    }
    gave_up += library_gave_up(code);
    if (code != SURVIVED && !library_gave_up(code)) {
      fprintf(stderr, "%s: with allocation %ld failing: %s %d\n", driver->id, nth,
              WIFEXITED(status) ? "exit status" : "signal", WIFEXITED(status) ? code : code - 128);
      return 4;
    }
  }
  return 5;
}
