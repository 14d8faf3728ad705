#include "engine/sampler.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/rng.h"
#include "engine/head.h"
#include "engine/stop_strings.h"

namespace candor::engine {

namespace {

using Doors = std::span<const HiddenDoor>;

constexpr int64_t kPrefillTokens = 1024;  // prompts that go through the model together

struct Row {
  RowPlace place;
  uint32_t number = 0;  // for the draws
  std::vector<int32_t> pages;
  std::vector<int32_t> reference_pages;  // of the model alone, for a mixture with it
  int64_t position = 0;                  // of the next token that goes into the model
  int64_t max_new_tokens = 0;
  std::optional<StopStrings> stops;
};

// Of all adapters that some row may go through.
int64_t largest_rank(const Adapter* adapter, std::span<const SampleRequest> requests) {
  int64_t rank = adapter == nullptr ? 0 : adapter->max_padded_rank;
  for (const SampleRequest& request : requests)
    if (request.adapter && *request.adapter != nullptr) rank = std::max(rank, (*request.adapter)->max_padded_rank);
  return rank;
}

struct Buffers {
  const Context& context;
  const files::ModelConfig& config;
  KvPool kv;
  Activations activations;
  Buffer hidden, logits;           // [rows, padded(hidden)], [rows, padded(vocabulary)]
  std::vector<DrawScratch> draws;  // by thread
  CountedBytes draw_bytes;

  Buffers(const Context& of, const Model& model, int64_t max_padded_rank, const SamplingOptions& options)
      : context(of),
        config(model.config),
        kv(context.ledger, "sampler", config, model.dtype),
        activations(context, "sampler", model, max_padded_rank, Keep::kOneLayer),
        draws(static_cast<size_t>(context.pool.threads())),
        draw_bytes(context.ledger, "sampler", "draws",
                   context.pool.threads() * draw_scratch_bytes(config.vocab_size, options)) {}

