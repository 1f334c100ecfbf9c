// The TUN device: opened with vnet headers, offloads probed. Reading and writing packets is the shard's.
#pragma once
#include <cstdint>

namespace tsvpn {

struct Tun {
  // Specification: MAX_TAP_QUEUES of Linux.
  static constexpr int kMaxQueues = 256;
  int queues;
  /** A descriptor per queue: the kernel keeps a flow on the queue that last wrote packets of it. */
  int fd[kMaxQueues];
  int ifIndex;
  char name[16];
  bool vnetHdr, tso4, tso6, uso;
};

/** Result of an operating-system call: `error` 0 is success, else an errno value with the name of the call. */
struct SysResult {
  int error;
  const char* syscall;
};

/**
 * @param name at most 15 octets; empty lets the kernel choose
 * @param queues 1 to Tun::kMaxQueues (IFF_MULTI_QUEUE above 1)
 */
SysResult openTun(const char* name, bool offload, int queues, Tun* out);

/** False once a device was opened on a kernel without UDP segmentation offload (before Linux 6.2). */
bool kernelHasUso();

}  // namespace tsvpn
