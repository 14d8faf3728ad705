#include "files/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/half.h"
#include "files/safetensors_header.h"

namespace candor::files {

static_assert(std::endian::native == std::endian::little, "the files are little-endian and read as they are");

namespace {

constexpr uint64_t kLongestHeader = 100'000'000;  // the reference library's limit

// Bytes per element; 0 = a type that is not supported.
uint64_t element_bytes(std::string_view type) {
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 16> kTypes = {{{"F32", 4},
                                                                                    {"F16", 2},
                                                                                    {"BF16", 2},
                                                                                    {"F64", 8},
                                                                                    {"I64", 8},
                                                                                    {"I32", 4},
                                                                                    {"I16", 2},
                                                                                    {"I8", 1},
                                                                                    {"U64", 8},
                                                                                    {"U32", 4},
                                                                                    {"U16", 2},
                                                                                    {"U8", 1},
                                                                                    {"BOOL", 1},
                                                                                    {"F8_E5M2", 1},
                                                                                    {"F8_E4M3", 1},
                                                                                    {"C64", 8}}};
  for (const auto& [name, bytes] : kTypes) {
    if (name == type) return bytes;
  }
  return 0;
}

Result<TensorInfo> check_tensor(const HeaderTensor& from, uint64_t data_start, uint64_t data_bytes,
                                const std::string& file) {
  const uint64_t begin = from.offsets[0], end = from.offsets[1], element = element_bytes(from.type);
  if (element == 0) return error("[{}] tensor \"{}\" has the unknown dtype \"{}\".", file, from.name, from.type);
  if (begin > end || end > data_bytes) {
    return error("[{}] tensor \"{}\" lies at bytes {} to {} of {} bytes of data.", file, from.name, begin, end,
                 data_bytes);
  }
  TensorInfo tensor{from.name, from.type, {}, data_start + begin, end - begin};
  uint64_t bytes = element;
  for (const uint64_t size : from.shape) {
    if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
        __builtin_mul_overflow(bytes, size, &bytes)) {
      return error("[{}] tensor \"{}\" has a shape whose size does not fit 64 bits.", file, from.name);
    }
    tensor.shape.push_back(static_cast<int64_t>(size));
  }
  if (bytes != tensor.bytes) {
    return error("[{}] tensor \"{}\" needs {} bytes by its shape and dtype, and its data_offsets give it {}.", file,
                 from.name, bytes, tensor.bytes);
  }
  return tensor;
}

// Tensors sorted by offset must cover the data exactly.
Result<void> check_coverage(const std::vector<TensorInfo>& tensors, uint64_t data_start, uint64_t file_bytes,
                            const std::string& file) {
  uint64_t covered = data_start;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset != covered) {
      return error("[{}] tensor \"{}\" starts at byte {} of the data, {} byte {}.", file, tensor.name,
                   tensor.offset - data_start, tensor.offset > covered ? "leaving a hole from" : "overlapping up to",
                   covered - data_start);
    }
    covered += tensor.bytes;
  }
  if (covered != file_bytes) {
    return error("[{}] has {} bytes after its last tensor.", file, file_bytes - covered);
  }
  return {};
}

void widen(const std::string& type, const std::vector<char>& raw, int64_t count, float* out) {
  if (type == "F32") {
    std::memcpy(out, raw.data(), static_cast<size_t>(count) * sizeof(float));
    return;
  }
  const bool half = type == "F16";
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, raw.data() + 2 * i, 2);
    out[i] = half ? half_to_float(bits) : bfloat16_to_float(bits);
  }
}

bool is_float(const std::string& type) {
  return type == "F32" || type == "F16" || type == "BF16";
}

}  // namespace

