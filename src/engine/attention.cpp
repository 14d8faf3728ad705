#include "engine/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "base/math.h"

namespace candor::engine {

namespace {

constexpr int64_t kTileRows = 48;  // (token, head) rows that share a pass over the key blocks

struct Shape {
  int64_t group;  // query heads per key-value head
  int64_t width;  // padded head_dim
  int64_t row;    // floats per token of q and out
  int64_t tile;   // tokens per tile
  float scale;
};

Shape shape_of(const files::ModelConfig& c) {
  const int64_t group = c.heads / c.kv_heads;
  return {group, padded(c.head_dim), padded(c.heads * c.head_dim), std::max<int64_t>(1, kTileRows / group),
          static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim)))};
}

// Rows of a tile are (token, head) with the head running fastest. Gathers them from [token][heads·head_dim], padded
// with zeros, and puts them back.
void gather(const files::ModelConfig& c, const Shape& s, const float* from, int64_t first, int64_t tokens,
            int64_t kv_head, float* to) {
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t g = 0; g < s.group; ++g, to += s.width) {
      std::copy_n(from + (first + t) * s.row + (kv_head * s.group + g) * c.head_dim, c.head_dim, to);
      std::fill(to + c.head_dim, to + s.width, 0.0f);
    }
}

void scatter(const files::ModelConfig& c, const Shape& s, const float* from, int64_t first, int64_t tokens,
             int64_t kv_head, float* to) {
  for (int64_t t = 0; t < tokens; ++t) {
    float* row = to + (first + t) * s.row;
    for (int64_t g = 0; g < s.group; ++g, from += s.width)
      std::copy_n(from, c.head_dim, row + (kv_head * s.group + g) * c.head_dim);
    if (kv_head == 0) std::fill(row + c.heads * c.head_dim, row + s.row, 0.0f);
  }
}

// How many of the 16 keys of `block` a query at `position` sees.
int64_t valid_keys(int64_t position, int64_t block) {
  return std::clamp<int64_t>(position - block * kPageTokens + 1, 0, kPageTokens);
}

// scores [rows, 16] = q [rows, width]·keys.
Matmul score_product(const float* q, const float* keys, const Shape& s, int64_t rows, float* scores) {
  return {.a = q,
          .a_row = s.width,
          .b = keys,
          .c = scores,
          .c_row = kPageTokens,
          .rows = rows,
          .panels = 1,
          .depth = s.width};
}

struct Tile {
  int64_t first, tokens, position, rows;  // first token in the batch, its position, rows = tokens·group
};

// Of keys, that some row of the tile sees.
int64_t blocks_of(const Tile& tile) {
  return (tile.position + tile.tokens - 1) / kPageTokens + 1;
}

void forward_tile(const Kernels& kernels, const files::ModelConfig& c, const Shape& s, const Segment& segment,
                  const Tile& tile, int64_t kv_head, KvPool& kv, int64_t layer, const AttentionTensors& tensors,
                  float* scratch) {
  float* q = scratch;
  float* sum = q + tile.rows * s.width;  // running sum of p·v
  float* scores = sum + tile.rows * s.width;
  float* maximum = scores + tile.rows * kPageTokens;
  float* total = maximum + tile.rows;
  float* widened = total + tile.rows;  // a block of keys, then of values, where they are bfloat16
  gather(c, s, tensors.q, tile.first, tile.tokens, kv_head, q);
  std::fill_n(sum, tile.rows * s.width, 0.0f);
  std::fill_n(maximum, tile.rows, -INFINITY);
  std::fill_n(total, tile.rows, 0.0f);
  for (int64_t block = 0; block < blocks_of(tile); ++block) {
    const int32_t page = segment.pages[block];
    const float* keys = kv.keys(kernels, page, layer, kv_head, widened);
    kernels.matmul(score_product(q, keys, s, tile.rows, scores));
    for (int64_t row = 0; row < tile.rows; ++row) {
      const int64_t valid = valid_keys(tile.position + row / s.group, block);
      float* row_scores = scores + row * kPageTokens;
      if (valid == 0) {
        std::fill_n(row_scores, kPageTokens, 0.0f);
        continue;
      }
      const float factor = kernels.softmax_block(row_scores, valid, s.scale, maximum + row, total + row);
      if (factor != 1.0f) kernels.scale(factor, s.width, sum + row * s.width);
    }
    kernels.matmul({.a = scores,
                    .a_row = kPageTokens,
                    .b = kv.values(kernels, page, layer, kv_head, widened),
                    .b_panel = kPageTokens * kPanel,
                    .c = sum,
                    .c_row = s.width,
                    .rows = tile.rows,
                    .panels = s.width / kPanel,
                    .depth = kPageTokens,
                    .accumulate = true});
  }
  for (int64_t row = 0; row < tile.rows; ++row) {
    kernels.scale(1.0f / total[row], s.width, sum + row * s.width);
    const int64_t token = tile.first + row / s.group, head = kv_head * s.group + row % s.group;
    tensors.log_sum[token * c.heads + head] =
        static_cast<float>(static_cast<double>(maximum[row]) + exact_log(static_cast<double>(total[row])));
  }
  scatter(c, s, sum, tile.first, tile.tokens, kv_head, tensors.out);
}

