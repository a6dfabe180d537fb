/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * can: a CAN interface by raw sockets (SocketCAN). Signals in frames become samples and can be written; frames themselves
 * become byte frames. What is not asked for is filtered in the kernel, which stamps what it lets through. */
#include "can_errors.h"
#include "can_signals.h"
#include "clock.h"
#include "options.h"

#include <dunlin/ext/actuate.h>
#include <dunlin/ext/frames.h>
#include <errno.h>
#include <linux/can.h>
#include <linux/can/raw.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIGNALS_MAX 512u /* as many filters as a socket takes, CAN_RAW_FILTER_MAX */
#define HEADER_BYTES 8u  /* in front of the payload of a byte frame */
#define QUEUE_BYTES (1 << 20)
#define FLAG_FDF 0x04 /* a frame of CAN FD: CANFD_FDF, which headers before Linux 5.14 lack */
#define ID_FLAGS (CAN_EFF_FLAG | CAN_RTR_FLAG)

typedef struct signal {
  dunlin_channel channel;
  signal_place place;
  canid_t id; /* with CAN_EFF_FLAG */
  double scale, offset;
  uint32_t frame_bytes;          /* of the frame that a write sends */
  uint32_t image;                /* index of the signal whose `data` is that frame */
  uint8_t data[CANFD_MAX_DLEN];  /* what was last written of all signals of that frame */
} signal;

/* A socket, and the frame that was last taken from it. */
typedef struct listener {
  int fd;
  bool held; /* `frame` is not done with */
  int gone;  /* an errno that waits for the frames before it, or 0 */
  int64_t stamp_ns;
  uint32_t dropped; /* by the kernel since the socket was made */
  uint32_t lost;    /* not yet reported */
  size_t size;      /* CAN_MTU or CANFD_MTU */
  struct canfd_frame frame;
} listener;

struct dunlin_device {
  char interface[IFNAMSIZ];
  char failure[200];
  bool fd, frames, bus_off, writes;
  int32_t pending; /* an error that came behind samples */
  listener signal_socket, frame_socket;
  uint32_t count, next_signal, filter_count;
  signal *signals;
  struct can_filter *filters; /* of frames */
};

static int32_t fail(dunlin_device *d, const char *what, int error) {
  (void)snprintf(d->failure, sizeof d->failure, "%s: %s: %s", d->interface, what, strerror(error));
  /* Down or unplugged: opened anew, because open says so for as long as that lasts. */
  return error == ENETDOWN || error == ENXIO || error == ENODEV ? -ENODEV : -error;
}

/* What an error frame says: 0 where nothing is wrong by it. */
static int32_t error_frame(dunlin_device *d, listener *l) {
  const uint8_t *data = l->frame.data;
  canid_t class = l->frame.can_id;
  if ((class & CAN_ERR_RESTARTED) != 0) {
    d->bus_off = false;
  }
  if ((class & CAN_ERR_CRTL) != 0 && (data[1] & CAN_ERR_CRTL_RX_OVERFLOW) != 0) {
    l->lost++; /* of the controller's own queue: at least one */
  }
  d->bus_off = d->bus_off || (class & CAN_ERR_BUSOFF) != 0;
  const char *what = can_error_text(class, data);
  if (what == NULL) {
    return 0;
  }
  (void)snprintf(d->failure, sizeof d->failure, "%s: %s", d->interface, what);
  return -EIO;
}

/* The kernel stamps with the wall clock: what counts is how long ago that was. A clock that is set meanwhile cannot take
 * a stamp before the one before it. */
static int64_t monotonic_stamp(const struct timespec *stamp, int64_t least_ns) {
  struct timespec wall;
  (void)clock_gettime(CLOCK_REALTIME, &wall); /* cannot fail, as in clock.h */
  int64_t now_ns = clock_now_ns();
  int64_t age_ns = (wall.tv_sec - stamp->tv_sec) * NS_PER_S + (wall.tv_nsec - stamp->tv_nsec);
  int64_t at_ns = age_ns < 0 ? now_ns : now_ns - age_ns;
  return at_ns > least_ns ? at_ns : least_ns;
}

