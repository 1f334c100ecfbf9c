// Both directions of a shard. Even kinds of record are datagrams for the UDP socket as they stand; kind 1 is sealed for the SA
// first, so that what follows a right ICV is reached: padding, next header, the packet inside; kind 3 is a read from TUN. What
// reaches TUN must be a packet that the SA may carry, and whatever TUN says, what leaves must open.
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "../../native/backends.h"
#include "../../native/esp_packet.h"
#include "../../native/inbound.h"
#include "../../native/outbound.h"
#include "records.h"

using namespace tsvpn;

namespace {

constexpr uint32_t kSpi = 0x01020304, kEcho = 0x01020305;
constexpr size_t kLargest = 60000;
const uint8_t kKey[20] = {1, 2, 3};

uint64_t drops(Drop reason) { return g_drops[static_cast<size_t>(reason)].load(); }

std::unique_ptr<EspCipher> cipher(Direction direction) {
  const SaKeys keys{20, 128, 0, true, kKey, sizeof kKey, nullptr, 0};
  std::string error;
  return makeCipher(keys, direction, &error);
}

struct Socket {
  UdpSocket udp;
  SocketAddress address{};
  Socket() {
    udp.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    udp.family = 4;
    address.v4.sin_family = AF_INET;
    address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address.v4;
    FUZZ_CHECK(udp.fd >= 0 && bind(udp.fd, &address.base, length) == 0);
    FUZZ_CHECK(getsockname(udp.fd, &address.base, &length) == 0);
  }
};

/** Made once: the SAs live as long as the process, only windows and numbers go on. */
struct Lab {
  int tun[2];
  Socket own, peer;
  EventQueue sent, received;
  Transmitter transmitter{&own.udp, 1};
  std::unique_ptr<Outbound> outbound;
  std::unique_ptr<Inbound> inbound;
  std::unique_ptr<EspCipher> sealer = cipher(Direction::seal);
  uint64_t number = 0;
  uint64_t now = 1000000;
  Selectors inner;

  Lab() {
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, tun) == 0);
    outbound = std::make_unique<Outbound>(tun[0], transmitter, sent);
    inbound = std::make_unique<Inbound>(tun[0], received);
    inner = {{4, 0, 0, 0xffff, {0, 0x0a000000}, {0, 0x0affffff}}, {6, 17, 0, 1000, {0, 0}, {~uint64_t{0}, ~uint64_t{0}}}};
    install(kSpi);
    install(kEcho);
    auto out = std::make_unique<SaOutbound>(1, kEcho, true, 0);
    out->cipher = cipher(Direction::seal);
    // To ourselves: what leaves comes back in, on another SA.
    out->path.remote = own.address;
    auto policy = std::make_unique<Policy>();
    policy->id = 1;
    policy->local = policy->remote = inner;
    policy->hasOutbound = true;
    policy->outbound = 1;
    FUZZ_CHECK(sadb().addOutbound(std::move(out)));
    sadb().setPolicy(std::move(policy));
  }
  void install(uint32_t spi) {
    auto in = std::make_unique<SaInbound>(spi, true, 64);
    in->cipher = cipher(Direction::open);
    in->local = in->remote = inner;
    in->source = spi == kEcho ? own.address : peer.address;
    FUZZ_CHECK(sadb().addInbound(std::move(in)));
  }
  void send(const uint8_t* data, size_t length) {
    sendto(peer.udp.fd, data, length, 0, &own.address.base, sizeof own.address.v4);
  }
  /** @param text plaintext with its trailer; cut to what the cipher's block size allows */
  void sealAndSend(const uint8_t* text, size_t length) {
    const CipherShape& shape = sealer->shape;
    length -= length % shape.blockSize;
    std::vector<uint8_t> packet(espHeadroom(shape) + length + shape.icvLength);
    const uint64_t sequence = ++number;
    store32(packet.data(), kSpi);
    store32(packet.data() + 4, static_cast<uint32_t>(sequence));
    store64(packet.data() + 8, sequence);
    if (length != 0) memcpy(packet.data() + espHeadroom(shape), text, length);
    FUZZ_CHECK(sealer->seal(packet.data(), packet.size(), static_cast<uint32_t>(sequence >> 32)));
    send(packet.data(), packet.size());
  }
  void run() {
    for (bool more = true; more;) more = outbound->batch(now);
    while (inbound->batch(own.udp, now)) {
    }
    FUZZ_CHECK(outbound->failure() == 0 && inbound->tunFailure() == 0 && inbound->udpFailure() == 0);
    sent.clear();
    received.clear();
    uint8_t packet[kVnetHeader + 65536];
    for (ssize_t n; (n = read(tun[1], packet, sizeof packet)) > 0;) {
      FUZZ_CHECK(n > static_cast<ssize_t>(kVnetHeader));
      InnerPacket out;
      FUZZ_CHECK(parseInner(packet + kVnetHeader, static_cast<size_t>(n) - kVnetHeader, &out));
      FUZZ_CHECK(inboundMatches(inner, inner, out));
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Lab* const lab = new Lab;
  fuzz::Records records(data, size);
  for (fuzz::Record record; records.next(&record);) {
    if (record.length > kLargest) continue;
    const uint64_t icv = drops(Drop::badIcv), replay = drops(Drop::replay);
    const bool fromTun = (record.kind & 3) == 3;
    // An empty write would close a SEQPACKET reader's loop as the end of it.
    if (fromTun && record.length >= kVnetHeader) {
      FUZZ_CHECK(write(lab->tun[1], record.data, record.length) == static_cast<ssize_t>(record.length));
    } else if ((record.kind & 3) == 1) {
      lab->sealAndSend(record.data, record.length);
    } else {
      lab->send(record.data, record.length);
    }
    lab->run();
    // Ours opens, and no number comes twice.
    if (record.kind & 1) FUZZ_CHECK(drops(Drop::badIcv) == icv && drops(Drop::replay) == replay);
  }
  return 0;
}
