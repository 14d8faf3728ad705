#include "files/generation_config.h"

#include <array>
#include <cmath>

#include "base/input_file.h"

namespace candor::files {

namespace {

// A key that Transformers' generate obeys and this sampler does not, and the value at which it does nothing.
struct Unsupported {
  const char* key;
  double idle;
};
constexpr std::array kUnsupported = {
    Unsupported{"num_beams", 1},
    Unsupported{"num_beam_groups", 1},
    Unsupported{"diversity_penalty", 0},
    Unsupported{"penalty_alpha", 0},
    Unsupported{"typical_p", 1},
    Unsupported{"epsilon_cutoff", 0},
    Unsupported{"eta_cutoff", 0},
    Unsupported{"encoder_repetition_penalty", 1},
    Unsupported{"no_repeat_ngram_size", 0},
    Unsupported{"encoder_no_repeat_ngram_size", 0},
    Unsupported{"min_length", 0},
    Unsupported{"min_new_tokens", 0},
    Unsupported{"guidance_scale", 1},
    Unsupported{"num_return_sequences", 1},
};
// The same where every value but null does something.
constexpr std::array kUnsupportedWhenSet = {
    "top_h",       "dola_layers",   "begin_suppress_tokens", "forced_bos_token_id",
    "constraints", "sequence_bias", "forced_eos_token_id",   "exponential_decay_length_penalty",
    "max_time",    "token_healing", "force_words_ids",       "watermarking_config"};

std::string shown(const Json& value) {
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

class Reader {
 public:
  Reader(const Json& json, const std::string& name) : json_(json), name_(name) {}

  // Null where the key is absent or null.
  const Json* find(const char* key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  Error wrong(const char* key, const char* expected, const Json& value) const {
    return error("[{}] {}: expected {}, got {}.", name_, key, expected, shown(value));
  }

  Result<std::optional<double>> number(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::optional<double>();
    if (!value->is_number() || !std::isfinite(value->get<double>())) return wrong(key, "a number", *value);
    return std::optional(value->get<double>());
  }

  Result<std::optional<int64_t>> whole(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::optional<int64_t>();
    constexpr double kLargest = 1e12;
    const bool fits = value->is_number() && std::abs(value->get<double>()) < kLargest;
    if (!fits || std::floor(value->get<double>()) != value->get<double>()) return wrong(key, "a whole number", *value);
    return std::optional(static_cast<int64_t>(value->get<double>()));
  }

  Result<std::optional<bool>> boolean(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::optional<bool>();
    if (!value->is_boolean()) return wrong(key, "true or false", *value);
    return std::optional(value->get<bool>());
  }

  // A list of token ids, of which only the sign and the size are known to be possible.
  Result<std::vector<int32_t>> ids(const char* key, const Json& value) const {
    if (!value.is_array() || value.empty()) return wrong(key, "a list of token ids", value);
    std::vector<int32_t> out;
    for (const Json& item : value) {
      const bool fits = item.is_number_integer() && item.get<int64_t>() >= 0 && item.get<int64_t>() <= INT32_MAX;
      if (!fits) return wrong(key, "token ids", item);
      out.push_back(item.get<int32_t>());
    }
    return out;
  }

 private:
  const Json& json_;
  const std::string& name_;
};

Result<void> read_bad_words(const Reader& reader, GenerationConfig& config) {
  if (const Json* lists = reader.find("bad_words_ids")) {
    if (!lists->is_array()) return reader.wrong("bad_words_ids", "a list of lists of token ids", *lists);
    for (const Json& list : *lists) config.bad_words.push_back(TRY(reader.ids("bad_words_ids", list)));
  }
  if (const Json* tokens = reader.find("suppress_tokens"); tokens != nullptr && !tokens->empty())
    for (const int32_t id : TRY(reader.ids("suppress_tokens", *tokens))) config.bad_words.push_back({id});
  return {};
}

Result<void> read_stop_strings(const Reader& reader, GenerationConfig& config) {
  const Json* stops = reader.find("stop_strings");
  if (stops == nullptr) return {};
  for (const Json& stop : stops->is_array() ? *stops : Json::array({*stops})) {
    if (!stop.is_string()) return reader.wrong("stop_strings", "text", stop);
    config.stop_strings.push_back(stop.get<std::string>());
  }
  return {};
}

}  // namespace

Result<GenerationConfig> generation_config_from_json(const Json& json, const std::string& name) {
  if (!json.is_object()) return error("[{}] is no JSON object.", name);
  const Reader reader(json, name);
  GenerationConfig config;
  config.name = name;
  config.do_sample = TRY(reader.boolean("do_sample"));
  config.temperature = TRY(reader.number("temperature"));
  config.top_p = TRY(reader.number("top_p"));
  config.min_p = TRY(reader.number("min_p"));
  config.repetition_penalty = TRY(reader.number("repetition_penalty"));
  config.top_k = TRY(reader.whole("top_k"));
  config.max_new_tokens = TRY(reader.whole("max_new_tokens"));
  config.max_length = TRY(reader.whole("max_length"));
  TRY(read_bad_words(reader, config));
  TRY(read_stop_strings(reader, config));
  for (const Unsupported& one : kUnsupported) {
    const Json* value = reader.find(one.key);
    if (value != nullptr && !(value->is_number() && value->get<double>() == one.idle))
      config.not_supported.push_back(fmt::format("{} {}", one.key, shown(*value)));
  }
  for (const char* key : kUnsupportedWhenSet) {
    const Json* value = reader.find(key);
    const bool idle = value == nullptr || *value == false || (value->is_array() && value->empty());
    if (!idle) config.not_supported.push_back(fmt::format("{} {}", key, shown(*value)));
  }
  return config;
}

Result<GenerationConfig> read_generation_config(const std::filesystem::path& path) {
  const std::filesystem::path file = path / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored) || !path_exists(file)) return GenerationConfig{};
  return generation_config_from_json(TRY(read_json_file(file)), file.string());
}

}  // namespace candor::files
