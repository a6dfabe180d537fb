/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Pure conversions from register bytes to numbers. */
#ifndef DUNLIN_DRIVERS_I2C_CONVERT_H
#define DUNLIN_DRIVERS_I2C_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

/* LM75 family: two's complement, left-aligned in 16 bits, whole degrees in the high byte (TI TMP105 data sheet, table
 * "Temperature register"). Bits below the resolution are undefined on some chips and are cut off. Exact in double. */
static inline double lm75_celsius(uint16_t raw, unsigned bits) {
  uint16_t kept = (uint16_t)(raw & (uint16_t)(0xFFFFu << (16u - bits)));
  return (double)(int16_t)kept / 256.0;
}

/* A register of 1, 2 or 4 bytes: assemble, mask, shift right, then extend the sign of what the mask spans. */
static inline int64_t register_integer(const uint8_t *bytes, unsigned size, bool little, uint32_t mask,
                                       unsigned shift, bool is_signed) {
  uint32_t raw = 0;
  for (unsigned i = 0; i < size; i++) {
    raw = (raw << 8) | bytes[little ? size - 1 - i : i];
  }
  uint32_t full = (size == 4 ? UINT32_MAX : (UINT32_C(1) << (8 * size)) - 1) & mask;
  int64_t value = (int64_t)((raw & full) >> shift);
  int64_t span = (int64_t)(full >> shift);
  int64_t top = 1;
  while (top <= span / 2) {
    top *= 2;
  }
  return is_signed && (value & top) != 0 ? value - 2 * top : value;
}

#endif
