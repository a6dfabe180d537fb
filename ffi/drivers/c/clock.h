/* SPDX-License-Identifier: MIT OR Apache-2.0
 * The one clock of the drivers: CLOCK_MONOTONIC in nanoseconds, and an absolute sleep on it. */
#ifndef DUNLIN_DRIVERS_CLOCK_H
#define DUNLIN_DRIVERS_CLOCK_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

static inline int64_t clock_now_ns(void) {
  struct timespec now;
  /* Cannot fail: CLOCK_MONOTONIC exists on every Linux and the pointer is valid. */
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* Absolute, so that a signal that interrupts the sleep does not stretch it. */
static inline void clock_sleep_until(int64_t when_ns) {
  struct timespec until = {.tv_sec = (time_t)(when_ns / NS_PER_S), .tv_nsec = (long)(when_ns % NS_PER_S)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
  }
}

#endif
