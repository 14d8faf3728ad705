// What the head's passes (head*.cpp) have in common: rows in chunks, the vocabulary in blocks, and the logits of a
// chunk over a block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/head.h"
#include "engine/matrix_products.h"

namespace candor::engine {

// Rows that one task takes through the whole vocabulary: at most this many, enough to share each load of the weights,
// few enough that both their hidden states and a block of logits stay in the cache.
inline constexpr int64_t kChunkRows = 96;

struct HeadChunk {
  int64_t begin, end;
  int64_t rows() const { return end - begin; }
};
std::vector<HeadChunk> head_chunks(int64_t rows, int threads);

// Hidden states as the head reads them: as they are, or where its arithmetic asks for it, rounded.
struct HeadInput {
  Buffer hidden;         // [rows, padded(hidden)]
  Bf16Buffer rounded;    // the same, or empty
  ByteBuffer quantized;  // the same, or empty

  // Room for `rows` rows. The ledger has the buffers as "head", their names beginning with `whose`.
  HeadInput(const Context& context, const PackedMatrix& head, int64_t rows, const std::string& whose = "");

  // The rows that `rows` name.
  void gather(const Kernels& kernels, const PackedMatrix& head, const float* from, std::span<const HeadRow> rows);

  // From row `begin` on.
  MatrixInput from(const PackedMatrix& head, int64_t begin) const;
};

// logits [rows, 512] of input rows `begin` and on over the vocabulary block that starts at `first`; returns its true
// width.
int64_t block_logits(const Kernels& kernels, const PackedMatrix& head, const HeadInput& input, int64_t begin,
                     int64_t rows, int64_t first, float* logits);

// Whose the buffers of the head are with which another is compared.
inline constexpr const char* kOtherHead = "other ";

// The rows of one view, or a chunk of them, gathered: their logits block by block, the adapter's part included.
class ViewLogits {
 public:
  // Room for `rows` rows; whose: as HeadInput's.
  ViewLogits(const Context& context, const PackedMatrix& head, int64_t rows, const std::string& whose);

  void gather(const Kernels& kernels, const HeadView& view, std::span<const HeadRow> rows);
  // Of gathered rows [begin, begin + rows) over the block that starts at `first`: [rows, 512].
  const float* block(const Kernels& kernels, const HeadView& view, int64_t begin, int64_t rows, int64_t first);

 private:
  HeadInput input_;
  Buffer logits_;
  std::vector<float> u_;
};

}  // namespace candor::engine
