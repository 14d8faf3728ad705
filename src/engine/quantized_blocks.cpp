#include "engine/quantized_blocks.h"

#include <cstring>

#include "base/check.h"
#include "files/gguf_codes.h"

namespace candor::engine {

namespace {

bool finite(uint16_t half) {
  return (half & 0x7c00) != 0x7c00;
}

// One lane of a panel while its row is read.
class Lane {
 public:
  Lane(const QuantizedFormat& format, int64_t depth, int64_t lane, uint8_t* panel)
      : format_(format), lane_(lane), panel_(panel), parts_(format, depth, panel) {}

  void place(const files::GgufCodes& block, int64_t first, int64_t values) {
    // Four inputs lie together; of 4-bit codes those half a group further share their bytes.
    const int64_t step = format_.bits == 8 ? format_.group : format_.group / 2;
    for (int64_t k = 0; k < values; k += 4) {
      if (k % format_.group >= step) continue;
      uint8_t* to = panel_ + code_place(format_, first + k, lane_).byte;
      for (int64_t j = 0; j < 4; ++j) {
        const int high = format_.bits == 8 ? 0 : block.codes[k + j + step] << 4;
        to[j] = static_cast<uint8_t>(block.codes[k + j] | high);
      }
    }
    if (!format_.nested) {
      store_half(parts_.scales, first / format_.group, block.scale);
      if (format_.minimum) store_half(parts_.minimums, first / format_.group, block.minimum);
      return;
    }
    store_half(parts_.scale_factors, first / 256, block.scale);
    if (format_.minimum) store_half(parts_.minimum_factors, first / 256, block.minimum);
    for (int64_t group = 0; group < values / format_.group; ++group) {
      const int64_t at = (first / format_.group + group) * kLanes + lane_;
      *writable(parts_.scales + at) = static_cast<uint8_t>(block.scales[group]);
      if (format_.minimum) *writable(parts_.minimums + at) = static_cast<uint8_t>(block.minimums[group]);
    }
  }

 private:
  uint8_t* writable(const uint8_t* part) { return panel_ + (part - parts_.codes); }
  void store_half(const uint8_t* part, int64_t index, uint16_t half) {
    std::memcpy(writable(part + 2 * (index * kLanes + lane_)), &half, sizeof(half));
  }

  QuantizedFormat format_;
  int64_t lane_;
  uint8_t* panel_;
  QuantizedPanel parts_;
};

}  // namespace

std::optional<QuantizedFormat> block_format(const files::GgufBlockType& type) {
  const files::GgufCodeFormat* codes = files::find_code_format(type.name);
  if (codes == nullptr) return std::nullopt;
  return QuantizedFormat{.bits = codes->bits <= 4 ? 4 : 8,
                         .group = codes->group,
                         .zero = codes->zero,
                         .minimum = codes->minimum,
                         .nested = codes->nested};
}

bool place_row(const files::GgufBlockType& type, const uint8_t* raw, int64_t blocks, int64_t lane, uint8_t* panel) {
  const files::GgufCodeFormat* codes = files::find_code_format(type.name);
  CHECK(codes != nullptr);
  Lane to(*block_format(type), blocks * type.values, lane, panel);
  bool all_finite = true;
  for (int64_t block = 0; block < blocks; ++block, raw += type.bytes) {
    files::GgufCodes unpacked;
    codes->unpack(raw, unpacked);
    all_finite = all_finite && finite(unpacked.scale) && finite(unpacked.minimum);
    to.place(unpacked, block * type.values, type.values);
  }
  return all_finite;
}

}  // namespace candor::engine
