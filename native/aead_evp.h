// ESP suites on OpenSSL's EVP out of the node process: AES-GCM, ChaCha20-Poly1305, AES-CBC with HMAC.
#pragma once
#include "cipher.h"

namespace tsvpn {

/**
 * @param error set to a sentence without key material when the result is null
 * @returns a keyed cipher, or null for an unknown suite or a wrong key length
 */
std::unique_ptr<EspCipher> makeEvpCipher(const SaKeys& keys, Direction direction, const char** error);

/** Only the layout numbers, for checks before a key is at hand. @returns false for an unknown suite */
bool evpShape(uint16_t encr, uint16_t encrKeyBits, uint16_t integ, CipherShape* shape);

/** Fills `out` from OpenSSL's generator. */
bool randomBytes(uint8_t* out, size_t length);

const char* evpVersion();

}  // namespace tsvpn
