/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * modbus: registers and coils of one unit, over TCP or RTU, through libmodbus. Neighbouring registers of one table
 * are read in one request. A connection that broke is made anew within the next read, one attempt a call. */
#include "clock.h"
#include "options.h"

#include <arpa/inet.h>
#include <dunlin/ext/actuate.h>
#include <math.h>
#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX 1024u
#define WORDS_MAX 125u /* of one request, by the Modbus application protocol 1.1b3, 6.3 */

typedef enum table { COIL, DISCRETE, INPUT, HOLDING } table;
static const char *const table_names[] = {"coil", "discrete", "input", "holding"};
typedef enum type { T_BOOL, T_I16, T_U16, T_I32, T_U32, T_I64, T_F32, T_F64 } type;
static const char *const type_names[] = {"bool",   "int16", "uint16",  "int32",
                                         "uint32", "int64", "float32", "float64"};
static const uint32_t type_words[] = {1, 1, 1, 2, 2, 4, 2, 4};
typedef enum order { ABCD, BADC, CDAB, DCBA } order;
static const char *const order_names[] = {"abcd", "badc", "cdab", "dcba"};

typedef struct point {
  dunlin_channel channel;
  table table;
  type type;
  order order;
  int address;
  bool scaled;
  double scale;
  double offset;
  dunlin_number value; /* of the measurement being handed out */
  uint32_t quality;
} point;

struct dunlin_device {
  modbus_t *bus;
  bool connected;
  int64_t timeout_ms;
  char name[160]; /* for explanations */
  char failure[512];
  uint32_t count;
  uint32_t next; /* point to hand out next; 0 = measure first */
  uint32_t *by_address;
  point *points;
};

/* Words of one value, most significant first, from the order on the wire and back: the mapping is its own inverse. */
static void reorder(order order, uint32_t words, const uint16_t *in, uint16_t *out) {
  bool swap_words = order == CDAB || order == DCBA;
  bool swap_bytes = order == BADC || order == DCBA;
  for (uint32_t i = 0; i < words; i++) {
    uint16_t word = in[swap_words ? words - 1 - i : i];
    out[i] = swap_bytes ? (uint16_t)((word << 8) | (word >> 8)) : word;
  }
}

static void decode(point *p, const uint16_t *wire) {
  uint16_t words[4] = {0};
  uint32_t n = type_words[p->type];
  reorder(p->order, n, wire, words);
  uint64_t bits = 0;
  for (uint32_t i = 0; i < n; i++) {
    bits = (bits << 16) | words[i];
  }
  int64_t whole = 0;
  double real = 0;
  uint32_t low = (uint32_t)bits;
  float single = 0;
  switch (p->type) {
  case T_BOOL:
    whole = bits != 0;
    break;
  case T_I16:
    whole = (int16_t)(uint16_t)bits;
    break;
  case T_I32:
    whole = (int32_t)low;
    break;
  case T_U16:
  case T_U32:
  case T_I64:
    whole = (int64_t)bits;
    break;
  case T_F32:
    memcpy(&single, &low, sizeof single);
    real = (double)single;
    break;
  case T_F64:
    memcpy(&real, &bits, sizeof real);
    break;
  }
  p->quality = DUNLIN_QUALITY_GOOD;
  if (p->channel.kind != DUNLIN_KIND_F64) {
    p->value.i64 = whole;
    return;
  }
  real = p->type == T_F32 || p->type == T_F64 ? real : (double)whole;
  p->value.f64 = p->scaled ? real * p->scale + p->offset : real;
  if (!isfinite(p->value.f64)) {
    p->value.f64 = 0;
    p->quality = DUNLIN_QUALITY_BAD;
  }
}

