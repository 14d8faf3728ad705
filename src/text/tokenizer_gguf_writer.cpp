#include "text/tokenizer_gguf_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "text/gguf_pre_rules.h"
#include "text/tokenizer_fields.h"

namespace candor::text {

using nlohmann::json;

namespace {

constexpr int32_t kNormalType = 1, kUnusedType = 5;

// Texts on which the rules differ: contractions, digits, white space, scripts, signs, line ends.
constexpr std::string_view kProbes[] = {
    "Hello, world! It's they'RE we'll 'tis",
    "12345 1,000.50 x2y3 2026-11-22",
    "  two  spaces\tand\n\nlines \r\n end ",
    "naïve café Ünïcödé Straße e\u0301",
    "你好，世界。日本語のテキスト 한국어 ไทย नमस्ते",
    "def f(x): return x**2 # -> {[<|>]}; a_b/c\\d @#$%^&*",
    "🙂👩‍👩‍👧 ½ ² ① Ⅳ ٣ CamelCaseWords HTMLParser iPhone",
};

json part(const json& root, const char* key) {
  return root.contains(key) ? root[key] : json();
}

// The members of a Sequence; anything else is its own only member.
std::vector<json> members(const json& component, const char* key) {
  if (component.is_null()) return {};
  if (component.is_object() && component.value("type", json()) == "Sequence" && component.contains(key))
    return component[key];
  return {component};
}

// What a rule of gguf_pre_rules.h is made of.
struct Shape {
  std::vector<std::string> splits;
  bool single_digits = false, gpt2_split = false, byte_level = false;
};

Result<Shape> shape_of(const json& pre_tokenizer, const std::string& where) {
  Shape shape;
  for (const json& member : members(pre_tokenizer, "pretokenizers")) {
    const std::string type = member.is_object() ? member.value("type", "") : "";
    const json pattern = part(member, "pattern");
    if (shape.byte_level) return error("{}: a pre-tokenizer behind ByteLevel has no name in GGUF.", where);
    if (type == "Split" && !shape.single_digits && pattern.is_object() && pattern.contains("Regex") &&
        part(member, "behavior") == "Isolated" && part(member, "invert") != true) {
      shape.splits.push_back(pattern["Regex"].get<std::string>());
    } else if (type == "Digits" && part(member, "individual_digits") == true) {
      shape.single_digits = true;
    } else if (type == "ByteLevel" && part(member, "add_prefix_space") == false) {
      shape.byte_level = true;
      shape.gpt2_split = part(member, "use_regex") != false;
    } else {
      return error("{}: the pre-tokenizer {} has no name in GGUF.", where,
                   member.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 120));
    }
  }
  if (!shape.byte_level) return error("{}: only byte-level BPE can be written into a GGUF file.", where);
  return shape;
}

bool is_rule(const GgufPreRule& rule, const Shape& shape, bool nfc, bool ignore_merges) {
  const auto end = std::find(rule.splits.begin(), rule.splits.end(), std::string_view());
  return std::equal(rule.splits.begin(), end, shape.splits.begin(), shape.splits.end()) &&
         rule.single_digits == shape.single_digits && rule.gpt2_split == shape.gpt2_split && rule.nfc == nfc &&
         rule.ignore_merges == ignore_merges;
}

// The name of the rule that these components are.
Result<std::string> pre_name(const json& root, const std::string& where) {
  const Shape shape = TRY(shape_of(part(root, "pre_tokenizer"), where));
  bool nfc = false;
  for (const json& member : members(part(root, "normalizer"), "normalizers")) {
    if (!member.is_object() || part(member, "type") != "NFC")
      return error("{}: its normalizer has no name in GGUF.", where);
    nfc = true;
  }
  const bool ignore_merges = part(root["model"], "ignore_merges") == true;
  for (const GgufPreRule& rule : pre_rules()) {
    if (is_rule(rule, shape, nfc, ignore_merges)) return std::string(rule.name);
  }
  return error("{}: its pre-tokenizer has no name in GGUF; those of {} have.", where, known_pre_rules());
}

Result<void> add_tokens(const json& root, const Tokenizer& tokenizer, int64_t size, const std::string& where,
                        GgufVocabulary& vocabulary) {
  for (int64_t id = 0; id < size; ++id) {
    std::optional<std::string> token = tokenizer.id_to_token(static_cast<int32_t>(id));
    vocabulary.token_types.push_back(token ? kNormalType : kUnusedType);
    vocabulary.tokens.push_back(token ? std::move(*token) : fmt::format("[PAD{}]", id));
  }
  for (const json& token : part(root, "added_tokens")) {
    const auto id = token.at("id").get<size_t>();
    for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
      if (part(token, flag) != true) continue;
      return error("{}: the added token {:?} has \"{}\", which a GGUF file cannot say.", where, vocabulary.tokens[id],
                   flag);
    }
    vocabulary.token_types[id] = part(token, "special") == true ? kControlType : kUserDefinedType;
  }
  for (const json& merge : part(root["model"], "merges")) {
    const std::string line =
        merge.is_string() ? merge.get<std::string>() : merge[0].get<std::string>() + ' ' + merge[1].get<std::string>();
    if (merge.is_string() && line.starts_with("#version")) continue;
    vocabulary.merges.push_back(line);
  }
  return {};
}

// What the post-processor puts around a text: one token before it, one behind it, or none.
Result<void> add_frame(const Tokenizer& tokenizer, const std::string& where, GgufVocabulary& vocabulary) {
  const std::vector<int32_t> plain = TRY(tokenizer.encode("a", {}));
  const std::vector<int32_t> framed = TRY(tokenizer.encode("a", {.add_special_tokens = true}));
  const auto text = std::search(framed.begin(), framed.end(), plain.begin(), plain.end());
  const auto before = text - framed.begin(), behind = framed.end() - text - static_cast<int64_t>(plain.size());
  if (before > 1 || behind > 1)
    return error("{}: it puts {} tokens before a text and {} behind it; a GGUF file can say one.", where, before,
                 behind);
  vocabulary.add_bos = before == 1;
  vocabulary.add_eos = behind == 1;
  if (before == 1) vocabulary.bos_id = framed.front();
  if (behind == 1) vocabulary.eos_id = framed.back();
  return {};
}

}  // namespace

Result<GgufVocabulary> gguf_vocabulary_of(std::string_view text, const Tokenizer& tokenizer, std::string_view name,
                                          int64_t size) {
  const std::string where = fmt::format("[tokenizer] {}", name);
  CHECK(size >= tokenizer.size());
  const json root = json::parse(text, nullptr, false);
  CHECK(root.is_object() && root.contains("model"));  // `tokenizer` was read from it
  if (part(root["model"], "type") == "WordLevel")
    return error("{}: a WordLevel tokenizer cannot be written into a GGUF file; byte-level BPE can.", where);
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = TRY(pre_name(root, where));
  TRY(add_tokens(root, tokenizer, size, where, vocabulary));
  TRY(add_frame(tokenizer, where, vocabulary));
  const Tokenizer written = TRY(Tokenizer::from_gguf(vocabulary, name));
  for (const std::string_view probe : kProbes) {
    if (TRY(written.encode(probe, {})) == TRY(tokenizer.encode(probe, {}))) continue;
    return error("{}: as a GGUF tokenizer ({}) it would give other ids for {:?}. It is not written.", where,
                 vocabulary.pre, probe);
  }
  return vocabulary;
}

}  // namespace candor::text
