// Selector tests. A later fragment has no ports, so a selector that limits ports never matches it (ARC-07).
#include "selector.h"

namespace tsvpn {
namespace {

bool portMatches(const Selector& s, bool known, uint16_t port) {
  if (s.startPort == 0 && s.endPort == 0xffff) return true;
  if (s.startPort > s.endPort) return !known;
  return known && port >= s.startPort && port <= s.endPort;
}

bool anyMatches(const Selectors& list, const InnerPacket& packet, const Address& address, uint16_t port) {
  for (const Selector& s : list) {
    if (selectorMatches(s, packet, address, port)) return true;
  }
  return false;
}

}  // namespace

bool selectorMatches(const Selector& s, const InnerPacket& packet, const Address& address, uint16_t port) {
  return s.family == packet.family && s.start <= address && address <= s.end &&
         (s.protocol == 0 || s.protocol == packet.protocol) && portMatches(s, packet.hasPorts, port);
}

bool outboundMatches(const Selectors& local, const Selectors& remote, const InnerPacket& packet) {
  return anyMatches(local, packet, packet.source, packet.sourcePort) &&
         anyMatches(remote, packet, packet.destination, packet.destinationPort);
}

bool inboundMatches(const Selectors& local, const Selectors& remote, const InnerPacket& packet) {
  return anyMatches(remote, packet, packet.source, packet.sourcePort) &&
         anyMatches(local, packet, packet.destination, packet.destinationPort);
}

}  // namespace tsvpn
