// N-API glue of what lives on the event loop (`shard`, `ikeSocket`, `icmpSocket`). Such objects are owned twice: by the
// JavaScript handle and by libuv; the last one frees. When their thread ends an async clean-up hook closes them.
#include <sys/socket.h>
#include <uv.h>

#include <cerrno>

#include "icmp_socket.h"
#include "ike_socket.h"
#include "napi_args.h"
#include "shard.h"
#include "udp.h"

namespace tsvpn {
namespace {

/** Ownership, callback and teardown that shard and IKE socket share. */
template <class Native>
struct LoopObject {
  explicit LoopObject(napi_env e) : env(e) {}

  const napi_env env;
  napi_ref callback = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  std::unique_ptr<Native> native;
  int owners = 2;
  bool closing = false;

  void release() {
    if (--owners == 0) delete this;
  }
  void close() {
    if (closing) return;
    closing = true;
    native->close(
        [](void* self) {
          auto* object = static_cast<LoopObject*>(self);
          if (object->callback != nullptr) napi_delete_reference(object->env, object->callback);
          object->callback = nullptr;
          if (object->hook != nullptr) napi_remove_async_cleanup_hook(object->hook);
          object->hook = nullptr;
          object->native.reset();
          object->release();
        },
        this);
  }
  /** Calls the JavaScript callback from the loop; what it throws becomes an uncaught exception. */
  void call(size_t count, const napi_value* arguments) {
    napi_value function, self, ignored;
    if (closing || napi_get_reference_value(env, callback, &function) != napi_ok) return;
    napi_get_global(env, &self);
    napi_make_callback(env, nullptr, self, function, count, arguments, &ignored);
    bool thrown = false;
    if (napi_is_exception_pending(env, &thrown) != napi_ok || !thrown) return;
    napi_value error;
    napi_get_and_clear_last_exception(env, &error);
    napi_fatal_exception(env, error);
  }
};

// Random numbers that tell the handles of the classes, so that a method borrowed from one never reads the other.
template <class Native>
constexpr napi_type_tag kTag{};
template <>
constexpr napi_type_tag kTag<Shard>{0x5f0a2c1be84d4f3du, 0x9a77c6d1f2340e88u};
template <>
constexpr napi_type_tag kTag<IkeSocket>{0x1d84b3e6075f4a29u, 0xb60e91d84c7afd15u};
template <>
constexpr napi_type_tag kTag<IcmpSocket>{0x8c2f60b91e7d43a5u, 0x47d1e5b83f0a9c62u};

/** @returns what the handle `this` stands for, or null after throwing */
template <class Native>
LoopObject<Native>* unwrap(const Call& call, const char* method) {
  void* data = nullptr;
  bool ours = false;
  if (typeIs(call.env, call.self, napi_object) &&
      napi_check_object_type_tag(call.env, call.self, &kTag<Native>, &ours) == napi_ok && ours &&
      napi_unwrap(call.env, call.self, &data) == napi_ok) {
    return static_cast<LoopObject<Native>*>(data);
  }
  throwType(call.env, std::string(method) + ": called on something else");
  return nullptr;
}

template <class Native>
napi_value closeMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  LoopObject<Native>* object = unwrap<Native>(call, "close");
  if (object != nullptr) object->close();
  return nullptr;
}

/** Puts the object on this thread's loop and makes its JavaScript handle. Consumes `object`, also on failure. */
template <class Native>
napi_value start(napi_env env, LoopObject<Native>* object, napi_value onEvent, const Method* methods, size_t count) {
  using Object = LoopObject<Native>;
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  napi_create_reference(env, onEvent, 1, &object->callback);
  const int error = object->native->start(loop);
  if (error != 0) {
    object->release();
    object->close();
    throwSystem(env, -error, "uv_poll", "");
    return nullptr;
  }
  napi_add_async_cleanup_hook(
      env, [](napi_async_cleanup_hook_handle, void* data) { static_cast<Object*>(data)->close(); }, object,
      &object->hook);
  napi_value handle;
  napi_create_object(env, &handle);
  addMethods(env, handle, methods, count);
  napi_type_tag_object(env, handle, &kTag<Native>);
  napi_wrap(
      env, handle, object, [](napi_env, void* data, void*) { static_cast<Object*>(data)->release(); }, nullptr,
      nullptr);
  return handle;
}

class HandleScope {
 public:
  explicit HandleScope(napi_env env) : env_(env) { napi_open_handle_scope(env, &scope_); }
  ~HandleScope() { napi_close_handle_scope(env_, scope_); }
  HandleScope(const HandleScope&) = delete;
  HandleScope& operator=(const HandleScope&) = delete;

