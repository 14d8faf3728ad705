// What the tests against shared/golden's models and adapters have in common: how close is close, the batch of
// golden/models/README.md, and a whole forward that keeps every number.
//
// The oracle pads its two rows on the right; here rows are ragged, one token row after another.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/policy_pass.h"
#include "files/safetensors.h"
#include "support/oracle.h"

namespace candor::testing {

// The value, or a failure with the error's own words.
template <typename T>
T value_of(Result<T> result) {
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return std::move(result).value();
}

inline nlohmann::json json_of(const std::filesystem::path& path) {
  return nlohmann::json::parse(read_text(path));
}

// shared/golden/README.md's rule: 8 times the difference that its own float32 run had from float64 (sums in another
// order differ by a few times as much), at least 4 units in the last place of float32 at the largest value.
inline double golden_tolerance(double float32_difference, double largest) {
  const auto top = static_cast<float>(largest);
  const double ulp = std::nextafter(top, std::numeric_limits<float>::infinity()) - top;
  return std::max(8 * float32_difference, 4 * ulp);
}
inline double golden_tolerance(const nlohmann::json& recorded) {
  return golden_tolerance(recorded.at("max_abs_diff"), recorded.at("max_abs"));
}

// The largest |ours - expected|; infinite where the sizes differ or a number is NaN.
template <typename Ours, typename Expected>
double worst_difference(const Ours& ours, const Expected& expected) {
  if (ours.size() != expected.size() || ours.size() == 0) return INFINITY;
  double worst = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double difference = std::abs(static_cast<double>(ours[i]) - static_cast<double>(expected[i]));
    if (!(difference <= worst)) worst = std::isnan(difference) ? INFINITY : difference;
  }
  return worst;
}

// Fails where the difference is larger; the share of the tolerance that was used goes into the test's report.
inline void expect_within(const std::string& what, double difference, double tolerance) {
  EXPECT_LE(difference, tolerance) << what;
  ::testing::Test::RecordProperty(what, fmt::format("{:.3g} of {:.3g}", difference, tolerance));
}

struct GoldenBatch {
  std::vector<std::vector<int32_t>> rows;
  std::vector<std::vector<uint8_t>> mask;  // 1: the token's log-probability counts in the loss
  size_t width = 0;                        // of the padded rows in the file
  double counted = 0;                      // mask entries that are 1

  // A padded tensor [rows, width, columns] without its padding.
  std::vector<float> ragged(const std::vector<float>& padded, size_t columns) const {
    std::vector<float> out;
    for (size_t row = 0; row < rows.size(); ++row) {
      const auto first = padded.begin() + static_cast<std::ptrdiff_t>(row * width * columns);
      out.insert(out.end(), first, first + static_cast<std::ptrdiff_t>(rows[row].size() * columns));
    }
    return out;
  }

  // -Σ logprobs·mask / counted of ragged log-probabilities.
  double loss(const std::vector<float>& logprobs) const {
    double sum = 0;
    size_t i = 0;
    for (const auto& row : mask)
      for (uint8_t counts : row) sum -= counts * static_cast<double>(logprobs[i++]);
    return sum / counted;
  }
};

inline GoldenBatch read_golden_batch(const files::SafetensorsFile& file) {
  GoldenBatch batch;
  const auto ids = value_of(file.integers("input_ids")), attention = value_of(file.integers("attention_mask"));
  // Where the numbers are values, no log-probability counts.
  const auto completion = file.find("completion_mask") == nullptr ? std::vector<int64_t>(ids.size())
                                                                  : value_of(file.integers("completion_mask"));
  batch.width = static_cast<size_t>(file.find("input_ids")->shape[1]);
  for (size_t first = 0; first < ids.size(); first += batch.width) {
    batch.rows.emplace_back();
    batch.mask.emplace_back();
    for (size_t i = first; i < first + batch.width && attention[i] == 1; ++i) {
      batch.rows.back().push_back(static_cast<int32_t>(ids[i]));
      batch.mask.back().push_back(completion[i] == 1);
      batch.counted += completion[i] == 1;
    }
  }
  return batch;
}

