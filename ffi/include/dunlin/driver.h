/*
 * dunlin driver ABI 1.0
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A driver is a shared object that exports exactly one symbol, `dunlin_driver_entry`: a constant table of
 * functions. dunlin loads it in a process of its own (`dunlin driver-host`), one process per configured device, with
 * seccomp and Landlock already on; constructors of the library run inside that sandbox. Everything is pull-only:
 * the host calls, the driver answers; the driver never calls back.
 *
 * Return values     >= 0 success (a count where one is documented), < 0 a negated errno (-EIO, -EINVAL ...).
 *                   Any other negative value than a negated errno in [-4095, -1] is a contract violation.
 * Threads           [device-thread] one thread makes every call for one device, from open to close, and never two at
 *                   once. [any-thread] may be called from any thread, also concurrently; must not block.
 * Memory            Pointers that the host passes are valid until the function returns, no longer: afterwards the
 *                   pages are unmapped. Strings in the table and in option specs must stay valid and unchanged while
 *                   the library is loaded; the library is never unloaded. The host never frees driver memory, the
 *                   driver never frees host memory.
 * Deadline          Each call ends within the timeout it was given plus the host's slack (250 ms unless configured).
 *                   open, channels, write and close have the deadline of the device (`deadline_ms`). A driver that
 *                   is late is killed; it is started again after a back-off, and the gap is recorded.
 * Process state     The driver leaves as it found them: signal handlers and mask, working directory, umask, locale,
 *                   floating-point mode, file descriptors that it did not open.
 * Growth            The table is append-only within a major version: `struct_size` tells how much of it exists. The
 *                   other structs are fixed for major version 1; their `reserved` fields are written as zero.
 *
 * Compiles as C99, C11 and C++17. Layouts are the same on every LP64 target; driver-sys asserts them from both sides.
 */
#ifndef DUNLIN_DRIVER_H
#define DUNLIN_DRIVER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DUNLIN_ABI_MAJOR 1
#define DUNLIN_ABI_MINOR 0

/* An opened instance. Opaque to the host: made by open, released by close, owned by the driver in between. */
typedef struct dunlin_device dunlin_device;

/* ---- options: what a user may configure ------------------------------------------------------------------------ */

/* One configured option. Both strings are NUL-terminated UTF-8, owned by the host, valid during open only.
 * An option given as a list arrives once per element, in order. An element given as a table arrives as
 * `key=value,key=value`. */
typedef struct dunlin_option {
  const char *key;
  const char *value;
} dunlin_option;

/* Kinds of option. */
#define DUNLIN_OPTION_TEXT 1u
#define DUNLIN_OPTION_INT 2u   /* decimal, or 0x..., in int64 */
#define DUNLIN_OPTION_FLOAT 3u /* decimal, in double */
#define DUNLIN_OPTION_BOOL 4u  /* "true" or "false" */

/* Flags of an option spec. */
#define DUNLIN_OPTION_REQUIRED 0x1u
#define DUNLIN_OPTION_LIST 0x2u /* may be given more than once */

/* Declares one option, so that a configuration can be checked without opening a device. The host has already refused
 * undeclared keys, missing required keys, values of another kind and numbers outside [min, max] when it calls open. */
typedef struct dunlin_option_spec {
  const char *key;      /* [a-z0-9_]{1,31} */
  const char *summary;  /* one sentence for a human, may not be NULL */
  const char *fallback; /* value used when absent, or NULL */
  uint32_t kind;        /* DUNLIN_OPTION_* kind */
  uint32_t flags;       /* DUNLIN_OPTION_* flags */
  double min;           /* lower bound of numbers, inclusive; both 0.0 = unbounded */
  double max;           /* upper bound of numbers, inclusive */
} dunlin_option_spec;

/* ---- channels: what a device measures -------------------------------------------------------------------------- */

/* Kinds of channel. The kind says which member of dunlin_value is used. */
#define DUNLIN_KIND_F64 1u
#define DUNLIN_KIND_I64 2u
#define DUNLIN_KIND_BOOL 3u  /* i64, 0 or 1 */
#define DUNLIN_KIND_FRAME 4u /* byte frames, see ext/frames.h; never seen in a dunlin_sample */

/* Flags of a channel. */
#define DUNLIN_CHANNEL_WRITABLE 0x1u /* accepts writes, see ext/actuate.h */

#define DUNLIN_NAME_MAX 64u
#define DUNLIN_UNIT_MAX 32u

/* One measured quantity. Strings are NUL-terminated UTF-8 within their arrays. */
typedef struct dunlin_channel {
  char name[DUNLIN_NAME_MAX]; /* unique within the device, [A-Za-z0-9_.-]{1,63} */
  char unit[DUNLIN_UNIT_MAX]; /* UCUM code, case-sensitive: "Cel", "V", "By", "%", "1" for a pure number */
  uint32_t kind;              /* DUNLIN_KIND_* */
  uint32_t flags;             /* DUNLIN_CHANNEL_* */
  double min;                 /* physical range of the sensor, inclusive; -INFINITY and INFINITY where unknown */
  double max;
  uint64_t reserved; /* zero */
} dunlin_channel;

