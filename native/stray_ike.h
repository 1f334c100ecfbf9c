// IKE among ESP. With UDP_GRO the kernel joins datagrams of one flow before it looks for their socket, and the steering
// program sees the first only: an IKE message right behind ESP packets comes to the shard that those belong to. Plain data.
#pragma once
#include <cstddef>
#include <cstdint>

#include "bytes.h"
#include "path.h"

namespace tsvpn {

struct StrayIke {
  // Implementation: what is joined fits the path of the ESP packets before it. What is larger is dropped, and comes again.
  static constexpr size_t kMaxLength = 2048;

  SocketAddress from, local;
  size_t length;
  /** Marker and message. */
  uint8_t data[kMaxLength];
};

/**
 * A message with the non-ESP marker that continues an IKE SA. One that begins an IKE SA is not handed on: the answer with
 * a cookie (ike_socket.h) stands before those.
 */
inline bool isStrayIke(const uint8_t* data, size_t length) {
  constexpr size_t kMarker = 4, kHeader = 28, kExchangeType = 18, kLength = 24;
  constexpr uint8_t kIkeSaInit = 34;
  return length >= kMarker + kHeader && length <= StrayIke::kMaxLength && load32(data) == 0 &&
         load32(data + kMarker + kLength) == length - kMarker && data[kMarker + kExchangeType] != kIkeSaInit;
}

}  // namespace tsvpn
