// The parts of an AEAD packet as every backend needs them: nonce (RFC 4106 §4, RFC 7634 §2), additional data
// (RFC 4106 §5), text and ICV.
#pragma once
#include <cstring>

#include "bytes.h"
#include "cipher.h"
#include "esp_suite.h"

namespace tsvpn {

constexpr size_t kAeadIvLength = 8, kNonceLength = kSaltLength + kAeadIvLength;

class AeadParts {
 public:
  void key(const uint8_t* salt, bool esn) {
    memcpy(nonce, salt, kSaltLength);
    headerLength = esn ? 12 : 8;
  }

  /** @param length of the whole packet */
  void set(uint8_t* packet, size_t length, uint32_t sequenceHigh, size_t icvLength) {
    memcpy(nonce + kSaltLength, packet + 8, kAeadIvLength);
    memcpy(header, packet, 8);
    if (headerLength == 12) {
      // All 64 bits of the sequence number, of which only the low half is sent.
      store32(header + 4, sequenceHigh);
      memcpy(header + 8, packet + 4, 4);
    }
    text = packet + 8 + kAeadIvLength;
    textLength = length - 8 - kAeadIvLength - icvLength;
    icv = text + textLength;
  }

  uint8_t nonce[kNonceLength];
  /** The additional data. */
  uint8_t header[12];
  uint8_t headerLength;
  uint8_t* text;
  size_t textLength;
  uint8_t* icv;
};

}  // namespace tsvpn
