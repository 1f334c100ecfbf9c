// The suites of ESP by IANA number: what the layout needs of each, and which keys it takes. Knows no backend.
#pragma once
#include "cipher.h"

namespace tsvpn {

enum class EncrKind : uint8_t { cbc, gcm, chachaPoly };

struct EncrRow {
  uint16_t id, keyBits;
  uint8_t ivLength, icvLength, blockSize;
  EncrKind kind;
};

struct IntegRow {
  uint16_t id;
  uint8_t keyLength, icvLength;
  /** OpenSSL's name. */
  const char* digest;
};

struct EspSuite {
  const EncrRow* encr;
  /** Null for an AEAD. */
  const IntegRow* integ;

  CipherShape shape() const {
    return {encr->ivLength, integ == nullptr ? encr->icvLength : integ->icvLength, encr->blockSize, integ == nullptr};
  }
};

constexpr size_t kSaltLength = 4;

/** @returns null for an unknown number */
const IntegRow* findInteg(uint16_t id);

/** @returns null, or why there is no such suite or why the keys do not fit it: a sentence without key material */
const char* findSuite(const SaKeys& keys, EspSuite* out);

}  // namespace tsvpn
