// EVP backend. AES-GCM: RFC 4106; ChaCha20-Poly1305: RFC 7634; AES-CBC: RFC 3602 with HMAC-SHA2 (RFC 4868) or
// HMAC-SHA1-96 (RFC 2404). Contexts are keyed once; EVP keeps the key schedule and only takes a new IV per packet.
// Symbols come from the node binary, which exports OpenSSL 3's stable interface in every version we support.
#include "aead_evp.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <cstring>

#include "bytes.h"

namespace tsvpn {
namespace {

constexpr size_t kEspHeader = 8, kSalt = 4, kAeadIv = 8, kNonce = 12;

// ---- the suites, by IANA number -------------------------------------------------------------------------------------

struct EncrRow {
  uint16_t id, keyBits;
  uint8_t ivLength, icvLength, blockSize;
  bool aead;
  const EVP_CIPHER* (*evp)();
};

constexpr EncrRow kEncr[] = {
    {12, 128, 16, 0, 16, false, EVP_aes_128_cbc},     {12, 192, 16, 0, 16, false, EVP_aes_192_cbc},
    {12, 256, 16, 0, 16, false, EVP_aes_256_cbc},     {18, 128, 8, 8, 4, true, EVP_aes_128_gcm},
    {18, 192, 8, 8, 4, true, EVP_aes_192_gcm},        {18, 256, 8, 8, 4, true, EVP_aes_256_gcm},
    {19, 128, 8, 12, 4, true, EVP_aes_128_gcm},       {19, 192, 8, 12, 4, true, EVP_aes_192_gcm},
    {19, 256, 8, 12, 4, true, EVP_aes_256_gcm},       {20, 128, 8, 16, 4, true, EVP_aes_128_gcm},
    {20, 192, 8, 16, 4, true, EVP_aes_192_gcm},       {20, 256, 8, 16, 4, true, EVP_aes_256_gcm},
    {28, 256, 8, 16, 4, true, EVP_chacha20_poly1305},
};

struct IntegRow {
  uint16_t id;
  uint8_t keyLength, icvLength;
  const char* digest;
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

const IntegRow* findInteg(uint16_t id) {
  for (const IntegRow& row : kInteg) {
    if (row.id == id) return &row;
 }
  return nullptr;
}

// ---- AEAD -----------------------------------------------------------------------------------------------------------

class EvpAead final : public EspCipher {
 public:
  ~EvpAead() override {
    EVP_CIPHER_CTX_free(context_);
    OPENSSL_cleanse(nonce_, sizeof nonce_);
 }

  bool key(const EncrRow& row, const SaKeys& keys, Direction direction) {
    esn_ = keys.esn;
    memcpy(nonce_, keys.encrKey + row.keyBits / 8, kSalt);
    context_ = EVP_CIPHER_CTX_new();
    if (context_ == nullptr) return false;
    const int sealing = direction == Direction::seal;
    return EVP_CipherInit_ex(context_, row.evp(), nullptr, nullptr, nullptr, sealing) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_IVLEN, kNonce, nullptr) == 1 &&
           EVP_CipherInit_ex(context_, nullptr, nullptr, keys.encrKey, nullptr, sealing) == 1;
 }

  bool seal(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    uint8_t* text = packet + kEspHeader + kAeadIv;
    const int textLength = static_cast<int>(length - kEspHeader - kAeadIv - shape.icvLength);
    memcpy(nonce_ + kSalt, packet + kEspHeader, kAeadIv);
    int n;
    return EVP_EncryptInit_ex(context_, nullptr, nullptr, nullptr, nonce_) == 1 && addHeader(packet, sequenceHigh, true) &&
           EVP_EncryptUpdate(context_, text, &n, text, textLength) == 1 &&
           EVP_EncryptFinal_ex(context_, text + n, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, shape.icvLength, text + textLength) == 1;
 }

  bool open(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    uint8_t* text = packet + kEspHeader + kAeadIv;
    const int textLength = static_cast<int>(length - kEspHeader - kAeadIv - shape.icvLength);
    memcpy(nonce_ + kSalt, packet + kEspHeader, kAeadIv);
    int n;
    return EVP_DecryptInit_ex(context_, nullptr, nullptr, nullptr, nonce_) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, shape.icvLength, text + textLength) == 1 &&
           addHeader(packet, sequenceHigh, false) && EVP_DecryptUpdate(context_, text, &n, text, textLength) == 1 &&
           EVP_DecryptFinal_ex(context_, text + n, &n) == 1;
 }

 private:
  /** Additional data: SPI and sequence number, with ESN all 64 bits of it (RFC 4106 §5). */
  bool addHeader(const uint8_t* packet, uint32_t sequenceHigh, bool sealing) {
    int n;
    uint8_t wide[12];
    const uint8_t* data = packet;
    int size = 8;
    if (esn_) {
      memcpy(wide, packet, 4);
      store32(wide + 4, sequenceHigh);
      memcpy(wide + 8, packet + 4, 4);
      data = wide;
      size = 12;
   }
    return (sealing ? EVP_EncryptUpdate(context_, nullptr, &n, data, size)
                    : EVP_DecryptUpdate(context_, nullptr, &n, data, size)) == 1;
 }

