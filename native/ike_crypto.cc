#include "ike_crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <memory>

namespace tsvpn {
namespace {

template <typename T, void (*release)(T*)>
struct Releaser {
  void operator()(T* what) const { release(what); }
};
using Key = std::unique_ptr<EVP_PKEY, Releaser<EVP_PKEY, EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Releaser<EVP_PKEY_CTX, EVP_PKEY_CTX_free>>;
using Mac = std::unique_ptr<EVP_MAC, Releaser<EVP_MAC, EVP_MAC_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, Releaser<EVP_MAC_CTX, EVP_MAC_CTX_free>>;
using Cipher = std::unique_ptr<EVP_CIPHER, Releaser<EVP_CIPHER, EVP_CIPHER_free>>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Releaser<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>>;

struct HashRow {
  size_t length;
  const char* name;
};
constexpr HashRow kHashes[] = {{20, "SHA1"}, {32, "SHA256"}, {48, "SHA384"}, {64, "SHA512"}};

constexpr const char* kAeads[] = {"AES-128-GCM", "AES-192-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};

// Looking an algorithm up by name costs OpenSSL 3 more than a short HMAC.

EVP_MAC_CTX* macContext(Hash hash) {
  thread_local MacContext contexts[sizeof kHashes / sizeof kHashes[0]];
  MacContext& context = contexts[static_cast<size_t>(hash)];
  if (context == nullptr) {
    Mac mac(EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr));
    if (mac == nullptr) return nullptr;
    context.reset(EVP_MAC_CTX_new(mac.get()));
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(kHashes[static_cast<size_t>(hash)].name), 0),
        OSSL_PARAM_construct_end(),
    };
    if (context == nullptr || EVP_MAC_CTX_set_params(context.get(), parameters) != 1) context.reset();
  }
  return context.get();
}

const EVP_CIPHER* cipherOf(Aead aead) {
  thread_local Cipher ciphers[sizeof kAeads / sizeof kAeads[0]];
  Cipher& cipher = ciphers[static_cast<size_t>(aead)];
  if (cipher == nullptr) cipher.reset(EVP_CIPHER_fetch(nullptr, kAeads[static_cast<size_t>(aead)], nullptr));
  return cipher.get();
}

Key privateKeyOf(const uint8_t* octets) {
  return Key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, octets, kX25519));
}

/** What OpenSSL notes down about a failure, node would report at its own next call. */
bool settled(bool done) {
  if (!done) ERR_clear_error();
  return done;
}

bool publicOf(EVP_PKEY* key, uint8_t* out) {
  size_t length = kX25519;
  return EVP_PKEY_get_raw_public_key(key, out, &length) == 1 && length == kX25519;
}

/** @param text the octets that go through the cipher; its length fits an int by the caller's bound */
bool run(EVP_CIPHER_CTX* context, View aad, View text, uint8_t* out, int* finalLength) {
  int n;
  if (aad.length != 0 && EVP_CipherUpdate(context, nullptr, &n, aad.data, static_cast<int>(aad.length)) != 1) return false;
  if (text.length != 0 && EVP_CipherUpdate(context, out, &n, text.data, static_cast<int>(text.length)) != 1) return false;
  return EVP_CipherFinal_ex(context, out + text.length, finalLength) == 1;
}

}  // namespace

size_t hashLength(Hash hash) { return kHashes[static_cast<size_t>(hash)].length; }

bool hmac(Hash hash, View key, View data, uint8_t* out) {
  EVP_MAC_CTX* context = macContext(hash);
  // OpenSSL takes a null key for "the same as before".
  static const uint8_t kEmpty[kMaxHash] = {};
  const uint8_t* octets = key.length == 0 ? kEmpty : key.data;
  size_t length = 0;
  if (context == nullptr) return false;
  const bool done = EVP_MAC_init(context, octets, key.length, nullptr) == 1 &&
                    EVP_MAC_update(context, data.data, data.length) == 1 &&
                    EVP_MAC_final(context, out, &length, hashLength(hash)) == 1 && length == hashLength(hash);
  // The context remembers a key: one without a secret.
  return settled(EVP_MAC_init(context, kEmpty, 1, nullptr) == 1 && done);
}

bool x25519Public(const uint8_t* privateKey, uint8_t* publicKey) {
  const Key key = privateKeyOf(privateKey);
  return settled(key != nullptr && publicOf(key.get(), publicKey));
}

bool x25519Agree(const uint8_t* privateKey, const uint8_t* peerPublic, uint8_t* publicKey, uint8_t* secret) {
  const Key own = privateKeyOf(privateKey);
  const Key peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peerPublic, kX25519));
  const KeyContext context(own == nullptr ? nullptr : EVP_PKEY_CTX_new(own.get(), nullptr));
  size_t length = kX25519;
  const bool done = peer != nullptr && context != nullptr && publicOf(own.get(), publicKey) &&
                    EVP_PKEY_derive_init(context.get()) == 1 &&
                    EVP_PKEY_derive_set_peer_ex(context.get(), peer.get(), 0) == 1 &&
                    EVP_PKEY_derive(context.get(), secret, &length) == 1 && length == kX25519;
  return settled(done);
}

bool aeadSeal(Aead aead, const uint8_t* key, const uint8_t* nonce, View aad, View text, uint8_t* out, size_t icvLength) {
  const CipherContext context(EVP_CIPHER_CTX_new());
  int n;
  const int tag = static_cast<int>(icvLength);
  const bool done = context != nullptr && EVP_CipherInit_ex(context.get(), cipherOf(aead), nullptr, key, nonce, 1) == 1 &&
                    run(context.get(), aad, text, out, &n) &&
                    EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, tag, out + text.length) == 1;
  return settled(done);
}

bool aeadOpen(Aead aead, const uint8_t* key, const uint8_t* nonce, View aad, View sealed, uint8_t* out,
              size_t icvLength) {
  const View text{sealed.data, sealed.length - icvLength};
  const CipherContext context(EVP_CIPHER_CTX_new());
  int n;
  uint8_t* icv = const_cast<uint8_t*>(sealed.data) + text.length;
  if (context != nullptr && EVP_CipherInit_ex(context.get(), cipherOf(aead), nullptr, key, nonce, 0) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(icvLength), icv) == 1 &&
      run(context.get(), aad, text, out, &n)) {
    return true;
  }
  if (text.length != 0) OPENSSL_cleanse(out, text.length);
  return settled(false);
}

}  // namespace tsvpn
