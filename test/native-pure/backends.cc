// The cipher backends: a backend that lies fails the self-test; what a packet's neighbours are is neither read nor written
// (the sanitizers do not see into assembly, so there the neighbours are pages without access); keys are wiped; threads do
// not disturb each other. Needs libcrypto: built only where its headers are.
#include "../../native/backends.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>
#include <thread>

#include "../../native/aead_evp.h"
#include "../../native/esp_packet.h"
#include "../../native/self_test.h"
#include "harness.h"

namespace pure {
namespace {

using tsvpn::Backend;
using tsvpn::Direction;
using tsvpn::EspCipher;
using tsvpn::EspSuite;
using tsvpn::SaKeys;

// ---- the self-test --------------------------------------------------------------------------------------------------

const Backend& evp() { return tsvpn::backends().all[tsvpn::kBackends - 1]; }

/** What a broken backend does; the rest is EVP's. */
enum class Lie { none, wrongIcv, wrongText, opensAll, opensNothing, writesBehind, writesBefore, refuses, oneLengthOnly };
Lie g_lie = Lie::none;

class Liar final : public EspCipher {
 public:
  explicit Liar(std::unique_ptr<EspCipher> honest) : honest_(std::move(honest)) { shape = honest_->shape; }
  bool seal(uint8_t* packet, size_t length, uint32_t high) override {
    if (g_lie == Lie::refuses) return false;
    const bool sealed = honest_->seal(packet, length, high);
    if (g_lie == Lie::wrongIcv) packet[length - 1] ^= 1;
    if (g_lie == Lie::wrongText) packet[tsvpn::espHeadroom(shape)] ^= 0x80;
    if (g_lie == Lie::writesBehind) packet[length] = 0;
    if (g_lie == Lie::writesBefore) packet[-1] = 0;
    // As a vector loop that is wrong for one number of blocks.
    if (g_lie == Lie::oneLengthOnly && length == tsvpn::espHeadroom(shape) + 768 + shape.icvLength) packet[length - 1] ^= 1;
    return sealed;
  }
  bool open(uint8_t* packet, size_t length, uint32_t high) override {
    const bool right = honest_->open(packet, length, high);
    return g_lie == Lie::opensAll || (right && g_lie != Lie::opensNothing);
  }

 private:
  std::unique_ptr<EspCipher> honest_;
};

std::unique_ptr<EspCipher> makeLiar(const EspSuite& suite, const SaKeys& keys, Direction direction) {
  return std::make_unique<Liar>(tsvpn::makeEvpCipher(suite, keys, direction));
}

std::unique_ptr<EspCipher> makeNothing(const EspSuite&, const SaKeys&, Direction) { return nullptr; }

/** Right with itself and wrong to all others: only the known answers and the reference find that. */
std::unique_ptr<EspCipher> makeOtherKey(const EspSuite& suite, const SaKeys& keys, Direction direction) {
  const Bytes key(keys.encrKeyLength, 0x55);
  SaKeys other = keys;
  other.encrKey = key.data();
  return tsvpn::makeEvpCipher(suite, other, direction);
}

void liarsAreFound() {
  const auto verdict = [](auto make) {
    const Backend backend{"liar", "liar", "", false, false, make};
    return tsvpn::selfTest(backend, evp());
  };
  g_lie = Lie::none;
  CHECK(verdict(makeLiar).empty());
  for (const Lie lie : {Lie::wrongIcv, Lie::wrongText, Lie::opensAll, Lie::opensNothing, Lie::writesBehind,
                        Lie::writesBefore, Lie::refuses, Lie::oneLengthOnly}) {
    g_lie = lie;
    CHECK(!verdict(makeLiar).empty());
  }
  CHECK(verdict(makeNothing).find("no cipher") != std::string::npos);
  CHECK(!verdict(makeOtherKey).empty());
  const Backend alone{"alone", "alone", "", false, false, makeOtherKey};
  CHECK(tsvpn::selfTest(alone, alone).find("seals something else") != std::string::npos);
}

// ---- the backends in use --------------------------------------------------------------------------------------------

struct Suite {
  uint16_t encr, bits;
  size_t key;
};
constexpr Suite kAeads[] = {{20, 128, 20}, {20, 192, 28}, {20, 256, 36}, {19, 128, 20},
                            {18, 256, 36}, {18, 128, 20}, {28, 256, 36}};

std::unique_ptr<EspCipher> make(const Backend& backend, const Suite& suite, const Bytes& key, Direction direction) {
  const SaKeys keys{suite.encr, suite.bits, 0, true, key.data(), key.size(), nullptr, 0, backend.name};
  std::string error;
  auto cipher = tsvpn::makeCipher(keys, direction, &error);
  CHECK(cipher != nullptr);
  return cipher;
}

/** One page between two that must not be touched. */
class Page {
 public:
  Page() : size_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    void* at = mmap(nullptr, 3 * size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    all_ = static_cast<uint8_t*>(at);
    CHECK(mprotect(all_ + size_, size_, PROT_READ | PROT_WRITE) == 0);
  }
  ~Page() { munmap(all_, 3 * size_); }
  uint8_t* first() const { return all_ + size_; }
  uint8_t* end() const { return all_ + 2 * size_; }

