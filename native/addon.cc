// Module entry, once per thread that loads the addon. N-API glue only: constants here, methods in addon_*.cc.
#include "backends.h"
#include "drop.h"
#include "napi_args.h"

namespace tsvpn {
namespace {

napi_value dropReasons(napi_env env) {
  napi_value reasons;
  napi_create_array_with_length(env, kDropCount, &reasons);
  for (size_t i = 0; i < kDropCount; ++i) {
    napi_set_element(env, reasons, static_cast<uint32_t>(i), makeString(env, kDropNames[i]));
  }
  return reasons;
}

napi_value cryptoBackends(napi_env env) {
  napi_value list;
  napi_create_array_with_length(env, kBackends, &list);
  for (size_t i = 0; i < kBackends; ++i) {
    const Backend& backend = backends().all[i];
    napi_value entry, none;
    napi_create_object(env, &entry);
    napi_get_null(env, &none);
    setProperty(env, entry, "name", makeString(env, backend.name));
    setProperty(env, entry, "version", makeString(env, backend.version.c_str()));
    setProperty(env, entry, "whyNot", backend.whyNot.empty() ? none : makeString(env, backend.whyNot.c_str()));
    setProperty(env, entry, "failed", makeBool(env, backend.failed));
    napi_set_element(env, list, static_cast<uint32_t>(i), entry);
  }
  return list;
}

}  // namespace
}  // namespace tsvpn

NAPI_MODULE_INIT() {
  using namespace tsvpn;
  if (!backends().error.empty()) {
    napi_throw_error(env, "TSVPN_CRYPTO", backends().error.c_str());
    return nullptr;
  }
  setProperty(env, exports, "dropReasons", dropReasons(env));
  setProperty(env, exports, "cryptoBackend", makeString(env, describeBackends().c_str()));
  setProperty(env, exports, "cryptoBackends", cryptoBackends(env));
  addFdMethods(env, exports);
  addLoopMethods(env, exports);
  addSadbMethods(env, exports);
  addPureMethods(env, exports);
  addCryptoMethods(env, exports);
  return exports;
}
