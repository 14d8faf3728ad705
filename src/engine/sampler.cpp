#include "engine/sampler.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/rng.h"
#include "engine/head.h"

namespace candor::engine {

namespace {

constexpr int64_t kPrefillTokens = 1024;  // prompts that go through the model together

struct Row {
  size_t request = 0, completion = 0;
  uint32_t number = 0;  // for the draws
  std::vector<int32_t> pages;
  int64_t position = 0;                        // of the next token that goes into the model
  std::optional<text::StreamDecoder> decoder;  // only with stop strings
  std::string tail;                            // decoded text that may hold a stop string
};

class Session {
 public:
  Session(const Context& context, const Model& model, const Adapter* adapter, std::span<const SampleRequest> requests,
          const SamplingOptions& options, const text::Tokenizer* tokenizer, uint32_t first_row)
      : context_(context),
        model_(model),
        rope_(make_rope(model.config)),
        adapter_(adapter),
        requests_(requests),
        options_(options),
        tokenizer_(tokenizer),
        next_row_(first_row),
        kv_(context.ledger, "sampler", model.config),
        activations_(context, "sampler", model, adapter == nullptr ? 0 : adapter->max_padded_rank,
                     Activations::Keep::kOneLayer) {
    for (const SampleRequest& request : requests) {
      CHECK(!request.prompt.empty());
      results_.emplace_back(static_cast<size_t>(request.completions));
    }
  }

  bool done() const { return rows_.empty() && next_request_ == requests_.size(); }
  std::vector<std::vector<Completion>> take_results() { return std::move(results_); }
  int64_t finished_rows() const { return finished_; }
  int64_t new_tokens() const { return new_tokens_; }

  void step() {
    admit();
    decode();
  }

 private:
  // Fills free places with the next prompts, several to a forward pass, and draws the first token of each of their
  // rows.
  void admit() {
    while (next_request_ < requests_.size()) {
      TokenBatch batch;
      std::vector<size_t> admitted;
      auto occupied = static_cast<int64_t>(rows_.size());
      while (next_request_ < requests_.size()) {
        const SampleRequest& request = requests_[next_request_];
        const auto length = static_cast<int64_t>(request.prompt.size());
        if (occupied > 0 && occupied + request.completions > options_.max_rows) break;
        if (!admitted.empty() && batch.tokens() + length > kPrefillTokens) break;
        std::vector<int32_t> pages;
        for (int64_t i = 0; i < length; i += kPageTokens) pages.push_back(kv_.take());
        batch.append(request.prompt, 0, std::move(pages));
        occupied += request.completions;
        admitted.push_back(next_request_++);
      }
      if (admitted.empty()) return;
      forward(context_, model_, rope_, adapter_, batch, kv_, activations_);
      std::vector<int64_t> last;
      for (const Segment& segment : batch.segments) last.push_back(segment.end - 1);
      compute_logits(last);
      std::vector<Row> fresh;
      std::vector<int64_t> logits_row;
      for (size_t i = 0; i < admitted.size(); ++i) {
        for (int64_t g = 0; g < requests_[admitted[i]].completions; ++g) {
          fresh.push_back(make_row(admitted[i], static_cast<size_t>(g), batch.segments[i]));
          logits_row.push_back(static_cast<int64_t>(i));
        }
        for (int32_t page : batch.segments[i].pages) kv_.release(page);
      }
      draw(fresh, logits_row);
      keep_unfinished(std::move(fresh));
    }
  }

  // A row that continues a prompt: it shares the full pages and owns a copy of the last, partial one.
  Row make_row(size_t request, size_t completion, const Segment& prompt) {
    Row row;
    row.request = request;
    row.completion = completion;
    row.number = next_row_++;
    row.position = prompt.end - prompt.begin;
    const auto full = static_cast<size_t>(row.position / kPageTokens);
    for (size_t i = 0; i < full; ++i) {
      kv_.retain(prompt.pages[i]);
      row.pages.push_back(prompt.pages[i]);
    }
    if (full < prompt.pages.size()) row.pages.push_back(kv_.copy(prompt.pages[full]));
    if (!options_.stop_strings.empty()) {
      CHECK(tokenizer_ != nullptr);
      row.decoder.emplace(*tokenizer_, text::Tokenizer::DecodeOptions{});
    }
    return row;
  }

