// UDP to TUN: the other direction of a shard. See inbound.cc for the stages.
#pragma once
#include <memory>

#include "coalesce.h"
#include "sadb.h"
#include "shard_event.h"
#include "transmit.h"

namespace tsvpn {

class Inbound {
 public:
  Inbound(int tunFd, EventQueue& events);

  /**
   * One bounded batch from one socket.
   * @returns false when the socket is empty (or failed)
   */
  bool batch(const UdpSocket& socket, uint64_t nowMs);
  /**
   * One ESP packet that came to another socket than a shard's. Its traffic class is not known there: no mark is taken over.
   * Any thread, one at a time.
   */
  void stray(uint8_t* data, size_t length, const SocketAddress& from, const SocketAddress& local, uint64_t nowMs);
  /** errno after the TUN device or a socket failed for good, else 0. */
  int tunFailure() const { return tunFailure_; }
  int udpFailure() const { return udpFailure_; }

 private:
  // Implementation: one recvmmsg. Each buffer takes a whole UDP_GRO datagram; more of them leave the L2 cache.
  static constexpr int kMessages = 4;
  static constexpr size_t kBuffer = 65536;

  /** Of the outer headers of one message. */
  struct Outer {
    const SocketAddress& from;
    const SocketAddress& local;
    uint8_t trafficClass;
  };

  void datagram(uint8_t* data, size_t length, size_t segmentSize, const Outer& outer, uint64_t nowMs);
  void run(SaInbound& sa, uint8_t* data, size_t length, size_t segmentSize, const Outer& outer, uint64_t nowMs);
  Drop open(SaInbound& sa, uint8_t* packet, size_t length, uint8_t outerClass, InnerPacket* inner, bool* newest);
  void handOver(const uint8_t* data, size_t length, size_t segmentSize, const Outer& outer);
  void reportMismatch(SaInbound& sa, const InnerPacket& packet, uint64_t nowMs);
  void checkSource(SaInbound& sa, const SocketAddress& from, uint64_t nowMs);
  static void writeTun(void* self, const iovec* parts, int count, uint32_t packets);

  const int tunFd_;
  EventQueue& events_;
  int tunFailure_ = 0, udpFailure_ = 0;
  Coalescer coalescer_;
  std::unique_ptr<uint8_t[]> buffers_;
};

}  // namespace tsvpn
