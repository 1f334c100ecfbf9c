// Framing and trailer rules of RFC 4303 §2.4-2.6.
#include "esp_packet.h"

#include "bytes.h"

namespace tsvpn {

void frameEsp(uint8_t* packet, const CipherShape& s, uint32_t spi, uint32_t sequenceLow, size_t inner,
              uint8_t nextHeader) {
  store32(packet, spi);
  store32(packet + 4, sequenceLow);
  const size_t head = espHeadroom(s);
  const size_t padding = espLength(s, inner) - head - s.icvLength - inner - 2;
  uint8_t* trailer = packet + head + inner;
  for (size_t i = 1; i <= padding; ++i) *trailer++ = static_cast<uint8_t>(i);
  trailer[0] = static_cast<uint8_t>(padding);
  trailer[1] = nextHeader;
}

Drop openEsp(EspCipher& cipher, uint8_t* packet, size_t length, uint32_t sequenceHigh, OpenedEsp* out) {
  if (!cipher.open(packet, length, sequenceHigh)) return Drop::badIcv;
  uint8_t* text = packet + espHeadroom(cipher.shape);
  const size_t textLength = length - espHeadroom(cipher.shape) - cipher.shape.icvLength;
  const size_t padding = text[textLength - 2];
  if (padding + 2 > textLength) return Drop::badPadding;
  const uint8_t* pad = text + textLength - 2 - padding;
  for (size_t i = 0; i < padding; ++i) {
    if (pad[i] != i + 1) return Drop::badPadding;
  }
  *out = {text, textLength - 2 - padding, text[textLength - 1]};
  return Drop::none;
}

}  // namespace tsvpn
