#define _GNU_SOURCE
// UDP at a steady rate, many datagrams a system call, so that the tunnel is what is measured and not the sender.
//   udp-load receive PORT      prints `ready`, then how many came, when a last datagram says so or after 5 s of silence
//   udp-load send ADDRESS PORT PER_SECOND SECONDS SIZE…      payload sizes in turns; prints how many were sent
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define BATCH 32
enum { LARGEST = 1400, MOST_SIZES = 64, BUFFER = 1 << 22 };

static size_t sizes[MOST_SIZES];
static long sizeCount;

static int fail(const char *what) {
  perror(what);
  return 1;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static int openSocket(int option) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = BUFFER;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
  return fd;
}

static int receive(uint16_t port) {
  int fd = openSocket(SO_RCVBUFFORCE);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct timeval patience = {.tv_sec = 5};
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0) return fail("bind");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  puts("ready");
  fflush(stdout);
  static uint8_t buffers[BATCH][LARGEST];
  struct mmsghdr headers[BATCH];
  struct iovec parts[BATCH];
  long received = 0;
  for (int done = 0; !done;) {
    for (int i = 0; i < BATCH; ++i) {
      parts[i] = (struct iovec){buffers[i], LARGEST};
      headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(fd, headers, BATCH, MSG_WAITFORONE, NULL);
    if (n < 0) {
      if (errno == EINTR) continue;
      break;
    }
    for (int i = 0; i < n; ++i) {
      // The last one says so by its first octet.
      if (buffers[i][0] == 0) ++received;
      else done = 1;
    }
  }
  printf("%ld\n", received);
  return 0;
}

static int transmit(const char *address, uint16_t port, double rate, double duration) {
  int fd = openSocket(SO_SNDBUFFORCE);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
    return fail("connect");
  }
  static uint8_t payload[LARGEST];
  struct mmsghdr headers[BATCH];
  struct iovec parts[BATCH];
  long sent = 0;
  double start = seconds();
  for (;;) {
    double elapsed = seconds() - start;
    if (elapsed >= duration) break;
    long due = (long)(elapsed * rate) - sent;
    if (due <= 0) {
      struct timespec pause = {.tv_nsec = 50000};
      nanosleep(&pause, NULL);
      continue;
    }
    int count = due < BATCH ? (int)due : BATCH;
    for (int i = 0; i < count; ++i) {
      parts[i] = (struct iovec){payload, sizes[(sent + i) % sizeCount]};
      headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int n = sendmmsg(fd, headers, (unsigned)count, 0);
    if (n < 0 && errno != EINTR && errno != ENOBUFS) return fail("sendmmsg");
    if (n > 0) sent += n;
  }
  struct timespec drain = {.tv_nsec = 200000000};
  nanosleep(&drain, NULL);
  payload[0] = 1;
  for (int i = 0; i < 10; ++i) {
    struct timespec gap = {.tv_nsec = 10000000};
    send(fd, payload, 36, 0);
    nanosleep(&gap, NULL);
  }
  printf("%ld\n", sent);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "receive") == 0) return receive((uint16_t)atoi(argv[2]));
  if (argc >= 7 && argc - 6 <= MOST_SIZES && strcmp(argv[1], "send") == 0) {
    for (int i = 6; i < argc; ++i) {
      const int size = atoi(argv[i]);
      if (size < 1 || size > LARGEST) return fail("size");
      sizes[sizeCount++] = (size_t)size;
    }
    return transmit(argv[2], (uint16_t)atoi(argv[3]), atof(argv[4]), atof(argv[5]));
  }
  fprintf(stderr, "usage: udp-load receive PORT | udp-load send ADDRESS PORT PER_SECOND SECONDS SIZE...\n");
  return 2;
}
