// N-API glue of ike_crypto: octets in, octets into an array of the caller's, which knows the lengths.
#include <string>

#include "ike_crypto.h"
#include "napi_args.h"

namespace tsvpn {
namespace {

// An IKE message has at most 64 KiB; one more bound keeps every length in an int.
constexpr size_t kMaxText = 1 << 20;

/** @param octets expected length, or SIZE_MAX for any up to kMaxText */
bool readView(napi_env env, napi_value value, const char* what, size_t octets, View* out) {
  Bytes bytes;
  if (!readBytes(env, value, what, &bytes)) return false;
  if (octets == SIZE_MAX ? bytes.length > kMaxText : bytes.length != octets) {
    const std::string expected = octets == SIZE_MAX ? "at most " + std::to_string(kMaxText) : std::to_string(octets);
    throwRange(env, std::string(what) + ": expected " + expected + " octets, got " + std::to_string(bytes.length));
    return false;
  }
  *out = {bytes.data, bytes.length};
  return true;
}

bool readOut(napi_env env, napi_value value, const char* what, size_t octets, uint8_t** out) {
  View view;
  if (!readView(env, value, what, octets, &view)) return false;
  *out = const_cast<uint8_t*>(view.data);
  return true;
}

void throwFailed(napi_env env) { napi_throw_error(env, nullptr, "OpenSSL failed"); }

napi_value hmacMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t id;
  View key, data;
  uint8_t* out;
  if (!readNumber(env, call.argument[0], "hash", 0, 3, &id)) return nullptr;
  const Hash hash = static_cast<Hash>(id);
  if (!readView(env, call.argument[1], "key", SIZE_MAX, &key) ||
      !readView(env, call.argument[2], "data", SIZE_MAX, &data) ||
      !readOut(env, call.argument[3], "out", hashLength(hash), &out)) {
    return nullptr;
  }
  if (!hmac(hash, key, data, out)) throwFailed(env);
  return nullptr;
}

napi_value x25519PublicMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  View key;
  uint8_t* out;
  if (!readView(env, call.argument[0], "privateKey", kX25519, &key) ||
      !readOut(env, call.argument[1], "out", kX25519, &out)) {
    return nullptr;
  }
  if (!x25519Public(key.data, out)) throwFailed(env);
  return nullptr;
}

napi_value x25519AgreeMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  View key, peer;
  uint8_t* out;
  if (!readView(env, call.argument[0], "privateKey", kX25519, &key) ||
      !readView(env, call.argument[1], "peerPublic", kX25519, &peer) ||
      !readOut(env, call.argument[2], "out", 2 * kX25519, &out)) {
    return nullptr;
  }
  return makeBool(env, x25519Agree(key.data, peer.data, out, out + kX25519));
}

struct AeadCall {
  Aead aead;
  View key, nonce, aad, in;
  Bytes out;
  size_t icvLength;
};

/** @param sealing whether `out` or `in` has the ICV */
bool readAead(napi_env env, Call& call, bool sealing, AeadCall* read) {
  int64_t id;
  if (!readNumber(env, call.argument[0], "aead", 0, 3, &id)) return false;
  read->aead = static_cast<Aead>(id);
  const size_t keyLength = read->aead == Aead::aes128Gcm ? 16 : read->aead == Aead::aes192Gcm ? 24 : 32;
  if (!readView(env, call.argument[1], "key", keyLength, &read->key) ||
      !readView(env, call.argument[2], "nonce", kAeadNonce, &read->nonce) ||
      !readView(env, call.argument[3], "aad", SIZE_MAX, &read->aad) ||
      !readView(env, call.argument[4], sealing ? "plaintext" : "sealed", SIZE_MAX, &read->in) ||
      !readBytes(env, call.argument[5], "out", &read->out)) {
    return false;
  }
  // A wrong order of the two wraps round and is refused, too.
  read->icvLength = sealing ? read->out.length - read->in.length : read->in.length - read->out.length;
  if (read->icvLength >= 8 && read->icvLength <= 16) return true;
  throwRange(env, "out: expected to differ from the input by an ICV of 8 to 16 octets");
  return false;
}

napi_value aeadSealMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  AeadCall a;
  if (!readAead(env, call, true, &a)) return nullptr;
  uint8_t* out = const_cast<uint8_t*>(a.out.data);
  if (!aeadSeal(a.aead, a.key.data, a.nonce.data, a.aad, a.in, out, a.icvLength)) throwFailed(env);
  return nullptr;
}

napi_value aeadOpenMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  AeadCall a;
  if (!readAead(env, call, false, &a)) return nullptr;
  uint8_t* out = const_cast<uint8_t*>(a.out.data);
  return makeBool(env, aeadOpen(a.aead, a.key.data, a.nonce.data, a.aad, a.in, out, a.icvLength));
}

}  // namespace

void addCryptoMethods(napi_env env, napi_value exports) {
  constexpr Method kMethods[] = {
      {"hmac", hmacMethod},         {"x25519Public", x25519PublicMethod}, {"x25519Agree", x25519AgreeMethod},
      {"aeadSeal", aeadSealMethod}, {"aeadOpen", aeadOpenMethod},
  };
  addMethods(env, exports, kMethods, sizeof kMethods / sizeof kMethods[0]);
}

}  // namespace tsvpn
