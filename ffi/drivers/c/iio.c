/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * iio: channels of a sensor that the kernel drives (Industrial I/O), through libiio: read one by one at intervals, or
 * captured in the kernel's buffer, a scan at each trigger. */
#include "clock.h"
#include "options.h"

#include <errno.h>
#include <iio.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANNELS_MAX 64u
#define SCANS_MAX 4096

/* What IIO counts in, Documentation/ABI/testing/sysfs-bus-iio, and what makes a unit of UCUM of it. */
typedef struct quantity {
  enum iio_chan_type type;
  const char *unit;
  double scale;
} quantity;
static const quantity quantities[] = {
    {IIO_VOLTAGE, "V", 1e-3},      {IIO_CURRENT, "A", 1e-3},           {IIO_TEMP, "Cel", 1e-3},
    {IIO_POWER, "W", 1e-3},        {IIO_HUMIDITYRELATIVE, "%", 1e-3},  {IIO_PRESSURE, "kPa", 1},
    {IIO_ACCEL, "m/s2", 1},        {IIO_ANGL_VEL, "rad/s", 1},         {IIO_MAGN, "G", 1},
    {IIO_LIGHT, "lx", 1},          {IIO_RESISTANCE, "Ohm", 1},         {IIO_CAPACITANCE, "nF", 1},
    {IIO_ANGL, "rad", 1},          {IIO_ELECTRICALCONDUCTIVITY, "S/m", 1}};

typedef struct point {
  dunlin_channel channel;
  char id[32]; /* as libiio says it: temp, voltage0, accel_x */
  struct iio_channel *source;
  bool processed;            /* the kernel gives it in IIO's unit; else raw, to be offset and scaled */
  double raw_offset, raw_scale; /* the kernel's */
  double scale, offset;      /* from IIO's unit to the channel's */
} point;

struct dunlin_device {
  char name[64], trigger[64];
  char failure[200];
  struct iio_context *context;
  struct iio_device *device;
  int64_t poll_ns, due_ns, last_ns;
  uint32_t scans; /* in a buffer; 0 = polled */
  struct iio_buffer *buffer;
  struct iio_channel *stamps; /* NULL where scans have none that is monotonic */
  const uint8_t *scan, *end;  /* what is left of the buffer */
  uint32_t count, next;
  point points[CHANNELS_MAX];
};

static int32_t fail(dunlin_device *d, const char *what, int error) {
  (void)snprintf(d->failure, sizeof d->failure, "%s: %s: %s", d->name, what, strerror(error));
  /* ENOENT: the file of an attribute went away with the device. */
  return error == ENODEV || error == ENOENT ? -ENODEV : -error;
}

/* In IIO's unit; 0 or a negated errno. */
static int read_now(const point *p, double *value) {
  int status = iio_channel_attr_read_double(p->source, p->processed ? "input" : "raw", value);
  if (status == 0 && !p->processed) {
    *value = (*value + p->raw_offset) * p->raw_scale;
  }
  return status;
}

static dunlin_sample sample_of(const dunlin_device *d, uint32_t index, int64_t at_ns, bool good, double value) {
  double scaled = value * d->points[index].scale + d->points[index].offset;
  good = good && isfinite(scaled);
  return (dunlin_sample){.monotonic_ns = at_ns,
                         .value = {.f64 = good ? scaled : 0},
                         .channel = index,
                         .quality = good ? DUNLIN_QUALITY_GOOD : DUNLIN_QUALITY_BAD};
}

/* One reading of each channel, once it is time. A channel that fails beside others that do not is bad. */
static int32_t read_polled(dunlin_device *d, dunlin_sample *out, uint32_t cap, int64_t until_ns) {
  if (d->next == 0) {
    if (d->due_ns > until_ns) {
      clock_sleep_until(until_ns);
      return 0;
    }
    clock_sleep_until(d->due_ns);
    d->last_ns = clock_now_ns();
    /* What was missed is not made up for. */
    d->due_ns += d->poll_ns * (1 + (d->last_ns - d->due_ns) / d->poll_ns);
  }
  uint32_t used = 0, failed = 0;
  int first = 0;
  const char *which = "";
  for (; d->next < d->count && used < cap; d->next++) {
    double value = 0;
    int status = read_now(&d->points[d->next], &value);
    if (status < 0) {
      first = failed == 0 ? -status : first;
      which = failed++ == 0 ? d->points[d->next].id : which;
    }
    out[used++] = sample_of(d, d->next, d->last_ns, status == 0, value);
  }
  d->next = d->next == d->count ? 0 : d->next;
  return failed == used ? fail(d, which, first) : (int32_t)used;
}