/* Takes a frame: 1 if one is held now, 0 if none came, or a negated errno. */
static int32_t receive(dunlin_device *d, listener *l) {
  while (!l->held) {
    union {
      char bytes[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(uint32_t))];
      struct cmsghdr aligned;
    } control;
    struct iovec into = {&l->frame, sizeof l->frame};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(l->fd, &message, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || (errno != EAGAIN && l->gone == 0))) {
      l->gone = errno == EINTR ? l->gone : errno; /* said once, and ahead of the frames that came before */
      continue;
    }
    if (got < 0) {
      int error = l->gone;
      l->gone = 0;
      return error == 0 ? 0 : fail(d, "read", error);
    }
    struct timespec stamp;
    (void)clock_gettime(CLOCK_REALTIME, &stamp);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
        memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
      } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
        uint32_t dropped = 0;
        memcpy(&dropped, CMSG_DATA(c), sizeof dropped);
        l->lost += dropped - l->dropped;
        l->dropped = dropped;
      }
    }
    l->size = (size_t)got;
    l->stamp_ns = monotonic_stamp(&stamp, l->stamp_ns);
    if ((size_t)got != CAN_MTU && (size_t)got != CANFD_MTU) {
      continue; /* no kind of frame that was asked for */
    }
    if ((l->frame.can_id & CAN_ERR_FLAG) != 0) {
      int32_t status = error_frame(d, l);
      if (status != 0) {
        return status;
      }
      continue;
    }
    d->bus_off = false;
    l->held = true;
  }
  return 1;
}

/* As receive, waiting until until_ns. */
static int32_t next_frame(dunlin_device *d, listener *l, int64_t until_ns) {
  for (;;) {
    int32_t status = d->pending != 0 ? d->pending : receive(d, l);
    d->pending = 0;
    if (status != 0) {
      return status;
    }
    int64_t wait_ns = until_ns - clock_now_ns();
    if (wait_ns <= 0 || d->bus_off) {
      return d->bus_off ? -EIO : 0; /* explained when it went off; the host waits before it asks again */
    }
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S), .tv_nsec = (long)(wait_ns % NS_PER_S)};
    struct pollfd ready = {.fd = l->fd, .events = POLLIN};
    (void)ppoll(&ready, 1, &wait, NULL); /* whatever it says, receive knows better */
  }
}

/* What a read returns that ended with this status: what came before an error goes first. */
static int32_t settle(dunlin_device *d, uint32_t used, int32_t status) {
  d->pending = used > 0 && status < 0 ? status : 0;
  return used == 0 && status < 0 ? status : (int32_t)used;
}

static uint32_t take_lost(listener *l) {
  uint32_t lost = l->lost;
  l->lost = 0;
  return lost;
}

static int32_t can_read(dunlin_device *d, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  int64_t until_ns = clock_now_ns() + (int64_t)timeout_ms * NS_PER_MS;
  listener *l = &d->signal_socket;
  if (d->count == 0) {
    clock_sleep_until(until_ns);
    return 0;
  }
  uint32_t used = 0;
  while (used < cap) {
    int32_t status = next_frame(d, l, used > 0 ? 0 : until_ns);
    if (status <= 0) {
      return settle(d, used, status);
    }
    for (; d->next_signal < d->count && used < cap; d->next_signal++) {
      const signal *s = &d->signals[d->next_signal];
      if (s->id != l->frame.can_id) {
        continue;
      }
      double value = 0;
      bool whole = signal_bytes(&s->place) <= l->frame.len;
      if (whole) {
        value = signal_number(&s->place, signal_get(&s->place, l->frame.data)) * s->scale + s->offset;
      }
      bool good = whole && isfinite(value);
      out[used++] = (dunlin_sample){.monotonic_ns = l->stamp_ns,
                                    .value = {.f64 = good ? value : 0},
                                    .channel = d->next_signal,
                                    .quality = good ? DUNLIN_QUALITY_GOOD : DUNLIN_QUALITY_BAD,
                                    .lost = take_lost(l)};
    }
    if (d->next_signal == d->count) {
      d->next_signal = 0;
      l->held = false;
    }
  }
  return (int32_t)used;
}

