// DSCP, ECN and TFC padding of the datapath: the tables of RFC 6040 against a second reading of them, then packets through
// Outbound and Inbound over loopback, IPv4 and IPv6 in each other.
#include "../../native/traffic_class.h"

#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include "../../native/backends.h"
#include "../../native/esp_packet.h"
#include "../../native/inbound.h"
#include "../../native/outbound.h"
#include "harness.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace pure {
namespace {

using tsvpn::Drop;
using tsvpn::VnetHeader;

constexpr uint8_t kNot = 0, kOne = 1, kZero = 2, kCe = 3, kGone = 9;
constexpr uint32_t kSpi = 0x0a0b0c0d;
constexpr int64_t kHandle = 77, kPolicy = 77;

uint64_t drops(Drop reason) { return tsvpn::g_drops[static_cast<size_t>(reason)].load(); }

/** RFC 6040 §4.2 as its sentences say it. */
uint8_t exitCode(uint8_t inner, uint8_t outer) {
  if (inner == kNot) return outer == kCe ? kGone : kNot;
  if (inner == kCe || outer == kCe) return kCe;
  if (inner == kZero && outer == kOne) return kOne;
  return inner;
}

void setClass(Bytes& p, uint8_t value, const PacketShape& shape) {
  if (shape.v6) put16(p, 0, 0x6000u | value << 4 | (get16(p.data()) & 15));
  else p[1] = value;
  finishPacket(p, l4OffsetOf(shape), shape.tcp ? 6 : 17);
}
uint8_t classOf(const Bytes& p) {
  return static_cast<uint8_t>(p[0] >> 4 == 6 ? get16(p.data()) >> 4 : p[1]);
}

void exitTable(Random& random) {
  for (int i = 0; i < 16; ++i) {
    const uint8_t inner = static_cast<uint8_t>(i / 4), outer = static_cast<uint8_t>(i % 4);
    for (const bool v6 : {false, true}) {
      PacketShape shape;
      shape.v6 = v6;
      shape.payload = random.under(40);
      Bytes packet = makePacket(shape, random);
      if (v6) put32(packet, 0, 0x60000000u | (random.under(1u << 20)));
      const uint8_t dscp = static_cast<uint8_t>(random.under(64));
      setClass(packet, static_cast<uint8_t>(dscp << 2 | inner), shape);
      const bool broken = !v6 && random.oneIn(4);
      if (broken) put16(packet, 10, get16(packet.data() + 10) ^ (1u << random.under(16)));
      const uint32_t off = v6 ? 0 : plainSum(packet.data(), 20);
      Bytes expected = packet;
      const uint8_t code = exitCode(inner, outer);
      const uint8_t outerClass = static_cast<uint8_t>(random.under(64) << 2 | outer);
      CHECK(tsvpn::mergeEcn(packet.data(), outerClass) == (code != kGone));
      if (code != kGone) {
        // DSCP is not the outer header's to change.
        CHECK(classOf(packet) == (dscp << 2 | code));
        if (!v6) CHECK(plainSum(packet.data(), 20) == off && (off == 0xffff) == !broken);
        if (v6) put16(expected, 0, get16(packet.data()));
        else expected[1] = packet[1], expected[10] = packet[10], expected[11] = packet[11];
        if (v6) CHECK(((get16(packet.data()) ^ get16(expected.data())) & 0xf00f) == 0);
      }
      CHECK(packet == expected);
    }
  }
}

void entryTable() {
  for (int inner = 0; inner < 256; ++inner) {
    const uint8_t in = static_cast<uint8_t>(inner);
    tsvpn::OuterClass copy, hidden, fixed, both;
    hidden.hideEcn();
    fixed.fixDscp(46);
    both.hideEcn();
    both.fixDscp(0);
    CHECK(copy.of(in) == in && hidden.of(in) == (in & 0xfc) && fixed.of(in) == ((46 << 2) | (in & 3)) && both.of(in) == 0);
  }
}

struct Received {
  Bytes data;
  int trafficClass = -1;
  int segment = 0;
};

struct Udp {
  tsvpn::UdpSocket udp;
  tsvpn::SocketAddress address{};
  Udp(uint8_t family, bool gro) {
    const bool v4 = family == 4;
    udp.family = family;
    udp.fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    socklen_t length = v4 ? sizeof address.v4 : sizeof address.v6;
    if (v4) {
      address.v4.sin_family = AF_INET;
      address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
      address.v6.sin6_family = AF_INET6;
      address.v6.sin6_addr = in6addr_loopback;
    }
    const int on = 1, size = 4 << 20;
    CHECK(udp.fd >= 0 && bind(udp.fd, &address.base, length) == 0 && getsockname(udp.fd, &address.base, &length) == 0);
    CHECK((v4 ? setsockopt(udp.fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof on)
              : setsockopt(udp.fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on)) == 0);
    if (gro) setsockopt(udp.fd, SOL_UDP, UDP_GRO, &on, sizeof on);
    setsockopt(udp.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  ~Udp() { close(udp.fd); }
  Udp(const Udp&) = delete;
  Udp& operator=(const Udp&) = delete;

  bool receive(Received* out) {
    out->data.resize(65536);
    out->trafficClass = -1;
    out->segment = 0;
    alignas(cmsghdr) char control[128];
    iovec part{out->data.data(), out->data.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t n = recvmsg(udp.fd, &header, 0);
    if (n < 0) return false;
    out->data.resize(static_cast<size_t>(n));
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) out->trafficClass = *CMSG_DATA(c);
      if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) memcpy(&out->trafficClass, CMSG_DATA(c), 4);
      if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) memcpy(&out->segment, CMSG_DATA(c), 4);
    }
    return true;
  }
};

