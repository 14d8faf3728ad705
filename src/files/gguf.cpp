#include "files/gguf.h"

#include <utf8proc.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace candor::files {

static_assert(std::endian::native == std::endian::little, "the files are little-endian and read as they are");

namespace {

// Far above any real file (a few thousand tensors, some fifty values): bounds the memory of entries kept in maps.
constexpr uint64_t kMostTensors = 1 << 20, kMostValues = 1 << 16;

// Bytes of a value of fixed size; 0 = string, array or unknown.
uint64_t fixed_bytes(uint32_t type) {
  constexpr uint64_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}

template <typename T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

GgufValue fixed_value(uint32_t type, const char* bytes) {
  switch (type) {
    case kGgufUint8:
      return uint64_t{load<uint8_t>(bytes)};
    case kGgufInt8:
      return int64_t{load<int8_t>(bytes)};
    case kGgufUint16:
      return uint64_t{load<uint16_t>(bytes)};
    case kGgufInt16:
      return int64_t{load<int16_t>(bytes)};
    case kGgufUint32:
      return uint64_t{load<uint32_t>(bytes)};
    case kGgufInt32:
      return int64_t{load<int32_t>(bytes)};
    case kGgufFloat32:
      return double{load<float>(bytes)};
    case kGgufBool:
      return load<uint8_t>(bytes) != 0;
    case kGgufUint64:
      return load<uint64_t>(bytes);
    case kGgufInt64:
      return load<int64_t>(bytes);
    default:
      return load<double>(bytes);
  }
}

bool is_utf8(const std::string& text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t character = 0;
    const utf8proc_ssize_t used = utf8proc_iterate(bytes, left, &character);
    if (used <= 0) return false;
    bytes += used;
    left -= used;
  }
  return true;
}

}  // namespace

// Reads the file front to back through a small buffer; every length is held against what is left.
class GgufParser {
 public:
  explicit GgufParser(GgufFile& result) : result_(result), name_(result.path().string()) {}

  Result<void> parse() {
    TRY(parse_header());
    for (uint64_t i = 0; i < value_count_; ++i) TRY(parse_entry());
    TRY(parse_alignment());
    for (uint64_t i = 0; i < tensor_count_; ++i) TRY(parse_tensor());
    return place_tensors();
  }

 private:
  Result<void> parse_header() {
    const auto magic = TRY((number<uint32_t>("the magic number")));
    if (magic != 0x46554747) return error("[{}] is not a GGUF file: it does not start with \"GGUF\".", name_);
    result_.version_ = TRY((number<uint32_t>("the version")));
    if (result_.version_ != 0 && (result_.version_ & 0xffff) == 0) {
      return error("[{}] is a big-endian GGUF file; only little-endian ones are supported.", name_);
    }
    if (result_.version_ != 2 && result_.version_ != 3) {
      return error("[{}] is GGUF version {}; versions 2 and 3 are supported.", name_, result_.version_);
    }
    tensor_count_ = TRY((number<uint64_t>("the tensor count")));
    value_count_ = TRY((number<uint64_t>("the metadata count")));
    // Smallest entries: a tensor is name length, dimension count, type, offset; a value key length, type, one byte.
    if (tensor_count_ > left() / 24 || tensor_count_ > kMostTensors) {
      return error("[{}] claims {} tensors and has {} bytes left for their list.", name_, tensor_count_, left());
    }
    if (value_count_ > left() / 13 || value_count_ > kMostValues) {
      return error("[{}] claims {} metadata entries and has {} bytes left for them.", name_, value_count_, left());
    }
    return {};
  }

  Result<void> parse_entry() {
    std::string key = TRY(string("a metadata key"));
    if (!is_utf8(key)) return error("[{}] has a metadata key that is not UTF-8, near byte {}.", name_, position_);
    const auto type = TRY((number<uint32_t>("a metadata type")));
    if (!result_.value_index_.emplace(key, result_.metadata_.size()).second) {
      return error("[{}] has the metadata key \"{}\" twice.", name_, key);
    }
    const std::string what = fmt::format("the value of metadata key \"{}\"", key);
    const uint64_t begin = position_;
    if (type == kGgufString) {
      result_.metadata_.emplace_back(std::move(key), TRY(string(what)));
    } else if (type == kGgufArray) {
      result_.metadata_.emplace_back(std::move(key), TRY(array(what)));
    } else if (fixed_bytes(type) != 0) {
      char bytes[8];
      TRY(read(bytes, fixed_bytes(type), what));
      result_.metadata_.emplace_back(std::move(key), fixed_value(type, bytes));
    } else {
      return error("[{}] metadata key \"{}\" has the unknown value type {}.", name_, key, type);
    }
    result_.value_places_.push_back({static_cast<GgufValueType>(type), begin, position_});
    return {};
  }

