// Anti-replay window after RFC 6479, with the inference of the high half of RFC 4303 appendix A. Not thread-safe: the
// SA's lock covers it. Allocates when it is made, never after.
//
//        bottom = top - size + 1                top
//   ──────┬───────────────────────────────────────┬──────────►  sequence
//   stale │ bit per packet: seen or not           │ new: the window moves
//
// The bitmap is a ring of 64-bit words with at least one word more than the window, so that moving the window clears
// whole words and never shifts bits.
#pragma once
#include <cstdint>
#include <memory>

namespace tsvpn {

constexpr uint32_t kMaxReplayWindow = 65536;

class ReplayWindow {
 public:
  /** @param size packets, 0 turns the check off (sequence numbers are still tracked) */
  ReplayWindow(uint32_t size, bool esn);

  /** @returns the full sequence number that these 32 bits stand for (RFC 4303 appendix A2.2); equal to `low` without ESN */
  uint64_t infer(uint32_t low) const;
  /** Before decryption: could this packet be new? */
  bool mayAccept(uint64_t sequence) const;
  /** After authentication: marks it. @returns false when another packet of that number came first */
  bool accept(uint64_t sequence);
  /** Highest authenticated sequence number. */
  uint64_t top() const { return top_; }

 private:
  static constexpr uint32_t kWordBits = 64;
  const uint32_t size_;
  const bool esn_;
  uint64_t wordMask_;
  uint64_t top_ = 0;
  std::unique_ptr<uint64_t[]> words_;
};

}  // namespace tsvpn
