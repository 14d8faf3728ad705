// What an adapter adds to the fused head (head.h): logits += s·(A h)·Bᵀ, block by block of the vocabulary, and the
// gradients of A and B.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/adapter.h"
#include "engine/context.h"

namespace candor::engine {

struct HeadAdapter {
  const Adapter* adapter = nullptr;
  const LoraPair* pair = nullptr;
  float* gradients = nullptr;  // laid out as the adapter's parameters; null: a forward pass, or frozen

  int64_t rank() const { return padded(pair->rank); }

  // Of an adapter that may be null; none where it does not adapt the head.
  static std::optional<HeadAdapter> of(const Adapter* adapter, float* gradients = nullptr) {
    const LoraPair* pair = adapter == nullptr ? nullptr : adapter->head_pair();
    if (pair == nullptr) return std::nullopt;
    return HeadAdapter{adapter, pair, gradients};
  }

  // u = s·A h of `rows` hidden states, row-major: [rows, rank()].
  std::vector<float> down(const Kernels& kernels, const float* hidden, int64_t rows) const;
  // logits [rows, row] += u·Bᵀ of `panels` panels of the vocabulary from id `first` on: the product, or made at once.
  Matmul up_product(const float* u, int64_t rows, int64_t first, int64_t panels, float* logits, int64_t row) const;
  void up(const Kernels& kernels, const float* u, int64_t rows, int64_t first, int64_t panels, float* logits,
          int64_t row) const {
    kernels.matmul(up_product(u, rows, first, panels, logits, row));
  }

  // du [rows, rank()] += dlogits·B of the block of `depth` (padded) ids from `first` on, in double as the head's own
  // gradient is (head.cpp); and dB += dlogitsᵀ·u, rows in their order.
  void block_backward(const Kernels& kernels, const float* dlogits, int64_t row, int64_t rows, int64_t first,
                      int64_t depth, double* du) const;
  void add_b_gradient(const Context& context, const float* dlogits, int64_t row, int64_t rows, int64_t first,
                      int64_t ids, const float* u) const;
  // Behind the last block, with the whole du: dA += s·duᵀ·h, and dhidden [rows, padded(in)] += s·du·A.
  void finish_backward(const Context& context, const std::vector<double>& du, const float* hidden, int64_t rows,
                       float* dhidden) const;
};

}  // namespace candor::engine
