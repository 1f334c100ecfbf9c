// See napi_args.h.
#include "napi_args.h"

#include <fcntl.h>
#include <uv.h>

#include <cerrno>
#include <cmath>

#include "replay.h"
#include "udp.h"

namespace tsvpn {
namespace {

const char* typeName(napi_env env, napi_value value) {
  napi_valuetype type;
  if (value == nullptr || napi_typeof(env, value, &type) != napi_ok) return "nothing";
  constexpr const char* kNames[] = {"undefined", "null",   "a boolean",  "a number",   "a string",
                                    "a symbol",  "an object", "a function", "an external", "a bigint"};
  return kNames[type];
}

void throwExpected(napi_env env, const std::string& what, const char* expected, napi_value got) {
  throwType(env, what + ": expected " + expected + ", got " + typeName(env, got));
}

}  // namespace

void throwType(napi_env env, const std::string& message) { napi_throw_type_error(env, nullptr, message.c_str()); }
void throwRange(napi_env env, const std::string& message) { napi_throw_range_error(env, nullptr, message.c_str()); }

const char* errnoName(int error) {
  // libuv does not know this one, and it is what a TUN queue says when its device is gone.
  return error == EBADFD ? "EBADFD" : uv_err_name(-error);
}

void throwSystem(napi_env env, int error, const char* syscall, const std::string& detail) {
  const char* name = errnoName(error);
  const std::string message =
      std::string(name) + ": " + uv_strerror(-error) + ", " + syscall + (detail.empty() ? "" : " ") + detail;
  napi_value result;
  napi_create_error(env, makeString(env, name), makeString(env, message.c_str()), &result);
  setProperty(env, result, "syscall", makeString(env, syscall));
  setProperty(env, result, "errno", makeNumber(env, error));
  napi_throw(env, result);
}

bool typeIs(napi_env env, napi_value value, napi_valuetype type) {
  napi_valuetype actual;
  return value != nullptr && napi_typeof(env, value, &actual) == napi_ok && actual == type;
}

bool readNumber(napi_env env, napi_value value, const std::string& what, int64_t least, int64_t most, int64_t* out) {
  double number;
  if (!typeIs(env, value, napi_number) || napi_get_value_double(env, value, &number) != napi_ok) {
    throwExpected(env, what, "a number", value);
    return false;
  }
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || std::floor(number) != number) {
    throwRange(env, what + ": expected an integer from " + std::to_string(least) + " to " + std::to_string(most) +
                        ", got " + std::to_string(number));
    return false;
  }
  *out = static_cast<int64_t>(number);
  return true;
}

bool readBigUint(napi_env env, napi_value value, const std::string& what, uint64_t* out) {
  bool lossless = false;
  if (!typeIs(env, value, napi_bigint) || napi_get_value_bigint_uint64(env, value, out, &lossless) != napi_ok) {
    throwExpected(env, what, "a bigint", value);
    return false;
  }
  if (!lossless) throwRange(env, what + ": expected 0 to 2^64-1");
  return lossless;
}

bool readBool(napi_env env, napi_value value, const std::string& what, bool* out) {
  if (typeIs(env, value, napi_boolean) && napi_get_value_bool(env, value, out) == napi_ok) return true;
  throwExpected(env, what, "a boolean", value);
  return false;
}

bool readString(napi_env env, napi_value value, const std::string& what, std::string* out) {
  char text[256];
  size_t length = 0;
  if (!typeIs(env, value, napi_string) ||
      napi_get_value_string_utf8(env, value, text, sizeof text, &length) != napi_ok) {
    throwExpected(env, what, "a string", value);
    return false;
  }
  if (length + 1 >= sizeof text || std::string(text, length).find('\0') != std::string::npos) {
    throwRange(env, what + ": string too long or with a NUL");
    return false;
  }
  out->assign(text, length);
  return true;
}