/* The number in a scan, sign and byte order undone by libiio. */
static double number_in_scan(const struct iio_channel *channel, const uint8_t *from) {
  const struct iio_data_format *format = iio_channel_get_data_format(channel);
  uint8_t bytes[8] = {0};
  iio_channel_convert(channel, bytes, from);
  uint32_t size = format->length / 8;
  int64_t wide = 0;
  if (size == 1) {
    wide = format->is_signed ? (int8_t)bytes[0] : (int64_t)bytes[0];
  } else if (size == 2) {
    int16_t half = 0;
    memcpy(&half, bytes, sizeof half);
    wide = format->is_signed ? (int64_t)half : (int64_t)(uint16_t)half;
  } else if (size == 4) {
    int32_t word = 0;
    memcpy(&word, bytes, sizeof word);
    wide = format->is_signed ? (int64_t)word : (int64_t)(uint32_t)word;
  } else {
    memcpy(&wide, bytes, sizeof wide);
    return format->is_signed ? (double)wide : (double)(uint64_t)wide;
  }
  return (double)wide;
}

/* When a scan was taken: as the kernel says, where it says so by the monotonic clock, or else now. */
static int64_t stamp_of(const dunlin_device *d, const uint8_t *scan) {
  int64_t now_ns = clock_now_ns(), at_ns = now_ns;
  if (d->stamps != NULL) {
    const uint8_t *from = (const uint8_t *)iio_buffer_first(d->buffer, d->stamps);
    iio_channel_convert(d->stamps, &at_ns, scan + (from - (const uint8_t *)iio_buffer_start(d->buffer)));
  }
  at_ns = at_ns > now_ns ? now_ns : at_ns;
  return at_ns > d->last_ns ? at_ns : d->last_ns;
}

/* Waits until the kernel's buffer has what was asked for: 1, or 0 where it is not by until_ns, or a negated errno. */
static int32_t refill(dunlin_device *d, int64_t until_ns) {
  int fd = iio_buffer_get_poll_fd(d->buffer);
  if (fd < 0) {
    return fail(d, "buffer", -fd);
  }
  for (;;) {
    int64_t wait_ns = until_ns - clock_now_ns();
    wait_ns = wait_ns < 0 ? 0 : wait_ns;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S)};
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    int polled = ppoll(&ready, 1, &wait, NULL);
    if (polled > 0 && (ready.revents & POLLIN) == 0) {
      return fail(d, "buffer", ENODEV); /* the kernel wakes whoever waits when the device goes */
    }
    ssize_t got = polled > 0 ? iio_buffer_refill(d->buffer) : -EAGAIN;
    if (got > 0) {
      d->scan = iio_buffer_start(d->buffer);
      d->end = iio_buffer_end(d->buffer);
      return 1;
    }
    if (got != 0 && got != -EAGAIN && got != -EINTR) {
      return fail(d, "buffer", (int)-got);
    }
    if (wait_ns == 0) {
      return 0;
    }
  }
}

static int32_t read_buffered(dunlin_device *d, dunlin_sample *out, uint32_t cap, int64_t until_ns) {
  uint32_t used = 0;
  while (used < cap) {
    if (d->scan == d->end) {
      int32_t status = refill(d, used > 0 ? 0 : until_ns);
      if (status <= 0) {
        return used > 0 ? (int32_t)used : status;
      }
    }
    if (d->next == 0) {
      d->last_ns = stamp_of(d, d->scan);
    }
    for (; d->next < d->count && used < cap; d->next++) {
      const point *p = &d->points[d->next];
      const uint8_t *first = iio_buffer_first(d->buffer, p->source);
      ptrdiff_t within = first - (const uint8_t *)iio_buffer_start(d->buffer);
      double value = (number_in_scan(p->source, d->scan + within) + p->raw_offset) * p->raw_scale;
      out[used++] = sample_of(d, d->next, d->last_ns, true, value);
    }
    if (d->next == d->count) {
      d->next = 0;
      d->scan += iio_buffer_step(d->buffer);
    }
  }
  return (int32_t)used;
}

