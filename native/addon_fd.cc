// N-API glue of devices and sockets as plain descriptors: opened, asked, closed.
#include <unistd.h>

#include <cerrno>

#include "napi_args.h"
#include "tun.h"
#include "udp.h"

namespace tsvpn {
namespace {

napi_value openTunMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  std::string name;
  bool offload = true;
  int64_t queues = 1;
  if (!readString(env, call.argument[0], "name", &name)) return nullptr;
  if (name.size() > 15) {
    throwRange(env, "name: expected at most 15 octets, got \"" + name + "\"");
    return nullptr;
  }
  if (!typeIs(env, call.argument[1], napi_undefined)) {
    if (!readObject(env, call.argument[1], "options")) return nullptr;
    napi_value value = property(env, call.argument[1], "offload");
    if (!typeIs(env, value, napi_undefined) && !readBool(env, value, "options.offload", &offload)) return nullptr;
    value = property(env, call.argument[1], "queues");
    if (!typeIs(env, value, napi_undefined) &&
        !readNumber(env, value, "options.queues", 1, Tun::kMaxQueues, &queues)) {
      return nullptr;
    }
  }
  Tun tun;
  const SysResult result = openTun(name.c_str(), offload, static_cast<int>(queues), &tun);
  if (result.error != 0) {
    throwSystem(env, result.error, result.syscall, name);
    return nullptr;
  }
  napi_value object, features, fds;
  napi_create_object(env, &object);
  napi_create_array_with_length(env, static_cast<size_t>(tun.queues), &fds);
  for (int i = 0; i < tun.queues; ++i) {
    napi_set_element(env, fds, static_cast<uint32_t>(i), makeNumber(env, tun.fd[i]));
  }
  napi_create_object(env, &features);
  setProperty(env, features, "vnetHdr", makeBool(env, tun.vnetHdr));
  setProperty(env, features, "tso4", makeBool(env, tun.tso4));
  setProperty(env, features, "tso6", makeBool(env, tun.tso6));
  setProperty(env, features, "uso", makeBool(env, tun.uso));
  setProperty(env, object, "fds", fds);
  setProperty(env, object, "name", makeString(env, tun.name));
  setProperty(env, object, "ifIndex", makeNumber(env, tun.ifIndex));
  setProperty(env, object, "features", features);
  return object;
}

napi_value openUdpMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  napi_value o = call.argument[0];
  if (!readObject(env, o, "options")) return nullptr;
  UdpOptions options{};
  int64_t port, mark;
  if (!readFamily(env, o, "options", &options.family) || !numberProperty(env, o, "options", "port", 0, 0xffff, &port) ||
      !readAddress(env, property(env, o, "address"), "options.address", options.family, static_cast<uint16_t>(port),
                   &options.local) ||
      !numberProperty(env, o, "options", "mark", 0, 0xffffffff, &mark) ||
      !readBool(env, property(env, o, "reusePort"), "options.reusePort", &options.reusePort) ||
      !readBool(env, property(env, o, "esp"), "options.esp", &options.esp)) {
    return nullptr;
  }
  options.mark = static_cast<uint32_t>(mark);
  int fd = -1;
  const SysResult result = openUdp(options, &fd);
  if (result.error != 0) {
    char text[kAddressText];
    formatAddress(options.local, text);
    throwSystem(env, result.error, result.syscall, std::string(text) + " port " + std::to_string(port));
    return nullptr;
  }
  return makeNumber(env, fd);
}

napi_value pathMtuMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  napi_value o = call.argument[0];
  UdpPath path{};
  int64_t mark;
  // Any port will do: the route does not depend on it.
  if (!readObject(env, o, "options") || !readFamily(env, o, "options", &path.family) ||
      !readAddress(env, property(env, o, "address"), "options.address", path.family, 500, &path.remote) ||
      !numberProperty(env, o, "options", "mark", 0, 0xffffffff, &mark)) {
    return nullptr;
  }
  int mtu = 0;
  const SysResult result = pathMtu(path.remote, static_cast<uint32_t>(mark), &mtu);
  if (result.error == 0) return makeNumber(env, mtu);
  char text[kAddressText];
  formatAddress(path.remote, text);
  throwSystem(env, result.error, result.syscall, text);
  return nullptr;
}

napi_value attachSteeringMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int fd;
  int64_t shards;
  if (!readFd(env, call.argument[0], "fd", &fd) || !readNumber(env, call.argument[1], "shards", 1, 1024, &shards)) {
    return nullptr;
  }
  const SysResult result = attachSteering(fd, static_cast<uint32_t>(shards));
  if (result.error != 0) throwSystem(env, result.error, result.syscall, "");
  return nullptr;
}

napi_value closeFd(napi_env env, napi_callback_info info) {
  Call call(env, info);
  int fd;
  if (readFd(env, call.argument[0], "fd", &fd) && close(fd) < 0) throwSystem(env, errno, "close", "");
  return nullptr;
}

}  // namespace

void addFdMethods(napi_env env, napi_value exports) {
  constexpr Method kMethods[] = {
      {"openTun", openTunMethod}, {"openUdp", openUdpMethod}, {"attachSteering", attachSteeringMethod},
      {"pathMtu", pathMtuMethod}, {"closeFd", closeFd},
  };
  addMethods(env, exports, kMethods, sizeof kMethods / sizeof kMethods[0]);
}

}  // namespace tsvpn
