#include "files/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/half.h"
#include "files/weight_names.h"

namespace candor::files {

namespace {

struct TypeNames {
  FloatType type;
  std::string_view name, stored;
  int64_t bytes;
};
constexpr TypeNames kTypes[] = {{FloatType::kFloat32, "float32", "F32", 4},
                                {FloatType::kBFloat16, "bfloat16", "BF16", 2},
                                {FloatType::kFloat16, "float16", "F16", 2}};

const TypeNames& names_of(FloatType type) {
  return kTypes[static_cast<int>(type)];
}

constexpr int64_t kChunk = int64_t{1} << 18;  // values held at once: bounds the extra copy

// Values rounded to 16 bits, in place of `bytes`. The answer: the first that became infinite; −1 where none did.
template <uint16_t (*round)(float), float (*widen)(uint16_t)>
int64_t narrow(const float* values, int64_t count, std::string& bytes) {
  bytes.resize(static_cast<size_t>(count) * sizeof(uint16_t));
  auto* to = reinterpret_cast<uint16_t*>(bytes.data());
  for (int64_t i = 0; i < count; ++i) to[i] = round(values[i]);
  for (int64_t i = 0; i < count; ++i) {
    const float back = widen(to[i]);
    if (back - back != 0) return i;
  }
  return -1;
}

Result<void> write_values(const TensorSource& tensor, int64_t first_row, const std::vector<float>& values,
                          FloatType type, std::string& bytes, OutputFile& out) {
  const auto count = static_cast<int64_t>(values.size());
  if (const int64_t bad = first_non_finite(values.data(), count); bad >= 0) {
    return error("[{}] weight \"{}\" is {} in row {}: the training diverged. It is not written.", out.path().string(),
                 tensor.name, values[static_cast<size_t>(bad)], first_row + bad / tensor.row_size());
  }
  if (type == FloatType::kFloat32)
    return out.write({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  const int64_t beyond = type == FloatType::kFloat16
                             ? narrow<float_to_half, half_to_float>(values.data(), count, bytes)
                             : narrow<float_to_bfloat16, bfloat16_to_float>(values.data(), count, bytes);
  if (beyond >= 0) {
    return error("[{}] weight \"{}\" is {} in row {}, which {} cannot hold. Write it in float32 or bfloat16.",
                 out.path().string(), tensor.name, values[static_cast<size_t>(beyond)],
                 first_row + beyond / tensor.row_size(), name_of(type));
  }
  return out.write(bytes);
}

}  // namespace

Result<FloatType> float_type_from_name(std::string_view name) {
  for (const TypeNames& each : kTypes) {
    if (each.name == name) return each.type;
  }
  return error("[dtype] \"{}\" is not known: float32, bfloat16 and float16 are.", name);
}

std::string_view name_of(FloatType type) {
  return names_of(type).name;
}

int64_t bytes_of(FloatType type) {
  return names_of(type).bytes;
}

int64_t TensorSource::row_size() const {
  int64_t size = 1;
  for (size_t i = 1; i < shape.size(); ++i) size *= shape[i];
  return size;
}

std::string safetensors_header(const std::vector<HeaderEntry>& tensors, FloatType type, SafetensorsMetadata metadata) {
  metadata["format"] = "pt";
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  for (const HeaderEntry& tensor : tensors) {
    const bool is_new = !header.contains(tensor.name);
    CHECK(is_new);
    header[tensor.name] = {
        {"dtype", names_of(type).stored}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, tensor.end}}};
  }
  std::string json = header.dump();
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const uint64_t header_bytes = json.size();
  return std::string(reinterpret_cast<const char*>(&header_bytes), 8) + json;
}

Result<void> write_safetensors(const std::vector<TensorSource>& tensors, FloatType type,
                               const SafetensorsMetadata& metadata, OutputFile& out) {
  std::vector<const TensorSource*> sorted;
  for (const TensorSource& tensor : tensors) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->name < b->name; });
  std::vector<HeaderEntry> entries;
  uint64_t end = 0;
  for (const TensorSource* tensor : sorted) {
    const uint64_t begin = end;
    end += static_cast<uint64_t>(tensor->elements() * bytes_of(type));
    entries.push_back({tensor->name, tensor->shape, begin, end});
  }
  TRY(out.write(safetensors_header(entries, type, metadata)));
  std::vector<float> values;
  std::string bytes;
  for (const TensorSource* tensor : sorted) {
    const int64_t rows = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, tensor->row_size()));
    for (int64_t begin = 0; begin < tensor->shape[0]; begin += rows) {
      const int64_t stop = std::min(begin + rows, tensor->shape[0]);
      values.resize(static_cast<size_t>((stop - begin) * tensor->row_size()));
      TRY(tensor->read_rows(begin, stop, values.data()));
      TRY(write_values(*tensor, begin, values, type, bytes, out));
    }
  }
  return {};
}

}  // namespace candor::files
