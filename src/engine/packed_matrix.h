// One weight matrix of a model in memory, as the kernels read it.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "engine/context.h"
#include "engine/dtype.h"
#include "files/model_files.h"

namespace candor::engine {

// W [out, in] as panels of 16 outputs, zeros in the padding. Row n is lane n % 16 of panel n / 16. The forward reads it
// as it lies; dx = dy·W transposes 16×16 blocks of it on the fly.
struct PackedMatrix {
  int64_t out = 0, in = 0;
  Buffer data;       // [padded(out)/16][padded(in)][16]: float32, or bfloat16's master weights; otherwise empty
  Bf16Buffer pairs;  // bfloat16: [padded(out)/16][padded(in)/2][16][2]; otherwise empty
  Buffer bias;       // [padded(out)], or empty

  // Quantized: [padded(out)/16] panels (kernels/quantized.h); otherwise empty.
  ByteBuffer codes;
  QuantizedFormat format;
  Arithmetic activations = Arithmetic::kFloat32;  // that quantized weights meet

  Arithmetic arithmetic() const;
  bool quantized() const { return !codes.empty(); }
  int64_t panels() const { return padded(out) / kPanel; }
  int64_t panel_size() const { return padded(in) * kPanel; }                           // in floats, or bfloat16
  int64_t bytes() const { return 4 * data.size() + 2 * pairs.size() + codes.size(); }  // biases apart
  QuantizedWeights weights() const { return {format, codes.data(), format.panel_bytes(quantized_depth(in)), in}; }
  void copy_row(int64_t row, float* to) const;                              // as it computes; to: in floats
  void copy_panel(const Kernels& kernels, int64_t panel, float* to) const;  // the same of 16 rows, [padded(in)][16]
  void copy_trained_row(int64_t row, float* to) const;  // master weights, quantized ones in float32: what is saved
};

// Reads and packs a matrix [out, in], rounding to `dtype` where the file holds more. `name` is the weight's in the
// file, and the buffer's in the ledger (of a planned one nothing is read). Error: a number that is not finite, or
// becomes so by rounding.
Result<PackedMatrix> pack_matrix(const Context& context, const files::WeightReader& weights, const std::string& name,
                                 int64_t out, int64_t in, Dtype dtype);

// The master weights rounded anew. Does nothing without them.
void round_master_weights(const Context& context, PackedMatrix& matrix);

}  // namespace candor::engine
