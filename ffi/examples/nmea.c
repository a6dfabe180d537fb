/*
 * A dunlin driver that paces itself: position and speed of a GPS receiver that speaks NMEA 0183 on a serial port.
 *
 *   cc -std=c99 -shared -fPIC -fvisibility=hidden -Wall -Wextra -I ffi/include -o nmea.so ffi/examples/nmea.c -lm
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it shows beyond template.c: a read that waits no longer than it was told, samples that had no room and come with
 * the next read, stamps of its own, samples of bad quality, and a device that goes away.
 */
#define _DEFAULT_SOURCE /* cfmakeraw and flock; it brings POSIX along */

#include <dunlin/driver.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { LATITUDE, LONGITUDE, ALTITUDE, SATELLITES, SPEED, CHANNELS };

static const dunlin_channel channels[CHANNELS] = {
    {"latitude", "deg", DUNLIN_KIND_F64, 0, -90, 90, 0},
    {"longitude", "deg", DUNLIN_KIND_F64, 0, -180, 180, 0},
    {"altitude", "m", DUNLIN_KIND_F64, 0, -INFINITY, INFINITY, 0},
    {"satellites", "1", DUNLIN_KIND_I64, 0, 0, 99, 0},
    {"speed", "m/s", DUNLIN_KIND_F64, 0, 0, INFINITY, 0},
};

#define FIELDS 20
#define LINE_MAX_BYTES 128 /* the standard has 82 */

struct dunlin_device {
  int fd;
  char line[LINE_MAX_BYTES];
  size_t used;
  int64_t started_ns;            /* when the line's first byte came */
  dunlin_sample ready[CHANNELS]; /* of the last sentence */
  uint32_t count, next;          /* how many there are, and which one is to be handed out next */
  char why[160];
};

static const dunlin_option_spec options[] = {
    {"port", "serial port of the receiver, such as /dev/ttyACM0", NULL, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_REQUIRED, 0, 0},
};

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t); /* never the wall clock, which is set */
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int32_t nmea_close(dunlin_device *self) {
  if (self->fd >= 0) close(self->fd);
  free(self);
  return 0;
}

