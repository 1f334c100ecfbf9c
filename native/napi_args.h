// Reading arguments and throwing errors across N-API: every check names the argument, what was expected and what came.
// Readers return false after they threw; callers return nullptr at once.
#pragma once
#include <node_api.h>

#include <string>

#include "cipher.h"
#include "path.h"
#include "selector.h"
#include "tun.h"

namespace tsvpn {

constexpr size_t kMaxArguments = 6;

/** Arguments of one call. */
struct Call {
  Call(napi_env env_, napi_callback_info info) : env(env_) {
    napi_get_cb_info(env, info, &count, argument, &self, nullptr);
  }
  const napi_env env;
  size_t count = kMaxArguments;
  napi_value argument[kMaxArguments];
  napi_value self = nullptr;
};

struct Bytes {
  const uint8_t* data = nullptr;
  size_t length = 0;
};

void throwType(napi_env env, const std::string& message);
void throwRange(napi_env env, const std::string& message);
/** An Error with `code` (errno name) and `syscall`. @param detail what was worked on, may be empty */
void throwSystem(napi_env env, int error, const char* syscall, const std::string& detail);
const char* errnoName(int error);

bool typeIs(napi_env env, napi_value value, napi_valuetype type);
bool readNumber(napi_env env, napi_value value, const std::string& what, int64_t least, int64_t most, int64_t* out);
bool readBigUint(napi_env env, napi_value value, const std::string& what, uint64_t* out);
bool readBool(napi_env env, napi_value value, const std::string& what, bool* out);
bool readString(napi_env env, napi_value value, const std::string& what, std::string* out);
bool readBytes(napi_env env, napi_value value, const std::string& what, Bytes* out);
bool readFunction(napi_env env, napi_value value, const std::string& what);
bool readObject(napi_env env, napi_value value, const std::string& what);

/** Property of an object that was checked; undefined when absent. */
napi_value property(napi_env env, napi_value object, const char* name);
bool numberProperty(napi_env env, napi_value object, const std::string& what, const char* name, int64_t least,
                    int64_t most, int64_t* out);

bool readFamily(napi_env env, napi_value object, const std::string& what, uint8_t* out);
/** The views in `out` live as long as the JavaScript arrays: use them within the call. */
bool readKeys(napi_env env, napi_value object, const std::string& what, SaKeys* out);
bool readSelectors(napi_env env, napi_value value, const std::string& what, Selectors* out);
bool readPath(napi_env env, napi_value value, const std::string& what, UdpPath* out);
bool readAddress(napi_env env, napi_value value, const std::string& what, uint8_t family, uint16_t port,
                 SocketAddress* out);
/** `localAddress` of a path: '' is no address. */
bool readLocalAddress(napi_env env, napi_value value, const std::string& what, UdpPath* path);

/** A descriptor that is open. */
bool readFd(napi_env env, napi_value value, const std::string& what, int* out);

napi_value makeBytes(napi_env env, const uint8_t* data, size_t length);
napi_value makeString(napi_env env, const char* text);
napi_value makeNumber(napi_env env, double value);
napi_value makeBool(napi_env env, bool value);
void setProperty(napi_env env, napi_value object, const char* name, napi_value value);

struct Method {
  const char* name;
  napi_callback function;
};
void addMethods(napi_env env, napi_value exports, const Method* methods, size_t count);

void addFdMethods(napi_env env, napi_value exports);
void addLoopMethods(napi_env env, napi_value exports);
void addSadbMethods(napi_env env, napi_value exports);
void addPureMethods(napi_env env, napi_value exports);
void addCryptoMethods(napi_env env, napi_value exports);

}  // namespace tsvpn
