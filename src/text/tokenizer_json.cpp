// Hugging Face's tokenizer.json. What this version does not support is refused by name; "truncation" and "padding" are
// not read, because the caller decides about both.
#include <algorithm>

#include "text/tokenizer_fields.h"
#include "text/tokenizer_impl.h"

namespace candor::text {

using nlohmann::json;

namespace {

Result<void> read_vocabulary(const json& model, int64_t id_limit, std::string_view where, Vocabulary& vocabulary) {
  const auto vocab = model.find("vocab");
  if (vocab == model.end() || !vocab->is_object()) return error("{}: \"vocab\" must be an object.", where);
  for (const auto& [token, id] : vocab->items()) {
    TRY(vocabulary.add(token, TRY(id_value(id, id_limit, where)), where));
  }
  return {};
}

// Merges are pairs, or in older files strings "left right" with an optional "#version" line.
Result<std::vector<std::pair<std::string, std::string>>> read_merges(const json& model, std::string_view where) {
  std::vector<std::pair<std::string, std::string>> merges;
  const auto list = model.find("merges");
  if (list == model.end() || !list->is_array()) return error("{}: \"merges\" must be an array.", where);
  for (const json& merge : *list) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    if (merge.is_string()) {
      const std::string line = merge.get<std::string>();
      if (line.starts_with("#version")) continue;
      const size_t space = line.find(' ');
      if (space != std::string::npos && line.find(' ', space + 1) == std::string::npos) {
        merges.emplace_back(line.substr(0, space), line.substr(space + 1));
        continue;
      }
    }
    return error("{}: merge {} must be two tokens; got {}.", where, merges.size(),
                 merge.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 80));
  }
  return merges;
}

Result<Bpe> read_bpe(const json& model, const Vocabulary& vocabulary, std::string_view where) {
  if (const auto dropout = model.find("dropout"); dropout != model.end() && !dropout->is_null()) {
    if (!dropout->is_number() || dropout->get<double>() != 0) {
      return error("{}: BPE dropout is not supported; set \"dropout\" to null.", where);
    }
  }
  if (TRY(bool_field(model, "byte_fallback", false, where))) return unsupported(where, "byte_fallback");
  BpeOptions options;
  options.unk_token = TRY(optional_string_field(model, "unk_token", where));
  options.continuing_subword_prefix = TRY(optional_string_field(model, "continuing_subword_prefix", where));
  options.end_of_word_suffix = TRY(optional_string_field(model, "end_of_word_suffix", where));
  options.fuse_unk = TRY(bool_field(model, "fuse_unk", false, where));
  options.ignore_merges = TRY(bool_field(model, "ignore_merges", false, where));
  return make_bpe(vocabulary, TRY(read_merges(model, where)), std::move(options), where);
}

// The ids that the post-processor puts around a text.
struct Frame {
  std::vector<int32_t> prefix, suffix;
};

Result<std::vector<int32_t>> known_ids(const json& ids, const Vocabulary& vocabulary, const AddedTokens& added,
                                       std::string_view where) {
  if (!ids.is_array()) return error("{}: \"ids\" must be an array.", where);
  std::vector<int32_t> known;
  for (const json& value : ids) {
    const int32_t id = TRY(id_value(value, INT32_MAX, where));
    if (!added.find(id) && !vocabulary.token_of(id)) return error("{}: no token has the id {}.", where, id);
    known.push_back(id);
  }
  return known;
}

Result<Frame> read_template(const json& config, const Vocabulary& vocabulary, const AddedTokens& added,
                            std::string_view where) {
  const auto single = config.find("single");
  const auto tokens = config.find("special_tokens");
  if (single == config.end() || !single->is_array()) return error("{}: \"single\" must be an array.", where);
  if (tokens == config.end() || !tokens->is_object()) return error("{}: \"special_tokens\" must be an object.", where);
  Frame frame;
  int texts = 0;
  for (const json& item : *single) {
    const bool is_text = item.is_object() && item.contains("Sequence");
    const auto special = item.is_object() ? item.find("SpecialToken") : item.end();
    if (is_text) {
      ++texts;
    } else if (special != item.end() && special->is_object()) {
      const std::string name = TRY(string_field(*special, "id", where));
      const auto token = tokens->find(name);
      if (token == tokens->end() || !token->is_object() || !token->contains("ids")) {
        return error("{}: the template uses {:?}, which its \"special_tokens\" do not list.", where, name);
      }
      const auto ids = TRY(known_ids((*token)["ids"], vocabulary, added, where));
      auto& side = texts == 0 ? frame.prefix : frame.suffix;
      side.insert(side.end(), ids.begin(), ids.end());
    } else {
      return error("{}: an item of \"single\" must be a Sequence or a SpecialToken.", where);
    }
  }
  if (texts != 1) return error("{}: \"single\" must hold the text exactly once; it does {} times.", where, texts);
  return frame;
}