// Scratch of a backward tile, carved from one stretch.
struct BackwardScratch {
  float *q, *dout, *dq, *scores, *dp, *log_sum, *delta, *keys, *values, *widened_keys, *widened_values;
  BackwardScratch(float* at, int64_t rows, int64_t width) {
    auto take = [&at](int64_t floats) { return std::exchange(at, at + floats); };
    q = take(rows * width);
    dout = take(rows * width);
    dq = take(rows * width);
    scores = take(rows * kPageTokens);
    dp = take(rows * kPageTokens);
    log_sum = take(rows);
    delta = take(rows);
    keys = take(width * kPageTokens);    // one block of keys as [16 keys][width], in panels of 16 columns
    values = take(width * kPageTokens);  // one block of values as [width][16 keys]
    widened_keys = take(width * kPageTokens);
    widened_values = take(width * kPageTokens);
  }
};

void backward_block(const Kernels& kernels, const Shape& s, const Tile& tile, int64_t block, const float* keys,
                    const float* values, const BackwardScratch& w, float* dkeys, float* dvalues) {
  for (int64_t p = 0; p < s.width / kPanel; ++p) {
    kernels.transpose_block(keys + p * kPanel * kPageTokens, w.keys + p * kPanel * kPageTokens);
    kernels.transpose_block(values + p * kPanel * kPageTokens, w.values + p * kPanel * kPageTokens);
  }
  kernels.matmul(score_product(w.q, keys, s, tile.rows, w.scores));
  kernels.matmul(score_product(w.dout, w.values, s, tile.rows, w.dp));
  for (int64_t row = 0; row < tile.rows; ++row)
    kernels.softmax_block_backward(w.scores + row * kPageTokens, w.dp + row * kPageTokens,
                                   valid_keys(tile.position + row / s.group, block), s.scale, w.log_sum[row],
                                   w.delta[row]);
  const int64_t panels = s.width / kPanel;
  // dq += ds·K;  dK += dsᵀ·q and dV += pᵀ·dout, rows in order.
  kernels.matmul({.a = w.dp,
                  .a_row = kPageTokens,
                  .b = w.keys,
                  .b_panel = kPageTokens * kPanel,
                  .c = w.dq,
                  .c_row = s.width,
                  .rows = tile.rows,
                  .panels = panels,
                  .depth = kPageTokens,
                  .accumulate = true});
  for (const auto& [a, b, c] : {std::tuple{w.dp, w.q, dkeys}, std::tuple{w.scores, w.dout, dvalues}})
    kernels.matmul({.a = a,
                    .a_row = 1,
                    .a_k = kPageTokens,
                    .b = b,
                    .b_k = s.width,
                    .b_panel = kPanel,
                    .c = c,
                    .c_row = s.width,
                    .rows = kPageTokens,
                    .panels = panels,
                    .depth = tile.rows,
                    .accumulate = true});
}

template <typename Function>
void for_tiles(const Segment& segment, const Shape& s, Function&& function) {
  for (int64_t begin = segment.begin; begin < segment.end; begin += s.tile) {
    const int64_t tokens = std::min(s.tile, segment.end - begin);
    function(Tile{begin, tokens, segment.position + begin - segment.begin, tokens * s.group});
  }
}

// A backward pass takes a family's key-value head as one task, or, where the last ones would leave threads idle, as two
// with half of the keys each, one after the other: what they add up, and in which order, is the same.
int64_t parts_of(int64_t groups, int64_t threads) {
  return groups > threads && groups < 4 * threads && groups % threads != 0 ? 2 : 1;
}
constexpr int64_t kAllBlocks = std::numeric_limits<int64_t>::max();

// The block of keys before which half of a family's work lies.
int64_t middle_block(std::span<const Segment> segments, const Shape& s) {
  std::vector<int64_t> rows;  // that see a block
  int64_t work = 0;
  for (const Segment& segment : segments)
    for_tiles(segment, s, [&](const Tile& tile) {
      rows.resize(std::max(rows.size(), static_cast<size_t>(blocks_of(tile))));
      for (int64_t block = 0; block < blocks_of(tile); ++block) rows[block] += tile.rows;
      work += blocks_of(tile) * tile.rows;
    });
  int64_t middle = 0;
  for (int64_t before = 0; 2 * before < work; ++middle) before += rows[middle];
  return middle;
}

}  // namespace

int64_t attention_scratch_floats(const files::ModelConfig& config) {
  const Shape s = shape_of(config);
  const int64_t rows = s.tile * s.group;
  return padded(rows * (3 * s.width + 2 * kPageTokens + 2) + 4 * s.width * kPageTokens);
}

