#include "files/gguf_writer.h"

#include <set>

#include "base/check.h"

namespace candor::files {

namespace {

constexpr uint64_t kAlignment = 32;
constexpr std::string_view kAlignmentKey = "general.alignment";

template <typename T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void append_string(std::string& bytes, std::string_view text) {
  append<uint64_t>(bytes, text.size());
  bytes += text;
}

template <typename T>
GgufEntry number(std::string key, GgufValueType type, T value) {
  GgufEntry entry{std::move(key), type, {}};
  append(entry.bytes, value);
  return entry;
}

GgufEntry array(std::string key, GgufValueType item_type, uint64_t count) {
  GgufEntry entry{std::move(key), kGgufArray, {}};
  append<uint32_t>(entry.bytes, item_type);
  append(entry.bytes, count);
  return entry;
}

template <typename T>
GgufEntry number_array(std::string key, GgufValueType item_type, std::span<const T> items) {
  GgufEntry entry = array(std::move(key), item_type, items.size());
  entry.bytes.append(reinterpret_cast<const char*>(items.data()), items.size_bytes());
  return entry;
}

uint64_t padding(uint64_t bytes) {
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

// Everything before the data, padded.
std::string header(const std::vector<GgufEntry>& entries, const std::vector<GgufTensorSource>& tensors) {
  std::string bytes;
  uint64_t count = 0;
  std::set<std::string_view> names;
  for (const GgufEntry& entry : entries) count += entry.key != kAlignmentKey;
  append<uint32_t>(bytes, 0x46554747);  // "GGUF"
  append<uint32_t>(bytes, 3);
  append<uint64_t>(bytes, tensors.size());
  append(bytes, count);
  for (const GgufEntry& entry : entries) {
    CHECK(names.insert(entry.key).second);
    if (entry.key == kAlignmentKey) continue;
    append_string(bytes, entry.key);
    append<uint32_t>(bytes, entry.type);
    bytes += entry.bytes;
  }
  uint64_t offset = 0;
  names.clear();
  for (const GgufTensorSource& tensor : tensors) {
    CHECK(names.insert(tensor.name).second && tensor.name.size() <= 63);
    append_string(bytes, tensor.name);
    append<uint32_t>(bytes, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) append<uint64_t>(bytes, static_cast<uint64_t>(tensor.shape[i]));
    append<uint32_t>(bytes, tensor.type->number);
    append(bytes, offset);
    offset += tensor.bytes() + padding(tensor.bytes());
  }
  bytes.append(padding(bytes.size()), '\0');
  return bytes;
}

}  // namespace

GgufEntry gguf_entry(std::string key, uint32_t value) {
  return number(std::move(key), kGgufUint32, value);
}
GgufEntry gguf_entry(std::string key, float value) {
  return number(std::move(key), kGgufFloat32, value);
}
GgufEntry gguf_entry(std::string key, bool value) {
  return number(std::move(key), kGgufBool, static_cast<uint8_t>(value));
}

GgufEntry gguf_entry(std::string key, std::string_view value) {
  GgufEntry entry{std::move(key), kGgufString, {}};
  append_string(entry.bytes, value);
  return entry;
}

GgufEntry gguf_array(std::string key, std::span<const std::string> items) {
  GgufEntry entry = array(std::move(key), kGgufString, items.size());
  for (const std::string& item : items) append_string(entry.bytes, item);
  return entry;
}

GgufEntry gguf_array(std::string key, std::span<const int32_t> items) {
  return number_array(std::move(key), kGgufInt32, items);
}

GgufEntry gguf_array(std::string key, std::span<const float> items) {
  return number_array(std::move(key), kGgufFloat32, items);
}

uint64_t GgufTensorSource::bytes() const {
  int64_t values = 1;
  for (const int64_t size : shape) values *= size;
  CHECK(!shape.empty() && shape.back() % type->values == 0);
  return static_cast<uint64_t>(values / type->values * type->bytes);
}

Result<void> write_gguf(const std::vector<GgufEntry>& entries, const std::vector<GgufTensorSource>& tensors,
                        OutputFile& out) {
  TRY(out.write(header(entries, tensors)));
  for (const GgufTensorSource& tensor : tensors) {
    uint64_t written = 0;
    auto sink = [&](std::string_view bytes) {
      written += bytes.size();
      return out.write(bytes);
    };
    TRY(tensor.write(sink));
    CHECK(written == tensor.bytes());
    TRY(out.write(std::string(padding(written), '\0')));
  }
  return {};
}

uint64_t gguf_bytes(const std::vector<GgufEntry>& entries, const std::vector<GgufTensorSource>& tensors) {
  uint64_t bytes = header(entries, tensors).size();
  for (const GgufTensorSource& tensor : tensors) bytes += tensor.bytes() + padding(tensor.bytes());
  return bytes;
}

}  // namespace candor::files