static int32_t iio_read(dunlin_device *d, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  int64_t until_ns = clock_now_ns() + (int64_t)timeout_ms * NS_PER_MS;
  return d->scans > 0 ? read_buffered(d, out, cap, until_ns) : read_polled(d, out, cap, until_ns);
}

static int32_t parse_point(dunlin_device *d, uint32_t index, const char *text, dunlin_text *why) {
  static const char *const keys[] = {"id", "name", "scale", "offset", "unit"};
  point *p = &d->points[index];
  dunlin_channel *c = &p->channel;
  option_table t;
  int32_t status = option_table_parse(&t, "channels", index, text, keys, COUNT_OF(keys), why);
  if (status != 0 || (status = option_copy(&t.set, "id", NULL, p->id, sizeof p->id, why)) != 0 ||
      (status = option_channel_name(&t.set, "name", p->id, c->name, sizeof c->name, why)) != 0 ||
      (status = option_number(&t.set, "scale", 0, -1e12, 1e12, &p->scale, why)) != 0 ||
      (status = option_number(&t.set, "offset", 0, -1e12, 1e12, &p->offset, why)) != 0 ||
      (status = option_copy(&t.set, "unit", "", c->unit, sizeof c->unit, why)) != 0) {
    return status;
  }
  const char *wrong = (c->unit[0] == '\0') != (option_find(&t.set, "scale") == NULL) ? "scale: goes with unit" : NULL;
  for (uint32_t i = 0; i < index && wrong == NULL; i++) {
    wrong = strcmp(d->points[i].id, p->id) == 0                  ? "id: is already taken"
            : strcmp(d->points[i].channel.name, c->name) == 0 ? "name: is already taken"
                                                                 : NULL;
  }
  if (wrong != NULL) {
    explain_set(why, "%s%s", t.where, wrong);
    return -EINVAL;
  }
  c->kind = DUNLIN_KIND_F64;
  c->min = -INFINITY;
  c->max = INFINITY;
  return 0;
}

static int32_t parse(dunlin_device *d, const option_set *set, dunlin_text *why) {
  int64_t poll_ms = 0, scans = 0;
  int32_t status = 0;
  if ((status = option_copy(set, "device", NULL, d->name, sizeof d->name, why)) != 0 ||
      (status = option_integer(set, "poll_ms", 1000, 1, 3600000, &poll_ms, why)) != 0 ||
      (status = option_integer(set, "buffer", 0, 0, SCANS_MAX, &scans, why)) != 0 ||
      (status = option_copy(set, "trigger", "", d->trigger, sizeof d->trigger, why)) != 0) {
    return status;
  }
  d->poll_ns = poll_ms * NS_PER_MS;
  d->scans = (uint32_t)scans;
  if (d->trigger[0] != '\0' && scans == 0) {
    explain_set(why, "trigger: goes with buffer");
    return -EINVAL;
  }
  d->count = option_list_count(set, "channels");
  if (d->count == 0 || d->count > CHANNELS_MAX) {
    explain_set(why, "channels: %u given; 1 to %u are possible", d->count, CHANNELS_MAX);
    return -EINVAL;
  }
  for (uint32_t i = 0; i < d->count && status == 0; i++) {
    status = parse_point(d, i, option_list_at(set, "channels", i), why);
  }
  return status;
}

/* Names what there is, for whoever has to write one of them. */
static void explain_names(dunlin_text *why, const char *what, const char *wanted, const char *const *names,
                          unsigned count) {
  char list[160] = "";
  for (unsigned i = 0, used = 0; i < count && used < sizeof list - 1; i++) {
    int wrote = snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", names[i]);
    used += wrote > 0 ? (unsigned)wrote : 0;
  }
  explain_set(why, "%s: there is no %.40s; there %s", what, wanted, count == 0 ? "is none" : "are ");
  size_t length = strlen(why->bytes);
  (void)snprintf(why->bytes + length, sizeof why->bytes - length, "%s", list);
}

