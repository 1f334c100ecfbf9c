// Stands in for esp.cc where libcrypto's headers are not installed. scripts/sanitize says so.
#include "harness.h"

namespace pure {
const bool kEspBuilt = false;
void runEsp(Random, double) {}
}  // namespace pure