/* Raw words for a value of the channel; -ERANGE where the type cannot hold it. */
static int32_t encode(const point *p, const dunlin_value *value, uint16_t *wire) {
  static const double low[] = {0, -32768.0, 0, -2147483648.0, 0, -9223372036854775808.0};
  static const double past[] = {2, 32768.0, 65536.0, 2147483648.0, 4294967296.0, 9223372036854775808.0};
  uint64_t bits = 0;
  if (value->kind == DUNLIN_KIND_F64) {
    double raw = p->scaled ? (value->value.f64 - p->offset) / p->scale : value->value.f64;
    if (!isfinite(raw)) {
      return -ERANGE;
    }
    if (p->type == T_F64) {
      memcpy(&bits, &raw, sizeof bits);
    } else if (p->type == T_F32) {
      float single = (float)raw;
      uint32_t narrow = 0;
      if (!isfinite(single)) {
        return -ERANGE;
      }
      memcpy(&narrow, &single, sizeof narrow);
      bits = narrow;
    } else {
      raw = round(raw);
      if (raw < low[p->type] || raw >= past[p->type]) {
        return -ERANGE;
      }
      bits = (uint64_t)(int64_t)raw;
    }
  } else {
    int64_t whole = value->value.i64;
    if (p->type != T_I64 && ((double)whole < low[p->type] || (double)whole >= past[p->type])) {
      return -ERANGE;
    }
    bits = (uint64_t)whole;
  }
  uint32_t n = type_words[p->type];
  uint16_t words[4] = {0};
  for (uint32_t i = 0; i < n; i++) {
    words[i] = (uint16_t)(bits >> (16 * (n - 1 - i)));
  }
  reorder(p->order, n, words, wire);
  return 0;
}

static bool is_exception(int error) { return error >= EMBXILFUN && error <= EMBXGTAR; }

/* Notes the failure and drops the connection: after a late answer the stream is out of step. */
static int32_t fail(dunlin_device *d, const char *what, int error) {
  (void)snprintf(d->failure, sizeof d->failure, "%s: %s: %s", d->name, what, modbus_strerror(error));
  modbus_close(d->bus);
  d->connected = false;
  return error == ETIMEDOUT ? -ETIMEDOUT : -EIO;
}

static int32_t set_timeout(dunlin_device *d, int64_t deadline_ns) {
  int64_t left_ns = deadline_ns - clock_now_ns();
  if (left_ns < NS_PER_MS) {
    return fail(d, "no time left", ETIMEDOUT);
  }
  int64_t limit_ns = d->timeout_ms * NS_PER_MS;
  left_ns = left_ns < limit_ns ? left_ns : limit_ns;
  /* One limit for the whole answer: libmodbus's byte timeout would begin anew at each byte. */
  (void)modbus_set_response_timeout(d->bus, (uint32_t)(left_ns / NS_PER_S), (uint32_t)(left_ns % NS_PER_S / 1000));
  (void)modbus_set_byte_timeout(d->bus, 0, 0);
  return 0;
}

static int32_t connect_within(dunlin_device *d, int64_t deadline_ns) {
  int32_t status = set_timeout(d, deadline_ns);
  if (status != 0 || d->connected) {
    return status;
  }
  errno = 0;
  if (modbus_connect(d->bus) != 0) {
    return fail(d, "connect", errno != 0 ? errno : EIO);
  }
  d->connected = true;
  return set_timeout(d, deadline_ns);
}

static bool is_bits(table t) { return t == COIL || t == DISCRETE; }

static int request(dunlin_device *d, table t, int address, int length, uint16_t *words) {
  uint8_t bits[WORDS_MAX];
  int got = 0;
  switch (t) {
  case HOLDING:
    return modbus_read_registers(d->bus, address, length, words);
  case INPUT:
    return modbus_read_input_registers(d->bus, address, length, words);
  case COIL:
    got = modbus_read_bits(d->bus, address, length, bits);
    break;
  case DISCRETE:
    got = modbus_read_input_bits(d->bus, address, length, bits);
    break;
  }
  for (int i = 0; i < got; i++) {
    words[i] = bits[i];
  }
  return got;
}

/* Reads points[by_address[from..to]] in one request. An exception on several points is looked into one by one, so that
 * one address that the unit lacks does not take its neighbours with it. */
static int32_t measure(dunlin_device *d, uint32_t from, uint32_t to, int64_t deadline_ns) {
  uint16_t words[WORDS_MAX];
  const point *first = &d->points[d->by_address[from]];
  int end = first->address;
  for (uint32_t i = from; i < to; i++) {
    const point *p = &d->points[d->by_address[i]];
    int past = p->address + (int)type_words[p->type];
    end = past > end ? past : end;
  }
  int32_t status = set_timeout(d, deadline_ns);
  if (status != 0) {
    return status;
  }
  if (request(d, first->table, first->address, end - first->address, words) != end - first->address) {
    if (!is_exception(errno)) {
      return fail(d, "read", errno);
    }
    if (to - from == 1) {
      d->points[d->by_address[from]].quality = DUNLIN_QUALITY_BAD;
      return 0;
    }
    for (uint32_t i = from; i < to && status == 0; i++) {
      status = measure(d, i, i + 1, deadline_ns);
    }
    return status;
  }
  for (uint32_t i = from; i < to; i++) {
    point *p = &d->points[d->by_address[i]];
    decode(p, words + (p->address - first->address));
  }
  return 0;
}