static int32_t can_read_frames(dunlin_device *d, uint8_t *bytes, uint32_t bytes_cap, dunlin_frame *out, uint32_t cap,
                               uint32_t timeout_ms) {
  int64_t until_ns = clock_now_ns() + (int64_t)timeout_ms * NS_PER_MS;
  listener *l = &d->frame_socket;
  if (!d->frames) {
    clock_sleep_until(until_ns);
    return 0;
  }
  uint32_t used = 0, offset = 0;
  while (used < cap) {
    int32_t status = next_frame(d, l, used > 0 ? 0 : until_ns);
    if (status <= 0) {
      return settle(d, used, status);
    }
    const struct canfd_frame *f = &l->frame;
    uint32_t payload = f->len <= CANFD_MAX_DLEN ? f->len : CANFD_MAX_DLEN;
    uint32_t length = HEADER_BYTES + ((f->can_id & CAN_RTR_FLAG) != 0 ? 0 : payload);
    if (length > bytes_cap - offset) {
      return used > 0 ? (int32_t)used : -EMSGSIZE;
    }
    /* As LINKTYPE_CAN_SOCKETCAN of pcap has it: identifier and flags in network order, length, flags of CAN FD. */
    const uint8_t header[HEADER_BYTES] = {(uint8_t)(f->can_id >> 24),
                                          (uint8_t)(f->can_id >> 16),
                                          (uint8_t)(f->can_id >> 8),
                                          (uint8_t)f->can_id,
                                          (uint8_t)payload,
                                          (uint8_t)(l->size == CANFD_MTU ? f->flags | FLAG_FDF : 0)};
    memcpy(bytes + offset, header, HEADER_BYTES);
    memcpy(bytes + offset + HEADER_BYTES, f->data, length - HEADER_BYTES);
    out[used++] = (dunlin_frame){.monotonic_ns = l->stamp_ns,
                                 .offset = offset,
                                 .length = length,
                                 .channel = d->count,
                                 .lost = take_lost(l)};
    offset += length;
    l->held = false;
  }
  return (int32_t)used;
}

static int32_t can_write(dunlin_device *d, uint32_t channel, const dunlin_value *value, uint32_t timeout_ms) {
  (void)timeout_ms; /* the kernel takes a frame at once, or has no room for it */
  d->failure[0] = '\0';
  if (channel >= d->count || (d->signals[channel].channel.flags & DUNLIN_CHANNEL_WRITABLE) == 0 ||
      value->kind != DUNLIN_KIND_F64) {
    (void)snprintf(d->failure, sizeof d->failure, "channel %u takes no such write", channel);
    return -EINVAL;
  }
  const signal *s = &d->signals[channel];
  signal *image = &d->signals[s->image];
  double number = (value->value.f64 - s->offset) / s->scale;
  if (s->place.type != SIGNAL_FLOAT) {
    number = rint(number);
  }
  if (!isfinite(number) || (s->place.type != SIGNAL_FLOAT &&
                            (number < signal_least(&s->place) || number > signal_most(&s->place)))) {
    (void)snprintf(d->failure, sizeof d->failure, "%s: %g does not fit %u bits", s->channel.name, value->value.f64,
                   s->place.length);
    return -ERANGE;
  }
  struct canfd_frame frame;
  memset(&frame, 0, sizeof frame);
  frame.can_id = s->id;
  frame.len = (uint8_t)s->frame_bytes;
  memcpy(frame.data, image->data, sizeof frame.data);
  signal_put(&s->place, frame.data, signal_raw(&s->place, number));
  ssize_t sent = write(d->signal_socket.fd, &frame, s->frame_bytes > CAN_MAX_DLEN ? CANFD_MTU : CAN_MTU);
  if (sent < 0) {
    int error = errno == ENOBUFS ? EAGAIN : errno; /* the queue is full: nobody takes what is in it */
    return fail(d, s->channel.name, error);
  }
  memcpy(image->data, frame.data, sizeof frame.data);
  return 0;
}

