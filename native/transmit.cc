// Sending: as few system calls as the kernel allows. One sendmmsg carries up to 16 runs, each with its own UDP_SEGMENT
// size, its own source address (IP_PKTINFO) and its own traffic class (IP_TOS). DF is an option of the socket: runs with and
// without it go apart.
#include "transmit.h"

#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>

#include "udp.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace tsvpn {
namespace {

constexpr int kMessages = 16;
// Implementation: errors that are said to be cleared by being reported get so many tries per run; no loop rests on that.
constexpr uint8_t kRetries = 8;
constexpr size_t kControl = CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t));

/** Source address, traffic class and segment size as control messages. @returns octets used */
size_t writeControl(char* buffer, const UdpPath& path, uint8_t trafficClass, uint16_t segmentSize) {
  size_t used = 0;
  auto put = [&](int level, int type, const void* data, size_t size) {
    cmsghdr* c = reinterpret_cast<cmsghdr*>(buffer + used);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), data, size);
    used += CMSG_SPACE(size);
  };
  if (path.hasLocal && path.family == 4) {
    in_pktinfo info{};
    memcpy(&info.ipi_spec_dst, path.local, 4);
    put(IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  } else if (path.hasLocal) {
    in6_pktinfo info{};
    memcpy(&info.ipi6_addr, path.local, 16);
    put(IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
  }
  // 0 is what the socket has.
  if (trafficClass != 0) {
    const int value = trafficClass;
    if (path.family == 4) put(IPPROTO_IP, IP_TOS, &value, sizeof value);
    else put(IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value);
  }
  if (segmentSize != 0) put(SOL_UDP, UDP_SEGMENT, &segmentSize, sizeof segmentSize);
  return used;
}

/** A system call only where the packets before went the other way. */
void setDf(UdpSocket& socket, bool df) {
  const UdpSocket::Df wanted = df ? UdpSocket::Df::set : UdpSocket::Df::clear;
  if (socket.df == wanted) return;
  socket.df = wanted;
  sendWithDf(socket.fd, socket.family, df);
}

struct Message {
  iovec part;
  alignas(cmsghdr) char control[kControl];

  void fill(msghdr* header, const UdpPath& path, uint8_t trafficClass, uint8_t* data, size_t length,
            uint16_t segmentSize) {
    part = {data, length};
    *header = {};
    header->msg_name = const_cast<SocketAddress*>(&path.remote);
    header->msg_namelen = path.remoteLength();
    header->msg_iov = &part;
    header->msg_iovlen = 1;
    const size_t used = writeControl(control, path, trafficClass, segmentSize);
    header->msg_control = used == 0 ? nullptr : control;
    header->msg_controllen = used;
  }
};

}  // namespace

Transmitter::Transmitter(UdpSocket* sockets, int count)
    : sockets_(sockets), socketCount_(count), slab_(new uint8_t[kSlab]) {}

void Transmitter::commit(const UdpPath& path, uint8_t trafficClass, size_t length, bool df) {
  const uint32_t size = static_cast<uint32_t>(length);
  Run* last = runs_ == 0 ? nullptr : &run_[runs_ - 1];
  if (last != nullptr && !last->closed && size <= last->segmentSize && last->count < kMaxDatagrams &&
      last->length + size <= kMaxBatch && last->trafficClass == trafficClass && last->df == df &&
      samePath(last->path, path)) {
    last->length += size;
    ++last->count;
    last->closed = size < last->segmentSize;
  } else {
    run_[runs_++] = {path, static_cast<uint32_t>(used_), size, size, 1, trafficClass, false, df, false, 0};
  }
  used_ += length;
  ++packets_;
}

