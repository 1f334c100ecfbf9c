// TUN to UDP, in the order in which a packet meets it:
//   batch      reads TUN until it is empty, the slab is full enough, or the batch is long enough; then sends
//   process    parse, plan segments
//   lookUp     policy and SA by selectors, default deny; a flow cache in front
//   hold       without an SA, where the policy says so; sendHeld offers them again later      allocates, never on the way
//   admit      fits the path; else cut into fragments, or dropped and its source told; MSS of TCP
//   seal       numbers (one atomic step), cut into the slab, frame, encrypt in place      ordered per SA and shard
//   Transmitter::flush   one sendmmsg with UDP_SEGMENT
// No allocation, no wait and no JavaScript here.
#include "outbound.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "aead_evp.h"
#include "esp_packet.h"
#include "mss.h"

namespace tsvpn {
namespace {

constexpr size_t kMaxPacket = 65536;
// The packet itself starts on a cache line, its vnet header right before.
constexpr size_t kPacketOffset = 64;
constexpr size_t kMaxDatagram = 65507;
constexpr uint64_t kAcquireIntervalMs = 1000;
// Implementation: so many refusals in a row are no longer about packets.
constexpr int kMaxRefused = 256;
// A path that takes these takes everything that IPv4 guarantees: nothing to find out.
constexpr uint32_t kLargePacket = 512;
constexpr uint64_t kRefusedIntervalMs = 200;

uint8_t nextHeaderOf(uint8_t family) { return family == 4 ? kNextIpv4 : kNextIpv6; }

}  // namespace

Outbound::Outbound(int tunFd, Transmitter& transmitter, EventQueue& events)
    : tunFd_(tunFd),
      transmitter_(transmitter),
      events_(events),
      buffer_(new uint8_t[kPacketOffset + kMaxPacket]),
      whole_(new uint8_t[kMaxPacket]),
      piece_(new uint8_t[kVnetHeader + kMaxPacket]()),
      flows_(new Flow[kFlowCache]) {}

bool Outbound::batch(uint64_t nowMs) {
  // What could not be sent last time goes first; while it cannot, the kernel's TUN queue holds the rest.
  if (transmitter_.pending() && !transmitter_.flush()) return false;
  if (failure_ != 0) return false;
  if (release_ && !sendHeld(nowMs)) return false;
  uint8_t* const at = buffer_.get() + kPacketOffset - kVnetHeader;
  ssize_t n = readTun(at);
  if (n <= 0) return false;
  {
    SharedLock guard;
    for (int i = 1; n > 0; ++i) {
      VnetHeader header;
      memcpy(&header, at, sizeof header);
      const size_t length = static_cast<size_t>(n) > kVnetHeader ? static_cast<size_t>(n) - kVnetHeader : 0;
      process(at + kVnetHeader, length, header, nowMs);
      if (i >= kReads || transmitter_.bytes() >= kFlushBytes) break;
      n = readTun(at);
    }
  }
  const bool isSent = transmitter_.flush();
  tellRefused(nowMs);
  return isSent && n > 0;
}

/** @returns octets with the vnet header, or 0 when there is nothing */
ssize_t Outbound::readTun(uint8_t* to) {
  for (;;) {
    const ssize_t n = read(tunFd_, to, kVnetHeader + kMaxPacket);
    if (n >= 0) {
      refused_ = 0;
      return n;
    }
    if (errno == EINTR) continue;
    // tun_put_user in Linux: a packet whose GSO type fits no vnet header is thrown away with EINVAL; the device is well.
    if (errno == EINVAL && ++refused_ < kMaxRefused) {
      countDrop(Drop::malformedInner);
      continue;
    }
    if (errno != EAGAIN) failure_ = errno;
    return 0;
  }
}

void Outbound::process(uint8_t* data, size_t length, const VnetHeader& header, uint64_t nowMs) {
  InnerPacket packet;
  SuperPacket super;
  if (!parseInner(data, length, &packet) || !planSegments(header, packet, &super)) {
    countDrop(Drop::malformedInner);
    return;
  }
  const Flow& flow = lookUp(packet);
  if (flow.policy == nullptr) {
    countDrop(Drop::noPolicy, super.count);
    return;
  }
  // Copies: draining looks up other flows, which may take this one's place in the cache.
  Policy& policy = *flow.policy;
  SaOutbound* const sa = flow.sa;
  HeldPackets* const held = flow.held;
  const bool elders = held != nullptr && !draining_ && held->pending();
  if (sa != nullptr && (!elders || drain(*held, nowMs))) {
    if (sa->clampsMss && isSyn(packet)) {
      const uint32_t mtu = sa->limit.room.load(std::memory_order_relaxed);
      clampMss(data + packet.l4Offset, packet.length - packet.l4Offset, packet.family, mtu, super.needsChecksum);
    }
    admit(*sa, packet, super, nowMs);
    return;
  }
  if (held != nullptr) held->push(header, data, length, super.count, nowMs);
  else countDrop(Drop::noSa, super.count);
  if (sa == nullptr) acquire(policy, nowMs);
  else release_ = true;
}

/** @returns false when the socket is full: what is left waits for the next batch */
bool Outbound::sendHeld(uint64_t nowMs) {
  SharedLock guard;
  for (Policy* policy : sadb().holding()) {
    if (!policy->held->pending() || !policy->hasOutbound || sadb().outbound(policy->outbound) == nullptr) continue;
    if (!drain(*policy->held, nowMs)) return false;
  }
  release_ = false;
  return transmitter_.flush();
}

/** Offers them again in their order: the SA may cover less than the policy did. @returns false as sendHeld does */
bool Outbound::drain(HeldPackets& held, uint64_t nowMs) {
  draining_ = true;
  bool more = true;
  while (transmitter_.bytes() < kFlushBytes || transmitter_.flush()) {
    HeldPacket packet;
    more = held.pop(nowMs, &packet);
    if (!more) break;
    process(packet.data.get(), packet.length, packet.header, nowMs);
  }
  draining_ = false;
  return !more;
}

const Outbound::Flow& Outbound::lookUp(const InnerPacket& packet) {
  const uint32_t ports = static_cast<uint32_t>(packet.sourcePort) << 16 | packet.destinationPort;
  const uint64_t mixed =
      (packet.source.low ^ packet.source.high ^ (packet.destination.low + packet.destination.high) * 31 ^ ports) *
      0x9e3779b97f4a7c15u;
  Flow& flow = flows_[mixed >> 56];
  const uint64_t generation = sadb().generation();
  if (flow.generation == generation && flow.ports == ports && flow.protocol == packet.protocol &&
      flow.family == packet.family && flow.hasPorts == packet.hasPorts && flow.source == packet.source &&
      flow.destination == packet.destination) {
    return flow;
  }
  flow = {generation,      packet.source,   packet.destination,     ports,  packet.family,
          packet.protocol, packet.hasPorts, sadb().policy(packet), nullptr, nullptr};
  if (flow.policy == nullptr) return flow;
  flow.held = flow.policy->held.get();
  if (flow.policy->hasOutbound) flow.sa = sadb().outbound(flow.policy->outbound);
  return flow;
}

void Outbound::admit(SaOutbound& sa, const InnerPacket& packet, const SuperPacket& super, uint64_t nowMs) {
  constexpr uint8_t kDontFragment = 0x40;
  const uint32_t length = segmentLength(super, 0);
  const bool mayFragment = packet.family == 4 && (packet.data[6] & kDontFragment) == 0;
  const bool df = sa.limit.setsDf(mayFragment, sa.path.family);
  if (length > kLargePacket && sa.stall.mayLook(nowMs)) watch(sa, nowMs);
  switch (sa.limit.fit(length, packet.family, mayFragment)) {
    case Fit::fits:
      return seal(sa, super, nextHeaderOf(packet.family), df, nowMs);
    case Fit::outerFragments: {
      // Smaller segments get through where fragments may not.
      SuperPacket smaller = super;
      if (packet.fragment == Fragment::none && planSmaller(&smaller, sa.limit.room.load(std::memory_order_relaxed))) {
        return seal(sa, smaller, nextHeaderOf(packet.family), df, nowMs);
      }
      return seal(sa, super, nextHeaderOf(packet.family), false, nowMs);
    }
    case Fit::innerFragments:
      return sealFragments(sa, super, df, nowMs);
    case Fit::tooBig:
      countDrop(Drop::tooBig, super.count);
      return answerTooBig(sa, packet, super, nowMs);
  }
}

/** RFC 4301 §8.2.1: without DF it is cut before it is sealed, so that no gateway on the way has to put fragments together. */
void Outbound::sealFragments(SaOutbound& sa, const SuperPacket& super, bool df, uint64_t nowMs) {
  const uint32_t room = sa.limit.room.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < super.count; ++i) {
    writeSegment(super, i, whole_.get());
    Ipv4Fragments fragments(whole_.get(), segmentLength(super, i), room);
    SuperPacket one{};
    one.data = piece_.get();
    one.count = 1;
    while ((one.length = fragments.next(piece_.get())) != 0) seal(sa, one, kNextIpv4, df, nowMs);
  }
}