/* `id`, and whether it has 29 bits: where it needs them, or is said to. */
static int32_t parse_id(const option_set *set, canid_t *id, dunlin_text *why) {
  int64_t number = 0;
  bool extended = false;
  int32_t status = 0;
  if ((status = option_integer(set, "id", -1, 0, CAN_EFF_MASK, &number, why)) != 0) {
    return status;
  }
  if (number < 0) {
    explain_set(why, "%sid: is missing", set->where);
    return -EINVAL;
  }
  if ((status = option_flag(set, "extended", number > CAN_SFF_MASK, &extended, why)) != 0) {
    return status;
  }
  if (!extended && number > CAN_SFF_MASK) {
    explain_set(why, "%sid: 0x%llx has more than 11 bits", set->where, (unsigned long long)number);
    return -EINVAL;
  }
  *id = (canid_t)number | (extended ? CAN_EFF_FLAG : 0);
  return 0;
}

static int32_t parse_signal(dunlin_device *d, uint32_t index, const char *text, dunlin_text *why) {
  static const char *const keys[] = {"name", "id",    "extended", "start", "length",   "order",
                                     "type", "scale", "offset",   "unit",  "writable", "frame_bytes"};
  static const char *const orders[] = {"little", "big"};
  static const char *const types[] = {"unsigned", "signed", "float"};
  signal *s = &d->signals[index];
  dunlin_channel *c = &s->channel;
  option_table t;
  size_t order = 0, type = 0;
  int64_t start = 0, length = 0, frame_bytes = 0;
  bool writable = false;
  int64_t bits = d->fd ? 8 * CANFD_MAX_DLEN : 8 * CAN_MAX_DLEN;
  int32_t status = option_table_parse(&t, "signals", index, text, keys, COUNT_OF(keys), why);
  if (status != 0 || (status = option_channel_name(&t.set, "name", NULL, c->name, sizeof c->name, why)) != 0 ||
      (status = parse_id(&t.set, &s->id, why)) != 0 ||
      (status = option_integer(&t.set, "start", 0, 0, bits - 1, &start, why)) != 0 ||
      (status = option_integer(&t.set, "length", 8, 1, 64, &length, why)) != 0 ||
      (status = option_choice(&t.set, "order", orders, COUNT_OF(orders), 0, &order, why)) != 0 ||
      (status = option_choice(&t.set, "type", types, COUNT_OF(types), 0, &type, why)) != 0 ||
      (status = option_number(&t.set, "scale", 1, -1e12, 1e12, &s->scale, why)) != 0 ||
      (status = option_number(&t.set, "offset", 0, -1e12, 1e12, &s->offset, why)) != 0 ||
      (status = option_copy(&t.set, "unit", "1", c->unit, sizeof c->unit, why)) != 0 ||
      (status = option_flag(&t.set, "writable", false, &writable, why)) != 0 ||
      (status = option_integer(&t.set, "frame_bytes", 8, 1, bits / 8, &frame_bytes, why)) != 0) {
    return status;
  }
  s->place = (signal_place){(uint32_t)start, (uint32_t)length, order == 1, (signal_type)type};
  s->frame_bytes = (uint32_t)frame_bytes;
  const char *wrong =
      option_find(&t.set, "start") == NULL                        ? "start: is missing"
      : option_find(&t.set, "length") == NULL                     ? "length: is missing"
      : s->scale == 0                                             ? "scale: is 0"
      : type == SIGNAL_FLOAT && length != 32 && length != 64      ? "length: a float has 32 or 64 bits"
      : signal_bytes(&s->place) > bits / 8                        ? "length: reaches past the end of a frame"
      : !writable && option_find(&t.set, "frame_bytes") != NULL   ? "frame_bytes: goes with writable"
      : writable && signal_bytes(&s->place) > s->frame_bytes      ? "frame_bytes: is too short for the signal"
      : !is_frame_length(frame_bytes)                             ? "frame_bytes: is no length of a CAN FD frame"
                                                                  : NULL;
  s->image = index;
  for (uint32_t i = 0; i < index && wrong == NULL; i++) {
    const signal *other = &d->signals[i];
    bool same_frame = writable && (other->channel.flags & DUNLIN_CHANNEL_WRITABLE) != 0 && other->id == s->id;
    if (strcmp(other->channel.name, c->name) == 0) {
      wrong = "name: is already taken";
    } else if (same_frame && other->frame_bytes != s->frame_bytes) {
      wrong = "frame_bytes: differs from that of another signal of this frame";
    } else if (same_frame && s->image == index) {
      s->image = other->image;
    }
  }
  if (wrong != NULL) {
    explain_set(why, "%s%s", t.where, wrong);
    return -EINVAL;
  }
  double ends[2] = {signal_least(&s->place) * s->scale + s->offset, signal_most(&s->place) * s->scale + s->offset};
  c->kind = DUNLIN_KIND_F64;
  c->flags = writable ? DUNLIN_CHANNEL_WRITABLE : 0;
  c->min = type == SIGNAL_FLOAT ? -INFINITY : fmin(ends[0], ends[1]);
  c->max = type == SIGNAL_FLOAT ? INFINITY : fmax(ends[0], ends[1]);
  d->writes = d->writes || writable;
  return 0;
}