struct Tun {
  int shard, test;
  Tun() {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) == 0);
    shard = fds[0];
    test = fds[1];
  }
  ~Tun() {
    close(shard);
    close(test);
  }
  Tun(const Tun&) = delete;
  Tun& operator=(const Tun&) = delete;
};

const tsvpn::Selectors kAny{{4, 0, 0, 0xffff, {0, 0}, {0, 0xffffffffu}}, {6, 0, 0, 0xffff, {0, 0}, {~uint64_t{0}, ~uint64_t{0}}}};

tsvpn::SaKeys keysOf(const Bytes& key) { return {20, 128, 0, true, key.data(), key.size(), nullptr, 0}; }
std::unique_ptr<tsvpn::EspCipher> cipherOf(const Bytes& key, tsvpn::Direction direction) {
  std::string error;
  return tsvpn::makeCipher(keysOf(key), direction, &error);
}

/** Packets of several classes in one batch: each datagram bears its own. @param alone one super-packet: one message */
void outbound(Random& random, uint8_t family, bool alone) {
  const Bytes key = random.bytes(20);
  Tun tun;
  Udp from(family, false), to(family, true);
  tsvpn::EventQueue events;
  tsvpn::Transmitter transmitter(&from.udp, 1);
  tsvpn::Outbound out(tun.shard, transmitter, events);
  auto sa = std::make_unique<tsvpn::SaOutbound>(kHandle, kSpi, true, 0);
  sa->cipher = cipherOf(key, tsvpn::Direction::seal);
  sa->path.family = family;
  sa->path.remote = to.address;
  const bool hide = random.oneIn(3), fix = random.oneIn(3);
  if (hide) sa->outerClass.hideEcn();
  if (fix) sa->outerClass.fixDscp(10);
  // A path that is known: datagrams go with DF and in one piece.
  sa->limit.room = 60000;
  sa->tfc = random.oneIn(2) ? random.between(64, 1600) : 0;
  const uint32_t mtu = 1438, filled = sa->tfc < mtu ? sa->tfc : mtu;
  tsvpn::sadb().setInnerMtu(mtu);
  CHECK(tsvpn::sadb().addOutbound(std::move(sa)));
  std::unique_ptr<tsvpn::Policy> policy(new tsvpn::Policy{});
  policy->id = kPolicy;
  policy->local = policy->remote = kAny;
  policy->hasOutbound = true;
  policy->outbound = kHandle;
  tsvpn::sadb().setPolicy(std::move(policy));

  struct Expected {
    Bytes packet;
    int trafficClass;
  };
  std::vector<Expected> expected;
  for (int i = 0; i < (alone ? 1 : 24); ++i) {
    PacketShape shape;
    shape.v6 = random.oneIn(2);
    shape.tcp = false;
    const bool super = alone || random.oneIn(6);
    shape.payload = super ? 5000 : random.between(1, 1300);
    Bytes packet = makePacket(shape, random);
    const uint8_t inner = static_cast<uint8_t>(random.oneIn(2) ? random.under(4) : random.under(256));
    setClass(packet, inner, shape);
    const int outer = (fix ? 10 << 2 : inner & 0xfc) | (hide ? 0 : inner & 3);
    VnetHeader header{};
    if (super) {
      header.flags = tsvpn::kVnetNeedsChecksum;
      header.gsoType = tsvpn::kGsoUdp;
      header.gsoSize = 1000;
      header.checksumStart = static_cast<uint16_t>(l4OffsetOf(shape));
      header.checksumOffset = 6;
      for (int k = 0; k < 5; ++k) {
        Bytes cut(packet.begin(), packet.begin() + headerOf(shape));
        cut.insert(cut.end(), packet.begin() + headerOf(shape) + k * 1000, packet.begin() + headerOf(shape) + (k + 1) * 1000);
        if (!shape.v6) put16(cut, 4, get16(packet.data() + 4) + static_cast<uint32_t>(k));
        finishPacket(cut, l4OffsetOf(shape), 17);
        expected.push_back({cut, outer});
      }
    } else {
      expected.push_back({packet, outer});
    }
    Bytes all(sizeof header + packet.size());
    memcpy(all.data(), &header, sizeof header);
    memcpy(all.data() + sizeof header, packet.data(), packet.size());
    CHECK(write(tun.test, all.data(), all.size()) == static_cast<ssize_t>(all.size()));
  }
  while (out.batch(1)) {
  }

  auto cipher = cipherOf(key, tsvpn::Direction::open);
  size_t at = 0;
  uint32_t messages = 0;
  for (Received r; to.receive(&r); ++messages) {
    const size_t step = r.segment > 0 ? static_cast<size_t>(r.segment) : r.data.size();
    for (size_t start = 0; start < r.data.size(); start += step, ++at) {
      const size_t size = r.data.size() - start < step ? r.data.size() - start : step;
      CHECK(at < expected.size() && r.trafficClass == expected[at].trafficClass);
      tsvpn::OpenedEsp opened;
      CHECK(tsvpn::openEsp(*cipher, r.data.data() + start, size, 0, &opened) == Drop::none);
      const Bytes& packet = expected[at].packet;
      // TFC padding: zeros behind the packet, up to what was asked for.
      CHECK(opened.length == (packet.size() < filled ? filled : packet.size()));
      CHECK(Bytes(opened.inner, opened.inner + packet.size()) == packet);
      for (size_t k = packet.size(); k < opened.length; ++k) CHECK(opened.inner[k] == 0);
    }
  }
  CHECK(at == expected.size());
  // With UDP_SEGMENT and UDP_GRO over loopback a message arrives as it was sent.
  if (alone && from.udp.gso) CHECK(messages == 1);
  CHECK(tsvpn::sadb().removePolicy(kPolicy) && tsvpn::sadb().removeOutbound(kHandle));
}

