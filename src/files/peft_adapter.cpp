#include "files/peft_adapter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <charconv>
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

Result<void> check_finite(const std::vector<float>& values, const TensorInfo& tensor, const std::string& file) {
  const int64_t bad = first_non_finite(values.data(), static_cast<int64_t>(values.size()));
  if (bad < 0) return {};
  const int64_t row = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
  return error("[{}] tensor \"{}\" holds {} in row {}.", file, tensor.name, values[static_cast<size_t>(bad)],
               bad / row);
}

}  // namespace

Result<PeftAdapter> read_peft_adapter(const fs::path& directory) {
  const fs::path config = directory / "adapter_config.json", model = directory / "adapter_model.safetensors";
  PeftAdapter adapter;
  adapter.config = TRY(lora_config_from_json(TRY(read_json_file(config)), config.string()));
  const SafetensorsFile file = TRY(SafetensorsFile::open(model));
  struct Pair {
    const TensorInfo *a = nullptr, *b = nullptr;
  };
  std::map<std::string, Pair> pairs;
  for (const TensorInfo& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    const std::string_view in_base = name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : "";
    if (!saved_module_of(adapter.config, in_base).empty()) {
      adapter.saved_weights.push_back({ std::string(in_base), tensor.shape, TRY(file.floats(name)) });
      TRY(check_finite(adapter.saved_weights.back().values, tensor, model.string()));
      continue;
    }
    const bool is_a = name.ends_with(kA);
    if (!name.starts_with(kPrefix) || !(is_a || name.ends_with(kB)) || tensor.shape.size() != 2) {
      return error("[{}] tensor \"{}\" is no LoRA matrix of a linear layer; others are not supported yet.",
                   model.string(), name);
    }
    Pair& pair = pairs[std::string(name.substr(kPrefix.size(), name.size() - kPrefix.size() - kA.size()))];
    (is_a ? pair.a : pair.b) = &tensor;
  }
  const int64_t r = adapter.config.r;
  for (const auto& [module, pair] : pairs) {
    if (pair.a == nullptr || pair.b == nullptr) {
      return error("[{}] module \"{}\" has only one of lora_A and lora_B.", model.string(), module);
    }
    if (pair.a->shape[0] != r || pair.b->shape[1] != r) {
      return error(
          "[{}] module \"{}\" has A [{}] and B [{}]; rank {} of adapter_config.json asks for A [{}, in] and B "
          "[out, {}].",
          model.string(), module, fmt::join(pair.a->shape, ", "), fmt::join(pair.b->shape, ", "), r, r, r);
    }
    if (!TRY(target_matches(adapter.config, module))) {
      return error("[{}] holds tensors for \"{}\", which target_modules of adapter_config.json does not name.",
                   model.string(), module);
    }
    LoraTensors tensors {
      module, r, pair.a->shape[1], pair.b->shape[0], TRY(file.floats(pair.a->name))
      , TRY(file.floats(pair.b->name))
    };
    TRY(check_finite(tensors.a, *pair.a, model.string()));
    TRY(check_finite(tensors.b, *pair.b, model.string()));
    adapter.pairs.push_back(std::move(tensors));
  }
  if (adapter.pairs.empty()) return error("[{}] holds no LoRA matrices.", model.string());
  std::sort(adapter.saved_weights.begin(), adapter.saved_weights.end(),
            [](const FloatTensor& a, const FloatTensor& b) { return a.name < b.name; });
  for (const std::string& name : adapter.config.modules_to_save) {
    LoraConfig one;
    one.modules_to_save = {name};
    if (std::none_of(adapter.saved_weights.begin(), adapter.saved_weights.end(),
                     [&](const FloatTensor& weight) { return !saved_module_of(one, weight.name).empty(); })) {
      return error("[{}] holds no weights of \"{}\", which modules_to_save of adapter_config.json names.",
                   model.string(), name);
    }
  }
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
  return {lora_config_to_json(adapter.config, modules), encode_safetensors(tensors)};
}

Result<void> write_peft_adapter(const fs::path& directory, const PeftAdapter& adapter) {
  const PeftFiles files = encode_peft_adapter(adapter);
  TRY(make_directories(directory));
  TRY(write_file_atomically(directory / "adapter_model.safetensors", files.adapter_model_safetensors));
  return write_file_atomically(directory / "adapter_config.json", files.adapter_config_json);
}

}  // namespace candor::files
