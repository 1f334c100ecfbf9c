// Packets that are too big for their path: what fits, what routers and we say of the rest, fragments, smaller segments, and
// the MSS of TCP. Right, nearly right and garbage; every checksum is recomputed by other code than made it.
#include "../../native/icmp_report.h"
#include "../../native/mss.h"
#include "../../native/path_mtu.h"
#include "../../native/segment.h"
#include "../../native/too_big.h"
#include "harness.h"

namespace pure {
namespace {

using tsvpn::InnerPacket;

InnerPacket parsed(const uint8_t* data, size_t length) {
  InnerPacket packet;
  CHECK(tsvpn::parseInner(data, length, &packet));
  return packet;
}

/** ARC-12: the room is what the ESP layout leaves, to the octet. */
void roomIsExact(Random& random) {
  for (const tsvpn::CipherShape& shape :
       {tsvpn::CipherShape{8, 16, 4, true}, tsvpn::CipherShape{16, 16, 16, false}, tsvpn::CipherShape{16, 32, 16, false}}) {
    const uint8_t family = random.oneIn(2) ? 4 : 6;
    const uint32_t mtu = random.between(576, 9000), headers = (family == 4 ? 20 : 40) + 8;
    const uint32_t room = tsvpn::innerRoom(shape, mtu, family);
    CHECK(headers + tsvpn::espLength(shape, room) <= mtu);
    CHECK(headers + tsvpn::espLength(shape, room + 1) > mtu);
    CHECK(tsvpn::innerRoom(shape, 0, family) == 128);
  }
}

void fitsByTheRules() {
  using tsvpn::Fit;
  tsvpn::PathLimit limit;
  CHECK(limit.fit(65535, 4, false) == Fit::fits && !limit.setsDf(false, 4) && !limit.setsDf(false, 6));
  limit.room = 500;
  CHECK(limit.fit(500, 4, false) == Fit::fits && limit.fit(501, 4, true) == Fit::innerFragments);
  CHECK(limit.fit(576, 4, false) == Fit::outerFragments && limit.fit(577, 4, false) == Fit::tooBig);
  CHECK(limit.fit(1280, 6, false) == Fit::outerFragments && limit.fit(1281, 6, false) == Fit::tooBig);
  CHECK(limit.mtuFor(4) == 576 && limit.mtuFor(6) == 1280);
  limit.room = 1400;
  CHECK(limit.mtuFor(4) == 1400 && limit.mtuFor(6) == 1400);
  CHECK(limit.setsDf(false, 4) && !limit.setsDf(true, 4) && limit.setsDf(true, 6));
  limit.df = tsvpn::OuterDf::set;
  CHECK(limit.setsDf(false, 4) && limit.setsDf(true, 4));
  limit.df = tsvpn::OuterDf::clear;
  CHECK(!limit.setsDf(false, 4) && limit.fit(9000, 6, false) == Fit::outerFragments);
}

void mssIsLowered(Random& random) {
  PacketShape shape;
  shape.v6 = random.oneIn(2);
  shape.options = 4 * random.between(1, 10);
  shape.payload = random.under(8);
  shape.flags = 0x02;
  Bytes p = makePacket(shape, random);
  const uint32_t l4 = l4OffsetOf(shape), room = shape.options - 4;
  // Somewhere among no-operations, also at odd offsets.
  const uint32_t at = l4 + 20 + random.under(room + 1);
  const uint32_t mss = random.between(1, 65535);
  p[at] = 2;
  p[at + 1] = 4;
  put16(p, at + 2, mss);
  finishPacket(p, l4, 6);
  const uint32_t mtu = random.between(100, 9000), most = mtu - l4 - 20;
  const auto block = exact(p);
  CHECK(tsvpn::isSyn(parsed(block.get(), p.size())));
  tsvpn::clampMss(block.get() + l4, p.size() - l4, shape.v6 ? 6 : 4, mtu, false);
  CHECK(get16(block.get() + at + 2) == (mss < most ? mss : most));
  CHECK(transportSum(block.get(), l4, p.size(), 6) == 0xffff);
  // An open checksum covers what follows only later.
  const auto open = exact(p);
  tsvpn::clampMss(open.get() + l4, p.size() - l4, shape.v6 ? 6 : 4, mtu, true);
  CHECK(get16(open.get() + at + 2) == (mss < most ? mss : most));
  CHECK(get16(open.get() + l4 + 16) == get16(p.data() + l4 + 16));
}

void mssSurvivesGarbage(Random& random) {
  PacketShape shape;
  shape.options = 40;
  shape.flags = 0x12;
  Bytes p = makePacket(shape, random);
  random.fill(p.data() + 40, 40);
  if (random.oneIn(2)) p[40] = static_cast<uint8_t>(random.under(3));
  p[32] = static_cast<uint8_t>(random.next());
  p.resize(random.between(40, static_cast<uint32_t>(p.size())));
  const auto block = exact(p);
  tsvpn::clampMss(block.get() + 20, p.size() - 20, 4, random.between(0, 1500), random.oneIn(2));
}

/** ARC-13: a right ICMP error, from the packet's destination to its source, about its first octets. */
void answersAreRight(Random& random) {
  PacketShape shape;
  shape.v6 = random.oneIn(2);
  shape.tcp = random.oneIn(2);
  shape.payload = random.between(0, 3000);
  const Bytes p = makePacket(shape, random);
  const uint32_t mtu = random.between(576, 1500);
  std::unique_ptr<uint8_t[]> to(new uint8_t[tsvpn::kMaxTooBig]);
  const size_t length = tsvpn::writeTooBig(to.get(), parsed(p.data(), p.size()), mtu);
  const InnerPacket error = parsed(to.get(), length);
  CHECK(error.length == length && length <= (shape.v6 ? 1280 : 576));
  const size_t addresses = shape.v6 ? 16 : 4, source = shape.v6 ? 8 : 12, header = shape.v6 ? 40 : 20;
  CHECK(memcmp(to.get() + source, p.data() + source + addresses, addresses) == 0);
  CHECK(memcmp(to.get() + source + addresses, p.data() + source, addresses) == 0);
  const uint8_t* icmp = to.get() + header;
  if (shape.v6) {
    CHECK(icmp[0] == 2 && icmp[1] == 0 && get32(icmp + 4) == mtu);
    CHECK(transportSum(to.get(), 40, length, 58) == 0xffff);
  } else {
    CHECK(icmp[0] == 3 && icmp[1] == 4 && get32(icmp + 4) == mtu);
    CHECK(plainSum(to.get(), 20) == 0xffff && plainSum(icmp, length - 20) == 0xffff);
  }
  const size_t quoted = length - header - 8;
  CHECK(quoted == p.size() || length == (shape.v6 ? 1280u : 576u));
  CHECK(memcmp(icmp + 8, p.data(), quoted) == 0);
  // RFC 1122 §3.2.2: an error about an error, and about a later fragment, is none.
  CHECK(tsvpn::writeTooBig(to.get(), error, mtu) == 0);
  if (shape.v6) return;
  Bytes later = p;
  later[7] = 1;
  CHECK(tsvpn::writeTooBig(to.get(), parsed(later.data(), later.size()), mtu) == 0);
  Bytes group = p;
  group[16] = 224;
  CHECK(tsvpn::writeTooBig(to.get(), parsed(group.data(), group.size()), mtu) == 0);
}

/** What the fragments carry is the packet, each fits, and a fragment of a fragment keeps its place. */
void fragmentsAreThePacket(Random& random, Bytes p, uint32_t mtu, int depth) {
  const uint32_t header = (p[0] & 15) * 4, before = (get16(p.data() + 6) & 0x1fff) * 8;
  const bool hasMore = (p[6] & 0x20) != 0;
  tsvpn::Ipv4Fragments fragments(p.data(), static_cast<uint32_t>(p.size()), mtu);
  uint32_t at = header;
  for (;;) {
    Bytes to(mtu);
    const uint32_t length = fragments.next(to.data());
    if (length == 0) break;
    CHECK(length <= mtu && get16(to.data() + 2) == length && plainSum(to.data(), header) == 0xffff);
    CHECK((get16(to.data() + 6) & 0x1fff) * 8 == before + at - header);
    CHECK(memcmp(to.data() + header, p.data() + at, length - header) == 0);
    at += length - header;
    CHECK(((to[6] & 0x20) != 0) == (hasMore || at < p.size()));
    to.resize(length);
    if (depth > 0 && random.oneIn(8)) fragmentsAreThePacket(random, to, random.between(128, mtu), depth - 1);
  }
  CHECK(at == p.size());
}

void segmentsShrink(Random& random) {
  PacketShape shape;
  shape.v6 = random.oneIn(2);
  shape.payload = random.between(600, 5000);
  shape.flags = 0x19;
  Bytes p = makePacket(shape, random);
  const bool isOpen = random.oneIn(2);
  tsvpn::VnetHeader header{};
  if (isOpen) {
    header.flags = tsvpn::kVnetNeedsChecksum;
    header.checksumStart = static_cast<uint16_t>(l4OffsetOf(shape));
    header.checksumOffset = 16;
  }
  const InnerPacket packet = parsed(p.data(), p.size());
  tsvpn::SuperPacket super;
  CHECK(tsvpn::planSegments(header, packet, &super));
  const uint32_t most = random.between(500, static_cast<uint32_t>(p.size()) - 1);
  CHECK(tsvpn::planSmaller(&super, most));
  uint32_t octets = 0;
  for (uint32_t i = 0; i < super.count; ++i) {
    Bytes to(tsvpn::segmentLength(super, i));
    tsvpn::writeSegment(super, i, to.data());
    CHECK(to.size() <= most && transportSum(to.data(), l4OffsetOf(shape), to.size(), 6) == 0xffff);
    const uint32_t payload = static_cast<uint32_t>(to.size()) - headerOf(shape);
    CHECK(get32(to.data() + l4OffsetOf(shape) + 4) == shape.sequence + octets);
    CHECK(memcmp(to.data() + headerOf(shape), p.data() + headerOf(shape) + octets, payload) == 0);
    octets += payload;
  }
  CHECK(octets == shape.payload);
  // A damaged segment must not leave with right checksums.
  if (isOpen) return;
  p[headerOf(shape) + random.under(shape.payload)] ^= 1;
  CHECK(tsvpn::planSegments(header, packet, &super) && !tsvpn::planSmaller(&super, most) && super.count == 1);
}

/** ARC-12: what a router quotes is read; anything cut short, changed or of another kind is not. */
void reportsAreRead(Random& random) {
  const bool v6 = random.oneIn(2);
  PacketShape shape;
  shape.v6 = v6;
  shape.tcp = false;
  shape.payload = random.between(8, 1400);
  shape.destinationPort = 4500;
  Bytes ours = makePacket(shape, random);
  put32(ours, headerOf(shape), static_cast<uint32_t>(random.next()) | 1);
  const uint32_t mtu = random.between(0, 65535);
  Bytes all(tsvpn::kMaxTooBig);
  all.resize(tsvpn::writeTooBig(all.data(), parsed(ours.data(), ours.size()), mtu));
  const Bytes seen(all.begin() + (v6 ? 40 : 0), all.end());
  const auto block = exact(seen);
  tsvpn::TooBigReport report;
  CHECK(tsvpn::readTooBig(block.get(), seen.size(), v6 ? 6 : 4, &report));
  CHECK(report.mtu == mtu && report.packetLength == ours.size());
  CHECK(report.spi == get32(ours.data() + headerOf(shape)) && report.sequence == get32(ours.data() + headerOf(shape) + 4));
  CHECK(memcmp(v6 ? static_cast<void*>(&report.remote.v6.sin6_addr) : static_cast<void*>(&report.remote.v4.sin_addr),
               ours.data() + (v6 ? 24 : 16), v6 ? 16 : 4) == 0);

  Bytes worse = seen;
  worse.resize(random.under(static_cast<uint32_t>(v6 ? 8 + 40 + 16 : 20 + 8 + 20 + 16)));
  const auto cut = exact(worse);
  CHECK(!tsvpn::readTooBig(cut.get(), worse.size(), v6 ? 6 : 4, &report));
  worse = seen;
  const uint32_t at = random.under(static_cast<uint32_t>(worse.size()));
  worse[at] = static_cast<uint8_t>(worse[at] + random.between(1, 255));
  const auto changed = exact(worse);
  const bool isRead = tsvpn::readTooBig(changed.get(), worse.size(), v6 ? 6 : 4, &report);
  // The kernel has checked the sum of an ICMPv6 message; of IPv4 it gives us everything.
  if (!v6 && at >= 20) CHECK(!isRead);
  const Bytes garbage = random.bytes(random.under(200));
  const auto any = exact(garbage);
  tsvpn::readTooBig(any.get(), garbage.size(), v6 ? 6 : 4, &report);
}

void silenceIsNoticed() {
  tsvpn::StallWatch watch;
  uint64_t now = 1000000;
  CHECK(watch.mayLook(now) && !watch.mayLook(now + 1) && watch.mayLook(now + tsvpn::StallWatch::kLookMs));
  CHECK(!watch.doubts(now, 0));
  // Answers come: no doubt within a minute.
  for (int i = 0; i < 50; ++i) {
    now += 100;
    CHECK(!watch.doubts(now, now));
  }
  const uint64_t heard = now;
  CHECK(!watch.doubts(now + 100, heard));
  uint64_t doubtedAt = 0;
  std::vector<uint64_t> waits;
  for (uint64_t at = now + 150; at < now + 20000; at += 50) {
    if (!watch.doubts(at, heard)) continue;
    waits.push_back(at - (doubtedAt == 0 ? now : doubtedAt));
    doubtedAt = at;
  }
  // Each doubt in vain waits twice as long as the one before.
  CHECK(waits.size() == 5 && waits[0] <= 600 && waits[1] == 800 && waits[2] == 1600 && waits[4] == 6400);
  // One answer, and silence is noticed as soon as before.
  now += 20000;
  CHECK(!watch.doubts(now, now - 10) && !watch.doubts(now + 350, now - 10) && watch.doubts(now + 450, now - 10));
  CHECK(!watch.doubts(now + 500, now + 500));
  // And however well it goes, once in a minute.
  int regular = 0;
  for (uint64_t at = now + 500; at < now + 130000; at += 100) regular += watch.doubts(at, at) ? 1 : 0;
  CHECK(regular == 2);
}

void answersAreLimited() {
  tsvpn::AnswerLimit limit;
  const uint64_t now = 5000;
  uint64_t allowed = 0;
  for (int i = 0; i < 1000; ++i) allowed += limit.allows(now) ? 1 : 0;
  CHECK(allowed == tsvpn::AnswerLimit::kBurst);
  for (uint64_t ms = 1; ms <= 1000; ++ms)
    for (int i = 0; i < 10; ++i) allowed += limit.allows(now + ms) ? 1 : 0;
  CHECK(allowed <= tsvpn::AnswerLimit::kBurst + tsvpn::AnswerLimit::kPerSecond);
  CHECK(allowed >= tsvpn::AnswerLimit::kPerSecond * 9 / 10);
}

}  // namespace

void runPath(Random random, double seconds) {
  fitsByTheRules();
  silenceIsNoticed();
  answersAreLimited();
  Budget budget(seconds);
  while (budget.left()) {
    roomIsExact(random);
    mssIsLowered(random);
    mssSurvivesGarbage(random);
    answersAreRight(random);
    PacketShape shape;
    shape.tcp = false;
    shape.payload = random.between(0, 9000);
    Bytes p = makePacket(shape, random);
    p[6] = 0;
    fragmentsAreThePacket(random, p, random.between(128, 1500), 2);
    segmentsShrink(random);
    reportsAreRead(random);
  }
}

}  // namespace pure
