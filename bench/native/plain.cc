// The addon's pipeline without Node: the same sources around an epoll loop, with static keys, so that what the addon costs
// in its worker has something to be measured against. usage: plain TUN FAMILY LOCAL REMOTE INBOUND_SPI OUTBOUND_SPI
// AES-128-GCM with ESN; the key of an SA comes from its SPI as in test/native/static-gateway.mjs. Ends with stdin.
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "backends.h"
#include "inbound.h"
#include "outbound.h"
#include "tun.h"
#include "udp.h"

using namespace tsvpn;

namespace {

constexpr uint16_t kPort = 4500;
constexpr int kRounds = 64;  // as Shard
constexpr size_t kKey = 20;

uint64_t bootTimeMs() {
  timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1000000;
}

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

std::unique_ptr<EspCipher> cipherFor(uint32_t spi, Direction direction) {
  uint8_t key[kKey];
  for (size_t i = 0; i < kKey; ++i) key[i] = static_cast<uint8_t>(spi * 31 + i * 7);
  const SaKeys keys{20, 128, 0, true, key, sizeof key, nullptr, 0};
  std::string error;
  auto cipher = makeCipher(keys, direction, &error);
  if (cipher == nullptr) fail(error.c_str());
  return cipher;
}

Selectors everything() {
  Selector any{};
  any.endPort = 0xffff;
  any.family = 4;
  any.end = {0, 0xffffffff};
  Selector any6 = any;
  any6.family = 6;
  any6.end = {~uint64_t{0}, ~uint64_t{0}};
  return {any, any6};
}

void installSas(const UdpPath& path, uint32_t inboundSpi, uint32_t outboundSpi) {
  auto in = std::make_unique<SaInbound>(inboundSpi, true, 4096);
  in->local = in->remote = everything();
  in->cipher = cipherFor(inboundSpi, Direction::open);
  in->source = path.remote;
  auto out = std::make_unique<SaOutbound>(1, outboundSpi, true, 0);
  out->cipher = cipherFor(outboundSpi, Direction::seal);
  out->path = path;
  auto policy = std::make_unique<Policy>();
  policy->id = 1;
  policy->local = policy->remote = everything();
  policy->hasOutbound = true;
  policy->outbound = 1;
  if (!sadb().addInbound(std::move(in)) || !sadb().addOutbound(std::move(out))) fail("sadb");
  sadb().setPolicy(std::move(policy));
}

void watch(int epoll, int operation, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll, operation, fd, &event) < 0) fail("epoll_ctl");
}

void loop(int tunFd, UdpSocket& socket) {
  EventQueue events;
  Transmitter transmitter(&socket, 1);
  Outbound outbound(tunFd, transmitter, events);
  Inbound inbound(tunFd, events);
  const int epoll = epoll_create1(0);
  for (const int fd : {tunFd, socket.fd, STDIN_FILENO}) watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
  bool blocked = false;
  for (;;) {
    epoll_event ready[3];
    const int n = epoll_wait(epoll, ready, 3, -1);
    for (int i = 0; i < n; ++i) {
      if (ready[i].data.fd == STDIN_FILENO) return;
    }
    for (int round = 0; round < kRounds; ++round) {
      const uint64_t now = bootTimeMs();
      const bool sent = outbound.batch(now), received = inbound.batch(socket, now);
      if (!sent && !received) break;
    }
    events.clear();
    // Back-pressure as in Shard: a full socket stops the reading of TUN.
    if (transmitter.pending() == blocked) continue;
    blocked = transmitter.pending();
    watch(epoll, EPOLL_CTL_MOD, socket.fd, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    watch(epoll, EPOLL_CTL_MOD, tunFd, blocked ? 0 : EPOLLIN);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    fprintf(stderr, "usage: plain TUN FAMILY LOCAL REMOTE INBOUND_SPI OUTBOUND_SPI\n");
    return 2;
  }
  const uint8_t family = static_cast<uint8_t>(atoi(argv[2]));
  UdpOptions options{};
  options.family = family;
  options.esp = true;
  UdpPath path;
  path.family = family;
  if (!parseAddress(argv[3], family, kPort, &options.local) || !parseAddress(argv[4], family, kPort, &path.remote)) {
    fail("address");
  }
  Tun tun;
  const SysResult opened = openTun(argv[1], true, 1, &tun);
  if (opened.error != 0) fail(opened.syscall);
  UdpSocket socket;
  socket.family = family;
  const SysResult bound = openUdp(options, &socket.fd);
  if (bound.error != 0) fail(bound.syscall);
  installSas(path, static_cast<uint32_t>(atoi(argv[5])), static_cast<uint32_t>(atoi(argv[6])));
  puts("ready");
  fflush(stdout);
  loop(tun.fd[0], socket);
  return 0;
}
