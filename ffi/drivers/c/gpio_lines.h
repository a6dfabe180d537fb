/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Lines of one GPIO chip through libgpiod. Two implementations, of which the installed header chooses one when it is
 * compiled: gpio_lines1.c for libgpiod 1.5 and later, gpio_lines2.c for libgpiod 2. */
#ifndef DUNLIN_DRIVERS_GPIO_LINES_H
#define DUNLIN_DRIVERS_GPIO_LINES_H

#include <dunlin/driver.h>
#include <gpiod.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef GPIOD_LINE_BULK_MAX_LINES /* version 1 has bulks of lines, version 2 has requests of lines */
#define GPIO_LIBGPIOD_1
#endif

#define GPIO_LINES_MAX 64u /* of one kernel request: GPIO_V2_LINES_MAX in linux/gpio.h */
#define GPIO_CONSUMER "dunlin"

typedef enum gpio_edge { EDGE_NONE, EDGE_RISING, EDGE_FALLING, EDGE_BOTH } gpio_edge;
typedef enum gpio_bias { BIAS_AS_IS, BIAS_DISABLED, BIAS_PULL_UP, BIAS_PULL_DOWN } gpio_bias;
typedef enum gpio_drive { DRIVE_PUSH_PULL, DRIVE_OPEN_DRAIN, DRIVE_OPEN_SOURCE } gpio_drive;

/* How one line is wanted. Levels are logical: active_low turns them round. */
typedef struct gpio_line {
  char wanted[33]; /* an offset in decimal, or the name that the chip gives the line; 32 bytes are the kernel's limit */
  uint32_t offset; /* set by gpio_port_open */
  bool output, active_low, initial;
  gpio_edge edge;
  gpio_bias bias;
  gpio_drive drive;
  int64_t debounce_us;
} gpio_line;

/* One edge as the kernel reports it. */
typedef struct gpio_event {
  int64_t monotonic_ns;
  uint32_t line; /* index into the lines that were requested */
  uint32_t lost; /* edges of this line just before this one */
  bool active;   /* the level after it */
  bool overrun;  /* whether edges after it may have been lost, where the library does not number them */
} gpio_event;

typedef struct gpio_port gpio_port;

/* Whether the kernel debounces on behalf of this library, or the driver has to. */
extern const bool gpio_port_debounces;

/* Opens the chip and requests the lines. 0, or a negated errno with the reason in *why. `lines` must outlive the port. */
int32_t gpio_port_open(const char *path, gpio_line *lines, uint32_t count, dunlin_text *why, gpio_port **port);
void gpio_port_close(gpio_port *port);
/* 0 or 1, or a negated errno. */
int32_t gpio_port_get(gpio_port *port, uint32_t line);
/* 0, or a negated errno. */
int32_t gpio_port_set(gpio_port *port, uint32_t line, bool active);
/* Where events arrive: fills at most GPIO_LINES_MAX descriptors to poll for POLLIN, and returns how many. */
nfds_t gpio_port_fds(gpio_port *port, struct pollfd *fds);
/* Takes events from the index-th of these descriptors, which must be readable. A count, or a negated errno. */
int32_t gpio_port_take(gpio_port *port, nfds_t index, gpio_event *out, uint32_t cap);

/* Whether `wanted` is an offset: the offset, or -1. */
int64_t gpio_line_offset(const char *wanted);
/* What opening the chip, or requesting a line of it, failed with. Returns the negated errno for open. */
int32_t gpio_explain_chip(const char *path, int error, dunlin_text *why);
int32_t gpio_explain_line(const char *path, const gpio_line *line, int error, const char *consumer, dunlin_text *why);

#endif