  // Room for the logits of `rows` rows.
  void reserve_rows(int64_t rows) {
    const int64_t width = padded(config.hidden_size), vocabulary = padded(config.vocab_size);
    if (hidden.size() < rows * width) {
      hidden = Buffer();
      hidden = Buffer(context.ledger, "sampler", "last hidden", rows * width);
    }
    if (logits.size() < rows * vocabulary) {
      logits = Buffer();
      logits = Buffer(context.ledger, "sampler", "logits", rows * vocabulary);
    }
  }
};

}  // namespace

void plan_sampling(const Context& context, const Model& model, const Adapter* adapter, const SamplingShape& shape,
                   const SamplingOptions& options) {
  CHECK(context.ledger.planned());
  Buffers buffers(context, model, largest_rank(adapter, {}), options);
  const int64_t prompt = shape.longest_prompt, completions = shape.completions;
  // Groups that fill the places together, and those of which at least one row may still be there.
  const int64_t together = std::clamp<int64_t>(options.max_rows / completions, 1, shape.requests);
  const int64_t rows = together * completions;
  const int64_t alive = std::min(shape.requests, std::max(together, options.max_rows - completions + 1));
  const int64_t full = prompt / kPageTokens, whole = (prompt + kPageTokens - 1) / kPageTokens;
  const int64_t last = (prompt + shape.longest_completion - 1 + kPageTokens - 1) / kPageTokens;
  // Rows that go through the model a second time, alone.
  const int64_t mixed = shape.half_mixed ? std::min(rows, shape.requests / 2) : 0;
  buffers.kv.plan(std::max(alive * full + rows * (last - full) + mixed * last,
                           together * whole + rows * (whole - full) + mixed * (2 * whole - full)));
  const int64_t prefilled = std::clamp<int64_t>(kPrefillTokens / prompt, mixed > 0 ? 2 : 1, together + mixed);
  buffers.activations.reserve(std::max(prefilled * prompt, rows + mixed));
  buffers.reserve_rows(rows + mixed);
}

PrefixCache::PrefixCache(MemoryLedger& ledger, const Model& model)
    : kv_(ledger, "conversation", model.config, model.dtype) {}

int64_t PrefixCache::shared_tokens(std::span<const int32_t> prompt) const {
  const size_t most = std::min(tokens_.size(), prompt.empty() ? 0 : prompt.size() - 1);
  return std::mismatch(prompt.begin(), prompt.begin() + static_cast<int64_t>(most), tokens_.begin()).first -
         prompt.begin();
}

struct Sampler::Impl {
  Impl(const Context& context, const Model& model, const Adapter* adapter, std::span<const SampleRequest> requests,
       const SamplingOptions& options, const text::Tokenizer* tokenizer, const SamplingCallbacks& callbacks,
       uint32_t first_row, PrefixCache* cache)
      : context_(context),
        model_(model),
        rope_(make_rope(model.config)),
        adapter_(adapter),
        requests_(requests),
        options_(options),
        tokenizer_(tokenizer),
        callbacks_(callbacks),
        next_row_(first_row),
        cache_(cache),
        buffers_(context, model, largest_rank(adapter, requests), options),
        kv_(cache == nullptr ? buffers_.kv : cache->kv_),
        activations_(buffers_.activations) {
    CHECK(cache == nullptr || (requests.size() == 1 && requests[0].completions == 1));
    for (const SampleRequest& request : requests) {
      CHECK(!request.prompt.empty() && (cache == nullptr || request.reference_share == 0));
      results_.emplace_back(static_cast<size_t>(request.completions));
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { drop_rows(); }

  void drop_rows() {
    for (Row& row : rows_) give_back(row);
    rows_.clear();
  }

  bool done() const { return rows_.empty() && next_request_ == requests_.size(); }

  void step() {
    admit();
    decode();
  }

  // How often a request's tokens go through the model: once more alone, for a mixture with it.
  static int64_t passes_of(const SampleRequest& request) { return request.reference_share > 0 ? 2 : 1; }

  // Fills free places with the next prompts, several to a forward pass, and draws the first token of each of their
  // rows.
  void admit() {
    while (next_request_ < requests_.size()) {
      TokenBatch batch;
      std::vector<size_t> admitted, first_segment;
      std::vector<const Adapter*> adapters;  // by segment
      std::vector<Doors> doors;              // the same
      auto occupied = static_cast<int64_t>(rows_.size());
      while (next_request_ < requests_.size()) {
        const SampleRequest& request = requests_[next_request_];
        const auto length = static_cast<int64_t>(request.prompt.size());
        if (occupied > 0 && occupied + request.completions > options_.max_rows) break;
        const int64_t passes = passes_of(request);
        if (!admitted.empty() && batch.tokens() + passes * length > kPrefillTokens) break;
        first_segment.push_back(batch.segments.size());
        for (int64_t pass = 0; pass < passes; ++pass) {
          std::vector<int32_t> pages;
          const int64_t known = take_cached(request.prompt, pages);
          while (static_cast<int64_t>(pages.size()) * kPageTokens < length) pages.push_back(kv_.take());
          batch.append(std::span(request.prompt).subspan(static_cast<size_t>(known)), known, std::move(pages));
          adapters.push_back(pass == 0 ? adapter_of_request(next_request_) : nullptr);
          doors.push_back(pass == 0 ? request.doors : Doors());
        }
        occupied += request.completions;
        admitted.push_back(next_request_++);
      }
      if (admitted.empty()) return;
      forward(context_, model_, rope_, ranges_of(batch, adapters), batch, kv_, activations_, nullptr,
              ranges_of(batch, doors));
      std::vector<int64_t> last;
      for (const Segment& segment : batch.segments) last.push_back(segment.end - 1);
      compute_logits(last, adapters);
      std::vector<Row> fresh;
      std::vector<int64_t> logits_row;
      for (size_t i = 0; i < admitted.size(); ++i) {
        const SampleRequest& request = requests_[admitted[i]];
        const Segment* segment = &batch.segments[first_segment[i]];
        mix_logits(first_segment[i], request.reference_share);
        for (int64_t g = 0; g < request.completions; ++g) {
          fresh.push_back(make_row(admitted[i], static_cast<size_t>(g)));
          fresh.back().pages = continued(segment[0].pages, fresh.back().position);
          if (passes_of(request) > 1) fresh.back().reference_pages = continued(segment[1].pages, fresh.back().position);
          logits_row.push_back(static_cast<int64_t>(first_segment[i]));
        }
        for (int64_t pass = 0; pass < passes_of(request); ++pass)
          for (int32_t page : segment[pass].pages) kv_.release(page);
      }
      draw(fresh, logits_row);
      keep_unfinished(std::move(fresh));
    }
  }

  // The pages of what the cache knows of this prompt; returns how many tokens. The cache is empty afterwards.
  int64_t take_cached(std::span<const int32_t> prompt, std::vector<int32_t>& pages) {
    if (cache_ == nullptr) return 0;
    const int64_t known = cache_->shared_tokens(prompt), kept = (known + kPageTokens - 1) / kPageTokens;
    for (size_t i = 0; i < cache_->pages_.size(); ++i) {
      if (static_cast<int64_t>(i) < kept)
        pages.push_back(cache_->pages_[i]);
      else
        kv_.release(cache_->pages_[i]);
    }
    cache_->tokens_.clear();
    cache_->pages_.clear();
    return known;
  }

  // Of a row that is over: its pages go to the cache, or are free.
  void give_back(Row& row) {
    if (cache_ == nullptr) {
      for (int32_t page : row.pages) kv_.release(page);
      for (int32_t page : row.reference_pages) kv_.release(page);
      return;
    }
    cache_->tokens_ = requests_[row.place.request].prompt;
    const std::vector<int32_t>& ids = completion_of(row).ids;
    const auto computed = row.position - static_cast<int64_t>(cache_->tokens_.size());
    cache_->tokens_.insert(cache_->tokens_.end(), ids.begin(), ids.begin() + computed);
    cache_->pages_ = std::move(row.pages);
  }

  // The pages of a row that continues a prompt: it shares the full ones and owns a copy of the last, partial one.
  std::vector<int32_t> continued(const std::vector<int32_t>& prompt_pages, int64_t prompt_tokens) {
    const auto full = static_cast<size_t>(prompt_tokens / kPageTokens);
    std::vector<int32_t> pages;
    for (size_t i = 0; i < full; ++i) {
      kv_.retain(prompt_pages[i]);
      pages.push_back(prompt_pages[i]);
    }
    if (full < prompt_pages.size()) pages.push_back(kv_.copy(prompt_pages[full]));
    return pages;
  }

  // A row that continues a prompt, without pages.
  Row make_row(size_t request, size_t completion) {
    Row row;
    row.place = {request, completion};
    row.number = next_row_++;
    row.position = static_cast<int64_t>(requests_[request].prompt.size());
    row.max_new_tokens = requests_[request].max_new_tokens;
    if (row.max_new_tokens == 0) row.max_new_tokens = options_.max_new_tokens;
    if (!options_.stop_strings.empty()) {
      CHECK(tokenizer_ != nullptr);
      row.stops.emplace(*tokenizer_, options_.stop_strings);
    }
    return row;
  }

  // One more token for every row.
  void decode() {
    if (rows_.empty()) return;
    TokenBatch batch;
    std::vector<int64_t> order, all;  // where each row's token stands, and every token
    std::vector<const Adapter*> adapters;
    std::vector<Doors> doors;
    const auto append = [&](const Row& row, std::vector<int32_t>& pages, const Adapter* adapter, Doors through) {
      if (row.position % kPageTokens == 0) pages.push_back(kv_.take());
      const int32_t token = completion_of(row).ids.back();
      adapters.push_back(adapter);
      doors.push_back(through);
      all.push_back(batch.tokens());
      batch.append({&token, 1}, row.position, pages);
    };
    for (Row& row : rows_) {
      order.push_back(batch.tokens());
      const SampleRequest& request = requests_[row.place.request];
      append(row, row.pages, adapter_of_request(row.place.request), request.doors);
      if (passes_of(request) > 1) append(row, row.reference_pages, nullptr, {});
      ++row.position;
    }
    forward(context_, model_, rope_, ranges_of(batch, adapters), batch, kv_, activations_, nullptr,
            ranges_of(batch, doors));
    compute_logits(all, adapters);
    std::vector<Row> rows = std::move(rows_);
    rows_.clear();
    for (size_t i = 0; i < rows.size(); ++i)
      mix_logits(static_cast<size_t>(order[i]), requests_[rows[i].place.request].reference_share);
    draw(rows, order);
    keep_unfinished(std::move(rows));
  }

  Completion& completion_of(const Row& row) { return results_[row.place.request][row.place.completion]; }

  const Adapter* adapter_of_request(size_t request) const {
    return requests_[request].adapter ? *requests_[request].adapter : adapter_;
  }

  // The segments' adapters as ranges of token rows; neighbours under one adapter are one.
  static std::vector<AdapterRange> ranges_of(const TokenBatch& batch, const std::vector<const Adapter*>& adapters) {
    std::vector<AdapterRange> ranges;
    for (size_t i = 0; i < adapters.size(); ++i) {
      const Segment& segment = batch.segments[i];
      if (!ranges.empty() && ranges.back().adapter == adapters[i])
        ranges.back().end = segment.end;
      else
        ranges.push_back({segment.begin, segment.end, adapters[i]});
    }
    return ranges;
  }

  static std::vector<HiddenRange> ranges_of(const TokenBatch& batch, const std::vector<Doors>& doors) {
    std::vector<HiddenRange> ranges;
    for (size_t i = 0; i < doors.size(); ++i)
      if (!doors[i].empty()) ranges.push_back({batch.segments[i].begin, batch.segments[i].end, doors[i]});
    return ranges;
  }

  // Logits of these rows of the final hidden states, each by its adapter's head.
  void compute_logits(const std::vector<int64_t>& hidden_rows, const std::vector<const Adapter*>& adapters) {
    const int64_t width = padded(model_.config.hidden_size), rows = static_cast<int64_t>(hidden_rows.size());
    const int64_t vocabulary = padded(model_.config.vocab_size);
    buffers_.reserve_rows(rows);
    for (int64_t i = 0; i < rows; ++i)
      std::copy_n(activations_.hidden() + hidden_rows[i] * width, width, buffers_.hidden.data() + i * width);
    for (int64_t first = 0, end = 0; first < rows; first = end) {
      while (end < rows && adapters[end] == adapters[first]) ++end;
      head_logits(context_, head_of(model_, adapters[first]), buffers_.hidden.data() + first * width, end - first,
                  buffers_.logits.data() + first * vocabulary, HeadAdapter::of(adapters[first]));
    }
  }

  // The logits of the geometric mixture: those of this row and of the next, which is the model's alone, weighed.
  void mix_logits(size_t row, double reference_share) {
    if (reference_share == 0) return;
    float* own = buffers_.logits.data() + static_cast<int64_t>(row) * padded(model_.config.vocab_size);
    const float* alone = own + padded(model_.config.vocab_size);
    for (int64_t v = 0; v < model_.config.vocab_size; ++v)
      own[v] = static_cast<float>((1.0 - reference_share) * own[v] + reference_share * alone[v]);
  }

  // Row i draws from row logits_row[i] of the logits.
  void draw(const std::vector<Row>& rows, const std::vector<int64_t>& logits_row) {
    const int64_t stride = padded(model_.config.vocab_size);
    context_.pool.run(static_cast<int64_t>(rows.size()), [&](int64_t i, int thread) {
      Completion& completion = completion_of(rows[i]);
      const RngKey key{options_.seed, RngStream::kSampling, options_.step, rows[i].number};
      const TokenHistory history{requests_[rows[i].place.request].prompt, completion.ids};
      const Draw drawn =
          draw_token(context_.kernels, buffers_.logits.data() + logits_row[i] * stride, model_.config.vocab_size,
                     options_, history, random_uniform(key, completion.ids.size()), buffers_.draws[thread]);
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
      const int32_t token = completion.ids.back();
      if (callbacks_.token) callbacks_.token(row.place, token);
      completion.finished = stopped(row, token);
      if (!completion.finished && static_cast<int64_t>(completion.ids.size()) < row.max_new_tokens) {
        rows_.push_back(std::move(row));
        continue;
      }
      give_back(row);
      ++finished_;
      if (callbacks_.done) callbacks_.done(row.place, completion);
    }
  }

  bool stopped(Row& row, int32_t token) const {
    const bool at_text = row.stops && row.stops->push(token);
    return at_text || std::find(options_.stop_ids.begin(), options_.stop_ids.end(), token) != options_.stop_ids.end();
  }

  const Context& context_;
  const Model& model_;
  Rope rope_;
  const Adapter* adapter_;
  std::span<const SampleRequest> requests_;
  const SamplingOptions& options_;
  const text::Tokenizer* tokenizer_;
  const SamplingCallbacks& callbacks_;
  uint32_t next_row_;
  PrefixCache* cache_;
  Buffers buffers_;
  KvPool& kv_;
  Activations& activations_;
  std::vector<std::vector<Completion>> results_;
  std::vector<Row> rows_;
  size_t next_request_ = 0;
  int64_t finished_ = 0, new_tokens_ = 0;
};

Sampler::Sampler(const Context& context, const Model& model, const Adapter* adapter,
                 std::span<const SampleRequest> requests, const SamplingOptions& options,
                 const text::Tokenizer* tokenizer, const SamplingCallbacks& callbacks, uint32_t first_row,
                 PrefixCache* cache)
    : impl_(
          std::make_unique<Impl>(context, model, adapter, requests, options, tokenizer, callbacks, first_row, cache)) {}
Sampler::~Sampler() = default;

bool Sampler::done() const {
  return impl_->done();
}

void Sampler::step() {
  impl_->step();
  if (impl_->callbacks_.progress) impl_->callbacks_.progress(impl_->finished_, impl_->new_tokens_);
}

std::vector<std::vector<Completion>> Sampler::take_results() {
  impl_->drop_rows();
  return std::move(impl_->results_);
}

std::vector<std::vector<Completion>> sample(const Context& context, const Model& model, const Adapter* adapter,
                                            std::span<const SampleRequest> requests, const SamplingOptions& options,
                                            const text::Tokenizer* tokenizer, const SamplingCallbacks& callbacks,
                                            uint32_t first_row) {
  Sampler sampler(context, model, adapter, requests, options, tokenizer, callbacks, first_row);
  while (!sampler.done()) {
    if (callbacks.interrupted && callbacks.interrupted()) return {};
    sampler.step();
  }
  return sampler.take_results();
}

}  // namespace candor::engine