// A forward over whole rows, each a segment of its own. Token rows are numbered through all rows.
class RowsForward {
 public:
  RowsForward(const engine::Context& context, const engine::Model& model, const engine::Adapter* adapter,
              const std::vector<std::vector<int32_t>>& rows, engine::Activations::Keep keep)
      : context_(context),
        model_(model),
        adapter_(adapter),
        rows_(rows),
        kv_(context.ledger, "test", model.config, model.dtype),
        activations_(context, "test", model, adapter == nullptr ? 0 : adapter->max_padded_rank, keep) {
    engine::TokenBatch batch;
    for (const auto& row : rows) {
      std::vector<int32_t> pages;
      for (size_t first = 0; first < row.size(); first += engine::kPageTokens) pages.push_back(kv_.take());
      batch.append(row, 0, std::move(pages));
      const auto segments = static_cast<int64_t>(batch.segments.size());
      batch.families.push_back({segments - 1, segments});
    }
    tokens_ = batch.tokens();
    engine::forward(context, model, engine::make_rope(model.config), adapter, batch, kv_, activations_);
  }

  int64_t tokens() const { return tokens_; }

  // The residual stream before layer `layer`, and after the final norm where layer is the number of layers. [tokens,
  // hidden]
  std::vector<float> hidden(int64_t layer) {
    const float* from = layer == model_.config.layers ? activations_.hidden() : activations_.layer(layer).input;
    return unpad(from, tokens_, model_.config.hidden_size);
  }

  // Of token rows [begin, end): [end - begin, vocabulary].
  std::vector<float> logits(int64_t begin, int64_t end) {
    const int64_t vocabulary = model_.config.vocab_size;
    std::vector<float> whole(static_cast<size_t>((end - begin) * engine::padded(vocabulary)));
    engine::head_logits(context_, engine::head_of(model_, adapter_),
                        activations_.hidden() + begin * engine::padded(model_.config.hidden_size), end - begin,
                        whole.data(), engine::HeadAdapter::of(adapter_));
    return unpad(whole.data(), end - begin, vocabulary);
  }

  // Entry t is about the token that follows token row t in its row (token 0 behind the last).
  engine::HeadOutput next() {
    std::vector<engine::HeadRow> head_rows;
    for (const auto& row : rows_)
      for (size_t t = 0; t < row.size(); ++t)
        head_rows.push_back({static_cast<int64_t>(head_rows.size()), t + 1 < row.size() ? row[t + 1] : 0});
    return engine::head_forward(context_, engine::head_of(model_, adapter_), activations_.hidden(), head_rows, 1.0,
                                engine::HeadAdapter::of(adapter_));
  }

  // The oracle's alignment: entry t is about token t given those before it, 0 for a row's first.
  std::vector<float> shifted(const std::vector<float>& next) const {
    std::vector<float> out;
    for (const auto& row : rows_)
      for (size_t t = 0; t < row.size(); ++t) out.push_back(t == 0 ? 0.0f : next[out.size() - 1]);
    return out;
  }

 private:
  static std::vector<float> unpad(const float* from, int64_t rows, int64_t width) {
    std::vector<float> out;
    for (int64_t row = 0; row < rows; ++row, from += engine::padded(width)) out.insert(out.end(), from, from + width);
    return out;
  }

  const engine::Context& context_;
  const engine::Model& model_;
  const engine::Adapter* adapter_;
  std::vector<std::vector<int32_t>> rows_;
  engine::KvPool kv_;
  engine::Activations activations_;
  int64_t tokens_ = 0;
};

// Rows as rollouts of which everything but the first token is completion, and d loss / d logprob of -Σ
// mask·logprob/counted.
struct WholeRows {
  std::vector<engine::RolloutGroup> groups;
  std::vector<float> dlogprob;

