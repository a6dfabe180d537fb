/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * gpio: lines of a GPIO chip through libgpiod: levels, edges with the kernel's time stamps, debounce, outputs. */
#include "clock.h"
#include "gpio_lines.h"
#include "options.h"

#include <dunlin/ext/actuate.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 64u
#define NEVER INT64_MAX
#define DEBOUNCE_US_MAX 10000000 /* 10 s: a switch that bounces longer is broken */

static const char *const direction_names[] = {"input", "output"};
static const char *const edge_names[] = {"none", "rising", "falling", "both"};
static const char *const bias_names[] = {"as_is", "disabled", "pull_up", "pull_down"};
static const char *const drive_names[] = {"push_pull", "open_drain", "open_source"};

/* What is known of a line beyond how it was asked for. */
typedef struct line_state {
  char name[DUNLIN_NAME_MAX];
  int64_t due_ns;  /* when its level is to be read and reported */
  int64_t edge_ns; /* of the last edge, while it has to settle; 0 = settled */
  uint32_t lost;   /* edges, to be reported with the next sample */
  bool level;      /* as last reported */
  bool raw;        /* after the last edge */
  int64_t last_ns; /* stamp of the last sample */
} line_state;

struct dunlin_device {
  char path[64];
  char failure[200];
  gpio_port *port;
  uint32_t count;
  gpio_line lines[GPIO_LINES_MAX];
  line_state states[GPIO_LINES_MAX];
  int64_t opened_ns, poll_ns;
  uint32_t announced; /* lines whose level at open has been reported */
  uint32_t event_count, event_next; /* taken from the kernel, not yet worked on */
  gpio_event events[EVENTS_MAX];
};

int64_t gpio_line_offset(const char *wanted) {
  size_t digits = strspn(wanted, "0123456789");
  return digits > 0 && wanted[digits] == '\0' && digits <= 6 ? strtol(wanted, NULL, 10) : -1;
}

int32_t gpio_explain_chip(const char *path, int error, dunlin_text *why) {
  if (error == ENOTTY || error == ENODEV) { /* what the two versions of the library say to another kind of device */
    explain_set(why, "chip: %s is not a GPIO chip; libgpiod 1 needs to read /sys/bus/gpio/devices/%s", path,
                strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1);
    return -ENOTSUP;
  }
  error = error == 0 ? ENODEV : error;
  explain_set(why, "chip: cannot open %s: %s", path, strerror(error));
  return error == ENOENT || error == ENXIO ? -ENODEV : -error;
}

int32_t gpio_explain_line(const char *path, const gpio_line *line, int error, const char *consumer, dunlin_text *why) {
  error = error == 0 ? EIO : error;
  if (error == ENOENT) {
    explain_set(why, "lines: %s has no line %s", path, line->wanted);
    return -EINVAL;
  }
  explain_set(why, "lines: %s line %s: %s%s%s", path, line->wanted, strerror(error),
              error == EBUSY && consumer != NULL ? ", it is used by " : "",
              error == EBUSY && consumer != NULL ? consumer : "");
  return -error;
}

static int32_t fail(dunlin_device *d, const char *what, int32_t status) {
  (void)snprintf(d->failure, sizeof d->failure, "%s: %s: %s", d->path, what, strerror(-status));
  return status == -ENXIO || status == -ENODEV ? -ENODEV : status;
}

/* A sample of a line, which takes along what was lost before it. The kernel stamps an edge before it queues it, so that
 * a level that is read between the two would be younger than the edge: stamps of a line never decline. */
static dunlin_sample report(dunlin_device *d, uint32_t line, int64_t monotonic_ns, bool level) {
  line_state *s = &d->states[line];
  s->last_ns = monotonic_ns > s->last_ns ? monotonic_ns : s->last_ns;
  dunlin_sample sample = {
      .monotonic_ns = s->last_ns, .value = {.i64 = level ? 1 : 0}, .channel = line, .lost = s->lost};
  s->level = level;
  s->lost = 0;
  return sample;
}

static bool wanted(const gpio_line *line, bool level) {
  return line->edge == EDGE_BOTH || line->edge == (level ? EDGE_RISING : EDGE_FALLING);
}

static bool settles_here(const gpio_line *line) { return !gpio_port_debounces && line->debounce_us > 0; }

/* Reports a line whose last edge lies longer ago than its debounce time, at the end of that time: what the kernel does
 * for libgpiod 2 (drivers/gpio/gpiolib-cdev.c, debounce_work_func). 0 or 1 samples. */