bool readBytes(napi_env env, napi_value value, const std::string& what, Bytes* out) {
  bool typed = false;
  napi_typedarray_type type;
  void* data = nullptr;
  if (value != nullptr && napi_is_typedarray(env, value, &typed) == napi_ok && typed &&
      napi_get_typedarray_info(env, value, &type, &out->length, &data, nullptr, nullptr) == napi_ok &&
      type == napi_uint8_array) {
    out->data = static_cast<const uint8_t*>(data);
    return true;
  }
  throwExpected(env, what, "a Uint8Array", value);
  return false;
}

bool readFunction(napi_env env, napi_value value, const std::string& what) {
  if (typeIs(env, value, napi_function)) return true;
  throwExpected(env, what, "a function", value);
  return false;
}

bool readObject(napi_env env, napi_value value, const std::string& what) {
  if (typeIs(env, value, napi_object)) return true;
  throwExpected(env, what, "an object", value);
  return false;
}

napi_value property(napi_env env, napi_value object, const char* name) {
  napi_value value = nullptr;
  napi_get_named_property(env, object, name, &value);
  return value;
}

bool numberProperty(napi_env env, napi_value object, const std::string& what, const char* name, int64_t least,
                    int64_t most, int64_t* out) {
  return readNumber(env, property(env, object, name), what + "." + name, least, most, out);
}

bool readFamily(napi_env env, napi_value object, const std::string& what, uint8_t* out) {
  int64_t family;
  if (!numberProperty(env, object, what, "family", 4, 6, &family)) return false;
  if (family == 5) {
    throwRange(env, what + ".family: expected 4 or 6, got 5");
    return false;
  }
  *out = static_cast<uint8_t>(family);
  return true;
}

bool readKeys(napi_env env, napi_value object, const std::string& what, SaKeys* out) {
  if (!readObject(env, object, what)) return false;
  int64_t encr, bits, integ;
  Bytes encrKey, integKey;
  if (!numberProperty(env, object, what, "encr", 0, 0xffff, &encr) ||
      !numberProperty(env, object, what, "encrKeyBits", 0, 0xffff, &bits) ||
      !numberProperty(env, object, what, "integ", 0, 0xffff, &integ) ||
      !readBool(env, property(env, object, "esn"), what + ".esn", &out->esn) ||
      !readBytes(env, property(env, object, "encrKey"), what + ".encrKey", &encrKey) ||
      !readBytes(env, property(env, object, "integKey"), what + ".integKey", &integKey)) {
    return false;
  }
  napi_value backend = property(env, object, "backend");
  if (!typeIs(env, backend, napi_undefined) && !readString(env, backend, what + ".backend", &out->backend)) return false;
  out->encr = static_cast<uint16_t>(encr);
  out->encrKeyBits = static_cast<uint16_t>(bits);
  out->integ = static_cast<uint16_t>(integ);
  out->encrKey = encrKey.data;
  out->encrKeyLength = encrKey.length;
  out->integKey = integKey.data;
  out->integKeyLength = integKey.length;
  return true;
}

namespace {

bool readSelector(napi_env env, napi_value value, const std::string& what, Selector* out) {
  if (!readObject(env, value, what) || !readFamily(env, value, what, &out->family)) return false;
  int64_t protocol, startPort, endPort;
  Bytes start, end;
  if (!readBytes(env, property(env, value, "startAddress"), what + ".startAddress", &start) ||
      !readBytes(env, property(env, value, "endAddress"), what + ".endAddress", &end) ||
      !numberProperty(env, value, what, "ipProtocol", 0, 255, &protocol) ||
      !numberProperty(env, value, what, "startPort", 0, 0xffff, &startPort) ||
      !numberProperty(env, value, what, "endPort", 0, 0xffff, &endPort)) {
    return false;
  }
  const size_t width = out->family == 4 ? 4 : 16;
  if (start.length != width || end.length != width) {
    throwRange(env, what + ": expected addresses of " + std::to_string(width) + " octets");
    return false;
  }
  out->start = loadAddress(start.data, out->family);
  out->end = loadAddress(end.data, out->family);
  if (out->end < out->start) {
    throwRange(env, what + ": startAddress lies above endAddress");
    return false;
  }
  out->protocol = static_cast<uint8_t>(protocol);
  out->startPort = static_cast<uint16_t>(startPort);
  out->endPort = static_cast<uint16_t>(endPort);
  return true;
}

}  // namespace