static int32_t measure_all(dunlin_device *d, uint32_t timeout_ms) {
  int64_t deadline_ns = clock_now_ns() + (int64_t)timeout_ms * NS_PER_MS;
  int32_t status = connect_within(d, deadline_ns);
  for (uint32_t from = 0; from < d->count && status == 0;) {
    const point *first = &d->points[d->by_address[from]];
    int end = first->address + (int)type_words[first->type];
    uint32_t to = from + 1;
    for (; to < d->count; to++) {
      const point *p = &d->points[d->by_address[to]];
      int past = p->address + (int)type_words[p->type];
      if (p->table != first->table || p->address > end || past - first->address > (int)WORDS_MAX) {
        break;
      }
      end = past > end ? past : end;
    }
    status = measure(d, from, to, deadline_ns);
    from = to;
  }
  return status;
}

static int32_t modbus_read_device(dunlin_device *d, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  if (d->next == 0) {
    int32_t status = measure_all(d, timeout_ms);
    if (status != 0) {
      return status;
    }
  }
  uint32_t used = 0;
  for (; used < cap && d->next < d->count; d->next++) {
    const point *p = &d->points[d->next];
    out[used++] = (dunlin_sample){.value = p->value, .channel = d->next, .quality = p->quality};
    if (p->quality == DUNLIN_QUALITY_BAD) {
      out[used - 1].value.i64 = 0;
    }
  }
  d->next = d->next == d->count ? 0 : d->next;
  return (int32_t)used;
}

static int32_t modbus_write_device(dunlin_device *d, uint32_t channel, const dunlin_value *value,
                                   uint32_t timeout_ms) {
  if (channel >= d->count || (d->points[channel].channel.flags & DUNLIN_CHANNEL_WRITABLE) == 0 ||
      value->kind != d->points[channel].channel.kind) {
    (void)snprintf(d->failure, sizeof d->failure, "%s: channel %u takes no such write", d->name, channel);
    return -EINVAL;
  }
  const point *p = &d->points[channel];
  uint16_t words[4];
  int32_t status = encode(p, value, words);
  if (status != 0) {
    (void)snprintf(d->failure, sizeof d->failure, "%s: the value does not fit %s", p->channel.name,
                   type_names[p->type]);
    return status;
  }
  status = connect_within(d, clock_now_ns() + (int64_t)timeout_ms * NS_PER_MS);
  if (status != 0) {
    return status;
  }
  int n = (int)type_words[p->type];
  int done = p->table == COIL ? modbus_write_bit(d->bus, p->address, value->value.i64 != 0)
             : n == 1         ? modbus_write_register(d->bus, p->address, words[0])
                              : modbus_write_registers(d->bus, p->address, n, words);
  if (done == n) {
    return 0;
  }
  if (is_exception(errno)) {
    (void)snprintf(d->failure, sizeof d->failure, "%s: %s: %s", d->name, p->channel.name, modbus_strerror(errno));
    return -EIO;
  }
  return fail(d, "write", errno);
}

