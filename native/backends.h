// The cipher backends of the process: which there are, which are used, and a cipher from the fastest one that has the suite.
#pragma once
#include <string>

#include "esp_suite.h"

namespace tsvpn {

struct Backend {
  /** In TSVPN_AEAD and in the `backend` of an SA's keys. */
  const char* name;
  /** Product, version, instructions. */
  std::string version;
  /** Empty for a backend in use. */
  std::string whyNot;
  /** It is there, but computed wrong in the self-test. */
  bool failed;
  /** Has no AES-CBC with HMAC. */
  bool aeadOnly;
  /** @returns null when the library refused */
  std::unique_ptr<EspCipher> (*make)(const EspSuite&, const SaKeys&, Direction);
};

constexpr size_t kBackends = 2;

struct Backends {
  /** Fastest first; the last one, EVP, has every suite. */
  Backend all[kBackends];
  /** Set when the process has no cipher that works or TSVPN_AEAD asks for what it cannot have: nothing may be sealed then. */
  std::string error;
};

/**
 * Loads and tests them at the first call; the environment variable TSVPN_AEAD (evp, ipsec-mb) forces one of them there.
 * Any thread.
 */
const Backends& backends();

/**
 * @param error set to a sentence without key material when the result is null
 * @returns a keyed cipher, or null for an unknown suite or a wrong key length, or when keys.backend is not in use
 */
std::unique_ptr<EspCipher> makeCipher(const SaKeys& keys, Direction direction, std::string* error);

/** What seals and opens, in a line for people: 'AEAD by intel-ipsec-mb 1.3 (AVX512), OpenSSL 3.0.17'. */
std::string describeBackends();

}  // namespace tsvpn
