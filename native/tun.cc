// Linux /dev/net/tun (Documentation/networking/tuntap). IFF_TUN_EXCL makes a taken name an error instead of a second
// attachment to somebody's persistent device.
#include "tun.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "vnet.h"

namespace tsvpn {
namespace {

// Absent from older headers (Linux 6.2).
constexpr unsigned kUso4 = 0x20, kUso6 = 0x40;

std::atomic<bool> g_uso{true};

SysResult fail(Tun& tun, const char* syscall) {
  const int error = errno;
  while (tun.queues > 0) close(tun.fd[--tun.queues]);
  return {error, syscall};
}

/** @param request its name is filled in by the kernel. @returns the call that failed, null when none did */
const char* openQueue(ifreq* request, Tun* tun) {
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return "open";
  tun->fd[tun->queues++] = fd;
  if (ioctl(fd, TUNSETIFF, request) < 0) return "TUNSETIFF";
  int headerSize = kVnetHeader;
  return ioctl(fd, TUNSETVNETHDRSZ, &headerSize) < 0 ? "TUNSETVNETHDRSZ" : nullptr;
}

}  // namespace

SysResult openTun(const char* name, bool offload, int queues, Tun* out) {
  *out = {};
  ifreq request{};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  const short flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0));
  for (int i = 0; i < queues; ++i) {
    // The first queue makes the device, the others join it.
    request.ifr_flags = i == 0 ? static_cast<short>(flags | IFF_TUN_EXCL) : flags;
    const char* failed = openQueue(&request, out);
    if (failed != nullptr) return fail(*out, failed);
  }
  const int fd = out->fd[0];
  out->vnetHdr = true;
  memcpy(out->name, request.ifr_name, sizeof out->name - 1);
  out->ifIndex = static_cast<int>(if_nametoindex(out->name));
  if (out->ifIndex == 0) return fail(*out, "if_nametoindex");
  if (!offload) {
    ioctl(fd, TUNSETOFFLOAD, 0UL);
    return {0, nullptr};
  }
  constexpr unsigned long kTso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  if (ioctl(fd, TUNSETOFFLOAD, kTso | kUso4 | kUso6) == 0) {
    out->tso4 = out->tso6 = out->uso = true;
  } else if (ioctl(fd, TUNSETOFFLOAD, kTso) == 0) {
    out->tso4 = out->tso6 = true;
  } else {
    ioctl(fd, TUNSETOFFLOAD, 0UL);
  }
  if (!out->uso) g_uso = false;
  return {0, nullptr};
}

bool kernelHasUso() { return g_uso; }

}  // namespace tsvpn
