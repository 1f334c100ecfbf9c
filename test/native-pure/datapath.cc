// Both directions of a shard between two stand-ins: a socket pair for each TUN device, UDP over loopback for
// the path. What is read from "TUN" and from UDP is right, nearly right or garbage; events outlive a full queue.
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "../../native/backends.h"
#include "../../native/inbound.h"
#include "../../native/outbound.h"
#include "harness.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace pure {
namespace {

using tsvpn::Drop;
using tsvpn::ShardEvent;
using tsvpn::VnetHeader;

constexpr uint32_t kSpi = 0x01020304;
constexpr int64_t kHandle = 1, kPolicy = 1;
/** Routed to policies without an SA. */
constexpr uint32_t kTrapNet = 0x0b000000;

uint64_t drops(Drop reason) { return tsvpn::g_drops[static_cast<size_t>(reason)].load(); }
uint64_t allDrops() {
  uint64_t sum = 0;
  for (size_t i = 0; i < tsvpn::kDropCount; ++i) sum += tsvpn::g_drops[i].load();
  return sum;
}

struct Device {
  int shard, test;
  Device() {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) == 0);
    shard = fds[0];
    test = fds[1];
  }
  ~Device() {
    close(shard);
    close(test);
  }
  void give(const VnetHeader& header, const Bytes& packet) {
    Bytes all(sizeof header + packet.size());
    memcpy(all.data(), &header, sizeof header);
    if (!packet.empty()) memcpy(all.data() + sizeof header, packet.data(), packet.size());
    CHECK(write(test, all.data(), all.size()) == static_cast<ssize_t>(all.size()));
  }
  bool take(VnetHeader* header, Bytes* packet) {
    Bytes all(70000);
    const ssize_t n = read(test, all.data(), all.size());
    if (n < 0) return false;
    CHECK(n > static_cast<ssize_t>(sizeof *header));
    memcpy(header, all.data(), sizeof *header);
    packet->assign(all.begin() + sizeof *header, all.begin() + n);
    return true;
  }
};

