// N-API glue of the pure parts, for tests against the TypeScript twin and for the bench. No device, no database.
#include <ctime>
#include <vector>

#include "backends.h"
#include "bytes.h"
#include "esp_packet.h"
#include "ip.h"
#include "napi_args.h"
#include "replay.h"
#include "traffic_class.h"

namespace tsvpn {
namespace {

constexpr size_t kMaxInner = 65535;

std::unique_ptr<EspCipher> cipherFrom(napi_env env, napi_value value, Direction direction) {
  SaKeys keys;
  if (!readKeys(env, value, "keys", &keys)) return nullptr;
  std::string error;
  auto cipher = makeCipher(keys, direction, &error);
  if (cipher == nullptr) throwRange(env, "keys: " + error);
  return cipher;
}

/** Next header of tunnel mode by the version nibble; a packet of neither version is sealed as a dummy. */
uint8_t nextHeaderOf(const Bytes& inner) {
  const uint8_t version = inner.length == 0 ? 0 : inner.data[0] >> 4;
  return version == 4 ? kNextIpv4 : version == 6 ? kNextIpv6 : kNextNone;
}

napi_value espSeal(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto cipher = cipherFrom(env, call.argument[0], Direction::seal);
  if (cipher == nullptr) return nullptr;
  int64_t spi;
  uint64_t sequence;
  Bytes iv, inner;
  if (!readNumber(env, call.argument[1], "spi", 1, 0xffffffff, &spi) ||
      !readBigUint(env, call.argument[2], "sequence", &sequence) || !readBytes(env, call.argument[3], "iv", &iv) ||
      !readBytes(env, call.argument[4], "inner", &inner)) {
    return nullptr;
  }
  if (iv.length != cipher->shape.ivLength) {
    throwRange(env, "iv: expected " + std::to_string(cipher->shape.ivLength) + " octets, got " +
                        std::to_string(iv.length));
    return nullptr;
  }
  if (inner.length > kMaxInner) {
    throwRange(env, "inner: expected at most 65535 octets, got " + std::to_string(inner.length));
    return nullptr;
  }
  std::vector<uint8_t> packet(espLength(cipher->shape, inner.length));
  if (inner.length != 0) memcpy(packet.data() + espHeadroom(cipher->shape), inner.data, inner.length);
  frameEsp(packet.data(), cipher->shape, static_cast<uint32_t>(spi), static_cast<uint32_t>(sequence), inner.length,
           nextHeaderOf(inner));
  memcpy(packet.data() + kEspHeaderLength, iv.data, iv.length);
  if (!cipher->seal(packet.data(), packet.size(), static_cast<uint32_t>(sequence >> 32))) {
    napi_throw_error(env, nullptr, "the backend failed to seal");
    return nullptr;
  }
  return makeBytes(env, packet.data(), packet.size());
}

napi_value espOpen(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto cipher = cipherFrom(env, call.argument[0], Direction::open);
  if (cipher == nullptr) return nullptr;
  uint64_t sequence;
  Bytes sealed;
  if (!readBigUint(env, call.argument[1], "sequence", &sequence) ||
      !readBytes(env, call.argument[2], "packet", &sealed)) {
    return nullptr;
  }
  Drop reason = Drop::malformedEsp;
  OpenedEsp opened;
  std::vector<uint8_t> packet(sealed.data, sealed.data + sealed.length);
  if (sealed.length <= kMaxInner && espLengthPossible(cipher->shape, packet.size())) {
    reason = openEsp(*cipher, packet.data(), packet.size(), static_cast<uint32_t>(sequence >> 32), &opened);
  }
  if (reason != Drop::none) return makeString(env, kDropNames[static_cast<size_t>(reason)]);
  napi_value result;
  napi_create_object(env, &result);
  setProperty(env, result, "inner", makeBytes(env, opened.inner, opened.length));
  setProperty(env, result, "nextHeader", makeNumber(env, opened.nextHeader));
  return result;
}

napi_value replayRun(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t size;
  bool esn, array = false;
  if (!readNumber(env, call.argument[0], "window", 0, kMaxReplayWindow, &size) ||
      !readBool(env, call.argument[1], "esn", &esn)) {
    return nullptr;
  }
  if (napi_is_array(env, call.argument[2], &array) != napi_ok || !array) {
    throwType(env, "wireSequences: expected an array");
    return nullptr;
  }
  uint32_t count = 0;
  napi_get_array_length(env, call.argument[2], &count);
  ReplayWindow window(static_cast<uint32_t>(size), esn);
  std::vector<uint8_t> verdicts(count);
  for (uint32_t i = 0; i < count; ++i) {
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    napi_value element = nullptr;
    int64_t low;
    napi_get_element(env, call.argument[2], i, &element);
    const bool valid = readNumber(env, element, "wireSequences[" + std::to_string(i) + "]", 0, 0xffffffff, &low);
    napi_close_handle_scope(env, scope);
    if (!valid) return nullptr;
    const uint64_t sequence = window.infer(static_cast<uint32_t>(low));
    verdicts[i] = window.mayAccept(sequence) && window.accept(sequence);
  }
  return makeBytes(env, verdicts.data(), count);
}

napi_value mergeEcnOf(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Bytes given;
  int64_t outer;
  if (!readBytes(env, call.argument[0], "packet", &given) ||
      !readNumber(env, call.argument[1], "outer", 0, 0xff, &outer)) {
    return nullptr;
  }
  std::vector<uint8_t> packet(given.data, given.data + given.length);
  InnerPacket inner;
  if (!parseInner(packet.data(), packet.size(), &inner)) {
    throwRange(env, "packet: expected an IPv4 or IPv6 packet");
    return nullptr;
  }
  if (!mergeEcn(packet.data(), static_cast<uint8_t>(outer))) {
    return makeString(env, kDropNames[static_cast<size_t>(Drop::ceOverNotEct)]);
  }
  return makeBytes(env, packet.data(), packet.size());
}

// ---- bench ----------------------------------------------------------------------------------------------------------

double nowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// Implementation: as many packets as one UDP_SEGMENT batch, so that the caches see what they see in a shard.
constexpr size_t kRing = 32;

struct Bench {
  std::unique_ptr<EspCipher> cipher;
  size_t size = 0, length = 0;
  uint32_t count = 0;
};

bool readBench(Call& call, Direction direction, Bench* out) {
  int64_t size, count;
  out->cipher = cipherFrom(call.env, call.argument[0], direction);
  if (out->cipher == nullptr || !readNumber(call.env, call.argument[1], "size", 0, 9000, &size) ||
      !readNumber(call.env, call.argument[2], "count", 1, 100000000, &count)) {
    return false;
  }
  out->size = static_cast<size_t>(size);
  out->count = static_cast<uint32_t>(count);
  out->length = espLength(out->cipher->shape, out->size);
  return true;
}

void sealOne(EspCipher& cipher, uint8_t* packet, size_t length, size_t size, uint32_t sequence) {
  frameEsp(packet, cipher.shape, 256, sequence, size, kNextIpv4);
  memset(packet + kEspHeaderLength, 0, cipher.shape.ivLength);
  store64(packet + kEspHeaderLength, sequence);
  cipher.seal(packet, length, 0);
}

napi_value benchSeal(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Bench bench;
  if (!readBench(call, Direction::seal, &bench)) return nullptr;
  std::vector<uint8_t> ring(bench.length * kRing);
  const double start = nowNs();
  for (uint32_t i = 0; i < bench.count; ++i) {
    sealOne(*bench.cipher, ring.data() + i % kRing * bench.length, bench.length, bench.size, i);
  }
  return makeNumber(env, (nowNs() - start) / bench.count);
}

/** Opening destroys the packet, so each one is first copied from a sealed ring; the copy is part of the figure. */
napi_value benchOpen(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Bench bench;
  if (!readBench(call, Direction::open, &bench)) return nullptr;
  auto sealer = cipherFrom(env, call.argument[0], Direction::seal);
  std::vector<uint8_t> ring(bench.length * kRing), work(bench.length);
  for (uint32_t i = 0; i < kRing; ++i) sealOne(*sealer, ring.data() + i * bench.length, bench.length, bench.size, i);
  uint32_t failed = 0;
  const double start = nowNs();
  for (uint32_t i = 0; i < bench.count; ++i) {
    memcpy(work.data(), ring.data() + i % kRing * bench.length, bench.length);
    failed += !bench.cipher->open(work.data(), bench.length, 0);
  }
  const double ns = (nowNs() - start) / bench.count;
  if (failed != 0) {
    napi_throw_error(env, nullptr, "benchOpen: a packet did not authenticate");
    return nullptr;
  }
  return makeNumber(env, ns);
}

}  // namespace

void addPureMethods(napi_env env, napi_value exports) {
  constexpr Method kMethods[] = {
      {"espSeal", espSeal},     {"espOpen", espOpen},     {"replayRun", replayRun},
      {"benchSeal", benchSeal}, {"benchOpen", benchOpen}, {"mergeEcn", mergeEcnOf},
  };
  addMethods(env, exports, kMethods, sizeof kMethods / sizeof kMethods[0]);
}

}  // namespace tsvpn
