/*
 * Part of hostile.c: ways from a driver that may connect to one address to another one, each of which the gate or the
 * sandbox must close.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
static int32_t denied(long answer, const char *what) {
  int error = errno;
  if (answer >= 0) {
    fprintf(stderr, "ESCAPED: %s\n", what);
    return -EEXIST; /* no sandbox says this */
  }
  return -error;
}

/* "192.0.2.1:502" or "[::1]:502"; something where there is nothing. */
static socklen_t address_of(const char *text, struct sockaddr_storage *to) {
  struct sockaddr_in *four = (struct sockaddr_in *)to;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
  const char *colon;
  char ip[64] = "";
  int bracket = text[0] == '[';
  if (text[0] == 0) text = "127.0.0.1:9";
  colon = strrchr(text, ':');
  memset(to, 0, sizeof *to);
  if (colon == NULL || (size_t)(colon - text) >= sizeof ip) return 0;
  memcpy(ip, text + bracket, (size_t)(colon - text) - (bracket ? 2 : 0));
  if (bracket) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)atoi(colon + 1));
    return inet_pton(AF_INET6, ip, &six->sin6_addr) == 1 ? (socklen_t)sizeof *six : 0;
  }
  four->sin_family = AF_INET;
  four->sin_port = htons((uint16_t)atoi(colon + 1));
  return inet_pton(AF_INET, ip, &four->sin_addr) == 1 ? (socklen_t)sizeof *four : 0;
}

static struct sockaddr_in swapped;

static void *swap_for_ever(void *arg) {
  volatile unsigned char *last = (unsigned char *)&swapped.sin_addr + 3;
  for (;;) *last ^= 3; /* 127.0.0.1, 127.0.0.2, ... */
  return arg;
}

/* Connects again and again while another thread changes the address between one that is granted and one that is not. */
static int32_t swap_address(void) {
  int n, made = 0;
  time_t end = time(NULL) + 4; /* of a machine whose every CPU is in use */
  pthread_t thread;
  if (pthread_create(&thread, NULL, swap_for_ever, NULL) != 0) return -ENOMEM;
  for (n = 0; n < 3000 && time(NULL) < end; n++) {
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&swapped, sizeof swapped) == 0) {
      made++;
      if (getpeername(fd, (struct sockaddr *)&peer, &length) != 0) return -errno;
      if (peer.sin_addr.s_addr != htonl(INADDR_LOOPBACK)) return denied(0, "connect to an address that was swapped in");
    }
    close(fd);
  }
  return made > 0 && made < n ? -EALREADY : -ENODATA; /* both were met */
}

/* A socket that does not block, with an option: both are still so after the connection, which is seen by waiting. */
static int32_t connect_later(const struct sockaddr *to, socklen_t length) {
  struct pollfd ready = {0, POLLOUT, 0};
  int on = 1, error = 0;
  socklen_t size = sizeof on;
  ready.fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (ready.fd < 0) return -errno;
  if (setsockopt(ready.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) return -errno;
  if (connect(ready.fd, to, length) != 0 && errno != EINPROGRESS) return -errno;
  if (poll(&ready, 1, 2000) != 1) return -ETIMEDOUT;
  if (getsockopt(ready.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) return -error;
  on = 0;
  if (getsockopt(ready.fd, IPPROTO_TCP, TCP_NODELAY, &on, &size) != 0 || on == 0) return -EBADF;
  if ((fcntl(ready.fd, F_GETFL) & O_NONBLOCK) == 0 || (fcntl(ready.fd, F_GETFD) & FD_CLOEXEC) == 0) return -EBADF;
  return -EISCONN;
}

/* Ways to another address than one that is granted, from a socket that may be had. */
static int32_t reach_address(const dunlin_device *self) {
  struct sockaddr_storage to;
  struct sockaddr *address = (struct sockaddr *)&to;
  socklen_t length = address_of(self->arg, &to);
  int fd, copy;
  if (is(self, "net-raw")) return denied(socket(AF_INET, SOCK_RAW, IPPROTO_TCP), "raw socket");
  if (is(self, "net-udp")) return denied(socket(AF_INET6, SOCK_DGRAM, 0), "datagrams");
  if (length == 0) return -EBADF;
  if (is(self, "net-swap")) {
    swapped = *(struct sockaddr_in *)address;
    return swap_address();
  }
  if (is(self, "net-later")) return connect_later(address, length);
  fd = socket(address->sa_family, SOCK_STREAM, 0);
  if (fd < 0) return -errno;
  if (is(self, "net-connect")) return connect(fd, address, length) == 0 ? -EISCONN : -errno;
  if (is(self, "net-short")) return denied(connect(fd, address, length - 1), "connect to half an address");
  if (is(self, "net-wild")) return denied(connect(fd, (struct sockaddr *)8, length), "connect to no address");
  if (is(self, "net-unspec")) {
    address->sa_family = AF_UNSPEC;
    return denied(connect(fd, address, length), "disconnect");
  }
  if (is(self, "net-copy")) { /* a number that the socket was not made under */
    copy = dup(fd);
    return denied(connect(copy, address, length), "connect a copy");
  }
  if (is(self, "net-fastopen")) return denied(sendto(fd, "x", 1, MSG_FASTOPEN, address, length), "fast open");
  if (is(self, "net-fastopen-message")) {
    struct iovec byte = {(void *)"x", 1};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_name = address;
    message.msg_namelen = length;
    message.msg_iov = &byte;
    message.msg_iovlen = 1;
    return denied(sendmsg(fd, &message, MSG_FASTOPEN), "fast open by sendmsg");
  }
  if (is(self, "net-send")) return denied(sendto(fd, "x", 1, MSG_NOSIGNAL, address, length), "send to an address");
  if (is(self, "net-route")) { /* a loose source route: there first */
    unsigned char route[8] = {131, 7, 4, 127, 0, 0, 2, 0};
    return denied(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, route, sizeof route), "source route");
  }
  if (is(self, "net-device")) return denied(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), "another interface");
  if (is(self, "net-bind")) return denied(bind(fd, address, length), "bind");
  if (is(self, "net-listen")) return denied(listen(fd, 1), "listen");
  return -EBADF;
}
