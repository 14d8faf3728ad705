// Writing safetensors (safetensors.h has the format), tensor by tensor and row by row, so that no copy of a model is
// made on the way to the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/result.h"

namespace candor::files {

// How floats are stored. Values are rounded to the nearest, ties to even.
enum class FloatType { kFloat32, kBFloat16, kFloat16 };

// "float32", "bfloat16", "float16", as in Transformers. Error: another word.
Result<FloatType> float_type_from_name(std::string_view name);
std::string_view name_of(FloatType type);
int64_t bytes_of(FloatType type);  // of one number

// A tensor to be written, its values asked for in order, from one thread.
struct TensorSource {
  std::string name;
  std::vector<int64_t> shape;  // outermost first, at least one dimension
  // Rows [begin, end) of a matrix, or elements [begin, end) of a vector, into (end - begin)·row_size() floats.
  std::function<Result<void>(int64_t begin, int64_t end, float* out)> read_rows;

  int64_t row_size() const;
  int64_t elements() const { return shape[0] * row_size(); }
};

// Text for a file's __metadata__; readers ignore keys that they do not know.
using SafetensorsMetadata = std::map<std::string, std::string>;

// A tensor as the header lists it. Bytes [begin, end) count from the header's end.
struct HeaderEntry {
  std::string name;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

// The length, the header (tensors in the order given, "format": "pt" among the metadata as PyTorch users expect it) and
// spaces up to a multiple of 8 bytes. No name may come twice (CHECK).
std::string safetensors_header(const std::vector<HeaderEntry>& tensors, FloatType type, SafetensorsMetadata metadata);

// The whole file, in the order in which the safetensors library writes tensors of one type: by name. Error: a tensor's
// source fails; a value is not finite, or is beyond what `type` holds (names the tensor and row); the disk is full.
Result<void> write_safetensors(const std::vector<TensorSource>& tensors, FloatType type,
                               const SafetensorsMetadata& metadata, OutputFile& out);

}  // namespace candor::files
