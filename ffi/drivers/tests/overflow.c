/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A driver that writes 16 bytes past what it allocated, at each read: what memory tagging is there to catch. */
#include <dunlin/driver.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct dunlin_device {
  char *volatile block;
};

static int32_t open_device(const dunlin_option *options, uint32_t count, dunlin_text *why, dunlin_device **out) {
  (void)options;
  (void)count;
  (void)why;
  dunlin_device *device = calloc(1, sizeof *device);
  if (device == NULL) {
    return -ENOMEM;
  }
  /* The neighbour behind it keeps the write inside the heap, where nothing but the tag tells. */
  device->block = malloc(24);
  char *neighbour = malloc(64);
  if (device->block == NULL || neighbour == NULL) {
    return -ENOMEM;
  }
  free(neighbour);
  *out = device;
  return 0;
}

static int32_t channels(dunlin_device *device, dunlin_channel *out, uint32_t cap) {
  (void)device;
  (void)out;
  (void)cap;
  return 0;
}

static int32_t read_device(dunlin_device *device, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  (void)out;
  (void)cap;
  (void)timeout_ms;
  memset(device->block + 32, 1, 16);
  return 0;
}

static int32_t close_device(dunlin_device *device) {
  (void)device;
  return 0;
}

static void explain(dunlin_device *device, dunlin_text *why) {
  (void)device;
  (void)why;
}

static const void *extension(const char *id) {
  (void)id;
  return NULL;
}

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    sizeof(dunlin_driver), DUNLIN_ABI_MAJOR, DUNLIN_ABI_MINOR, 0,        0,       "overflow", "1.0.0", "Writes past its memory",
    NULL,                  open_device,      channels,         read_device, close_device, explain,    extension,
};
