/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "serial_framing.h"

static void begin(framer *f) {
  f->used = 0;
  f->seen = 0;
  f->broken = false;
}

/* A boundary: the length of the frame before it, or 0 where that is none. */
static uint32_t finish(framer *f, uint32_t length) {
  f->lost += f->broken && !f->skipping ? 1 : 0;
  length = f->broken || f->skipping ? 0 : length;
  f->skipping = false;
  begin(f);
  return length;
}

static bool delimited(const framer *f) {
  uint32_t mask = UINT32_MAX >> (8 * (DELIMITER_MAX - f->delimiter_length));
  return f->seen >= f->delimiter_length && (f->tail & mask) == f->delimiter;
}

/* The length of the whole frame by its own field, once that is there; 0 before, -1 where it cannot be. */
static int64_t announced(const framer *f) {
  if (f->used < f->length_offset + f->length_size) {
    return 0;
  }
  uint64_t value = 0;
  for (uint32_t i = 0; i < f->length_size; i++) {
    value = (value << 8) | f->bytes[f->length_offset + (f->length_little ? f->length_size - 1 - i : i)];
  }
  int64_t whole = (int64_t)value + f->length_adjust;
  return whole < (int64_t)f->length_offset + f->length_size || whole > f->frame_max ? -1 : whole;
}

static uint32_t push(framer *f, uint8_t byte) {
  uint32_t room = f->frame_max + (f->kind <= FRAMING_DELIMITED ? f->delimiter_length : 0);
  f->tail = (f->tail << 8) | byte;
  f->seen++;
  if (f->used == room) {
    f->broken = true;
  } else if (!f->broken) {
    f->bytes[f->used++] = byte;
  }
  if (f->kind <= FRAMING_DELIMITED) {
    return delimited(f) ? finish(f, f->used - (f->broken ? 0 : f->delimiter_length)) : 0;
  }
  int64_t whole = f->kind == FRAMING_LENGTH && !f->broken ? announced(f) : 0;
  f->broken = f->broken || whole < 0;
  return whole > 0 && f->used == whole ? finish(f, f->used) : 0;
}

uint32_t framer_push(framer *f, const uint8_t *bytes, uint32_t count, int64_t now_ns, uint32_t *length) {
  *length = 0;
  uint32_t taken = 0;
  while (taken < count && *length == 0) {
    f->start_ns = f->seen == 0 ? now_ns : f->start_ns;
    *length = push(f, bytes[taken++]);
  }
  return taken;
}

void framer_idle(framer *f, uint32_t *length) {
  *length = 0;
  if (f->kind == FRAMING_IDLE) {
    *length = finish(f, f->used);
  } else if (f->kind == FRAMING_LENGTH) {
    f->broken = f->broken || f->used > 0; /* the rest of it will not come */
    (void)finish(f, 0);
  }
}
