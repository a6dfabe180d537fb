/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * sim: signals computed from the sample's index, so that any sample can be made at any time: being read late costs no
 * memory, pacing cannot drift, and a test can compute every value by itself.
 *
 * Sample k is due at start + k / rate_hz. Where the reader falls more than `backlog` samples behind, the oldest are
 * skipped and reported as lost. */
#include "clock.h"
#include "options.h"

#include <dunlin/ext/actuate.h>
#include <dunlin/ext/frames.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WAVES_MAX 256u
#define FRAME_BYTES_MIN 12 /* counter and CRC */
#define FRAME_BYTES_MAX 65536
#define SETPOINT_LIMIT 1e6
#define TAU 6.283185307179586476925286766559

typedef enum shape { SHAPE_SINE, SHAPE_RAMP, SHAPE_SQUARE, SHAPE_NOISE, SHAPE_COUNTER } shape;
static const char *const shape_names[] = {"sine", "ramp", "square", "noise", "counter"};

typedef struct wave {
  dunlin_channel channel;
  shape shape;
  double amplitude;
  double offset;
  int64_t period_ns;
  uint64_t lost; /* not yet reported */
} wave;

/* A paced train of events 0, 1, 2 ...: samples (one of each wave an event) or frames. */
typedef struct train {
  double rate_hz;
  int64_t next;  /* the event to be made next */
  int64_t end;   /* the first event that never comes */
  int64_t batch; /* events worth waking for */
} train;

struct dunlin_device {
  wave *waves;
  uint32_t wave_count;
  uint32_t next_wave; /* the wave to be made next within samples.next */
  train samples;
  train frames;
  bool has_frames;
  uint32_t frame_bytes;
  uint64_t frames_lost;
  int64_t start_ns;
  int64_t backlog;
  uint64_t seed;
  double setpoint;
  int64_t setpoint_ns;
  bool setpoint_pending;
  uint32_t setpoint_lost;
};

/* SplitMix64's finalizer (Steele, Lea, Flood 2014): random access by index, unlike a generator with state. */
static uint64_t scramble(uint64_t x) {
  x += UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

/* In double: exact to 32 ns after ten years at 100 kHz, and never decreasing. */
static int64_t train_offset_ns(const train *t, int64_t index) {
  return (int64_t)((double)index * ((double)NS_PER_S / t->rate_hz));
}

/* How many events are due at now: the first index that is not. The product is rounded, the offsets decide. */
static int64_t train_due(const train *t, int64_t start_ns, int64_t now_ns) {
  int64_t due = (int64_t)((double)(now_ns - start_ns) * t->rate_hz / (double)NS_PER_S) + 1;
  while (due > 0 && train_offset_ns(t, due - 1) > now_ns - start_ns) {
    due--;
  }
  while (due < t->end && train_offset_ns(t, due) <= now_ns - start_ns) {
    due++;
  }
  return due < t->end ? due : t->end;
}

/* Sleeps until a batch (at most `room` events) is due, or the timeout is over. */
static int64_t train_wait(const train *t, int64_t start_ns, int64_t room, uint32_t timeout_ms) {
  int64_t now_ns = clock_now_ns();
  int64_t until_ns = now_ns + (int64_t)timeout_ms * NS_PER_MS;
  if (t->next < t->end) {
    int64_t want = room < t->batch ? room : t->batch;
    want = want < t->end - t->next ? want : t->end - t->next;
    int64_t ready_ns = start_ns + train_offset_ns(t, t->next + (want > 0 ? want : 1) - 1);
    until_ns = ready_ns < until_ns ? ready_ns : until_ns;
  }
  if (until_ns > now_ns) {
    clock_sleep_until(until_ns);
    now_ns = clock_now_ns();
  }
  return train_due(t, start_ns, now_ns);
}

static uint32_t take_lost(uint64_t *lost) {
  uint32_t part = *lost > UINT32_MAX ? UINT32_MAX : (uint32_t)*lost;
  *lost -= part;
  return part;
}

static dunlin_number wave_value(const dunlin_device *d, const wave *w, uint32_t channel, int64_t index,
                                int64_t offset_ns) {
  dunlin_number value = {.i64 = index};
  double phase = (double)(offset_ns % w->period_ns) / (double)w->period_ns;
  switch (w->shape) {
  case SHAPE_COUNTER:
    break;
  case SHAPE_SINE:
    value.f64 = w->offset + w->amplitude * sin(TAU * phase);
    break;
  case SHAPE_RAMP:
    value.f64 = w->offset + w->amplitude * phase;
    break;
  case SHAPE_SQUARE:
    value.f64 = phase < 0.5 ? w->offset + w->amplitude : w->offset - w->amplitude;
    break;
  case SHAPE_NOISE: {
    uint64_t bits = scramble(scramble(d->seed + channel) ^ (uint64_t)index) >> 11;
    value.f64 = w->offset + w->amplitude * ((double)bits / 4503599627370496.0 - 1.0); /* 2^52: [-1, 1) */
    break;
  }
  }
  return value;
}

static int32_t sim_read(dunlin_device *d, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  uint32_t used = 0;
  if (d->setpoint_pending) {
    out[used++] = (dunlin_sample){.monotonic_ns = d->setpoint_ns,
                                  .value = {.f64 = d->setpoint},
                                  .channel = d->wave_count,
                                  .lost = d->setpoint_lost};
    d->setpoint_pending = false;
    d->setpoint_lost = 0;
    timeout_ms = 0;
  }
  train *t = &d->samples;
  /* The half-made event needs no waiting, and may have to be finished before the room for a batch is known. */
  int64_t due = train_wait(t, d->start_ns, d->next_wave > 0 ? 1 : (int64_t)(cap / d->wave_count), timeout_ms);
  while (used < cap && t->next < due) {
    if (d->next_wave == 0 && due - t->next > d->backlog) {
      int64_t skip = due - t->next - d->backlog;
      for (uint32_t i = 0; i < d->wave_count; i++) {
        d->waves[i].lost += (uint64_t)skip;
      }
      t->next += skip;
    }
    wave *w = &d->waves[d->next_wave];
    int64_t offset_ns = train_offset_ns(t, t->next);
    out[used++] = (dunlin_sample){.monotonic_ns = d->start_ns + offset_ns,
                                  .value = wave_value(d, w, d->next_wave, t->next, offset_ns),
                                  .channel = d->next_wave,
                                  .lost = take_lost(&w->lost)};
    if (++d->next_wave == d->wave_count) {
      d->next_wave = 0;
      t->next++;
    }
  }
  return (int32_t)used;
}

/* CRC-32 of IEEE 802.3, reflected, bit by bit: 64 KiB a frame at most, and no table to get wrong. */
static uint32_t crc32(const uint8_t *bytes, uint32_t length) {
  uint32_t crc = UINT32_MAX;
  for (uint32_t i = 0; i < length; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) {
      crc = (crc >> 1) ^ ((crc & 1u) != 0 ? UINT32_C(0xEDB88320) : 0);
    }
  }
  return ~crc;
}