/** Back through the device it came from, about the first packet that a NIC would have made of it (ARC-13). */
void Outbound::answerTooBig(SaOutbound& sa, const InnerPacket& packet, const SuperPacket& super, uint64_t nowMs) {
  if (!answers_.allows(nowMs)) return;
  writeSegment(super, 0, whole_.get());
  InnerPacket first = packet;
  first.data = whole_.get();
  first.length = segmentLength(super, 0);
  const size_t length = writeTooBig(piece_.get() + kVnetHeader, first, sa.limit.mtuFor(packet.family));
  if (length == 0) return;
  memset(piece_.get(), 0, kVnetHeader);
  if (write(tunFd_, piece_.get(), kVnetHeader + length) < 0) countDrop(Drop::tunWriteFailed);
}

/** Large packets leave: does anything come back? */
void Outbound::watch(SaOutbound& sa, uint64_t nowMs) {
  const SaInbound* back = sadb().inbound(sa.inboundSpi);
  if (back == nullptr) return;
  const uint64_t heardMs = back->counters.lastMs.load(std::memory_order_relaxed);
  // Without room for the event the next silence raises it.
  if (sa.stall.doubts(nowMs, heardMs)) (void)events_.push({ShardEvent::Type::pathDoubt, sa.handle, {}});
}

