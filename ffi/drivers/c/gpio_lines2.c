/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * gpio through libgpiod 2: one request for all lines, so that one descriptor brings all events, numbered and debounced
 * by the kernel (Linux 5.10 and later). */
#include "gpio_lines.h"

#ifndef GPIO_LIBGPIOD_1
#include <errno.h>
#include <stdlib.h>

#define EVENTS_MAX 64u
#define KERNEL_EVENTS 1024u /* the most that the kernel keeps: 16 a line of 64 */

const bool gpio_port_debounces = true;

struct gpio_port {
  struct gpiod_chip *chip;
  struct gpiod_line_request *request;
  struct gpiod_edge_event_buffer *events;
  gpio_line *lines;
  uint32_t count;
  bool watched;
  unsigned long seen[GPIO_LINES_MAX]; /* number of the last event of each line; the kernel counts from 1 */
};

static int add(struct gpiod_line_config *config, const gpio_line *want) {
  static const enum gpiod_line_edge edges[] = {GPIOD_LINE_EDGE_NONE, GPIOD_LINE_EDGE_RISING, GPIOD_LINE_EDGE_FALLING,
                                               GPIOD_LINE_EDGE_BOTH};
  static const enum gpiod_line_bias biases[] = {GPIOD_LINE_BIAS_AS_IS, GPIOD_LINE_BIAS_DISABLED,
                                                GPIOD_LINE_BIAS_PULL_UP, GPIOD_LINE_BIAS_PULL_DOWN};
  static const enum gpiod_line_drive drives[] = {GPIOD_LINE_DRIVE_PUSH_PULL, GPIOD_LINE_DRIVE_OPEN_DRAIN,
                                                 GPIOD_LINE_DRIVE_OPEN_SOURCE};
  struct gpiod_line_settings *settings = gpiod_line_settings_new();
  if (settings == NULL) {
    return ENOMEM;
  }
  /* None of these can fail: their values are of the header's own enumerations. */
  (void)gpiod_line_settings_set_direction(settings,
                                          want->output ? GPIOD_LINE_DIRECTION_OUTPUT : GPIOD_LINE_DIRECTION_INPUT);
  (void)gpiod_line_settings_set_edge_detection(settings, edges[want->edge]);
  (void)gpiod_line_settings_set_bias(settings, biases[want->bias]);
  (void)gpiod_line_settings_set_drive(settings, drives[want->drive]);
  (void)gpiod_line_settings_set_output_value(settings,
                                             want->initial ? GPIOD_LINE_VALUE_ACTIVE : GPIOD_LINE_VALUE_INACTIVE);
  gpiod_line_settings_set_active_low(settings, want->active_low);
  gpiod_line_settings_set_debounce_period_us(settings, (unsigned long)want->debounce_us);
  unsigned offset = want->offset;
  int status = gpiod_line_config_add_line_settings(config, &offset, 1, settings) != 0 ? errno : 0;
  gpiod_line_settings_free(settings);
  return status;
}

/* A request fails as a whole: says which line somebody else has, if one is. */
static int32_t blame(gpio_port *p, const char *path, int error, dunlin_text *why) {
  for (uint32_t i = 0; error == EBUSY && i < p->count; i++) {
    struct gpiod_line_info *info = gpiod_chip_get_line_info(p->chip, p->lines[i].offset);
    if (info == NULL) {
      break;
    }
    bool used = gpiod_line_info_is_used(info);
    if (used) {
      (void)gpio_explain_line(path, &p->lines[i], error, gpiod_line_info_get_consumer(info), why);
    }
    gpiod_line_info_free(info);
    if (used) {
      return -error;
    }
  }
  return gpio_explain_line(path, &p->lines[0], error, NULL, why);
}

static int32_t find(gpio_port *p, const char *path, dunlin_text *why) {
  struct gpiod_chip_info *info = gpiod_chip_get_info(p->chip);
  if (info == NULL) {
    return gpio_explain_chip(path, errno, why);
  }
  size_t lines = gpiod_chip_info_get_num_lines(info);
  gpiod_chip_info_free(info);
  for (uint32_t i = 0; i < p->count; i++) {
    int64_t offset = gpio_line_offset(p->lines[i].wanted);
    offset = offset >= 0 ? offset : gpiod_chip_get_line_offset_from_name(p->chip, p->lines[i].wanted);
    if (offset < 0 || (size_t)offset >= lines) {
      return gpio_explain_line(path, &p->lines[i], ENOENT, NULL, why);
    }
    p->lines[i].offset = (uint32_t)offset;
    p->watched = p->watched || p->lines[i].edge != EDGE_NONE;
  }
  return 0;
}

