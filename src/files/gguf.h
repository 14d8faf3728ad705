// GGUF: metadata (keys with typed values), a list of tensors, and their bytes, in one file.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
//
// The reader takes any stranger's file: every count and length is checked against what is left of the file before
// anything is allocated, and tensors must be aligned, inside the file and apart from one another.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/input_file.h"
#include "base/result.h"
#include "files/gguf_blocks.h"

namespace candor::files {

// As in the file.
enum GgufValueType : uint32_t {
  kGgufUint8 = 0,
  kGgufInt8 = 1,
  kGgufUint16 = 2,
  kGgufInt16 = 3,
  kGgufUint32 = 4,
  kGgufInt32 = 5,
  kGgufFloat32 = 6,
  kGgufBool = 7,
  kGgufString = 8,
  kGgufArray = 9,
  kGgufUint64 = 10,
  kGgufInt64 = 11,
  kGgufFloat64 = 12,
};

// Items of a fixed size stay in the file's bytes until they are asked for; arrays of arrays are refused.
struct GgufArray {
  uint32_t item_type = 0;  // ggml's number of the value type
  uint64_t count = 0;
  std::string bytes;                 // items of fixed size, as in the file
  std::vector<std::string> strings;  // items that are strings

  std::optional<std::vector<int64_t>> integers() const;  // empty: the items are no integers, or one does not fit
  std::optional<std::vector<double>> floats() const;     // empty: the items are no floats
};

// All unsigned types widen to uint64_t, all signed ones to int64_t, both floats to double.
using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string, GgufArray>;

// A key and its value as the file's bytes have them, to be written again as they are (gguf_writer.h).
struct GgufEntry {
  std::string key;
  GgufValueType type = kGgufUint8;
  std::string bytes;  // of the value: a number, or a length and what it counts
};

struct GgufTensor {
  std::string name;
  const GgufBlockType* type = nullptr;
  std::vector<int64_t> shape;  // outermost first (the file has it innermost first); empty = a scalar
  uint64_t offset = 0;         // first byte, counted from the start of the file
  uint64_t bytes = 0;
};

class GgufFile {
 public:
  // Error: one sentence that names the file and what is wrong with it.
  static Result<GgufFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const InputFile& file() const { return file_; }
  uint32_t version() const { return version_; }
  uint64_t alignment() const { return alignment_; }
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const { return metadata_; }  // in file order
  const std::vector<GgufTensor>& tensors() const { return tensors_; }                           // in file order
  Result<std::vector<GgufEntry>> entries() const;           // the metadata as bytes, in file order
  const GgufValue* find_value(std::string_view key) const;  // nullptr: not in this file
  const GgufTensor* find_tensor(std::string_view name) const;

  // A value of one kind. Empty: the key is absent. Error: it holds another kind.
  Result<std::optional<int64_t>> integer(std::string_view key) const;
  Result<std::optional<double>> number(std::string_view key) const;  // integers widen
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string>> string(std::string_view key) const;
  Result<const GgufArray*> array(std::string_view key) const;  // nullptr: absent

 private:
  friend class GgufParser;
  explicit GgufFile(InputFile file) : file_(std::move(file)) {}
  InputFile file_;
  uint32_t version_ = 0;
  uint64_t alignment_ = 32;
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  struct Place {
    GgufValueType type;
    uint64_t begin, end;
  };
  std::vector<Place> value_places_;  // of the values, by their number in metadata_
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> value_index_, tensor_index_;
};

}  // namespace candor::files
