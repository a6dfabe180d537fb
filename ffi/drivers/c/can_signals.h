/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Signals in the payload of a CAN frame: pure conversions between bits and numbers. Bits are numbered as in a DBC file:
 * bit n is bit n % 8 of byte n / 8, 0 being the lowest. */
#ifndef DUNLIN_DRIVERS_CAN_SIGNALS_H
#define DUNLIN_DRIVERS_CAN_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef enum signal_type { SIGNAL_UNSIGNED, SIGNAL_SIGNED, SIGNAL_FLOAT } signal_type;

/* Where a signal is. */
typedef struct signal_place {
  uint32_t start;  /* little: its lowest bit; big: its highest, which is what a DBC file says */
  uint32_t length; /* in bits, 1 to 64 */
  bool big;
  signal_type type;
} signal_place;

/* The number of the bit of weight 2^weight. */
static inline uint32_t signal_bit(const signal_place *p, uint32_t weight) {
  if (!p->big) {
    return p->start + weight;
  }
  /* Counted from the highest bit of byte 0, big-endian signals run straight on. */
  uint32_t at = (p->start & ~7u) + (7 - p->start % 8) + (p->length - 1 - weight);
  return (at & ~7u) + (7 - at % 8);
}

/* How many bytes a frame must have to hold it. */
static inline uint32_t signal_bytes(const signal_place *p) {
  return signal_bit(p, p->big ? 0 : p->length - 1) / 8 + 1;
}

static inline uint64_t signal_get(const signal_place *p, const uint8_t *data) {
  uint64_t raw = 0;
  for (uint32_t weight = p->length; weight-- > 0;) {
    uint32_t bit = signal_bit(p, weight);
    raw = raw << 1 | (data[bit / 8] >> bit % 8 & 1u);
  }
  return raw;
}

static inline void signal_put(const signal_place *p, uint8_t *data, uint64_t raw) {
  for (uint32_t weight = 0; weight < p->length; weight++) {
    uint32_t bit = signal_bit(p, weight), mask = 1u << bit % 8;
    data[bit / 8] = (uint8_t)(raw >> weight & 1 ? data[bit / 8] | mask : data[bit / 8] & ~mask);
  }
}

/* The ends of what the bits can say, for whole numbers. */
static inline double signal_least(const signal_place *p) {
  return p->type == SIGNAL_SIGNED ? -(double)(UINT64_C(1) << (p->length - 1)) : 0;
}
static inline double signal_most(const signal_place *p) {
  uint32_t bits = p->type == SIGNAL_SIGNED ? p->length - 1 : p->length;
  return bits == 64 ? (double)UINT64_MAX : (double)((UINT64_C(1) << bits) - 1);
}

/* Exact for whole numbers up to 2^53. */
static inline double signal_number(const signal_place *p, uint64_t raw) {
  if (p->type == SIGNAL_FLOAT) {
    float narrow = 0;
    double wide = 0;
    uint32_t low = (uint32_t)raw;
    memcpy(&narrow, &low, sizeof narrow);
    memcpy(&wide, &raw, sizeof wide);
    return p->length == 32 ? (double)narrow : wide;
  }
  bool negative = p->type == SIGNAL_SIGNED && (raw >> (p->length - 1) & 1) != 0;
  uint64_t above = p->length == 64 ? 0 : UINT64_MAX << p->length;
  return negative ? (double)(int64_t)(raw | above) : (double)raw;
}

/* Of a number that is whole and between the ends above, or any for a float. */
static inline uint64_t signal_raw(const signal_place *p, double number) {
  if (p->type == SIGNAL_FLOAT && p->length == 32) {
    float narrow = (float)number;
    uint32_t low = 0;
    memcpy(&low, &narrow, sizeof low);
    return low;
  }
  uint64_t raw = 0;
  if (p->type == SIGNAL_FLOAT) {
    memcpy(&raw, &number, sizeof raw);
  } else if (number < 0) {
    raw = number <= -0x1p63 ? UINT64_C(1) << 63 : (uint64_t)(int64_t)number;
  } else {
    /* The upper end of 64 bits is no double: the next one above stands for it. */
    raw = number < 0x1p63 ? (uint64_t)number : p->type == SIGNAL_SIGNED ? INT64_MAX
          : number < 0x1p64 ? (uint64_t)number : UINT64_MAX;
  }
  return p->length == 64 ? raw : raw & ((UINT64_C(1) << p->length) - 1);
}

/* Lengths that a frame of CAN FD can have. */
static inline bool is_frame_length(int64_t bytes) {
  return bytes <= 8 || bytes == 12 || bytes == 16 || bytes == 20 || bytes == 24 || bytes == 32 || bytes == 48 ||
         bytes == 64;
}

#endif