/* Payload: u64 counter, filler, u32 CRC-32 of all before it; little-endian. */
static void frame_fill(const dunlin_device *d, uint8_t *bytes, int64_t index) {
  uint32_t body = d->frame_bytes - 4;
  for (uint32_t i = 0; i < 8; i++) {
    bytes[i] = (uint8_t)((uint64_t)index >> (8 * i));
  }
  for (uint32_t i = 8; i < body; i++) {
    bytes[i] = (uint8_t)scramble(d->seed ^ ((uint64_t)index << 16) ^ i);
  }
  uint32_t crc = crc32(bytes, body);
  for (uint32_t i = 0; i < 4; i++) {
    bytes[body + i] = (uint8_t)(crc >> (8 * i));
  }
}

static int32_t sim_read_frames(dunlin_device *d, uint8_t *bytes, uint32_t bytes_cap, dunlin_frame *out, uint32_t cap,
                               uint32_t timeout_ms) {
  if (!d->has_frames) {
    clock_sleep_until(clock_now_ns() + (int64_t)timeout_ms * NS_PER_MS);
    return 0;
  }
  train *t = &d->frames;
  int64_t room = bytes_cap / d->frame_bytes;
  if (room == 0) {
    return -EMSGSIZE;
  }
  room = room < cap ? room : cap;
  int64_t due = train_wait(t, d->start_ns, room, timeout_ms);
  uint32_t used = 0;
  while (used < room && t->next < due) {
    if (due - t->next > d->backlog) {
      d->frames_lost += (uint64_t)(due - t->next - d->backlog);
      t->next = due - d->backlog;
    }
    uint32_t offset = used * d->frame_bytes;
    frame_fill(d, bytes + offset, t->next);
    out[used++] = (dunlin_frame){.monotonic_ns = d->start_ns + train_offset_ns(t, t->next),
                                 .offset = offset,
                                 .length = d->frame_bytes,
                                 .channel = d->wave_count + 1,
                                 .lost = take_lost(&d->frames_lost)};
    t->next++;
  }
  return (int32_t)used;
}

