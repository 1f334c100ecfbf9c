// UDP sockets: opening, the reuseport steering program, and address conversion. Datagrams are the shard's and ike_socket's.
#pragma once
#include <cstddef>

#include "path.h"
#include "tun.h"

namespace tsvpn {

struct UdpOptions {
  uint8_t family;
  SocketAddress local;
  uint32_t mark;
  bool reusePort;
  bool esp;
};

SysResult openUdp(const UdpOptions& options, int* fd);

/**
 * How what is sent from now on travels. With DF: never in fragments, and sends above the device's MTU fail with EMSGSIZE;
 * what the kernel believes of the path counts for nothing, for anybody can forge it. Without: the kernel fragments for the
 * device and IPv4 routers for what follows. IPv6 routers do not: there the kernel fragments what exceeds the path as it knows
 * it, into the 1280 octets that any link takes.
 */
void sendWithDf(int fd, uint8_t family, bool df);

/** See attachSteering in src/io/native.ts. */
SysResult attachSteering(int fd, uint32_t shards);

/**
 * MTU of the way to `remote` as the kernel knows it: of the route's device, or less where it has learnt so.
 * @param mark of the datagrams, for policy routing
 */
SysResult pathMtu(const SocketAddress& remote, uint32_t mark, int* mtu);

/** Takes a pending error off the socket. @returns false when it is no open socket */
bool clearSocketError(int fd);

/** @returns false unless `text` is an address of that family */
bool parseAddress(const char* text, uint8_t family, uint16_t port, SocketAddress* out);
constexpr size_t kAddressText = 46;
/** @returns port in host order */
uint16_t formatAddress(const SocketAddress& address, char out[kAddressText]);

}  // namespace tsvpn
