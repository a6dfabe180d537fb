/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Cuts a stream of bytes into frames. No input or output of its own. */
#ifndef DUNLIN_DRIVERS_SERIAL_FRAMING_H
#define DUNLIN_DRIVERS_SERIAL_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum framing { FRAMING_LINES, FRAMING_DELIMITED, FRAMING_LENGTH, FRAMING_IDLE } framing;

/* Set the first part and allocate `bytes`; the rest begins as zero. */
typedef struct framer {
  framing kind;
  uint32_t frame_max; /* bytes of the longest frame, without a delimiter; `bytes` has DELIMITER_MAX more */
  uint32_t delimiter, delimiter_length; /* the delimiter's bytes, the first one highest */
  uint32_t length_offset, length_size;  /* where in a frame its length is, and in how many bytes */
  int64_t length_adjust;                /* what is added to that length to make it the whole frame's */
  bool length_little;
  uint8_t *bytes;

  uint32_t used;    /* bytes of the frame so far */
  uint64_t seen;    /* bytes since the last delimiter, up to which it cannot begin earlier */
  uint32_t tail;    /* the last four bytes */
  int64_t start_ns; /* when the first byte came */
  bool skipping;    /* until a boundary is seen: what comes before it may be the rest of a frame */
  bool broken;      /* too long, or of an impossible length: dropped up to the next boundary */
  uint64_t lost;    /* frames dropped, for the caller to take */
} framer;

#define DELIMITER_MAX 4u

/* Takes bytes that came at now_ns until a frame is whole; returns how many. Where *length is then not 0, the frame is
 * bytes[0 .. *length], stamped start_ns, valid until the next call. */
uint32_t framer_push(framer *f, const uint8_t *bytes, uint32_t count, int64_t now_ns, uint32_t *length);
/* Says that the line was idle for as long as separates frames. As above. */
void framer_idle(framer *f, uint32_t *length);

#endif
