#include "engine/continuations.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "engine/head.h"
#include "engine/matrix_products.h"

namespace candor::engine {

namespace {

constexpr int64_t kBatchTokens = 1024;
constexpr size_t kBatchEntries = 8192;
constexpr int64_t kLogitRows = 32;  // whole rows of logits at a time

// Requests as segments that branch off one another. Pages are numbered from 0.
class Tree {
 public:
  TokenBatch batch;
  int32_t pages = 0;
  std::vector<HeadRow> entries;  // continuation by continuation, token by token

  // Returns how many tokens it took.
  int64_t add(const ContinuationRequest& request) {
    CHECK(!request.prompt.empty());
    const int64_t before = batch.tokens();
    const Continuations& continuations = *request.continuations;
    std::vector<size_t> order(continuations.size());  // in which neighbours share most
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return continuations[a] < continuations[b]; });
    std::vector<std::vector<HeadRow>> of(continuations.size());
    for (const size_t i : order) {
      CHECK(!continuations[i].empty());
      std::vector<int32_t> inputs = request.prompt;  // a continuation's last token predicts nothing
      inputs.insert(inputs.end(), continuations[i].begin(), continuations[i].end() - 1);
      walk(inputs);
      for (size_t t = 0; t < continuations[i].size(); ++t)
        of[i].push_back({rows_[request.prompt.size() - 1 + t], continuations[i][t]});
    }
    for (const std::vector<HeadRow>& rows : of) entries.insert(entries.end(), rows.begin(), rows.end());
    return batch.tokens() - before;
  }

 private:
  // Goes to the end of `inputs`, leaving the path of the last call where the two part.
  void walk(std::span<const int32_t> inputs) {
    const size_t most = std::min(inputs.size(), path_.size());
    const auto shared = static_cast<size_t>(
        std::mismatch(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(most), path_.begin()).first -
        inputs.begin());
    if (shared == inputs.size()) return;
    const auto full = shared / kPageTokens;
    const int32_t straddled = shared % kPageTokens != 0 ? page_of_[full] : -1;
    path_.assign(inputs.begin(), inputs.end());
    rows_.resize(shared);
    page_of_.resize(full);
    while (page_of_.size() * kPageTokens < inputs.size()) page_of_.push_back(pages++);
    for (size_t i = shared; i < inputs.size(); ++i) rows_.push_back(batch.tokens() + static_cast<int64_t>(i - shared));
    batch.append(inputs.subspan(shared), static_cast<int64_t>(shared), page_of_, straddled);
  }

  std::vector<int32_t> path_;     // the tokens of the last call
  std::vector<int64_t> rows_;     // where each of them stands in the batch
  std::vector<int32_t> page_of_;  // of every 16 of them
};

// Adds requests from `first` on until a batch is full; returns one past the last, and what each took.
size_t fill(Tree& tree, std::span<const ContinuationRequest> requests, size_t first, std::vector<int64_t>& tokens) {
  size_t end = first;
  while (end < requests.size() &&
         (end == first || (tree.batch.tokens() < kBatchTokens && tree.entries.size() < kBatchEntries)))
    tokens.push_back(tree.add(requests[end++]));
  return end;
}

class Pass {
 public:
  Pass(const Context& context, const Model& model, const Adapter* adapter)
      : context_(context),
        model_(model),
        adapter_(adapter),
        rope_(make_rope(model.config)),
        kv_(context.ledger, "continuations", model.config, model.dtype, 1),
        activations_(context, "continuations", model, adapter == nullptr ? 0 : adapter->max_padded_rank,
                     Keep::kOneLayer) {}

  // The log-probability of every entry.
  std::vector<double> logprobs(Tree& tree, std::span<const HiddenDoor> doors) {
    std::vector<int32_t> taken;
    for (int32_t page = 0; page < tree.pages; ++page) taken.push_back(kv_.take());
    for (Segment& segment : tree.batch.segments) {
      for (int32_t& page : segment.pages) page = taken[static_cast<size_t>(page)];
      if (segment.straddled_page >= 0) segment.straddled_page = taken[static_cast<size_t>(segment.straddled_page)];
    }
    const AdapterRange all{0, tree.batch.tokens(), adapter_};
    const HiddenRange through{0, tree.batch.tokens(), doors};
    forward(context_, model_, rope_, {&all, 1}, tree.batch, kv_, activations_, nullptr,
            doors.empty() ? std::span<const HiddenRange>() : std::span(&through, 1));
    for (const int32_t page : taken) kv_.release(page);
    return entry_logprobs(tree.entries);
  }