  explicit WholeRows(const GoldenBatch& batch) {
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      const std::span<const int32_t> ids = batch.rows[i];
      groups.push_back({ids.first(1), {ids.subspan(1)}});
      for (size_t t = 1; t < ids.size(); ++t) dlogprob.push_back(-static_cast<float>(batch.mask[i][t] / batch.counted));
    }
  }
};

// Rows of which every token has a value: the first is the prompt.
inline std::vector<engine::ValueGroup> value_groups(const std::vector<std::vector<int32_t>>& rows) {
  std::vector<engine::ValueGroup> groups;
  for (const std::span<const int32_t> ids : rows) {
    groups.push_back({ids.first(1), {ids.subspan(1)}, {}});
    groups.back().states = engine::every_state(groups.back().completions);
  }
  return groups;
}

// Gradients of the batch's loss by what is trained, laid out as `trainable` says.
inline std::vector<float> loss_gradients(const engine::Context& context, const engine::Model& model,
                                         const engine::Trainable& trainable, const GoldenBatch& batch,
                                         double* loss = nullptr) {
  const WholeRows whole(batch);
  const engine::Adapter* adapter = trainable.adapter;
  engine::PolicyPass pass(context, "test", model, adapter == nullptr ? 0 : adapter->max_padded_rank,
                          engine::PolicyPass::Keep::kAllLayers);
  const engine::HeadOutput& out = pass.forward(adapter, whole.groups, 1.0);
  if (loss != nullptr) {
    *loss = 0;
    for (size_t i = 0; i < whole.dlogprob.size(); ++i)
      *loss += static_cast<double>(whole.dlogprob[i]) * static_cast<double>(out.logprobs[i]);
  }
  std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats), 0.0f);
  pass.backward(trainable, whole.dlogprob, std::vector<float>(whole.dlogprob.size(), 0.0f), gradients.data());
  engine::add_tied_gradients(context, trainable, gradients.data());
  return gradients;
}

// A matrix [out, in] as it lies on disk, out of its panels of 16 rows (engine::PackedMatrix).
inline std::vector<float> unpacked(const float* panels, int64_t out, int64_t in) {
  const int64_t panel = engine::padded(in) * engine::kPanel;
  std::vector<float> rows;
  for (int64_t row = 0; row < out; ++row)
    for (int64_t k = 0; k < in; ++k)
      rows.push_back(panels[row / engine::kPanel * panel + k * engine::kPanel + row % engine::kPanel]);
  return rows;
}

// A matrix [rows, columns] as [columns, rows].
inline std::vector<float> transposed(const std::vector<float>& matrix, int64_t rows, int64_t columns) {
  std::vector<float> out;
  for (int64_t column = 0; column < columns; ++column)
    for (int64_t row = 0; row < rows; ++row) out.push_back(matrix[static_cast<size_t>(row * columns + column)]);
  return out;
}

// One tensor of an adapter, as PEFT names and shapes it: where it lies in a flat buffer (parameters or gradients).
struct LoraTensor {
  std::string key;
  int64_t offset = 0, rows = 0, columns = 0;

  // Without padding.
  std::vector<float> of(const float* flat) const {
    std::vector<float> out;
    for (int64_t row = 0; row < rows; ++row) {
      const float* from = flat + offset + row * engine::padded(columns);
      out.insert(out.end(), from, from + columns);
    }
    return out;
  }
};

inline std::vector<LoraTensor> lora_tensors(const engine::LoraPair& pair) {
  const std::string path = "base_model.model." + pair.module;
  const bool embedding = pair.site == engine::Site::kEmbedding;
  std::vector<LoraTensor> tensors = {
      {path + (embedding ? ".lora_embedding_A" : ".lora_A.weight"), pair.a_offset, pair.rank, pair.in},
      {path + (embedding ? ".lora_embedding_B" : ".lora_B.weight"), pair.b_offset, pair.out, pair.rank}};
  if (pair.dora()) tensors.push_back({path + ".lora_magnitude_vector", pair.magnitude_offset, 1, pair.out});
  return tensors;
}

}  // namespace candor::testing
