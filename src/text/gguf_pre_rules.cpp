#include "text/gguf_pre_rules.h"

#include <algorithm>
#include <utility>

namespace candor::text {
namespace {

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

constexpr GgufPreRule kRules[] = {
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

}  // namespace

const GgufPreRule* find_pre_rule(std::string_view name) {
  for (const auto& [alias, rule] : kAliases) {
    if (alias == name) name = rule;
  }
  const auto found = std::find_if(std::begin(kRules), std::end(kRules), [&](const auto& r) { return r.name == name; });
  return found == std::end(kRules) ? nullptr : found;
}

std::span<const GgufPreRule> pre_rules() {
  return kRules;
}

std::string known_pre_rules() {
  std::string names;
  for (const GgufPreRule& rule : kRules) names.append(names.empty() ? "" : ", ").append(rule.name);
  return names;
}

}  // namespace candor::text
