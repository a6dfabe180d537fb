/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * serial: a serial port, by termios. Lines of text become samples; binary telegrams become frames. */
#include "clock.h"
#include "options.h"
#include "serial_framing.h"

#include <dunlin/ext/frames.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define VALUES_MAX 256u
#define FRAME_MAX 65536u
#define INPUT_BYTES 4096u

typedef struct rate {
  int64_t baud;
  speed_t code;
} rate;
static const rate rates[] = {{300, B300},       {600, B600},         {1200, B1200},      {2400, B2400},
                             {4800, B4800},     {9600, B9600},       {19200, B19200},    {38400, B38400},
                             {57600, B57600},   {115200, B115200},   {230400, B230400},  {460800, B460800},
                             {500000, B500000}, {921600, B921600},   {1000000, B1000000}, {1500000, B1500000},
                             {2000000, B2000000}, {3000000, B3000000}, {4000000, B4000000}};
static const char *const parity_names[] = {"none", "even", "odd"};
static const char *const flow_names[] = {"none", "hardware", "software"};
static const char *const rs485_names[] = {"off", "rts_on_send", "rts_after_send"};
static const char *const framing_names[] = {"lines", "delimited", "length", "idle"};

/* A value in a line of text: of this column, or behind this key. */
typedef struct value {
  dunlin_channel channel;
  char key[32];
  int64_t column; /* from 1; 0 = by key */
  double scale, offset;
} value;

struct dunlin_device {
  int fd;
  char path[64], separator;
  char failure[200];
  framer framer;
  int64_t idle_ns, last_ns; /* of the last byte */
  uint32_t count;           /* values; 0 = frames */
  value *values;
  uint32_t input_next, input_count; /* bytes read and not cut yet */
  uint32_t frame_length;            /* a whole frame that waits for room */
  uint32_t next_value;              /* of that frame, where it is a line */
  uint8_t input[INPUT_BYTES];
};

static int32_t fail(dunlin_device *d, const char *what, int error) {
  (void)snprintf(d->failure, sizeof d->failure, "%s: %s: %s", d->path, what, strerror(error));
  return error == EIO || error == ENXIO || error == ENODEV ? -ENODEV : -error; /* EIO: hung up */
}

/* Cuts what was read until a frame is whole. */
static bool cut(dunlin_device *d) {
  while (d->frame_length == 0 && d->input_next < d->input_count) {
    d->input_next += framer_push(&d->framer, d->input + d->input_next, d->input_count - d->input_next, d->last_ns,
                                 &d->frame_length);
  }
  return d->frame_length > 0;
}

/* Waits for a whole frame until until_ns: 1 if there is one, 0 if not, or a negated errno. */
static int32_t next_frame(dunlin_device *d, int64_t until_ns) {
  while (!cut(d)) {
    int64_t now_ns = clock_now_ns();
    int64_t idle_ns = d->framer.seen > 0 && d->framer.kind >= FRAMING_LENGTH ? d->last_ns + d->idle_ns : INT64_MAX;
    int64_t end_ns = idle_ns < until_ns ? idle_ns : until_ns;
    int64_t wait_ns = end_ns > now_ns ? end_ns - now_ns : 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S)};
    struct pollfd fd = {.fd = d->fd, .events = POLLIN};
    int ready = ppoll(&fd, 1, &wait, NULL);
    if (ready < 0 && errno != EINTR) {
      return fail(d, "poll", errno);
    }
    if (ready > 0) {
      ssize_t got = read(d->fd, d->input, sizeof d->input);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        continue;
      }
      if (got <= 0) {
        return fail(d, "read", got == 0 ? EIO : errno);
      }
      d->last_ns = clock_now_ns();
      d->input_next = 0;
      d->input_count = (uint32_t)got;
    } else if (clock_now_ns() >= idle_ns) {
      framer_idle(&d->framer, &d->frame_length);
    } else if (now_ns >= until_ns) {
      return 0;
    }
  }
  return 1;
}

static uint32_t take_lost(dunlin_device *d) {
  uint32_t lost = d->framer.lost > UINT32_MAX ? UINT32_MAX : (uint32_t)d->framer.lost;
  d->framer.lost -= lost;
  return lost;
}