  Result<GgufArray> array(const std::string& what) {
    GgufArray array;
    array.item_type = TRY((number<uint32_t>(what)));
    array.count = TRY((number<uint64_t>(what)));
    const uint64_t item_bytes = fixed_bytes(array.item_type);
    if (array.item_type == kGgufArray)
      return error("[{}] {} is an array of arrays, which is not supported.", name_, what);
    if (item_bytes == 0 && array.item_type != kGgufString) {
      return error("[{}] {} is an array of the unknown type {}.", name_, what, array.item_type);
    }
    // A string takes at least its length.
    if (array.count > left() / (item_bytes != 0 ? item_bytes : 8)) {
      return error("[{}] {} claims {} items, and the file has {} bytes left.", name_, what, array.count, left());
    }
    if (item_bytes != 0) {
      array.bytes.resize(array.count * item_bytes);
      TRY(read(array.bytes.data(), array.bytes.size(), what));
      return array;
    }
    for (uint64_t i = 0; i < array.count; ++i) array.strings.push_back(TRY(string(what)));
    return array;
  }

  Result<void> parse_alignment() {
    const GgufValue* value = result_.find_value("general.alignment");
    if (value == nullptr) return {};
    const uint64_t* alignment = std::get_if<uint64_t>(value);
    if (alignment == nullptr || !std::has_single_bit(*alignment)) {
      return error("[{}] general.alignment is {}; a power of two is expected.", name_,
                   alignment == nullptr ? "no unsigned number" : std::to_string(*alignment));
    }
    result_.alignment_ = *alignment;
    return {};
  }

  Result<void> parse_tensor() {
    GgufTensor tensor;
    tensor.name = TRY(string("a tensor's name"));
    if (tensor.name.size() > 63 || !is_utf8(tensor.name)) {
      return error("[{}] has a tensor name that is longer than 63 bytes or not UTF-8, near byte {}.", name_, position_);
    }
    const std::string what = fmt::format("tensor \"{}\"", tensor.name);
    const auto dimensions = TRY((number<uint32_t>(what)));
    if (dimensions > 4) return error("[{}] {} has {} dimensions; at most 4 are allowed.", name_, what, dimensions);
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = TRY((number<uint64_t>(what)));
      if (size == 0 || size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return error("[{}] {} has a dimension of {}.", name_, what, static_cast<int64_t>(size));
      }
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    const auto type = TRY((number<uint32_t>(what)));
    tensor.type = find_block_type(type);
    if (tensor.type == nullptr) return error("[{}] {} has the unknown or removed type {}.", name_, what, type);
    const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (row % tensor.type->values != 0) {
      return error("[{}] {} has rows of {} values, no multiple of the {} in a block of {}.", name_, what, row,
                   tensor.type->values, tensor.type->name);
    }
    int64_t bytes = row / tensor.type->values;
    bool overflow = __builtin_mul_overflow(bytes, tensor.type->bytes, &bytes);
    for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
      overflow = overflow || __builtin_mul_overflow(bytes, tensor.shape[i], &bytes);
    }
    if (overflow) return error("[{}] {} has a size that does not fit 64 bits.", name_, what);
    tensor.bytes = static_cast<uint64_t>(bytes);
    tensor.offset = TRY((number<uint64_t>(what)));
    if (!result_.tensor_index_.emplace(tensor.name, result_.tensors_.size()).second) {
      return error("[{}] has the tensor \"{}\" twice.", name_, tensor.name);
    }
    result_.tensors_.push_back(std::move(tensor));
    return {};
  }

  // The data section starts at the next multiple of the alignment; tensors must lie inside it, apart from each other.
  Result<void> place_tensors() {
    if (result_.tensors_.empty()) return {};
    const uint64_t padding = (result_.alignment_ - position_ % result_.alignment_) % result_.alignment_;
    const uint64_t file_bytes = result_.file_.size();
    if (padding > left()) return error("[{}] ends before the data of its {} tensors.", name_, result_.tensors_.size());
    const uint64_t start = position_ + padding, data_bytes = file_bytes - start;
    std::vector<GgufTensor*> by_offset;
    for (GgufTensor& tensor : result_.tensors_) {
      if (tensor.offset % result_.alignment_ != 0) {
        return error("[{}] tensor \"{}\" starts at offset {}, no multiple of the alignment {}.", name_, tensor.name,
                     tensor.offset, result_.alignment_);
      }
      if (tensor.offset > data_bytes || tensor.bytes > data_bytes - tensor.offset) {
        return error("[{}] tensor \"{}\" needs {} bytes from offset {} of the data, which has {}: cut off or damaged.",
                     name_, tensor.name, tensor.bytes, tensor.offset, data_bytes);
      }
      tensor.offset += start;
      by_offset.push_back(&tensor);
    }
    std::sort(by_offset.begin(), by_offset.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < by_offset.size(); ++i) {
      const GgufTensor &before = *by_offset[i - 1], &after = *by_offset[i];
      if (before.offset + before.bytes > after.offset) {
        return error("[{}] tensors \"{}\" and \"{}\" overlap.", name_, before.name, after.name);
      }
    }
    return {};
  }

  uint64_t left() const { return result_.file_.size() - position_; }

  Result<void> read(char* out, uint64_t count, const std::string& what) {
    if (count > left()) {
      return error("[{}] ends at byte {} inside {}: cut off or damaged.", name_, result_.file_.size(), what);
    }
    while (count > 0) {
      if (position_ < buffer_start_ || position_ >= buffer_start_ + buffer_.size()) {
        buffer_.resize(std::min<uint64_t>(left(), 1 << 16));
        buffer_start_ = position_;
        TRY(result_.file_.read(buffer_start_, buffer_.data(), buffer_.size()));
      }
      const uint64_t at = position_ - buffer_start_, part = std::min<uint64_t>(count, buffer_.size() - at);
      std::memcpy(out, buffer_.data() + at, part);
      out += part;
      position_ += part;
      count -= part;
    }
    return {};
  }

  template <typename T>
  Result<T> number(const std::string& what) {
    char bytes[sizeof(T)];
    TRY(read(bytes, sizeof(T), what));
    return load<T>(bytes);
  }

  Result<std::string> string(const std::string& what) {
    const auto length = TRY((number<uint64_t>(what)));
    if (length > left()) {
      return error("[{}] {} claims {} bytes, and the file has {} left: cut off or damaged.", name_, what, length,
                   left());
    }
    std::string text(length, '\0');
    TRY(read(text.data(), length, what));
    return text;
  }

  GgufFile& result_;
  std::string name_;
  uint64_t position_ = 0, tensor_count_ = 0, value_count_ = 0;
  uint64_t buffer_start_ = 0;
  std::string buffer_;
};

