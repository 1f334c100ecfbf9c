// Two shards and one SA: copies of the same packets come to both at once, as a replaying neighbour would have it, and each
// packet is delivered once (RFC 4303 §3.4.3). Both also send on one SA, and no sequence number comes twice.
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <thread>

#include "../../native/backends.h"
#include "../../native/esp_packet.h"
#include "../../native/inbound.h"
#include "harness.h"

namespace pure {
namespace {

using tsvpn::Drop;

constexpr uint32_t kSpi = 0x0c0d0e0f, kPackets = 600;

uint64_t replayed() { return tsvpn::g_drops[static_cast<size_t>(Drop::replay)].load(); }

struct Worker {
  int tun[2], udp, sender;
  tsvpn::EventQueue events;
  /** Source ports of what came out, in order. */
  std::vector<uint32_t> delivered;

  Worker() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    sockaddr* at = reinterpret_cast<sockaddr*>(&address);
    const int size = 8 << 20;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, tun) == 0);
    udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sender = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(udp >= 0 && sender >= 0 && bind(udp, at, length) == 0 && getsockname(udp, at, &length) == 0);
    setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    CHECK(connect(sender, at, length) == 0);
  }
  ~Worker() {
    for (const int fd : {tun[0], tun[1], udp, sender}) close(fd);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void drain() {
    for (Bytes all(2000);;) {
      const ssize_t n = read(tun[1], all.data(), all.size());
      if (n < 0) return;
      delivered.push_back(get16(all.data() + sizeof(tsvpn::VnetHeader) + 20));
    }
  }
  void serve() {
    tsvpn::Inbound inbound(tun[0], events);
    tsvpn::UdpSocket socket;
    socket.fd = udp;
    socket.family = 4;
    for (bool more = true; more;) {
      more = inbound.batch(socket, 1);
      drain();
    }
  }
};

void copies(Random& random) {
  const Bytes key = random.bytes(20);
  const tsvpn::SaKeys keys{20, 128, 0, true, key.data(), key.size(), nullptr, 0};
  std::string error;
  auto sa = std::make_unique<tsvpn::SaInbound>(kSpi, true, 1024);
  sa->cipher = tsvpn::makeCipher(keys, tsvpn::Direction::open, &error);
  sa->local = sa->remote = {{4, 0, 0, 0xffff, {0, 0}, {0, 0xffffffffu}}};
  CHECK(tsvpn::sadb().addInbound(std::move(sa)));
  auto cipher = tsvpn::makeCipher(keys, tsvpn::Direction::seal, &error);
  Worker workers[2];
  for (uint32_t i = 1; i <= kPackets; ++i) {
    PacketShape shape;
    shape.tcp = false;
    shape.payload = 20;
    shape.sourcePort = static_cast<uint16_t>(i);  // a flow of its own: nothing is joined
    const Bytes inner = makePacket(shape, random);
    Bytes packet(tsvpn::espLength(cipher->shape, inner.size()));
    memcpy(packet.data() + tsvpn::espHeadroom(cipher->shape), inner.data(), inner.size());
    tsvpn::frameEsp(packet.data(), cipher->shape, kSpi, i, inner.size(), tsvpn::kNextIpv4);
    tsvpn::store64(packet.data() + tsvpn::kEspHeaderLength, i);
    CHECK(cipher->seal(packet.data(), packet.size(), 0));
    for (Worker& w : workers) CHECK(send(w.sender, packet.data(), packet.size(), 0) == static_cast<ssize_t>(packet.size()));
  }

  const uint64_t before = replayed();
  std::atomic<int> ready{0};
  std::thread threads[2];
  for (int i = 0; i < 2; ++i) {
    threads[i] = std::thread([&, i] {
      ++ready;
      while (ready < 2) {
      }
      workers[i].serve();
    });
  }
  for (std::thread& t : threads) t.join();

  std::set<uint32_t> once;
  for (const Worker& w : workers) {
    for (const uint32_t number : w.delivered) CHECK(once.insert(number).second);
  }
  CHECK(once.size() == kPackets && *once.begin() == 1 && *once.rbegin() == kPackets);
  CHECK(tsvpn::sadb().inbound(kSpi)->counters.packets == kPackets && replayed() - before == kPackets);
  CHECK(tsvpn::sadb().removeInbound(kSpi));
}

/** Super-packets of several threads take ranges of numbers that do not meet. */
void numbers(Random& random) {
  tsvpn::SaOutbound sa(1, kSpi, true, 0);
  const uint32_t seeds[2] = {random.under(1u << 30), random.under(1u << 30)};
  std::vector<std::pair<uint64_t, uint32_t>> taken[2];
  std::thread threads[2];
  for (int i = 0; i < 2; ++i) {
    threads[i] = std::thread([&, i] {
      Random own(seeds[i]);
      for (int k = 0; k < 2000; ++k) {
        uint64_t first = 0;
        const uint32_t count = sa.takeSequence(own.between(1, 46), &first);
        taken[i].push_back({first, count});
      }
    });
  }
  for (std::thread& t : threads) t.join();
  std::set<uint64_t> all;
  uint64_t sum = 0;
  for (const auto& mine : taken) {
    for (const auto& range : mine) {
      sum += range.second;
      for (uint32_t k = 0; k < range.second; ++k) CHECK(all.insert(range.first + k).second);
    }
  }
  CHECK(all.size() == sum && *all.begin() == 1 && *all.rbegin() == sum);
}

}  // namespace

void runParallel(Random random, double seconds) {
  for (Budget budget(seconds); budget.left();) {
    copies(random);
    numbers(random);
  }
}

}  // namespace pure
