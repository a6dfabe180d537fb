/*
 * A dunlin driver to copy. It measures nothing: one channel counts readings, one is a set point that can be written.
 *
 *   cc -std=c99 -shared -fPIC -fvisibility=hidden -Wall -Wextra -I ffi/include -o template.so ffi/examples/template.c
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Everything that the host expects of you is written at the declarations in dunlin/driver.h. In short: return a count
 * or a negated errno, never block longer than you were told to, keep no pointer that you were handed, and close what
 * you opened. The host calls from one thread, so a device needs no lock.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime, open and the like, which plain C99 does not have */

#include <dunlin/driver.h>
#include <dunlin/ext/actuate.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an open device is, is your own business: the host sees a pointer. */
struct dunlin_device {
  int64_t count;
  int64_t step;
  uint32_t next; /* channel of the next sample: what had no room in one read comes first in the next */
  double set_point;
  const char *why; /* of the latest failure, for explain */
};

enum { CHANNEL_COUNT, CHANNEL_SET_POINT, CHANNELS };

/* The options that a user may configure. The host checks kinds and bounds before it calls open. */
static const dunlin_option_spec options[] = {
    {"step", "how much the count grows with each reading", "1", DUNLIN_OPTION_INT, 0, 1.0, 1000.0},
};

static int32_t template_open(const dunlin_option *given, uint32_t count, dunlin_text *why, dunlin_device **device) {
  dunlin_device *self = calloc(1, sizeof *self);
  uint32_t i;
  if (self == NULL) {
    snprintf(why->bytes, sizeof why->bytes, "no memory for the device");
    return -ENOMEM;
  }
  self->step = 1; /* the fallback of the option spec */
  self->set_point = 20.0;
  for (i = 0; i < count; i++) {
    if (strcmp(given[i].key, "step") == 0) {
      self->step = strtoll(given[i].value, NULL, 0);
    }
  }
  *device = self; /* only now, when nothing can fail any more */
  return 0;
}

static int32_t template_channels(dunlin_device *self, dunlin_channel *out, uint32_t cap) {
  (void)self;
  if (cap >= CHANNELS) { /* `out` is zeroed: reserved fields and the ends of strings are in place */
    strcpy(out[CHANNEL_COUNT].name, "count");
    strcpy(out[CHANNEL_COUNT].unit, "1");
    out[CHANNEL_COUNT].kind = DUNLIN_KIND_I64;
    out[CHANNEL_COUNT].min = 0.0;
    out[CHANNEL_COUNT].max = INFINITY;

    strcpy(out[CHANNEL_SET_POINT].name, "set_point");
    strcpy(out[CHANNEL_SET_POINT].unit, "Cel");
    out[CHANNEL_SET_POINT].kind = DUNLIN_KIND_F64;
    out[CHANNEL_SET_POINT].flags = DUNLIN_CHANNEL_WRITABLE;
    out[CHANNEL_SET_POINT].min = 5.0;
    out[CHANNEL_SET_POINT].max = 30.0;
  }
  return CHANNELS; /* how many there are, whatever fits */
}

/* Not paced (see flags below): measures each channel once, now. */
static int32_t template_read(dunlin_device *self, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  uint32_t n;
  (void)timeout_ms;
  memset(out, 0, sizeof *out * cap); /* stamp 0: the host stamps; lost 0, quality good */
  for (n = 0; n < cap && self->next < CHANNELS; n++) {
    out[n].channel = self->next++;
    if (out[n].channel == CHANNEL_COUNT) {
      self->count += self->step;
      out[n].value.i64 = self->count;
    } else {
      out[n].value.f64 = self->set_point;
    }
  }
  self->next %= CHANNELS;
  return (int32_t)n;
}

static int32_t template_write(dunlin_device *self, uint32_t channel, const dunlin_value *value, uint32_t timeout_ms) {
  (void)timeout_ms;
  (void)channel; /* the host has checked: the one writable channel, of its kind */
  if (!(value->value.f64 >= 5.0 && value->value.f64 <= 30.0)) {
    self->why = "the set point is 5 to 30 Cel";
    return -ERANGE;
  }
  self->set_point = value->value.f64;
  return 0;
}

static int32_t template_close(dunlin_device *self) {
  free(self);
  return 0;
}

static void template_explain(dunlin_device *self, dunlin_text *why) {
  if (self->why != NULL) {
    snprintf(why->bytes, sizeof why->bytes, "%s", self->why);
  }
}

static const dunlin_actuate_1 actuate = {sizeof(dunlin_actuate_1), 0, template_write};

static const void *template_extension(const char *id) {
  return strcmp(id, DUNLIN_ACTUATE_1) == 0 ? &actuate : NULL;
}

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    sizeof(dunlin_driver),
    DUNLIN_ABI_MAJOR,
    DUNLIN_ABI_MINOR,
    0, /* flags: DUNLIN_DRIVER_PACED where read waits for data by itself */
    sizeof options / sizeof options[0],
    "template",
    "1.0.0",
    "A driver to copy",
    options,
    template_open,
    template_channels,
    template_read,
    template_close,
    template_explain,
    template_extension,
};
