#include "files/model_text_writer.h"

#include <algorithm>

#include "base/input_file.h"
#include "files/gguf.h"
#include "files/json_file.h"
#include "files/model_text.h"
#include "text/tokenizer_json_writer.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

// What belongs to text in a Hugging Face directory, whoever wrote it.
constexpr const char* kTextFiles[] = {"tokenizer.json",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "merges.txt",
                                      "tokenizer.model",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "generation_config.json"};

Result<void> copy_file(const fs::path& path, OutputFile& out) {
  const InputFile file = TRY(InputFile::open(path));
  std::string part;
  for (uint64_t at = 0; at < file.size(); at += part.size()) {
    part.resize(std::min<uint64_t>(file.size() - at, 1 << 20));
    TRY(file.read(at, part.data(), part.size()));
    TRY(out.write(part));
  }
  return {};
}

std::string pretty(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// What a GGUF file's tokenizer and its settings say, in Transformers' words.
Result<std::vector<NamedContent>> tokenizer_files(const GgufFile& file, const ModelFiles& source) {
  std::vector<NamedContent> files;
  const text::GgufVocabulary vocabulary = TRY(vocabulary_of(file));
  files.push_back(named_bytes("tokenizer.json", TRY(text::tokenizer_json_of(vocabulary, file.path().string()))));
  Json config = source.special_tokens;
  if (!config.empty()) files.push_back(named_bytes("special_tokens_map.json", pretty(config)));
  config["tokenizer_class"] = "PreTrainedTokenizerFast";  // Transformers rebuilds the chain of any other class
  config["clean_up_tokenization_spaces"] = false;
  config["model_max_length"] = source.config.max_positions;
  if (const auto chat_template = TRY(file.string("tokenizer.chat_template"))) config["chat_template"] = *chat_template;
  files.push_back(named_bytes("tokenizer_config.json", pretty(config)));
  return files;
}

std::string generation_config(const ModelConfig& config) {
  Json json = Json::object();
  if (config.bos_id) json["bos_token_id"] = *config.bos_id;
  if (config.eos_ids.size() == 1) json["eos_token_id"] = config.eos_ids.front();
  if (config.eos_ids.size() > 1) json["eos_token_id"] = config.eos_ids;
  if (config.pad_id) json["pad_token_id"] = *config.pad_id;
  return pretty(json);
}

}  // namespace

Result<std::vector<NamedContent>> text_files(const ModelFiles& source) {
  std::vector<NamedContent> files;
  if (source.format == "gguf") {
    if (source.tokenizer) files = TRY(tokenizer_files(TRY(GgufFile::open(source.path)), source));
    files.push_back(named_bytes("generation_config.json", generation_config(source.config)));
    return files;
  }
  for (const char* name : kTextFiles) {
    const fs::path path = source.path / name;
    if (path_exists(path)) files.push_back({name, [path](OutputFile& out) { return copy_file(path, out); }});
  }
  return files;
}

}  // namespace candor::files
