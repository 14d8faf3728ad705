#include "engine/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <optional>

#include "base/half.h"
#include "engine/quantization/group_grid.h"
#include "engine/quantized_blocks.h"
#include "files/gguf_block_encoders.h"
#include "files/weight_names.h"

namespace candor::engine {

namespace {

// rows [count, in] of panel `panel`, float32 as they were read, into their lanes: 16 by 16 where there are as many.
void fill_panel(const Kernels& kernels, const std::vector<float>& rows, int64_t count, int64_t panel,
                PackedMatrix& matrix) {
  float* to = matrix.data.data() + panel * matrix.panel_size();
  const int64_t whole = count == kPanel ? matrix.in / kPanel * kPanel : 0;
  float block[kPanel * kPanel];
  for (int64_t k = 0; k < whole; k += kPanel) {
    for (int64_t row = 0; row < kPanel; ++row)
      std::copy_n(rows.data() + row * matrix.in + k, kPanel, block + row * kPanel);
    kernels.transpose_block(block, to + k * kPanel);
  }
  for (int64_t row = 0; row < count; ++row)
    for (int64_t k = whole; k < matrix.in; ++k) to[k * kPanel + row] = rows[row * matrix.in + k];
}

// The same in bfloat16; returns a row that overflowed when it was rounded, or -1.
int64_t fill_bf16_panel(const Kernels& kernels, const std::vector<float>& rows, int64_t count, int64_t panel,
                        PackedMatrix& matrix) {
  constexpr uint16_t kMagnitude = 0x7fff, kInfinity = 0x7f80;
  std::vector<uint16_t> rounded(rows.size());
  kernels.round_bf16(rows.data(), static_cast<int64_t>(rows.size()), rounded.data());
  uint16_t largest = 0;
  for (uint16_t bits : rounded) largest = std::max<uint16_t>(largest, bits & kMagnitude);
  if (largest >= kInfinity)
    for (size_t i = 0; i < rounded.size(); ++i)
      if ((rounded[i] & kMagnitude) >= kInfinity) return static_cast<int64_t>(i) / matrix.in;
  auto* to = matrix.pairs.data() + panel * matrix.panel_size();
  for (int64_t row = 0; row < count; ++row) {
    const uint16_t* from = rounded.data() + row * matrix.in;
    for (int64_t k = 0; k + 1 < matrix.in; k += 2) std::copy_n(from + k, 2, to + k * kPanel + 2 * row);
    if (matrix.in % 2 != 0) to[(matrix.in - 1) * kPanel + 2 * row] = from[matrix.in - 1];
  }
  return -1;
}

void copy_float_row(const PackedMatrix& w, int64_t row, float* to) {
  const float* from = w.data.data() + row / kPanel * w.panel_size() + row % kPanel;
  for (int64_t k = 0; k < w.in; ++k) to[k] = from[k * kPanel];
}

float rounded_to_bf16(float x) {
  return bfloat16_to_float(float_to_bfloat16(x));
}

// Quantized blocks that a matrix is kept in, or made into where the file has none that fit.
struct Blocks {
  const files::GgufBlockType* type = nullptr;  // null: floats
  bool in_file = false;
};

// What `candor quantize` makes of it.
WeightType type_for(const std::string& name, WeightKind kind) {
  const WeightType type = *find_weight_type(kind == WeightKind::kInt4 ? "int4" : "int8");
  return files::name_in_layer(name).empty() ? embedding_type_of(type) : type;
}

Blocks blocks_for(const files::WeightReader& weights, const std::string& name, Dtype dtype) {
  if (!dtype.quantized()) return {};
  const files::GgufBlockType* stored = weights.block_type(name);
  const auto format = stored == nullptr ? std::nullopt : block_format(*stored);
  const WeightType type = type_for(name, dtype.weights);
  if (format && (format->bits == 4 || type.high > 15)) return {stored, true};
  if (dtype.weights == WeightKind::kBlocks) return {};
  return {type.stored, false};  // without a minimum: the end of a row that is no whole block needs a code for 0
}

// The rows of one panel as blocks, [count] rows, then into their lanes.
Result<void> fill_quantized_panel(const files::WeightReader& weights, const std::string& name, const Blocks& blocks,
                                  int64_t begin, int64_t end, PackedMatrix& matrix) {
  const int64_t depth = quantized_depth(matrix.in), per_row = depth / blocks.type->values;
  const int64_t row_bytes = per_row * blocks.type->bytes;
  std::vector<uint8_t> raw(static_cast<size_t>((end - begin) * row_bytes));
  if (blocks.in_file) {
    TRY(weights.read_blocks(name, begin, end, raw.data()));
  } else {
    std::vector<float> rows(static_cast<size_t>((end - begin) * matrix.in)), row(static_cast<size_t>(depth));
    TRY(weights.read_rows(name, begin, end, rows.data()));
    for (int64_t i = 0; i < end - begin; ++i) {
      std::copy_n(rows.data() + i * matrix.in, matrix.in, row.data());
      if (files::encode_blocks(*blocks.type, row, raw.data() + i * row_bytes) < 0) continue;
      return error(
          "[model] weight \"{}\" holds a number in row {} that lies beyond the range of {}. Choose --dtype float32.",
          name, begin + i, blocks.type->name);
    }
  }
  uint8_t* panel = matrix.codes.data() + begin / kPanel * matrix.weights().panel_bytes;
  for (int64_t i = 0; i < end - begin; ++i) {
    if (place_row(*blocks.type, raw.data() + i * row_bytes, per_row, i, panel)) continue;
    return error(
        "[model] weight \"{}\" has a block in row {} whose scale is not finite: the file is damaged or the model's "
        "training diverged.",
        name, begin + i);
  }
  return {};
}

}  // namespace

Arithmetic PackedMatrix::arithmetic() const {
  if (quantized()) return activations;
  return pairs.empty() ? Arithmetic::kFloat32 : Arithmetic::kBfloat16;
}

void PackedMatrix::copy_row(int64_t row, float* to) const {
  if (quantized()) {
    dequantize_row(weights(), row, to);
    if (activations == Arithmetic::kBfloat16) std::transform(to, to + in, to, rounded_to_bf16);
    return;
  }
  if (pairs.empty()) return copy_float_row(*this, row, to);
  const uint16_t* from = pairs.data() + row / kPanel * panel_size() + 2 * (row % kPanel);
  for (int64_t k = 0; k < in; ++k) to[k] = bfloat16_to_float(from[k / 2 * (2 * kPanel) + k % 2]);
}

void PackedMatrix::copy_panel(const Kernels& kernels, int64_t panel, float* to) const {
  if (quantized()) {
    const QuantizedWeights all = weights();
    kernels.dequantize(format, all.depth(), all.panels + panel * all.panel_bytes, 0, padded(in), to);
    std::fill(to + in * kPanel, to + panel_size(), 0.0f);
    if (activations == Arithmetic::kBfloat16) std::transform(to, to + panel_size(), to, rounded_to_bf16);
    return;
  }
  if (pairs.empty()) {
    std::copy_n(data.data() + panel * panel_size(), panel_size(), to);
    return;
  }
  const uint16_t* from = pairs.data() + panel * panel_size();
  for (int64_t k = 0; k < padded(in); k += 2, from += 2 * kPanel, to += 2 * kPanel) {
    uint32_t pairs[kPanel];
    std::memcpy(pairs, from, sizeof(pairs));
    for (int64_t lane = 0; lane < kPanel; ++lane) {
      to[lane] = std::bit_cast<float>(pairs[lane] << 16);
      to[kPanel + lane] = std::bit_cast<float>(pairs[lane] & 0xffff0000u);
    }
  }
}

void PackedMatrix::copy_trained_row(int64_t row, float* to) const {
  if (quantized()) return dequantize_row(weights(), row, to);
  data.empty() ? copy_row(row, to) : copy_float_row(*this, row, to);
}

// Panels are split over the threads; of their errors the first panel's is returned, whatever thread met it first.
Result<PackedMatrix> pack_matrix(const Context& context, const files::WeightReader& weights, const std::string& name,
                                 int64_t out, int64_t in, Dtype dtype) {
  PackedMatrix matrix;
  matrix.out = out, matrix.in = in;
  const int64_t size = padded(out) * padded(in);
  const Blocks blocks = blocks_for(weights, name, dtype);
  const bool bf16 = dtype == Dtype::kBfloat16 || (dtype.quantized() && weights.find(name)->type == "BF16");
  if (blocks.type != nullptr) {
    matrix.format = *block_format(*blocks.type);
    matrix.activations = dtype.activations;
    matrix.codes =
        ByteBuffer(context.ledger, "weights", name, matrix.panels() * matrix.format.panel_bytes(quantized_depth(in)));
  } else if (bf16) {
    matrix.pairs = Bf16Buffer(context.ledger, "weights", name, size);
  } else {
    matrix.data = Buffer(context.ledger, "weights", name, size);
  }
  if (context.ledger.planned()) return matrix;
  std::mutex mutex;
  std::optional<std::pair<int64_t, Error>> failure;
  auto fill = [&](int64_t panel) -> Result<void> {
    const int64_t begin = panel * kPanel, end = std::min(begin + kPanel, out);
    if (matrix.quantized()) return fill_quantized_panel(weights, name, blocks, begin, end, matrix);
    std::vector<float> rows(static_cast<size_t>((end - begin) * in));
    TRY(weights.read_rows(name, begin, end, rows.data()));
    if (!bf16) {
      fill_panel(context.kernels, rows, end - begin, panel, matrix);
      return {};
    }
    const int64_t overflow = fill_bf16_panel(context.kernels, rows, end - begin, panel, matrix);
    if (overflow < 0) return {};
    return error(
        "[model] weight \"{}\" holds a number in row {} that lies beyond the range of bfloat16. Choose "
        "--dtype float32.",
        name, begin + overflow);
  };
  context.pool.run(matrix.panels(), [&](int64_t panel, int) {
    const auto filled = fill(panel);
    if (filled) return;
    std::lock_guard lock(mutex);
    if (!failure || panel < failure->first) failure = {panel, filled.error()};
  });
  if (failure) return failure->second;
  return matrix;
}

void round_master_weights(const Context& context, PackedMatrix& matrix) {
  if (matrix.data.empty() || matrix.pairs.empty()) return;
  context.pool.run(matrix.panels(), [&](int64_t panel, int) {
    const float* from = matrix.data.data() + panel * matrix.panel_size();
    uint16_t* to = matrix.pairs.data() + panel * matrix.panel_size();
    uint16_t pair[2 * kPanel];
    for (int64_t at = 0; at < matrix.panel_size(); at += 2 * kPanel) {  // 16 numbers of even k, then 16 of odd k
      context.kernels.round_bf16(from + at, 2 * kPanel, pair);
      for (int64_t j = 0; j < kPanel; ++j) to[at + 2 * j] = pair[j], to[at + 2 * j + 1] = pair[kPanel + j];
    }
  });
}

}  // namespace candor::engine
