// The tokenizer of a GGUF file, for byte-level BPE ("gpt2"). The file only names its pre-tokenizer
// (tokenizer.ggml.pre); the rules here are those of the original models' tokenizer.json. They differ from llama.cpp's
// own regular expressions in rare characters only, where those approximate.
#include <algorithm>
#include <array>

#include "text/bpe_byte_alphabet.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace candor::text {
namespace {

using Kind = PreTokenizer::Kind;

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseekV3Pattern =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// What a name stands for: the splits in front of ByteLevel, and the settings that go with them.
struct PreRule {
  std::string_view name;
  std::array<std::string_view, 4> splits;  // regular expressions, Isolated; unused ones are empty
  bool gpt2_split;                         // … then single digits or not, then GPT-2's own pattern
  bool single_digits = false;
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};

constexpr PreRule kRules[] = {
    {.name = "gpt-2", .splits = {}, .gpt2_split = true},
    {.name = "smollm", .splits = {}, .gpt2_split = true, .single_digits = true},
    {.name = "llama-bpe", .splits = {kLlama3Pattern}, .gpt2_split = false, .ignore_merges = true, .add_bos = true},
    {.name = "qwen2", .splits = {kQwen2Pattern}, .gpt2_split = false, .nfc = true},
    {.name = "chatglm-bpe", .splits = {kLlama3Pattern}, .gpt2_split = false},
    {.name = "tekken", .splits = {kTekkenPattern}, .gpt2_split = false, .ignore_merges = true, .add_bos = true},
    {.name = "gpt-4o", .splits = {kGpt4oPattern}, .gpt2_split = false, .ignore_merges = true},
    {.name = "deepseek-v3",
     .splits = {R"(\p{N}{1,3})", "[一-龥\u3040-ゟ゠-ヿ]+", kDeepseekV3Pattern},
     .gpt2_split = false},
    {.name = "deepseek-llm",
     .splits = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-\uD7FF]+"},
     .gpt2_split = false,
     .single_digits = true},
};

// Other names of the same rules.
constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
    {"phi-2", "gpt-2"},      {"starcoder", "smollm"},   {"refact", "smollm"},     {"codeshell", "smollm"},
    {"llama3", "llama-bpe"}, {"llama-v3", "llama-bpe"}, {"falcon3", "llama-bpe"}, {"deepseek-r1-qwen", "qwen2"},
    {"megrez", "qwen2"},     {"glm4", "chatglm-bpe"},   {"llama4", "gpt-4o"},     {"deepseek-coder", "deepseek-llm"},
};

const PreRule* find_rule(std::string_view name) {
  for (const auto& [alias, rule] : kAliases) {
    if (alias == name) name = rule;
  }
  const auto found = std::find_if(std::begin(kRules), std::end(kRules), [&](const auto& r) { return r.name == name; });
  return found == std::end(kRules) ? nullptr : found;
}

Result<PreTokenizer> make_pre_tokenizer(const PreRule& rule, std::string_view where) {
  PreTokenizer all;
  for (std::string_view pattern : rule.splits) {
    if (pattern.empty()) continue;
    all.parts.push_back({.kind = Kind::kSplit});
    all.parts.back().regex = TRY(Regex::compile(pattern, where));
  }
  if (rule.single_digits) all.parts.push_back({.kind = Kind::kDigits});
  all.parts.push_back({.kind = Kind::kByteLevel});
  if (rule.gpt2_split) all.parts.back().regex = TRY(Regex::compile(kGpt2Pattern, where));
  return all;
}

// Bytes without a token vanish from a text. SmolLM2 lacks some control bytes, but no model lacks printable ASCII.
Result<void> check_bytes(const Vocabulary& vocabulary, std::string_view where) {
  for (int byte = ' '; byte <= '~'; ++byte) {
    const char character = static_cast<char>(byte);
    if (!vocabulary.id_of(to_byte_alphabet({&character, 1}))) {
      return error("{}: tokenizer.ggml.tokens lacks a token for the byte 0x{:02X}.", where, byte);
    }
  }
  return {};
}

Result<std::vector<std::pair<std::string, std::string>>> split_merges(const std::vector<std::string>& lines,
                                                                      std::string_view where) {
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(lines.size());
  for (const std::string& line : lines) {
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      return error("{}: tokenizer.ggml.merges[{}] must be two tokens with a space between; got {:?}.", where,
                   merges.size(), line);
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

constexpr int kUnknownType = 2, kControlType = 3, kUserDefinedType = 4;

// The frame's id where the file (or, if it does not say, the rule) asks for one.
Result<std::vector<int32_t>> framing_id(bool wanted, std::optional<int32_t> id, const Vocabulary& vocabulary,
                                        const char* key, std::string_view where) {
  if (!wanted) return std::vector<int32_t>();
  if (!id || !vocabulary.token_of(*id)) {
    return error("{}: the file asks for {} around a text, but names no token for it.", where, key);
  }
  return std::vector<int32_t>{*id};
}

}  // namespace

Result<Tokenizer> Tokenizer::from_gguf(const GgufVocabulary& source, std::string_view name) {
  const std::string where = fmt::format("[tokenizer] {}", name);
  if (source.model != "gpt2") {
    return error("{}: tokenizer.ggml.model {:?} is not supported; only byte-level BPE (\"gpt2\") is.", where,
                 source.model);
  }
  const PreRule* rule = find_rule(source.pre);
  if (!rule) {
    std::string known;
    for (const PreRule& each : kRules) known += fmt::format("{}{}", known.empty() ? "" : ", ", each.name);
    return error("{}: tokenizer.ggml.pre {:?} is not known. Known are {} and models that share one of these.", where,
                 source.pre, known);
  }
  if (!source.token_types.empty() && source.token_types.size() != source.tokens.size()) {
    return error("{}: {} token types for {} tokens.", where, source.token_types.size(), source.tokens.size());
  }
  auto impl = std::make_unique<Impl>();
  impl->name = name;
  for (size_t id = 0; id < source.tokens.size(); ++id) {
    if (find_invalid_utf8(source.tokens[id])) return error("{}: token {} is not UTF-8.", where, id);
    TRY(impl->vocabulary.add(source.tokens[id], static_cast<int32_t>(id), where));
  }
  impl->id_end = impl->vocabulary.id_end();
  TRY(check_bytes(impl->vocabulary, where));
  BpeOptions options{.ignore_merges = rule->ignore_merges};
  impl->model = TRY(make_bpe(impl->vocabulary, TRY(split_merges(source.merges, where)), std::move(options), where));
  if (rule->nfc) impl->normalizer.kind = Normalizer::Kind::kNfc;
  impl->pre_tokenizer = TRY(make_pre_tokenizer(*rule, where));
  for (size_t id = 0; id < source.token_types.size(); ++id) {
    const int32_t type = source.token_types[id];
    if (type != kUnknownType && type != kControlType && type != kUserDefinedType) continue;
    TRY(impl->add_token(
        {.id = static_cast<int32_t>(id), .content = source.tokens[id], .special = type != kUserDefinedType}, where));
  }
  impl->prefix = TRY(framing_id(source.add_bos.value_or(rule->add_bos && source.bos_id), source.bos_id,
                                impl->vocabulary, "BOS", where));
  impl->suffix = TRY(framing_id(source.add_eos.value_or(false), source.eos_id, impl->vocabulary, "EOS", where));
  impl->decoder = Decoder::kByteLevel;
  return Tokenizer(std::move(impl));
}

}  // namespace candor::text
