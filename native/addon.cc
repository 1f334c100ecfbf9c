// Module entry, once per thread that loads the addon. N-API glue only: constants here, methods in addon_*.cc.
#include "aead_evp.h"
#include "drop.h"
#include "napi_args.h"

NAPI_MODULE_INIT() {
  using namespace tsvpn;
  napi_value reasons;
  napi_create_array_with_length(env, kDropCount, &reasons);
  for (size_t i = 0; i < kDropCount; ++i) {
    napi_set_element(env, reasons, static_cast<uint32_t>(i), makeString(env, kDropNames[i]));
  }
  setProperty(env, exports, "dropReasons", reasons);
  setProperty(env, exports, "cryptoBackend", makeString(env, (std::string("OpenSSL ") + evpVersion()).c_str()));
  addFdMethods(env, exports);
  addLoopMethods(env, exports);
  addSadbMethods(env, exports);
  addPureMethods(env, exports);
  addCryptoMethods(env, exports);
  return exports;
}
