#include "cli/quantize_text.h"

#include <algorithm>

#include "base/input_file.h"
#include "base/rng.h"
#include "data/rows.h"
#include "data/sequences.h"
#include "engine/model.h"
#include "engine/sampler.h"

namespace candor::cli {

namespace {

constexpr uint64_t kLargestText = uint64_t{1} << 30;

// Cuts a sequence into pieces; one of a single token, which predicts nothing, is left out.
void append_pieces(const data::Sequence& sequence, const TextOptions& options, TokenText& text) {
  const size_t length = static_cast<size_t>(options.length);
  for (size_t begin = 0; begin + 1 < sequence.ids.size(); begin += length) {
    const int64_t room = options.most_tokens - text.tokens();
    const size_t end =
        std::min(sequence.ids.size(), begin + std::min(length, static_cast<size_t>(std::max<int64_t>(room, 0))));
    if (end < begin + 2) return;
    auto piece = [&](const auto& from) {
      return std::vector(from.begin() + static_cast<std::ptrdiff_t>(begin),
                         from.begin() + static_cast<std::ptrdiff_t>(end));
    };
    text.ids.push_back(piece(sequence.ids));
    text.masks.push_back(piece(sequence.mask));
    text.masks.back().front() = 0;
  }
}

Result<void> check_ids(const data::Sequence& sequence, int64_t vocabulary, std::string_view where) {
  for (const int32_t id : sequence.ids)
    if (id >= vocabulary) return error("[{}] token id {} is outside the vocabulary of {}.", where, id, vocabulary);
  return {};
}

}  // namespace

int64_t TokenText::tokens() const {
  int64_t count = 0;
  for (const auto& sequence : ids) count += static_cast<int64_t>(sequence.size());
  return count;
}

Result<TokenText> read_token_text(const files::ModelFiles& model, const std::string& path, const TextOptions& options) {
  if (!model.tokenizer) return Error{model.no_tokenizer};
  const data::TextReader reader{*model.tokenizer, model.chat_template ? &*model.chat_template : nullptr,
                                model.special_tokens};
  TextOptions cut = options;
  cut.length = std::min(options.length, model.config.max_positions);
  TokenText text;
  if (path.ends_with(".txt")) {
    data::Sequence whole;
    whole.ids = TRY(data::encode_plain(reader, TRY(read_file(path, kLargestText))));
    whole.mask.assign(whole.ids.size(), 1);
    append_pieces(whole, cut, text);
  } else {
    const data::Rows rows = TRY(data::read_rows(path));
    for (const data::Row& row : rows.rows) {
      if (text.tokens() >= cut.most_tokens) break;
      const std::string where = data::place(rows.name, row);
      const data::Sequence sequence = TRY(data::read_sequence(row.columns, reader, where));
      TRY(check_ids(sequence, model.config.vocab_size, where));
      append_pieces(sequence, cut, text);
    }
  }
  if (text.tokens() < options.least_tokens)
    return error("[{}] {} holds {} tokens; at least {} are needed. Give more text.", options.flag, path, text.tokens(),
                 options.least_tokens);
  return text;
}

Result<TokenText> sampled_text(const engine::Context& context, const files::ModelFiles& files,
                               const TextOptions& options, uint64_t seed, const std::function<bool()>& interrupted) {
  const engine::Model model = TRY(engine::load_model(context, files, engine::Dtype::kFloat32));
  const int64_t length = std::min(options.length, files.config.max_positions);
  const auto vocabulary = static_cast<uint64_t>(files.config.vocab_size);
  std::vector<engine::SampleRequest> requests;
  for (int64_t i = 0; i * length < options.most_tokens; ++i) {
    engine::SampleRequest request;
    request.prompt = {
        static_cast<int32_t>(random_below({seed, RngStream::kData, 0, 0}, static_cast<uint64_t>(i), vocabulary))};
    requests.push_back(std::move(request));
  }
  engine::SamplingOptions sampling;
  sampling.max_new_tokens = length - 1;
  sampling.seed = seed;
  TokenText text;
  const auto completions =
      engine::sample(context, model, nullptr, requests, sampling, nullptr, {.interrupted = interrupted});
  for (size_t i = 0; i < completions.size(); ++i) {
    text.ids.push_back(requests[i].prompt);
    const std::vector<int32_t>& ids = completions[i].front().ids;
    text.ids.back().insert(text.ids.back().end(), ids.begin(), ids.end());
    text.masks.emplace_back(text.ids.back().size(), uint8_t{1});
    text.masks.back().front() = 0;
  }
  return text;
}

}  // namespace candor::cli
