// Ranges to prefixes, and the hash tables over them. Runs under the database's lock: exclusive to change, shared to find.
// An entry stands for one remote prefix and not for each pair with a local selector: a peer may ask for 64 ranges against
// 64, and while half a million entries are made every shard waits.
#include "policy_index.h"

#include <algorithm>
#include <functional>

namespace tsvpn {
namespace {

Address lowBits(int count) {
  if (count == 0) return {0, 0};
  if (count >= 128) return {~uint64_t{0}, ~uint64_t{0}};
  if (count > 64) return {~uint64_t{0} >> (128 - count), ~uint64_t{0}};
  return {0, ~uint64_t{0} >> (64 - count)};
}

Address maskTo(const Address& a, int freeBits) {
  const Address low = lowBits(freeBits);
  return {a.high & ~low.high, a.low & ~low.low};
}

Address endOf(const Address& start, int freeBits) {
  const Address low = lowBits(freeBits);
  return {start.high | low.high, start.low | low.low};
}

int trailingZeros(const Address& a, int width) {
  const int zeros = a.low != 0 ? __builtin_ctzll(a.low) : a.high != 0 ? 64 + __builtin_ctzll(a.high) : 128;
  return zeros < width ? zeros : width;
}

/** Calls `use(prefix, freeBits)` for the fewest prefixes that make up the range: at most 2 × width of them. */
template <class Use>
void eachPrefix(const Selector& s, Use use) {
  const int width = s.family == 4 ? 32 : 128;
  Address at = s.start;
  while (at <= s.end) {
    // As many free bits as the start has zeros, fewer until the block ends within the range.
    int freeBits = trailingZeros(at, width);
    while (!(endOf(at, freeBits) <= s.end)) --freeBits;
    use(at, freeBits);
    const Address last = endOf(at, freeBits);
    if (s.end <= last) break;
    at = {last.high + (last.low == ~uint64_t{0} ? 1 : 0), last.low + 1};
  }
}

/** Bits in which the ends of a range differ: 0 for one address. */
int rangeBits(const Selector& s) {
  const uint64_t high = s.start.high ^ s.end.high, low = s.start.low ^ s.end.low;
  if (high != 0) return 128 - __builtin_clzll(high);
  return low == 0 ? 0 : 64 - __builtin_clzll(low);
}

constexpr int kNoRank = 1 << 30;

bool anyPort(const Selector& s) { return s.startPort == 0 && s.endPort == 0xffff; }

/** Smaller is more specific: local range, then protocol, then ports. */
int rankOf(const Selector& local, const Selector& remote) {
  const bool anyProtocol = local.protocol == 0 && remote.protocol == 0;
  return rangeBits(local) * 4 + (anyProtocol ? 2 : 0) + (anyPort(local) && anyPort(remote) ? 1 : 0);
}

}  // namespace

void PolicyIndex::insert(Policy* policy) {
  for (const Selector& remote : policy->remote) {
    Family& f = family(remote.family);
    const int width = remote.family == 4 ? 32 : 128;
    Entry entry{policy, &remote, kNoRank, ++age_};
    for (const Selector& local : policy->local) {
      if (local.family == remote.family) entry.rank = std::min(entry.rank, rankOf(local, remote));
    }
    if (entry.rank == kNoRank) continue;
    eachPrefix(remote, [&](const Address& prefix, int freeBits) {
      const int length = width - freeBits;
      if (f.byLength[length].empty()) {
        f.lengths.insert(std::lower_bound(f.lengths.begin(), f.lengths.end(), length, std::greater<int>()), length);
      }
      std::vector<Entry>& bucket = f.byLength[length][prefix];
      const auto place = std::upper_bound(bucket.begin(), bucket.end(), entry,
                                          [](const Entry& a, const Entry& b) { return a.rank < b.rank; });
      bucket.insert(place, entry);
    });
  }
}

void PolicyIndex::remove(Policy* policy) {
  for (const Selector& remote : policy->remote) {
    Family& f = family(remote.family);
    const int width = remote.family == 4 ? 32 : 128;
    eachPrefix(remote, [&](const Address& prefix, int freeBits) {
      const int length = width - freeBits;
      const auto at = f.byLength[length].find(prefix);
      if (at == f.byLength[length].end()) return;
      std::vector<Entry>& bucket = at->second;
      bucket.erase(std::remove_if(bucket.begin(), bucket.end(), [&](const Entry& e) { return e.policy == policy; }),
                   bucket.end());
      if (!bucket.empty()) return;
      f.byLength[length].erase(at);
      if (f.byLength[length].empty()) f.lengths.erase(std::find(f.lengths.begin(), f.lengths.end(), length));
    });
  }
}

Policy* PolicyIndex::find(const InnerPacket& packet) const {
  const Family& f = packet.family == 4 ? v4_ : v6_;
  const int width = packet.family == 4 ? 32 : 128;
  for (const int length : f.lengths) {
    const auto at = f.byLength[length].find(maskTo(packet.destination, width - length));
    if (at == f.byLength[length].end()) continue;
    const Entry* best = nullptr;
    int bestRank = kNoRank;
    for (const Entry& entry : at->second) {
      if (entry.rank > bestRank) break;
      if (!selectorMatches(*entry.remote, packet, packet.destination, packet.destinationPort)) continue;
      for (const Selector& local : entry.policy->local) {
        if (!selectorMatches(local, packet, packet.source, packet.sourcePort)) continue;
        const int rank = rankOf(local, *entry.remote);
        if (rank > bestRank || (rank == bestRank && entry.age > best->age)) continue;
        best = &entry;
        bestRank = rank;
      }
    }
    if (best != nullptr) return best->policy;
  }
  return nullptr;
}

}  // namespace tsvpn
