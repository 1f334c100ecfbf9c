// Known-answer self-test of a cipher backend, run before it gets a key.
#pragma once
#include <string>

#include "backends.h"

namespace tsvpn {

/**
 * Seals fixed packets of every suite that the backend has, in lengths around its block boundaries, and compares them with
 * known answers; opens them, there and with `reference`; and makes sure that a changed packet is refused and that nothing
 * beside a packet is written.
 * @returns empty, or what was wrong, with suite and length
 */
std::string selfTest(const Backend& backend, const Backend& reference);

}  // namespace tsvpn
