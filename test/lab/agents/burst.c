// UDP datagrams of one size in one batch, and a reader that lets the kernel join them (UDP_GRO) and says what came.
// usage: burst send ADDRESS PORT COUNT | burst receive FAMILY PORT    until SIGTERM: a line `OCTETS SEGMENT CLASS` each
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { SIZE = 100, BATCH = 50 };

static socklen_t addressOf(const char *text, int port, struct sockaddr_storage *out) {
  struct sockaddr_in *v4 = (struct sockaddr_in *)out;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
  memset(out, 0, sizeof *out);
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    return sizeof *v4;
  }
  inet_pton(AF_INET6, text, &v6->sin6_addr);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons((uint16_t)port);
  return sizeof *v6;
}

static int sendAll(const char *address, int port, int count) {
  struct sockaddr_storage to;
  socklen_t length = addressOf(address, port, &to);
  static char data[SIZE * BATCH];
  int segment = SIZE;
  int fd = socket(to.ss_family, SOCK_DGRAM, 0);
  if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) < 0) return 1;
  for (; count > 0; count -= BATCH) {
    if (sendto(fd, data, sizeof data, 0, (struct sockaddr *)&to, length) != sizeof data) return 1;
  }
  return 0;
}

static int receiveAll(int v6, int port) {
  struct sockaddr_storage at;
  socklen_t length = addressOf(v6 ? "::" : "0.0.0.0", port, &at);
  int fd = socket(at.ss_family, SOCK_DGRAM, 0), on = 1;
  static char data[65536];
  char control[256];
  if (setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on) < 0) return 1;
  setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVTCLASS : IP_RECVTOS, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&at, length) < 0) return 1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("ready\n");
  for (;;) {
    struct iovec part = {data, sizeof data};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int octets = (int)recvmsg(fd, &header, 0), segment = octets, trafficClass = 0;
    if (octets < 0) return 1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c != NULL; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) memcpy(&segment, CMSG_DATA(c), sizeof segment);
      if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) trafficClass = *CMSG_DATA(c);
      if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) memcpy(&trafficClass, CMSG_DATA(c), sizeof(int));
    }
    printf("%d %d %d\n", octets, segment, trafficClass);
  }
}

int main(int argc, char **argv) {
  if (argc == 5 && strcmp(argv[1], "send") == 0) return sendAll(argv[2], atoi(argv[3]), atoi(argv[4]));
  if (argc == 4 && strcmp(argv[1], "receive") == 0) return receiveAll(atoi(argv[2]) == 6, atoi(argv[3]));
  return 2;
}
