// UDP to TUN, in the order in which a packet meets it:
//   batch      one recvmmsg; each message may be many datagrams of one size (UDP_GRO)
//   datagram   classify: keepalive, short, IKE among ESP, SPI lookup; packets of one SPI are one run
//   run        the SA's lock once; per packet `open`, then the coalescer
//   open       length, replay (first check), ICV, replay (second check), padding, next header, selectors, ECN
//   writeTun   one writev per coalesced group                                       ordered per flow and shard
// No allocation, no wait and no JavaScript here.
#include "inbound.h"

#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>

#include "esp_packet.h"
#include "mss.h"
#include "tun.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace tsvpn {
namespace {

// Implementation: events of one kind per SA come at most this often.
constexpr int64_t kEventIntervalMs = 1000;
constexpr uint8_t kKeepalive = 0xff;

constexpr size_t kControl = 2 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(in6_pktinfo));

/** What the kernel says of a message beside its octets. */
struct Received {
  /** Of the datagrams that UDP_GRO joined; the kernel joins none of different traffic class. */
  size_t segmentSize;
  uint8_t trafficClass;
  SocketAddress local;
};

/** @param whole octets of the message */
Received readControl(msghdr& header, size_t whole) {
  Received r{whole, 0, {}};
  r.local.base.sa_family = AF_UNSPEC;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    int value = 0;
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      memcpy(&value, CMSG_DATA(c), sizeof value);
      if (value > 0) r.segmentSize = static_cast<size_t>(value);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      // One octet, unlike what is sent.
      memcpy(&r.trafficClass, CMSG_DATA(c), 1);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      memcpy(&value, CMSG_DATA(c), sizeof value);
      r.trafficClass = static_cast<uint8_t>(value);
    } else {
      readLocalAddress(c, &r.local);
    }
  }
  return r;
}

}  // namespace

Inbound::Inbound(int tunFd, EventQueue& events)
    : tunFd_(tunFd), events_(events), coalescer_(writeTun, this), buffers_(new uint8_t[kMessages * kBuffer]) {
  coalescer_.joinUdp = kernelHasUso();
}

bool Inbound::batch(const UdpSocket& socket, uint64_t nowMs) {
  mmsghdr headers[kMessages];
  iovec parts[kMessages];
  SocketAddress from[kMessages];
  alignas(cmsghdr) char control[kMessages][kControl];
  for (int i = 0; i < kMessages; ++i) {
    parts[i] = {buffers_.get() + i * kBuffer, kBuffer};
    headers[i].msg_hdr = {&from[i], sizeof from[i], &parts[i], 1, control[i], sizeof control[i], 0};
  }
  const int n = recvmmsg(socket.fd, headers, kMessages, MSG_DONTWAIT, nullptr);
  if (n < 0) {
    if (errno == EINTR || errno == ECONNREFUSED) return true;
    if (errno == EBADF || errno == ENOTSOCK || errno == EINVAL) udpFailure_ = errno;
    return false;
  }
  {
    SharedLock guard;
    for (int i = 0; i < n; ++i) {
      const size_t length = headers[i].msg_len;
      const Received r = readControl(headers[i].msg_hdr, length);
      datagram(buffers_.get() + i * kBuffer, length, r.segmentSize, {from[i], r.local, r.trafficClass}, nowMs);
    }
  }
  coalescer_.flush();
  return n == kMessages;
}

void Inbound::stray(uint8_t* data, size_t length, const SocketAddress& from, const SocketAddress& local,
                    uint64_t nowMs) {
  {
    SharedLock guard;
    datagram(data, length, length, {from, local, 0}, nowMs);
  }
  coalescer_.flush();
}

void Inbound::datagram(uint8_t* data, size_t length, size_t segmentSize, const Outer& outer, uint64_t nowMs) {
  if (length == 0) countDrop(Drop::malformedEsp);
  while (length != 0) {
    const size_t first = length < segmentSize ? length : segmentSize;
    if (first < kEspHeaderLength) {
      // A NAT keepalive is one octet (RFC 3948 §2.3) and no error.
      if (first != 1 || data[0] != kKeepalive) countDrop(Drop::malformedEsp);
      data += first;
      length -= first;
      continue;
    }
    // GRO may join packets of two SAs of one peer: a run ends where the SPI changes.
    size_t end = first;
    while (end < length && length - end >= 4 && memcmp(data, data + end, 4) == 0) {
      end += length - end < segmentSize ? length - end : segmentSize;
    }
    const size_t packets = (end + segmentSize - 1) / segmentSize;
    SaInbound* sa = sadb().inbound(load32(data));
    if (load32(data) == 0) {
      handOver(data, end, segmentSize, outer);
    } else if (sa == nullptr) {
      countDrop(Drop::unknownSpi, packets);
    } else {
      run(*sa, data, end, segmentSize, outer, nowMs);
    }
    data += end;
    length -= end;
  }
}

