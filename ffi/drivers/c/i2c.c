/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * i2c: one chip on an i2c-dev bus, by combined write-then-read transfers (I2C_RDWR): temperature sensors of the LM75
 * family, or any chip as a table of registers. */
#include "i2c_convert.h"
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define POINTS_MAX 256u

typedef struct chip {
  const char *name;
  int bits;        /* resolution at power-on */
  bool adjustable; /* 9 to 12 bits, in bits 5 and 6 of the configuration register */
} chip;
/* From the data sheets; tmp102 has a 16-bit configuration and converts 12 bits at power-on. */
static const chip chips[] = {{"lm75", 9, false},  {"tmp102", 12, false}, {"tmp105", 9, true},
                             {"tmp175", 9, true}, {"tmp75", 9, true},    {"ds1775", 9, true}};
static const char *const chip_names[] = {"lm75", "tmp102", "tmp105", "tmp175", "tmp75", "ds1775", "registers"};
static const char *const type_names[] = {"uint8", "int8", "uint16", "int16", "uint32", "int32"};
static const char *const order_names[] = {"big", "little"};

typedef struct point {
  dunlin_channel channel;
  uint8_t reg;
  unsigned size;
  bool is_signed, little;
  uint32_t mask;
  unsigned shift;
  double scale, offset;
} point;

struct dunlin_device {
  int fd;
  uint16_t address;
  unsigned bits; /* of an LM75; 0 = registers */
  char bus[64];
  char failure[200];
  uint32_t count, next;
  point *points;
};

static int32_t fail(dunlin_device *d, const char *what, int error) {
  (void)snprintf(d->failure, sizeof d->failure, "%s address 0x%02x: %s: %s", d->bus, d->address, what,
                 strerror(error));
  if (error == ENODEV || error == ESHUTDOWN) {
    return -ENODEV; /* the adapter was removed */
  }
  return error == ETIMEDOUT ? -ETIMEDOUT : -EIO; /* ENXIO and EREMOTEIO are how adapters report a NACK */
}

static int32_t transfer(dunlin_device *d, uint8_t *out, uint16_t out_length, uint8_t *in, uint16_t in_length) {
  struct i2c_msg messages[2] = {{.addr = d->address, .len = out_length, .buf = out},
                                {.addr = d->address, .flags = I2C_M_RD, .len = in_length, .buf = in}};
  struct i2c_rdwr_ioctl_data all = {messages, in_length > 0 ? 2 : 1};
  int done = ioctl(d->fd, I2C_RDWR, &all);
  if (done < 0) {
    return fail(d, in_length > 0 ? "read" : "write", errno);
  }
  if ((uint32_t)done < all.nmsgs) { /* an adapter may stop early and say so only by the count: `in` is not filled */
    (void)snprintf(d->failure, sizeof d->failure, "%s address 0x%02x: %d of %u messages were carried out", d->bus,
                   d->address, done, all.nmsgs);
    return -EIO;
  }
  return 0;
}

static int32_t set_resolution(dunlin_device *d, unsigned bits) {
  uint8_t config[2] = {1, 0};
  int32_t status = transfer(d, config, 1, &config[1], 1);
  config[1] = (uint8_t)((config[1] & ~0x61u) | ((bits - 9) << 5)); /* and out of shutdown */
  return status != 0 ? status : transfer(d, config, 2, NULL, 0);
}

static int32_t i2c_read(dunlin_device *d, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  (void)timeout_ms; /* the adapter's own time limit holds: I2C_TIMEOUT is of the whole bus, not ours to change */
  uint32_t used = 0;
  for (; used < cap && d->next < d->count; d->next++) {
    point *p = &d->points[d->next];
    uint8_t reg = p->reg;
    uint8_t bytes[4] = {0};
    int32_t status = transfer(d, &reg, 1, bytes, (uint16_t)p->size);
    if (status != 0) {
      d->next = 0;
      return status;
    }
    double value = d->bits > 0 ? lm75_celsius((uint16_t)((bytes[0] << 8) | bytes[1]), d->bits)
                               : (double)register_integer(bytes, p->size, p->little, p->mask, p->shift, p->is_signed);
    out[used++] = (dunlin_sample){.value = {.f64 = value * p->scale + p->offset}, .channel = d->next};
  }
  d->next = d->next == d->count ? 0 : d->next;
  return (int32_t)used;
}

