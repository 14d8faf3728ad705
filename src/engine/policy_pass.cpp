#include "engine/policy_pass.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace candor::engine {

int64_t RolloutGroup::completion_tokens() const {
  int64_t tokens = 0;
  for (const auto& completion : completions) tokens += static_cast<int64_t>(completion.size());
  return tokens;
}

std::vector<std::vector<int64_t>> every_state(std::span<const std::span<const int32_t>> completions) {
  std::vector<std::vector<int64_t>> states;
  for (const auto& completion : completions) {
    states.emplace_back(completion.size() + 1);
    std::iota(states.back().begin(), states.back().end(), 0);
  }
  return states;
}

std::vector<std::vector<int64_t>> last_state(std::span<const std::span<const int32_t>> completions) {
  std::vector<std::vector<int64_t>> states;
  for (const auto& completion : completions) states.push_back({static_cast<int64_t>(completion.size())});
  return states;
}

int64_t RolloutGroup::tokens() const {
  int64_t tokens = static_cast<int64_t>(prompt.size());
  for (const auto& completion : completions)
    tokens += std::max<int64_t>(0, static_cast<int64_t>(completion.size()) - 1);
  return tokens;
}

namespace {

// Pages of a completion's own behind a prompt whose full pages it shares. inputs: its tokens that are inputs.
int64_t own_pages(int64_t prompt, int64_t inputs) {
  return inputs <= 0 ? 0 : (prompt + inputs + kPageTokens - 1) / kPageTokens - prompt / kPageTokens;
}

}  // namespace

void BatchShape::add(int64_t prompt, std::span<const int64_t> completions) {
  tokens += prompt;
  pages += (prompt + kPageTokens - 1) / kPageTokens;
  for (const int64_t length : completions) {
    tokens += std::max<int64_t>(0, length - 1);
    pages += own_pages(prompt, length - 1);
    entries += length;
  }
}

void BatchShape::add(const RolloutGroup& group) {
  std::vector<int64_t> lengths;
  for (const auto& completion : group.completions) lengths.push_back(static_cast<int64_t>(completion.size()));
  const int64_t before = entries;
  add(static_cast<int64_t>(group.prompt.size()), lengths);
  if (group.masks.empty()) return;
  entries = before;
  for (const auto& mask : group.masks) entries += std::count_if(mask.begin(), mask.end(), [](uint8_t m) { return m; });
}

BatchShape& BatchShape::operator+=(const BatchShape& other) {
  tokens += other.tokens;
  pages += other.pages;
  entries += other.entries;
  return *this;
}

void BatchShape::include(const BatchShape& other) {
  tokens = std::max(tokens, other.tokens);
  pages = std::max(pages, other.pages);
  entries = std::max(entries, other.entries);
}

PolicyPass::PolicyPass(const Context& context, std::string role, const Model& model, int64_t max_padded_rank, Keep keep,
                       int64_t most_bytes)
    : context_(context),
      model_(model),
      rope_(make_rope(model.config)),
      role_(std::move(role)),
      activations_(context, role_, model, max_padded_rank, keep, most_bytes) {}

// For a batch of so many tokens: pages of every layer only where the backward pass does not compute them once more.
void PolicyPass::clear(int64_t tokens) {
  const int64_t layers = activations_.keep_of(tokens) == Keep::kAllLayers ? model_.config.layers : 1;
  if (layers == kv_layers_) {
    for (int32_t page : pages_) kv_->release(page);
  } else {
    kv_.emplace(context_.ledger, role_, model_.config, model_.dtype, layers);
    kv_layers_ = layers;
  }
  pages_.clear();
  batch_ = {};
  head_rows_.clear();
  value_rows_.clear();
  groups_.clear();
  dropout_rows_.clear();
}

// Of the group that was appended last.
void PolicyPass::number_rows(uint32_t first_row, std::span<const std::span<const int32_t>> inputs,
                             std::span<const StateRows> rows) {
  dropout_rows_.resize(static_cast<size_t>(batch_.tokens()), first_row);
  for (size_t i = 0; i < inputs.size(); ++i)
    std::fill_n(dropout_rows_.begin() + rows[i].first, inputs[i].size(), first_row + static_cast<uint32_t>(i));
}

