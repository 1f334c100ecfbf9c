// A fuzz input as a list of records: one octet of kind, two of length, then as many octets as there are. Every input is one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace fuzz {

#define FUZZ_CHECK(condition)                                              \
  do {                                                                     \
    if (!(condition)) {                                                    \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                             \
    }                                                                      \
  } while (0)

struct Record {
  uint8_t kind;
  const uint8_t* data;
  size_t length;
};

class Records {
 public:
  Records(const uint8_t* data, size_t length) : data_(data), left_(length) {}

  bool next(Record* out) {
    if (left_ < 3) return false;
    const size_t wanted = static_cast<size_t>(data_[1]) << 8 | data_[2];
    const size_t length = wanted < left_ - 3 ? wanted : left_ - 3;
    *out = {data_[0], data_ + 3, length};
    data_ += 3 + length;
    left_ -= 3 + length;
    return true;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

}  // namespace fuzz
