#include "cli/sampling_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "files/generation_config.h"

namespace candor::cli {

namespace {

using Ids = std::vector<int32_t>;

struct Bias {
  int32_t id = 0;
  float value = 0;
};

// "1234=-5.5"
std::optional<Bias> bias_of(const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) return std::nullopt;
  Bias bias;
  const char *begin = word.data(), *middle = begin + equals, *end = begin + word.size();
  const auto id = std::from_chars(begin, middle, bias.id);
  const auto value = std::from_chars(middle + 1, end, bias.value);
  if (id.ec != std::errc() || id.ptr != middle || value.ec != std::errc() || value.ptr != end) return std::nullopt;
  return bias;
}

std::string wrong_bias(const std::string& word) {
  return bias_of(word) ? "" : "expected ID=BIAS, as 1234=-5, got " + word;
}

std::string empty_text(const std::string& word) {
  return word.empty() ? "expected text" : "";
}

// A bad word that is a stop token alone would keep completions from ending; Transformers passes it over too.
void add_bad_word(Ids word, engine::SamplingOptions& options) {
  const bool stops = word.size() == 1 &&
                     std::find(options.stop_ids.begin(), options.stop_ids.end(), word[0]) != options.stop_ids.end();
  const bool known = std::find(options.bad_words.begin(), options.bad_words.end(), word) != options.bad_words.end();
  if (!word.empty() && !stops && !known) options.bad_words.push_back(std::move(word));
}

void follow_file(const files::GenerationConfig& file, Sampling& sampling) {
  engine::SamplingOptions& options = sampling.options;
  options.temperature = file.do_sample == false ? 0.0 : file.temperature.value_or(options.temperature);
  options.top_k = std::max<int64_t>(0, file.top_k.value_or(options.top_k));
  options.top_p = file.top_p.value_or(options.top_p);
  options.min_p = file.min_p.value_or(options.min_p);
  options.repetition_penalty = file.repetition_penalty.value_or(options.repetition_penalty);
  options.max_new_tokens = std::max<int64_t>(1, file.max_new_tokens.value_or(options.max_new_tokens));
  sampling.max_length = file.max_length;
  options.stop_strings = file.stop_strings;
  for (const Ids& word : file.bad_words) add_bad_word(word, options);
  if (!file.not_supported.empty())
    sampling.notes.push_back(
        fmt::format("{} asks for {}, which is not supported: answers may differ from those of Transformers.", file.name,
                    fmt::join(file.not_supported, ", ")));
}

Result<void> follow_flags(const SamplingFlags& flags, const text::Tokenizer& tokenizer, Sampling& sampling) {
  engine::SamplingOptions& options = sampling.options;
  options.temperature = flags.temperature.value_or(options.temperature);
  options.top_k = flags.top_k.value_or(options.top_k);
  options.top_p = flags.top_p.value_or(options.top_p);
  options.min_p = flags.min_p.value_or(options.min_p);
  options.repetition_penalty = flags.repetition_penalty.value_or(options.repetition_penalty);
  options.presence_penalty = flags.presence_penalty.value_or(0.0);
  options.frequency_penalty = flags.frequency_penalty.value_or(0.0);
  options.max_new_tokens = flags.max_new_tokens.value_or(options.max_new_tokens);
  sampling.length_is_asked_for = flags.max_new_tokens.has_value();
  options.seed = flags.seed;
  options.stop_strings.insert(options.stop_strings.end(), flags.stop.begin(), flags.stop.end());
  for (const std::string& word : flags.logit_bias)
    if (const std::optional<Bias> bias = bias_of(word)) options.logit_bias[bias->id] = bias->value;
  for (const std::string& word : flags.bad_words) {
    add_bad_word(TRY(tokenizer.encode(word, {})), options);
    if (word.front() != ' ') add_bad_word(TRY(tokenizer.encode(" " + word, {})), options);
  }
  return {};
}

}  // namespace

void SamplingFlags::add(CLI::App& app) {
  app.add_option("--max_new_tokens,--max_completion_length", max_new_tokens,
                 "tokens of a completion at the most (default: generation_config.json's, or 256, as far as the context "
                 "has room)")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--temperature", temperature,
                 "0 takes the likeliest token (default: generation_config.json's, do_sample false being 0, or 1)")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--top_k", top_k, "draw among the k likeliest tokens; 0 = off (default: the file's, or 0)")
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--top_p", top_p,
                 "draw among the likeliest tokens that hold this probability; 1 = off (default: the file's, or 1)")
      ->check(CLI::Range(1e-9, 1.0));
  app.add_option("--min_p", min_p,
                 "drop tokens less likely than this times the likeliest; 0 = off (default: the file's, or 0)")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--repetition_penalty", repetition_penalty,
                 "above 1 makes tokens of prompt and completion less likely, as in Transformers (default: the file's, "
                 "or 1)")
      ->check(CLI::Range(1e-3, 1e3));
  app.add_option("--presence_penalty", presence_penalty,
                 "taken from the logit of every token that the completion holds")
      ->check(CLI::Range(-100.0, 100.0));
  app.add_option("--frequency_penalty", frequency_penalty, "the same, as often as the completion holds it")
      ->check(CLI::Range(-100.0, 100.0));
  app.add_option("--logit_bias", logit_bias, "ID=BIAS: added to the logit of a token id; may be given several times")
      ->check(wrong_bias);
  app.add_option("--bad_words", bad_words,
                 "never write this text as the tokenizer spells it, with or without a space before it; may be given "
                 "several times")
      ->check(empty_text);
  app.add_option("--stop", stop, "end a completion with this text; may be given several times")->check(empty_text);
  app.add_option("--seed", seed, "of the draws");
}

int64_t Sampling::new_tokens(int64_t prompt_tokens, int64_t context) const {
  const int64_t room = std::min(options.max_new_tokens, context - prompt_tokens);
  return max_length && !length_is_asked_for ? std::min(room, *max_length - prompt_tokens) : room;
}

Result<Sampling> resolve_sampling(const SamplingFlags& flags, const Session& session, const std::string& verb) {
  Sampling sampling;
  sampling.options.stop_ids = session.files.config.eos_ids;
  const files::GenerationConfig file = TRY(files::read_generation_config(session.files.path));
  follow_file(file, sampling);
  const int64_t vocabulary = session.files.config.vocab_size;
  if (const auto checked = engine::check_sampling(sampling.options, vocabulary); !checked)
    return error("[{}] {}", file.name, checked.error().message);
  if (const auto followed = follow_flags(flags, session.tokenizer(), sampling); !followed)
    return error("[{}] --bad_words: {}", verb, followed.error().message);
  if (const auto checked = engine::check_sampling(sampling.options, vocabulary); !checked)
    return error("[{}] {}", verb, checked.error().message);
  return sampling;
}

}  // namespace candor::cli
