// Reading fields of a tokenizer.json whose shape is not to be trusted: each reader says which component and which field
// was wrong.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace candor::text {

// `where` names the file and the component, as in "[tokenizer] a/tokenizer.json: pre_tokenizer".
Result<std::string> string_field(const nlohmann::json& object, const char* key, std::string_view where);
// `fallback` where the key is absent or null; without one the key is required.
Result<bool> bool_field(const nlohmann::json& object, const char* key, std::optional<bool> fallback,
                        std::string_view where);
// Absent, null and "" are all nullopt.
Result<std::optional<std::string>> optional_string_field(const nlohmann::json& object, const char* key,
                                                         std::string_view where);
// The "type" of a component.
Result<std::string> component_type(const nlohmann::json& component, std::string_view where);
// An id in [0, limit).
Result<int32_t> id_value(const nlohmann::json& value, int64_t limit, std::string_view where);
// The array below `key` of a component of type "Sequence". An error where `depth` (how deep the component itself lies)
// shows a nesting that no real file has.
Result<const nlohmann::json*> sequence_field(const nlohmann::json& object, const char* key, int depth,
                                             std::string_view where);
Error unsupported(std::string_view where, std::string_view type);

}  // namespace candor::text
