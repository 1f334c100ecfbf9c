// The transmitter against a kernel that refuses: every datagram leaves once, in order and unchanged, or is counted as
// failed; what would block stays queued; no error keeps it in a loop. scripts/sanitize links sendmsg and sendmmsg to here.
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>

#include "../../native/bytes.h"
#include "../../native/transmit.h"
#include "harness.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace {

using pure::Bytes;

struct Kernel {
  pure::Random random{0};
  /** Odds of a refusal are one in this; 0 never refuses. */
  uint32_t refusing = 0;
  /** When set, always refuses with it. */
  int always = 0;
  bool canSegment = true;
  uint64_t calls = 0;
  std::vector<Bytes> delivered;
  std::vector<int> trafficClass;
};
Kernel* g_kernel = nullptr;

/** @returns the value of IP_TOS or IPV6_TCLASS, 0 without it */
int trafficClassOf(const msghdr* header) {
  msghdr copy = *header;
  for (cmsghdr* c = CMSG_FIRSTHDR(&copy); c != nullptr; c = CMSG_NXTHDR(&copy, c)) {
    const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS;
    if (!v4 && !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)) continue;
    CHECK(v4 == (static_cast<const sockaddr*>(copy.msg_name)->sa_family == AF_INET));
    int value;
    memcpy(&value, CMSG_DATA(c), sizeof value);
    return value;
  }
  return 0;
}

uint16_t segmentOf(const msghdr* header) {
  msghdr copy = *header;
  for (cmsghdr* c = CMSG_FIRSTHDR(&copy); c != nullptr; c = CMSG_NXTHDR(&copy, c)) {
    if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_SEGMENT) continue;
    uint16_t size;
    memcpy(&size, CMSG_DATA(c), sizeof size);
    return size;
  }
  return 0;
}

/** @returns 0 or an errno value */
int sendOne(const msghdr* header) {
  Kernel& k = *g_kernel;
  const uint16_t segment = segmentOf(header);
  const uint8_t* data = static_cast<const uint8_t*>(header->msg_iov[0].iov_base);
  const size_t length = header->msg_iov[0].iov_len;
  if (k.always != 0) return k.always;
  if (segment != 0 && !k.canSegment) return EIO;
  if (k.refusing != 0 && k.random.oneIn(k.refusing)) {
    constexpr int kErrors[] = {EAGAIN, EINTR, ECONNREFUSED, EMSGSIZE, EINVAL, EPERM, ENETUNREACH, ENOBUFS};
    return kErrors[k.random.under(8)];
  }
  const size_t step = segment == 0 ? length : segment;
  CHECK(length != 0 && length <= 65507 && (length + step - 1) / step <= 64);
  for (size_t at = 0; at < length; at += step) {
    k.delivered.emplace_back(data + at, data + (length - at < step ? length : at + step));
    k.trafficClass.push_back(trafficClassOf(header));
  }
  return 0;
}

}  // namespace

extern "C" ssize_t __wrap_sendmsg(int fd, const msghdr* header, int flags);
extern "C" int __wrap_sendmmsg(int fd, mmsghdr* headers, unsigned count, int flags);
extern "C" ssize_t __real_sendmsg(int fd, const msghdr* header, int flags);
extern "C" int __real_sendmmsg(int fd, mmsghdr* headers, unsigned count, int flags);

ssize_t __wrap_sendmsg(int fd, const msghdr* header, int flags) {
  if (g_kernel == nullptr) return __real_sendmsg(fd, header, flags);
  ++g_kernel->calls;
  const int error = sendOne(header);
  errno = error;
  return error == 0 ? static_cast<ssize_t>(header->msg_iov[0].iov_len) : -1;
}

int __wrap_sendmmsg(int fd, mmsghdr* headers, unsigned count, int flags) {
  if (g_kernel == nullptr) return __real_sendmmsg(fd, headers, count, flags);
  ++g_kernel->calls;
  for (unsigned i = 0; i < count; ++i) {
    const int error = sendOne(&headers[i].msg_hdr);
    if (error == 0) continue;
    // As in Linux: what was sent before counts, and the error is found again by the next call.
    errno = error;
    return i == 0 ? -1 : static_cast<int>(i);
  }
  return static_cast<int>(count);
}

namespace pure {
namespace {

tsvpn::UdpPath pathOf(uint32_t number) {
  tsvpn::UdpPath path;
  path.family = number % 3 == 2 ? 6 : 4;
  if (path.family == 4) {
    path.remote.v4.sin_family = AF_INET;
    path.remote.v4.sin_port = static_cast<uint16_t>(number);
  } else {
    path.remote.v6.sin6_family = AF_INET6;
    path.remote.v6.sin6_port = static_cast<uint16_t>(number);
  }
  path.hasLocal = number % 2 == 0;
  return path;
}

uint64_t failed() { return tsvpn::g_drops[static_cast<size_t>(tsvpn::Drop::sendFailed)].load(); }

void round(Random& random) {
  Kernel kernel;
  kernel.random = Random(random.next());
  kernel.refusing = random.oneIn(3) ? 0 : random.between(2, 10);
  kernel.canSegment = !random.oneIn(4);
  if (random.oneIn(8)) kernel.always = random.oneIn(2) ? ECONNREFUSED : random.oneIn(2) ? EPERM : EINVAL;
  g_kernel = &kernel;
  tsvpn::UdpSocket sockets[2];
  sockets[0].family = 4;
  sockets[1].family = 6;
  tsvpn::Transmitter transmitter(sockets, 2);
  const uint64_t before = failed();
  std::vector<Bytes> sent;
  std::vector<int> classes;
  for (int batch = 0; batch < 6; ++batch) {
    uint32_t path = 0, size = 0;
    uint8_t trafficClass = 0;
    for (uint32_t i = random.under(200); i > 0; --i) {
      if (size == 0 || random.oneIn(20)) size = random.between(8, random.oneIn(10) ? 60000 : 1500);
      if (random.oneIn(20)) path = random.under(6);
      if (random.oneIn(20)) trafficClass = static_cast<uint8_t>(random.under(256));
      const uint32_t length = random.oneIn(12) ? random.between(8, size) : size;
      uint8_t* to = transmitter.reserve(length);
      if (to == nullptr) {
        if (!transmitter.flush()) break;
        to = transmitter.reserve(length);
        CHECK(to != nullptr);
      }
      Bytes datagram = random.bytes(length);
      put32(datagram, 0, static_cast<uint32_t>(sent.size()));
      memcpy(to, datagram.data(), length);
      transmitter.commit(pathOf(path), trafficClass, length);
      sent.push_back(std::move(datagram));
      classes.push_back(trafficClass);
    }
    transmitter.flush();
    CHECK(!transmitter.pending() || transmitter.blockedOn() != nullptr);
  }
  kernel.refusing = 0;
  CHECK(transmitter.flush() && !transmitter.pending());
  CHECK(kernel.calls < 40 * sent.size() + 40);
  CHECK(kernel.delivered.size() + (failed() - before) == sent.size());
  int64_t last = -1;
  for (size_t i = 0; i < kernel.delivered.size(); ++i) {
    const Bytes& datagram = kernel.delivered[i];
    const uint32_t number = get32(datagram.data());
    CHECK(static_cast<int64_t>(number) > last && number < sent.size() && datagram == sent[number]);
    CHECK(kernel.trafficClass[i] == classes[number]);
    last = number;
  }
  g_kernel = nullptr;
}

}  // namespace

void runSend(Random random, double seconds) {
  for (Budget budget(seconds); budget.left();) round(random);
}

}  // namespace pure
