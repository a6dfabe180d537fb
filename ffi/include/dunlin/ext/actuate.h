/*
 * dunlin.actuate/1: writes
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * For devices that can be told something: a coil, a set point, an output line. Channels that accept writes carry
 * DUNLIN_CHANNEL_WRITABLE.
 */
#ifndef DUNLIN_EXT_ACTUATE_H
#define DUNLIN_EXT_ACTUATE_H

#include "../driver.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DUNLIN_ACTUATE_1 "dunlin.actuate/1"

/* The value to write, of the kind of the channel. */
typedef struct dunlin_value {
  dunlin_number value;
  uint32_t kind;     /* DUNLIN_KIND_F64, _I64 or _BOOL; the host has checked it against the channel */
  uint32_t reserved; /* zero */
} dunlin_value;

typedef struct dunlin_actuate_1 {
  uint32_t struct_size; /* sizeof(dunlin_actuate_1) as the driver was compiled */
  uint32_t reserved;    /* zero */

  /* Writes one value and returns 0 once the device has taken it. -ERANGE: the value is outside the channel's range,
   * nothing was written. -ETIMEDOUT: the device did not confirm; it may or may not have taken the value. The host
   * never repeats a write by itself.
   * value: valid during the call.
   * [device-thread] */
  int32_t (*write)(dunlin_device *device, uint32_t channel, const dunlin_value *value, uint32_t timeout_ms);
} dunlin_actuate_1;

#ifdef __cplusplus
}
#endif

#endif /* DUNLIN_EXT_ACTUATE_H */
