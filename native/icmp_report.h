// What somebody on the way says of an ESP-in-UDP packet of ours: too big (RFC 792, RFC 1191; RFC 4443 §3.2). Only read
// here: it is unprotected, anybody can forge it, and whether it is believed is decided where the SAs are known.
#pragma once
#include <cstddef>
#include <cstdint>

#include "path.h"

namespace tsvpn {

struct TooBigReport {
  /** Where our packet was going, as the report quotes it. */
  SocketAddress remote;
  /** Of the quoted ESP header. */
  uint32_t spi, sequence;
  /** Octets of the next hop, as reported. */
  uint32_t mtu;
  /** Octets of our packet. */
  uint32_t packetLength;
};

/**
 * @param data as a raw socket gives it: from the IPv4 header on, with IPv6 from the ICMPv6 header on
 * @returns false for everything else, and for reports that do not quote the ESP header
 */
bool readTooBig(const uint8_t* data, size_t length, uint8_t family, TooBigReport* out);

}  // namespace tsvpn