/* The text of a value in a line, cut out of it, or NULL where the line has none. Parts are separated by the separator,
 * pairs within a part by '=' or ':'. */
static char *find_value(const dunlin_device *d, const value *v, char *line) {
  const char apart[2] = {d->separator, '\0'};
  int64_t column = 0;
  for (char *part = strsep(&line, apart); part != NULL; part = strsep(&line, apart)) {
    part += strspn(part, " \t");
    if (*part == '\0' && d->separator == ' ') {
      continue; /* several blanks are one */
    }
    if (++column == v->column) {
      return part;
    }
    size_t key = strcspn(part, "=:");
    if (v->column == 0 && part[key] != '\0' && key == strlen(v->key) && strncmp(part, v->key, key) == 0) {
      return part + key + 1;
    }
  }
  return NULL;
}

/* 1 sample, or 0 where the line does not speak of this value. */
static uint32_t sample_of(dunlin_device *d, uint32_t index, dunlin_sample *out) {
  const value *v = &d->values[index];
  char line[FRAME_MAX + 1];
  memcpy(line, d->framer.bytes, d->frame_length);
  line[d->frame_length] = '\0';
  char *text = find_value(d, v, line);
  if (text == NULL && v->column == 0) {
    return 0;
  }
  char *end = text;
  double number = text == NULL ? 0 : strtod(text, &end);
  bool good = text != NULL && end != text && isfinite(number) && end[strspn(end, " \t\r")] == '\0';
  *out = (dunlin_sample){.monotonic_ns = d->framer.start_ns,
                         .value = {.f64 = good ? number * v->scale + v->offset : 0},
                         .channel = index,
                         .quality = good ? DUNLIN_QUALITY_GOOD : DUNLIN_QUALITY_BAD};
  return 1;
}

static int32_t serial_read(dunlin_device *d, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  int64_t until_ns = clock_now_ns() + (int64_t)timeout_ms * NS_PER_MS;
  if (d->count == 0) {
    clock_sleep_until(until_ns);
    return 0;
  }
  uint32_t used = 0;
  while (used < cap) {
    int32_t status = next_frame(d, used > 0 ? 0 : until_ns);
    if (status <= 0) {
      return used > 0 ? (int32_t)used : status;
    }
    for (; d->next_value < d->count && used < cap; d->next_value++) {
      if (sample_of(d, d->next_value, &out[used]) == 1) {
        out[used++].lost = take_lost(d);
      }
    }
    if (d->next_value == d->count) {
      d->next_value = 0;
      d->frame_length = 0;
    }
  }
  return (int32_t)used;
}

static int32_t serial_read_frames(dunlin_device *d, uint8_t *bytes, uint32_t bytes_cap, dunlin_frame *out, uint32_t cap,
                                  uint32_t timeout_ms) {
  int64_t until_ns = clock_now_ns() + (int64_t)timeout_ms * NS_PER_MS;
  if (d->count > 0) {
    clock_sleep_until(until_ns);
    return 0;
  }
  uint32_t used = 0, offset = 0;
  while (used < cap) {
    int32_t status = next_frame(d, used > 0 ? 0 : until_ns);
    if (status <= 0) {
      return used > 0 ? (int32_t)used : status;
    }
    if (d->frame_length > bytes_cap - offset) {
      return used > 0 ? (int32_t)used : -EMSGSIZE;
    }
    memcpy(bytes + offset, d->framer.bytes, d->frame_length);
    out[used++] = (dunlin_frame){
        .monotonic_ns = d->framer.start_ns, .offset = offset, .length = d->frame_length, .lost = take_lost(d)};
    offset += d->frame_length;
    d->frame_length = 0;
  }
  return (int32_t)used;
}