/** What the outer header says of congestion reaches the inner one; packets of different classes are not joined. */
void inbound(Random& random, uint8_t family) {
  const Bytes key = random.bytes(20);
  Tun tun;
  Udp from(family, false), to(family, true);
  tsvpn::EventQueue events;
  tsvpn::Inbound in(tun.shard, events);
  auto sa = std::make_unique<tsvpn::SaInbound>(kSpi, true, 4096);
  sa->cipher = cipherOf(key, tsvpn::Direction::open);
  sa->local = sa->remote = kAny;
  sa->source = from.address;
  CHECK(tsvpn::sadb().addInbound(std::move(sa)));
  auto cipher = cipherOf(key, tsvpn::Direction::seal);
  tsvpn::Transmitter transmitter(&from.udp, 1);
  tsvpn::UdpPath path;
  path.family = family;
  path.remote = to.address;

  // One flow of equal sizes: but for their class all of them could be one super-packet.
  PacketShape shape;
  shape.v6 = random.oneIn(2);
  shape.payload = 400;
  std::vector<Bytes> expected;
  const uint64_t before = drops(Drop::ceOverNotEct);
  uint64_t gone = 0, delivered = 0;
  uint8_t inner = 0, outer = 0;
  for (uint32_t i = 1; i <= 60; ++i) {
    if (random.oneIn(5)) inner = static_cast<uint8_t>(random.oneIn(3) ? 0xb8 | random.under(4) : random.under(4));
    if (random.oneIn(5)) outer = static_cast<uint8_t>(random.under(256));
    Bytes packet = makePacket(shape, random);
    setClass(packet, inner, shape);
    shape.sequence += shape.payload;
    ++shape.identification;
    const size_t length = tsvpn::espLength(cipher->shape, packet.size());
    uint8_t* at = transmitter.reserve(length);
    CHECK(at != nullptr);
    memcpy(at + tsvpn::espHeadroom(cipher->shape), packet.data(), packet.size());
    tsvpn::frameEsp(at, cipher->shape, kSpi, i, packet.size(), shape.v6 ? tsvpn::kNextIpv6 : tsvpn::kNextIpv4);
    tsvpn::store64(at + tsvpn::kEspHeaderLength, i);
    CHECK(cipher->seal(at, length, 0));
    transmitter.commit(path, outer, length);
    const uint8_t code = exitCode(inner & 3, outer & 3);
    if (code == kGone) {
      ++gone;
      continue;
    }
    ++delivered;
    setClass(packet, static_cast<uint8_t>((inner & 0xfc) | code), shape);
    expected.push_back(packet);
  }
  CHECK(transmitter.flush());
  while (in.batch(to.udp, 1)) {
  }
  CHECK(drops(Drop::ceOverNotEct) - before == gone);
  CHECK(tsvpn::sadb().inbound(kSpi)->counters.packets == delivered);

  size_t at = 0;
  for (Bytes all(70000);;) {
    const ssize_t n = read(tun.test, all.data(), all.size());
    if (n < 0) break;
    VnetHeader header;
    memcpy(&header, all.data(), sizeof header);
    const Bytes whole(all.begin() + sizeof header, all.begin() + n);
    if (!shape.v6) CHECK(plainSum(whole.data(), 20) == 0xffff);
    // A super-packet has one class for all that was joined in it.
    Bytes payload(whole.begin() + headerOf(shape), whole.end());
    for (size_t k = 0; k < payload.size(); k += shape.payload, ++at) {
      CHECK(at < expected.size() && classOf(whole) == classOf(expected[at]));
      CHECK(Bytes(payload.begin() + static_cast<ptrdiff_t>(k), payload.begin() + static_cast<ptrdiff_t>(k + shape.payload)) ==
            Bytes(expected[at].begin() + headerOf(shape), expected[at].end()));
    }
  }
  CHECK(at == expected.size());
  CHECK(tsvpn::sadb().removeInbound(kSpi));
}

}  // namespace

void runTrafficClass(Random random, double seconds) {
  entryTable();
  for (Budget budget(seconds); budget.left();) {
    exitTable(random);
    for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
      outbound(random, family, false);
      outbound(random, family, true);
      inbound(random, family);
    }
  }
}

}  // namespace pure
