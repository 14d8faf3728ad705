#include "files/llama_shapes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "files/hf_config.h"
#include "files/json_file.h"

namespace candor::files {

namespace {

// Families with q, k, v and o, gate, up and down in every layer. What else they have (norms on queries and keys,
// further norms) is vectors, which no plan notices.
constexpr std::array<std::string_view, 10> kLikeLlama = {"mistral", "qwen3",  "smollm3",     "olmo2",   "phi3",
                                                         "gemma",   "gemma2", "gemma3_text", "exaone4", "granite"};

// The same model as a Llama: without the keys that only say how it computes.
Json as_llama(Json json, std::string_view family) {
  for (const char* key :
       {"architectures", "hidden_act", "hidden_activation", "rope_scaling", "rope_parameters", "layer_types"})
    json.erase(key);
  json["model_type"] = "llama";
  if (family.starts_with("gemma") && !json.contains("tie_word_embeddings")) json["tie_word_embeddings"] = true;
  return json;
}

}  // namespace

Result<ModelShapes> read_model_shapes(const std::filesystem::path& config_json) {
  const std::string name = config_json.string();
  const Json json = TRY(read_json_file(config_json));
  ModelShapes shapes;
  const bool named = json.is_object() && json.contains("model_type") && json["model_type"].is_string();
  const std::string family = named ? json["model_type"].get<std::string>() : "";
  if (std::find(kLikeLlama.begin(), kLikeLlama.end(), family) == kLikeLlama.end()) {
    shapes.config = TRY(config_from_json(json, name));
  } else {
    shapes.config = TRY(config_from_json(as_llama(json, family), name));
    shapes.note = fmt::format("{} is planned as a Llama of the same shapes; candor does not run {} yet.", name, family);
  }
  for (const char* key : {"dtype", "torch_dtype"})
    if (json.contains(key) && json[key].is_string() && json[key] == "bfloat16") shapes.weight_type = "BF16";
  return shapes;
}

}  // namespace candor::files
