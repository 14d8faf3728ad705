#include "files/peft_adapter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "base/atomic_file.h"
#include "files/peft_config.h"
#include "files/safetensors.h"
#include "files/weight_names.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "base_model.model.";
constexpr const char *kBaseKey = "candor.base_sha256", *kPissaKey = "candor.pissa";

// The tensors of a module, as they stand in the file.
struct Found {
  const TensorInfo *a = nullptr, *b = nullptr, *magnitude = nullptr;
};
struct Ending {
  std::string_view text;  // of the name
  const TensorInfo* Found::*tensor;
  std::vector<float> LoraTensors::*values;
};
constexpr Ending kLinearEndings[] = {{".lora_A.weight", &Found::a, &LoraTensors::a},
                                     {".lora_B.weight", &Found::b, &LoraTensors::b},
                                     {".lora_magnitude_vector", &Found::magnitude, &LoraTensors::magnitude}};
constexpr Ending kEmbeddingEndings[] = {{".lora_embedding_A", &Found::a, &LoraTensors::a},
                                        {".lora_embedding_B", &Found::b, &LoraTensors::b},
                                        {".lora_magnitude_vector", &Found::magnitude, &LoraTensors::magnitude}};

// Python's re.fullmatch.
Result<bool> matches_whole(const std::string& pattern, std::string_view text) {
  int code = 0;
  PCRE2_SIZE place = 0;
  const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> compiled(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &place, nullptr),
      &pcre2_code_free);
  if (!compiled) {
    PCRE2_UCHAR reason[160] = {};
    pcre2_get_error_message(code, reason, sizeof(reason));
    return error("[adapter] \"{}\" is no regular expression: {} at character {}.", pattern,
                 reinterpret_cast<const char*>(reason), place);
  }
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> limits(
      pcre2_match_context_create(nullptr), &pcre2_match_context_free);
  pcre2_set_match_limit(limits.get(), 1'000'000);
  pcre2_set_heap_limit(limits.get(), 16 * 1024);  // KiB
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(compiled.get(), nullptr), &pcre2_match_data_free);
  const int found = pcre2_match(compiled.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                match.get(), limits.get());
  if (found >= 0 || found == PCRE2_ERROR_NOMATCH) return found >= 0;
  return error("[adapter] \"{}\" takes too long on \"{}\". Write a simpler expression or list the names.", pattern,
               text);
}

bool ends_in_name(std::string_view path, std::string_view name) {
  return path.size() > name.size() && path.ends_with(name) && path[path.size() - name.size() - 1] == '.';
}

// The first part that is a number, has two parts before it and one after: "model.layers.3.mlp.up_proj" gives 3. With a
// pattern: what stands before the number, behind the path's beginning or a dot, must match it.
Result<std::optional<int64_t>> layer_number(std::string_view path, const std::string* pattern) {
  for (size_t begin = 0, part = 0;; ++part) {
    const size_t dot = path.find('.', begin);
    if (dot == std::string_view::npos) return std::optional<int64_t>();
    int64_t number = 0;
    const auto [end, failure] = std::from_chars(path.data() + begin, path.data() + dot, number);
    const bool is_number = dot > begin && failure == std::errc() && end == path.data() + dot && number >= 0;
    if (is_number && pattern == nullptr && part >= 2) return std::optional(number);
    if (is_number && pattern != nullptr && part >= 1 &&
        TRY(matches_whole(fmt::format("(?:|.*\\.)(?:{})", *pattern), path.substr(0, begin - 1))))
      return std::optional(number);
    begin = dot + 1;
  }
}

}  // namespace

Result<bool> target_matches(const LoraConfig& config, std::string_view module) {
  if (is_saved_module(config, module)) return false;
  if (!config.target_regex.empty()) return matches_whole(config.target_regex, module);
  const auto& names = config.target_modules;
  const auto& layers = config.layers_to_transform;
  if (names.size() == 1 && names.front() == "all-linear") {
    if (!layers.empty()) {
      return error("[layers_to_transform] has no effect with all-linear in PEFT. List the modules in target_modules.");
    }
    return module != "lm_head" && !ends_in_name(module, "lm_head") && !is_adapted_embedding(module);
  }
  if (std::find(names.begin(), names.end(), module) != names.end()) return true;
  if (std::none_of(names.begin(), names.end(), [&](const std::string& name) { return ends_in_name(module, name); })) {
    return false;
  }
  if (layers.empty()) return true;
  std::optional<int64_t> layer;
  if (config.layers_pattern.empty()) layer = TRY(layer_number(module, nullptr));
  for (size_t i = 0; i < config.layers_pattern.size() && !layer; ++i)
    layer = TRY(layer_number(module, &config.layers_pattern[i]));
  return layer && std::find(layers.begin(), layers.end(), *layer) != layers.end();
}

namespace {

// What the first matching pattern says, or `otherwise`.
template <typename Number>
Result<Number> by_pattern(const std::vector<std::pair<std::string, Number>>& patterns, std::string_view module,
                          Number otherwise) {
  for (const auto& [pattern, number] : patterns)
    if (TRY(matches_whole(fmt::format("(?:.*\\.)?(?:{})", pattern), module))) return number;
  return otherwise;
}

}  // namespace