int64_t TensorInfo::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile result(TRY(InputFile::open(path)));
  const InputFile& file = result.file_;
  const std::string name = path.string();
  uint64_t header_bytes = 0;
  if (file.size() < 8) {
    return error("[{}] is not a safetensors file: it has {} bytes, fewer than the 8 of its header's length.", name,
                 file.size());
  }
  TRY(file.read(0, &header_bytes, 8));
  if (header_bytes > file.size() - 8 || header_bytes > kLongestHeader) {
    return error("[{}] is cut off or not a safetensors file: it has {} bytes and claims a header of {}.", name,
                 file.size(), header_bytes);
  }
  std::string json(header_bytes, '\0');
  TRY(file.read(8, json.data(), header_bytes));
  const SafetensorsHeader header = TRY(parse_safetensors_header(json, name));
  const uint64_t data_start = 8 + header_bytes;
  for (const HeaderTensor& tensor : header.tensors) {
    result.tensors_.push_back(TRY(check_tensor(tensor, data_start, file.size() - data_start, name)));
  }
  std::sort(result.tensors_.begin(), result.tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  TRY(check_coverage(result.tensors_, data_start, file.size(), name));
  for (size_t i = 0; i < result.tensors_.size(); ++i) result.by_name_.emplace(result.tensors_[i].name, i);
  result.metadata_ = header.metadata;
  return result;
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

Result<const TensorInfo*> SafetensorsFile::require(std::string_view name) const {
  const TensorInfo* tensor = find(name);
  if (tensor == nullptr) return error("[{}] has no tensor \"{}\".", path().string(), name);
  return tensor;
}

Result<void> SafetensorsFile::read_floats(const TensorInfo& tensor, int64_t begin, int64_t end, float* out) const {
  CHECK(0 <= begin && begin <= end && end <= tensor.elements());
  if (!is_float(tensor.type)) {
    return error("[{}] tensor \"{}\" is {}; F32, F16 or BF16 is expected here.", path().string(), tensor.name,
                 tensor.type);
  }
  const auto element = static_cast<int64_t>(element_bytes(tensor.type));
  constexpr int64_t kChunk = int64_t{1} << 18;  // elements: bounds the extra copy
  std::vector<char> raw(static_cast<size_t>(std::min(kChunk, end - begin) * element));
  for (int64_t at = begin; at < end; at += kChunk) {
    const int64_t count = std::min(kChunk, end - at);
    TRY(file_.read(tensor.offset + static_cast<uint64_t>(at * element), raw.data(),
                   static_cast<uint64_t>(count * element)));
    widen(tensor.type, raw, count, out + (at - begin));
  }
  return {};
}

Result<std::vector<float>> SafetensorsFile::floats(std::string_view name) const {
  const TensorInfo* tensor = TRY(require(name));
  if (!is_float(tensor->type)) {
    return error("[{}] tensor \"{}\" is {}; F32, F16 or BF16 is expected here.", path().string(), name, tensor->type);
  }
  std::vector<float> values(static_cast<size_t>(tensor->elements()));
  TRY(read_floats(*tensor, 0, tensor->elements(), values.data()));
  return values;
}

Result<std::vector<double>> SafetensorsFile::doubles(std::string_view name) const {
  const TensorInfo* tensor = TRY(require(name));
  if (tensor->type != "F64") {
    const std::vector<float> values = TRY(floats(name));
    return std::vector<double>(values.begin(), values.end());
  }
  std::vector<double> values(static_cast<size_t>(tensor->elements()));
  TRY(file_.read(tensor->offset, values.data(), tensor->bytes));
  return values;
}

Result<std::vector<int64_t>> SafetensorsFile::integers(std::string_view name) const {
  const TensorInfo* tensor = TRY(require(name));
  std::vector<char> raw(tensor->bytes);
  TRY(file_.read(tensor->offset, raw.data(), tensor->bytes));
  std::vector<int64_t> values(static_cast<size_t>(tensor->elements()));
  auto widen_as = [&](auto example) {
    for (size_t i = 0; i < values.size(); ++i) {
      std::memcpy(&example, raw.data() + i * sizeof(example), sizeof(example));
      values[i] = static_cast<int64_t>(example);
    }
  };
  if (tensor->type == "I64")
    widen_as(int64_t{0});
  else if (tensor->type == "I32")
    widen_as(int32_t{0});
  else if (tensor->type == "U8")
    widen_as(uint8_t{0});
  else
    return error("[{}] tensor \"{}\" is {}; I64, I32 or U8 is expected here.", path().string(), name, tensor->type);
  return values;
}

std::string encode_safetensors(const std::vector<FloatTensor>& tensors, const SafetensorsMetadata& metadata) {
  std::vector<const FloatTensor*> sorted;
  for (const FloatTensor& tensor : tensors) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->name < b->name; });
  std::vector<HeaderEntry> entries;
  uint64_t end = 0;
  for (const FloatTensor* tensor : sorted) {
    const uint64_t begin = end;
    end += tensor->values.size() * sizeof(float);
    entries.push_back({tensor->name, tensor->shape, begin, end});
  }
  std::string bytes = safetensors_header(entries, FloatType::kFloat32, metadata);
  bytes.reserve(bytes.size() + end);
  for (const FloatTensor* tensor : sorted) {
    bytes.append(reinterpret_cast<const char*>(tensor->values.data()), tensor->values.size() * sizeof(float));
  }
  return bytes;
}

}  // namespace candor::files
