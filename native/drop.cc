// Process-wide drop counters. Relaxed atomics: they are read for display, never to decide.
#include "drop.h"

namespace tsvpn {

const char* const kDropNames[kDropCount] = {
#define X(name) #name,
    TSVPN_DROP_REASONS(X)
#undef X
};

std::atomic<uint64_t> g_drops[kDropCount];

}  // namespace tsvpn