 private:
  const size_t size_;
  uint8_t* all_;
};

void neighboursStay(Random& random, const Backend& backend) {
  Page page;
  for (const Suite& suite : kAeads) {
    const Bytes key = random.bytes(suite.key);
    const auto seal = make(backend, suite, key, Direction::seal), open = make(backend, suite, key, Direction::open);
    for (size_t text = 4; text <= 1536; text += text < 400 ? 4 : 60) {
      const size_t length = tsvpn::espHeadroom(seal->shape) + text + seal->shape.icvLength;
      const Bytes clear = random.bytes(length - seal->shape.icvLength);
      for (uint8_t* packet : {page.first(), page.end() - length}) {
        memcpy(packet, clear.data(), clear.size());
        CHECK(seal->seal(packet, length, 7));
        CHECK(open->open(packet, length, 7));
        CHECK(memcmp(packet, clear.data(), clear.size()) == 0);
      }
    }
  }
}

/** Octets of a cipher that neither are zero nor what AddressSanitizer fills fresh memory with. */
size_t octetsSet(const void* cipher, size_t size) {
  size_t n = 0;
  for (size_t i = 0; i < size; ++i) {
    const uint8_t octet = static_cast<const uint8_t*>(cipher)[i];
    n += octet != 0 && octet != 0xbe;
  }
  return n;
}

void keysAreWiped(Random& random, const Backend& backend) {
  for (const Suite& suite : kAeads) {
    for (const Direction direction : {Direction::seal, Direction::open}) {
      const Bytes key = random.bytes(suite.key);
      EspCipher* cipher = make(backend, suite, key, direction).release();
      Bytes packet = random.bytes(tsvpn::espHeadroom(cipher->shape) + 200 + cipher->shape.icvLength);
      if (direction == Direction::seal) CHECK(cipher->seal(packet.data(), packet.size(), 1));
      else CHECK(!cipher->open(packet.data(), packet.size(), 1));
      const size_t size = malloc_usable_size(cipher);
      const uint8_t* salt = key.data() + key.size() - 4;
      // OpenSSL wipes and frees what is EVP's own: this cipher itself holds the salt alone.
      CHECK(memmem(cipher, size, salt, 4) != nullptr && octetsSet(cipher, size) > (backend.aeadOnly ? 60u : 20u));
      cipher->~EspCipher();
      // Pointers to functions and the shape are no secret.
      CHECK(octetsSet(cipher, size) <= 32 && memmem(cipher, size, salt, 4) == nullptr);
      if (backend.aeadOnly) ::operator delete(cipher, std::align_val_t{64});
      else ::operator delete(cipher);
    }
  }
}

/** Each thread has its own SAs, and all of them the library's code. */
void threadsAgree(Random& random, const Backend& backend) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&backend, mine = Random(random.next())]() mutable {
      for (int i = 0; i < 12; ++i) {
        const Suite& suite = kAeads[mine.under(sizeof kAeads / sizeof kAeads[0])];
        const Bytes key = mine.bytes(suite.key);
        const auto seal = make(backend, suite, key, Direction::seal), open = make(evp(), suite, key, Direction::open);
        for (int k = 0; k < 20; ++k) {
          Bytes packet = mine.bytes(tsvpn::espHeadroom(seal->shape) + 4 * mine.between(1, 400) + seal->shape.icvLength);
          const Bytes clear(packet.begin(), packet.end() - seal->shape.icvLength);
          CHECK(seal->seal(packet.data(), packet.size(), 5) && open->open(packet.data(), packet.size(), 5));
          CHECK(memcmp(packet.data(), clear.data(), clear.size()) == 0);
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

void unusedIsRefused() {
  const Bytes key(20);
  SaKeys keys{20, 128, 0, false, key.data(), key.size(), nullptr, 0, "no-such"};
  std::string error;
  CHECK(tsvpn::makeCipher(keys, Direction::seal, &error) == nullptr);
  CHECK(error == "backend: expected evp or ipsec-mb, got 'no-such'");
  for (const Backend& backend : tsvpn::backends().all) {
    keys.backend = backend.name;
    error.clear();
    CHECK((tsvpn::makeCipher(keys, Direction::seal, &error) == nullptr) == !backend.whyNot.empty());
    CHECK(backend.whyNot.empty() || error == backend.version + ": " + backend.whyNot);
  }
}

}  // namespace

void runBackends(Random random, double seconds) {
  CHECK(tsvpn::backends().error.empty() && evp().whyNot.empty());
  liarsAreFound();
  unusedIsRefused();
  for (Budget budget(seconds); budget.left();) {
    for (const Backend& backend : tsvpn::backends().all) {
      if (!backend.whyNot.empty()) continue;
      neighboursStay(random, backend);
      keysAreWiped(random, backend);
      threadsAgree(random, backend);
    }
  }
}

}  // namespace pure