void PolicyPass::reserve_dropout(int64_t tokens) {
  const files::ModelConfig& c = model_.config;
  const int64_t widest = padded(std::max({c.hidden_size, c.heads * c.head_dim, c.intermediate_size}));
  if (dropout_scratch_.size() >= tokens * widest) return;
  dropout_scratch_ = Buffer();
  dropout_scratch_ = Buffer(context_.ledger, role_, "dropout", tokens * widest);
}

std::optional<Dropout> PolicyPass::dropout() {
  const bool drops = std::any_of(adapters_.begin(), adapters_.end(),
                                 [](const Adapter* a) { return a != nullptr && a->config.dropout > 0; });
  if (!dropout_key_ || !drops) return std::nullopt;
  reserve_dropout(batch_.tokens());
  return Dropout{*dropout_key_, dropout_rows_, batch_.positions, dropout_scratch_.data()};
}

// inputs: the tokens of each completion that pass through the model.
std::vector<PolicyPass::StateRows> PolicyPass::append(std::span<const int32_t> prompt,
                                                      std::span<const std::span<const int32_t>> inputs) {
  auto take = [&](int64_t count, std::vector<int32_t>& to) {
    for (int64_t i = 0; i < count; ++i) {
      to.push_back(kv_->take());
      pages_.push_back(to.back());
    }
  };
  const auto length = static_cast<int64_t>(prompt.size());
  CHECK(length >= 1);
  std::vector<int32_t> prompt_pages;
  take((length + kPageTokens - 1) / kPageTokens, prompt_pages);
  int64_t prompt_first = batch_.tokens();
  for (const auto& tokens : inputs) prompt_first += static_cast<int64_t>(tokens.size());
  const int64_t shared = length / kPageTokens, first_segment = static_cast<int64_t>(batch_.segments.size());
  std::vector<StateRows> rows;
  for (const std::span<const int32_t> tokens : inputs) {
    rows.push_back({prompt_first + length - 1, batch_.tokens()});
    if (tokens.empty()) continue;
    std::vector<int32_t> pages(prompt_pages.begin(), prompt_pages.begin() + shared);
    take(own_pages(length, static_cast<int64_t>(tokens.size())), pages);
    batch_.append(tokens, length, std::move(pages), length % kPageTokens != 0 ? prompt_pages.back() : -1);
  }
  CHECK(batch_.tokens() == prompt_first);
  batch_.append(prompt, 0, std::move(prompt_pages));
  batch_.families.push_back({first_segment, static_cast<int64_t>(batch_.segments.size())});
  return rows;
}

const HeadOutput& PolicyPass::forward(const Adapter* adapter, std::span<const RolloutGroup> groups,
                                      double temperature) {
  return forward(std::vector<const Adapter*>(groups.size(), adapter), groups, temperature);
}

const HeadOutput& PolicyPass::forward(std::span<const Adapter* const> adapters, std::span<const RolloutGroup> groups,
                                      double temperature) {
  CHECK(adapters.size() == groups.size());
  int64_t tokens = 0;
  for (const RolloutGroup& group : groups) tokens += group.tokens();
  clear(tokens);
  for (size_t g = 0; g < groups.size(); ++g) {
    const RolloutGroup& group = groups[g];
    const int64_t first_token = batch_.tokens();
    const size_t first_entry = head_rows_.size();
    CHECK(group.masks.empty() || group.masks.size() == group.completions.size());
    std::vector<std::span<const int32_t>> inputs;
    for (const auto& completion : group.completions)
      inputs.push_back(completion.first(completion.empty() ? 0 : completion.size() - 1));
    const std::vector<StateRows> rows = append(group.prompt, inputs);
    for (size_t i = 0; i < group.completions.size(); ++i) {
      const std::span<const int32_t> completion = group.completions[i];
      CHECK(group.masks.empty() || group.masks[i].size() == completion.size());
      for (size_t t = 0; t < completion.size(); ++t)
        if (group.counts(i, t)) head_rows_.push_back({rows[i].of(static_cast<int64_t>(t)), completion[t]});
    }
    number_rows(group.first_row, inputs, rows);
    groups_.push_back({g, first_token, batch_.tokens(), first_entry, head_rows_.size() - first_entry});
  }
  adapters_.assign(adapters.begin(), adapters.end());
  temperature_ = temperature;
  const std::vector<Run> all = runs([&](size_t a, size_t b) { return adapters_[a] == adapters_[b]; });
  std::vector<AdapterRange> ranges;
  for (const Run& run : all) ranges.push_back({run.begin, run.end, adapters_[run.group]});
  run_forward(ranges);
  output_ = {};
  reserve_logits(static_cast<int64_t>(head_rows_.size()));
  for (const Run& run : all)
    output_.append(head_forward(context_, head_of(model_, adapters_[run.group]), activations_.hidden(),
                                std::span(head_rows_).subspan(run.first_entry, run.entries), temperature,
                                HeadAdapter::of(adapters_[run.group]), kept_from(run.first_entry)));
  return output_;
}

