// Typed fields of a JSON object, for filling a struct in a row.
#pragma once

#include <cstdint>
#include <string>

#include "files/json_file.h"

namespace candor::files {

// The first fault is kept, so that all fields can be read before one looks.
class Fields {
 public:
  Fields(const Json& object, std::string name) : object_(object), name_(std::move(name)) {}

  // Absent or null: the default.
  int64_t integer(const char* key, int64_t otherwise) {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number_integer() || (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX)) {
      return wrong(key, *value, "a whole number"), otherwise;
    }
    return value->get<int64_t>();
  }
  int64_t required_integer(const char* key) {
    if (find(key) == nullptr) fail(fmt::format("[{}] has no \"{}\".", name_, key));
    return integer(key, 0);
  }
  double number(const char* key, double otherwise) {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number()) return wrong(key, *value, "a number"), otherwise;
    return value->get<double>();
  }
  double required_number(const char* key) {
    if (find(key) == nullptr) fail(fmt::format("[{}] rope has no \"{}\", which its type needs.", name_, key));
    return number(key, 1.0);
  }
  bool boolean(const char* key, bool otherwise) {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) return wrong(key, *value, "true or false"), otherwise;
    return value->get<bool>();
  }
  std::string string(const char* key, const std::string& otherwise) {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_string()) return wrong(key, *value, "a string"), otherwise;
    return value->get<std::string>();
  }
  const Json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  void fail(std::string message) {
    if (fault_.empty()) fault_ = std::move(message);
  }
  Result<void> result() const {
    if (fault_.empty()) return {};
    return Error{fault_};
  }

 private:
  void wrong(const char* key, const Json& value, const char* expected) {
    std::string shown = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (shown.size() > 60) shown = shown.substr(0, 60) + "…";
    fail(fmt::format("[{}] \"{}\" is {}; {} is expected.", name_, key, shown, expected));
  }
  const Json& object_;
  std::string name_, fault_;
};

}  // namespace candor::files
