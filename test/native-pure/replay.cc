// The replay window against a model that remembers everything, and inference of the high half of extended numbers.
#include <set>

#include "../../native/replay.h"
#include "harness.h"

namespace pure {
namespace {

struct Model {
  uint32_t size;
  uint64_t top = 0;
  std::set<uint64_t> seen;

  bool accept(uint64_t sequence) {
    if (size == 0) {
      if (sequence > top) top = sequence;
      return true;
    }
    if (sequence == 0 || (sequence <= top && top - sequence >= size) || !seen.insert(sequence).second) return false;
    if (sequence > top) top = sequence;
    while (!seen.empty() && top - *seen.begin() >= size) seen.erase(seen.begin());
    return true;
  }
};

uint64_t step(Random& random, uint64_t top, uint32_t size) {
  const uint32_t reach = size + 70;
  switch (random.under(8)) {
    case 0: return top + random.under(4 * reach);
    case 1: return top + (random.next() >> random.between(30, 60));
    case 2: return top;
    case 3: return top > size ? top - size + random.under(3) - 1 : 1;
    default: {
      const uint64_t back = random.under(reach);
      return top > back ? top - back + random.under(3) : random.under(3);
    }
  }
}

void againstModel(Random& random) {
  const uint32_t sizes[] = {0, 1, 2, 31, 63, 64, 65, 127, 128, 1000, 4096, 65535, 65536};
  const uint32_t size = sizes[random.under(13)];
  tsvpn::ReplayWindow window(size, true);
  Model model{size, 0, {}};
  for (int i = 0; i < 300; ++i) {
    uint64_t sequence = step(random, window.top(), size);
    if (sequence > uint64_t{1} << 62) break;
    const bool may = window.mayAccept(sequence);
    CHECK(may == window.mayAccept(sequence));
    const bool expected = model.accept(sequence);
    CHECK(may == expected);
    CHECK(window.accept(sequence) == expected);
    CHECK(window.top() == model.top);
    // What lies in the window, or less than 2^32 - W ahead of it, is inferred right.
    if (size == 0) continue;
    const uint64_t bottom = window.top() >= size ? window.top() - size + 1 : 0;
    const uint64_t ahead = bottom + (random.next() & 0xffffffffu);
    if (window.top() + 1 >= size) CHECK(window.infer(static_cast<uint32_t>(ahead)) == ahead);
  }
}

/** Where the window's bottom meets a multiple of 2^32 (RFC 4303 appendix A2.2, cases A and B). */
void edges() {
  for (const uint32_t size : {1u, 64u, 4096u, 65536u}) {
    for (const int64_t off : {-2, -1, 0, 1}) {
      tsvpn::ReplayWindow window(size, true);
      const uint64_t top = (uint64_t{5} << 32) + size + static_cast<uint64_t>(off);
      CHECK(window.accept(top));
      const uint64_t bottom = top - size + 1;
      for (const uint64_t sequence : {bottom, bottom + 1, top, top + 1, bottom + 0xfffffffeu, bottom + 0xffffffffu}) {
        CHECK(window.infer(static_cast<uint32_t>(sequence)) == sequence);
      }
    }
  }
}

}  // namespace

void runReplay(Random random, double seconds) {
  edges();
  for (Budget budget(seconds); budget.left();) againstModel(random);
  tsvpn::ReplayWindow plain(64, false);
  CHECK(plain.infer(0xffffffffu) == 0xffffffffu);
}

}  // namespace pure