Result<GgufFile> GgufFile::open(const std::filesystem::path& path) {
  GgufFile result(TRY(InputFile::open(path)));
  TRY(GgufParser(result).parse());
  return result;
}

std::optional<std::vector<int64_t>> GgufArray::integers() const {
  const uint64_t size = fixed_bytes(item_type);
  if (size == 0 || item_type == kGgufBool) return std::nullopt;
  std::vector<int64_t> values;
  for (uint64_t i = 0; i < count; ++i) {
    const GgufValue value = fixed_value(item_type, bytes.data() + i * size);
    if (const auto* number = std::get_if<int64_t>(&value)) {
      values.push_back(*number);
    } else if (const auto* number = std::get_if<uint64_t>(&value);
               number != nullptr && std::in_range<int64_t>(*number)) {
      values.push_back(static_cast<int64_t>(*number));
    } else {
      return std::nullopt;
    }
  }
  return values;
}

std::optional<std::vector<double>> GgufArray::floats() const {
  if (item_type != kGgufFloat32 && item_type != kGgufFloat64) return std::nullopt;
  std::vector<double> values;
  for (uint64_t i = 0; i < count; ++i) {
    values.push_back(std::get<double>(fixed_value(item_type, bytes.data() + i * fixed_bytes(item_type))));
  }
  return values;
}

Result<std::vector<GgufEntry>> GgufFile::entries() const {
  std::vector<GgufEntry> entries;
  for (size_t i = 0; i < metadata_.size(); ++i) {
    const auto& [type, begin, end] = value_places_[i];
    GgufEntry& entry = entries.emplace_back(GgufEntry{metadata_[i].first, type, std::string(end - begin, '\0')});
    TRY(file_.read(begin, entry.bytes.data(), entry.bytes.size()));
  }
  return entries;
}

const GgufValue* GgufFile::find_value(std::string_view key) const {
  const auto found = value_index_.find(key);
  return found == value_index_.end() ? nullptr : &metadata_[found->second].second;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

Result<std::optional<int64_t>> GgufFile::integer(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::optional<int64_t>();
  if (const auto* number = std::get_if<int64_t>(value)) return std::optional(*number);
  if (const auto* number = std::get_if<uint64_t>(value); number != nullptr && std::in_range<int64_t>(*number)) {
    return std::optional(static_cast<int64_t>(*number));
  }
  return candor::error("[{}] metadata key \"{}\" is not a whole number that fits 63 bits.", path().string(), key);
}

Result<std::optional<double>> GgufFile::number(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::optional<double>();
  if (const auto* number = std::get_if<double>(value)) return std::optional(*number);
  const std::optional<int64_t> whole = TRY(integer(key));
  return std::optional(static_cast<double>(*whole));
}

Result<std::optional<bool>> GgufFile::boolean(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::optional<bool>();
  if (const auto* flag = std::get_if<bool>(value)) return std::optional(*flag);
  return candor::error("[{}] metadata key \"{}\" is not a truth value.", path().string(), key);
}

Result<std::optional<std::string>> GgufFile::string(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::optional<std::string>();
  if (const auto* text = std::get_if<std::string>(value)) return std::optional(*text);
  return candor::error("[{}] metadata key \"{}\" is not a string.", path().string(), key);
}

Result<const GgufArray*> GgufFile::array(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return static_cast<const GgufArray*>(nullptr);
  const auto* array = std::get_if<GgufArray>(value);
  if (array == nullptr) return candor::error("[{}] metadata key \"{}\" is not an array.", path().string(), key);
  return array;
}

}  // namespace candor::files
