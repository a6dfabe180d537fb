/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * i2c_bus COMMAND [ARGUMENT ...]: runs a command whose I2C_FUNCS and I2C_RDWR requests are answered here, as an adapter
 * with chips would. The command makes its real system calls on a real character device (/dev/null will do); seccomp
 * hands those two requests over (seccomp_unotify(2), Linux 5.0, no privilege needed) and this process, the parent,
 * reads and writes the messages in the command's memory. For machines whose kernel has neither i2c-stub nor CUSE.
 *
 * Chips: 0x48 a TMP105 as its data sheet describes it (SBOS400: pointer, temperature, configuration, two limits; 9 bits
 * at power-on, low bits zero), 0x49 an LM75 that leaves the bits below its resolution undefined (ones), 0x20 a chip of
 * 256 registers, each holding its address times 7, pointer counting up. All other addresses are not acknowledged.
 *
 * I2C_SCRIPT: what the successive reads of a temperature give, separated by blanks: a 16-bit value, or nack, lost
 * (arbitration), timeout, short (the adapter carried out the first message only), gone (the adapter was removed). The
 * last goes on for ever. Writes of registers are told on standard error as `i2c write ADDRESS REGISTER BYTES`. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_BYTES 64u
#define MESSAGES_MAX 8u /* i2c-dev takes 42; no driver here sends more than 2 */

static const char *script = "0";
static uint8_t tmp105_config;
static uint8_t pointers[128];
static uint8_t registers[256];

/* The next word of the script; the last one stays. */
static void next_step(char *word, size_t cap) {
  script += strspn(script, " ");
  size_t length = strcspn(script, " ");
  (void)snprintf(word, cap, "%.*s", (int)length, script);
  if (script[length + strspn(script + length, " ")] != '\0') {
    script += length;
  }
}

/* A read of the temperature: 0 with the bytes, or a negated errno; *short_count for an adapter that stops early. */
static int temperature(uint16_t address, uint8_t *bytes, int *short_count) {
  static const struct {
    const char *word;
    int status;
  } faults[] = {{"nack", -EREMOTEIO}, {"lost", -EAGAIN}, {"timeout", -ETIMEDOUT}, {"gone", -ENODEV}};
  char word[16];
  next_step(word, sizeof word);
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    if (strcmp(word, faults[i].word) == 0) {
      return faults[i].status;
    }
  }
  *short_count = strcmp(word, "short") == 0;
  unsigned raw = (unsigned)strtoul(word, NULL, 0);
  unsigned bits = address == 0x48 ? 9u + (tmp105_config >> 5 & 3u) : 9u;
  unsigned below = 0xFFFFu >> bits;
  raw = address == 0x48 ? raw & ~below : raw | below;
  bytes[0] = (uint8_t)(raw >> 8);
  bytes[1] = (uint8_t)raw;
  return 0;
}

static int chip_write(uint16_t address, const uint8_t *bytes, unsigned length) {
  if (length == 0) {
    return 0;
  }
  pointers[address] = bytes[0];
  if (length > 1) {
    fprintf(stderr, "i2c write %02x %02x", address, bytes[0]);
    for (unsigned i = 1; i < length; i++) {
      fprintf(stderr, " %02x", bytes[i]);
    }
    fprintf(stderr, "\n");
  }
  if (address == 0x48 && bytes[0] == 1 && length == 2) {
    tmp105_config = bytes[1];
  }
  for (unsigned i = 1; address == 0x20 && i < length; i++) {
    registers[(bytes[0] + i - 1) % 256] = bytes[i];
  }
  return 0;
}

static int chip_read(uint16_t address, uint8_t *bytes, unsigned length, int *short_count) {
  uint8_t at = pointers[address];
  memset(bytes, 0xFF, length);
  for (unsigned i = 0; address == 0x20 && i < length; i++) {
    bytes[i] = registers[(at + i) % 256];
  }
  if (address == 0x48 && at == 1) {
    bytes[0] = tmp105_config;
  }
  if (address != 0x20 && at == 0 && length == 2) {
    return temperature(address, bytes, short_count);
  }
  return 0;
}

static int copy(pid_t pid, void *here, const void *there, size_t length, int out) {
  struct iovec local = {here, length};
  struct iovec remote = {(void *)(uintptr_t)there, length};
  ssize_t done = out ? process_vm_writev(pid, &local, 1, &remote, 1, 0) : process_vm_readv(pid, &local, 1, &remote, 1, 0);
  return done == (ssize_t)length ? 0 : -EFAULT;
}

