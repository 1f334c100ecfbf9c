// The SA database: no sequence number twice whatever thread takes it, hard and soft limits, make before break.
#include "../../native/sadb.h"

#include <algorithm>
#include <thread>

#include "harness.h"

namespace pure {
namespace {

void numbersAreUnique(Random& random) {
  constexpr int kThreads = 4;
  tsvpn::SaOutbound sa(1, 1000, false, 0);
  std::vector<uint64_t> taken[kThreads];
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    Random mine(random.next());
    threads.emplace_back([&sa, &out = taken[t], mine]() mutable {
      for (int i = 0; i < 200; ++i) {
        uint64_t first = 0;
        const uint32_t granted = sa.takeSequence(mine.between(1, 64), &first);
        for (uint32_t k = 0; k < granted; ++k) out.push_back(first + k);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  std::vector<uint64_t> all;
  for (const auto& t : taken) all.insert(all.end(), t.begin(), t.end());
  std::sort(all.begin(), all.end());
  for (size_t i = 0; i < all.size(); ++i) CHECK(all[i] == i + 1);
}

void limits(bool esn, uint64_t hard) {
  tsvpn::SaOutbound sa(1, 1000, esn, hard - 10);
  uint64_t first = 0;
  CHECK(sa.takeSequence(4, &first) == 4 && first == hard - 9);
  CHECK(sa.softLimitReached() && !sa.softLimitReached());
  CHECK(sa.takeSequence(64, &first) == 6 && first == hard - 5);
  CHECK(sa.takeSequence(1, &first) == 0);
  CHECK(sa.sequence.load() == hard);
  tsvpn::SaOutbound fresh(1, 1000, esn, 0);
  CHECK(!fresh.softLimitReached());
}

std::unique_ptr<tsvpn::Policy> policy(int64_t id, int64_t outbound) {
  std::unique_ptr<tsvpn::Policy> p(new tsvpn::Policy{});
  p->id = id;
  p->local = p->remote = {{4, 0, 0, 0xffff, {0, 0}, {0, 0xffffffffu}}};
  p->hasOutbound = true;
  p->outbound = outbound;
  return p;
}

void installAndRemove() {
  tsvpn::Sadb db;
  tsvpn::InnerPacket packet{};
  packet.family = 4;
  CHECK(db.addInbound(std::make_unique<tsvpn::SaInbound>(300, true, 64)));
  CHECK(!db.addInbound(std::make_unique<tsvpn::SaInbound>(300, true, 64)));
  CHECK(db.addOutbound(std::make_unique<tsvpn::SaOutbound>(1, 400, true, 0)));
  CHECK(!db.addOutbound(std::make_unique<tsvpn::SaOutbound>(1, 401, true, 0)));
  CHECK(db.addOutbound(std::make_unique<tsvpn::SaOutbound>(2, 401, true, 0)));
  CHECK(db.policy(packet) == nullptr);
  uint64_t generation = db.generation();
  db.setPolicy(policy(7, 1));
  CHECK(db.policy(packet)->outbound == 1 && db.generation() != generation);
  generation = db.generation();
  db.setPolicy(policy(7, 2));
  CHECK(db.policy(packet)->outbound == 2 && db.generation() != generation);
  CHECK(db.removeOutbound(1) && !db.removeOutbound(1));
  CHECK(db.outbound(1) == nullptr && db.outbound(2) != nullptr);
  CHECK(db.inbound(300) != nullptr && db.inbound(301) == nullptr);
  CHECK(db.removeInbound(300) && !db.removeInbound(300));
  CHECK(!db.setPath(1, {}) && db.setPath(2, {}));
  CHECK(db.removePolicy(7) && !db.removePolicy(7));
  CHECK(db.policy(packet) == nullptr);
}

}  // namespace

void runSadb(Random random, double seconds) {
  limits(false, 0xffffffffu);
  limits(true, uint64_t{1} << 44);
  installAndRemove();
  for (Budget budget(seconds / 2); budget.left();) {
    for (int i = 0; i < 4; ++i) numbersAreUnique(random);
    break;
  }
}

}  // namespace pure
