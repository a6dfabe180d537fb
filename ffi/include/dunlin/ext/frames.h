/*
 * dunlin.frames/1: byte frames
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * For devices whose readings are packets rather than numbers: serial protocols, CAN, telemetry links. A device that
 * offers frames declares at least one channel of DUNLIN_KIND_FRAME. It may offer samples as well: the host then asks
 * for both in turn.
 */
#ifndef DUNLIN_EXT_FRAMES_H
#define DUNLIN_EXT_FRAMES_H

#include "../driver.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DUNLIN_FRAMES_1 "dunlin.frames/1"

/* One frame: a span of the byte buffer of the same call. Spans do not overlap and lie in ascending order. */
typedef struct dunlin_frame {
  int64_t monotonic_ns; /* CLOCK_MONOTONIC when its first byte arrived; 0 = the host stamps it */
  uint32_t offset;      /* of the first byte in `bytes` */
  uint32_t length;      /* in bytes, >= 1 */
  uint32_t channel;     /* index of a channel of DUNLIN_KIND_FRAME */
  uint32_t lost;        /* frames of this channel lost just before this one */
} dunlin_frame;

typedef struct dunlin_frames_1 {
  uint32_t struct_size; /* sizeof(dunlin_frames_1) as the driver was compiled */
  uint32_t frame_max;   /* longest frame in bytes, 1 ..= 65536; the host's byte buffer is never smaller */

  /* Reads whole frames, oldest first. Writes payloads to bytes and their spans to out, and returns how many frames it
   * wrote; a frame that does not fit is kept for the next call. Waits up to timeout_ms for the first; 0 = none came.
   * bytes: bytes_cap bytes. out: cap entries (cap >= 1). Both valid during the call.
   * [device-thread] */
  int32_t (*read_frames)(dunlin_device *device, uint8_t *bytes, uint32_t bytes_cap, dunlin_frame *out, uint32_t cap,
                         uint32_t timeout_ms);
} dunlin_frames_1;

#ifdef __cplusplus
}
#endif

#endif /* DUNLIN_EXT_FRAMES_H */