static uint32_t settle(dunlin_device *d, uint32_t line, int64_t now_ns, dunlin_sample *out) {
  line_state *s = &d->states[line];
  int64_t end_ns = s->edge_ns + d->lines[line].debounce_us * NS_PER_US;
  if (s->edge_ns == 0 || end_ns > now_ns) {
    return 0;
  }
  s->edge_ns = 0;
  bool changed = s->raw != s->level;
  s->level = s->raw;
  if (!changed || !wanted(&d->lines[line], s->raw)) {
    return 0;
  }
  *out = report(d, line, end_ns, s->raw);
  return 1;
}

/* Works on events that were taken, while there is room. */
static uint32_t drain(dunlin_device *d, dunlin_sample *out, uint32_t cap) {
  uint32_t used = 0;
  for (; d->event_next < d->event_count && used < cap; d->event_next++) {
    const gpio_event *e = &d->events[d->event_next];
    line_state *s = &d->states[e->line];
    /* Before Linux 5.7 edges have the wall clock's time, which lies far ahead of the monotonic clock's. */
    int64_t now_ns = clock_now_ns();
    int64_t stamp_ns = e->monotonic_ns > now_ns ? now_ns : e->monotonic_ns;
    s->lost += e->lost;
    if (settles_here(&d->lines[e->line])) {
      used += settle(d, e->line, stamp_ns, &out[used]); /* the edge before this one may have settled */
      s->edge_ns = stamp_ns;
      s->raw = e->active;
      continue;
    }
    out[used++] = report(d, e->line, stamp_ns, e->active);
    if (e->overrun) { /* at least one; the level is reported anew, since the last edge may be among them */
      s->lost++;
      s->due_ns = d->lines[e->line].edge == EDGE_BOTH ? 0 : NEVER;
    }
  }
  return used;
}

/* Takes the edges that the kernel has, from the descriptors that poll found ready. */
static int32_t take(dunlin_device *d, struct pollfd *fds, nfds_t fd_count, dunlin_sample *out, uint32_t cap) {
  uint32_t used = drain(d, out, cap);
  for (nfds_t i = 0; i < fd_count; i++) {
    while (fds[i].revents != 0) {
      if (d->event_next < d->event_count || used == cap) {
        return (int32_t)used; /* no room: the rest is for the next call */
      }
      int32_t taken = (fds[i].revents & POLLIN) != 0 ? gpio_port_take(d->port, i, d->events, EVENTS_MAX) : -ENODEV;
      if (taken < 0) {
        return used > 0 ? (int32_t)used : fail(d, "edges", taken);
      }
      d->event_next = 0;
      d->event_count = (uint32_t)taken;
      used += drain(d, out + used, cap - used);
      (void)poll(&fds[i], 1, 0); /* cannot fail: one descriptor, no waiting */
    }
  }
  return (int32_t)used;
}

/* Levels: those at open, then those that are due, and edges that have settled by now_ns. */
static int32_t levels(dunlin_device *d, int64_t now_ns, dunlin_sample *out, uint32_t cap) {
  uint32_t used = 0;
  for (uint32_t i = 0; i < d->count; i++) {
    line_state *s = &d->states[i];
    if (used < cap && settles_here(&d->lines[i])) {
      used += settle(d, i, now_ns, &out[used]);
    }
    if (used < cap && s->due_ns <= now_ns) {
      int32_t level = gpio_port_get(d->port, i);
      if (level < 0) {
        return used > 0 ? (int32_t)used : fail(d, s->name, level);
      }
      out[used++] = report(d, i, now_ns, level == 1);
      s->due_ns = d->lines[i].edge == EDGE_NONE ? now_ns + d->poll_ns : NEVER;
    }
  }
  return (int32_t)used;
}

/* When something has to be said even if no edge comes. */
static int64_t next_due(const dunlin_device *d, int64_t until_ns) {
  for (uint32_t i = 0; i < d->count; i++) {
    const line_state *s = &d->states[i];
    int64_t end_ns = s->edge_ns == 0 ? NEVER : s->edge_ns + d->lines[i].debounce_us * NS_PER_US;
    until_ns = s->due_ns < until_ns ? s->due_ns : until_ns;
    until_ns = end_ns < until_ns ? end_ns : until_ns;
  }
  return until_ns;
}

