// Sends garbage and truncated IKE and ESP datagrams to UDP 500 and 4500 at a steady rate, from this host's address and
// from a borrowed one. usage: flood OWN_ADDRESS BORROWED_ADDRESS TARGET PER_SECOND SECONDS [SPI_HEX]
// Prints how many were sent.
#include "raw-udp.h"

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

static uint32_t own, borrowed, target, spi;

static int garbage(uint8_t *packet) {
  int natt = (int)(next() & 1);
  int length = HEADERS + payload(packet + HEADERS, natt, spi);
  uint16_t port = next() & 1 ? 4500 : (uint16_t)(1024 + next() % 60000);
  udpHeaders(packet, length, next() % 4 == 0 ? borrowed : own, port, target, natt ? 4500 : 500);
  return length;
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  own = inet_addr(argv[1]);
  borrowed = inet_addr(argv[2]);
  target = inet_addr(argv[3]);
  spi = argc > 6 ? (uint32_t)strtoul(argv[6], NULL, 16) : 0;
  return flood(target, atof(argv[4]), atof(argv[5]), garbage);
}
