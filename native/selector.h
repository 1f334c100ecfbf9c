// Traffic selectors as the datapath tests them (RFC 4301 §4.4.1.1, RFC 7296 §3.13.1). No set algebra: that is IKE's.
#pragma once
#include <cstdint>
#include <vector>

#include "ip.h"

namespace tsvpn {

/** Inclusive ranges. Ports 0-65535 are ANY; start above end is OPAQUE: matches only where no port can be seen. */
struct Selector {
  uint8_t family;
  /** 0 any. */
  uint8_t protocol;
  uint16_t startPort, endPort;
  Address start, end;
};

using Selectors = std::vector<Selector>;

/** @param port of the side whose selector this is */
bool selectorMatches(const Selector& s, const InnerPacket& packet, const Address& address, uint16_t port);

/** Both ends: one line of each list must match. Outbound the source is local, inbound the destination is. */
bool outboundMatches(const Selectors& local, const Selectors& remote, const InnerPacket& packet);
bool inboundMatches(const Selectors& local, const Selectors& remote, const InnerPacket& packet);

}  // namespace tsvpn