static int32_t parse_value(dunlin_device *d, uint32_t index, const char *text, dunlin_text *why) {
  static const char *const keys[] = {"name", "key", "column", "scale", "offset", "unit"};
  value *v = &d->values[index];
  dunlin_channel *c = &v->channel;
  option_table t;
  int32_t status = option_table_parse(&t, "values", index, text, keys, COUNT_OF(keys), why);
  if (status != 0 || (status = option_channel_name(&t.set, "name", NULL, c->name, sizeof c->name, why)) != 0 ||
      (status = option_copy(&t.set, "key", "", v->key, sizeof v->key, why)) != 0 ||
      (status = option_integer(&t.set, "column", 0, 1, 1024, &v->column, why)) != 0 ||
      (status = option_number(&t.set, "scale", 1, -1e12, 1e12, &v->scale, why)) != 0 ||
      (status = option_number(&t.set, "offset", 0, -1e12, 1e12, &v->offset, why)) != 0 ||
      (status = option_copy(&t.set, "unit", "1", c->unit, sizeof c->unit, why)) != 0) {
    return status;
  }
  if ((v->key[0] != '\0') == (v->column != 0)) {
    explain_set(why, "%skey: give either key or column", t.where);
    return -EINVAL;
  }
  for (uint32_t i = 0; i < index; i++) {
    if (strcmp(d->values[i].channel.name, c->name) == 0) {
      explain_set(why, "%sname: %s is already taken", t.where, c->name);
      return -EINVAL;
    }
  }
  c->kind = DUNLIN_KIND_F64;
  c->min = -INFINITY;
  c->max = INFINITY;
  return 0;
}

static int32_t parse_delimiter(framer *f, const option_set *set, dunlin_text *why) {
  char hex[2 * DELIMITER_MAX + 1], *end = NULL;
  int32_t status = option_copy(set, "delimiter", "0a", hex, sizeof hex, why);
  size_t length = strlen(hex);
  if (status != 0 || length == 0 || length % 2 != 0 || strspn(hex, "0123456789abcdefABCDEF") != length) {
    explain_set(why, "delimiter: 1 to %u bytes in hexadecimal, such as 0d0a", DELIMITER_MAX);
    return -EINVAL;
  }
  f->delimiter = (uint32_t)strtoul(hex, &end, 16);
  f->delimiter_length = (uint32_t)length / 2;
  return 0;
}

static int32_t parse_framing(dunlin_device *d, const option_set *set, dunlin_text *why) {
  static const char *const orders[] = {"big", "little"};
  size_t kind = 0, order = 0;
  int64_t frame_max = 0, offset = 0, size = 0, idle_ms = 0;
  framer *f = &d->framer;
  int32_t status = 0;
  if ((status = option_choice(set, "framing", framing_names, COUNT_OF(framing_names), 0, &kind, why)) != 0 ||
      (status = option_integer(set, "frame_bytes_max", 4096, 1, FRAME_MAX, &frame_max, why)) != 0 ||
      (status = parse_delimiter(f, set, why)) != 0 ||
      (status = option_integer(set, "length_offset", 0, 0, 64, &offset, why)) != 0 ||
      (status = option_integer(set, "length_bytes", 1, 1, 4, &size, why)) != 0 ||
      (status = option_choice(set, "length_order", orders, COUNT_OF(orders), 0, &order, why)) != 0 ||
      (status = option_integer(set, "length_adjust", 0, -65536, 65536, &f->length_adjust, why)) != 0 ||
      (status = option_integer(set, "idle_ms", 20, 1, 60000, &idle_ms, why)) != 0) {
    return status;
  }
  f->kind = (framing)kind;
  f->frame_max = (uint32_t)frame_max;
  f->length_offset = (uint32_t)offset;
  f->length_size = (uint32_t)size;
  f->length_little = order == 1;
  f->skipping = kind <= FRAMING_DELIMITED;
  d->idle_ns = idle_ms * NS_PER_MS;
  d->count = option_list_count(set, "values");
  if (kind == FRAMING_LINES ? d->count == 0 || d->count > VALUES_MAX : d->count > 0) {
    explain_set(why, "values: %u given; framing lines takes 1 to %u, other framings none", d->count, VALUES_MAX);
    return -EINVAL;
  }
  f->bytes = malloc((size_t)f->frame_max + DELIMITER_MAX);
  d->values = calloc(d->count + 1u, sizeof *d->values);
  if (f->bytes == NULL || d->values == NULL) {
    return -ENOMEM;
  }
  for (uint32_t i = 0; i < d->count && status == 0; i++) {
    status = parse_value(d, i, option_list_at(set, "values", i), why);
  }
  return status;
}

/* How the line is set. */
typedef struct line_setting {
  int64_t baud, data, stop;
  size_t parity, flow, rs485;
} line_setting;