static int32_t gpio_read(dunlin_device *d, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  uint32_t used = 0;
  for (; d->announced < d->count && used < cap; d->announced++) {
    out[used++] = report(d, d->announced, d->opened_ns, d->states[d->announced].level);
  }
  struct pollfd fds[GPIO_LINES_MAX];
  nfds_t fd_count = gpio_port_fds(d->port, fds);
  int64_t now_ns = clock_now_ns();
  int64_t until_ns = now_ns + (used > 0 ? 0 : (int64_t)timeout_ms * NS_PER_MS);
  for (;;) {
    /* The time is taken before the queues are looked at: what they do not hold had not happened by then. */
    now_ns = clock_now_ns();
    if (poll(fds, fd_count, 0) < 0) {
      return fail(d, "poll", -errno);
    }
    int32_t taken = used < cap ? take(d, fds, fd_count, out + used, cap - used) : 0;
    used += taken > 0 ? (uint32_t)taken : 0;
    if (taken >= 0 && used < cap && d->event_next == d->event_count) {
      taken = levels(d, now_ns, out + used, cap - used);
      used += taken > 0 ? (uint32_t)taken : 0;
    }
    if (used > 0 || taken < 0) {
      return used > 0 ? (int32_t)used : taken;
    }
    int64_t wait_ns = next_due(d, until_ns) - now_ns;
    if (now_ns >= until_ns) {
      return 0;
    }
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S)};
    (void)ppoll(fds, fd_count, &wait, NULL); /* an interruption is a shorter wait */
  }
}

static int32_t gpio_write(dunlin_device *d, uint32_t channel, const dunlin_value *value, uint32_t timeout_ms) {
  (void)timeout_ms; /* nothing to wait for */
  d->failure[0] = '\0';
  if (channel >= d->count || !d->lines[channel].output || value->kind != DUNLIN_KIND_BOOL) {
    (void)snprintf(d->failure, sizeof d->failure, "channel %u takes no such write", channel);
    return -EINVAL;
  }
  if (value->value.i64 != 0 && value->value.i64 != 1) {
    (void)snprintf(d->failure, sizeof d->failure, "%s: a level is 0 or 1", d->states[channel].name);
    return -ERANGE;
  }
  int32_t status = gpio_port_set(d->port, channel, value->value.i64 == 1);
  if (status != 0) {
    return fail(d, d->states[channel].name, status);
  }
  d->states[channel].due_ns = 0; /* read back and reported with the next read */
  return 0;
}

static int32_t parse_line(dunlin_device *d, uint32_t index, const char *value, dunlin_text *why) {
  static const char *const keys[] = {"name",       "line", "direction", "edge",       "bias",
                                     "active_low", "drive", "debounce_us", "initial"};
  gpio_line *line = &d->lines[index];
  line_state *s = &d->states[index];
  option_table t;
  size_t direction = 0, edge = 0, bias = 0, drive = 0;
  char fallback[40];
  int32_t status = option_table_parse(&t, "lines", index, value, keys, COUNT_OF(keys), why);
  if (status != 0 || (status = option_copy(&t.set, "line", NULL, line->wanted, sizeof line->wanted, why)) != 0) {
    return status;
  }
  (void)snprintf(fallback, sizeof fallback, "line%s", line->wanted);
  bool numbered = gpio_line_offset(line->wanted) >= 0;
  if ((status = option_channel_name(&t.set, "name", numbered ? fallback : line->wanted, s->name, sizeof s->name,
                                    why)) != 0 ||
      (status = option_choice(&t.set, "direction", direction_names, COUNT_OF(direction_names), 0, &direction, why)) !=
          0 ||
      (status = option_choice(&t.set, "edge", edge_names, COUNT_OF(edge_names), direction == 0 ? EDGE_BOTH : EDGE_NONE,
                              &edge, why)) != 0 ||
      (status = option_choice(&t.set, "bias", bias_names, COUNT_OF(bias_names), 0, &bias, why)) != 0 ||
      (status = option_choice(&t.set, "drive", drive_names, COUNT_OF(drive_names), 0, &drive, why)) != 0 ||
      (status = option_flag(&t.set, "active_low", false, &line->active_low, why)) != 0 ||
      (status = option_flag(&t.set, "initial", false, &line->initial, why)) != 0 ||
      (status = option_integer(&t.set, "debounce_us", 0, 0, DEBOUNCE_US_MAX, &line->debounce_us, why)) != 0) {
    return status;
  }
  line->output = direction == 1;
  line->edge = (gpio_edge)edge;
  line->bias = (gpio_bias)bias;
  line->drive = (gpio_drive)drive;
  const char *wrong = line->output && edge != EDGE_NONE                    ? "edge: an output has none"
                      : line->output && line->debounce_us > 0              ? "debounce_us: goes with input"
                      : !line->output && drive != DRIVE_PUSH_PULL          ? "drive: goes with output"
                      : !line->output && option_find(&t.set, "initial") != NULL ? "initial: goes with output"
                      : line->debounce_us > 0 && edge == EDGE_NONE         ? "debounce_us: goes with edge"
                                                                           : NULL;
  if (wrong != NULL) {
    explain_set(why, "%s%s", t.where, wrong);
    return -EINVAL;
  }
  for (uint32_t i = 0; i < index; i++) {
    bool name = strcmp(d->states[i].name, s->name) == 0;
    if (name || strcmp(d->lines[i].wanted, line->wanted) == 0) {
      explain_set(why, "%s%s: %s is already taken", t.where, name ? "name" : "line", name ? s->name : line->wanted);
      return -EINVAL;
    }
  }
  return 0;
}

