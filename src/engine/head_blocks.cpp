#include "engine/head_blocks.h"

namespace candor::engine {

std::vector<HeadChunk> head_chunks(int64_t rows, int threads) {
  const int64_t per_thread = (rows + threads - 1) / threads;
  const int64_t size = std::clamp<int64_t>(per_thread, 1, kChunkRows);
  std::vector<HeadChunk> chunks;
  for (int64_t begin = 0; begin < rows; begin += size) chunks.push_back({begin, std::min(rows, begin + size)});
  return chunks;
}

HeadInput::HeadInput(const Context& context, const PackedMatrix& head, int64_t rows, const std::string& whose)
    : hidden(context.ledger, "head", whose + "input", rows * padded(head.in)) {
  if (head.arithmetic() == Arithmetic::kBfloat16)
    rounded = Bf16Buffer(context.ledger, "head", whose + "rounded", hidden.size());
  if (head.arithmetic() == Arithmetic::kInt8)
    quantized = ByteBuffer(context.ledger, "head", whose + "quantized", rows * quantized_row_bytes(head.in));
}

void HeadInput::gather(const Kernels& kernels, const PackedMatrix& head, const float* from,
                       std::span<const HeadRow> rows) {
  const int64_t width = padded(head.in), row_bytes = quantized_row_bytes(head.in);
  const auto count = static_cast<int64_t>(rows.size());
  for (int64_t i = 0; i < count; ++i) std::copy_n(from + rows[i].hidden_row * width, width, hidden.data() + i * width);
  if (!rounded.empty()) kernels.round_bf16(hidden.data(), count * width, rounded.data());
  if (!quantized.empty())
    for (int64_t i = 0; i < count; ++i)
      kernels.quantize_row(hidden.data() + i * width, width, quantized.data() + i * row_bytes);
}

MatrixInput HeadInput::from(const PackedMatrix& head, int64_t begin) const {
  const int64_t at = begin * padded(head.in);
  return {hidden.data() + at, rounded.empty() ? nullptr : rounded.data() + at,
          quantized.empty() ? nullptr : quantized.data() + begin * quantized_row_bytes(head.in)};
}

int64_t block_logits(const Kernels& kernels, const PackedMatrix& head, const HeadInput& input, int64_t begin,
                     int64_t rows, int64_t first, float* logits) {
  const int64_t count = std::min(kVocabularyBlock, head.out - first);
  with_product(head, input.from(head, begin), rows, first / kPanel, padded(count) / kPanel, logits, kVocabularyBlock,
               [&](const auto& product) { run_matmul(kernels, product); });
  return count;
}

ViewLogits::ViewLogits(const Context& context, const PackedMatrix& head, int64_t rows, const std::string& whose)
    : input_(context, head, rows, whose), logits_(context.ledger, "head", whose + "logits", rows * kVocabularyBlock) {}

void ViewLogits::gather(const Kernels& kernels, const HeadView& view, std::span<const HeadRow> rows) {
  input_.gather(kernels, *view.head, view.hidden, rows);
  if (view.adapter) u_ = view.adapter->down(kernels, input_.hidden.data(), static_cast<int64_t>(rows.size()));
}

const float* ViewLogits::block(const Kernels& kernels, const HeadView& view, int64_t begin, int64_t rows,
                               int64_t first) {
  float* logits = logits_.data() + begin * kVocabularyBlock;
  const int64_t ids = block_logits(kernels, *view.head, input_, begin, rows, first, logits);
  if (view.adapter)
    view.adapter->up(kernels, u_.data() + begin * view.adapter->rank(), rows, first, padded(ids) / kPanel, logits,
                     kVocabularyBlock);
  return logits;
}

}  // namespace candor::engine
