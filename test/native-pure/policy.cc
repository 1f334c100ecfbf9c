// Selectors and the policy index against a scan: the same policy for the same packet, while policies come and go.
#include "../../native/policy_index.h"

#include <memory>

#include "harness.h"

namespace pure {
namespace {

using tsvpn::Address;
using tsvpn::InnerPacket;
using tsvpn::Policy;
using tsvpn::Selector;
using tsvpn::Selectors;

/** Small numbers make matches likely; the high half is fixed so that IPv6 uses both words now and then. */
Address address(Random& random, uint8_t family, bool high) {
  const uint64_t low = random.oneIn(20) ? (family == 4 ? 0xffffffffu : ~uint64_t{0}) : random.under(64);
  return {family == 6 && high ? 0x20010db800000000u + random.under(2) : 0, low};
}

Selector selector(Random& random) {
  Selector s{};
  s.family = random.oneIn(2) ? 4 : 6;
  s.protocol = random.oneIn(2) ? 0 : random.oneIn(2) ? 6 : 17;
  s.start = address(random, s.family, random.oneIn(2));
  s.end = random.oneIn(3) ? s.start : address(random, s.family, s.start.high != 0);
  if (s.end < s.start) std::swap(s.start, s.end);
  if (random.oneIn(8)) {
    s.start = {0, 0};
    s.end = s.family == 4 ? Address{0, 0xffffffffu} : Address{~uint64_t{0}, ~uint64_t{0}};
  }
  s.startPort = 0;
  s.endPort = 0xffff;
  if (random.oneIn(3)) {
    s.startPort = static_cast<uint16_t>(random.under(4));
    s.endPort = static_cast<uint16_t>(s.startPort + random.under(3));
  } else if (random.oneIn(6)) {
    s.startPort = 0xffff;
    s.endPort = 0;
  }
  return s;
}

InnerPacket packet(Random& random) {
  InnerPacket p{};
  p.family = random.oneIn(2) ? 4 : 6;
  p.protocol = random.oneIn(2) ? 6 : random.oneIn(2) ? 17 : 1;
  p.hasPorts = random.under(4) != 0;
  p.sourcePort = p.hasPorts ? static_cast<uint16_t>(random.under(6)) : 0;
  p.destinationPort = p.hasPorts ? static_cast<uint16_t>(random.under(6)) : 0;
  p.source = address(random, p.family, random.oneIn(2));
  p.destination = address(random, p.family, random.oneIn(2));
  return p;
}

bool matches(const Selector& s, const InnerPacket& p, const Address& a, uint16_t port) {
  if (s.family != p.family || a < s.start || s.end < a || (s.protocol != 0 && s.protocol != p.protocol)) return false;
  if (s.startPort == 0 && s.endPort == 0xffff) return true;
  if (s.startPort > s.endPort) return !p.hasPorts;
  return p.hasPorts && port >= s.startPort && port <= s.endPort;
}

/** Host bits of the largest prefix around `a` inside the range: a slow and plain reading of "longest prefix". */
int freeBits(const Selector& s, const Address& a) {
  const int width = s.family == 4 ? 32 : 128;
  int bits = 0;
  while (bits < width) {
    Address low = a, top = a;
    for (int i = 0; i <= bits; ++i) {
      uint64_t& l = i < 64 ? low.low : low.high;
      uint64_t& t = i < 64 ? top.low : top.high;
      l &= ~(uint64_t{1} << i % 64);
      t |= uint64_t{1} << i % 64;
    }
    if (low < s.start || s.end < top) break;
    ++bits;
  }
  return bits;
}

int differingBits(const Selector& s) {
  int bits = 0;
  for (int i = 0; i < 128; ++i) {
    const uint64_t difference = i < 64 ? s.start.low ^ s.end.low : s.start.high ^ s.end.high;
    if ((difference >> i % 64 & 1) != 0) bits = i + 1;
  }
  return bits;
}

struct Rank {
  int remote, local;
};

bool better(const Rank& a, const Rank& b) { return a.remote != b.remote ? a.remote < b.remote : a.local < b.local; }

bool rankOf(const Policy& policy, const InnerPacket& p, Rank* best) {
  bool found = false;
  for (const Selector& remote : policy.remote) {
    if (!matches(remote, p, p.destination, p.destinationPort)) continue;
    for (const Selector& local : policy.local) {
      if (!matches(local, p, p.source, p.sourcePort)) continue;
      const bool anyPort = local.startPort == 0 && local.endPort == 0xffff && remote.startPort == 0 && remote.endPort == 0xffff;
      const Rank rank{freeBits(remote, p.destination),
                      differingBits(local) * 4 + (local.protocol == 0 && remote.protocol == 0 ? 2 : 0) + (anyPort ? 1 : 0)};
      if (!found || better(rank, *best)) *best = rank;
      found = true;
    }
  }
  return found;
}

void round(Random& random) {
  tsvpn::PolicyIndex index;
  std::vector<std::unique_ptr<Policy>> policies;  // oldest first
  for (int step = 0; step < 40; ++step) {
    if (policies.empty() || random.under(3) != 0) {
      std::unique_ptr<Policy> policy(new Policy{});
      policy->id = step;
      for (uint32_t i = random.between(1, 3); i > 0; --i) policy->local.push_back(selector(random));
      for (uint32_t i = random.between(1, 3); i > 0; --i) policy->remote.push_back(selector(random));
      index.insert(policy.get());
      policies.push_back(std::move(policy));
    } else {
      const size_t at = random.under(static_cast<uint32_t>(policies.size()));
      index.remove(policies[at].get());
      policies.erase(policies.begin() + static_cast<std::ptrdiff_t>(at));
    }
    for (int i = 0; i < 20; ++i) {
      const InnerPacket p = packet(random);
      const Policy* expected = nullptr;
      Rank best{};
      for (const auto& policy : policies) {
        Rank rank{};
        const bool covers = rankOf(*policy, p, &rank);
        CHECK(covers == tsvpn::outboundMatches(policy->local, policy->remote, p));
        if (covers && (expected == nullptr || better(rank, best))) {
          expected = policy.get();
          best = rank;
        }
      }
      CHECK(index.find(p) == expected);
    }
  }
}

}  // namespace

void runPolicy(Random random, double seconds) {
  for (Budget budget(seconds); budget.left();) round(random);
}

}  // namespace pure