/* As i2cdev_ioctl_rdwr in the kernel's drivers/i2c/i2c-dev.c: how many messages were carried out, or a negated errno. */
static int64_t transfer(pid_t pid, uint64_t argument) {
  struct i2c_rdwr_ioctl_data all;
  struct i2c_msg messages[MESSAGES_MAX];
  uint8_t bytes[MESSAGE_BYTES];
  if (copy(pid, &all, (const void *)(uintptr_t)argument, sizeof all, 0) != 0) {
    return -EFAULT;
  }
  if (all.msgs == NULL || all.nmsgs == 0 || all.nmsgs > MESSAGES_MAX) {
    return -EINVAL;
  }
  if (copy(pid, messages, all.msgs, all.nmsgs * sizeof *messages, 0) != 0) {
    return -EFAULT;
  }
  for (uint32_t i = 0; i < all.nmsgs; i++) {
    const struct i2c_msg *m = &messages[i];
    int reads = (m->flags & I2C_M_RD) != 0, short_count = 0;
    if (m->addr != 0x48 && m->addr != 0x49 && m->addr != 0x20) {
      return -ENXIO;
    }
    if (m->len > MESSAGE_BYTES || (!reads && copy(pid, bytes, m->buf, m->len, 0) != 0)) {
      return -EINVAL;
    }
    int status = reads ? chip_read(m->addr, bytes, m->len, &short_count) : chip_write(m->addr, bytes, m->len);
    if (status != 0 || short_count) {
      return status != 0 ? status : (int64_t)i;
    }
    if (reads && copy(pid, bytes, m->buf, m->len, 1) != 0) {
      return -EFAULT;
    }
  }
  return all.nmsgs;
}

static void answer(int listener) {
  struct seccomp_notif request;
  memset(&request, 0, sizeof request);
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) != 0) {
    return; /* the caller was interrupted or has ended */
  }
  pid_t pid = (pid_t)request.pid;
  unsigned long functions = I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL;
  int64_t result = request.data.args[1] == I2C_RDWR
                       ? transfer(pid, request.data.args[2])
                       : copy(pid, &functions, (const void *)(uintptr_t)request.data.args[2], sizeof functions, 1);
  struct seccomp_notif_resp response = {
      .id = request.id, .val = result < 0 ? 0 : result, .error = result < 0 ? (int32_t)result : 0};
  (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* Installs the filter and sends its listener to the parent. */
static int hand_over(int to) {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])), /* little-endian: the low half */
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, I2C_RDWR, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, I2C_FUNCS, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
  };
  struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return -1;
  }
  int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  union {
    char space[CMSG_SPACE(sizeof(int))];
    struct cmsghdr header;
  } control;
  memset(&control, 0, sizeof control);
  control.header.cmsg_level = SOL_SOCKET;
  control.header.cmsg_type = SCM_RIGHTS;
  control.header.cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(&control.header), &listener, sizeof listener);
  struct iovec byte = {(char[]){0}, 1};
  struct msghdr message = {
      .msg_iov = &byte, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
  return listener < 0 || sendmsg(to, &message, 0) != 1 ? -1 : close(listener);
}

static int take_over(int from) {
  char space[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
  char byte = 0;
  struct iovec one = {&byte, 1};
  struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  int listener = -1;
  if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message) != NULL) {
    memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof listener);
  }
  return listener;
}

int main(int argc, char **argv) {
  int pair[2];
  if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return 125;
  }
  script = getenv("I2C_SCRIPT") != NULL ? getenv("I2C_SCRIPT") : script;
  for (unsigned i = 0; i < 256; i++) {
    registers[i] = (uint8_t)(i * 7);
  }
  pid_t child = fork();
  if (child == 0) {
    if (hand_over(pair[1]) != 0) {
      perror("i2c_bus: seccomp user notification");
      _exit(125);
    }
    (void)execvp(argv[1], argv + 1);
    _exit(127);
  }
  (void)close(pair[1]);
  (void)close(STDIN_FILENO); /* the command's alone */
  int listener = child < 0 ? -1 : take_over(pair[0]);
  int status = 125 << 8;
  while (child > 0 && waitpid(child, &status, WNOHANG) == 0) {
    struct pollfd ready = {listener, POLLIN, 0};
    if (poll(&ready, 1, 20) == 1 && (ready.revents & POLLIN) != 0) {
      answer(listener);
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
