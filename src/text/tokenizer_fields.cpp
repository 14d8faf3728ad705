#include "text/tokenizer_fields.h"

namespace candor::text {

using nlohmann::json;

Result<std::string> string_field(const json& object, const char* key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return error("{}: \"{}\" must be a string.", where, key);
  return found->get<std::string>();
}

Result<bool> bool_field(const json& object, const char* key, std::optional<bool> fallback, std::string_view where) {
  const auto found = object.find(key);
  if (fallback && (found == object.end() || found->is_null())) return *fallback;
  if (found == object.end() || !found->is_boolean()) return error("{}: \"{}\" must be true or false.", where, key);
  return found->get<bool>();
}

Result<std::optional<std::string>> optional_string_field(const json& object, const char* key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::optional<std::string>();
  if (!found->is_string()) return error("{}: \"{}\" must be a string or null.", where, key);
  auto value = found->get<std::string>();
  if (value.empty()) return std::optional<std::string>();
  return std::optional<std::string>(std::move(value));
}

Result<std::string> component_type(const json& component, std::string_view where) {
  if (!component.is_object()) return error("{} must be an object with a \"type\", or null.", where);
  return string_field(component, "type", where);
}

Result<int32_t> id_value(const json& value, int64_t limit, std::string_view where) {
  if (!value.is_number_integer()) return error("{}: a token id must be an integer; got {}.", where, value.type_name());
  const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > INT32_MAX;
  const int64_t id = huge ? INT64_MAX : value.get<int64_t>();
  if (id < 0 || id >= limit || id >= INT32_MAX) {
    return error("{}: token id {} is not in [0, {}), what a file of this size can hold.", where, value.dump(), limit);
  }
  return static_cast<int32_t>(id);
}

Result<const json*> sequence_field(const json& object, const char* key, int depth, std::string_view where) {
  constexpr int kDeepest = 8;
  if (depth >= kDeepest) return error("{}: sequences are nested more than {} deep.", where, kDeepest);
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return error("{}: \"{}\" must be an array.", where, key);
  return &*found;
}

Error unsupported(std::string_view where, std::string_view type) {
  return error(
      "{} \"{}\" is not supported. Supported so far are byte-level BPE and WordLevel tokenizers; take a model with one "
      "of these.",
      where, type);
}

}  // namespace candor::text
