// N-API glue of the SA database: arguments in, counters out.
#include "backends.h"
#include "drop.h"
#include "napi_args.h"
#include "sadb.h"
#include "shard.h"

namespace tsvpn {
namespace {

constexpr int64_t kMaxHandle = int64_t{1} << 53;

/** @returns null after throwing */
std::unique_ptr<EspCipher> cipherFrom(napi_env env, napi_value object, Direction direction, bool* esn) {
  SaKeys keys;
  if (!readKeys(env, object, "sa", &keys)) return nullptr;
  std::string error;
  auto cipher = makeCipher(keys, direction, &error);
  if (cipher == nullptr) throwRange(env, "sa: " + error);
  *esn = keys.esn;
  return cipher;
}

void throwExists(napi_env env, const char* what) {
  napi_value error;
  napi_create_error(env, makeString(env, "EEXIST"), makeString(env, what), &error);
  setProperty(env, error, "syscall", makeString(env, "sadb"));
  napi_throw(env, error);
}

napi_value addInbound(napi_env env, napi_callback_info info) {
  Call call(env, info);
  bool esn;
  auto cipher = cipherFrom(env, call.argument[0], Direction::open, &esn);
  if (cipher == nullptr) return nullptr;
  int64_t spi, window;
  UdpPath path;
  if (!numberProperty(env, call.argument[0], "sa", "spi", 1, 0xffffffff, &spi) ||
      !numberProperty(env, call.argument[0], "sa", "replayWindow", 0, kMaxReplayWindow, &window)) {
    return nullptr;
  }
  auto sa = std::make_unique<SaInbound>(static_cast<uint32_t>(spi), esn, static_cast<uint32_t>(window));
  if (!readSelectors(env, property(env, call.argument[0], "local"), "sa.local", &sa->local) ||
      !readSelectors(env, property(env, call.argument[0], "remote"), "sa.remote", &sa->remote) ||
      !readPath(env, property(env, call.argument[0], "path"), "sa.path", &path)) {
    return nullptr;
  }
  sa->cipher = std::move(cipher);
  sa->source = path.remote;
  if (!sadb().addInbound(std::move(sa))) throwExists(env, "EEXIST: an inbound SA with this SPI is installed");
  return nullptr;
}

napi_value removeInbound(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t spi;
  if (!readNumber(env, call.argument[0], "spi", 0, 0xffffffff, &spi)) return nullptr;
  return makeBool(env, sadb().removeInbound(static_cast<uint32_t>(spi)));
}

/** What the outer header and padding look like: `dscp`, `hideEcn`, `tfc`, each optional. */
bool readWrapping(napi_env env, napi_value object, SaOutbound* sa) {
  const auto given = [&](const char* name) { return !typeIs(env, property(env, object, name), napi_undefined); };
  int64_t dscp, tfc = 0;
  bool hideEcn = false;
  if (given("dscp")) {
    if (!numberProperty(env, object, "sa", "dscp", 0, kMaxDscp, &dscp)) return false;
    sa->outerClass.fixDscp(static_cast<uint8_t>(dscp));
  }
  if (given("hideEcn") && !readBool(env, property(env, object, "hideEcn"), "sa.hideEcn", &hideEcn)) return false;
  if (hideEcn) sa->outerClass.hideEcn();
  if (given("tfc") && !numberProperty(env, object, "sa", "tfc", 0, 0xffff, &tfc)) return false;
  sa->tfc = static_cast<uint32_t>(tfc);
  return true;
}

/** What the configuration says of large packets; each may be absent. */
bool readPathRules(napi_env env, napi_value object, SaOutbound* sa) {
  napi_value df = property(env, object, "df"), clamp = property(env, object, "clampMss"),
             inbound = property(env, object, "inboundSpi");
  std::string word = "copy";
  if (!typeIs(env, df, napi_undefined) && !readString(env, df, "sa.df", &word)) return false;
  if (word != "copy" && word != "set" && word != "clear") {
    throwRange(env, "sa.df: expected copy, set or clear, got \"" + word + "\"");
    return false;
  }
  sa->limit.df = word == "copy" ? OuterDf::copy : word == "set" ? OuterDf::set : OuterDf::clear;
  if (!typeIs(env, clamp, napi_undefined) && !readBool(env, clamp, "sa.clampMss", &sa->clampsMss)) return false;
  if (typeIs(env, inbound, napi_undefined)) return true;
  int64_t spi;
  if (!readNumber(env, inbound, "sa.inboundSpi", 1, 0xffffffff, &spi)) return false;
  sa->inboundSpi = static_cast<uint32_t>(spi);
  return true;
}

napi_value addOutbound(napi_env env, napi_callback_info info) {
  Call call(env, info);
  bool esn;
  auto cipher = cipherFrom(env, call.argument[0], Direction::seal, &esn);
  if (cipher == nullptr) return nullptr;
  int64_t handle, spi;
  uint64_t sequence = 0;
  UdpPath path;
  napi_value start = property(env, call.argument[0], "sequence");
  if (!numberProperty(env, call.argument[0], "sa", "handle", 0, kMaxHandle, &handle) ||
      !numberProperty(env, call.argument[0], "sa", "spi", 1, 0xffffffff, &spi) ||
      !readPath(env, property(env, call.argument[0], "path"), "sa.path", &path) ||
      (!typeIs(env, start, napi_undefined) && !readBigUint(env, start, "sa.sequence", &sequence))) {
    return nullptr;
  }
  auto sa = std::make_unique<SaOutbound>(handle, static_cast<uint32_t>(spi), esn, sequence);
  if (!readPathRules(env, call.argument[0], sa.get())) return nullptr;
  sa->cipher = std::move(cipher);
  sa->path = path;
  if (!readWrapping(env, call.argument[0], sa.get())) return nullptr;
  if (!sadb().addOutbound(std::move(sa))) throwExists(env, "EEXIST: an outbound SA with this handle is installed");
  return nullptr;
}

bool readHandle(napi_env env, napi_value value, const char* what, int64_t* out) {
  return readNumber(env, value, what, 0, kMaxHandle, out);
}

napi_value removeOutbound(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t handle;
  if (!readHandle(env, call.argument[0], "handle", &handle)) return nullptr;
  return makeBool(env, sadb().removeOutbound(handle));
}

napi_value setPolicy(napi_env env, napi_callback_info info) {
  Call call(env, info);
  if (!readObject(env, call.argument[0], "policy")) return nullptr;
  auto policy = std::make_unique<Policy>();
  napi_value outbound = property(env, call.argument[0], "outbound");
  policy->hasOutbound = !typeIs(env, outbound, napi_null);
  policy->outbound = 0;
  napi_value holdValue = property(env, call.argument[0], "hold");
  bool hold = false;
  if ((!typeIs(env, holdValue, napi_undefined) && !readBool(env, holdValue, "policy.hold", &hold)) ||
      !readHandle(env, property(env, call.argument[0], "id"), "policy.id", &policy->id) ||
      !readSelectors(env, property(env, call.argument[0], "local"), "policy.local", &policy->local) ||
      !readSelectors(env, property(env, call.argument[0], "remote"), "policy.remote", &policy->remote) ||
      (policy->hasOutbound && !readHandle(env, outbound, "policy.outbound", &policy->outbound))) {
    return nullptr;
  }
  if (hold) policy->held = std::make_unique<HeldPackets>();
  if (sadb().setPolicy(std::move(policy))) wakeShards();
  return nullptr;
}

napi_value removePolicy(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t id;
  if (!readHandle(env, call.argument[0], "id", &id)) return nullptr;
  return makeBool(env, sadb().removePolicy(id));
}

napi_value setOutboundPath(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t handle;
  UdpPath path;
  if (!readHandle(env, call.argument[0], "handle", &handle) || !readPath(env, call.argument[1], "path", &path)) {
    return nullptr;
  }
  if (!sadb().setPath(handle, path)) throwRange(env, "handle: no outbound SA " + std::to_string(handle));
  return nullptr;
}

napi_value setInnerMtu(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t mtu;
  if (!readNumber(env, call.argument[0], "mtu", 0, 0xffff, &mtu)) return nullptr;
  sadb().setInnerMtu(static_cast<uint32_t>(mtu));
  return nullptr;
}

napi_value setPathMtu(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t handle, mtu;
  if (!readHandle(env, call.argument[0], "handle", &handle) ||
      !readNumber(env, call.argument[1], "mtu", 576, 0xffffffff, &mtu)) {
    return nullptr;
  }
  if (!sadb().setPathMtu(handle, static_cast<uint32_t>(mtu))) {
    throwRange(env, "handle: no outbound SA " + std::to_string(handle));
  }
  return nullptr;
}

napi_value makeBigUint(napi_env env, uint64_t value) {
  napi_value result;
  napi_create_bigint_uint64(env, value, &result);
  return result;
}

/** Values of one moment. Taken under the locks; JavaScript, whose garbage collector may take its time, sees only this. */
struct Snapshot {
  uint64_t packets, bytes, lastMs, sequence;
};

Snapshot snapshotOf(const Counters& counters, uint64_t sequence) {
  return {counters.packets.load(std::memory_order_relaxed), counters.bytes.load(std::memory_order_relaxed),
          counters.lastMs.load(std::memory_order_relaxed), sequence};
}

bool snapshotInbound(uint32_t spi, Snapshot* out) {
  SharedLock guard;
  SaInbound* sa = sadb().inbound(spi);
  if (sa == nullptr) return false;
  std::lock_guard<std::mutex> window(sa->lock);
  *out = snapshotOf(sa->counters, sa->window.top());
  return true;
}

bool snapshotOutbound(int64_t handle, Snapshot* out) {
  SharedLock guard;
  SaOutbound* sa = sadb().outbound(handle);
  if (sa == nullptr) return false;
  *out = snapshotOf(sa->counters, sa->sequence.load(std::memory_order_relaxed));
  return true;
}

napi_value makeCounters(napi_env env, const Snapshot& s) {
  napi_value result;
  if (napi_create_object(env, &result) != napi_ok) return nullptr;
  setProperty(env, result, "packets", makeBigUint(env, s.packets));
  setProperty(env, result, "bytes", makeBigUint(env, s.bytes));
  setProperty(env, result, "lastMs", makeNumber(env, static_cast<double>(s.lastMs)));
  setProperty(env, result, "sequence", makeBigUint(env, s.sequence));
  return result;
}

napi_value inboundCounters(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t spi;
  if (!readNumber(env, call.argument[0], "spi", 0, 0xffffffff, &spi)) return nullptr;
  Snapshot snapshot;
  return snapshotInbound(static_cast<uint32_t>(spi), &snapshot) ? makeCounters(env, snapshot) : nullptr;
}

napi_value outboundCounters(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t handle;
  if (!readHandle(env, call.argument[0], "handle", &handle)) return nullptr;
  Snapshot snapshot;
  return snapshotOutbound(handle, &snapshot) ? makeCounters(env, snapshot) : nullptr;
}

napi_value dropCounters(napi_env env, napi_callback_info) {
  void* memory = nullptr;
  napi_value buffer, array;
  if (napi_create_arraybuffer(env, kDropCount * sizeof(uint64_t), &memory, &buffer) != napi_ok) return nullptr;
  uint64_t* out = static_cast<uint64_t*>(memory);
  for (size_t i = 0; i < kDropCount; ++i) out[i] = g_drops[i].load(std::memory_order_relaxed);
  napi_create_typedarray(env, napi_biguint64_array, kDropCount, buffer, 0, &array);
  return array;
}

}  // namespace

void addSadbMethods(napi_env env, napi_value exports) {
  constexpr Method kMethods[] = {
      {"addInbound", addInbound},           {"removeInbound", removeInbound},
      {"addOutbound", addOutbound},         {"removeOutbound", removeOutbound},
      {"setPolicy", setPolicy},             {"removePolicy", removePolicy},
      {"setOutboundPath", setOutboundPath}, {"setInnerMtu", setInnerMtu},
      {"inboundCounters", inboundCounters},
      {"outboundCounters", outboundCounters}, {"dropCounters", dropCounters},
      {"setPathMtu", setPathMtu},
  };
  addMethods(env, exports, kMethods, sizeof kMethods / sizeof kMethods[0]);
}

}  // namespace tsvpn