static int32_t parse_point(point *p, uint32_t index, const char *value, dunlin_text *why) {
  static const char *const keys[] = {"name",  "table",  "address", "type",    "order",
                                     "scale", "offset", "unit",    "writable"};
  option_table t;
  size_t where = 0, kind = 0, order_index = 0;
  int64_t address = 0;
  bool writable = false;
  dunlin_channel *c = &p->channel;
  int32_t status = option_table_parse(&t, "registers", index, value, keys, COUNT_OF(keys), why);
  if (status != 0 || (status = option_channel_name(&t.set, "name", NULL, c->name, sizeof c->name, why)) != 0 ||
      (status = option_choice(&t.set, "table", table_names, COUNT_OF(table_names), HOLDING, &where, why)) != 0 ||
      (status = option_choice(&t.set, "type", type_names, COUNT_OF(type_names),
                              where <= DISCRETE ? T_BOOL : T_U16, &kind, why)) != 0 ||
      (status = option_choice(&t.set, "order", order_names, COUNT_OF(order_names), ABCD, &order_index, why)) != 0 ||
      (status = option_integer(&t.set, "address", -1, 0, 65535, &address, why)) != 0 ||
      (status = option_number(&t.set, "scale", 1, -1e12, 1e12, &p->scale, why)) != 0 ||
      (status = option_number(&t.set, "offset", 0, -1e12, 1e12, &p->offset, why)) != 0 ||
      (status = option_copy(&t.set, "unit", "1", c->unit, sizeof c->unit, why)) != 0 ||
      (status = option_flag(&t.set, "writable", false, &writable, why)) != 0) {
    return status;
  }
  p->table = (table)where;
  p->type = (type)kind;
  p->order = (order)order_index;
  p->address = (int)address;
  p->scaled = option_find(&t.set, "scale") != NULL || option_find(&t.set, "offset") != NULL;
  const char *wrong = address < 0                                                 ? "address: is missing"
                      : address + type_words[kind] > 65536                        ? "address: reaches past 65535"
                      : is_bits(p->table) != (p->type == T_BOOL)                  ? "type: bool goes with coil and discrete, and only bool"
                      : p->scale == 0.0                                           ? "scale: may not be 0"
                      : p->scaled && p->type == T_BOOL                            ? "scale: a bool has none"
                      : writable && (p->table == INPUT || p->table == DISCRETE)   ? "writable: this table is read-only"
                                                                                  : NULL;
  if (wrong != NULL) {
    explain_set(why, "%s%s", t.where, wrong);
    return -EINVAL;
  }
  bool real = p->scaled || p->type == T_F32 || p->type == T_F64;
  c->kind = p->type == T_BOOL ? DUNLIN_KIND_BOOL : real ? DUNLIN_KIND_F64 : DUNLIN_KIND_I64;
  c->flags = writable ? DUNLIN_CHANNEL_WRITABLE : 0;
  c->min = p->type == T_BOOL ? 0 : -INFINITY;
  c->max = p->type == T_BOOL ? 1 : INFINITY;
  return 0;
}

static int32_t parse_points(dunlin_device *d, const option_set *set, dunlin_text *why) {
  d->count = option_list_count(set, "registers");
  if (d->count == 0 || d->count > POINTS_MAX) {
    explain_set(why, "registers: %u given, 1 to %u needed", d->count, POINTS_MAX);
    return -EINVAL;
  }
  d->points = calloc(d->count, sizeof *d->points);
  d->by_address = calloc(d->count, sizeof *d->by_address);
  if (d->points == NULL || d->by_address == NULL) {
    return -ENOMEM;
  }
  for (uint32_t i = 0; i < d->count; i++) {
    point *p = &d->points[i];
    int32_t status = parse_point(p, i, option_list_at(set, "registers", i), why);
    if (status != 0) {
      return status;
    }
    uint32_t at = i; /* insertion by (table, address) */
    for (uint32_t j = 0; j < i; j++) {
      if (strcmp(p->channel.name, d->points[j].channel.name) == 0) {
        explain_set(why, "registers[%u] name: %s is already taken", i, p->channel.name);
        return -EINVAL;
      }
    }
    for (; at > 0; at--) {
      const point *before = &d->points[d->by_address[at - 1]];
      if (before->table < p->table || (before->table == p->table && before->address <= p->address)) {
        break;
      }
      d->by_address[at] = d->by_address[at - 1];
    }
    d->by_address[at] = i;
  }
  return 0;
}

static int32_t parse_bus(dunlin_device *d, const option_set *set, dunlin_text *why) {
  static const char *const parities[] = {"none", "even", "odd"};
  char address[80], serial[128];
  int64_t unit = 0, baud = 0, data = 0, stop = 0;
  size_t parity = 0;
  int32_t status = 0;
  if ((status = option_copy(set, "address", "", address, sizeof address, why)) != 0 ||
      (status = option_copy(set, "serial", "", serial, sizeof serial, why)) != 0 ||
      (status = option_integer(set, "unit", 1, 0, 255, &unit, why)) != 0 ||
      (status = option_integer(set, "timeout_ms", 500, 1, 60000, &d->timeout_ms, why)) != 0 ||
      (status = option_integer(set, "baud", 19200, 300, 4000000, &baud, why)) != 0 ||
      (status = option_integer(set, "data", 8, 7, 8, &data, why)) != 0 ||
      (status = option_integer(set, "stop", 1, 1, 2, &stop, why)) != 0 ||
      (status = option_choice(set, "parity", parities, COUNT_OF(parities), 1, &parity, why)) != 0) {
    return status;
  }
  if ((*address == '\0') == (*serial == '\0')) {
    explain_set(why, "address: give either address (TCP) or serial (RTU)");
    return -EINVAL;
  }
  if (*serial != '\0') {
    (void)snprintf(d->name, sizeof d->name, "%s unit %d", serial, (int)unit);
    d->bus = modbus_new_rtu(serial, (int)baud, "NEO"[parity], (int)data, (int)stop);
  } else {
    (void)snprintf(d->name, sizeof d->name, "%s unit %d", address, (int)unit);
    char *colon = strrchr(address, ':');
    option_set port_set = {&(dunlin_option){"port", colon == NULL ? "502" : colon + 1}, 1, "address "};
    int64_t port = 0;
    if ((status = option_integer(&port_set, "port", 502, 1, 65535, &port, why)) != 0) {
      return status;
    }
    if (colon != NULL) {
      *colon = '\0';
    }
    struct in_addr numeric;
    if (inet_pton(AF_INET, address, &numeric) != 1) {
      explain_set(why, "address: %.60s is not a numeric IPv4 address; names are not resolved in the sandbox", address);
      return -EINVAL;
    }
    d->bus = modbus_new_tcp(address, (int)port);
  }
  if (d->bus == NULL && errno == ENOMEM) {
    return -ENOMEM;
  }
  if (d->bus == NULL || modbus_set_slave(d->bus, (int)unit) != 0) {
    explain_set(why, "unit: %s: %s", d->name, modbus_strerror(errno));
    return -EINVAL;
  }
  return 0;
}