static int32_t parse_filter(dunlin_device *d, uint32_t index, const char *text, dunlin_text *why) {
  static const char *const keys[] = {"id", "mask", "extended"};
  option_table t;
  canid_t id = 0;
  int64_t mask = 0;
  int32_t status = option_table_parse(&t, "filters", index, text, keys, COUNT_OF(keys), why);
  if (status != 0 || (status = parse_id(&t.set, &id, why)) != 0 ||
      (status = option_integer(&t.set, "mask", CAN_EFF_MASK, 0, CAN_EFF_MASK, &mask, why)) != 0) {
    return status;
  }
  d->filters[index] = (struct can_filter){id, (canid_t)mask | CAN_EFF_FLAG};
  return 0;
}

static int32_t parse(dunlin_device *d, const option_set *set, dunlin_text *why) {
  int32_t status = 0;
  if ((status = option_copy(set, "interface", NULL, d->interface, sizeof d->interface, why)) != 0 ||
      (status = option_flag(set, "fd", false, &d->fd, why)) != 0 ||
      (status = option_flag(set, "frames", false, &d->frames, why)) != 0) {
    return status;
  }
  d->count = option_list_count(set, "signals");
  d->filter_count = option_list_count(set, "filters");
  if (d->count > SIGNALS_MAX || d->filter_count > CAN_RAW_FILTER_MAX || (d->count == 0 && !d->frames)) {
    explain_set(why, d->filter_count > CAN_RAW_FILTER_MAX ? "filters: %u given; at most %u are possible"
                                                          : "signals: %u given; 1 to %u, or frames = true",
                d->filter_count > CAN_RAW_FILTER_MAX ? d->filter_count : d->count, SIGNALS_MAX);
    return -EINVAL;
  }
  if (d->filter_count > 0 && !d->frames) {
    explain_set(why, "filters: go with frames = true; signals are filtered by their ids");
    return -EINVAL;
  }
  d->signals = calloc(d->count + 1u, sizeof *d->signals);
  d->filters = calloc(d->filter_count + 1u, sizeof *d->filters);
  if (d->signals == NULL || d->filters == NULL) {
    return -ENOMEM;
  }
  for (uint32_t i = 0; i < d->count && status == 0; i++) {
    status = parse_signal(d, i, option_list_at(set, "signals", i), why);
  }
  for (uint32_t i = 0; i < d->filter_count && status == 0; i++) {
    status = parse_filter(d, i, option_list_at(set, "filters", i), why);
  }
  return status;
}