static int32_t sim_write(dunlin_device *d, uint32_t channel, const dunlin_value *value, uint32_t timeout_ms) {
  (void)timeout_ms; /* nothing to wait for */
  if (channel != d->wave_count || value->kind != DUNLIN_KIND_F64) {
    return -EINVAL;
  }
  if (!(fabs(value->value.f64) <= SETPOINT_LIMIT)) { /* NaN as well */
    return -ERANGE;
  }
  d->setpoint_lost += d->setpoint_pending ? 1 : 0; /* the echo that was never read */
  d->setpoint = value->value.f64;
  d->setpoint_ns = clock_now_ns();
  d->setpoint_pending = true;
  return 0;
}

static int32_t parse_wave(wave *w, uint32_t index, const char *value, dunlin_text *why) {
  static const char *const keys[] = {"name", "shape", "amplitude", "offset", "period_ms", "unit"};
  option_table table;
  int32_t status = option_table_parse(&table, "waves", index, value, keys, COUNT_OF(keys), why);
  size_t shape_index = 0;
  double period_ms = 0;
  dunlin_channel *c = &w->channel;
  if (status != 0 ||
      (status = option_choice(&table.set, "shape", shape_names, COUNT_OF(shape_names), 0, &shape_index, why)) != 0 ||
      (status = option_channel_name(&table.set, "name", shape_names[shape_index], c->name, sizeof c->name, why)) != 0 ||
      (status = option_copy(&table.set, "unit", "1", c->unit, sizeof c->unit, why)) != 0 ||
      (status = option_number(&table.set, "amplitude", 1, -1e12, 1e12, &w->amplitude, why)) != 0 ||
      (status = option_number(&table.set, "offset", 0, -1e12, 1e12, &w->offset, why)) != 0 ||
      (status = option_number(&table.set, "period_ms", 10000, 0.001, 1e10, &period_ms, why)) != 0) {
    return status;
  }
  w->shape = (shape)shape_index;
  w->period_ns = (int64_t)(period_ms * (double)NS_PER_MS);
  c->kind = w->shape == SHAPE_COUNTER ? DUNLIN_KIND_I64 : DUNLIN_KIND_F64;
  double swing = fabs(w->amplitude);
  c->min = w->shape == SHAPE_COUNTER ? 0 : w->shape == SHAPE_RAMP ? w->offset + fmin(w->amplitude, 0) : w->offset - swing;
  c->max = w->shape == SHAPE_COUNTER ? INFINITY
           : w->shape == SHAPE_RAMP  ? w->offset + fmax(w->amplitude, 0)
                                     : w->offset + swing;
  return 0;
}

static int32_t parse_waves(dunlin_device *d, const option_set *set, dunlin_text *why) {
  static const char *const defaults[] = {"shape=sine", "shape=ramp", "shape=square", "shape=noise"};
  uint32_t given = option_list_count(set, "waves");
  d->wave_count = given > 0 ? given : (uint32_t)COUNT_OF(defaults);
  if (d->wave_count > WAVES_MAX) {
    explain_set(why, "waves: %u are more than %u", d->wave_count, WAVES_MAX);
    return -EINVAL;
  }
  d->waves = calloc(d->wave_count, sizeof *d->waves);
  if (d->waves == NULL) {
    return -ENOMEM;
  }
  for (uint32_t i = 0; i < d->wave_count; i++) {
    wave *w = &d->waves[i];
    int32_t status = parse_wave(w, i, given > 0 ? option_list_at(set, "waves", i) : defaults[i], why);
    if (status != 0) {
      return status;
    }
    bool taken = strcmp(w->channel.name, "setpoint") == 0 || strcmp(w->channel.name, "frames") == 0;
    for (uint32_t j = 0; j < i && !taken; j++) {
      taken = strcmp(w->channel.name, d->waves[j].channel.name) == 0;
    }
    if (taken) {
      explain_set(why, "waves[%u] name: %s is already taken", i, w->channel.name);
      return -EINVAL;
    }
  }
  return 0;
}

static int32_t parse(dunlin_device *d, const option_set *set, dunlin_text *why) {
  int32_t status = 0;
  int64_t count = 0;
  int64_t batch_ms = 0;
  int64_t seed = 0;
  int64_t frame_bytes = 0;
  if ((status = option_number(set, "rate_hz", 10, 0.001, 100000, &d->samples.rate_hz, why)) != 0 ||
      (status = option_integer(set, "batch_ms", 10, 0, 10000, &batch_ms, why)) != 0 ||
      (status = option_integer(set, "count", 0, 0, INT64_C(1) << 52, &count, why)) != 0 ||
      (status = option_integer(set, "backlog", 1000000, 1, INT64_C(1) << 40, &d->backlog, why)) != 0 ||
      (status = option_integer(set, "seed", 1, 0, INT64_MAX, &seed, why)) != 0 ||
      (status = option_flag(set, "frames", false, &d->has_frames, why)) != 0 ||
      (status = option_number(set, "frame_rate_hz", 10, 0.001, 10000, &d->frames.rate_hz, why)) != 0 ||
      (status = option_integer(set, "frame_bytes", 64, FRAME_BYTES_MIN, FRAME_BYTES_MAX, &frame_bytes, why)) != 0) {
    return status;
  }
  d->seed = (uint64_t)seed;
  d->frame_bytes = (uint32_t)frame_bytes;
  d->samples.end = d->frames.end = count > 0 ? count : INT64_MAX;
  d->samples.batch = (int64_t)((double)batch_ms * d->samples.rate_hz / 1e3);
  d->frames.batch = (int64_t)((double)batch_ms * d->frames.rate_hz / 1e3);
  return parse_waves(d, set, why);
}

