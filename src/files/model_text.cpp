#include "files/model_text.h"

#include "base/input_file.h"
#include "files/json_file.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLargestTokenizer = uint64_t{256} << 20, kLargestTemplate = uint64_t{4} << 20;
constexpr const char* kSpecialNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                         "pad_token", "cls_token", "mask_token"};

void set_tokenizer(Result<text::Tokenizer> tokenizer, const std::string& name, ModelFiles& model) {
  if (!tokenizer) {
    model.no_tokenizer = tokenizer.error().message;
  } else if (tokenizer->size() > model.config.vocab_size) {
    model.no_tokenizer = fmt::format("[{}] has token ids up to {}, and the model only {} embeddings.", name,
                                     tokenizer->size() - 1, model.config.vocab_size);
  } else {
    model.tokenizer = std::move(*tokenizer);
  }
}

void set_template(Result<std::string> source, ModelFiles& model) {
  if (!source) {
    model.no_chat_template = source.error().message;
  } else if (Result<text::ChatTemplate> parsed = text::ChatTemplate::parse(*source); parsed) {
    model.chat_template = std::move(*parsed);
  } else {
    model.no_chat_template =
        fmt::format("[{}] its chat template cannot be used: {}", model.path.string(), parsed.error().message);
  }
}

// "bos_token": "<s>" or "bos_token": {"content": "<s>", …}; the first file that has one wins.
void add_special_tokens(const Json& json, Json& special) {
  for (const char* name : kSpecialNames) {
    if (special.contains(name) || !json.is_object() || !json.contains(name)) continue;
    const Json& token = json[name];
    if (token.is_string())
      special[name] = token;
    else if (token.is_object() && token.contains("content") && token["content"].is_string())
      special[name] = token["content"];
  }
}

// A string, or a list of {"name", "template"}, of which "default" is meant.
Result<std::string> template_in(const Json& value, const std::string& name) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) {
    for (const Json& item : value) {
      if (!item.is_object() || !item.contains("name") || item["name"] != "default") continue;
      if (item.contains("template") && item["template"].is_string()) return item["template"].get<std::string>();
    }
  }
  return error("[{}] chat_template is neither a string nor a list with one named \"default\".", name);
}

Result<std::string> template_of(const fs::path& directory, const Json& tokenizer_config) {
  if (const fs::path path = directory / "chat_template.jinja"; path_exists(path))
    return read_file(path, kLargestTemplate);
  if (const fs::path path = directory / "chat_template.json"; path_exists(path)) {
    const Json json = TRY(read_json_file(path, kLargestTemplate));
    return template_in(json.is_object() && json.contains("chat_template") ? json["chat_template"] : Json(),
                       path.string());
  }
  if (tokenizer_config.is_object() && tokenizer_config.contains("chat_template")) {
    return template_in(tokenizer_config["chat_template"], (directory / "tokenizer_config.json").string());
  }
  return error("[{}] has no chat template.", directory.string());
}

Result<text::Tokenizer> tokenizer_of(const fs::path& directory) {
  const fs::path path = directory / "tokenizer.json";
  if (!path_exists(path)) {
    const bool other = path_exists(directory / "tokenizer.model") || path_exists(directory / "vocab.json");
    return error("[{}] has no tokenizer.json{}", directory.string(),
                 other ? "; tokenizer.model and vocab.json are not supported yet." : ".");
  }
  return text::Tokenizer::from_tokenizer_json(TRY(read_file(path, kLargestTokenizer)), path.string());
}

}  // namespace

Result<text::GgufVocabulary> vocabulary_of(const GgufFile& file) {
  text::GgufVocabulary vocabulary;
  const GgufArray* tokens = TRY(file.array("tokenizer.ggml.tokens"));
  const std::optional<std::string> model = TRY(file.string("tokenizer.ggml.model"));
  if (tokens == nullptr || !model) return error("[{}] holds no tokenizer.", file.path().string());
  vocabulary.model = *model;
  vocabulary.pre = TRY(file.string("tokenizer.ggml.pre"))
  .value_or("");
  vocabulary.tokens = tokens->strings;
  if (const GgufArray* merges = TRY(file.array("tokenizer.ggml.merges"))) vocabulary.merges = merges->strings;
  if (const GgufArray* types = TRY(file.array("tokenizer.ggml.token_type"))) {
    const std::optional<std::vector<int64_t>> numbers = types->integers();
    if (!numbers || types->count != vocabulary.tokens.size()) {
      return error("[{}] tokenizer.ggml.token_type is not one number for each token.", file.path().string());
    }
    for (const int64_t number : *numbers) vocabulary.token_types.push_back(static_cast<int32_t>(number));
  }
  auto id = [&](const char* key) -> Result<std::optional<int32_t>> {
    const std::optional<int64_t> value = TRY(file.integer(key));
    if (!value || *value < 0 || *value >= static_cast<int64_t>(vocabulary.tokens.size()))
      return std::optional<int32_t>();
    return std::optional(static_cast<int32_t>(*value));
  };
  vocabulary.bos_id = TRY(id("tokenizer.ggml.bos_token_id"));
  vocabulary.eos_id = TRY(id("tokenizer.ggml.eos_token_id"));
  vocabulary.unk_id = TRY(id("tokenizer.ggml.unknown_token_id"));
  vocabulary.pad_id = TRY(id("tokenizer.ggml.padding_token_id"));
  vocabulary.add_bos = TRY(file.boolean("tokenizer.ggml.add_bos_token"));
  vocabulary.add_eos = TRY(file.boolean("tokenizer.ggml.add_eos_token"));
  return vocabulary;
}

Result<std::string> chat_template_source(const fs::path& directory) {
  Json tokenizer_config;
  if (Result<Json> json = read_json_file(directory / "tokenizer_config.json")) tokenizer_config = std::move(*json);
  return template_of(directory, tokenizer_config);
}

void attach_text(const fs::path& directory, ModelFiles& model) {
  set_tokenizer(tokenizer_of(directory), (directory / "tokenizer.json").string(), model);
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    // Optional files; a damaged one shows as a template that is missing.
    if (const Result<Json> json = read_json_file(directory / name)) add_special_tokens(*json, model.special_tokens);
  }
  set_template(chat_template_source(directory), model);
}

void attach_text(const GgufFile& file, ModelFiles& model) {
  const std::string name = file.path().string();
  Result<text::GgufVocabulary> vocabulary = vocabulary_of(file);
  if (!vocabulary) {
    model.no_tokenizer = vocabulary.error().message;
  } else {
    const std::pair<const char*, std::optional<int32_t>> special[] = {{"bos_token", vocabulary->bos_id},
                                                                      {"eos_token", vocabulary->eos_id},
                                                                      {"unk_token", vocabulary->unk_id},
                                                                      {"pad_token", vocabulary->pad_id}};
    for (const auto& [key, id] : special) {
      if (id) model.special_tokens[key] = vocabulary->tokens[static_cast<size_t>(*id)];
    }
    set_tokenizer(text::Tokenizer::from_gguf(*vocabulary, name), name, model);
  }
  Result<std::optional<std::string>> source = file.string("tokenizer.chat_template");
  if (!source)
    model.no_chat_template = source.error().message;
  else if (!*source)
    model.no_chat_template = fmt::format("[{}] has no chat template.", name);
  else
    set_template(std::move(**source), model);
}

}  // namespace candor::files
