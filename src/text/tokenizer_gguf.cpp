// The tokenizer of a GGUF file, for byte-level BPE ("gpt2").
#include "text/bpe_byte_alphabet.h"
#include "text/gguf_pre_rules.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace candor::text {
namespace {

using Kind = PreTokenizer::Kind;

Result<PreTokenizer> make_pre_tokenizer(const GgufPreRule& rule, std::string_view where) {
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
  const GgufPreRule* rule = find_pre_rule(source.pre);
  if (!rule) {
    return error("{}: tokenizer.ggml.pre {:?} is not known. Known are {} and models that share one of these.", where,
                 source.pre, known_pre_rules());
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
    if (!is_added_type(type)) continue;
    TRY(impl->add_token(
        {.id = static_cast<int32_t>(id), .content = source.tokens[id], .special = type != kUserDefinedType}, where));
  }
  impl->prefix = TRY(framing_id(begins_with_bos(source, *rule), source.bos_id, impl->vocabulary, "BOS", where));
  impl->suffix = TRY(framing_id(ends_with_eos(source), source.eos_id, impl->vocabulary, "EOS", where));
  impl->decoder = Decoder::kByteLevel;
  return Tokenizer(std::move(impl));
}

}  // namespace candor::text
