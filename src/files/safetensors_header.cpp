#include "files/safetensors_header.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

namespace candor::files {

namespace {

// nlohmann's event interface: a handler returns false to stop, and `fault` then says why.
// Depth 0 is outside, 1 the header object, 2 a tensor (or the metadata), 3 a list of numbers.
struct HeaderHandler {
  using Number = nlohmann::json::number_unsigned_t;
  SafetensorsHeader header;
  std::string fault;

  bool null() { return wrong("null"); }
  bool boolean(bool) { return wrong("a truth value"); }
  bool number_integer(int64_t value) { return wrong(fmt::format("{}", value)); }
  bool number_float(double, const std::string& text) { return wrong(text); }
  bool binary(nlohmann::json::binary_t&) { return wrong("binary data"); }

  bool number_unsigned(uint64_t value) {
    if (depth_ != 3) return wrong(fmt::format("{}", value));
    numbers_->push_back(value);
    return true;
  }

  bool string(std::string& value) {
    if (depth_ != 2) return wrong("a string");
    if (in_metadata_) {
      if (!header.metadata.emplace(field_, value).second)
        return stop(fmt::format("__metadata__ has \"{}\" twice", field_));
      return true;
    }
    if (field_ != "dtype") return wrong("a string");
    header.tensors.back().type = value;
    return true;
  }

  bool start_object(size_t) {
    if (depth_ >= 2) return wrong("an object");
    ++depth_;
    fields_.clear();
    return true;
  }

  bool key(std::string& value) {
    if (depth_ == 1) {
      if (!names_.insert(value).second) return stop(fmt::format("\"{}\" appears twice", value));
      in_metadata_ = value == "__metadata__";
      if (!in_metadata_) header.tensors.push_back({value, "", {}, {}});
      field_.clear();
      return true;
    }
    field_ = value;
    if (in_metadata_) return true;
    if (!fields_.insert(value).second) return stop(fmt::format("{} has the field \"{}\" twice", place(), value));
    if (value == "dtype" || value == "shape" || value == "data_offsets") return true;
    return stop(fmt::format("{} has an unknown field \"{}\"", place(), value));
  }

  bool end_object() {
    --depth_;
    if (depth_ == 1 && !in_metadata_) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (!fields_.contains(field)) return stop(fmt::format("{} has no {}", place(), field));
      }
      if (header.tensors.back().offsets.size() != 2) {
        return stop(fmt::format("{} has {} data_offsets instead of 2", place(), header.tensors.back().offsets.size()));
      }
    }
    return true;
  }

  bool start_array(size_t) {
    if (depth_ != 2 || in_metadata_) return wrong("a list");
    if (field_ == "dtype") return wrong("a list");
    numbers_ = field_ == "shape" ? &header.tensors.back().shape : &header.tensors.back().offsets;
    ++depth_;
    return true;
  }

  bool end_array() {
    --depth_;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) {
    return stop(fmt::format("is not valid JSON in UTF-8, wrong near byte {}", position));
  }

 private:
  std::string place() const {
    return in_metadata_ ? "__metadata__" : fmt::format("tensor \"{}\"", header.tensors.back().name);
  }
  bool stop(std::string why) {
    fault = std::move(why);
    return false;
  }
  bool wrong(const std::string& what) {
    if (depth_ == 0) return stop(fmt::format("is {} instead of an object", what));
    if (depth_ == 1) return stop(fmt::format("has {} where {} should be an object", what, place()));
    return stop(fmt::format("has {} in {}, field \"{}\", where {} belongs", what, place(), field_,
                            in_metadata_ || field_ == "dtype" ? "a string" : "a list of whole numbers from 0"));
  }

  int depth_ = 0;
  bool in_metadata_ = false;
  std::string field_;
  std::set<std::string> names_, fields_;
  std::vector<uint64_t>* numbers_ = nullptr;
};

}  // namespace

Result<SafetensorsHeader> parse_safetensors_header(std::string_view json, const std::string& name) {
  HeaderHandler handler;
  if (!nlohmann::json::sax_parse(json, &handler)) {
    return error("[{}] is not a safetensors file: its header {}.", name, handler.fault);
  }
  return std::move(handler.header);
}

}  // namespace candor::files
