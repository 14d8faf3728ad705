#include "text/tokenizer_json_writer.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "text/gguf_pre_rules.h"

namespace candor::text {
namespace {

using Json = nlohmann::ordered_json;

Json pre_tokenizer(const GgufPreRule& rule) {
  Json parts = Json::array();
  for (const std::string_view pattern : rule.splits) {
    if (pattern.empty()) continue;
    parts.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  if (rule.single_digits) parts.push_back({{"type", "Digits"}, {"individual_digits", true}});
  parts.push_back(
      {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", rule.gpt2_split}});
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

Json added_tokens(const GgufVocabulary& vocabulary) {
  Json tokens = Json::array();
  for (size_t id = 0; id < vocabulary.token_types.size(); ++id) {
    if (!is_added_type(vocabulary.token_types[id])) continue;
    tokens.push_back({{"id", id},
                      {"content", vocabulary.tokens[id]},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", vocabulary.token_types[id] != kUserDefinedType}});
  }
  return tokens;
}

Json special_token(const std::string& token, int type) {
  return {{"SpecialToken", {{"id", token}, {"type_id", type}}}};
}

// A template that puts BOS and EOS around a text and around a pair of texts; null where neither is asked for.
Json post_processor(const GgufVocabulary& vocabulary, const GgufPreRule& rule) {
  std::string bos, eos;  // from_gguf made sure that there are such tokens where they are asked for
  if (begins_with_bos(vocabulary, rule)) bos = vocabulary.tokens[static_cast<size_t>(*vocabulary.bos_id)];
  if (ends_with_eos(vocabulary)) eos = vocabulary.tokens[static_cast<size_t>(*vocabulary.eos_id)];
  if (bos.empty() && eos.empty()) return nullptr;
  auto framed = [&](const char* text, int type, Json& into) {
    if (!bos.empty()) into.push_back(special_token(bos, type));
    into.push_back({{"Sequence", {{"id", text}, {"type_id", type}}}});
    if (!eos.empty()) into.push_back(special_token(eos, type));
  };
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  framed("A", 0, single);
  framed("A", 0, pair);
  framed("B", 1, pair);
  for (const auto& [token, id] : {std::pair(bos, vocabulary.bos_id), std::pair(eos, vocabulary.eos_id)}) {
    if (!token.empty()) tokens[token] = {{"id", token}, {"ids", Json::array({*id})}, {"tokens", Json::array({token})}};
  }
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

}  // namespace

Result<std::string> tokenizer_json_of(const GgufVocabulary& vocabulary, std::string_view name) {
  TRY(Tokenizer::from_gguf(vocabulary, name));  // for its checks
  const GgufPreRule* rule = find_pre_rule(vocabulary.pre);
  CHECK(rule != nullptr);
  Json vocab = Json::object();
  auto& entries = vocab.get_ref<Json::object_t&>();  // appended without a search: no token comes twice
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) entries.emplace_back(vocabulary.tokens[id], id);
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added_tokens(vocabulary)},
                     {"normalizer", rule->nfc ? Json{{"type", "NFC"}} : Json()},
                     {"pre_tokenizer", pre_tokenizer(*rule)},
                     {"post_processor", post_processor(vocabulary, *rule)},
                     {"decoder", byte_level},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", rule->ignore_merges},
                       {"vocab", std::move(vocab)},
                       {"merges", vocabulary.merges}}}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace candor::text