static int32_t request(gpio_port *p, const char *path, dunlin_text *why) {
  struct gpiod_line_config *config = gpiod_line_config_new();
  struct gpiod_request_config *how = gpiod_request_config_new();
  int error = config == NULL || how == NULL ? ENOMEM : 0;
  for (uint32_t i = 0; i < p->count && error == 0; i++) {
    error = add(config, &p->lines[i]);
  }
  int32_t status = -error;
  if (error == 0) {
    gpiod_request_config_set_consumer(how, GPIO_CONSUMER);
    gpiod_request_config_set_event_buffer_size(how, KERNEL_EVENTS);
    p->request = gpiod_chip_request_lines(p->chip, how, config);
    status = p->request == NULL ? blame(p, path, errno, why) : 0;
  }
  if (how != NULL) {
    gpiod_request_config_free(how);
  }
  if (config != NULL) {
    gpiod_line_config_free(config);
  }
  return status;
}

int32_t gpio_port_open(const char *path, gpio_line *lines, uint32_t count, dunlin_text *why, gpio_port **port) {
  gpio_port *p = calloc(1, sizeof *p);
  if (p == NULL) {
    return -ENOMEM;
  }
  p->lines = lines;
  p->count = count;
  p->chip = gpiod_chip_open(path);
  int32_t status = p->chip == NULL ? gpio_explain_chip(path, errno, why) : find(p, path, why);
  if (status == 0 && (p->events = gpiod_edge_event_buffer_new(EVENTS_MAX)) == NULL) {
    status = -ENOMEM;
  }
  if (status == 0) {
    status = request(p, path, why);
  }
  if (status != 0) {
    gpio_port_close(p);
    return status;
  }
  *port = p;
  return 0;
}

void gpio_port_close(gpio_port *port) {
  if (port == NULL) {
    return;
  }
  if (port->request != NULL) {
    gpiod_line_request_release(port->request);
  }
  if (port->events != NULL) {
    gpiod_edge_event_buffer_free(port->events);
  }
  if (port->chip != NULL) {
    gpiod_chip_close(port->chip);
  }
  free(port);
}

int32_t gpio_port_get(gpio_port *port, uint32_t line) {
  enum gpiod_line_value value = gpiod_line_request_get_value(port->request, port->lines[line].offset);
  return value == GPIOD_LINE_VALUE_ERROR ? -errno : value == GPIOD_LINE_VALUE_ACTIVE;
}

int32_t gpio_port_set(gpio_port *port, uint32_t line, bool active) {
  enum gpiod_line_value value = active ? GPIOD_LINE_VALUE_ACTIVE : GPIOD_LINE_VALUE_INACTIVE;
  return gpiod_line_request_set_value(port->request, port->lines[line].offset, value) != 0 ? -errno : 0;
}

nfds_t gpio_port_fds(gpio_port *port, struct pollfd *fds) {
  fds[0] = (struct pollfd){.fd = gpiod_line_request_get_fd(port->request), .events = POLLIN};
  return port->watched ? 1 : 0;
}

int32_t gpio_port_take(gpio_port *port, nfds_t index, gpio_event *out, uint32_t cap) {
  (void)index; /* there is one */
  int taken =
      gpiod_line_request_read_edge_events(port->request, port->events, cap < EVENTS_MAX ? cap : EVENTS_MAX);
  if (taken < 0) {
    return -errno;
  }
  for (int i = 0; i < taken; i++) {
    struct gpiod_edge_event *event = gpiod_edge_event_buffer_get_event(port->events, (unsigned long)i);
    uint32_t line = 0;
    while (line + 1 < port->count && port->lines[line].offset != gpiod_edge_event_get_line_offset(event)) {
      line++;
    }
    unsigned long number = gpiod_edge_event_get_line_seqno(event);
    out[i] = (gpio_event){.monotonic_ns = (int64_t)gpiod_edge_event_get_timestamp_ns(event),
                          .line = line,
                          .lost = (uint32_t)(number - port->seen[line] - 1),
                          .active = gpiod_edge_event_get_event_type(event) == GPIOD_EDGE_EVENT_RISING_EDGE};
    port->seen[line] = number;
  }
  return taken;
}
#endif