/* ---- samples: what a device measured --------------------------------------------------------------------------- */

typedef union dunlin_number {
  double f64;
  int64_t i64;
} dunlin_number;

/* Quality of a sample. */
#define DUNLIN_QUALITY_GOOD 0u
#define DUNLIN_QUALITY_UNCERTAIN 1u /* value usable with care: stale, out of range, sensor warming up */
#define DUNLIN_QUALITY_BAD 2u       /* no usable value: sensor absent or faulty on this channel */

/* One reading of one channel. */
typedef struct dunlin_sample {
  int64_t monotonic_ns; /* CLOCK_MONOTONIC when it was taken; 0 = the host stamps it when read returns.
                           Never decreases within a channel. */
  dunlin_number value;
  uint32_t channel; /* index into the channels of this device */
  uint32_t quality; /* DUNLIN_QUALITY_* */
  uint32_t lost;    /* samples of this channel lost just before this one (overrun); 0 = none */
  uint32_t reserved; /* zero */
} dunlin_sample;

/* ---- the table ------------------------------------------------------------------------------------------------- */

/* Flags of a driver. */
#define DUNLIN_DRIVER_PACED 0x1u /* read waits for data by itself; without it the host calls read at `interval_ms` */

/* Text that the host lends to open for an explanation. NUL-terminated UTF-8; the host has zeroed it. */
typedef struct dunlin_text {
  char bytes[256];
} dunlin_text;

typedef struct dunlin_driver {
  uint32_t struct_size; /* sizeof(dunlin_driver) as the driver was compiled */
  uint16_t abi_major;   /* DUNLIN_ABI_MAJOR; another major version is refused */
  uint16_t abi_minor;   /* DUNLIN_ABI_MINOR */
  uint32_t flags;       /* DUNLIN_DRIVER_* */
  uint32_t option_count;
  const char *id;                    /* [a-z0-9_-]{1,31}, the name that configurations use */
  const char *version;               /* of the driver, not of the ABI */
  const char *summary;               /* one sentence for a human */
  const dunlin_option_spec *options; /* option_count of them, NULL where 0 */

  /* Opens a device. On success stores it in *device and returns 0. On failure returns a negated errno, leaves *device
   * alone, releases all it took, and may explain itself in *why, naming the option at fault ("address: 0x90 is not a
   * 7-bit address"). May be called several times in one process.
   * options: count entries, valid during the call. why, device: never NULL, valid during the call.
   * [device-thread] */
  int32_t (*open)(const dunlin_option *options, uint32_t count, dunlin_text *why, dunlin_device **device);

  /* Describes the channels of the device, which do not change while it is open. Writes at most cap entries to out and
   * returns how many channels exist (the host asks again with more room where that is more than cap; 4096 at most).
   * out: cap entries, zeroed, valid during the call; may be NULL where cap is 0.
   * [device-thread] */
  int32_t (*channels)(dunlin_device *device, dunlin_channel *out, uint32_t cap);

  /* Reads samples, oldest first. Writes at most cap entries to out and returns how many it wrote; what does not fit is
   * kept for the next call. A paced driver waits up to timeout_ms for the first sample and returns what is there; 0
   * means that nothing came. A driver that is not paced measures each channel once, now. -EIO and the like: the
   * device failed but may answer again; the host records it and tries again. -ENODEV: the device is gone; the
   * host closes it and opens anew.
   * out: cap entries (cap >= 1), valid during the call.
   * [device-thread] */
  int32_t (*read)(dunlin_device *device, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms);

  /* Releases the device and all that it holds. The pointer is dead afterwards, whatever close returns.
   * [device-thread] */
  int32_t (*close)(dunlin_device *device);

  /* Explains the most recent failure on this device, called right after a call that returned a negative value. Writes
   * NUL-terminated UTF-8 to why. May be NULL where there is nothing to add to the errno.
   * why: never NULL, zeroed, valid during the call.
   * [device-thread] */
  void (*explain)(dunlin_device *device, dunlin_text *why);

  /* Returns the table of an extension, or NULL where the driver does not have it. Ids are "name/revision", see ext/.
   * The table is constant and valid while the library is loaded. May be NULL where there are no extensions.
   * id: NUL-terminated, valid during the call.
   * [any-thread] */
  const void *(*get_extension)(const char *id);
} dunlin_driver;

/* Marks the one exported symbol; compile the rest with -fvisibility=hidden. */
#if defined(__GNUC__)
#define DUNLIN_EXPORT __attribute__((visibility("default")))
#else
#define DUNLIN_EXPORT
#endif

/* The entry: DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = { sizeof(dunlin_driver), ... }; */
extern DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry;

#ifdef __cplusplus
}
#endif

#endif /* DUNLIN_DRIVER_H */
