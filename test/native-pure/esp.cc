// Sealing and opening in place in blocks of exact size; random and tampered datagrams are refused without a stray read.
// Needs libcrypto: built only where its headers are.
#include "../../native/backends.h"
#include "../../native/bytes.h"
#include "../../native/esp_packet.h"

#include "harness.h"

namespace pure {
namespace {

using tsvpn::CipherShape;
using tsvpn::Direction;
using tsvpn::Drop;
using tsvpn::EspCipher;
using tsvpn::SaKeys;

struct Suite {
  uint16_t encr, bits, encrKey, integ, integKey;
};
constexpr Suite kSuites[] = {
    {20, 128, 20, 0, 0}, {20, 192, 28, 0, 0}, {20, 256, 36, 0, 0},  {19, 128, 20, 0, 0},  {18, 256, 36, 0, 0},
    {28, 256, 36, 0, 0}, {28, 0, 36, 0, 0},   {12, 128, 16, 12, 32}, {12, 192, 24, 13, 48}, {12, 256, 32, 14, 64},
    {12, 128, 16, 2, 20},
};

struct Pair {
  std::unique_ptr<EspCipher> seal, open;
};

/** '' is the one that is chosen without being asked for. */
std::string backendFor(Random& random, const Suite& suite) {
  const tsvpn::Backend& backend = tsvpn::backends().all[random.under(tsvpn::kBackends)];
  return !backend.whyNot.empty() || (backend.aeadOnly && suite.integ != 0) ? "" : backend.name;
}

/** Keys of one backend in use, which opens what another one, perhaps itself, has sealed. */
Pair makePair(Random& random, const Suite& suite, bool esn) {
  const Bytes encr = random.bytes(suite.encrKey), integ = random.bytes(suite.integKey);
  const auto encrBlock = exact(encr), integBlock = exact(integ);
  SaKeys keys{suite.encr, suite.bits, suite.integ, esn, encrBlock.get(), encr.size(), integBlock.get(), integ.size()};
  std::string error;
  keys.backend = backendFor(random, suite);
  Pair pair;
  pair.seal = tsvpn::makeCipher(keys, Direction::seal, &error);
  keys.backend = backendFor(random, suite);
  pair.open = tsvpn::makeCipher(keys, Direction::open, &error);
  CHECK(pair.seal != nullptr && pair.open != nullptr);
  CHECK(pair.seal->shape.icvLength == pair.open->shape.icvLength && pair.seal->shape.ivLength == pair.open->shape.ivLength);
  // A key one octet short is refused, not read beyond.
  keys.encrKeyLength--;
  CHECK(tsvpn::makeCipher(keys, Direction::seal, &error) == nullptr && !error.empty());
  return pair;
}

Bytes sealed(Random& random, EspCipher& cipher, const Bytes& inner, uint64_t sequence, uint8_t nextHeader) {
  const CipherShape& shape = cipher.shape;
  const size_t length = tsvpn::espLength(shape, inner.size()), head = tsvpn::espHeadroom(shape);
  std::unique_ptr<uint8_t[]> packet(new uint8_t[length]);
  if (!inner.empty()) memcpy(packet.get() + head, inner.data(), inner.size());
  tsvpn::frameEsp(packet.get(), shape, 0x01020304, static_cast<uint32_t>(sequence), inner.size(), nextHeader);
  random.fill(packet.get() + 8, shape.ivLength);
  CHECK(cipher.seal(packet.get(), length, static_cast<uint32_t>(sequence >> 32)));
  return Bytes(packet.get(), packet.get() + length);
}

Drop open(EspCipher& cipher, const Bytes& packet, uint64_t sequence, Bytes* inner, uint8_t* nextHeader) {
  if (!tsvpn::espLengthPossible(cipher.shape, packet.size())) return Drop::malformedEsp;
  const auto block = exact(packet);
  tsvpn::OpenedEsp opened{};
  const Drop verdict = tsvpn::openEsp(cipher, block.get(), packet.size(), static_cast<uint32_t>(sequence >> 32), &opened);
  if (verdict != Drop::none) return verdict;
  CHECK(opened.inner >= block.get() && opened.inner + opened.length <= block.get() + packet.size());
  *inner = Bytes(opened.inner, opened.inner + opened.length);
  *nextHeader = opened.nextHeader;
  return verdict;
}

void round(Random& random) {
  const Suite& suite = kSuites[random.under(sizeof kSuites / sizeof kSuites[0])];
  const bool esn = random.oneIn(2);
  const Pair pair = makePair(random, suite, esn);
  Bytes got;
  uint8_t nextHeader = 0;
  for (int i = 0; i < 12; ++i) {
    const Bytes inner = random.bytes(random.under(random.oneIn(6) ? 60000 : 1600));
    const uint64_t sequence = random.next();
    const uint8_t sent = static_cast<uint8_t>(random.next());
    const Bytes packet = sealed(random, *pair.seal, inner, sequence, sent);
    CHECK(open(*pair.open, packet, sequence, &got, &nextHeader) == Drop::none);
    CHECK(got == inner && nextHeader == sent);
    if (esn) CHECK(open(*pair.open, packet, sequence ^ uint64_t{1} << 32, &got, &nextHeader) == Drop::badIcv);

    Bytes forged = packet;
    forged[random.under(static_cast<uint32_t>(forged.size()))] ^= 1u << random.under(8);
    CHECK(open(*pair.open, forged, sequence, &got, &nextHeader) == Drop::badIcv);
    forged = packet;
    forged.resize(random.under(static_cast<uint32_t>(forged.size())));
    CHECK(open(*pair.open, forged, sequence, &got, &nextHeader) != Drop::none);
    CHECK(open(*pair.open, random.bytes(random.under(200)), sequence, &got, &nextHeader) != Drop::none);
    // The key works after every refusal.
    CHECK(open(*pair.open, packet, sequence, &got, &nextHeader) == Drop::none && got == inner);
  }
}

/** Authentic packets with any padding: what a broken peer with the right keys may send. */
void anyPadding(Random& random) {
  const Suite& suite = kSuites[random.under(sizeof kSuites / sizeof kSuites[0])];
  const Pair pair = makePair(random, suite, false);
  const CipherShape& shape = pair.seal->shape;
  const size_t blocks = (2 + shape.blockSize - 1) / shape.blockSize + random.under(20);
  Bytes packet = random.bytes(tsvpn::espHeadroom(shape) + blocks * shape.blockSize + shape.icvLength);
  uint8_t* trailer = packet.data() + packet.size() - shape.icvLength - 2;
  if (random.oneIn(2)) trailer[0] = static_cast<uint8_t>(random.under(20));
  const size_t padding = trailer[0];
  for (size_t i = 0; random.oneIn(2) && i < padding && i < 20; ++i) trailer[-1 - static_cast<std::ptrdiff_t>(i)] = static_cast<uint8_t>(padding - i);
  const size_t text = blocks * shape.blockSize;
  bool right = padding + 2 <= text;
  for (size_t i = 1; right && i <= padding; ++i) right = trailer[static_cast<std::ptrdiff_t>(i) - 1 - static_cast<std::ptrdiff_t>(padding)] == i;
  const auto block = exact(packet);
  CHECK(pair.seal->seal(block.get(), packet.size(), 0));
  Bytes got;
  uint8_t nextHeader;
  const Drop verdict = open(*pair.open, Bytes(block.get(), block.get() + packet.size()), 0, &got, &nextHeader);
  CHECK(verdict == (right ? Drop::none : Drop::badPadding));
  if (right) CHECK(got.size() == text - 2 - padding);
}

}  // namespace

const bool kEspBuilt = true;

void runEsp(Random random, double seconds) {
  for (Budget budget(seconds); budget.left();) {
    round(random);
    for (int i = 0; i < 20; ++i) anyPadding(random);
  }
}

}  // namespace pure
