// Joins inner packets of one flow into one vnet_hdr super-packet for TUN: the inverse of segment. A sink takes iovecs, so
// that tests need no device. Packets stay where they are until flush; their headers may be rewritten in place.
//
// Order within a flow never changes. A packet joins only when the kernel, cutting the result again, would give back the
// same octets (IPv4 identification apart) and when its checksum was right: joining must not launder a broken one.
#pragma once
#include <sys/uio.h>

#include "ip.h"
#include "vnet.h"

namespace tsvpn {

/** Takes vnet header and packet parts; owns nothing. */
using TunSink = void (*)(void* context, const iovec* parts, int count, uint32_t packets);

class Coalescer {
 public:
  Coalescer(TunSink sink, void* context) : sink_(sink), context_(context) {}

  /** What the device accepts; without it packets pass one by one. */
  bool joinTcp = true, joinUdp = true;

  /** @param packet parsed, its memory writable and kept until flush */
  void add(const InnerPacket& packet);
  /** Hands everything over, oldest group first. */
  void flush();

 private:
  // Implementation: a TCP super-packet of 64 KiB has 46 segments of 1,398; small UDP may have more.
  static constexpr int kMaxParts = 128;
  static constexpr int kGroups = 8;
  static constexpr uint32_t kMaxLength = 65535;

  enum class Kind : uint8_t { pass, tcp, udp };

  struct Group {
    Kind kind;
    bool closed;    // takes no more: the last part was short, or had FIN/PSH
    bool verified;  // checksum of the first packet was found right
    uint8_t flags;  // TCP flags of all parts
    uint16_t headerLength;
    uint32_t segmentSize, length, nextSequence;
    InnerPacket first;
    int parts;
    iovec part[kMaxParts + 1];  // [0] is the vnet header
    VnetHeader vnet;
  };

  Group* groupOf(const InnerPacket& packet);
  bool tryJoin(Group& g, const InnerPacket& packet, uint16_t headerLength);
  void open(const InnerPacket& packet, Kind kind, uint16_t headerLength);
  void emit(Group& g);

  TunSink sink_;
  void* context_;
  int used_ = 0;
  Group groups_[kGroups];
};

}  // namespace tsvpn
