/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Every 16-bit register value at 9 to 12 bits, against arithmetic on the bits' weights. Exits 0 if all agree. */
#include "i2c_convert.h"

#include <stdio.h>

int main(void) {
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
