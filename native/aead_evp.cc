// EVP backend. Contexts are keyed once; EVP keeps the key schedule, takes a new IV per packet, and wipes when it is freed.
// Symbols come from the node binary, which exports OpenSSL 3's stable interface in every version we support.
#include "aead_evp.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "aead_parts.h"

namespace tsvpn {
namespace {

constexpr size_t kEspHeader = 8;

const EVP_CIPHER* evpOf(const EncrRow& row) {
  const EVP_CIPHER* const cbc[] = {EVP_aes_128_cbc(), EVP_aes_192_cbc(), EVP_aes_256_cbc()};
  const EVP_CIPHER* const gcm[] = {EVP_aes_128_gcm(), EVP_aes_192_gcm(), EVP_aes_256_gcm()};
  if (row.kind == EncrKind::chachaPoly) return EVP_chacha20_poly1305();
  return (row.kind == EncrKind::gcm ? gcm : cbc)[row.keyBits / 64 - 2];
}

// ---- AEAD -----------------------------------------------------------------------------------------------------------

class EvpAead final : public EspCipher {
 public:
  ~EvpAead() override {
    EVP_CIPHER_CTX_free(context_);
    OPENSSL_cleanse(&parts_, sizeof parts_);
  }

  bool key(const EspSuite& suite, const SaKeys& keys, Direction direction) {
    parts_.key(keys.encrKey + suite.encr->keyBits / 8, keys.esn);
    context_ = EVP_CIPHER_CTX_new();
    if (context_ == nullptr) return false;
    const int sealing = direction == Direction::seal;
    return EVP_CipherInit_ex(context_, evpOf(*suite.encr), nullptr, nullptr, nullptr, sealing) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_IVLEN, kNonceLength, nullptr) == 1 &&
           EVP_CipherInit_ex(context_, nullptr, nullptr, keys.encrKey, nullptr, sealing) == 1;
  }

  bool seal(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    AeadParts& p = parts_;
    p.set(packet, length, sequenceHigh, shape.icvLength);
    const int textLength = static_cast<int>(p.textLength);
    int n;
    return EVP_EncryptInit_ex(context_, nullptr, nullptr, nullptr, p.nonce) == 1 &&
           EVP_EncryptUpdate(context_, nullptr, &n, p.header, p.headerLength) == 1 &&
           EVP_EncryptUpdate(context_, p.text, &n, p.text, textLength) == 1 &&
           EVP_EncryptFinal_ex(context_, p.text + n, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, shape.icvLength, p.icv) == 1;
  }

  bool open(uint8_t* packet, size_t length, uint32_t sequenceHigh) override {
    AeadParts& p = parts_;
    p.set(packet, length, sequenceHigh, shape.icvLength);
    const int textLength = static_cast<int>(p.textLength);
    int n;
    return EVP_DecryptInit_ex(context_, nullptr, nullptr, nullptr, p.nonce) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, shape.icvLength, p.icv) == 1 &&
           EVP_DecryptUpdate(context_, nullptr, &n, p.header, p.headerLength) == 1 &&
           EVP_DecryptUpdate(context_, p.text, &n, p.text, textLength) == 1 &&
           EVP_DecryptFinal_ex(context_, p.text + n, &n) == 1;
  }

 private:
  EVP_CIPHER_CTX* context_ = nullptr;
  AeadParts parts_{};
};

// ---- CBC and HMAC ---------------------------------------------------------------------------------------------------

class EvpCbcHmac final : public EspCipher {
 public:
  ~EvpCbcHmac() override {
    EVP_CIPHER_CTX_free(context_);
    EVP_MAC_CTX_free(mac_);
  }

  bool key(const EspSuite& suite, const SaKeys& keys, Direction direction) {
    esn_ = keys.esn;
    context_ = EVP_CIPHER_CTX_new();
    EVP_MAC* hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    mac_ = hmac == nullptr ? nullptr : EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    if (context_ == nullptr || mac_ == nullptr) return false;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string("digest", const_cast<char*>(suite.integ->digest), 0),
        OSSL_PARAM_construct_end(),
    };
    const int sealing = direction == Direction::seal;
    return EVP_CipherInit_ex(context_, evpOf(*suite.encr), nullptr, keys.encrKey, nullptr, sealing) == 1 &&
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

template <class Cipher>
std::unique_ptr<EspCipher> keyed(const EspSuite& suite, const SaKeys& keys, Direction direction) {
  auto cipher = std::make_unique<Cipher>();
  cipher->shape = suite.shape();
  if (!cipher->key(suite, keys, direction)) return nullptr;
  return cipher;
}

}  // namespace

std::unique_ptr<EspCipher> makeEvpCipher(const EspSuite& suite, const SaKeys& keys, Direction direction) {
  return suite.integ == nullptr ? keyed<EvpAead>(suite, keys, direction) : keyed<EvpCbcHmac>(suite, keys, direction);
}

bool randomBytes(uint8_t* out, size_t length) { return RAND_bytes(out, static_cast<int>(length)) == 1; }

std::string evpVersion() { return std::string("OpenSSL ") + OpenSSL_version(OPENSSL_VERSION_STRING); }

}  // namespace tsvpn