void attention_forward(const Context& context, const files::ModelConfig& config, const TokenBatch& batch, KvPool& kv,
                       int64_t layer, const AttentionTensors& tensors, float* scratch) {
  const Shape s = shape_of(config);
  struct Task {
    const Segment* segment;
    Tile tile;
  };
  std::vector<Task> tasks;
  for (const Segment& segment : batch.segments)
    for_tiles(segment, s, [&](const Tile& tile) { tasks.push_back({&segment, tile}); });
  // The longest first, so that the threads finish together.
  std::stable_sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) {
    return (a.tile.position + a.tile.tokens) * a.tile.tokens > (b.tile.position + b.tile.tokens) * b.tile.tokens;
  });
  const int64_t scratch_floats = attention_scratch_floats(config);
  context.pool.run(static_cast<int64_t>(tasks.size()) * config.kv_heads, [&](int64_t i, int thread) {
    const Task& task = tasks[i / config.kv_heads];
    forward_tile(context.kernels, config, s, *task.segment, task.tile, i % config.kv_heads, kv, layer, tensors,
                 scratch + thread * scratch_floats);
  });
}

void attention_backward(const Context& context, const files::ModelConfig& config, const TokenBatch& batch, KvPool& kv,
                        int64_t layer, const AttentionTensors& tensors, const float* dout, float* dq,
                        KvGradients& gradients, float* scratch) {
  const Shape s = shape_of(config);
  const Kernels& kernels = context.kernels;
  const int64_t scratch_floats = attention_scratch_floats(config);
  const auto groups = static_cast<int64_t>(batch.families.size()) * config.kv_heads;
  const int64_t parts = parts_of(groups, context.pool.threads());
  // Blocks [first, end) of the keys. What earlier blocks have added to dq is there.
  auto backward_segment = [&](const Segment& segment, int64_t kv_head, int64_t first, int64_t end, float* mine) {
    for_tiles(segment, s, [&](const Tile& tile) {
      const int64_t last = std::min(end, blocks_of(tile));
      if (first >= last) return;
      const BackwardScratch w(mine, tile.rows, s.width);
      gather(config, s, tensors.q, tile.first, tile.tokens, kv_head, w.q);
      gather(config, s, dout, tile.first, tile.tokens, kv_head, w.dout);
      gather(config, s, tensors.out, tile.first, tile.tokens, kv_head, w.dq);  // out, until delta is known
      for (int64_t row = 0; row < tile.rows; ++row) {
        const int64_t token = tile.first + row / s.group, head = kv_head * s.group + row % s.group;
        w.log_sum[row] = tensors.log_sum[token * config.heads + head];
        w.delta[row] = kernels.dot(w.dout + row * s.width, w.dq + row * s.width, s.width);
      }
      if (first == 0)
        std::fill_n(w.dq, tile.rows * s.width, 0.0f);
      else
        gather(config, s, dq, tile.first, tile.tokens, kv_head, w.dq);
      for (int64_t block = first; block < last; ++block) {
        const int32_t page = segment.pages[block];
        backward_block(kernels, s, tile, block, kv.keys(kernels, page, layer, kv_head, w.widened_keys),
                       kv.values(kernels, page, layer, kv_head, w.widened_values), w, gradients.keys(page, kv_head),
                       gradients.values(page, kv_head));
      }
      scatter(config, s, w.dq, tile.first, tile.tokens, kv_head, dq);
    });
    const int64_t straddled = segment.position / kPageTokens;
    if (segment.straddled_page < 0 || straddled < first || straddled >= end) return;
    const int32_t own = segment.pages[straddled];
    const int64_t floats = segment.position % kPageTokens * s.width;
    kernels.add(gradients.keys(own, kv_head), floats, gradients.keys(segment.straddled_page, kv_head));
    kernels.add(gradients.values(own, kv_head), floats, gradients.values(segment.straddled_page, kv_head));
  };
  std::vector<std::atomic<int64_t>> done(static_cast<size_t>(groups));  // parts
  context.pool.run(groups * parts, [&](int64_t i, int thread) {
    const int64_t part = i / groups, group = i % groups;
    // Whoever has the part before is at work on it: tasks are taken in order.
    while (done[group].load(std::memory_order_acquire) < part) std::this_thread::yield();
    const Family& family = batch.families[group / config.kv_heads];
    const std::span<const Segment> segments =
        std::span(batch.segments).subspan(family.begin, family.end - family.begin);
    const int64_t middle = parts == 1 ? kAllBlocks : middle_block(segments, s);
    for (const Segment& segment : segments)
      backward_segment(segment, group % config.kv_heads, part == 0 ? 0 : middle, part == 0 ? middle : kAllBlocks,
                       scratch + thread * scratch_floats);
    done[group].store(part + 1, std::memory_order_release);
  });
}

}  // namespace candor::engine
