// RFC 6479 §2 with every constant derived from the window size and the word size.
#include "replay.h"

namespace tsvpn {
namespace {
// With the check off there is no bottom edge: the nearest of the possible numbers is taken.
constexpr uint32_t kInferenceWindow = 1u << 31;
}  // namespace

ReplayWindow::ReplayWindow(uint32_t size, bool esn) : size_(size), esn_(esn) {
  uint64_t words = 2;
  while (words * kWordBits < static_cast<uint64_t>(size) + kWordBits) words *= 2;
  wordMask_ = words - 1;
  words_ = std::make_unique<uint64_t[]>(words);
}

uint64_t ReplayWindow::infer(uint32_t low) const {
  if (!esn_) return low;
  const uint32_t window = size_ == 0 ? kInferenceWindow : size_;
  const uint32_t topLow = static_cast<uint32_t>(top_);
  const uint32_t bottomLow = topLow - window + 1;
  uint64_t high = top_ >> 32;
  if (topLow >= window - 1) {
    // The window lies within one half: below its bottom means the next half.
    if (low < bottomLow) high = (high + 1) & 0xffffffffu;
  } else if (low >= bottomLow && high > 0) {
    // The window spans two halves. In the very first half there is none below.
    high -= 1;
  }
  return high << 32 | low;
}

bool ReplayWindow::mayAccept(uint64_t sequence) const {
  if (size_ == 0) return true;
  if (sequence == 0) return false;
  if (sequence > top_) return true;
  if (top_ - sequence >= size_) return false;
  return (words_[sequence / kWordBits & wordMask_] >> sequence % kWordBits & 1) == 0;
}

bool ReplayWindow::accept(uint64_t sequence) {
  if (size_ == 0) {
    if (sequence > top_) top_ = sequence;
    return true;
  }
  if (!mayAccept(sequence)) return false;
  if (sequence > top_) {
    const uint64_t from = top_ / kWordBits;
    uint64_t steps = sequence / kWordBits - from;
    if (steps > wordMask_ + 1) steps = wordMask_ + 1;
    for (uint64_t i = 1; i <= steps; ++i) words_[(from + i) & wordMask_] = 0;
    top_ = sequence;
  }
  words_[sequence / kWordBits & wordMask_] |= uint64_t{1} << sequence % kWordBits;
  return true;
}

}  // namespace tsvpn
