// The backend of intel-ipsec-mb: AES-GCM and ChaCha20-Poly1305. Its header must have been there when the addon was built;
// the library itself is loaded at run time, so the addon works without it.
#pragma once
#include <string>

#include "esp_suite.h"

namespace tsvpn {

/**
 * Loads the library. Call once.
 * @param version the library's name, to which its version and the instructions it uses are added: 'intel-ipsec-mb 1.3 (AVX512)'
 * @returns why it cannot be used, empty when it can
 */
std::string loadMb(std::string* version);

/**
 * Only after loadMb succeeded, and only for an AEAD.
 * @returns a keyed cipher
 */
std::unique_ptr<EspCipher> makeMbCipher(const EspSuite& suite, const SaKeys& keys, Direction direction);

}  // namespace tsvpn