static int32_t modbus_close_device(dunlin_device *d) {
  if (d->bus != NULL) {
    modbus_close(d->bus);
    modbus_free(d->bus);
  }
  free(d->by_address);
  free(d->points);
  free(d);
  return 0;
}

/* Does not connect: a unit that is away at start is an outage that read reports, not a wrong configuration. */
static int32_t modbus_open_device(const dunlin_option *options, uint32_t count, dunlin_text *why,
                                  dunlin_device **device) {
  option_set set = {options, count, ""};
  dunlin_device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    return -ENOMEM;
  }
  int32_t status = parse_bus(d, &set, why);
  status = status == 0 ? parse_points(d, &set, why) : status;
  if (status != 0) {
    (void)modbus_close_device(d);
    return status;
  }
  *device = d;
  return 0;
}

static int32_t modbus_channels(dunlin_device *d, dunlin_channel *out, uint32_t cap) {
  for (uint32_t i = 0; i < cap && i < d->count; i++) {
    out[i] = d->points[i].channel;
  }
  return (int32_t)d->count;
}

static void modbus_explain(dunlin_device *d, dunlin_text *why) { explain_set(why, "%.255s", d->failure); }

static const void *modbus_extension(const char *id) {
  static const dunlin_actuate_1 actuate = {sizeof actuate, 0, modbus_write_device};
  return strcmp(id, DUNLIN_ACTUATE_1) == 0 ? &actuate : NULL;
}

static const dunlin_option_spec specs[] = {
    {"address", "Numeric IPv4 address and port of a TCP unit.", NULL, DUNLIN_OPTION_TEXT, 0, 0, 0},
    {"serial", "Serial device of an RTU unit.", NULL, DUNLIN_OPTION_TEXT, 0, 0, 0},
    {"baud", "Baud rate of the serial line.", "19200", DUNLIN_OPTION_INT, 0, 300, 4000000},
    {"parity", "Parity of the serial line: none, even or odd.", "even", DUNLIN_OPTION_TEXT, 0, 0, 0},
    {"data", "Data bits of the serial line.", "8", DUNLIN_OPTION_INT, 0, 7, 8},
    {"stop", "Stop bits of the serial line.", "1", DUNLIN_OPTION_INT, 0, 1, 2},
    {"unit", "Unit identifier; RTU allows 0 to 247.", "1", DUNLIN_OPTION_INT, 0, 0, 255},
    {"timeout_ms", "Longest wait for one answer.", "500", DUNLIN_OPTION_INT, 0, 1, 60000},
    {"registers", "Points, as tables of name, table, address, type, order, scale, offset, unit, writable.", NULL,
     DUNLIN_OPTION_TEXT, DUNLIN_OPTION_LIST | DUNLIN_OPTION_REQUIRED, 0, 0},
};

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    .struct_size = sizeof(dunlin_driver),
    .abi_major = DUNLIN_ABI_MAJOR,
    .abi_minor = DUNLIN_ABI_MINOR,
    .option_count = (uint32_t)COUNT_OF(specs),
    .id = "modbus",
    .version = "1.0.0",
    .summary = "Coils and registers of a Modbus TCP or RTU unit.",
    .options = specs,
    .open = modbus_open_device,
    .channels = modbus_channels,
    .read = modbus_read_device,
    .close = modbus_close_device,
    .explain = modbus_explain,
    .get_extension = modbus_extension,
};
