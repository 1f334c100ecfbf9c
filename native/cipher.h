// The one interface between ESP and a cipher backend (aead_*.cc, chosen in backends.cc). A cipher is keyed once and serves one direction of one
// SA; only the IV changes per packet. Not thread-safe: the SA's lock covers it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace tsvpn {

/** What ESP's layout needs to know of a suite. */
struct CipherShape {
  uint8_t ivLength;
  uint8_t icvLength;
  /** Inner packet, padding and the two trailer octets fill a multiple of this. */
  uint8_t blockSize;
  /** The IV is the sequence number (AEAD); otherwise it must be unpredictable (CBC). */
  bool counterIv;
};

struct SaKeys {
  uint16_t encr;
  uint16_t encrKeyBits;
  uint16_t integ;
  bool esn;
  /** Cipher key followed by salt. */
  const uint8_t* encrKey;
  size_t encrKeyLength;
  const uint8_t* integKey;
  size_t integKeyLength;
  /** Name of the backend to use (backends.h); empty for the fastest. */
  std::string backend{};
};

enum class Direction : uint8_t { seal, open };

class EspCipher {
 public:
  virtual ~EspCipher() = default;
  /**
   * @param packet SPI, sequence number, IV, plaintext, room for the ICV
   * @param length of all that
   * @param sequenceHigh covered by the ICV when the SA has ESN, never sent (RFC 4303 §2.2.1)
   * @returns false only when the backend failed; the packet must then not be sent
   */
  virtual bool seal(uint8_t* packet, size_t length, uint32_t sequenceHigh) = 0;
  /** @returns false when the ICV is wrong; the plaintext's place then holds nothing of use */
  virtual bool open(uint8_t* packet, size_t length, uint32_t sequenceHigh) = 0;

  CipherShape shape{};
};

}  // namespace tsvpn
