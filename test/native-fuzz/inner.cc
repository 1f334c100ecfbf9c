// Inner packets as TUN and a peer give them: parsed, cut into segments, joined again. Each record is a vnet header (10 octets)
// and a packet; memory is exact, so that one octet too many is seen.
#include <cstring>
#include <memory>
#include <vector>

#include "../../native/coalesce.h"
#include "../../native/segment.h"
#include "records.h"

using namespace tsvpn;

namespace {

struct Sink {
  uint64_t octets = 0;
  uint32_t packets = 0;
};

void take(void* context, const iovec* parts, int count, uint32_t packets) {
  Sink& sink = *static_cast<Sink*>(context);
  FUZZ_CHECK(count >= 2 && packets >= 1 && parts[0].iov_len == kVnetHeader);
  for (int i = 1; i < count; ++i) {
    const uint8_t* data = static_cast<const uint8_t*>(parts[i].iov_base);
    for (size_t k = 0; k < parts[i].iov_len; ++k) sink.octets += data[k] | 1;
  }
  sink.packets += packets;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Sink sink;
  Coalescer coalescer(take, &sink);
  // What the coalescer holds must live until it is flushed.
  std::vector<std::unique_ptr<uint8_t[]>> kept;
  uint32_t added = 0;
  fuzz::Records records(data, size);
  for (fuzz::Record record; records.next(&record);) {
    if (record.length < kVnetHeader) continue;
    VnetHeader header;
    memcpy(&header, record.data, sizeof header);
    const size_t length = record.length - kVnetHeader;
    std::unique_ptr<uint8_t[]> packet(new uint8_t[length]);
    if (length != 0) memcpy(packet.get(), record.data + kVnetHeader, length);
    InnerPacket inner;
    SuperPacket super;
    if (!parseInner(packet.get(), length, &inner)) continue;
    FUZZ_CHECK(inner.length <= length);
    if (!planSegments(header, inner, &super)) continue;
    FUZZ_CHECK(super.count >= 1 && super.count <= 65535);
    uint64_t payload = 0;
    for (uint32_t i = 0; i < super.count; ++i) {
      const uint32_t piece = segmentLength(super, i);
      FUZZ_CHECK(piece >= super.headerLength && piece <= super.length);
      payload += piece - super.headerLength;
      if (i >= 200) continue;
      std::unique_ptr<uint8_t[]> to(new uint8_t[piece]);
      writeSegment(super, i, to.get());
      InnerPacket cut;
      if (!parseInner(to.get(), piece, &cut)) continue;
      coalescer.add(cut);
      kept.push_back(std::move(to));
      ++added;
    }
    FUZZ_CHECK(payload == super.length - super.headerLength);
    if (kept.size() > 1000) break;
  }
  coalescer.flush();
  FUZZ_CHECK(sink.packets == added);
  return 0;
}