/* The interface as it is now: its index, or a negated errno. */
static int32_t find_interface(const dunlin_device *d, int fd, dunlin_text *why) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  memcpy(request.ifr_name, d->interface, sizeof request.ifr_name);
  if (ioctl(fd, SIOCGIFFLAGS, &request) != 0) {
    int error = errno;
    explain_set(why, "interface: %s: %s", d->interface, strerror(error));
    return error == ENXIO ? -ENODEV : -error;
  }
  if ((request.ifr_flags & IFF_UP) == 0) {
    explain_set(why, "interface: %s is down: ip link set %s up", d->interface, d->interface);
    return -ENETDOWN;
  }
  if (d->fd && (ioctl(fd, SIOCGIFMTU, &request) != 0 || request.ifr_mtu < (int)CANFD_MTU)) {
    explain_set(why, "fd: %s is not set up for CAN FD: ip link set %s type can fd on", d->interface, d->interface);
    return -ENOTSUP;
  }
  if (ioctl(fd, SIOCGIFINDEX, &request) != 0) {
    int error = errno;
    explain_set(why, "interface: %s: %s", d->interface, strerror(error));
    return -error;
  }
  return request.ifr_ifindex;
}

/* Makes a socket with these filters, of which NULL is all frames. */
static int32_t listen_to(dunlin_device *d, listener *l, const struct can_filter *filters, uint32_t count, bool errors,
                         dunlin_text *why) {
  l->fd = socket(AF_CAN, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, CAN_RAW);
  if (l->fd < 0) {
    int error = errno;
    bool refused = error == EPERM || error == ENOSYS;
    explain_set(why, "interface: no socket: %s; %s", strerror(error),
                refused ? "it needs grants = { can = [...] }" : "does the kernel have can-raw, and the unit AF_CAN?");
    return refused ? -EPERM : error == EAFNOSUPPORT || error == EPROTONOSUPPORT ? -ENOTSUP : -error;
  }
  int on = 1, queue = QUEUE_BYTES, own = d->writes;
  can_err_mask_t error_mask = errors ? ERRORS : 0;
  if ((count > 0 && setsockopt(l->fd, SOL_CAN_RAW, CAN_RAW_FILTER, filters, count * (socklen_t)sizeof *filters) != 0) ||
      setsockopt(l->fd, SOL_CAN_RAW, CAN_RAW_ERR_FILTER, &error_mask, sizeof error_mask) != 0 ||
      setsockopt(l->fd, SOL_CAN_RAW, CAN_RAW_RECV_OWN_MSGS, &own, sizeof own) != 0 ||
      (d->fd && setsockopt(l->fd, SOL_CAN_RAW, CAN_RAW_FD_FRAMES, &on, sizeof on) != 0) ||
      setsockopt(l->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
      setsockopt(l->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) != 0 ||
      setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &queue, sizeof queue) != 0) {
    int error = errno;
    explain_set(why, "interface: the socket cannot be set: %s", strerror(error));
    return -error;
  }
  int32_t index = find_interface(d, l->fd, why);
  if (index < 0) {
    return index;
  }
  struct sockaddr_can address;
  memset(&address, 0, sizeof address);
  address.can_family = AF_CAN;
  address.can_ifindex = index;
  l->stamp_ns = clock_now_ns();
  if (bind(l->fd, (struct sockaddr *)&address, sizeof address) != 0) {
    int error = errno;
    explain_set(why, "interface: %s: %s", d->interface, error == ENODEV ? "is not a CAN interface" : strerror(error));
    return error == ENODEV ? -ENOTSUP : -error;
  }
  return 0;
}

