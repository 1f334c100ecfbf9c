// Sends garbage and truncated IKE and ESP datagrams to UDP 500 and 4500 at a steady rate, from this host's address and
// from a borrowed one. usage: flood OWN_ADDRESS BORROWED_ADDRESS TARGET PER_SECOND SECONDS [SPI_HEX]
// Raw IPv4 socket, no UDP checksum (zero is legal over IPv4). Prints how many were sent.
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

// An IKE header: initiator SPI random, the rest as the case wants it.
static void ikeHeader(uint8_t *p, uint8_t firstPayload, uint8_t exchange, uint8_t flags, uint32_t length) {
  uint64_t spi = next();
  memcpy(p, &spi, 8);
  memset(p + 8, 0, 8);
  p[16] = firstPayload;
  p[17] = 0x20;
  p[18] = exchange;
  p[19] = flags;
  memset(p + 20, 0, 4);
  length = htonl(length);
  memcpy(p + 24, &length, 4);
}

// Fills the UDP payload; returns its length.
static int payload(uint8_t *p, int natt, uint32_t spi) {
  int random = (int)(next() % 1400);
  for (int i = 0; i < random + 64; i += 8) {
    uint64_t r = next();
    memcpy(p + i, &r, 8);
  }
  uint8_t *ike = p;
  if (natt) {
    switch (next() % 4) {
      case 0:  // ESP with an SPI nobody has
        p[0] |= 1;
        return 8 + random;
      case 1:  // ESP with an SPI that lives, sequence and ICV random
        spi = htonl(spi);
        memcpy(p, &spi, 4);
        return 8 + random;
      case 2:  // shorter than an ESP header
        return 1 + (int)(next() % 8);
      default:
        memset(p, 0, 4);
        ike += 4;
    }
  }
  int before = (int)(ike - p);
  switch (next() % 5) {
    case 0:  // noise
      return before + random;
    case 1:  // a header cut short
      ikeHeader(ike, 33, 34, 0x08, 28);
      return before + (int)(next() % 28);
    case 2:  // IKE_SA_INIT request whose payloads are noise
      ikeHeader(ike, 33, 34, 0x08, (uint32_t)(28 + random));
      return before + 28 + random;
    case 3:  // length field larger than the datagram
      ikeHeader(ike, 33, 34, 0x08, 0xffffffffu);
      return before + 28 + random;
    default:  // IKE_AUTH with an SK payload of no SA
      ikeHeader(ike, 46, 35, 0x08, (uint32_t)(28 + random));
      ike[8] = 1;
      return before + 28 + random;
  }
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  uint32_t own = inet_addr(argv[1]), borrowed = inet_addr(argv[2]), target = inet_addr(argv[3]);
  double rate = atof(argv[4]), duration = atof(argv[5]);
  uint32_t spi = argc > 6 ? (uint32_t)strtoul(argv[6], NULL, 16) : 0;
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  if (fd < 0) {
    perror("socket");
    return 1;
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = target};
  uint8_t packet[2048];
  double start = seconds();
  long sent = 0, failed = 0;
  for (;;) {
    double elapsed = seconds() - start;
    if (elapsed >= duration) break;
    for (long due = (long)(elapsed * rate); sent + failed < due;) {
      int natt = (int)(next() & 1);
      memset(packet, 0, 28);
      int length = 28 + payload(packet + 28, natt, spi);
      struct iphdr *ip = (struct iphdr *)packet;
      struct udphdr *udp = (struct udphdr *)(packet + 20);
      ip->version = 4;
      ip->ihl = 5;
      ip->ttl = 64;
      ip->protocol = IPPROTO_UDP;
      ip->tot_len = htons((uint16_t)length);
      ip->saddr = next() % 4 == 0 ? borrowed : own;
      ip->daddr = target;
      udp->source = htons(next() & 1 ? 4500 : (uint16_t)(1024 + next() % 60000));
      udp->dest = htons(natt ? 4500 : 500);
      udp->len = htons((uint16_t)(length - 20));
      if (sendto(fd, packet, (size_t)length, 0, (struct sockaddr *)&to, sizeof to) == length) sent++;
      else failed++;
    }
    usleep(200);
  }
  printf("{\"sent\":%ld,\"failed\":%ld,\"seconds\":%.2f}\n", sent, failed, seconds() - start);
  return 0;
}