static int32_t find_device(dunlin_device *d, dunlin_text *why) {
  d->context = iio_create_local_context();
  if (d->context == NULL) {
    int error = errno;
    explain_set(why, "device: libiio finds no sensors: %s; it reads /sys, which must be granted", strerror(error));
    return error == ENOENT || error == ENODEV ? -ENODEV : error > 0 ? -error : -EIO;
  }
  d->device = iio_context_find_device(d->context, d->name);
  if (d->device == NULL || iio_device_is_trigger(d->device)) {
    const char *names[32];
    unsigned known = 0, all = iio_context_get_devices_count(d->context);
    for (unsigned i = 0; i < all && known < COUNT_OF(names); i++) {
      const struct iio_device *other = iio_context_get_device(d->context, i);
      const char *name = iio_device_get_name(other);
      if (!iio_device_is_trigger(other)) {
        names[known++] = name != NULL ? name : iio_device_get_id(other);
      }
    }
    explain_names(why, "device", d->name, names, known);
    return -ENODEV;
  }
  return 0;
}

static int32_t find_channel(dunlin_device *d, uint32_t index, dunlin_text *why) {
  point *p = &d->points[index];
  p->source = iio_device_find_channel(d->device, p->id, false);
  if (p->source == NULL) {
    const char *names[32];
    unsigned known = 0, all = iio_device_get_channels_count(d->device);
    for (unsigned i = 0; i < all && known < COUNT_OF(names); i++) {
      const struct iio_channel *other = iio_device_get_channel(d->device, i);
      if (!iio_channel_is_output(other)) {
        names[known++] = iio_channel_get_id(other);
      }
    }
    explain_names(why, "channels", p->id, names, known);
    return -EINVAL;
  }
  const struct iio_data_format *format = iio_channel_get_data_format(p->source);
  if (d->scans > 0 && (!iio_channel_is_scan_element(p->source) || format->repeat > 1 || format->length > 64)) {
    explain_set(why, "channels[%u] id: %s cannot be captured in a buffer", index, p->id);
    return -EINVAL;
  }
  p->processed = d->scans == 0 && iio_channel_find_attr(p->source, "input") != NULL;
  if (d->scans == 0 && !p->processed && iio_channel_find_attr(p->source, "raw") == NULL) {
    explain_set(why, "channels[%u] id: %s has neither input nor raw to read", index, p->id);
    return -EINVAL;
  }
  /* Channels of one kind may share these; where there is none the raw number is what is meant. */
  p->raw_scale = 1;
  if (iio_channel_find_attr(p->source, "scale") != NULL &&
      iio_channel_attr_read_double(p->source, "scale", &p->raw_scale) < 0) {
    p->raw_scale = NAN; /* every sample is bad, and not wrong by a factor */
  }
  if (iio_channel_find_attr(p->source, "offset") != NULL &&
      iio_channel_attr_read_double(p->source, "offset", &p->raw_offset) < 0) {
    p->raw_offset = NAN;
  }
  if (p->channel.unit[0] != '\0') {
    return 0;
  }
  enum iio_chan_type type = iio_channel_get_type(p->source);
  const quantity *q = quantities;
  while (q < quantities + COUNT_OF(quantities) && q->type != type) {
    q++;
  }
  bool known = q < quantities + COUNT_OF(quantities);
  (void)snprintf(p->channel.unit, sizeof p->channel.unit, "%s", known ? q->unit : "1");
  p->scale = known ? q->scale : 1;
  return 0;
}