struct Socket {
  tsvpn::UdpSocket udp;
  tsvpn::SocketAddress address{};
  Socket() {
    udp.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    udp.family = 4;
    address.v4.sin_family = AF_INET;
    address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address.v4;
    const int on = 1, size = 4 << 20;
    CHECK(udp.fd >= 0 && bind(udp.fd, &address.base, length) == 0);
    CHECK(getsockname(udp.fd, &address.base, &length) == 0);
    setsockopt(udp.fd, SOL_UDP, UDP_GRO, &on, sizeof on);
    setsockopt(udp.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  ~Socket() { close(udp.fd); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
};

/** Outbound of one host, inbound of the other, and their SAs in the process's database. */
struct Lab {
  Device near, far;
  Socket from, to, elsewhere;
  tsvpn::EventQueue sent, received;
  tsvpn::Transmitter transmitter{&from.udp, 1};
  tsvpn::Outbound outbound{near.shard, transmitter, sent};
  tsvpn::Inbound inbound{far.shard, received};
  uint64_t now = 1000000;

  Lab(Random& random, bool cbc, uint64_t sequence, int traps = 0) {
    const tsvpn::Selector any{4, 0, 0, 0xffff, {0, 0}, {0, 0xffffffffu}};
    const tsvpn::Selector any6{6, 0, 0, 0xffff, {0, 0}, {~uint64_t{0}, ~uint64_t{0}}};
    const Bytes encr = random.bytes(cbc ? 16 : 20), integ = random.bytes(cbc ? 32 : 0);
    const tsvpn::SaKeys keys{static_cast<uint16_t>(cbc ? 12 : 20), 128, static_cast<uint16_t>(cbc ? 12 : 0), true,
                             encr.data(), encr.size(), integ.data(), integ.size(),
                             cbc || random.oneIn(2) ? "evp" : ""};
    std::string error;
    auto in = std::make_unique<tsvpn::SaInbound>(kSpi, true, 4096);
    in->cipher = tsvpn::makeCipher(keys, tsvpn::Direction::open, &error);
    in->local = in->remote = {any, any6};
    in->source = from.address;
    // Where the sender begins, the receiver must be: the high half is not sent.
    if (sequence != 0) in->window.accept(sequence);
    auto out = std::make_unique<tsvpn::SaOutbound>(kHandle, kSpi, true, sequence);
    out->cipher = tsvpn::makeCipher(keys, tsvpn::Direction::seal, &error);
    out->path = path();
    CHECK(tsvpn::sadb().addInbound(std::move(in)) && tsvpn::sadb().addOutbound(std::move(out)));
    setPolicy(kPolicy, {any, any6}, {any, any6}, true);
    for (int i = 0; i < traps; ++i) {
      const tsvpn::Address host{0, kTrapNet + static_cast<uint32_t>(i)};
      setPolicy(kPolicy + 1 + i, {any}, {{4, 0, 0, 0xffff, host, host}}, false);
    }
    traps_ = traps;
  }
  ~Lab() {
    for (int i = 0; i <= traps_; ++i) tsvpn::sadb().removePolicy(kPolicy + i);
    tsvpn::sadb().removeOutbound(kHandle);
    tsvpn::sadb().removeInbound(kSpi);
  }
  tsvpn::UdpPath path() const {
    tsvpn::UdpPath p;
    p.remote = to.address;
    return p;
  }
  /** Policy `kPolicy` with room for packets to wait. @returns what setPolicy returns */
  bool hold(bool up, const tsvpn::Selectors& remote) {
    const tsvpn::Selectors any{{4, 0, 0, 0xffff, {0, 0}, {0, 0xffffffffu}}};
    std::unique_ptr<tsvpn::Policy> p(new tsvpn::Policy{});
    p->id = kPolicy;
    p->local = any;
    p->remote = remote;
    p->hasOutbound = up;
    p->outbound = kHandle;
    p->held = std::make_unique<tsvpn::HeldPackets>();
    return tsvpn::sadb().setPolicy(std::move(p));
  }
  /** Sizes of what comes out at the far end. */
  std::vector<size_t> out() {
    std::vector<size_t> lengths;
    VnetHeader header;
    for (Bytes packet; far.take(&header, &packet);) lengths.push_back(packet.size());
    return lengths;
  }
  void run() {
    for (bool more = true; more;) {
      more = outbound.batch(now);
      while (inbound.batch(to.udp, now)) {
      }
    }
    CHECK(!transmitter.pending() && outbound.failure() == 0 && inbound.tunFailure() == 0 && inbound.udpFailure() == 0);
  }

 private:
  int traps_;
  static void setPolicy(int64_t id, tsvpn::Selectors local, tsvpn::Selectors remote, bool up) {
    std::unique_ptr<tsvpn::Policy> p(new tsvpn::Policy{});
    p->id = id;
    p->local = std::move(local);
    p->remote = std::move(remote);
    p->hasOutbound = up;
    p->outbound = kHandle;
    tsvpn::sadb().setPolicy(std::move(p));
  }
};

struct Offered {
  VnetHeader header{};
  Bytes packet;
  uint32_t payloadAt, datagrams;
};

Offered offer(Random& random) {
  PacketShape shape;
  shape.v6 = random.oneIn(2);
  shape.tcp = random.oneIn(2);
  shape.options = shape.tcp ? 4 * random.under(4) : 0;
  shape.payload = random.oneIn(3) ? random.under(60) : random.under(20000);
  Offered o;
  o.packet = makePacket(shape, random);
  o.payloadAt = headerOf(shape);
  o.datagrams = 1;
  if (random.oneIn(2) && shape.payload != 0) {
    const uint32_t size = random.between(200, 1400);
    o.header.flags = tsvpn::kVnetNeedsChecksum;
    o.header.gsoType = shape.tcp ? (shape.v6 ? tsvpn::kGsoTcp6 : tsvpn::kGsoTcp4) : tsvpn::kGsoUdp;
    o.header.gsoSize = static_cast<uint16_t>(size);
    o.header.checksumStart = static_cast<uint16_t>(l4OffsetOf(shape));
    o.header.checksumOffset = shape.tcp ? 16 : 6;
    o.datagrams = (shape.payload + size - 1) / size;
  }
  return o;
}

/** What goes in on one side comes out on the other, however it was cut and joined. */
void arrives(Random& random) {
  Lab lab(random, random.oneIn(2), random.oneIn(2) ? 0 : (uint64_t{7} << 32) - random.under(100));
  uint64_t packets = 0;
  const uint64_t before = allDrops();
  for (int i = 0; i < 30; ++i) {
    const Offered o = offer(random);
    lab.near.give(o.header, o.packet);
    lab.run();
    packets += o.datagrams;
    Bytes payload;
    VnetHeader header;
    Bytes packet;
    while (lab.far.take(&header, &packet)) {
      tsvpn::InnerPacket inner;
      CHECK(tsvpn::parseInner(packet.data(), packet.size(), &inner) && inner.length == packet.size());
      CHECK(packet.size() >= o.payloadAt);
      payload.insert(payload.end(), packet.begin() + o.payloadAt, packet.end());
    }
    CHECK(payload == Bytes(o.packet.begin() + o.payloadAt, o.packet.end()));
  }
  CHECK(allDrops() == before);
  CHECK(tsvpn::sadb().inbound(kSpi)->counters.packets == packets);
  CHECK(tsvpn::sadb().outbound(kHandle)->counters.packets == packets);
  CHECK(lab.sent.count() == 0 && lab.received.count() == 0);
}

/** Whatever TUN says, all that is sealed opens. */
void lies(Random& random) {
  Lab lab(random, random.oneIn(2), 0);
  for (int i = 0; i < 60; ++i) {
    Offered o = offer(random);
    uint8_t raw[sizeof(VnetHeader)];
    memcpy(raw, &o.header, sizeof raw);
    for (uint32_t n = random.under(4); n > 0; --n) raw[random.under(sizeof raw)] ^= static_cast<uint8_t>(random.next());
    memcpy(&o.header, raw, sizeof raw);
    // Thousands of tiny segments would overrun the receiver's buffer, not ours.
    if (o.header.gsoType != 0 && o.header.gsoSize < 100) o.header.gsoSize = 100;
    for (uint32_t n = random.under(4); n > 0; --n) o.packet[random.under(60) % o.packet.size()] = static_cast<uint8_t>(random.next());
    o.packet.resize(random.oneIn(4) ? random.under(static_cast<uint32_t>(o.packet.size())) : o.packet.size());
    const uint64_t icv = drops(Drop::badIcv), esp = drops(Drop::malformedEsp), replay = drops(Drop::replay);
    lab.near.give(o.header, o.packet);
    lab.run();
    CHECK(drops(Drop::badIcv) == icv && drops(Drop::malformedEsp) == esp && drops(Drop::replay) == replay);
    VnetHeader header;
    Bytes packet;
    while (lab.far.take(&header, &packet)) CHECK(!packet.empty());
  }
}

/** Datagrams from a stranger, many at once (UDP_SEGMENT): each is counted once, nothing reaches TUN, no event. */
void strangers(Random& random) {
  Lab lab(random, random.oneIn(2), 0);
  for (int i = 0; i < 60; ++i) {
    const uint16_t size = static_cast<uint16_t>(random.oneIn(3) ? random.between(1, 12) : random.between(13, 1400));
    const uint32_t count = random.between(1, 40), last = random.between(1, size);
    Bytes all = random.bytes(size * (count - 1) + last);
    uint64_t expected = count;
    for (uint32_t k = 0; k < count; ++k) {
      const size_t at = size_t{k} * size, length = k + 1 < count ? size : last;
      if (length >= 4 && random.oneIn(2)) put32(all, at, random.oneIn(5) ? 0 : kSpi);
      if (length == 1 && random.oneIn(2)) all[at] = 0xff;
      if (length == 1 && all[at] == 0xff) --expected;
    }
    const uint64_t before = allDrops();
    tsvpn::SocketAddress to = lab.to.address;
    const int segment = count > 1 ? size : 0;
    const bool set = setsockopt(lab.elsewhere.udp.fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0;
    CHECK(set || count == 1);
    CHECK(sendto(lab.elsewhere.udp.fd, all.data(), all.size(), 0, &to.base, sizeof to.v4) == static_cast<ssize_t>(all.size()));
    lab.run();
    CHECK(allDrops() - before == expected);
    VnetHeader header;
    Bytes packet;
    CHECK(!lab.far.take(&header, &packet));
    CHECK(lab.received.count() == 0);
  }
}

/** A datagram that cannot be sent costs its sequence number; the next one has a number of its own. */
void refusedSend(Random& random) {
  Lab lab(random, false, 0);
  tsvpn::UdpPath wrong = lab.path();
  wrong.hasLocal = true;
  wrong.local[0] = 192;  // 192.0.2.1 is nobody's address
  wrong.local[2] = 2;
  wrong.local[3] = 1;
  CHECK(tsvpn::sadb().setPath(kHandle, wrong));
  Offered o = offer(random);
  while (o.datagrams < 3) o = offer(random);
  const uint64_t before = drops(Drop::sendFailed), all = allDrops();
  lab.near.give(o.header, o.packet);
  lab.run();
  CHECK(drops(Drop::sendFailed) - before == o.datagrams && allDrops() - all == o.datagrams);
  CHECK(tsvpn::sadb().setPath(kHandle, lab.path()));
  lab.near.give(o.header, o.packet);
  lab.run();
  CHECK(tsvpn::sadb().inbound(kSpi)->window.top() == 2 * o.datagrams);
  CHECK(tsvpn::sadb().inbound(kSpi)->counters.packets == o.datagrams);
}

/** An event that finds the queue full comes again with the next packet. */
void fullQueue(Random& random) {
  constexpr int kTraps = 40;
  Lab lab(random, false, (uint64_t{1} << 44) - 1000, kTraps);
  PacketShape shape;
  shape.payload = 10;
  const auto traps = [&] {
    for (int i = 0; i < kTraps; ++i) {
      Bytes p = makePacket(shape, random);
      put32(p, 16, kTrapNet + static_cast<uint32_t>(i));
      finishPacket(p, 20, 6);
      lab.near.give({}, p);
    }
    lab.run();
  };
  std::map<int64_t, int> acquired;
  bool soft = false;
  const auto collect = [&] {
    const int count = lab.sent.count();
    for (int i = 0; i < count; ++i) {
      const ShardEvent& event = lab.sent.at(i);
      if (event.type == ShardEvent::Type::acquire) ++acquired[event.value];
      else soft = event.type == ShardEvent::Type::softLimit && event.value == kHandle;
    }
    lab.sent.clear();
    return count;
  };
  traps();
  lab.near.give({}, makePacket(shape, random));  // beyond the soft limit, with no room to say so
  lab.run();
  CHECK(collect() == 32 && !soft);
  traps();
  lab.near.give({}, makePacket(shape, random));
  lab.run();
  CHECK(collect() == kTraps - 32 + 1 && soft);
  CHECK(acquired.size() == kTraps);
  lab.near.give({}, makePacket(shape, random));
  lab.run();
  CHECK(collect() == 0);

  // The same for a peer that moved, and for a failure, which no packet would raise again.
  tsvpn::sadb().inbound(kSpi)->source = lab.elsewhere.address;
  while (lab.received.push({ShardEvent::Type::acquire, 0, {}})) {
  }
  lab.near.give({}, makePacket(shape, random));
  lab.run();
  const int full = lab.received.count();
  lab.received.pushFailure(ShardEvent::Type::failedTun, EBADF);
  lab.received.pushFailure(ShardEvent::Type::failedUdp, EBADF);
  CHECK(lab.received.count() == full + 2 && lab.received.at(full).type == ShardEvent::Type::failedTun);
  lab.received.clear();
  lab.near.give({}, makePacket(shape, random));
  lab.run();
  CHECK(lab.received.count() == 1 && lab.received.at(0).type == ShardEvent::Type::endpointMoved);
}

/** What comes out of ESP and lies outside of the selectors is dropped, and said once a second, with its beginning. */
void mismatch(Random& random) {
  Lab lab(random, random.oneIn(2), 0);
  tsvpn::sadb().inbound(kSpi)->remote = {{4, 0, 0, 0xffff, {0, 0x0a000001u}, {0, 0x0a000001u}}};
  PacketShape shape;
  shape.payload = random.oneIn(2) ? 0 : 500;
  shape.host = 2;
  const Bytes outside = makePacket(shape, random);
  const uint64_t before = drops(Drop::selectorMismatch);
  for (int i = 0; i < 5; ++i) lab.near.give({}, outside);
  lab.run();
  CHECK(lab.out().empty() && drops(Drop::selectorMismatch) - before == 5 && lab.received.count() == 1);
  const ShardEvent& event = lab.received.at(0);
  CHECK(event.type == ShardEvent::Type::selectorMismatch && event.value == kSpi);
  CHECK(event.sampleLength == (outside.size() < 64 ? outside.size() : 64));
  CHECK(memcmp(event.sample, outside.data(), event.sampleLength) == 0);
  lab.received.clear();
  lab.now += 999;
  lab.near.give({}, outside);
  lab.run();
  CHECK(lab.received.count() == 0);
  lab.now += 1;
  lab.near.give({}, outside);
  lab.run();
  CHECK(lab.received.count() == 1);
}

/** An IKE message with its marker, `length` octets in all. */
Bytes ikeMessage(Random& random, uint32_t length, uint8_t exchange) {
  Bytes ike = random.bytes(length);
  put32(ike, 0, 0);
  ike[4 + 18] = exchange;
  put32(ike, 4 + 24, length - 4);
  return ike;
}

/** IKE that the kernel joined to ESP packets is handed on, octet for octet; what begins an IKE SA, and what is too much, is not. */
void strays(Random& random) {
  Lab lab(random, false, 0);
  constexpr uint16_t kSize = 200;
  const auto send = [&](const std::vector<Bytes>& datagrams) {
    Bytes all;
    for (const Bytes& d : datagrams) all.insert(all.end(), d.begin(), d.end());
    tsvpn::SocketAddress to = lab.to.address;
    const int segment = kSize;
    CHECK(setsockopt(lab.elsewhere.udp.fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0);
    CHECK(sendto(lab.elsewhere.udp.fd, all.data(), all.size(), 0, &to.base, sizeof to.v4) == static_cast<ssize_t>(all.size()));
    lab.run();
  };
  Bytes esp = random.bytes(kSize);
  put32(esp, 0, kSpi);
  const uint8_t exchange = static_cast<uint8_t>(random.between(35, 37));
  const Bytes whole = ikeMessage(random, kSize, exchange), last = ikeMessage(random, random.between(32, kSize), exchange);
  const uint64_t icv = drops(Drop::badIcv), malformed = drops(Drop::malformedEsp);
  send({esp, whole, esp, last});
  CHECK(drops(Drop::badIcv) - icv == 2 && drops(Drop::malformedEsp) == malformed);
  CHECK(lab.received.count() == 2);
  const Bytes expected[] = {whole, last};
  for (int i = 0; i < 2; ++i) {
    const ShardEvent& event = lab.received.at(i);
    CHECK(event.type == ShardEvent::Type::ike && tsvpn::sameRemote(event.ike->from, lab.elsewhere.address));
    CHECK(Bytes(event.ike->data, event.ike->data + event.ike->length) == expected[i]);
  }
  lab.received.clear();

  Bytes lies = ikeMessage(random, kSize, exchange);
  put32(lies, 4 + 24, kSize);
  send({esp, ikeMessage(random, kSize, 34), lies, ikeMessage(random, 32, 34)});
  CHECK(lab.received.count() == 0 && drops(Drop::malformedEsp) - malformed == 3);

  std::vector<Bytes> many{esp};
  for (int i = 0; i < 12; ++i) many.push_back(ikeMessage(random, kSize, exchange));
  send(many);
  CHECK(lab.received.count() == 8 && drops(Drop::malformedEsp) - malformed == 3 + 4);
  lab.received.clear();
}

/** A UDP packet of `payload` octets to 10.`net`.0.1; its size tells it apart. */
Bytes numbered(Random& random, uint32_t payload, uint32_t net = 2) {
  PacketShape shape;
  shape.tcp = false;
  shape.payload = payload;
  Bytes p = makePacket(shape, random);
  put32(p, 16, 0x0a000001u | net << 16);
  finishPacket(p, 20, 17);
  return p;
}

/** What came first to a policy without an SA is sent in its order once there is one; the bounds are kept. */
void waits(Random& random) {
  const tsvpn::Selectors all{{4, 0, 0, 0xffff, {0, 0}, {0, 0xffffffffu}}};
  const tsvpn::Selectors net2{{4, 0, 0, 0xffff, {0, 0x0a020000u}, {0, 0x0a02ffffu}}};
  Lab lab(random, false, 0);
  CHECK(!lab.hold(false, all));
  const size_t headers = numbered(random, 0).size();
  const uint64_t before = allDrops(), noSa = drops(Drop::noSa);
  const auto offerSizes = [&](uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; ++i) lab.near.give({}, numbered(random, 100 + i));
  };

  offerSizes(0, 20);
  lab.run();
  CHECK(lab.out().empty() && allDrops() == before);
  CHECK(lab.sent.count() == 1 && lab.sent.at(0).type == ShardEvent::Type::acquire);
  lab.sent.clear();
  CHECK(lab.hold(true, all));  // without a word to the shard: the next packet goes behind those that wait
  offerSizes(20, 21);
  lab.run();
  std::vector<size_t> lengths = lab.out();
  CHECK(lengths.size() == 21);
  for (size_t i = 0; i < lengths.size(); ++i) CHECK(lengths[i] == headers + 100 + i);
  CHECK(allDrops() == before && !lab.hold(true, all));

  // Too many: the oldest go. Woken, not followed by a packet.
  CHECK(!lab.hold(false, all));
  constexpr uint32_t kMany = tsvpn::HeldPackets::kMaxPackets + 10;
  offerSizes(0, kMany);
  lab.run();
  CHECK(drops(Drop::noSa) - noSa == 10);
  CHECK(lab.hold(true, all));
  lab.outbound.release();
  lab.run();
  lengths = lab.out();
  CHECK(lengths.size() == tsvpn::HeldPackets::kMaxPackets);
  for (size_t i = 0; i < lengths.size(); ++i) CHECK(lengths[i] == headers + 110 + i);

  // Too large together, and too old.
  CHECK(!lab.hold(false, all));
  for (int i = 0; i < 6; ++i) {
    lab.near.give({}, numbered(random, 60000));
    lab.run();
  }
  CHECK(drops(Drop::noSa) - noSa == 12);
  lab.now += tsvpn::HeldPackets::kMaxAgeMs + 1;
  CHECK(lab.hold(true, all));
  lab.outbound.release();
  lab.run();
  CHECK(lab.out().empty() && drops(Drop::noSa) - noSa == 16);

  // The SA covers less than the policy did.
  CHECK(!lab.hold(false, all));
  const uint64_t noPolicy = drops(Drop::noPolicy);
  lab.near.give({}, numbered(random, 1, 3));
  lab.near.give({}, numbered(random, 2, 2));
  lab.run();
  CHECK(lab.hold(true, net2));
  lab.outbound.release();
  lab.run();
  CHECK(lab.out() == std::vector<size_t>{headers + 2} && drops(Drop::noPolicy) - noPolicy == 1);

  // Gone with its policy.
  CHECK(!lab.hold(false, all));
  offerSizes(0, 3);
  lab.run();
  CHECK(tsvpn::sadb().removePolicy(kPolicy) && drops(Drop::noSa) - noSa == 19);
}

/**
 * ARC-13: above the path's room a packet with DF, or of IPv6, comes back as an ICMP error and goes no further; one without DF
 * arrives in fragments; what IP guarantees to carry arrives in any case (ARC-15).
 */
void narrow(Random& random) {
  Lab lab(random, random.oneIn(2), 0);
  tsvpn::SaOutbound& sa = *tsvpn::sadb().outbound(kHandle);
  sa.clampsMss = true;
  sa.inboundSpi = kSpi;
  const uint32_t mtu = random.between(576, 1500);
  CHECK(tsvpn::sadb().setPathMtu(kHandle, mtu) && !tsvpn::sadb().setPathMtu(kHandle + 1, mtu));
  const uint32_t room = sa.limit.room;
  CHECK(tsvpn::sadb().inbound(kSpi)->mssMtu == room);
  for (int i = 0; i < 20; ++i) {
    PacketShape shape;
    shape.v6 = random.oneIn(2);
    shape.tcp = random.oneIn(2);
    shape.payload = random.between(0, 2000);
    Bytes p = makePacket(shape, random);
    const bool mayFragment = !shape.v6 && random.oneIn(2);
    if (mayFragment) p[6] = 0;
    if (!shape.v6) finishPacket(p, 20, shape.tcp ? 6 : 17);
    const uint64_t before = drops(Drop::tooBig), all = allDrops();
    lab.near.give({}, p);
    lab.run();
    std::vector<Bytes> arrived;
    VnetHeader header;
    for (Bytes packet; lab.far.take(&header, &packet);) arrived.push_back(packet);
    Bytes answer;
    const bool isTooBig = p.size() > room && !mayFragment && p.size() > (shape.v6 ? 1280u : 576u);
    CHECK(lab.near.take(&header, &answer) == isTooBig);
    CHECK(drops(Drop::tooBig) - before == (isTooBig ? 1 : 0) && allDrops() - all == (isTooBig ? 1 : 0));
    CHECK(arrived.empty() == isTooBig);
    if (isTooBig) {
      tsvpn::InnerPacket error;
      CHECK(tsvpn::parseInner(answer.data(), answer.size(), &error) && header.gsoType == 0);
      const uint32_t told = shape.v6 ? get32(answer.data() + 44) : get16(answer.data() + 26);
      CHECK(told == (room < (shape.v6 ? 1280u : 576u) ? (shape.v6 ? 1280u : 576u) : room));
    }
    const bool isWhole = shape.v6 || !mayFragment;
    for (const Bytes& one : arrived) CHECK(one.size() <= room || isWhole);
    CHECK(p.size() > room || (arrived.size() == 1 && arrived[0] == p));
  }
  // A connection begins with segments that fit, in both directions.
  PacketShape syn;
  syn.options = 4;
  syn.payload = 0;
  syn.flags = 0x02;
  Bytes p = makePacket(syn, random);
  p[40] = 2;
  p[41] = 4;
  put16(p, 42, 9000);
  finishPacket(p, 20, 6);
  sa.clampsMss = random.oneIn(2);
  lab.near.give({}, p);
  lab.run();
  VnetHeader header;
  Bytes arrived;
  CHECK(lab.far.take(&header, &arrived) && get16(arrived.data() + 42) == room - 40);
  CHECK(transportSum(arrived.data(), 20, arrived.size(), 6) == 0xffff);
}

/** A read that is refused for ever (an epoll descriptor has none) ends as a failure, not as a loop. */
void refusedRead() {
  const int fd = epoll_create1(0);
  Socket socket;
  tsvpn::EventQueue events;
  tsvpn::Transmitter transmitter(&socket.udp, 1);
  tsvpn::Outbound outbound(fd, transmitter, events);
  const uint64_t before = drops(Drop::malformedInner);
  CHECK(!outbound.batch(1) && outbound.failure() == EINVAL);
  CHECK(drops(Drop::malformedInner) - before > 0);
  close(fd);
}

}  // namespace

void runDatapath(Random random, double seconds) {
  refusedRead();
  fullQueue(random);
  for (Budget budget(seconds); budget.left();) {
    arrives(random);
    lies(random);
    strangers(random);
    refusedSend(random);
    mismatch(random);
    strays(random);
    waits(random);
    narrow(random);
  }
}

}  // namespace pure