static int32_t parse_point(point *p, uint32_t index, const char *value, dunlin_text *why) {
  static const char *const keys[] = {"name", "address", "type", "order", "scale", "offset", "unit", "mask", "shift"};
  option_table t;
  size_t type = 0, order = 0;
  int64_t reg = 0, mask = 0, shift = 0;
  dunlin_channel *c = &p->channel;
  int32_t status = option_table_parse(&t, "registers", index, value, keys, COUNT_OF(keys), why);
  if (status != 0 || (status = option_channel_name(&t.set, "name", NULL, c->name, sizeof c->name, why)) != 0 ||
      (status = option_integer(&t.set, "address", -1, 0, 255, &reg, why)) != 0 ||
      (status = option_choice(&t.set, "type", type_names, COUNT_OF(type_names), 0, &type, why)) != 0 ||
      (status = option_choice(&t.set, "order", order_names, COUNT_OF(order_names), 0, &order, why)) != 0 ||
      (status = option_number(&t.set, "scale", 1, -1e12, 1e12, &p->scale, why)) != 0 ||
      (status = option_number(&t.set, "offset", 0, -1e12, 1e12, &p->offset, why)) != 0 ||
      (status = option_copy(&t.set, "unit", "1", c->unit, sizeof c->unit, why)) != 0 ||
      (status = option_integer(&t.set, "mask", UINT32_MAX, 1, UINT32_MAX, &mask, why)) != 0 ||
      (status = option_integer(&t.set, "shift", 0, 0, 31, &shift, why)) != 0) {
    return status;
  }
  if (reg < 0) {
    explain_set(why, "%saddress: is missing", t.where);
    return -EINVAL;
  }
  p->reg = (uint8_t)reg;
  p->size = 1u << (type / 2);
  if ((mask & ((INT64_C(1) << (8 * p->size)) - 1)) >> shift == 0) {
    explain_set(why, "%smask: leaves no bit of %s after shift, so the value would always be 0", t.where,
                type_names[type]);
    return -EINVAL;
  }
  p->is_signed = type % 2 == 1;
  p->little = order == 1;
  p->mask = (uint32_t)mask;
  p->shift = (unsigned)shift;
  c->kind = DUNLIN_KIND_F64;
  c->min = -INFINITY;
  c->max = INFINITY;
  return 0;
}

static int32_t parse(dunlin_device *d, const option_set *set, int64_t *resolution, dunlin_text *why) {
  char bus[48];
  int64_t address = 0;
  size_t which = 0;
  int32_t status = 0;
  if ((status = option_copy(set, "bus", NULL, bus, sizeof bus, why)) != 0 ||
      (status = option_integer(set, "address", 0x48, 0x03, 0x77, &address, why)) != 0 ||
      (status = option_choice(set, "chip", chip_names, COUNT_OF(chip_names), 0, &which, why)) != 0 ||
      (status = option_integer(set, "resolution", 0, 9, 12, resolution, why)) != 0) {
    return status;
  }
  (void)snprintf(d->bus, sizeof d->bus, "%s%s", bus[0] == '/' ? "" : "/dev/i2c-", bus);
  d->address = (uint16_t)address;
  uint32_t given = option_list_count(set, "registers");
  bool table = which == COUNT_OF(chips);
  if (table ? given == 0 || given > POINTS_MAX : given > 0) {
    explain_set(why, "registers: %u given; chip registers takes 1 to %u, other chips none", given, POINTS_MAX);
    return -EINVAL;
  }
  if (*resolution != 0 && (table || !chips[which].adjustable)) {
    explain_set(why, "resolution: chip %s has none to set", chip_names[which]);
    return -EINVAL;
  }
  d->count = table ? given : 1;
  d->points = calloc(d->count, sizeof *d->points);
  if (d->points == NULL) {
    return -ENOMEM;
  }
  if (!table) {
    d->bits = (unsigned)(*resolution != 0 ? *resolution : chips[which].adjustable ? 12 : chips[which].bits);
    *resolution = chips[which].adjustable ? d->bits : 0;
    d->points[0] = (point){.channel = {.name = "temperature", .unit = "Cel", .kind = DUNLIN_KIND_F64, .min = -128, .max = 128},
                           .size = 2,
                           .scale = 1};
  }
  for (uint32_t i = 0; table && i < given && status == 0; i++) {
    status = parse_point(&d->points[i], i, option_list_at(set, "registers", i), why);
    for (uint32_t j = 0; j < i && status == 0; j++) {
      if (strcmp(d->points[i].channel.name, d->points[j].channel.name) == 0) {
        explain_set(why, "registers[%u] name: %s is already taken", i, d->points[i].channel.name);
        status = -EINVAL;
      }
    }
  }
  return status;
}