// The tokens that were laid out, through the model.
void PolicyPass::run_forward(std::span<const AdapterRange> adapters) {
  const std::optional<Dropout> dropped = dropout();
  std::vector<HiddenRange> doors;
  if (!doors_.empty()) doors.push_back({0, batch_.tokens(), doors_});
  engine::forward(context_, model_, rope_, adapters, batch_, *kv_, activations_, dropped ? &*dropped : nullptr, doors);
}

HeadView PolicyPass::head_view() {
  const Adapter* adapter = adapters_.empty() ? nullptr : adapters_.front();
  CHECK(std::all_of(adapters_.begin(), adapters_.end(), [&](const Adapter* other) { return other == adapter; }));
  return {&head_of(model_, adapter), activations_.hidden(), head_rows_, output_.log_sums, temperature_,
          HeadAdapter::of(adapter),  kept_from(0)};
}

std::vector<PolicyPass::Run> PolicyPass::runs(const std::function<bool(size_t before, size_t group)>& same) const {
  std::vector<Run> all;
  for (const Run& group : groups_) {
    if (all.empty() || !same(all.back().group, group.group)) {
      all.push_back(group);
      continue;
    }
    all.back().end = group.end;
    all.back().entries += group.entries;
  }
  return all;
}

const std::vector<float>& PolicyPass::values(const Adapter* adapter, const ScalarHead& head,
                                             std::span<const ValueGroup> groups) {
  return values(std::vector<const Adapter*>(groups.size(), adapter),
                std::vector<const ScalarHead*>(groups.size(), &head), groups);
}

const std::vector<float>& PolicyPass::values(std::span<const Adapter* const> adapters,
                                             std::span<const ScalarHead* const> heads,
                                             std::span<const ValueGroup> groups) {
  CHECK(adapters.size() == groups.size() && heads.size() == groups.size());
  std::vector<std::vector<std::span<const int32_t>>> inputs;
  int64_t tokens = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    const ValueGroup& group = groups[g];
    CHECK(group.states.size() == group.completions.size() && heads[g]->labels == heads[0]->labels);
    tokens += static_cast<int64_t>(group.prompt.size());
    inputs.emplace_back();
    for (size_t i = 0; i < group.completions.size(); ++i) {
      int64_t read = 0;
      for (const int64_t state : group.states[i]) read = std::max(read, state);
      CHECK(read <= static_cast<int64_t>(group.completions[i].size()));
      inputs.back().push_back(group.completions[i].first(static_cast<size_t>(read)));
      tokens += read;
    }
  }
  clear(tokens);
  for (size_t g = 0; g < groups.size(); ++g) {
    const ValueGroup& group = groups[g];
    const int64_t first_token = batch_.tokens();
    const size_t first_entry = value_rows_.size();
    const std::vector<StateRows> rows = append(group.prompt, inputs[g]);
    for (size_t i = 0; i < group.completions.size(); ++i)
      for (const int64_t state : group.states[i]) value_rows_.push_back(rows[i].of(state));
    number_rows(group.first_row, inputs[g], rows);
    groups_.push_back({g, first_token, batch_.tokens(), first_entry, value_rows_.size() - first_entry});
  }
  adapters_.assign(adapters.begin(), adapters.end());
  scalar_heads_.assign(heads.begin(), heads.end());
  std::vector<AdapterRange> ranges;
  for (const Run& run : runs([&](size_t a, size_t b) { return adapters_[a] == adapters_[b]; }))
    ranges.push_back({run.begin, run.end, adapters_[run.group]});
  run_forward(ranges);
  values_.clear();
  for (const Run& run : runs([&](size_t a, size_t b) { return scalar_heads_[a] == scalar_heads_[b]; })) {
    const std::vector<float> part = scalar_head_forward(context_, *scalar_heads_[run.group], activations_.hidden(),
                                                        std::span(value_rows_).subspan(run.first_entry, run.entries));
    values_.insert(values_.end(), part.begin(), part.end());
  }
  return values_;
}