static int32_t parse(dunlin_device *d, const option_set *set, line_setting *line, dunlin_text *why) {
  char separator[2];
  int32_t status = 0;
  if ((status = option_copy(set, "port", NULL, d->path, sizeof d->path, why)) != 0 ||
      (status = option_integer(set, "baud", 9600, 300, 4000000, &line->baud, why)) != 0 ||
      (status = option_integer(set, "data", 8, 7, 8, &line->data, why)) != 0 ||
      (status = option_choice(set, "parity", parity_names, COUNT_OF(parity_names), 0, &line->parity, why)) != 0 ||
      (status = option_integer(set, "stop", 1, 1, 2, &line->stop, why)) != 0 ||
      (status = option_choice(set, "flow", flow_names, COUNT_OF(flow_names), 0, &line->flow, why)) != 0 ||
      (status = option_choice(set, "rs485", rs485_names, COUNT_OF(rs485_names), 0, &line->rs485, why)) != 0 ||
      (status = option_copy(set, "separator", ",", separator, sizeof separator, why)) != 0) {
    return status;
  }
  d->separator = separator[0] == '\0' ? ',' : separator[0];
  return parse_framing(d, set, why);
}

static int32_t set_line(int fd, const line_setting *line, dunlin_text *why) {
  size_t at = 0;
  while (at < COUNT_OF(rates) && rates[at].baud != line->baud) {
    at++;
  }
  if (at == COUNT_OF(rates)) {
    explain_set(why, "baud: %lld is no rate that termios has a name for", (long long)line->baud);
    return -EINVAL;
  }
  struct termios t;
  if (tcgetattr(fd, &t) != 0) {
    int error = errno;
    explain_set(why, "port: is no terminal: %s", strerror(error));
    return error == ENOTTY ? -ENOTSUP : -error;
  }
  cfmakeraw(&t);
  t.c_cflag &= ~((tcflag_t)(CSIZE | PARENB | PARODD | CSTOPB) | (tcflag_t)CRTSCTS);
  /* One by one: CRTSCTS is unsigned and the others are not, so a sum of them changes sign in older headers. */
  t.c_cflag |= (tcflag_t)CLOCAL | (tcflag_t)CREAD;
  t.c_cflag |= line->data == 7 ? (tcflag_t)CS7 : (tcflag_t)CS8;
  t.c_cflag |= line->parity > 0 ? (tcflag_t)PARENB : 0;
  t.c_cflag |= line->parity == 2 ? (tcflag_t)PARODD : 0;
  t.c_cflag |= line->stop == 2 ? (tcflag_t)CSTOPB : 0;
  t.c_cflag |= line->flow == 1 ? (tcflag_t)CRTSCTS : 0;
  /* A byte whose parity is wrong is dropped, so that its frame does not pass for a good one. */
  t.c_iflag |= (tcflag_t)((line->parity > 0 ? INPCK | IGNPAR : 0) | (line->flow == 2 ? IXON | IXOFF : 0));
  t.c_cc[VMIN] = 0;
  t.c_cc[VTIME] = 0;
  if (cfsetspeed(&t, rates[at].code) != 0 || tcsetattr(fd, TCSANOW, &t) != 0 || tcflush(fd, TCIFLUSH) != 0) {
    int error = errno;
    explain_set(why, "port: cannot be set: %s", strerror(error));
    return -error;
  }
  struct serial_rs485 rs485;
  memset(&rs485, 0, sizeof rs485);
  rs485.flags = SER_RS485_ENABLED | (line->rs485 == 1 ? SER_RS485_RTS_ON_SEND : SER_RS485_RTS_AFTER_SEND);
  if (line->rs485 > 0 && ioctl(fd, TIOCSRS485, &rs485) != 0) {
    explain_set(why, "rs485: this port has no such mode: %s", strerror(errno));
    return -ENOTSUP;
  }
  return 0;
}

static int32_t serial_close(dunlin_device *d) {
  if (d->fd >= 0) {
    (void)close(d->fd);
  }
  free(d->framer.bytes);
  free(d->values);
  free(d);
  return 0;
}