static int32_t sim_close(dunlin_device *d) {
  free(d->waves);
  free(d);
  return 0;
}

static int32_t sim_open(const dunlin_option *options, uint32_t count, dunlin_text *why, dunlin_device **device) {
  dunlin_device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    return -ENOMEM;
  }
  option_set set = {options, count, ""};
  int32_t status = parse(d, &set, why);
  if (status != 0) {
    (void)sim_close(d);
    return status;
  }
  d->start_ns = clock_now_ns();
  *device = d;
  return 0;
}

static int32_t sim_channels(dunlin_device *d, dunlin_channel *out, uint32_t cap) {
  uint32_t total = d->wave_count + 1 + (d->has_frames ? 1 : 0);
  for (uint32_t i = 0; i < cap && i < total; i++) {
    if (i < d->wave_count) {
      out[i] = d->waves[i].channel;
    } else if (i == d->wave_count) {
      out[i] = (dunlin_channel){.name = "setpoint",
                                .unit = "1",
                                .kind = DUNLIN_KIND_F64,
                                .flags = DUNLIN_CHANNEL_WRITABLE,
                                .min = -SETPOINT_LIMIT,
                                .max = SETPOINT_LIMIT};
    } else {
      out[i] = (dunlin_channel){
          .name = "frames", .unit = "1", .kind = DUNLIN_KIND_FRAME, .min = -INFINITY, .max = INFINITY};
    }
  }
  return (int32_t)total;
}

static const void *sim_extension(const char *id) {
  static const dunlin_frames_1 frames = {sizeof frames, FRAME_BYTES_MAX, sim_read_frames};
  static const dunlin_actuate_1 actuate = {sizeof actuate, 0, sim_write};
  if (strcmp(id, DUNLIN_FRAMES_1) == 0) {
    return &frames;
  }
  return strcmp(id, DUNLIN_ACTUATE_1) == 0 ? &actuate : NULL;
}

static const dunlin_option_spec specs[] = {
    {"waves", "Signals, as tables of name, shape, amplitude, offset, period_ms, unit.", NULL, DUNLIN_OPTION_TEXT,
     DUNLIN_OPTION_LIST, 0, 0},
    {"rate_hz", "Samples per channel per second.", "10", DUNLIN_OPTION_FLOAT, 0, 0.001, 100000},
    {"batch_ms", "Time worth of samples to wait for before read returns.", "10", DUNLIN_OPTION_INT, 0, 0, 10000},
    {"count", "Samples per channel (and frames) after which nothing more comes; 0 = no end.", "0", DUNLIN_OPTION_INT,
     0, 0, 4503599627370496.0},
    {"backlog", "Samples per channel that a late reader can catch up; older ones are lost.", "1000000",
     DUNLIN_OPTION_INT, 0, 1, 1099511627776.0},
    {"seed", "Seed of the noise and of the frame payloads.", "1", DUNLIN_OPTION_INT, 0, 0, 9223372036854775807.0},
    {"frames", "Whether a channel of byte frames is offered.", "false", DUNLIN_OPTION_BOOL, 0, 0, 0},
    {"frame_rate_hz", "Frames per second.", "10", DUNLIN_OPTION_FLOAT, 0, 0.001, 10000},
    {"frame_bytes", "Length of a frame in bytes.", "64", DUNLIN_OPTION_INT, 0, FRAME_BYTES_MIN, FRAME_BYTES_MAX},
};

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    .struct_size = sizeof(dunlin_driver),
    .abi_major = DUNLIN_ABI_MAJOR,
    .abi_minor = DUNLIN_ABI_MINOR,
    .flags = DUNLIN_DRIVER_PACED,
    .option_count = (uint32_t)COUNT_OF(specs),
    .id = "sim",
    .version = "1.0.0",
    .summary = "Computed signals, frames and a set point, for trying and testing.",
    .options = specs,
    .open = sim_open,
    .channels = sim_channels,
    .read = sim_read,
    .close = sim_close,
    .get_extension = sim_extension,
};
