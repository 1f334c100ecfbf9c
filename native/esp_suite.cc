// See esp_suite.h. AES-GCM: RFC 4106; ChaCha20-Poly1305: RFC 7634; AES-CBC: RFC 3602 with HMAC-SHA2 (RFC 4868) or
// HMAC-SHA1-96 (RFC 2404).
#include "esp_suite.h"

namespace tsvpn {
namespace {

constexpr EncrRow kEncr[] = {
    {12, 128, 16, 0, 16, EncrKind::cbc}, {12, 192, 16, 0, 16, EncrKind::cbc}, {12, 256, 16, 0, 16, EncrKind::cbc},
    {18, 128, 8, 8, 4, EncrKind::gcm},   {18, 192, 8, 8, 4, EncrKind::gcm},   {18, 256, 8, 8, 4, EncrKind::gcm},
    {19, 128, 8, 12, 4, EncrKind::gcm},  {19, 192, 8, 12, 4, EncrKind::gcm},  {19, 256, 8, 12, 4, EncrKind::gcm},
    {20, 128, 8, 16, 4, EncrKind::gcm},  {20, 192, 8, 16, 4, EncrKind::gcm},  {20, 256, 8, 16, 4, EncrKind::gcm},
    {28, 256, 8, 16, 4, EncrKind::chachaPoly},
};

constexpr IntegRow kInteg[] = {
    {2, 20, 12, "SHA1"},
    {12, 32, 16, "SHA256"},
    {13, 48, 24, "SHA384"},
    {14, 64, 32, "SHA512"},
};

const EncrRow* findEncr(uint16_t id, uint16_t keyBits) {
  for (const EncrRow& row : kEncr) {
    // ChaCha20-Poly1305 has no Key Length attribute (RFC 7634 §3).
    if (row.id == id && (row.keyBits == keyBits || (id == 28 && keyBits == 0))) return &row;
  }
  return nullptr;
}

}  // namespace

const IntegRow* findInteg(uint16_t id) {
  for (const IntegRow& row : kInteg) {
    if (row.id == id) return &row;
  }
  return nullptr;
}

const char* findSuite(const SaKeys& keys, EspSuite* out) {
  const EncrRow* encr = findEncr(keys.encr, keys.encrKeyBits);
  const bool aead = encr != nullptr && encr->kind != EncrKind::cbc;
  const IntegRow* integ = aead ? nullptr : findInteg(keys.integ);
  if (encr == nullptr || (aead ? keys.integ != 0 : integ == nullptr)) {
    return "unknown combination of encr, encrKeyBits and integ";
  }
  if (keys.encrKeyLength != encr->keyBits / 8 + (aead ? kSaltLength : 0)) {
    return aead ? "encrKey must be the cipher key followed by 4 octets of salt" : "encrKey has the wrong length";
  }
  if (keys.integKeyLength != (aead ? 0u : integ->keyLength)) return "integKey has the wrong length";
  *out = {encr, integ};
  return nullptr;
}

}  // namespace tsvpn
