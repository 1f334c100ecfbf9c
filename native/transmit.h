// The transmit slab: ESP packets are built one behind the other in it and leave as runs, each run one datagram batch of
// equal size and traffic class to one path (UDP_SEGMENT). Knows sockets, not ESP.
#pragma once
#include <memory>

#include "drop.h"
#include "path.h"

namespace tsvpn {

struct UdpSocket {
  int fd = -1;
  uint8_t family = 0;
  /** Cleared for good when the device cannot do it (EIO). */
  bool gso = true;
  /** Which of the two ways of sending its options stand for; unknown before the first packet. */
  enum class Df : uint8_t { unknown, set, clear } df = Df::unknown;
};

class Transmitter {
 public:
  /** @param sockets at most two, one per family; must outlive this */
  Transmitter(UdpSocket* sockets, int count);

  /** @returns room for `length` octets behind what is there, or null when the slab is full: flush first */
  uint8_t* reserve(size_t length) {
    return length <= kSlab - used_ && runs_ < kMaxRuns ? slab_.get() + used_ : nullptr;
  }
  /**
   * Queues what was built in the last reservation.
   * @param trafficClass of the outer header: DSCP and ECN
   * @param df with DF, and never in fragments; else the kernel and IPv4 routers may fragment it
   */
  void commit(const UdpPath& path, uint8_t trafficClass, size_t length, bool df = false);

  size_t bytes() const { return used_; }
  uint32_t packets() const { return packets_; }
  bool pending() const { return runs_ != 0; }

  /** @returns false when a socket would block: call again when it is writable; what is left stays queued */
  bool flush();
  /** After flush returned false: the descriptor to wait for. */
  const UdpSocket* blockedOn() const { return blocked_; }
  /** A packet with DF was larger than the device takes. @returns false when there was none since the last call */
  bool takeRefused(SocketAddress* remote);

 private:
  // Specification: the largest UDP payload over IPv4, and UDP_MAX_SEGMENTS of Linux before 6.9.
  static constexpr size_t kMaxDatagrams = 64, kMaxBatch = 65507;
  // Implementation: a TUN read of 64 KiB grows by a tenth at the usual sizes; two of them and some.
  static constexpr size_t kSlab = 192 * 1024;
  static constexpr int kMaxRuns = 128;

  struct Run {
    UdpPath path;
    uint32_t start, length;
    uint32_t segmentSize, count;
    uint8_t trafficClass;
    bool closed;  // its last packet was shorter
    bool df;
    bool single;  // send packet by packet
    uint8_t retries;
  };

  UdpSocket* socketFor(const Run& run);
  int sendRuns(UdpSocket& socket, int from, int to);
  bool sendSingly(UdpSocket& socket, Run& run);
  bool recover(UdpSocket& socket, Run& run, int error, bool* blocked);
  void failed(const Run& run, int error, uint32_t packets);

  UdpSocket* sockets_;
  int socketCount_;
  std::unique_ptr<uint8_t[]> slab_;
  size_t used_ = 0;
  uint32_t packets_ = 0;
  int runs_ = 0, next_ = 0;
  bool hasRefused_ = false;
  SocketAddress refused_{};
  UdpSocket* blocked_ = nullptr;
  Run run_[kMaxRuns];
};

}  // namespace tsvpn
