// Stands in for esp.cc, backends.cc and datapath.cc where libcrypto's headers are not installed. scripts/sanitize says so.
#include "harness.h"

namespace pure {
const bool kEspBuilt = false;
void runEsp(Random, double) {}
void runBackends(Random, double) {}
void runDatapath(Random, double) {}
}  // namespace pure
