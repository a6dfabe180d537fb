/* can_bitrate NAME RATE: what `ip link set NAME type can bitrate RATE` does, which the ip of busybox cannot, and without which
 * a CAN controller does not start. rtnetlink(7), linux/can/netlink.h. */
#include <errno.h>
#include <linux/can/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
  struct nlmsghdr header;
  struct ifinfomsg link;
  char attributes[256];
};

static char *end_of(struct request *request) { return (char *)request + NLMSG_ALIGN(request->header.nlmsg_len); }

static struct rtattr *add(struct request *request, unsigned short type, const void *data, size_t bytes) {
  struct rtattr *attribute = (struct rtattr *)(void *)end_of(request);
  attribute->rta_type = type;
  attribute->rta_len = (unsigned short)RTA_LENGTH(bytes);
  if (bytes > 0) memcpy(RTA_DATA(attribute), data, bytes);
  request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
  return attribute;
}

/* What was added since belongs to this attribute. */
static void enclose(struct request *request, struct rtattr *outer) {
  outer->rta_len = (unsigned short)(end_of(request) - (char *)outer);
}

int main(int argc, char **argv) {
  struct request request;
  struct can_bittiming timing;
  struct rtattr *info, *data;
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
    char rest[512];
  } answer;
  int fd;
  if (argc != 3) return 64;
  memset(&request, 0, sizeof request);
  memset(&timing, 0, sizeof timing);
  memset(&answer, 0, sizeof answer);
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.link);
  request.header.nlmsg_type = RTM_NEWLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.link.ifi_index = (int)if_nametoindex(argv[1]);
  timing.bitrate = (unsigned)strtoul(argv[2], NULL, 10);
  info = add(&request, IFLA_LINKINFO, NULL, 0);
  add(&request, IFLA_INFO_KIND, "can", sizeof "can");
  data = add(&request, IFLA_INFO_DATA, NULL, 0);
  add(&request, IFLA_CAN_BITTIMING, &timing, sizeof timing);
  enclose(&request, data);
  enclose(&request, info);

  fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  if (fd < 0 || send(fd, &request, request.header.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0) {
    perror(argv[1]);
    return 1;
  }
  close(fd);
  if (answer.error.error != 0) {
    fprintf(stderr, "%s: %s\n", argv[1], strerror(-answer.error.error));
    return 1;
  }
  return 0;
}