Result<Frame> read_post_processor(const json& config, const Vocabulary& vocabulary, const AddedTokens& added,
                                  std::string_view where, int depth = 0) {
  Frame frame;
  if (config.is_null()) return frame;
  const std::string type = TRY(component_type(config, where));
  if (type == "TemplateProcessing") return read_template(config, vocabulary, added, where);
  if (type == "Sequence") {
    for (const json& part : *TRY(sequence_field(config, "processors", depth, where))) {
      const Frame outer = TRY(read_post_processor(part, vocabulary, added, where, depth + 1));
      frame.prefix.insert(frame.prefix.begin(), outer.prefix.begin(), outer.prefix.end());
      frame.suffix.insert(frame.suffix.end(), outer.suffix.begin(), outer.suffix.end());
    }
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    for (const auto& [key, side] : {std::pair("cls", &frame.prefix), std::pair("sep", &frame.suffix)}) {
      const auto pair = config.find(key);
      if (pair == config.end() || !pair->is_array() || pair->size() != 2) {
        return error("{}: \"{}\" must be [token, id].", where, key);
      }
      *side = TRY(known_ids(json::array({(*pair)[1]}), vocabulary, added, where));
    }
  } else if (type != "ByteLevel") {  // ByteLevel only trims offsets
    return unsupported(where, type);
  }
  return frame;
}

Result<Decoder> read_decoder(const json& config, std::string_view where) {
  if (config.is_null()) return Decoder::kJoinWithSpaces;
  const std::string type = TRY(component_type(config, where));
  if (type != "ByteLevel") return unsupported(where, type);
  return Decoder::kByteLevel;
}

Result<AddedToken> read_added_token(const json& config, int64_t id_limit, std::string_view where) {
  if (!config.is_object() || !config.contains("id")) return error("{}: each must be an object with an \"id\".", where);
  AddedToken token;
  token.id = TRY(id_value(config["id"], id_limit, where));
  token.content = TRY(string_field(config, "content", where));
  token.single_word = TRY(bool_field(config, "single_word", std::nullopt, where));
  token.lstrip = TRY(bool_field(config, "lstrip", std::nullopt, where));
  token.rstrip = TRY(bool_field(config, "rstrip", std::nullopt, where));
  token.normalized = TRY(bool_field(config, "normalized", std::nullopt, where));
  token.special = TRY(bool_field(config, "special", std::nullopt, where));
  return token;
}

Result<void> check_head(const json& root, const std::string& file) {
  static constexpr const char* kKeys[] = {"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                          "pre_tokenizer", "post_processor", "decoder", "model"};
  for (const auto& [key, value] : root.items()) {
    if (std::find(std::begin(kKeys), std::end(kKeys), key) == std::end(kKeys)) {
      return error("{}: unknown key {:?}. This version reads tokenizer.json 1.0.", file, key);
    }
  }
  if (const auto version = root.find("version"); version != root.end() && *version != "1.0") {
    return error("{}: \"version\" must be \"1.0\".", file);
  }
  return {};
}

}  // namespace

Result<Tokenizer> Tokenizer::from_tokenizer_json(std::string_view text, std::string_view name) {
  const std::string file = fmt::format("[tokenizer] {}", name);
  const json root = json::parse(text, nullptr, false);
  if (!root.is_object()) return error("{}: a tokenizer.json must be a JSON object; this is none.", file);
  TRY(check_head(root, file));
  const auto part = [&](const char* key) { return root.contains(key) ? root[key] : json(); };
  const auto where = [&](const char* key) { return fmt::format("{}: {}", file, key); };

  auto impl = std::make_unique<Impl>();
  impl->name = name;
  // Ids up to the file's size in bytes, so that a gap cannot ask for more memory than the file justifies.
  const auto id_limit = static_cast<int64_t>(text.size());
  const auto model = root.find("model");
  if (model == root.end() || !model->is_object()) return error("{}: \"model\" must be an object.", file);
  const std::string type = model->contains("type") ? TRY(string_field(*model, "type", where("model"))) : "BPE";
  if (type != "BPE" && type != "WordLevel") return unsupported(where("model"), type);
  TRY(read_vocabulary(*model, id_limit, where("model"), impl->vocabulary));
  impl->id_end = impl->vocabulary.id_end();
  if (type == "BPE") {
    impl->model = TRY(read_bpe(*model, impl->vocabulary, where("model")));
  } else {
    impl->model = WordLevel {
      TRY(string_field(*model, "unk_token", where("model")))
    };
  }
  impl->normalizer = TRY(parse_normalizer(part("normalizer"), where("normalizer")));
  impl->pre_tokenizer = TRY(parse_pre_tokenizer(part("pre_tokenizer"), where("pre_tokenizer")));
  const json added = part("added_tokens");
  if (!added.is_null() && !added.is_array()) return error("{} must be an array.", where("added_tokens"));
  for (const json& token : added) {
    TRY(impl->add_token(TRY(read_added_token(token, id_limit, where("added_tokens"))), file));
  }
  Frame frame =
      TRY(read_post_processor(part("post_processor"), impl->vocabulary, impl->added, where("post_processor")));
  impl->prefix = std::move(frame.prefix);
  impl->suffix = std::move(frame.suffix);
  impl->decoder = TRY(read_decoder(part("decoder"), where("decoder")));
  return Tokenizer(std::move(impl));
}

}  // namespace candor::text