static int32_t nmea_open(const dunlin_option *given, uint32_t count, dunlin_text *why, dunlin_device **device) {
  struct termios t;
  const char *port = "", *what = "open";
  uint32_t i;
  dunlin_device *self = calloc(1, sizeof *self);
  if (self == NULL) {
    snprintf(why->bytes, sizeof why->bytes, "no memory for the device");
    return -ENOMEM;
  }
  for (i = 0; i < count; i++) {
    if (strcmp(given[i].key, "port") == 0) port = given[i].value;
  }
  /* O_NONBLOCK: without a carrier open would wait, and no call may wait beyond its deadline. */
  self->fd = open(port, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (self->fd < 0) goto failed;
  what = "is in use";
  if (flock(self->fd, LOCK_EX | LOCK_NB) != 0) goto failed; /* two devices would share one line's bytes */
  what = "set";
  if (tcgetattr(self->fd, &t) != 0) goto failed;
  cfmakeraw(&t);
  cfsetispeed(&t, B9600);
  cfsetospeed(&t, B9600);
  if (tcsetattr(self->fd, TCSANOW, &t) != 0 || tcflush(self->fd, TCIFLUSH) != 0) goto failed;
  *device = self;
  return 0;
failed:
  i = (uint32_t)errno;
  snprintf(why->bytes, sizeof why->bytes, "port: %.100s: %s: %s", port, what, strerror((int)i));
  nmea_close(self);
  return -(int32_t)i;
}

static int32_t nmea_channels(dunlin_device *self, dunlin_channel *out, uint32_t cap) {
  uint32_t i;
  (void)self;
  for (i = 0; i < cap && i < CHANNELS; i++) out[i] = channels[i];
  return CHANNELS;
}

/* A sample of the line that is being looked at. Without a fix there is no value, and the quality says so. */
static dunlin_sample *add(dunlin_device *self, uint32_t channel, int good) {
  dunlin_sample *sample = &self->ready[self->count++];
  memset(sample, 0, sizeof *sample);
  sample->channel = channel;
  sample->monotonic_ns = self->started_ns;
  sample->quality = good ? DUNLIN_QUALITY_GOOD : DUNLIN_QUALITY_BAD;
  return sample;
}

/* "4807.038", "N": degrees and minutes as one number. */
static double degrees(const char *text, const char *side) {
  double number = strtod(text, NULL), whole = floor(number / 100);
  double value = whole + (number - 100 * whole) / 60;
  return *side == 'S' || *side == 'W' ? -value : value;
}

/* What the line says, if its checksum is right: the exclusive or of all bytes between $ and *. */
static void look_at(dunlin_device *self) {
  char *field[FIELDS], *p, *star = strrchr(self->line, '*');
  unsigned sum = 0;
  int n = 0, good;
  self->count = self->next = 0;
  if (self->line[0] != '$' || star == NULL) return;
  for (p = self->line + 1; p < star; p++) sum ^= (unsigned char)*p;
  if (strtoul(star + 1, NULL, 16) != sum) return;
  *star = '\0';
  for (p = self->line; p != NULL && n < FIELDS;) {
    field[n++] = p;
    p = strchr(p, ',');
    if (p != NULL) *p++ = '\0';
  }
  if (strlen(field[0]) != 6) return; /* $, who talks, what */
  if (strcmp(field[0] + 3, "GGA") == 0 && n >= 10) {
    good = atoi(field[6]) > 0;
    add(self, LATITUDE, good)->value.f64 = good ? degrees(field[2], field[3]) : 0;
    add(self, LONGITUDE, good)->value.f64 = good ? degrees(field[4], field[5]) : 0;
    add(self, ALTITUDE, good)->value.f64 = good ? strtod(field[9], NULL) : 0;
    add(self, SATELLITES, 1)->value.i64 = atoi(field[7]);
  } else if (strcmp(field[0] + 3, "RMC") == 0 && n >= 8) {
    good = field[2][0] == 'A';
    add(self, SPEED, good)->value.f64 = good ? strtod(field[7], NULL) * 1852 / 3600 : 0; /* knots */
  }
}

static void take(dunlin_device *self, char byte) {
  if (self->used == 0) self->started_ns = now_ns();
  if (byte == '\n') {
    self->line[self->used] = '\0';
    self->used = 0;
    look_at(self);
  } else if (self->used < sizeof self->line - 1) {
    self->line[self->used++] = byte; /* a line that is too long has no right checksum */
  }
}

/* Paced: waits for data by itself, but not beyond timeout_ms. */
static int32_t nmea_read(dunlin_device *self, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  int64_t until_ns = now_ns() + (int64_t)timeout_ms * 1000000;
  uint32_t used = 0;
  for (;;) {
    struct pollfd ready = {self->fd, POLLIN, 0};
    int64_t left_ms;
    char byte;
    ssize_t got;
    while (used < cap && self->next < self->count) out[used++] = self->ready[self->next++];
    if (self->next < self->count) return (int32_t)used; /* no room: the rest stays for the next call */
    got = read(self->fd, &byte, 1);
    if (got == 1) {
      take(self, byte);
      continue;
    }
    if (got == 0 || errno != EAGAIN) {
      if (used > 0) return (int32_t)used; /* what came before goes first; the next call fails */
      snprintf(self->why, sizeof self->why, "the port hung up: %s", got == 0 ? "end of file" : strerror(errno));
      return -ENODEV; /* the host opens anew, for as long as it takes */
    }
    left_ms = (until_ns - now_ns()) / 1000000;
    if (used > 0 || left_ms <= 0) return (int32_t)used;
    poll(&ready, 1, (int)left_ms);
  }
}

static void nmea_explain(dunlin_device *self, dunlin_text *why) {
  snprintf(why->bytes, sizeof why->bytes, "%s", self->why);
}

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    sizeof(dunlin_driver),
    DUNLIN_ABI_MAJOR,
    DUNLIN_ABI_MINOR,
    DUNLIN_DRIVER_PACED,
    sizeof options / sizeof options[0],
    "nmea",
    "1.0.0",
    "Position and speed of a GPS receiver that speaks NMEA 0183",
    options,
    nmea_open,
    nmea_channels,
    nmea_read,
    nmea_close,
    nmea_explain,
    NULL, /* no extensions */
};