// Logits are kept where a backward pass may follow, whatever of the layers is kept: so a plan need not know which batch
// keeps what.
void PolicyPass::reserve_logits(int64_t entries) {
  const int64_t vocabulary = model_.config.vocab_size;
  kept_rows_ = activations_.keep() == Keep::kOneLayer ? 0 : kept_rows(entries, vocabulary);
  if (logits_.size() >= kept_floats(kept_rows_, vocabulary)) return;
  logits_ = Buffer();
  logits_ = Buffer(context_.ledger, role_, "logits", kept_floats(kept_rows_, vocabulary));
}

KeptLogits PolicyPass::kept_from(size_t first_entry) {
  return {logits_.data(), kept_rows_, static_cast<int64_t>(first_entry)};
}

void PolicyPass::reserve_backward(int64_t tokens, int64_t pages) {
  const int64_t floats = tokens * padded(model_.config.hidden_size);
  if (dhidden_.size() < floats) {
    dhidden_ = Buffer();
    dhidden_ = Buffer(context_.ledger, role_, "d hidden states", floats);
  }
  kv_gradients_.kv_heads = model_.config.kv_heads;
  kv_gradients_.block = kPageTokens * padded(model_.config.head_dim);
  const int64_t needed = pages * kv_gradients_.kv_heads * 2 * kv_gradients_.block;
  if (kv_gradients_.data.size() < needed) {
    kv_gradients_.data = Buffer();
    kv_gradients_.data = Buffer(context_.ledger, role_, "kv gradients", needed);
  }
}

void PolicyPass::plan(const BatchShape& shape, const Adapter* adapter, const Trainable* trainable,
                      const PackedMatrix* other_head) {
  clear(shape.tokens);
  kv_->plan(shape.pages);
  const bool dora = adapter != nullptr && adapter->config.use_dora;
  activations_.reserve(shape.tokens, dora);
  if (trainable != nullptr) {
    if (adapter != nullptr && adapter->config.dropout > 0) reserve_dropout(shape.tokens);
    reserve_backward(shape.tokens, shape.pages);
    if (dora) activations_.magnitudes();
  }
  if (shape.entries == 0) return;
  const PackedMatrix& head = head_of(model_, adapter);
  reserve_logits(shape.entries);
  plan_head_forward(context_, head, shape.entries);
  if (other_head != nullptr) plan_head_divergence(context_, head, *other_head, shape.entries);
  if (trainable != nullptr) plan_head_backward(context_, head, shape.entries, other_head);
}

// Also makes room for the way from there to the bottom, where it is gone.
float* PolicyPass::zeroed_dhidden(bool to_the_bottom) {
  const bool pages = to_the_bottom && !pages_.empty();
  reserve_backward(batch_.tokens(), pages ? *std::max_element(pages_.begin(), pages_.end()) + 1 : 0);
  const int64_t floats = batch_.tokens() * padded(model_.config.hidden_size);
  std::fill_n(dhidden_.data(), floats, 0.0f);
  return dhidden_.data();
}

void PolicyPass::backward(const Trainable& trainable, std::span<const float> dlogprob, std::span<const float> dentropy,
                          float* gradients) {
  backward(std::vector<Trained>(groups_.size(), {&trainable, gradients}), dlogprob, dentropy);
}

void PolicyPass::backward(const Trainable& trainable, const HeadDerivatives& derivatives, float* gradients) {
  backward_from_head(std::vector<Trained>(groups_.size(), {&trainable, gradients}), derivatives);
}