  EVP_CIPHER_CTX* context_ = nullptr;
  uint8_t nonce_[kNonce] = {};
  bool esn_ = false;
};

// ---- CBC and HMAC ---------------------------------------------------------------------------------------------------

class EvpCbcHmac final : public EspCipher {
 public:
  ~EvpCbcHmac() override {
    EVP_CIPHER_CTX_free(context_);
    EVP_MAC_CTX_free(mac_);
 }

  bool key(const EncrRow& row, const IntegRow& integ, const SaKeys& keys, Direction direction) {
    esn_ = keys.esn;
    context_ = EVP_CIPHER_CTX_new();
    EVP_MAC* hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    mac_ = hmac == nullptr ? nullptr : EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    if (context_ == nullptr || mac_ == nullptr) return false;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string("digest", const_cast<char*>(integ.digest), 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(context_, row.evp(), nullptr, keys.encrKey, nullptr, direction == Direction::seal) == 1 &&
           EVP_CIPHER_CTX_set_padding(context_, 0) == 1 &&
           EVP_MAC_init(mac_, keys.integKey, keys.integKeyLength, params) == 1;
 }

  bool seal(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    uint8_t icv[EVP_MAX_MD_SIZE];
    if (!crypt(packet, length) || !authenticate(packet, length - shape.icvLength, sequenceHigh, icv)) return false;
    memcpy(packet + length - shape.icvLength, icv, shape.icvLength);
    return true;
 }

  bool open(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    uint8_t icv[EVP_MAX_MD_SIZE];
    const size_t covered = length - shape.icvLength;
    return authenticate(packet, covered, sequenceHigh, icv) &&
           CRYPTO_memcmp(icv, packet + covered, shape.icvLength) == 0 && crypt(packet, length);
 }

 private:
  bool crypt(uint8_t* packet, size_t length) {
    uint8_t* text = packet + kEspHeader + shape.ivLength;
    const int textLength = static_cast<int>(length - kEspHeader - shape.ivLength - shape.icvLength);
    int n;
    return EVP_CipherInit_ex(context_, nullptr, nullptr, nullptr, packet + kEspHeader, -1) == 1 &&
           EVP_CipherUpdate(context_, text, &n, text, textLength) == 1 && n == textLength;
 }

  /** ICV over everything before it, followed by the high half that is not sent (RFC 4303 §2.2.1). */
  bool authenticate(const uint8_t* packet, size_t covered, uint32_t sequenceHigh, uint8_t* icv) {
    uint8_t high[4];
    store32(high, sequenceHigh);
    size_t n;
    return EVP_MAC_init(mac_, nullptr, 0, nullptr) == 1 && EVP_MAC_update(mac_, packet, covered) == 1 &&
           (!esn_ || EVP_MAC_update(mac_, high, 4) == 1) && EVP_MAC_final(mac_, icv, &n, EVP_MAX_MD_SIZE) == 1;
 }

  EVP_CIPHER_CTX* context_ = nullptr;
  EVP_MAC_CTX* mac_ = nullptr;
  bool esn_ = false;
};

template <class Cipher, class... Rows>
std::unique_ptr<EspCipher> keyed(const CipherShape& shape, const SaKeys& keys, Direction direction, const char** error,
                                 const Rows&... rows) {
  auto cipher = std::make_unique<Cipher>();
  cipher->shape = shape;
  if (cipher->key(rows..., keys, direction)) return cipher;
  *error = "OpenSSL refused the cipher or key";
  return nullptr;
}

}  // namespace

bool evpShape(uint16_t encr, uint16_t encrKeyBits, uint16_t integ, CipherShape* shape) {
  const EncrRow* row = findEncr(encr, encrKeyBits);
  if (row == nullptr) return false;
  const IntegRow* mac = row->aead ? nullptr : findInteg(integ);
  if (row->aead ? integ != 0 : mac == nullptr) return false;
  *shape = {row->ivLength, row->aead ? row->icvLength : mac->icvLength, row->blockSize, row->aead};
  return true;
}

std::unique_ptr<EspCipher> makeEvpCipher(const SaKeys& keys, Direction direction, const char** error) {
  CipherShape shape;
  if (!evpShape(keys.encr, keys.encrKeyBits, keys.integ, &shape)) {
    *error = "unknown combination of encr, encrKeyBits and integ";
    return nullptr;
 }
  const EncrRow* row = findEncr(keys.encr, keys.encrKeyBits);
  if (keys.encrKeyLength != row->keyBits / 8 + (row->aead ? kSalt : 0)) {
    *error = row->aead ? "encrKey must be the cipher key followed by 4 octets of salt" : "encrKey has the wrong length";
    return nullptr;
 }
  const IntegRow* mac = row->aead ? nullptr : findInteg(keys.integ);
  if (keys.integKeyLength != (mac == nullptr ? 0u : mac->keyLength)) {
    *error = "integKey has the wrong length";
    return nullptr;
 }
  if (row->aead) return keyed<EvpAead>(shape, keys, direction, error, *row);
  return keyed<EvpCbcHmac>(shape, keys, direction, error, *row, *mac);
}

bool randomBytes(uint8_t* out, size_t length) { return RAND_bytes(out, static_cast<int>(length)) == 1;}

const char* evpVersion() { return OpenSSL_version(OPENSSL_VERSION_STRING);}

}  // namespace tsvpn
