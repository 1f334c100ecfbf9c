// See backends.h.
#include "backends.h"

#include <cstdlib>

#include "aead_evp.h"
#include "aead_mb.h"
#include "self_test.h"

namespace tsvpn {
namespace {

constexpr char kVariable[] = "TSVPN_AEAD";

void test(Backend* backend, const Backend& reference) {
  backend->whyNot = selfTest(*backend, reference);
  backend->failed = !backend->whyNot.empty();
}

Backends load() {
  Backends result{{{"ipsec-mb", "intel-ipsec-mb", "", false, true, makeMbCipher},
                   {"evp", evpVersion(), "", false, false, makeEvpCipher}},
                  ""};
  Backend &mb = result.all[0], &evp = result.all[1];
  const char* variable = getenv(kVariable);
  const std::string wanted = variable == nullptr ? "" : variable;
  test(&evp, evp);
  if (wanted == evp.name) {
    mb.whyNot = std::string("switched off by ") + kVariable + "=evp";
  } else {
    mb.whyNot = loadMb(&mb.version);
    if (mb.whyNot.empty()) test(&mb, evp);
  }

  if (evp.failed) {
    // Who computes wrong in one library has no reason to be trusted in another.
    result.error = evp.version + ": " + evp.whyNot;
  } else if (wanted == mb.name && !mb.whyNot.empty()) {
    result.error = std::string(kVariable) + "=ipsec-mb: " + mb.whyNot;
  } else if (!wanted.empty() && wanted != mb.name && wanted != evp.name) {
    result.error = std::string(kVariable) + ": expected evp or ipsec-mb, got '" + wanted + "'";
  }
  return result;
}

}  // namespace

const Backends& backends() {
  // Never destroyed: worker threads may still run when the process's statics are torn down.
  static const Backends* const loaded = new Backends(load());
  return *loaded;
}

std::unique_ptr<EspCipher> makeCipher(const SaKeys& keys, Direction direction, std::string* error) {
  EspSuite suite;
  if (const char* wrong = findSuite(keys, &suite)) {
    *error = wrong;
    return nullptr;
  }
  *error = "backend: expected evp or ipsec-mb, got '" + keys.backend + "'";
  for (const Backend& backend : backends().all) {
    if (!keys.backend.empty() && keys.backend != backend.name) continue;
    if (!backend.whyNot.empty()) {
      *error = backend.version + ": " + backend.whyNot;
    } else if (backend.aeadOnly && suite.integ != nullptr) {
      *error = backend.version + ": has no AES-CBC with HMAC";
    } else {
      *error = backend.version + ": refused the cipher or key";
      return backend.make(suite, keys, direction);
    }
  }
  return nullptr;
}

std::string describeBackends() {
  const Backend &mb = backends().all[0], &evp = backends().all[1];
  return (mb.whyNot.empty() ? "AEAD by " + mb.version + ", " : "") + evp.version;
}

}  // namespace tsvpn