static int32_t start_capture(dunlin_device *d, dunlin_text *why) {
  for (unsigned i = 0; i < iio_device_get_channels_count(d->device); i++) {
    iio_channel_disable(iio_device_get_channel(d->device, i)); /* what whoever came before had enabled */
  }
  for (uint32_t i = 0; i < d->count; i++) {
    iio_channel_enable(d->points[i].source);
  }
  if (d->trigger[0] != '\0') {
    const struct iio_device *trigger = iio_context_find_device(d->context, d->trigger);
    int status = trigger == NULL ? -ENOENT : iio_device_set_trigger(d->device, trigger);
    if (status < 0) {
      explain_set(why, "trigger: %s cannot be used: %s", d->trigger, strerror(-status));
      return status == -ENOENT ? -ENODEV : status;
    }
  }
  struct iio_channel *stamps = iio_device_find_channel(d->device, "timestamp", false);
  char clock[32] = "";
  if (stamps != NULL && iio_device_attr_write(d->device, "current_timestamp_clock", "monotonic") >= 0 &&
      iio_device_attr_read(d->device, "current_timestamp_clock", clock, sizeof clock) > 0 &&
      strncmp(clock, "monotonic", strlen("monotonic")) == 0) {
    iio_channel_enable(stamps);
    d->stamps = stamps;
  }
  d->buffer = iio_device_create_buffer(d->device, d->scans, false);
  int status = d->buffer == NULL ? -errno : iio_buffer_set_blocking_mode(d->buffer, false);
  if (status < 0 || d->buffer == NULL) {
    status = status < 0 ? status : -EIO;
    explain_set(why, "buffer: %s cannot capture: %s; it needs its node in /dev and its folder in /sys as devices",
                d->name, strerror(-status));
    return status;
  }
  return 0;
}

static int32_t iio_close(dunlin_device *d) {
  if (d->buffer != NULL) {
    iio_buffer_destroy(d->buffer);
  }
  if (d->context != NULL) {
    iio_context_destroy(d->context);
  }
  free(d);
  return 0;
}

static int32_t iio_open(const dunlin_option *options, uint32_t count, dunlin_text *why, dunlin_device **device) {
  option_set set = {options, count, ""};
  dunlin_device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    return -ENOMEM;
  }
  int32_t status = parse(d, &set, why);
  if (status == 0) {
    status = find_device(d, why);
  }
  for (uint32_t i = 0; i < d->count && status == 0; i++) {
    status = find_channel(d, i, why);
  }
  d->due_ns = d->last_ns = clock_now_ns();
  if (status == 0 && d->scans > 0) {
    status = start_capture(d, why);
  }
  if (status != 0) {
    (void)iio_close(d);
    return status;
  }
  *device = d;
  return 0;
}

static int32_t iio_channels(dunlin_device *d, dunlin_channel *out, uint32_t cap) {
  for (uint32_t i = 0; i < cap && i < d->count; i++) {
    out[i] = d->points[i].channel;
  }
  return (int32_t)d->count;
}

static void iio_explain(dunlin_device *d, dunlin_text *why) { explain_set(why, "%s", d->failure); }

static const dunlin_option_spec specs[] = {
    {"device", "Sensor, as its name or its id: dps310, iio:device0.", NULL, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_REQUIRED,
     0, 0},
    {"channels", "Channels, as tables of id, name, unit, scale, offset.", NULL, DUNLIN_OPTION_TEXT,
     DUNLIN_OPTION_LIST | DUNLIN_OPTION_REQUIRED, 0, 0},
    {"poll_ms", "Time between two readings, where there is no buffer.", "1000", DUNLIN_OPTION_INT, 0, 1, 3600000},
    {"buffer", "Scans that the kernel gathers before they are read; 0 = read channels one by one.", "0",
     DUNLIN_OPTION_INT, 0, 0, SCANS_MAX},
    {"trigger", "What makes the sensor take a scan, by name; as it is set when absent.", NULL, DUNLIN_OPTION_TEXT, 0, 0,
     0},
};

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    .struct_size = sizeof(dunlin_driver),
    .abi_major = DUNLIN_ABI_MAJOR,
    .abi_minor = DUNLIN_ABI_MINOR,
    .flags = DUNLIN_DRIVER_PACED,
    .option_count = (uint32_t)COUNT_OF(specs),
    .id = "iio",
    .version = "1.0.0",
    .summary = "Sensors of the kernel's Industrial I/O, polled or captured in buffers, through libiio.",
    .options = specs,
    .open = iio_open,
    .channels = iio_channels,
    .read = iio_read,
    .close = iio_close,
    .explain = iio_explain,
};
