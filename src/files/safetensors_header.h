// The JSON header of a safetensors file, walked event by event.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace candor::files {

struct HeaderTensor {
  std::string name, type;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;  // two: begin and end, counted from the end of the header
};

struct SafetensorsHeader {
  std::vector<HeaderTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Checks the form only: JSON, UTF-8, every field once and of the right kind. `name` names the file in messages.
Result<SafetensorsHeader> parse_safetensors_header(std::string_view json, const std::string& name);

}  // namespace candor::files