bool Transmitter::flush() {
  blocked_ = nullptr;
  while (next_ < runs_) {
    Run& run = run_[next_];
    UdpSocket* socket = socketFor(run);
    if (socket == nullptr) {
      countDrop(Drop::sendFailed, run.count);
      ++next_;
      continue;
    }
    setDf(*socket, run.df);
    if (run.single || (run.count > 1 && !socket->gso)) {
      if (!sendSingly(*socket, run)) return false;
      ++next_;
      continue;
    }
    int to = next_ + 1;
    while (to < runs_ && to - next_ < kMessages && !run_[to].single && run_[to].df == run.df &&
           run_[to].path.family == socket->family) {
      ++to;
    }
    const int done = sendRuns(*socket, next_, to);
    if (done > 0) {
      next_ += done;
      continue;
    }
    bool blocked = false;
    if (recover(*socket, run, -done, &blocked)) ++next_;
    if (blocked) return false;
  }
  runs_ = next_ = 0;
  used_ = 0;
  packets_ = 0;
  return true;
}

UdpSocket* Transmitter::socketFor(const Run& run) {
  for (int i = 0; i < socketCount_; ++i) {
    if (sockets_[i].family == run.path.family) return &sockets_[i];
  }
  return nullptr;
}

/** @returns runs sent, or a negative errno when not even the first was */
int Transmitter::sendRuns(UdpSocket& socket, int from, int to) {
  mmsghdr headers[kMessages];
  Message messages[kMessages];
  int n = 0;
  for (int i = from; i < to; ++i, ++n) {
    const Run& run = run_[i];
    if (i > from && run.count > 1 && !socket.gso) break;
    const uint16_t segment = run.count > 1 ? static_cast<uint16_t>(run.segmentSize) : 0;
    messages[n].fill(&headers[n].msg_hdr, run.path, run.trafficClass, slab_.get() + run.start, run.length, segment);
  }
  const int sent = n == 1 ? (sendmsg(socket.fd, &headers[0].msg_hdr, MSG_DONTWAIT) < 0 ? -1 : 1)
                          : sendmmsg(socket.fd, headers, static_cast<unsigned>(n), MSG_DONTWAIT);
  return sent < 0 ? -errno : sent;
}

/** What to do with a run that the kernel refused. @returns true when the run is finished with */
bool Transmitter::recover(UdpSocket& socket, Run& run, int error, bool* blocked) {
  switch (error) {
    case EINTR:
    case ECONNREFUSED:  // an ICMP error of an earlier datagram, reported once
      if (++run.retries < kRetries) return false;
      break;
    case EAGAIN:
      *blocked = true;
      blocked_ = &socket;
      return false;
    case EIO:
      // udp_send_skb in Linux: the output device has no checksum offload, so it cannot segment.
      if (run.count > 1) {
        socket.gso = false;
        return false;
      }
      break;
    case EMSGSIZE:
    case EINVAL:
      // A segment above the path MTU cannot be sent by UDP_SEGMENT, but packet by packet the kernel fragments it.
      if (run.count > 1) {
        run.single = true;
        return false;
      }
      break;
    default:
      break;
  }
  failed(run, error, run.count);
  return true;
}

void Transmitter::failed(const Run& run, int error, uint32_t packets) {
  countDrop(Drop::sendFailed, packets);
  if (error != EMSGSIZE || !run.df) return;
  hasRefused_ = true;
  refused_ = run.path.remote;
}

bool Transmitter::takeRefused(SocketAddress* remote) {
  if (!hasRefused_) return false;
  hasRefused_ = false;
  *remote = refused_;
  return true;
}

/** @returns false when blocked; the run then starts with what is left */
bool Transmitter::sendSingly(UdpSocket& socket, Run& run) {
  run.single = true;
  while (run.count > 0) {
    const uint32_t size = run.length < run.segmentSize ? run.length : run.segmentSize;
    Message message;
    msghdr header;
    message.fill(&header, run.path, run.trafficClass, slab_.get() + run.start, size, 0);
    if (sendmsg(socket.fd, &header, MSG_DONTWAIT) < 0) {
      if ((errno == EINTR || errno == ECONNREFUSED) && ++run.retries < kRetries) continue;
      if (errno == EAGAIN) {
        blocked_ = &socket;
        return false;
      }
      failed(run, errno, 1);
    }
    run.start += size;
    run.length -= size;
    --run.count;
  }
  return true;
}

}  // namespace tsvpn