static int32_t i2c_close(dunlin_device *d) {
  if (d->fd >= 0) {
    (void)close(d->fd);
  }
  free(d->points);
  free(d);
  return 0;
}

static int32_t i2c_open(const dunlin_option *options, uint32_t count, dunlin_text *why, dunlin_device **device) {
  option_set set = {options, count, ""};
  dunlin_device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    return -ENOMEM;
  }
  d->fd = -1;
  int64_t resolution = 0;
  int32_t status = parse(d, &set, &resolution, why);
  unsigned long functions = 0;
  if (status == 0 && (d->fd = open(d->bus, O_RDWR | O_CLOEXEC)) < 0) {
    int error = errno;
    explain_set(why, "bus: cannot open %s: %s", d->bus, strerror(error));
    status = error == ENOENT || error == ENXIO ? -ENODEV : -error;
  } else if (status == 0 && (ioctl(d->fd, I2C_FUNCS, &functions) < 0 || (functions & I2C_FUNC_I2C) == 0)) {
    explain_set(why, "bus: %s is not an I2C bus with combined transfers", d->bus);
    status = -ENOTSUP;
  } else if (status == 0 && resolution != 0 && (status = set_resolution(d, (unsigned)resolution)) != 0) {
    explain_set(why, "address: %s", d->failure);
  }
  if (status != 0) {
    (void)i2c_close(d);
    return status;
  }
  *device = d;
  return 0;
}

static int32_t i2c_channels(dunlin_device *d, dunlin_channel *out, uint32_t cap) {
  for (uint32_t i = 0; i < cap && i < d->count; i++) {
    out[i] = d->points[i].channel;
  }
  return (int32_t)d->count;
}

static void i2c_explain(dunlin_device *d, dunlin_text *why) { explain_set(why, "%s", d->failure); }

static const dunlin_option_spec specs[] = {
    {"bus", "I2C bus, as /dev/i2c-2 or 2.", NULL, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_REQUIRED, 0, 0},
    {"address", "7-bit address of the chip.", "0x48", DUNLIN_OPTION_INT, 0, 0x03, 0x77},
    {"chip", "lm75, tmp102, tmp105, tmp175, tmp75, ds1775, or registers.", "lm75", DUNLIN_OPTION_TEXT, 0, 0, 0},
    {"resolution", "Bits of a tmp105, tmp175, tmp75 or ds1775; 12 when absent.", NULL, DUNLIN_OPTION_INT, 0, 9, 12},
    {"registers", "Points, as tables of name, address, type, order, scale, offset, unit, mask, shift.", NULL,
     DUNLIN_OPTION_TEXT, DUNLIN_OPTION_LIST, 0, 0},
};

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    .struct_size = sizeof(dunlin_driver),
    .abi_major = DUNLIN_ABI_MAJOR,
    .abi_minor = DUNLIN_ABI_MINOR,
    .option_count = (uint32_t)COUNT_OF(specs),
    .id = "i2c",
    .version = "1.0.0",
    .summary = "LM75-family temperature sensors, or registers by table, over i2c-dev.",
    .options = specs,
    .open = i2c_open,
    .channels = i2c_channels,
    .read = i2c_read,
    .close = i2c_close,
    .explain = i2c_explain,
};
