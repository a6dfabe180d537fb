/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Every 16-bit register value at 9 to 12 bits, against arithmetic on the bits' weights; every place that a signal can
 * have in eight bytes, against shifts of the whole. Exits 0 if all agree. */
#include "can_signals.h"
#include "i2c_convert.h"

#include <stdio.h>

/* Of a frame taken as one number, little or big: the signal is what is left after a shift. */
static int signals_agree(void) {
  static const uint8_t data[] = {0x81, 0x42, 0xA5, 0x3C, 0xF0, 0x0F, 0x9E, 0x77};
  uint64_t little = 0, big = 0;
  for (unsigned i = 0; i < 8; i++) {
    little |= (uint64_t)data[i] << (8 * i);
    big = big << 8 | data[i];
  }
  for (uint32_t length = 1; length <= 64; length++) {
    uint64_t mask = length == 64 ? UINT64_MAX : (UINT64_C(1) << length) - 1;
    for (uint32_t first = 0; first + length <= 64; first++) {
      const signal_place low = {first, length, false, SIGNAL_UNSIGNED};
      const signal_place high = {(first & ~7u) + 7 - first % 8, length, true, SIGNAL_SIGNED};
      const signal_place places[] = {low, high};
      const uint64_t want[] = {little >> first & mask, big >> (64 - length - first) & mask};
      for (unsigned i = 0; i < 2; i++) {
        uint8_t written[8] = {0}, inverse[8];
        memset(inverse, 0xFF, sizeof inverse);
        signal_put(&places[i], written, want[i]);
        signal_put(&places[i], inverse, want[i]);
        uint64_t sign = want[i] >> (length - 1);
        double number = signal_number(&places[i], want[i]);
        double expected = i == 1 && sign != 0 ? -(double)(mask - want[i]) - 1 : (double)want[i];
        if (signal_get(&places[i], data) != want[i] || signal_get(&places[i], written) != want[i] ||
            signal_get(&places[i], inverse) != want[i] || signal_bytes(&places[i]) != (first + length + 7) / 8 ||
            number < expected || number > expected || number < signal_least(&places[i]) ||
            number > signal_most(&places[i]) || (length <= 53 && signal_raw(&places[i], number) != want[i])) {
          printf("signal of %u bits from %u, %s\n", length, first, i == 0 ? "little" : "big");
          return 0;
        }
        for (unsigned bit = 0; bit < 64; bit++) { /* nothing beside it is touched */
          bool inside = i == 0 ? bit >= first && bit < first + length
                               : (bit & ~7u) + 7 - bit % 8 >= first && (bit & ~7u) + 7 - bit % 8 < first + length;
          if (!inside && ((written[bit / 8] >> bit % 8 & 1) != 0 || (inverse[bit / 8] >> bit % 8 & 1) == 0)) {
            printf("signal of %u bits from %u touches bit %u\n", length, first, bit);
            return 0;
          }
        }
      }
    }
  }
  const signal_place half = {0, 32, false, SIGNAL_FLOAT}, whole = {0, 64, true, SIGNAL_FLOAT};
  const signal_place widest = {0, 64, false, SIGNAL_UNSIGNED};
  const double number = -12.375;
  return signal_raw(&half, number) == 0xC1460000u && signal_raw(&whole, number) == UINT64_C(0xC028C00000000000) &&
         !(signal_number(&half, 0xC1460000u) < number || signal_number(&half, 0xC1460000u) > number) &&
         signal_raw(&widest, signal_most(&widest)) == UINT64_MAX;
}

int main(void) {
  if (!signals_agree()) {
    return 3;
  }
  static const unsigned resolutions[] = {9, 10, 11, 12};
  for (unsigned r = 0; r < 4; r++) {
    for (uint32_t raw = 0; raw <= 0xFFFF; raw++) {
      double want = (raw & 0x8000) != 0 ? -128.0 : 0.0;
      double weight = 64.0;
      for (unsigned bit = 1; bit < resolutions[r]; bit++, weight /= 2) {
        want += (raw >> (15 - bit) & 1) != 0 ? weight : 0.0;
      }
      if (lm75_celsius((uint16_t)raw, resolutions[r]) < want || lm75_celsius((uint16_t)raw, resolutions[r]) > want) {
        printf("0x%04x at %u bits\n", raw, resolutions[r]);
        return 1;
      }
    }
  }
  const uint8_t bytes[] = {0x12, 0xF4, 0xFF, 0xFF};
  return register_integer(bytes, 2, false, UINT32_MAX, 0, false) == 0x12F4 &&
                 register_integer(bytes, 2, true, UINT32_MAX, 0, true) == -3054 &&
                 register_integer(bytes, 2, false, 0x00F0, 4, true) == -1 &&
                 register_integer(bytes + 2, 1, false, UINT32_MAX, 0, true) == -1 &&
                 register_integer(bytes, 4, true, UINT32_MAX, 0, false) == 0xFFFFF412
             ? 0
             : 2;
}
