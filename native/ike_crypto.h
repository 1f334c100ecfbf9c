// What IKE asks of OpenSSL for one message: HMAC, X25519 and AEAD on whole octet strings, without the objects that
// node:crypto makes for each call. Contexts are kept per thread; no key outlives the call.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tsvpn {

constexpr size_t kX25519 = 32, kAeadNonce = 12, kMaxHash = 64;

enum class Hash : uint8_t { sha1, sha256, sha384, sha512 };

struct View {
  const uint8_t* data;
  size_t length;
};

/** Octets of the hash. */
size_t hashLength(Hash hash);

/** HMAC (RFC 2104). @param out hashLength(hash) octets @returns false only when OpenSSL failed */
bool hmac(Hash hash, View key, View data, uint8_t* out);

/** The public value of a private key (RFC 7748 §5), both kX25519 octets; they may be the same memory, here and below. */
bool x25519Public(const uint8_t* privateKey, uint8_t* publicKey);

/**
 * @param publicKey gets our own public value, which comes for free
 * @returns false when OpenSSL refuses the peer's value
 */
bool x25519Agree(const uint8_t* privateKey, const uint8_t* peerPublic, uint8_t* publicKey, uint8_t* secret);

enum class Aead : uint8_t { aes128Gcm, aes192Gcm, aes256Gcm, chacha20Poly1305 };

/** @param out text.length octets and the ICV @param icvLength at most 16 */
bool aeadSeal(Aead aead, const uint8_t* key, const uint8_t* nonce, View aad, View text, uint8_t* out, size_t icvLength);

/** @param sealed ciphertext and ICV @returns false when the ICV is wrong; `out` is wiped then */
bool aeadOpen(Aead aead, const uint8_t* key, const uint8_t* nonce, View aad, View sealed, uint8_t* out,
              size_t icvLength);

}  // namespace tsvpn
