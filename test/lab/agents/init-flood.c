// Sends sound IKE_SA_INIT requests from invented addresses in 198.18.0.0/15 (RFC 2544) at a steady rate: one message as
// template, each with another initiator SPI. usage: init-flood TEMPLATE_HEX TARGET PER_SECOND SECONDS
#include "raw-udp.h"

static uint8_t message[4096];
static int messageLength;
static uint32_t target;

static int request(uint8_t *packet) {
  uint64_t spi = next() | 1;
  uint32_t from = htonl(0xc6120000u | (uint32_t)(next() & 0x1ffff));
  udpHeaders(packet, HEADERS + messageLength, from, (uint16_t)(1024 + next() % 60000), target, 500);
  memcpy(packet + HEADERS, message, (size_t)messageLength);
  memcpy(packet + HEADERS, &spi, sizeof spi);
  return HEADERS + messageLength;
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  for (const char *p = argv[1]; p[0] && p[1] && messageLength < (int)sizeof message; p += 2) {
    unsigned octet;
    if (sscanf(p, "%2x", &octet) != 1) return 2;
    message[messageLength++] = (uint8_t)octet;
  }
  target = inet_addr(argv[2]);
  return flood(target, atof(argv[3]), atof(argv[4]), request);
}
