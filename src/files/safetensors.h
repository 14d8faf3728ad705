// safetensors: 8 bytes with the length of a JSON header, the header, then the tensors' bytes one after another.
// https://github.com/huggingface/safetensors#format
//
// The reader takes any stranger's file: the header is walked event by event (never built as a tree), its numbers are
// checked before use, and the tensors must cover the rest of the file exactly, without hole or overlap.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/input_file.h"
#include "base/result.h"
#include "files/safetensors_writer.h"

namespace candor::files {

struct TensorInfo {
  std::string name;
  std::string type;            // "F32", "F16", "BF16", "F64", "I64", "I32", "U8", …
  std::vector<int64_t> shape;  // outermost first; empty = a scalar
  uint64_t offset = 0;         // first byte, counted from the start of the file
  uint64_t bytes = 0;

  int64_t elements() const;
};

class SafetensorsFile {
 public:
  // Error: one sentence that names the file and what is wrong with it.
  static Result<SafetensorsFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // by offset
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const TensorInfo* find(std::string_view name) const;  // nullptr: not in this file

  // Elements [begin, end) of an F32, F16 or BF16 tensor (counted flat), widened to float32. Error: another type.
  Result<void> read_floats(const TensorInfo& tensor, int64_t begin, int64_t end, float* out) const;

  // Whole tensors by name: the three float types and F64; the integers I64, I32, U8. Error: absent, another type.
  Result<std::vector<float>> floats(std::string_view name) const;
  Result<std::vector<double>> doubles(std::string_view name) const;
  Result<std::vector<int64_t>> integers(std::string_view name) const;

 private:
  explicit SafetensorsFile(InputFile file) : file_(std::move(file)) {}
  Result<const TensorInfo*> require(std::string_view name) const;
  InputFile file_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::map<std::string, std::string> metadata_;
};

// A float32 tensor to be written.
struct FloatTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// The bytes of a file that holds `tensors` in the order in which the safetensors library writes float32 tensors (by
// name). Large ones are better written in parts (safetensors_writer.h).
std::string encode_safetensors(const std::vector<FloatTensor>& tensors, const SafetensorsMetadata& metadata = {});

}  // namespace candor::files
