// N-API glue of ike_crypto. See NativePrimitives in src/crypto/types.ts for what lies where.
#include <algorithm>
#include <cstring>
#include <string>

#include "ike_crypto.h"
#include "napi_args.h"

namespace tsvpn {
namespace {

// An IKE message has at most 64 KiB; one more bound keeps every length in an int.
constexpr size_t kMaxText = 1 << 20;

/** The array with the small inputs, which takes the small results. @param least octets that it must have */
bool readBox(napi_env env, napi_value value, size_t least, uint8_t** out) {
  Bytes bytes;
  if (!readBytes(env, value, "box", &bytes)) return false;
  if (bytes.length < least) {
    throwRange(env, "box: expected at least " + std::to_string(least) + " octets, got " + std::to_string(bytes.length));
    return false;
  }
  *out = const_cast<uint8_t*>(bytes.data);
  return true;
}

bool readLength(napi_env env, napi_value value, const char* what, size_t* out) {
  int64_t length;
  if (!readNumber(env, value, what, 0, kMaxText, &length)) return false;
  *out = static_cast<size_t>(length);
  return true;
}

void throwFailed(napi_env env) { napi_throw_error(env, nullptr, "OpenSSL failed"); }

napi_value hmacMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t id;
  size_t keyLength, dataLength;
  uint8_t* box;
  if (!readNumber(env, call.argument[0], "hash", 0, 3, &id) ||
      !readLength(env, call.argument[2], "keyLength", &keyLength) ||
      !readLength(env, call.argument[3], "dataLength", &dataLength)) {
    return nullptr;
  }
  const Hash hash = static_cast<Hash>(id);
  if (!readBox(env, call.argument[1], std::max(keyLength + dataLength, hashLength(hash)), &box)) return nullptr;
  uint8_t result[kMaxHash];
  if (!hmac(hash, {box, keyLength}, {box + keyLength, dataLength}, result)) throwFailed(env);
  else memcpy(box, result, hashLength(hash));
  return nullptr;
}

napi_value x25519PublicMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  uint8_t* box;
  if (!readBox(env, call.argument[0], kX25519, &box)) return nullptr;
  if (!x25519Public(box, box)) throwFailed(env);
  return nullptr;
}

napi_value x25519AgreeMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  uint8_t* box;
  if (!readBox(env, call.argument[0], 2 * kX25519, &box)) return nullptr;
  return makeBool(env, x25519Agree(box, box + kX25519, box, box + kX25519));
}

struct AeadCall {
  Aead aead;
  const uint8_t *key, *nonce;
  View aad, in;
  uint8_t* out;
  size_t icvLength;
};

/** @param sealing whether `out` or the input has the ICV */
bool readAead(napi_env env, Call& call, bool sealing, AeadCall* read) {
  int64_t id;
  size_t aadLength;
  uint8_t* box;
  Bytes in, out;
  if (!readNumber(env, call.argument[0], "aead", 0, 3, &id) ||
      !readLength(env, call.argument[2], "aadLength", &aadLength)) {
    return false;
  }
  read->aead = static_cast<Aead>(id);
  const size_t keyLength = read->aead == Aead::aes128Gcm ? 16 : read->aead == Aead::aes192Gcm ? 24 : 32;
  if (!readBox(env, call.argument[1], keyLength + kAeadNonce + aadLength, &box) ||
      !readBytes(env, call.argument[3], sealing ? "plaintext" : "sealed", &in) ||
      !readBytes(env, call.argument[4], "out", &out)) {
    return false;
  }
  read->key = box;
  read->nonce = box + keyLength;
  read->aad = {box + keyLength + kAeadNonce, aadLength};
  read->in = {in.data, in.length};
  read->out = const_cast<uint8_t*>(out.data);
  // A wrong order of the two wraps round and is refused, too.
  read->icvLength = sealing ? out.length - in.length : in.length - out.length;
  if (read->icvLength >= 8 && read->icvLength <= 16 && in.length <= kMaxText) return true;
  throwRange(env, "out: expected to differ from an input of at most 1 MiB by an ICV of 8 to 16 octets");
  return false;
}

napi_value aeadSealMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  AeadCall a;
  if (!readAead(env, call, true, &a)) return nullptr;
  if (!aeadSeal(a.aead, a.key, a.nonce, a.aad, a.in, a.out, a.icvLength)) throwFailed(env);
  return nullptr;
}

napi_value aeadOpenMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  AeadCall a;
  if (!readAead(env, call, false, &a)) return nullptr;
  return makeBool(env, aeadOpen(a.aead, a.key, a.nonce, a.aad, a.in, a.out, a.icvLength));
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
