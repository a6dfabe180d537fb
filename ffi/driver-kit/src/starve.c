/* Allocations of a driver that fail on purpose: the n-th one made by code between two addresses, and all after it.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * An executable's malloc takes the place of the C library's for everything in the process. The caller's address tells
 * the driver's own allocations from those of the libraries that it uses, and from the kit's. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);

static uintptr_t from, to;
static long granted;
static long denied;

/* Grants the code between the addresses so many allocations. Returns how many it was denied since the last call. */
long dunlin_kit_starve(uintptr_t first, uintptr_t end, long grant) {
  long before = denied;
  from = first;
  to = end;
  granted = grant;
  denied = 0;
  return before;
}

static int deny(void *caller) {
  uintptr_t at = (uintptr_t)caller;
  if (at < from || at >= to) return 0;
  if (__atomic_fetch_sub(&granted, 1, __ATOMIC_RELAXED) > 0) return 0;
  __atomic_fetch_add(&denied, 1, __ATOMIC_RELAXED);
  errno = ENOMEM;
  return 1;
}

void *malloc(size_t bytes) { return deny(__builtin_return_address(0)) ? NULL : __libc_malloc(bytes); }

void *calloc(size_t count, size_t bytes) {
  return deny(__builtin_return_address(0)) ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes) {
  return deny(__builtin_return_address(0)) ? NULL : __libc_realloc(old, bytes);
}