void Outbound::tellRefused(uint64_t nowMs) {
  SocketAddress remote;
  if (!transmitter_.takeRefused(&remote) || nowMs - refusedMs_ < kRefusedIntervalMs) return;
  if (events_.push({ShardEvent::Type::sizeRefused, 0, remote})) refusedMs_ = nowMs;
}

void Outbound::seal(SaOutbound& sa, const SuperPacket& super, uint8_t nextHeader, bool df, uint64_t nowMs) {
  const CipherShape& shape = sa.cipher->shape;
  // TFC padding makes no packet larger than what the device takes and the path carries.
  const uint32_t least = std::min({sa.tfc, sadb().innerMtu(), sa.limit.room.load(std::memory_order_relaxed)});
  if (espLength(shape, std::max(segmentLength(super, 0), least)) > kMaxDatagram) {
    countDrop(Drop::tooBig, super.count);
    return;
  }
  uint64_t sequence = 0;
  const uint32_t granted = sa.takeSequence(super.count, &sequence);
  if (granted < super.count) countDrop(Drop::seqExhausted, super.count - granted);

  const uint8_t outerClass = sa.outerClass.of(trafficClassOf(super.data));
  uint32_t sealed = 0;
  uint64_t bytes = 0;
  {
    std::lock_guard<std::mutex> guard(sa.lock);
    for (uint32_t i = 0; i < granted; ++i, ++sequence) {
      const uint32_t inner = segmentLength(super, i);
      const uint32_t body = std::max(inner, least);
      const size_t length = espLength(shape, body);
      uint8_t* packet = transmitter_.reserve(length);
      if (packet == nullptr) {
        // Tiny segments outgrow the slab: send what there is. A blocked socket costs the rest of this super-packet.
        if (!transmitter_.flush()) {
          countDrop(Drop::sendFailed, granted - i);
          break;
        }
        packet = transmitter_.reserve(length);
      }
      writeSegment(super, i, packet + espHeadroom(shape));
      // TFC padding. The inner header tells the receiver where the packet ends.
      if (body > inner) memset(packet + espHeadroom(shape) + inner, 0, body - inner);
      frameEsp(packet, shape, sa.spi, static_cast<uint32_t>(sequence), body, nextHeader);
      writeIv(packet + kEspHeaderLength, shape, sequence);
      if (!sa.cipher->seal(packet, length, static_cast<uint32_t>(sequence >> 32))) {
        countDrop(Drop::sendFailed);
        continue;
      }
      transmitter_.commit(sa.path, outerClass, length, df);
      ++sealed;
      bytes += inner;
    }
  }
  if (sealed != 0) sa.counters.add(sealed, bytes, nowMs);
  if (sa.softLimitReached() && !events_.push({ShardEvent::Type::softLimit, sa.handle, {}})) sa.softLimitRaised = false;
}

void Outbound::writeIv(uint8_t* iv, const CipherShape& shape, uint64_t sequence) {
  if (shape.counterIv) {
    store64(iv, sequence);
    return;
  }
  // CBC wants an unpredictable IV (RFC 3602 §3): drawn in bulk, one call for 64 packets.
  if (ivLeft_ < shape.ivLength) {
    if (!randomBytes(ivPool_, sizeof ivPool_)) __builtin_trap();
    ivLeft_ = sizeof ivPool_;
  }
  memcpy(iv, ivPool_ + sizeof ivPool_ - ivLeft_, shape.ivLength);
  ivLeft_ -= shape.ivLength;
}

void Outbound::acquire(Policy& policy, uint64_t nowMs) {
  int64_t last = policy.lastAcquireMs.load(std::memory_order_relaxed);
  const int64_t now = static_cast<int64_t>(nowMs);
  if (now - last < static_cast<int64_t>(kAcquireIntervalMs)) return;
  if (!policy.lastAcquireMs.compare_exchange_strong(last, now, std::memory_order_relaxed)) return;
  if (!events_.push({ShardEvent::Type::acquire, policy.id, {}})) policy.lastAcquireMs = last;
}

}  // namespace tsvpn