static int32_t parse(dunlin_device *d, const option_set *set, dunlin_text *why) {
  char chip[48];
  int64_t poll_ms = 0;
  int32_t status = 0;
  if ((status = option_copy(set, "chip", NULL, chip, sizeof chip, why)) != 0 ||
      (status = option_integer(set, "poll_ms", 1000, 1, 3600000, &poll_ms, why)) != 0) {
    return status;
  }
  d->poll_ns = poll_ms * NS_PER_MS;
  (void)snprintf(d->path, sizeof d->path, "%s%s",
                 chip[0] == '/'                    ? ""
                 : gpio_line_offset(chip) >= 0 ? "/dev/gpiochip"
                                               : "/dev/",
                 chip);
  d->count = option_list_count(set, "lines");
  if (d->count == 0 || d->count > GPIO_LINES_MAX) {
    explain_set(why, "lines: %u given; 1 to %u are possible", d->count, GPIO_LINES_MAX);
    return -EINVAL;
  }
  for (uint32_t i = 0; i < d->count && status == 0; i++) {
    status = parse_line(d, i, option_list_at(set, "lines", i), why);
  }
  return status;
}

static int32_t gpio_close(dunlin_device *d) {
  gpio_port_close(d->port);
  free(d);
  return 0;
}

/* The levels at open, stamped with the time before the request, so that no edge that follows is older. */
static int32_t first_levels(dunlin_device *d, dunlin_text *why) {
  for (uint32_t i = 0; i < d->count; i++) {
    int32_t level = gpio_port_get(d->port, i);
    if (level < 0) {
      return gpio_explain_line(d->path, &d->lines[i], -level, NULL, why);
    }
    d->states[i].level = level == 1;
    d->states[i].due_ns = d->lines[i].edge == EDGE_NONE ? d->opened_ns + d->poll_ns : NEVER;
  }
  return 0;
}

static int32_t gpio_open(const dunlin_option *options, uint32_t count, dunlin_text *why, dunlin_device **device) {
  option_set set = {options, count, ""};
  dunlin_device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    return -ENOMEM;
  }
  int32_t status = parse(d, &set, why);
  d->opened_ns = clock_now_ns();
  if (status != 0 || (status = gpio_port_open(d->path, d->lines, d->count, why, &d->port)) != 0 ||
      (status = first_levels(d, why)) != 0) {
    (void)gpio_close(d);
    return status;
  }
  *device = d;
  return 0;
}

static int32_t gpio_channels(dunlin_device *d, dunlin_channel *out, uint32_t cap) {
  for (uint32_t i = 0; i < cap && i < d->count; i++) {
    out[i] = (dunlin_channel){.unit = "1",
                              .kind = DUNLIN_KIND_BOOL,
                              .flags = d->lines[i].output ? DUNLIN_CHANNEL_WRITABLE : 0,
                              .min = 0,
                              .max = 1};
    memcpy(out[i].name, d->states[i].name, sizeof out[i].name);
  }
  return (int32_t)d->count;
}

static void gpio_explain(dunlin_device *d, dunlin_text *why) { explain_set(why, "%s", d->failure); }

static const void *gpio_extension(const char *id) {
  static const dunlin_actuate_1 actuate = {sizeof actuate, 0, gpio_write};
  return strcmp(id, DUNLIN_ACTUATE_1) == 0 ? &actuate : NULL;
}

static const dunlin_option_spec specs[] = {
    {"chip", "GPIO chip, as /dev/gpiochip0, gpiochip0 or 0.", NULL, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_REQUIRED, 0, 0},
    {"lines", "Lines, as tables of line, name, direction, edge, active_low, bias, drive, debounce_us, initial.", NULL,
     DUNLIN_OPTION_TEXT, DUNLIN_OPTION_LIST | DUNLIN_OPTION_REQUIRED, 0, 0},
    {"poll_ms", "Time between two reports of a line without edges.", "1000", DUNLIN_OPTION_INT, 0, 1, 3600000},
};

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    .struct_size = sizeof(dunlin_driver),
    .abi_major = DUNLIN_ABI_MAJOR,
    .abi_minor = DUNLIN_ABI_MINOR,
    .flags = DUNLIN_DRIVER_PACED,
    .option_count = (uint32_t)COUNT_OF(specs),
    .id = "gpio",
    .version = "1.0.0",
    .summary = "Levels, edges and outputs of GPIO lines, through libgpiod.",
    .options = specs,
    .open = gpio_open,
    .channels = gpio_channels,
    .read = gpio_read,
    .close = gpio_close,
    .explain = gpio_explain,
    .get_extension = gpio_extension,
};