  // One more token for every row.
  void decode() {
    if (rows_.empty()) return;
    TokenBatch batch;
    std::vector<int64_t> order;
    for (Row& row : rows_) {
      if (row.position % kPageTokens == 0) row.pages.push_back(kv_.take());
      const int32_t token = completion_of(row).ids.back();
      order.push_back(batch.tokens());
      batch.append({&token, 1}, row.position++, row.pages);
    }
    forward(context_, model_, rope_, adapter_, batch, kv_, activations_);
    compute_logits(order);
    std::vector<Row> rows = std::move(rows_);
    rows_.clear();
    draw(rows, order);
    keep_unfinished(std::move(rows));
  }

  Completion& completion_of(const Row& row) { return results_[row.request][row.completion]; }

  // Logits of these rows of the final hidden states.
  void compute_logits(const std::vector<int64_t>& hidden_rows) {
    const int64_t width = padded(model_.config.hidden_size), rows = static_cast<int64_t>(hidden_rows.size());
    const int64_t vocabulary = padded(model_.config.vocab_size);
    if (hidden_.size() < rows * width) hidden_ = Buffer(context_.ledger, "sampler", "last hidden", rows * width);
    if (logits_.size() < rows * vocabulary) logits_ = Buffer(context_.ledger, "sampler", "logits", rows * vocabulary);
    for (int64_t i = 0; i < rows; ++i)
      std::copy_n(activations_.hidden() + hidden_rows[i] * width, width, hidden_.data() + i * width);
    head_logits(context_, model_, hidden_.data(), rows, logits_.data());
  }

  // Row i draws from row logits_row[i] of the logits.
  void draw(const std::vector<Row>& rows, const std::vector<int64_t>& logits_row) {
    const int64_t stride = padded(model_.config.vocab_size);
    std::vector<std::vector<float>> scratch(static_cast<size_t>(context_.pool.threads()));
    context_.pool.run(static_cast<int64_t>(rows.size()), [&](int64_t i, int thread) {
      Completion& completion = completion_of(rows[i]);
      const RngKey key{options_.seed, RngStream::kSampling, options_.step, rows[i].number};
      const Draw drawn = draw_token(context_.kernels, logits_.data() + logits_row[i] * stride, model_.config.vocab_size,
                                    options_, random_uniform(key, completion.ids.size()), scratch[thread]);
      completion.ids.push_back(drawn.token);
      completion.logprobs.push_back(drawn.logprob);
      completion.policy_logprobs.push_back(drawn.policy_logprob);
      completion.sampling_logprobs.push_back(drawn.sampling_logprob);
      completion.entropy.push_back(drawn.entropy);
    });
    new_tokens_ += static_cast<int64_t>(rows.size());
  }

  void keep_unfinished(std::vector<Row> rows) {
    for (Row& row : rows) {
      Completion& completion = completion_of(row);
      completion.finished = stopped(row, completion.ids.back());
      if (!completion.finished && static_cast<int64_t>(completion.ids.size()) < options_.max_new_tokens) {
        rows_.push_back(std::move(row));
        continue;
      }
      for (int32_t page : row.pages) kv_.release(page);
      ++finished_;
    }
  }

  bool stopped(Row& row, int32_t token) const {
    if (std::find(options_.stop_ids.begin(), options_.stop_ids.end(), token) != options_.stop_ids.end()) return true;
    if (!row.decoder) return false;
    row.tail += row.decoder->push(token);
    size_t longest = 0;
    for (const std::string& stop : options_.stop_strings) {
      if (row.tail.find(stop) != std::string::npos) return true;
      longest = std::max(longest, stop.size());
    }
    if (row.tail.size() > longest) row.tail.erase(0, row.tail.size() - longest);
    return false;
  }

  const Context& context_;
  const Model& model_;
  Rope rope_;
  const Adapter* adapter_;
  std::span<const SampleRequest> requests_;
  const SamplingOptions& options_;
  const text::Tokenizer* tokenizer_;
  uint32_t next_row_;
  KvPool kv_;
  Activations activations_;
  Buffer hidden_, logits_;
  std::vector<std::vector<Completion>> results_;
  std::vector<Row> rows_;
  size_t next_request_ = 0;
  int64_t finished_ = 0, new_tokens_ = 0;
};

}  // namespace

std::vector<std::vector<Completion>> sample(const Context& context, const Model& model, const Adapter* adapter,
                                            std::span<const SampleRequest> requests, const SamplingOptions& options,
                                            const text::Tokenizer* tokenizer, const SamplingCallbacks& callbacks,
                                            uint32_t first_row) {
  Session session(context, model, adapter, requests, options, tokenizer, first_row);
  while (!session.done()) {
    if (callbacks.interrupted && callbacks.interrupted()) return {};
    session.step();
    if (callbacks.progress) callbacks.progress(session.finished_rows(), session.new_tokens());
  }
  return session.take_results();
}

}  // namespace candor::engine