bool readSelectors(napi_env env, napi_value value, const std::string& what, Selectors* out) {
  bool array = false;
  uint32_t count = 0;
  if (value == nullptr || napi_is_array(env, value, &array) != napi_ok || !array) {
    throwExpected(env, what, "an array", value);
    return false;
  }
  napi_get_array_length(env, value, &count);
  if (count == 0 || count > 255) {
    throwRange(env, what + ": expected 1 to 255 selectors, got " + std::to_string(count));
    return false;
  }
  out->resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    napi_value element = nullptr;
    napi_get_element(env, value, i, &element);
    if (!readSelector(env, element, what + "[" + std::to_string(i) + "]", &(*out)[i])) return false;
  }
  return true;
}

bool readAddress(napi_env env, napi_value value, const std::string& what, uint8_t family, uint16_t port,
                 SocketAddress* out) {
  std::string text;
  if (!readString(env, value, what, &text)) return false;
  if (parseAddress(text.c_str(), family, port, out)) return true;
  throwRange(env, what + ": expected an IPv" + std::to_string(family) + " address, got \"" + text + "\"");
  return false;
}

bool readLocalAddress(napi_env env, napi_value value, const std::string& what, UdpPath* path) {
  std::string text;
  if (!readString(env, value, what, &text)) return false;
  if (text.empty()) return true;
  SocketAddress local;
  if (!readAddress(env, value, what, path->family, 0, &local)) return false;
  path->hasLocal = true;
  if (path->family == 4) memcpy(path->local, &local.v4.sin_addr, 4);
  else memcpy(path->local, &local.v6.sin6_addr, 16);
  return true;
}

bool readPath(napi_env env, napi_value value, const std::string& what, UdpPath* out) {
  *out = {};
  int64_t port;
  return readObject(env, value, what) && readFamily(env, value, what, &out->family) &&
         numberProperty(env, value, what, "remotePort", 1, 0xffff, &port) &&
         readAddress(env, property(env, value, "remoteAddress"), what + ".remoteAddress", out->family,
                     static_cast<uint16_t>(port), &out->remote) &&
         readLocalAddress(env, property(env, value, "localAddress"), what + ".localAddress", out);
}

bool readFd(napi_env env, napi_value value, const std::string& what, int* out) {
  int64_t fd;
  if (!readNumber(env, value, what, 0, 0x7fffffff, &fd)) return false;
  *out = static_cast<int>(fd);
  if (fcntl(*out, F_GETFD) >= 0) return true;
  throwSystem(env, errno, "fcntl", what + " " + std::to_string(fd));
  return false;
}

napi_value makeBytes(napi_env env, const uint8_t* data, size_t length) {
  void* memory = nullptr;
  napi_value buffer = nullptr, array = nullptr;
  if (napi_create_arraybuffer(env, length, &memory, &buffer) != napi_ok) return nullptr;
  if (length != 0) memcpy(memory, data, length);
  napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &array);
  return array;
}

napi_value makeString(napi_env env, const char* text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  return value;
}

napi_value makeNumber(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

napi_value makeBool(napi_env env, bool b) {
  napi_value value = nullptr;
  napi_get_boolean(env, b, &value);
  return value;
}

void setProperty(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

void addMethods(napi_env env, napi_value exports, const Method* methods, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    napi_value function;
    napi_create_function(env, methods[i].name, NAPI_AUTO_LENGTH, methods[i].function, nullptr, &function);
    setProperty(env, exports, methods[i].name, function);
  }
}

}  // namespace tsvpn
