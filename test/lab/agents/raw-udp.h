// What the floods share: a clock, cheap random numbers, and UDP over IPv4 from any address, without checksum (zero is legal).
#pragma once
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADERS = 28 };

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

// Addresses in network order, ports in host order. `length` with the headers.
static void udpHeaders(uint8_t *packet, int length, uint32_t from, uint16_t fromPort, uint32_t to, uint16_t toPort) {
  memset(packet, 0, HEADERS);
  struct iphdr *ip = (struct iphdr *)packet;
  struct udphdr *udp = (struct udphdr *)(packet + 20);
  ip->version = 4;
  ip->ihl = 5;
  ip->ttl = 64;
  ip->protocol = IPPROTO_UDP;
  ip->tot_len = htons((uint16_t)length);
  ip->saddr = from;
  ip->daddr = to;
  udp->source = htons(fromPort);
  udp->dest = htons(toPort);
  udp->len = htons((uint16_t)(length - 20));
}

// Calls `fill` for each packet at a steady rate and sends what it made; prints how many were sent.
static int flood(uint32_t target, double rate, double duration, int (*fill)(uint8_t *packet)) {
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  if (fd < 0) {
    perror("socket");
    return 1;
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = target};
  uint8_t packet[8192];
  double start = seconds();
  long sent = 0, failed = 0;
  for (;;) {
    double elapsed = seconds() - start;
    if (elapsed >= duration) break;
    for (long due = (long)(elapsed * rate); sent + failed < due;) {
      int length = fill(packet);
      if (sendto(fd, packet, (size_t)length, 0, (struct sockaddr *)&to, sizeof to) == length) sent++;
      else failed++;
    }
    usleep(200);
  }
  printf("{\"sent\":%ld,\"failed\":%ld,\"seconds\":%.2f}\n", sent, failed, seconds() - start);
  return 0;
}