void Inbound::handOver(const uint8_t* data, size_t length, size_t segmentSize, const Outer& outer) {
  for (size_t at = 0; at < length; at += segmentSize) {
    const size_t size = length - at < segmentSize ? length - at : segmentSize;
    if (isStrayIke(data + at, size) && events_.pushIke(data + at, size, outer.from, outer.local)) continue;
    countDrop(Drop::malformedEsp);
  }
}

void Inbound::run(SaInbound& sa, uint8_t* data, size_t length, size_t segmentSize, const Outer& outer,
                  uint64_t nowMs) {
  uint64_t packets = 0, bytes = 0;
  bool newest = false;
  std::lock_guard<std::mutex> guard(sa.lock);
  for (size_t at = 0; at < length; at += segmentSize) {
    const size_t size = length - at < segmentSize ? length - at : segmentSize;
    InnerPacket inner;
    const Drop reason = open(sa, data + at, size, outer.trafficClass, &inner, &newest);
    if (reason != Drop::none) {
      countDrop(reason);
      if (reason == Drop::selectorMismatch) reportMismatch(sa, inner, nowMs);
      continue;
    }
    ++packets;
    bytes += inner.length;
    coalescer_.add(inner);
  }
  if (packets != 0) sa.counters.add(packets, bytes, nowMs);
  if (newest) checkSource(sa, outer.from, nowMs);
}

Drop Inbound::open(SaInbound& sa, uint8_t* packet, size_t length, uint8_t outerClass, InnerPacket* inner,
                   bool* newest) {
  if (!espLengthPossible(sa.cipher->shape, length)) return Drop::malformedEsp;
  const uint64_t sequence = sa.window.infer(load32(packet + 4));
  if (!sa.window.mayAccept(sequence)) return Drop::replay;
  OpenedEsp opened;
  const Drop verdict = openEsp(*sa.cipher, packet, length, static_cast<uint32_t>(sequence >> 32), &opened);
  if (verdict == Drop::badIcv) return verdict;
  // Authentic from here on, whatever its content.
  const uint64_t top = sa.window.top();
  if (!sa.window.accept(sequence)) return Drop::replay;
  if (sequence > top) *newest = true;
  if (verdict != Drop::none) return verdict;

  if (opened.nextHeader == kNextNone) return Drop::dummy;
  if (opened.length == 0) return Drop::badPadding;
  const uint8_t version = opened.inner[0] >> 4;
  if (!(opened.nextHeader == kNextIpv4 && version == 4) && !(opened.nextHeader == kNextIpv6 && version == 6)) {
    return Drop::badPadding;
  }
  // The inner header's own length trims TFC padding (ESP-14).
  if (!parseInner(opened.inner, opened.length, inner)) return Drop::malformedInner;
  if (!inboundMatches(sa.local, sa.remote, *inner)) return Drop::selectorMismatch;
  if (!mergeEcn(opened.inner, outerClass)) return Drop::ceOverNotEct;
  if (isSyn(*inner)) {
    const uint32_t mtu = sa.mssMtu.load(std::memory_order_relaxed);
    clampMss(opened.inner + inner->l4Offset, inner->length - inner->l4Offset, inner->family, mtu, false);
  }
  return Drop::none;
}

void Inbound::reportMismatch(SaInbound& sa, const InnerPacket& packet, uint64_t nowMs) {
  const int64_t now = static_cast<int64_t>(nowMs);
  if (now - sa.mismatchMs < kEventIntervalMs) return;
  ShardEvent event{ShardEvent::Type::selectorMismatch, sa.spi, {}};
  event.sampleLength = static_cast<uint8_t>(packet.length < ShardEvent::kSample ? packet.length : ShardEvent::kSample);
  memcpy(event.sample, packet.data, event.sampleLength);
  if (events_.push(event)) sa.mismatchMs = now;
}

void Inbound::checkSource(SaInbound& sa, const SocketAddress& from, uint64_t nowMs) {
  if (sameRemote(sa.source, from)) return;
  const int64_t now = static_cast<int64_t>(nowMs);
  if (now - sa.movedMs < kEventIntervalMs) return;
  if (!events_.push({ShardEvent::Type::endpointMoved, sa.spi, from})) return;
  sa.movedMs = now;
  sa.source = from;
}

void Inbound::writeTun(void* self, const iovec* parts, int count, uint32_t packets) {
  Inbound& in = *static_cast<Inbound*>(self);
  if (in.tunFailure_ != 0) {
    countDrop(Drop::tunWriteFailed, packets);
    return;
  }
  ssize_t n;
  do {
    n = writev(in.tunFd_, parts, count);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return;
  countDrop(Drop::tunWriteFailed, packets);
  // The queue is no longer attached to a device. EIO only says that the interface is down.
  if (errno == EBADFD || errno == EBADF) in.tunFailure_ = errno;
}

}  // namespace tsvpn