void PolicyPass::backward(std::span<const Trained> trained, std::span<const float> dlogprob,
                          std::span<const float> dentropy) {
  CHECK(dlogprob.size() == head_rows_.size() && dentropy.size() == head_rows_.size());
  backward_from_head(trained, {dlogprob, dentropy});
}

void PolicyPass::backward_from_head(std::span<const Trained> trained, const HeadDerivatives& all) {
  CHECK(trained.size() == groups_.size());
  for (const auto& by_one : {all.logprob, all.entropy, all.mean_logprob, all.divergence})
    CHECK(by_one.empty() || by_one.size() == head_rows_.size());
  if (trained.empty()) return;
  float* dhidden = zeroed_dhidden(true);
  std::vector<TrainedRange> ranges;
  for (const Run& run : runs([&](size_t a, size_t b) {
         return trained[a].trainable == trained[b].trainable && trained[a].gradients == trained[b].gradients;
       })) {
    const auto [trainable, gradients] = trained[run.group];
    CHECK(trainable->adapter == adapters_[run.group]);
    const int64_t head = trainable->weights.head;
    const auto cut = [&](std::span<const float> by_one) {
      return by_one.empty() ? by_one : by_one.subspan(run.first_entry, run.entries);
    };
    HeadDerivatives own = all;
    for (std::span<const float>* by_one : {&own.logprob, &own.entropy, &own.mean_logprob, &own.divergence})
      *by_one = cut(*by_one);
    CHECK(all.divergence.empty() || run.entries == head_rows_.size());
    head_backward(context_, head_of(model_, trainable->adapter), activations_.hidden(),
                  std::span(head_rows_).subspan(run.first_entry, run.entries), temperature_,
                  output_.slice(run.first_entry, run.entries), own, dhidden, head < 0 ? nullptr : gradients + head,
                  HeadAdapter::of(trainable->adapter, gradients), kept_from(run.first_entry));
    ranges.push_back({run.begin, run.end, trainable, gradients});
  }
  backward_from_hidden(ranges);
}

void PolicyPass::values_backward(const Trainable& trainable, std::span<const float> dvalues, float* gradients) {
  values_backward(std::vector<Trained>(groups_.size(), {&trainable, gradients}), dvalues);
}

void PolicyPass::values_backward(std::span<const Trained> trained, std::span<const float> dvalues) {
  CHECK(trained.size() == groups_.size() && dvalues.size() == values_.size());
  if (trained.empty()) return;
  auto only_head = [](const Trainable& t) { return t.adapter == nullptr && t.model == nullptr; };
  float* dhidden = zeroed_dhidden(!only_head(*trained[0].trainable));
  std::vector<TrainedRange> ranges;
  for (const Run& run : runs([&](size_t a, size_t b) {
         return trained[a].trainable == trained[b].trainable && trained[a].gradients == trained[b].gradients &&
                scalar_heads_[a] == scalar_heads_[b];
       })) {
    const auto [trainable, gradients] = trained[run.group];
    CHECK(only_head(*trainable) == only_head(*trained[0].trainable));
    CHECK(only_head(*trainable) || trainable->adapter == adapters_[run.group]);
    const ScalarHead& head = *scalar_heads_[run.group];
    const auto labels = static_cast<size_t>(head.labels);
    const WeightOffsets& at = trainable->weights;
    scalar_head_backward(context_, head, activations_.hidden(),
                         std::span(value_rows_).subspan(run.first_entry, run.entries),
                         dvalues.subspan(run.first_entry * labels, run.entries * labels), dhidden,
                         at.scalar_weight < 0 ? nullptr : gradients + at.scalar_weight,
                         at.scalar_bias < 0 ? nullptr : gradients + at.scalar_bias);
    ranges.push_back({run.begin, run.end, trainable, gradients});
  }
  if (!only_head(*trained[0].trainable)) backward_from_hidden(ranges);
}

void PolicyPass::backward_from_hidden(std::span<const TrainedRange> trained) {
  CHECK(std::none_of(doors_.begin(), doors_.end(), [](const HiddenDoor& door) { return door.edits; }));
  const std::optional<Dropout> dropped = dropout();
  engine::backward(context_, model_, trained, batch_, *kv_, activations_, kv_gradients_, dhidden_.data(),
                   dropped ? &*dropped : nullptr);
}

}  // namespace candor::engine