Result<PairSettings> pair_settings(const LoraConfig& config, std::string_view module) {
  const int64_t rank = TRY(by_pattern(config.rank_pattern, module, config.r));
  const double alpha = TRY(by_pattern(config.alpha_pattern, module, config.alpha));
  const auto r = static_cast<double>(rank);
  return PairSettings{rank, alpha / (config.use_rslora ? std::sqrt(r) : r)};
}

bool is_adapted_embedding(std::string_view module) {
  for (const char* name : {"embed_tokens", "wte", "wpe"})
    if (module == name || ends_in_name(module, name)) return true;
  return false;
}

bool is_saved_module(const LoraConfig& config, std::string_view module) {
  return std::any_of(config.modules_to_save.begin(), config.modules_to_save.end(),
                     [&](const std::string& name) { return module == name || ends_in_name(module, name); });
}

namespace {

// The path of the module of which `tensor` is a whole copy ("lm_head" for "lm_head.weight"); empty: of none.
std::string_view saved_module_of(const LoraConfig& config, std::string_view tensor) {
  const size_t dot = tensor.rfind('.');
  const std::string_view module = tensor.substr(0, dot == std::string_view::npos ? 0 : dot);
  const std::string_view last = tensor.substr(module.size());
  return (last == ".weight" || last == ".bias") && is_saved_module(config, module) ? module : std::string_view();
}

Result<std::vector<float>> finite_values(const SafetensorsFile& file, const TensorInfo& tensor) {
  std::vector<float> values = TRY(file.floats(tensor.name));
  const int64_t bad = first_non_finite(values.data(), static_cast<int64_t>(values.size()));
  if (bad < 0) return values;
  const int64_t row = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
  return error("[{}] tensor \"{}\" holds {} in row {}.", file.path().string(), tensor.name,
               values[static_cast<size_t>(bad)], bad / row);
}

// A tensor that is neither one of kEndings nor named by modules_to_save.
Error unknown_tensor(std::string_view name, const std::string& file) {
  return error("[{}] tensor \"{}\" is no LoRA matrix of a linear layer or embedding; others are not supported yet.",
               file, name);
}

std::span<const Ending> endings_of(std::string_view module) {
  return is_adapted_embedding(module) ? std::span<const Ending>(kEmbeddingEndings) : kLinearEndings;
}

Result<LoraTensors> read_pair(const LoraConfig& config, const std::string& module, const Found& found,
                              const SafetensorsFile& file) {
  const std::string name = file.path().string();
  if (found.a == nullptr || found.b == nullptr)
    return error("[{}] module \"{}\" has only one of lora_A and lora_B.", name, module);
  const int64_t r = TRY(pair_settings(config, module))
  .rank;
  const auto &a = found.a->shape, &b = found.b->shape;
  if (a.size() != 2 || b.size() != 2 || a[0] != r || b[1] != r) {
    return error(
        "[{}] module \"{}\" has A [{}] and B [{}]; rank {} of adapter_config.json asks for A [{}, in] and B "
        "[out, {}].",
        name, module, fmt::join(a, ", "), fmt::join(b, ", "), r, r, r);
  }
  if ((found.magnitude != nullptr) != config.use_dora)
    return error("[{}] module \"{}\" has {}lora_magnitude_vector, and use_dora of adapter_config.json is {}.", name,
                 module, found.magnitude != nullptr ? "a " : "no ", config.use_dora);
  if (found.magnitude != nullptr && found.magnitude->shape != std::vector<int64_t>{b[0]})
    return error("[{}] module \"{}\" has a lora_magnitude_vector [{}] beside B [{}].", name, module,
                 fmt::join(found.magnitude->shape, ", "), fmt::join(b, ", "));
  if (!TRY(target_matches(config, module)))
    return error("[{}] holds tensors for \"{}\", which target_modules of adapter_config.json does not name.", name,
                 module);
  LoraTensors pair{.module = module, .rank = r, .in = a[1], .out = b[0]};
  for (const Ending& ending : endings_of(module))
    if (const TensorInfo* tensor = found.*ending.tensor) pair.*ending.values = TRY(finite_values(file, *tensor));
  return pair;
}

bool holds_weights_of(const PeftAdapter& adapter, const std::string& name) {
  LoraConfig one;
  one.modules_to_save = {name};
  return std::any_of(adapter.saved_weights.begin(), adapter.saved_weights.end(),
                     [&](const FloatTensor& weight) { return !saved_module_of(one, weight.name).empty(); });
}

// Of a classifier's adapter, PEFT's modules_to_save names "classifier" and "score" on its own, which may repeat a name,
// and names a module that the model lacks.
void drop_what_peft_added(PeftAdapter& adapter) {
  std::vector<std::string> names;
  for (std::string& name : adapter.config.modules_to_save) {
    const bool lacking = name == "classifier" && !holds_weights_of(adapter, name) && holds_weights_of(adapter, "score");
    if (!lacking && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
  }
  adapter.config.modules_to_save = std::move(names);
}

// Each name of modules_to_save must have weights.
Result<void> check_all_saved(const PeftAdapter& adapter, const std::string& file) {
  for (const std::string& name : adapter.config.modules_to_save) {
    if (holds_weights_of(adapter, name)) continue;
    return error("[{}] holds no weights of \"{}\", which modules_to_save of adapter_config.json names.", file, name);
  }
  return {};
}

}  // namespace

Result<PeftAdapter> read_peft_adapter(const fs::path& directory) {
  const fs::path config = directory / "adapter_config.json", model = directory / "adapter_model.safetensors";
  PeftAdapter adapter;
  adapter.config = TRY(lora_config_from_json(TRY(read_json_file(config)), config.string()));
  const SafetensorsFile file = TRY(SafetensorsFile::open(model));
  if (const auto mark = file.metadata().find(kBaseKey); mark != file.metadata().end())
    adapter.config.base_fingerprint = mark->second;
  adapter.config.frozen_half = file.metadata().contains(kPissaKey);
  std::map<std::string, Found, std::less<>> found;
  for (const TensorInfo& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    const std::string_view in_base = name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : "";
    if (!saved_module_of(adapter.config, in_base).empty()) {
      adapter.saved_weights.push_back({ std::string(in_base), tensor.shape, TRY(finite_values(file, tensor)) });
      continue;
    }
    if (in_base.ends_with(".base_layer.weight")) continue;
    const Ending* known = nullptr;
    std::string_view module;
    for (const bool embedding : {false, true})
      for (const Ending& ending : embedding ? std::span<const Ending>(kEmbeddingEndings) : kLinearEndings) {
        const std::string_view path = in_base.substr(0, in_base.size() - std::min(in_base.size(), ending.text.size()));
        if (!in_base.ends_with(ending.text) || is_adapted_embedding(path) != embedding) continue;
        known = &ending;
        module = path;
      }
    if (known == nullptr) return unknown_tensor(name, model.string());
    found[std::string(module)].*known->tensor = &tensor;
  }
  for (const auto& [module, tensors] : found) {
    adapter.pairs.push_back(TRY(read_pair(adapter.config, module, tensors, file)));
    if (adapter.config.frozen_half && (adapter.pairs.back().rank % 2 != 0 || adapter.config.use_dora))
      return error("[{}] metadata \"{}\" says that half of the ranks of \"{}\" are frozen; {}.", model.string(),
                   kPissaKey, module,
                   adapter.config.use_dora ? "with DoRA that is not supported" : "they are an odd number");
  }
  if (adapter.pairs.empty()) return error("[{}] holds no LoRA matrices.", model.string());
  std::sort(adapter.saved_weights.begin(), adapter.saved_weights.end(),
            [](const FloatTensor& a, const FloatTensor& b) { return a.name < b.name; });
  drop_what_peft_added(adapter);
  TRY(check_all_saved(adapter, model.string()));
  return adapter;
}

PeftFiles encode_peft_adapter(const PeftAdapter& adapter) {
  std::vector<FloatTensor> tensors;
  std::vector<std::string> modules;
  for (const LoraTensors& pair : adapter.pairs) {
    modules.push_back(pair.module);
    for (const Ending& ending : endings_of(pair.module)) {
      const std::vector<float>& values = pair.*ending.values;
      if (values.empty()) continue;
      const std::vector<int64_t> shape = ending.values == &LoraTensors::a   ? std::vector<int64_t>{pair.rank, pair.in}
                                         : ending.values == &LoraTensors::b ? std::vector<int64_t>{pair.out, pair.rank}
                                                                            : std::vector<int64_t>{pair.out};
      tensors.push_back({fmt::format("{}{}{}", kPrefix, pair.module, ending.text), shape, values});
    }
  }
  for (const FloatTensor& weight : adapter.saved_weights) {
    tensors.push_back({fmt::format("{}{}", kPrefix, weight.name), weight.shape, weight.values});
  }
  SafetensorsMetadata metadata;
  if (!adapter.config.base_fingerprint.empty()) metadata[kBaseKey] = adapter.config.base_fingerprint;
  if (adapter.config.frozen_half) metadata[kPissaKey] = "the last half of the ranks is frozen";
  // A token classifier's score head has a bias, a sequence classifier's has none.
  const bool of_tokens = std::any_of(adapter.saved_weights.begin(), adapter.saved_weights.end(),
                                     [](const FloatTensor& weight) { return weight.name == "score.bias"; });
  const std::string_view task = of_tokens                                  ? "TOKEN_CLS"
                                : is_saved_module(adapter.config, "score") ? "SEQ_CLS"
                                                                           : "CAUSAL_LM";
  return {lora_config_to_json(adapter.config, modules, task), encode_safetensors(tensors, metadata)};
}

Result<void> write_peft_adapter(const fs::path& directory, const PeftAdapter& adapter) {
  const PeftFiles files = encode_peft_adapter(adapter);
  TRY(make_directories(directory));
  TRY(write_file_atomically(directory / "adapter_model.safetensors", files.adapter_model_safetensors));
  return write_file_atomically(directory / "adapter_config.json", files.adapter_config_json);
}

}  // namespace candor::files
