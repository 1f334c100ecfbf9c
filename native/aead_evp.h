// The backend that is always there: OpenSSL's EVP out of the node process, for every suite.
#pragma once
#include <string>

#include "esp_suite.h"

namespace tsvpn {

/** @returns a keyed cipher, or null when OpenSSL refused it */
std::unique_ptr<EspCipher> makeEvpCipher(const EspSuite& suite, const SaKeys& keys, Direction direction);

/** 'OpenSSL 3.0.17' */
std::string evpVersion();

/** Fills `out` from OpenSSL's generator. */
bool randomBytes(uint8_t* out, size_t length);

}  // namespace tsvpn
