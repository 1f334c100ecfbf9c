// TUN to UDP: one direction of a shard. See outbound.cc for the stages.
#pragma once
#include <memory>

#include "sadb.h"
#include "segment.h"
#include "shard_event.h"
#include "too_big.h"
#include "transmit.h"

namespace tsvpn {

class Outbound {
 public:
  Outbound(int tunFd, Transmitter& transmitter, EventQueue& events);

  /**
   * One bounded batch.
   * @returns false when TUN is empty (or failed), or the transmitter is blocked
   */
  bool batch(uint64_t nowMs);
  /** Some policy has its SA now: the next batch begins with the packets that waited for it. */
  void release() { release_ = true; }
  /** errno after the device failed for good, else 0. */
  int failure() const { return failure_; }

 private:
  // Implementation: reads per batch. Small packets leave in one send; a full slab ends the batch sooner.
  static constexpr int kReads = 64;
  static constexpr size_t kFlushBytes = 56 * 1024;
  static constexpr size_t kFlowCache = 256;
  static constexpr size_t kIvPool = 64 * 16;

  struct Flow {
    uint64_t generation = 0;
    Address source, destination;
    uint32_t ports;
    uint8_t family, protocol;
    bool hasPorts;
    Policy* policy;
    SaOutbound* sa;
    HeldPackets* held;
  };

  ssize_t readTun(uint8_t* to);
  void process(uint8_t* data, size_t length, const VnetHeader& header, uint64_t nowMs);
  bool sendHeld(uint64_t nowMs);
  bool drain(HeldPackets& held, uint64_t nowMs);
  const Flow& lookUp(const InnerPacket& packet);
  void admit(SaOutbound& sa, const InnerPacket& packet, const SuperPacket& super, uint64_t nowMs);
  void sealFragments(SaOutbound& sa, const SuperPacket& super, bool df, uint64_t nowMs);
  void answerTooBig(SaOutbound& sa, const InnerPacket& packet, const SuperPacket& super, uint64_t nowMs);
  void seal(SaOutbound& sa, const SuperPacket& super, uint8_t nextHeader, bool df, uint64_t nowMs);
  void watch(SaOutbound& sa, uint64_t nowMs);
  void tellRefused(uint64_t nowMs);
  void writeIv(uint8_t* iv, const CipherShape& shape, uint64_t sequence);
  void acquire(Policy& policy, uint64_t nowMs);

  const int tunFd_;
  Transmitter& transmitter_;
  EventQueue& events_;
  int failure_ = 0, refused_ = 0;
  bool release_ = false, draining_ = false;
  AnswerLimit answers_;
  uint64_t refusedMs_ = 0;
  std::unique_ptr<uint8_t[]> buffer_;
  /** One inner packet cut out of a super-packet, and one fragment of it. */
  std::unique_ptr<uint8_t[]> whole_, piece_;
  std::unique_ptr<Flow[]> flows_;
  uint8_t ivPool_[kIvPool];
  size_t ivLeft_ = 0;
};

}  // namespace tsvpn