 private:
  napi_env env_;
  napi_handle_scope scope_;
};

// ---- shard ----------------------------------------------------------------------------------------------------------

using ShardObject = LoopObject<Shard>;

napi_value makeEvent(napi_env env, const ShardEvent& event) {
  napi_value object;
  napi_create_object(env, &object);
  const auto text = [&](const char* name, const char* value) { setProperty(env, object, name, makeString(env, value)); };
  const auto number = [&](const char* name, double value) { setProperty(env, object, name, makeNumber(env, value)); };
  const double value = static_cast<double>(event.value);
  switch (event.type) {
    case ShardEvent::Type::endpointMoved: {
      char address[kAddressText];
      const uint16_t port = formatAddress(event.source, address);
      text("type", "endpoint-moved");
      number("spi", value);
      number("family", event.source.base.sa_family == AF_INET ? 4 : 6);
      text("address", address);
      number("port", port);
      break;
    }
    case ShardEvent::Type::acquire:
      text("type", "acquire");
      number("policy", value);
      break;
    case ShardEvent::Type::softLimit:
      text("type", "soft-limit");
      number("handle", value);
      break;
    case ShardEvent::Type::selectorMismatch:
      text("type", "selector-mismatch");
      number("spi", value);
      setProperty(env, object, "packet", makeBytes(env, event.sample, event.sampleLength));
      break;
    case ShardEvent::Type::ike: {
      const StrayIke& ike = *event.ike;
      char address[kAddressText];
      text("type", "ike");
      setProperty(env, object, "data", makeBytes(env, ike.data, ike.length));
      number("family", ike.from.base.sa_family == AF_INET ? 4 : 6);
      number("remotePort", formatAddress(ike.from, address));
      text("remoteAddress", address);
      address[0] = 0;
      if (ike.local.base.sa_family != AF_UNSPEC) formatAddress(ike.local, address);
      text("localAddress", address);
      break;
    }
    case ShardEvent::Type::pathDoubt:
      text("type", "path-doubt");
      number("handle", value);
      break;
    case ShardEvent::Type::sizeRefused: {
      char address[kAddressText];
      formatAddress(event.source, address);
      text("type", "size-refused");
      text("address", address);
      break;
    }
    case ShardEvent::Type::failedTun:
    case ShardEvent::Type::failedUdp:
      text("type", "failed");
      text("what", event.type == ShardEvent::Type::failedTun ? "tun" : "udp");
      text("code", errnoName(static_cast<int>(event.value)));
      break;
  }
  return object;
}

napi_value shard(napi_env env, napi_callback_info info) {
  Call call(env, info);
  napi_value o = call.argument[0];
  if (!readObject(env, o, "options")) return nullptr;
  int tunFd;
  uint32_t count = 0;
  bool array = false;
  napi_value udp = property(env, o, "udp"), onEvent = property(env, o, "onEvent");
  if (!readFd(env, property(env, o, "tunFd"), "options.tunFd", &tunFd) ||
      !readFunction(env, onEvent, "options.onEvent")) {
    return nullptr;
  }
  if (napi_is_array(env, udp, &array) == napi_ok && array) napi_get_array_length(env, udp, &count);
  if (count < 1 || count > Shard::kMaxSockets) {
    throwRange(env, "options.udp: expected an array of 1 or 2 sockets");
    return nullptr;
  }
  UdpSocket sockets[Shard::kMaxSockets];
  for (uint32_t i = 0; i < count; ++i) {
    const std::string what = "options.udp[" + std::to_string(i) + "]";
    napi_value element;
    napi_get_element(env, udp, i, &element);
    if (!readObject(env, element, what) || !readFamily(env, element, what, &sockets[i].family) ||
        !readFd(env, property(env, element, "fd"), what + ".fd", &sockets[i].fd)) {
      return nullptr;
    }
  }
  auto* object = new ShardObject(env);
  object->native = std::make_unique<Shard>(
      tunFd, sockets, static_cast<int>(count),
      [](void* context, const ShardEvent& event) {
        auto* self = static_cast<ShardObject*>(context);
        HandleScope scope(self->env);
        const napi_value argument = makeEvent(self->env, event);
        self->call(1, &argument);
      },
      object);
  constexpr Method kMethods[] = {{"close", closeMethod<Shard>}};
  return start(env, object, onEvent, kMethods, 1);
}

// ---- IKE socket -----------------------------------------------------------------------------------------------------

using IkeObject = LoopObject<IkeSocket>;

void onDatagram(void* context, const IkeSocket::Datagram& d) {
  auto* self = static_cast<IkeObject*>(context);
  HandleScope scope(self->env);
  char local[kAddressText] = "", remote[kAddressText];
  if (d.local.base.sa_family != AF_UNSPEC) formatAddress(d.local, local);
  const uint16_t port = formatAddress(d.remote, remote);
  const napi_value arguments[] = {makeBytes(self->env, d.data, d.length), makeString(self->env, local),
                                  makeString(self->env, remote), makeNumber(self->env, port)};
  if (arguments[0] != nullptr) self->call(4, arguments);
}

napi_value ikeSend(napi_env env, napi_callback_info info) {
  Call call(env, info);
  IkeObject* object = unwrap<IkeSocket>(call, "send");
  if (object == nullptr) return nullptr;
  Bytes bytes;
  UdpPath path;
  path.family = object->native == nullptr ? 4 : object->native->family();
  int64_t port;
  if (!readBytes(env, call.argument[0], "data", &bytes) ||
      !readLocalAddress(env, call.argument[1], "localAddress", &path) ||
      !readNumber(env, call.argument[3], "remotePort", 1, 0xffff, &port) ||
      !readAddress(env, call.argument[2], "remoteAddress", path.family, static_cast<uint16_t>(port), &path.remote)) {
    return nullptr;
  }
  bool whole = false;
  if (!typeIs(env, call.argument[4], napi_undefined) && !readBool(env, call.argument[4], "whole", &whole)) return nullptr;
  const int error = object->closing ? EBADF : object->native->send(bytes.data, bytes.length, path, whole);
  return error == 0 ? makeNumber(env, 0) : makeString(env, errnoName(error));
}

napi_value ikeGuard(napi_env env, napi_callback_info info) {
  Call call(env, info);
  IkeObject* object = unwrap<IkeSocket>(call, "guard");
  if (object == nullptr) return nullptr;
  Bytes secret{};
  if (!typeIs(env, call.argument[0], napi_null)) {
    if (!readBytes(env, call.argument[0], "secret", &secret)) return nullptr;
    if (secret.length != kCookieSecret) {
      throwRange(env, "secret: expected " + std::to_string(kCookieSecret) + " octets, got " + std::to_string(secret.length));
      return nullptr;
    }
  }
  if (!object->closing) object->native->guard(secret.data);
  return nullptr;
}

napi_value ikeSocket(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int fd;
  int64_t family;
  if (!readFd(env, call.argument[0], "fd", &fd) || !readNumber(env, call.argument[1], "family", 4, 6, &family) ||
      !readFunction(env, call.argument[2], "onDatagram")) {
    return nullptr;
  }
  if (family == 5) {
    throwRange(env, "family: expected 4 or 6, got 5");
    return nullptr;
  }
  int tunFd = -1;
  if (!typeIs(env, call.argument[3], napi_undefined) && !readFd(env, call.argument[3], "tunFd", &tunFd)) return nullptr;
  auto* object = new IkeObject(env);
  object->native = std::make_unique<IkeSocket>(fd, static_cast<uint8_t>(family), onDatagram, object, tunFd);
  constexpr Method kMethods[] = {{"send", ikeSend}, {"guard", ikeGuard}, {"close", closeMethod<IkeSocket>}};
  return start(env, object, call.argument[2], kMethods, 3);
}

// ---- ICMP -----------------------------------------------------------------------------------------------------------

using IcmpObject = LoopObject<IcmpSocket>;

void onReport(void* context, const TooBigReport& r) {
  auto* self = static_cast<IcmpObject*>(context);
  HandleScope scope(self->env);
  char remote[kAddressText];
  formatAddress(r.remote, remote);
  napi_value report;
  napi_create_object(self->env, &report);
  setProperty(self->env, report, "spi", makeNumber(self->env, r.spi));
  setProperty(self->env, report, "sequence", makeNumber(self->env, r.sequence));
  setProperty(self->env, report, "mtu", makeNumber(self->env, r.mtu));
  setProperty(self->env, report, "packetLength", makeNumber(self->env, r.packetLength));
  setProperty(self->env, report, "remoteAddress", makeString(self->env, remote));
  self->call(1, &report);
}

napi_value icmpSocket(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int64_t family;
  if (!readNumber(env, call.argument[0], "family", 4, 6, &family) ||
      !readFunction(env, call.argument[1], "onReport")) {
    return nullptr;
  }
  if (family == 5) {
    throwRange(env, "family: expected 4 or 6, got 5");
    return nullptr;
  }
  int fd = -1;
  const SysResult result = openIcmp(static_cast<uint8_t>(family), &fd);
  if (result.error != 0) {
    throwSystem(env, result.error, result.syscall, "ICMP");
    return nullptr;
  }
  auto* object = new IcmpObject(env);
  object->native = std::make_unique<IcmpSocket>(fd, static_cast<uint8_t>(family), onReport, object);
  constexpr Method kMethods[] = {{"close", closeMethod<IcmpSocket>}};
  return start(env, object, call.argument[1], kMethods, 1);
}

}  // namespace

void addLoopMethods(napi_env env, napi_value exports) {
  constexpr Method kMethods[] = {{"icmpSocket", icmpSocket}, {"ikeSocket", ikeSocket}, {"shard", shard}};
  addMethods(env, exports, kMethods, sizeof kMethods / sizeof kMethods[0]);
}

}  // namespace tsvpn
