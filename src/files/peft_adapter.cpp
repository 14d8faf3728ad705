#include "files/peft_adapter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "base/atomic_file.h"
#include "files/peft_config.h"
#include "files/safetensors.h"
#include "files/weight_names.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "base_model.model.", kA = ".lora_A.weight", kB = ".lora_B.weight";
constexpr const char* kBaseKey = "candor.base_sha256";

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
    return error("[target_modules] \"{}\" is no regular expression: {} at character {}.", pattern,
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
  return error("[target_modules] \"{}\" takes too long on \"{}\". Write a simpler expression or list the names.",
               pattern, text);
}

bool ends_in_name(std::string_view path, std::string_view name) {
  return path.size() > name.size() && path.ends_with(name) && path[path.size() - name.size() - 1] == '.';
}

// The first part that is a number, has two parts before it and one after: "model.layers.3.mlp.up_proj" gives 3.
std::optional<int64_t> layer_number(std::string_view path) {
  for (int part = 0; !path.empty(); ++part) {
    const size_t dot = path.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    int64_t number = 0;
    const auto [end, failure] = std::from_chars(path.data(), path.data() + dot, number);
    if (part >= 2 && dot > 0 && failure == std::errc() && end == path.data() + dot && number >= 0) return number;
    path.remove_prefix(dot + 1);
  }
  return std::nullopt;
}

}  // namespace

Result<bool> target_matches(const LoraConfig& config, std::string_view module) {
  if (!config.target_regex.empty()) return matches_whole(config.target_regex, module);
  const auto& names = config.target_modules;
  const auto& layers = config.layers_to_transform;
  if (names.size() == 1 && names.front() == "all-linear") {
    if (!layers.empty()) {
      return error("[layers_to_transform] has no effect with all-linear in PEFT. List the modules in target_modules.");
    }
    return module != "lm_head" && !ends_in_name(module, "lm_head");
  }
  if (std::find(names.begin(), names.end(), module) != names.end()) return true;
  if (std::none_of(names.begin(), names.end(), [&](const std::string& name) { return ends_in_name(module, name); })) {
    return false;
  }
  if (layers.empty()) return true;
  const std::optional<int64_t> layer = layer_number(module);
  return layer && std::find(layers.begin(), layers.end(), *layer) != layers.end();
}

double lora_scale(const LoraConfig& config) {
  const auto r = static_cast<double>(config.r);
  return config.alpha / (config.use_rslora ? std::sqrt(r) : r);
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

// The two matrices of a module, as they stand in the file.
struct Pair {
  const TensorInfo *a = nullptr, *b = nullptr;
};

// What a tensor is that is neither a matrix of a linear layer nor named by modules_to_save.
Error unknown_tensor(std::string_view name, const std::string& file) {
  const char* what = name.find(".lora_embedding_") != std::string_view::npos ? "adapts an embedding"
                     : name.ends_with(".base_layer.weight")     ? "is the base of an adapted embedding or head"
                     : name.ends_with(".lora_magnitude_vector") ? "is DoRA's"
                                                                : nullptr;
  if (what != nullptr) return error("[{}] tensor \"{}\" {}, which is not supported yet.", file, name, what);
  return error("[{}] tensor \"{}\" is no LoRA matrix of a linear layer; others are not supported yet.", file, name);
}

Result<void> check_pair(const LoraConfig& config, const std::string& module, const Pair& pair,
                        const std::string& file) {
  if (pair.a == nullptr || pair.b == nullptr)
    return error("[{}] module \"{}\" has only one of lora_A and lora_B.", file, module);
  const int64_t r = config.r;
  if (pair.a->shape[0] != r || pair.b->shape[1] != r) {
    return error(
        "[{}] module \"{}\" has A [{}] and B [{}]; rank {} of adapter_config.json asks for A [{}, in] and B "
        "[out, {}].",
        file, module, fmt::join(pair.a->shape, ", "), fmt::join(pair.b->shape, ", "), r, r, r);
  }
  if (TRY(target_matches(config, module))) return {};
  return error("[{}] holds tensors for \"{}\", which target_modules of adapter_config.json does not name.", file,
               module);
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
  std::map<std::string, Pair, std::less<>> pairs;
  for (const TensorInfo& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    const std::string_view in_base = name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : "";
    if (!saved_module_of(adapter.config, in_base).empty()) {
      adapter.saved_weights.push_back({ std::string(in_base), tensor.shape, TRY(finite_values(file, tensor)) });
      continue;
    }
    const bool is_a = in_base.ends_with(kA);
    if (!(is_a || in_base.ends_with(kB)) || tensor.shape.size() != 2) return unknown_tensor(name, model.string());
    Pair& pair = pairs[std::string(in_base.substr(0, in_base.size() - kA.size()))];
    (is_a ? pair.a : pair.b) = &tensor;
  }
  for (const auto& [module, pair] : pairs) {
    TRY(check_pair(adapter.config, module, pair, model.string()));
    LoraTensors tensors{module, adapter.config.r, pair.a->shape[1], pair.b->shape[0], {}, {}};
    tensors.a = TRY(finite_values(file, *pair.a));
    tensors.b = TRY(finite_values(file, *pair.b));
    adapter.pairs.push_back(std::move(tensors));
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
    tensors.push_back({fmt::format("{}{}{}", kPrefix, pair.module, kA), {pair.rank, pair.in}, pair.a});
    tensors.push_back({fmt::format("{}{}{}", kPrefix, pair.module, kB), {pair.out, pair.rank}, pair.b});
  }
  for (const FloatTensor& weight : adapter.saved_weights) {
    tensors.push_back({fmt::format("{}{}", kPrefix, weight.name), weight.shape, weight.values});
  }
  SafetensorsMetadata metadata;
  if (!adapter.config.base_fingerprint.empty()) metadata[kBaseKey] = adapter.config.base_fingerprint;
  return {lora_config_to_json(adapter.config, modules), encode_safetensors(tensors, metadata)};
}

Result<void> write_peft_adapter(const fs::path& directory, const PeftAdapter& adapter) {
  const PeftFiles files = encode_peft_adapter(adapter);
  TRY(make_directories(directory));
  TRY(write_file_atomically(directory / "adapter_model.safetensors", files.adapter_model_safetensors));
  return write_file_atomically(directory / "adapter_config.json", files.adapter_config_json);
}

}  // namespace candor::files