  void plan(int64_t tokens, int64_t pages) {
    kv_.plan(pages);
    activations_.reserve(tokens, adapter_ != nullptr && adapter_->config.use_dora);
    reserve_logits();
  }

 private:
  void reserve_logits() {
    if (!logits_.empty()) return;
    hidden_ = Buffer(context_.ledger, "continuations", "last hidden", kLogitRows * padded(model_.config.hidden_size));
    logits_ = Buffer(context_.ledger, "continuations", "logits", kLogitRows * padded(model_.config.vocab_size));
  }

  // Entries of one row share its logits.
  std::vector<double> entry_logprobs(const std::vector<HeadRow>& entries) {
    reserve_logits();
    const int64_t width = padded(model_.config.hidden_size), vocabulary = padded(model_.config.vocab_size);
    std::vector<size_t> order(entries.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return entries[a].hidden_row < entries[b].hidden_row; });
    std::vector<double> logprobs(entries.size());
    for (size_t first = 0; first < order.size();) {
      std::vector<int64_t> row_of;  // of each entry, among those whose logits are there
      int64_t rows = 0, last = -1;
      for (size_t i = first; i < order.size(); ++i) {
        const int64_t row = entries[order[i]].hidden_row;
        if (row != last && rows == kLogitRows) break;
        if (row != last) std::copy_n(activations_.hidden() + row * width, width, hidden_.data() + rows++ * width);
        row_of.push_back(rows - 1);
        last = row;
      }
      head_logits(context_, head_of(model_, adapter_), hidden_.data(), rows, logits_.data(), HeadAdapter::of(adapter_));
      for_rows(context_.pool, static_cast<int64_t>(row_of.size()), [&](int64_t i) {
        const size_t entry = order[first + static_cast<size_t>(i)];
        logprobs[entry] = static_cast<double>(row_statistics(context_.kernels, logits_.data() + row_of[i] * vocabulary,
                                                             model_.config.vocab_size, 1.0f, entries[entry].target)
                                                  .logprob);
      });
      first += row_of.size();
    }
    return logprobs;
  }

  const Context& context_;
  const Model& model_;
  const Adapter* adapter_;
  Rope rope_;
  KvPool kv_;
  Activations activations_;
  Buffer hidden_, logits_;
};

}  // namespace

void continuation_logprobs(const Context& context, const Model& model, const Adapter* adapter,
                           std::span<const HiddenDoor> doors, std::span<const ContinuationRequest> requests,
                           const std::function<bool(size_t index, ContinuationScore score)>& ready) {
  Pass pass(context, model, adapter);
  for (size_t first = 0, end = 0; first < requests.size(); first = end) {
    Tree tree;
    std::vector<int64_t> tokens;
    end = fill(tree, requests, first, tokens);
    const std::vector<double> logprobs = pass.logprobs(tree, doors);
    size_t entry = 0;
    for (size_t i = first; i < end; ++i) {
      ContinuationScore score{{}, tokens[i - first]};
      for (const std::vector<int32_t>& continuation : *requests[i].continuations) {
        double sum = 0;
        for (size_t t = 0; t < continuation.size(); ++t) sum += logprobs[entry++];
        score.logprobs.push_back(sum);
      }
      if (!ready(i, std::move(score))) return;
    }
  }
}

void plan_continuations(const Context& context, const Model& model, const Adapter* adapter,
                        std::span<const ContinuationRequest> requests) {
  CHECK(context.ledger.planned());
  int64_t tokens = 1, pages = 1;
  for (size_t first = 0; first < requests.size();) {
    Tree tree;
    std::vector<int64_t> each;
    first = fill(tree, requests, first, each);
    tokens = std::max(tokens, tree.batch.tokens());
    pages = std::max<int64_t>(pages, tree.pages);
  }
  Pass(context, model, adapter).plan(tokens, pages);
}

}  // namespace candor::engine
