// ESP packets in place (RFC 4303 §2): where the parts lie, padding and trailer. Knows no SA database and no socket.
//
//   SPI 4 | sequence 4 | IV | inner packet | padding 1,2,3… | pad length 1 | next header 1 | ICV
//   ◄──── headroom ────►                   ◄──────────────── tailroom ────────────────────►
#pragma once
#include "cipher.h"
#include "drop.h"

namespace tsvpn {

constexpr size_t kEspHeaderLength = 8;
constexpr uint8_t kNextIpv4 = 4, kNextIpv6 = 41, kNextNone = 59;

inline size_t espHeadroom(const CipherShape& s) { return kEspHeaderLength + s.ivLength; }

/** Octets of the whole ESP packet for an inner packet of `inner` octets. */
inline size_t espLength(const CipherShape& s, size_t inner) {
  const size_t text = (inner + 2 + s.blockSize - 1) / s.blockSize * s.blockSize;
  return espHeadroom(s) + text + s.icvLength;
}

/** Writes everything but IV and ICV around an inner packet that already lies at `packet + espHeadroom`. */
void frameEsp(uint8_t* packet, const CipherShape& s, uint32_t spi, uint32_t sequenceLow, size_t inner, uint8_t nextHeader);

struct OpenedEsp {
  uint8_t* inner;
  /** Octets after removing padding; TFC padding is still there. */
  size_t length;
  uint8_t nextHeader;
};

/** Shortest packet that can be opened: checked before any cryptography (ESP-19). */
inline bool espLengthPossible(const CipherShape& s, size_t length) {
  const size_t fixed = espHeadroom(s) + s.icvLength;
  return length >= fixed + 2 && (length - fixed) % s.blockSize == 0;
}

/**
 * Opens in place and checks padding (ESP-12).
 * @returns Drop::none, badIcv or badPadding
 */
Drop openEsp(EspCipher& cipher, uint8_t* packet, size_t length, uint32_t sequenceHigh, OpenedEsp* out);

}  // namespace tsvpn