static int32_t serial_open(const dunlin_option *options, uint32_t count, dunlin_text *why, dunlin_device **device) {
  option_set set = {options, count, ""};
  dunlin_device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    return -ENOMEM;
  }
  d->fd = -1;
  line_setting line;
  int32_t status = parse(d, &set, &line, why);
  /* Not blocking: without a carrier, open would wait for one. */
  if (status == 0 && (d->fd = open(d->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)) < 0) {
    int error = errno;
    explain_set(why, "port: cannot open %s: %s", d->path, strerror(error));
    status = error == ENOENT || error == ENXIO || error == EIO ? -ENODEV : -error;
  } else if (status == 0 && flock(d->fd, LOCK_EX | LOCK_NB) != 0) {
    explain_set(why, "port: %s is in use: %s", d->path, strerror(errno));
    status = -EBUSY;
  } else if (status == 0) {
    status = set_line(d->fd, &line, why);
  }
  if (status != 0) {
    (void)serial_close(d);
    return status;
  }
  *device = d;
  return 0;
}

static int32_t serial_channels(dunlin_device *d, dunlin_channel *out, uint32_t cap) {
  for (uint32_t i = 0; i < cap && i < d->count; i++) {
    out[i] = d->values[i].channel;
  }
  if (d->count == 0 && cap > 0) {
    out[0] =
        (dunlin_channel){.name = "frames", .unit = "1", .kind = DUNLIN_KIND_FRAME, .min = -INFINITY, .max = INFINITY};
  }
  return d->count == 0 ? 1 : (int32_t)d->count;
}

static void serial_explain(dunlin_device *d, dunlin_text *why) { explain_set(why, "%s", d->failure); }

static const void *serial_extension(const char *id) {
  static const dunlin_frames_1 frames = {sizeof frames, FRAME_MAX, serial_read_frames};
  return strcmp(id, DUNLIN_FRAMES_1) == 0 ? &frames : NULL;
}

#define TEXT DUNLIN_OPTION_TEXT
#define INT DUNLIN_OPTION_INT
static const dunlin_option_spec specs[] = {
    {"port", "Serial port, such as /dev/ttyUSB0.", NULL, TEXT, DUNLIN_OPTION_REQUIRED, 0, 0},
    {"baud", "Bits per second, one of the rates of termios.", "9600", INT, 0, 300, 4000000},
    {"data", "Data bits.", "8", INT, 0, 7, 8},
    {"parity", "none, even, odd.", "none", TEXT, 0, 0, 0},
    {"stop", "Stop bits.", "1", INT, 0, 1, 2},
    {"flow", "none, hardware, software.", "none", TEXT, 0, 0, 0},
    {"rs485", "off, rts_on_send, rts_after_send.", "off", TEXT, 0, 0, 0},
    {"framing", "lines, delimited, length, idle.", "lines", TEXT, 0, 0, 0},
    {"values", "What lines hold, as tables of name, key or column, scale, offset, unit.", NULL, TEXT,
     DUNLIN_OPTION_LIST, 0, 0},
    {"separator", "Byte between the parts of a line; one blank stands for several.", ",", TEXT, 0, 0, 0},
    {"delimiter", "Bytes at the end of a line or a delimited frame, in hexadecimal.", "0a", TEXT, 0, 0, 0},
    {"frame_bytes_max", "Longest line or frame.", "4096", INT, 0, 1, FRAME_MAX},
    {"length_offset", "Where in a frame its length is, in bytes.", "0", INT, 0, 0, 64},
    {"length_bytes", "Bytes of that length.", "1", INT, 0, 1, 4},
    {"length_order", "Order of these bytes: big, little.", "big", TEXT, 0, 0, 0},
    {"length_adjust", "What makes that length the whole frame's, in bytes.", "0", INT, 0, -65536, 65536},
    {"idle_ms", "Silence that ends a frame (idle), or gives it up (length).", "20", INT, 0, 1, 60000},
};

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    .struct_size = sizeof(dunlin_driver),
    .abi_major = DUNLIN_ABI_MAJOR,
    .abi_minor = DUNLIN_ABI_MINOR,
    .flags = DUNLIN_DRIVER_PACED,
    .option_count = (uint32_t)COUNT_OF(specs),
    .id = "serial",
    .version = "1.0.0",
    .summary = "Lines of text and binary frames of a serial port.",
    .options = specs,
    .open = serial_open,
    .channels = serial_channels,
    .read = serial_read,
    .close = serial_close,
    .explain = serial_explain,
    .get_extension = serial_extension,
};
