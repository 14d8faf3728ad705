#include "engine/policy_pass.h"

#include <algorithm>

#include "base/check.h"

namespace candor::engine {

int64_t RolloutGroup::completion_tokens() const {
  int64_t tokens = 0;
  for (const auto& completion : completions) tokens += static_cast<int64_t>(completion.size());
  return tokens;
}

int64_t RolloutGroup::tokens() const {
  int64_t tokens = static_cast<int64_t>(prompt.size());
  for (const auto& completion : completions)
    tokens += std::max<int64_t>(0, static_cast<int64_t>(completion.size()) - 1);
  return tokens;
}

PolicyPass::PolicyPass(const Context& context, std::string role, const Model& model, int64_t max_padded_rank, Keep keep)
    : context_(context),
      model_(model),
      rope_(make_rope(model.config)),
      role_(std::move(role)),
      kv_(context.ledger, role_, model.config, model.dtype),
      activations_(context, role_, model, max_padded_rank, keep) {}

void PolicyPass::lay_out(std::span<const RolloutGroup> groups) {
  for (int32_t page : pages_) kv_.release(page);
  pages_.clear();
  batch_ = {};
  head_rows_.clear();
  auto take = [&](int64_t count, std::vector<int32_t>& to) {
    for (int64_t i = 0; i < count; ++i) {
      to.push_back(kv_.take());
      pages_.push_back(to.back());
    }
  };
  for (const RolloutGroup& group : groups) {
    const auto prompt = static_cast<int64_t>(group.prompt.size());
    CHECK(prompt >= 1);
    std::vector<int32_t> prompt_pages;
    take((prompt + kPageTokens - 1) / kPageTokens, prompt_pages);
    const int64_t shared = prompt / kPageTokens, prompt_first = batch_.tokens() + group.tokens() - prompt;
    const int64_t first_segment = static_cast<int64_t>(batch_.segments.size());
    CHECK(group.masks.empty() || group.masks.size() == group.completions.size());
    for (size_t i = 0; i < group.completions.size(); ++i) {
      const std::span<const int32_t> completion = group.completions[i];
      CHECK(group.masks.empty() || group.masks[i].size() == completion.size());
      if (completion.empty()) continue;
      if (group.counts(i, 0)) head_rows_.push_back({prompt_first + prompt - 1, completion[0]});
      const int64_t inputs = static_cast<int64_t>(completion.size()) - 1;
      if (inputs == 0) continue;
      std::vector<int32_t> pages(prompt_pages.begin(), prompt_pages.begin() + shared);
      take((prompt + inputs + kPageTokens - 1) / kPageTokens - shared, pages);
      for (int64_t j = 0; j < inputs; ++j)
        if (group.counts(i, static_cast<size_t>(j) + 1))
          head_rows_.push_back({batch_.tokens() + j, completion[static_cast<size_t>(j) + 1]});
      batch_.append(completion.first(inputs), prompt, std::move(pages),
                    prompt % kPageTokens != 0 ? prompt_pages.back() : -1);
    }
    CHECK(batch_.tokens() == prompt_first);
    batch_.append(group.prompt, 0, std::move(prompt_pages));
    batch_.families.push_back({first_segment, static_cast<int64_t>(batch_.segments.size())});
  }
}

const HeadOutput& PolicyPass::forward(const Adapter* adapter, std::span<const RolloutGroup> groups,
                                      double temperature) {
  lay_out(groups);
  adapter_ = adapter;
  temperature_ = temperature;
  engine::forward(context_, model_, rope_, adapter, batch_, kv_, activations_);
  output_ = head_forward(context_, head_of(model_, adapter), activations_.hidden(), head_rows_, temperature);
  return output_;
}

void PolicyPass::backward(const Trainable& trainable, std::span<const float> dlogprob, std::span<const float> dentropy,
                          float* gradients) {
  CHECK(trainable.adapter == adapter_);
  CHECK(dlogprob.size() == head_rows_.size() && dentropy.size() == head_rows_.size());
  const int64_t floats = batch_.tokens() * padded(model_.config.hidden_size);
  if (dhidden_.size() < floats) dhidden_ = Buffer(context_.ledger, role_, "d hidden states", floats);
  std::fill_n(dhidden_.data(), floats, 0.0f);
  const int64_t head = trainable.weights.head;
  head_backward(context_, head_of(model_, adapter_), activations_.hidden(), head_rows_, temperature_, output_, dlogprob,
                dentropy, dhidden_.data(), head < 0 ? nullptr : gradients + head);
  kv_gradients_.kv_heads = model_.config.kv_heads;
  kv_gradients_.block = kPageTokens * padded(model_.config.head_dim);
  const int64_t page_count = pages_.empty() ? 0 : *std::max_element(pages_.begin(), pages_.end()) + 1;
  const int64_t needed = page_count * kv_gradients_.kv_heads * 2 * kv_gradients_.block;
  if (kv_gradients_.data.size() < needed) kv_gradients_.data = Buffer(context_.ledger, role_, "kv gradients", needed);
  engine::backward(context_, model_, trainable, batch_, kv_, activations_, kv_gradients_, dhidden_.data(), gradients);
}

}  // namespace candor::engine
