/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * gpio through libgpiod 1.5 and later: each line is requested for itself, since one request has one direction, one kind
 * of edge and one set of flags for all its lines. Events of this library carry no sequence number. */
#include "gpio_lines.h"

#ifdef GPIO_LIBGPIOD_1
#include <errno.h>
#include <stdlib.h>

#define EVENTS_MAX 16 /* of one line: what the kernel keeps for the first version of its interface */

const bool gpio_port_debounces = false;

struct gpio_port {
  struct gpiod_chip *chip;
  uint32_t count;
  struct gpiod_line *lines[GPIO_LINES_MAX];
  uint32_t watched_count;
  uint32_t watched[GPIO_LINES_MAX]; /* indices of lines with edges */
};

static int request(struct gpiod_line *line, const gpio_line *want) {
  static const int edges[] = {GPIOD_LINE_REQUEST_DIRECTION_INPUT, GPIOD_LINE_REQUEST_EVENT_RISING_EDGE,
                              GPIOD_LINE_REQUEST_EVENT_FALLING_EDGE, GPIOD_LINE_REQUEST_EVENT_BOTH_EDGES};
  static const int biases[] = {0, GPIOD_LINE_REQUEST_FLAG_BIAS_DISABLE, GPIOD_LINE_REQUEST_FLAG_BIAS_PULL_UP,
                               GPIOD_LINE_REQUEST_FLAG_BIAS_PULL_DOWN};
  static const int drives[] = {0, GPIOD_LINE_REQUEST_FLAG_OPEN_DRAIN, GPIOD_LINE_REQUEST_FLAG_OPEN_SOURCE};
  /* Whoever debounces needs to see every edge, also those that are not asked for. */
  gpio_edge edge = want->edge != EDGE_NONE && want->debounce_us > 0 ? EDGE_BOTH : want->edge;
  const struct gpiod_line_request_config config = {
      .consumer = GPIO_CONSUMER,
      .request_type = want->output ? GPIOD_LINE_REQUEST_DIRECTION_OUTPUT : edges[edge],
      .flags = biases[want->bias] | drives[want->drive] | (want->active_low ? GPIOD_LINE_REQUEST_FLAG_ACTIVE_LOW : 0)};
  return gpiod_line_request(line, &config, want->initial ? 1 : 0);
}

int32_t gpio_port_open(const char *path, gpio_line *lines, uint32_t count, dunlin_text *why, gpio_port **port) {
  gpio_port *p = calloc(1, sizeof *p);
  if (p == NULL) {
    return -ENOMEM;
  }
  errno = 0;
  p->chip = gpiod_chip_open(path);
  int32_t status = p->chip == NULL ? gpio_explain_chip(path, errno, why) : 0;
  for (uint32_t i = 0; i < count && status == 0; i++) {
    gpio_line *want = &lines[i];
    int64_t offset = gpio_line_offset(want->wanted);
    errno = 0;
    struct gpiod_line *line =
        offset >= 0 ? gpiod_chip_get_line(p->chip, (unsigned)offset) : gpiod_chip_find_line(p->chip, want->wanted);
    if (line == NULL) {
      int error = errno == ENOMEM ? ENOMEM : ENOENT;
      status = gpio_explain_line(path, want, error, NULL, why);
    } else if (request(line, want) != 0) {
      int error = errno;
      status = gpio_explain_line(path, want, error, gpiod_line_consumer(line), why);
    } else {
      want->offset = gpiod_line_offset(line);
      p->lines[p->count++] = line;
      if (want->edge != EDGE_NONE) {
        p->watched[p->watched_count++] = i;
      }
    }
  }
  if (status != 0) {
    gpio_port_close(p);
    return status;
  }
  *port = p;
  return 0;
}

void gpio_port_close(gpio_port *port) {
  if (port != NULL && port->chip != NULL) {
    gpiod_chip_close(port->chip); /* releases its lines */
  }
  free(port);
}

int32_t gpio_port_get(gpio_port *port, uint32_t line) {
  int value = gpiod_line_get_value(port->lines[line]);
  return value < 0 ? -errno : value;
}

int32_t gpio_port_set(gpio_port *port, uint32_t line, bool active) {
  return gpiod_line_set_value(port->lines[line], active ? 1 : 0) != 0 ? -errno : 0;
}

nfds_t gpio_port_fds(gpio_port *port, struct pollfd *fds) {
  for (uint32_t i = 0; i < port->watched_count; i++) {
    fds[i] = (struct pollfd){.fd = gpiod_line_event_get_fd(port->lines[port->watched[i]]), .events = POLLIN};
  }
  return port->watched_count;
}

/* An edge that finds the queue full is dropped by the kernel, and nothing says so. A full queue is therefore taken as
 * one edge lost after it: the level may be another one by now. */
int32_t gpio_port_take(gpio_port *port, nfds_t index, gpio_event *out, uint32_t cap) {
  uint32_t line = port->watched[index];
  struct gpiod_line_event events[EVENTS_MAX];
  int taken = gpiod_line_event_read_multiple(port->lines[line], events, cap < EVENTS_MAX ? cap : EVENTS_MAX);
  if (taken < 0) {
    return -errno;
  }
  for (int i = 0; i < taken; i++) {
    out[i] = (gpio_event){.monotonic_ns = (int64_t)events[i].ts.tv_sec * INT64_C(1000000000) + events[i].ts.tv_nsec,
                          .line = line,
                          .active = events[i].event_type == GPIOD_LINE_EVENT_RISING_EDGE};
  }
  if (taken == EVENTS_MAX) {
    out[taken - 1].overrun = true;
  }
  return taken;
}
#endif
