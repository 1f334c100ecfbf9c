// See self_test.h. The known answer of a suite is one number: the FNV-1a hash of all packets it has sealed, which differs as
// soon as one octet of one packet does. test/native/self-test.test.ts computes them with another implementation (noble).
#include "self_test.h"

#include <cstring>
#include <vector>

#include "bytes.h"
#include "esp_packet.h"

namespace tsvpn {
namespace {

struct Known {
  uint16_t encr, bits, integ;
  uint64_t answer;
};

constexpr Known kKnown[] = {
    {18, 128, 0, 0x089a682bd5c442f7}, {18, 192, 0, 0xc038a87a5450556d},
    {18, 256, 0, 0x1164c744d655c1b4}, {19, 128, 0, 0xd7559f60aa68cc3f},
    {19, 192, 0, 0x2cf7d23c18c43555}, {19, 256, 0, 0x8114fa3eb092cd50},
    {20, 128, 0, 0x5d638edbb60bba01}, {20, 192, 0, 0x9e01126adbfd8098},
    {20, 256, 0, 0x9b2d9a9bf92cc4f5}, {28, 256, 0, 0x1f78417e52174c66},
    {12, 128, 2, 0x25e642a996c849f5}, {12, 128, 12, 0x7dbf7e27d007b29d},
    {12, 192, 13, 0x6707499f9d89b288}, {12, 256, 14, 0x103e348ce881a71f},
};

// Octets of text. Around 1, 2, 4, 8, 16, 32, 48, 64 blocks of AES, which are 1 to 16 of ChaCha20, where implementations change
// their loops; and packets as long as Ethernet's. Those that the suite's block does not divide are left out.
constexpr uint16_t kLengths[] = {4,   8,   12,  16,  20,  28,  32,  36,  48,  60,  64,  68,  112,  124,  128,
                                 132, 192, 252, 256, 260, 508, 512, 516, 764, 768, 772, 1020, 1024, 1028, 1440};
constexpr size_t kGuard = 64;
constexpr uint8_t kGuardOctet = 0xa5;

void fnv1a(uint64_t* hash, const uint8_t* data, size_t length) {
  for (size_t i = 0; i < length; ++i) *hash = (*hash ^ data[i]) * 0x100000001b3u;
}

bool untouched(const uint8_t* guard) {
  for (size_t i = 0; i < kGuard; ++i) {
    if (guard[i] != kGuardOctet) return false;
  }
  return true;
}

/** One key. */
struct Ciphers {
  std::unique_ptr<EspCipher> seal, open;
  /** Null where the backend is its own reference. */
  std::unique_ptr<EspCipher> reference;
};

/** @returns null, or what went wrong */
const char* onePacket(const Ciphers& ciphers, size_t textLength, uint64_t* hash) {
  const CipherShape& shape = ciphers.seal->shape;
  const size_t headroom = espHeadroom(shape), length = headroom + textLength + shape.icvLength;
  const uint32_t high = static_cast<uint32_t>(textLength) * 3;
  std::vector<uint8_t> clear(length), room(length + 2 * kGuard, kGuardOctet), sealed;
  store32(clear.data(), 0x01020304);
  store32(clear.data() + 4, static_cast<uint32_t>(textLength));
  for (size_t i = 8; i < headroom + textLength; ++i) clear[i] = static_cast<uint8_t>(i * 31 + textLength);
  uint8_t* packet = room.data() + kGuard;

  memcpy(packet, clear.data(), length);
  if (!ciphers.seal->seal(packet, length, high)) return "does not seal";
  fnv1a(hash, packet, length);
  sealed.assign(packet, packet + length);

  if (!ciphers.open->open(packet, length, high)) return "does not open what it sealed";
  if (memcmp(packet, clear.data(), headroom + textLength) != 0) return "opens to something else";
  memcpy(packet, sealed.data(), length);
  if (ciphers.reference != nullptr && !ciphers.reference->open(packet, length, high)) return "seals what EVP does not open";

  // One bit of header, IV, text or ICV, another one for each length.
  memcpy(packet, sealed.data(), length);
  packet[textLength * 7 % length] ^= static_cast<uint8_t>(1 << textLength / 4 % 8);
  if (ciphers.open->open(packet, length, high)) return "opens a changed packet";
  if (!untouched(room.data()) || !untouched(packet + length)) return "writes beside the packet";
  return nullptr;
}

}  // namespace

std::string selfTest(const Backend& backend, const Backend& reference) {
  uint8_t encrKey[36], integKey[64];
  for (size_t i = 0; i < sizeof encrKey; ++i) encrKey[i] = static_cast<uint8_t>(i * 7 + 1);
  for (size_t i = 0; i < sizeof integKey; ++i) integKey[i] = static_cast<uint8_t>(i * 5 + 2);
  for (const Known& known : kKnown) {
    const IntegRow* integ = findInteg(known.integ);
    if (integ != nullptr && backend.aeadOnly) continue;
    const std::string name = "self-test of encr " + std::to_string(known.encr) + ", " + std::to_string(known.bits) +
                             " bits, integ " + std::to_string(known.integ) + ": ";
    uint64_t hash = 0xcbf29ce484222325u;
    for (const bool esn : {false, true}) {
      const SaKeys keys{known.encr, known.bits, known.integ, esn,
                        encrKey,    known.bits / 8 + (integ == nullptr ? kSaltLength : 0),
                        integKey,   integ == nullptr ? size_t{0} : integ->keyLength};
      EspSuite suite;
      if (const char* wrong = findSuite(keys, &suite)) return name + wrong;
      const Ciphers ciphers{backend.make(suite, keys, Direction::seal), backend.make(suite, keys, Direction::open),
                            reference.make == backend.make ? nullptr : reference.make(suite, keys, Direction::open)};
      if (ciphers.seal == nullptr || ciphers.open == nullptr) return name + "no cipher";
      for (const uint16_t length : kLengths) {
        if (length % suite.encr->blockSize != 0) continue;
        const char* wrong = onePacket(ciphers, length, &hash);
        if (wrong != nullptr) return name + wrong + ", " + std::to_string(length) + " octets";
      }
    }
    if (hash != known.answer) return name + "seals something else";
  }
  return "";
}

}  // namespace tsvpn