/* One filter for each frame that holds a signal. */
static int32_t listen_to_signals(dunlin_device *d, dunlin_text *why) {
  struct can_filter *filters = calloc(d->count, sizeof *filters);
  if (filters == NULL) {
    return -ENOMEM;
  }
  uint32_t count = 0;
  for (uint32_t i = 0; i < d->count; i++) {
    uint32_t known = 0;
    while (known < count && filters[known].can_id != d->signals[i].id) {
      known++;
    }
    if (known == count) {
      filters[count++] = (struct can_filter){d->signals[i].id, CAN_EFF_MASK | ID_FLAGS};
    }
  }
  int32_t status = listen_to(d, &d->signal_socket, filters, count, true, why);
  free(filters);
  return status;
}

static int32_t can_close(dunlin_device *d) {
  const listener *const both[] = {&d->signal_socket, &d->frame_socket};
  for (size_t i = 0; i < COUNT_OF(both); i++) {
    if (both[i]->fd >= 0) {
      (void)close(both[i]->fd);
    }
  }
  free(d->signals);
  free(d->filters);
  free(d);
  return 0;
}

static int32_t can_open(const dunlin_option *options, uint32_t count, dunlin_text *why, dunlin_device **device) {
  option_set set = {options, count, ""};
  dunlin_device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    return -ENOMEM;
  }
  d->signal_socket.fd = d->frame_socket.fd = -1;
  int32_t status = parse(d, &set, why);
  if (status == 0 && d->count > 0) {
    status = listen_to_signals(d, why);
  }
  if (status == 0 && d->frames) {
    status = listen_to(d, &d->frame_socket, d->filters, d->filter_count, d->count == 0, why);
  }
  if (status != 0) {
    (void)can_close(d);
    return status;
  }
  *device = d;
  return 0;
}

static int32_t can_channels(dunlin_device *d, dunlin_channel *out, uint32_t cap) {
  for (uint32_t i = 0; i < cap && i < d->count; i++) {
    out[i] = d->signals[i].channel;
  }
  if (d->frames && d->count < cap) {
    out[d->count] =
        (dunlin_channel){.name = "frames", .unit = "1", .kind = DUNLIN_KIND_FRAME, .min = -INFINITY, .max = INFINITY};
  }
  return (int32_t)d->count + (d->frames ? 1 : 0);
}

static void can_explain(dunlin_device *d, dunlin_text *why) { explain_set(why, "%s", d->failure); }

static const void *can_extension(const char *id) {
  static const dunlin_frames_1 frames = {sizeof frames, HEADER_BYTES + CANFD_MAX_DLEN, can_read_frames};
  static const dunlin_actuate_1 actuate = {sizeof actuate, 0, can_write};
  if (strcmp(id, DUNLIN_FRAMES_1) == 0) {
    return &frames;
  }
  return strcmp(id, DUNLIN_ACTUATE_1) == 0 ? &actuate : NULL;
}

static const dunlin_option_spec specs[] = {
    {"interface", "CAN interface, such as can0.", NULL, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_REQUIRED, 0, 0},
    {"signals",
     "Numbers in frames, as tables of name, id, extended, start, length, order, type, scale, offset, unit, writable, "
     "frame_bytes.",
     NULL, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_LIST, 0, 0},
    {"frames", "Whether a channel of byte frames is offered.", "false", DUNLIN_OPTION_BOOL, 0, 0, 0},
    {"filters", "Which frames, as tables of id, mask, extended; all when absent.", NULL, DUNLIN_OPTION_TEXT,
     DUNLIN_OPTION_LIST, 0, 0},
    {"fd", "Whether frames of CAN FD are taken, with up to 64 bytes.", "false", DUNLIN_OPTION_BOOL, 0, 0, 0},
};

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    .struct_size = sizeof(dunlin_driver),
    .abi_major = DUNLIN_ABI_MAJOR,
    .abi_minor = DUNLIN_ABI_MINOR,
    .flags = DUNLIN_DRIVER_PACED,
    .option_count = (uint32_t)COUNT_OF(specs),
    .id = "can",
    .version = "1.0.0",
    .summary = "Signals and frames of a CAN interface, by SocketCAN.",
    .options = specs,
    .open = can_open,
    .channels = can_channels,
    .read = can_read,
    .close = can_close,
    .explain = can_explain,
    .get_extension = can_extension,
};
