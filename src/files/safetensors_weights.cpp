// Weights of a Hugging Face directory.
#include <algorithm>
#include <map>
#include <set>

#include "base/check.h"
#include "files/json_file.h"
#include "files/safetensors.h"
#include "files/weight_names.h"
#include "files/weight_readers.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

// Where each tensor of the directory is.
struct Shards {
  std::vector<SafetensorsFile> files;
  std::map<std::string, std::pair<size_t, const TensorInfo*>, std::less<>> tensors;  // file number, place in it

  void add_all(SafetensorsFile file) {
    files.push_back(std::move(file));
    for (const TensorInfo& tensor : files.back().tensors()) tensors[tensor.name] = {files.size() - 1, &tensor};
  }
};

// A plain file name: no directory, no "..", nothing that leads out of the model's folder.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name.find('\0') == std::string::npos && name != "." &&
         name != "..";
}

Result<Shards> open_index(const fs::path& index) {
  const Json json = TRY(read_json_file(index));
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return error("[{}] has no object \"weight_map\".", index.string());
  }
  std::map<std::string, std::vector<std::string>> by_file;
  std::set<std::string> seen;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    if (!file.is_string() || !is_plain_name(file.get<std::string>())) {
      return error("[{}] places \"{}\" in {}; the name of a file beside it is expected.", index.string(), tensor,
                   file.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 200));
    }
    if (!seen.insert(tensor).second) return error("[{}] places \"{}\" twice.", index.string(), tensor);
    by_file[file.get<std::string>()].push_back(tensor);
  }
  Shards shards;
  for (const auto& [name, tensors] : by_file) {
    const fs::path path = index.parent_path() / name;
    if (!path_exists(path)) {
      return error("[{}] is missing: {} places {} weights there.", path.string(), index.filename().string(),
                   tensors.size());
    }
    shards.files.push_back(TRY(SafetensorsFile::open(path)));
    for (const std::string& tensor : tensors) {
      const TensorInfo* info = shards.files.back().find(tensor);
      if (info == nullptr) {
        return error("[{}] has no weight \"{}\", which {} places there.", path.string(), tensor,
                     index.filename().string());
      }
      shards.tensors[tensor] = {shards.files.size() - 1, info};
    }
  }
  return shards;
}

Result<Shards> open_shards(const fs::path& directory) {
  const fs::path single = directory / "model.safetensors", index = directory / "model.safetensors.index.json";
  if (path_exists(single)) {
    Shards shards;
    shards.add_all(TRY(SafetensorsFile::open(single)));
    return shards;
  }
  if (path_exists(index)) return open_index(index);
  return error("[{}] has neither model.safetensors nor model.safetensors.index.json.{}", directory.string(),
               path_exists(directory / "pytorch_model.bin") ? " PyTorch's .bin files are not read: convert them." : "");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// The name under which a weight lies in the directory, or null.
const std::string* stored_name(const Shards& shards, const ModelConfig& config, const std::string& name) {
  for (const std::string_view either : {std::string_view(name), short_name(config, name)})
    if (const auto found = shards.tensors.find(either); found != shards.tensors.end()) return &found->first;
  return nullptr;
}

class SafetensorsWeights : public WeightReader {
 public:
  SafetensorsWeights(Shards shards, const ModelConfig& config, const std::vector<ExpectedWeight>& expected)
      : shards_(std::move(shards)) {
    for (const ExpectedWeight& weight : expected) {
      const auto& [number, tensor] = shards_.tensors.at(*stored_name(shards_, config, weight.name));
      weights_.push_back({weight.name, tensor->type, weight.shape});
      places_[weight.name] = {number, tensor, weight.transposed};
    }
  }

  const std::vector<WeightInfo>& weights() const override { return weights_; }

  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const auto found = places_.find(name);
    CHECK(found != places_.end());
    const auto& [number, tensor, transposed] = found->second;
    const SafetensorsFile& file = shards_.files[number];
    const int64_t row = tensor->shape.size() == 2 ? tensor->shape[transposed ? 0 : 1] : 1;
    CHECK(0 <= begin && begin <= end && end <= tensor->shape[transposed ? 1 : 0]);
    if (transposed)
      TRY(read_columns(file, *tensor, begin, end, out));
    else
      TRY(file.read_floats(*tensor, begin * row, end * row, out));
    const int64_t bad = first_non_finite(out, (end - begin) * row);
    if (bad >= 0) {
      return error("[{}] weight \"{}\" holds {} in row {}: the file is damaged or the model's training diverged.",
                   file.path().string(), name, out[bad], begin + bad / row);
    }
    return {};
  }

 private:
  struct Place {
    size_t file;
    const TensorInfo* tensor;
    bool transposed;
  };

  // Columns [begin, end) of a matrix as rows. A read for each row of the file, but for all columns one for many rows.
  static Result<void> read_columns(const SafetensorsFile& file, const TensorInfo& tensor, int64_t begin, int64_t end,
                                   float* out) {
    constexpr int64_t kRows = 16;  // of a cache line of `out`
    const int64_t rows = tensor.shape[0], columns = tensor.shape[1], width = end - begin;
    std::vector<float> part(static_cast<size_t>(kRows * width));
    for (int64_t first = 0; first < rows; first += kRows) {
      const int64_t count = std::min(kRows, rows - first);
      if (width == columns) {
        TRY(file.read_floats(tensor, first * columns, (first + count) * columns, part.data()));
      } else {
        for (int64_t i = 0; i < count; ++i) {
          const int64_t at = (first + i) * columns;
          TRY(file.read_floats(tensor, at + begin, at + end, part.data() + i * width));
        }
      }
      for (int64_t k = 0; k < width; ++k)
        for (int64_t i = 0; i < count; ++i) out[k * rows + first + i] = part[static_cast<size_t>(i * width + k)];
    }
    return {};
  }

  Shards shards_;
  std::vector<WeightInfo> weights_;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace

Result<std::unique_ptr<WeightReader>> open_safetensors_weights(const fs::path& directory, const ModelConfig& config) {
  Shards shards = TRY(open_shards(directory));
  const std::vector<ExpectedWeight> expected = expected_weights(config);
  std::set<std::string_view> names;
  std::vector<std::string> missing;
  for (const ExpectedWeight& weight : expected) {
    const std::string* stored = stored_name(shards, config, weight.name);
    if (stored == nullptr) {
      missing.push_back(weight.name);
      continue;
    }
    names.insert(*stored);
    const auto& [number, info] = shards.tensors.at(*stored);
    const TensorInfo& tensor = *info;
    const std::string file = shards.files[number].path().string();
    std::vector<int64_t> shape = weight.shape;
    if (weight.transposed) std::swap(shape[0], shape[1]);
    if (tensor.shape != shape) {
      return error("[{}] weight \"{}\" has the shape {}; config.json asks for {}.", file, *stored,
                   shape_text(tensor.shape), shape_text(shape));
    }
    if (tensor.type != "F32" && tensor.type != "F16" && tensor.type != "BF16") {
      return error("[{}] weight \"{}\" is stored as {}, which is not supported yet: F32, F16 and BF16 are.", file,
                   weight.name, tensor.type);
    }
  }
  if (!missing.empty()) {
    return error("[{}] lacks {} of the {} weights that config.json asks for, first \"{}\".", directory.string(),
                 missing.size(), expected.size(), missing.front());
  }
  for (const auto& [name, place] : shards.tensors) {
    if (names.contains(name) || is_ignored_weight(config, name)) continue;
    return error(
        "[{}] holds the weight \"{}\", which a {} model with this config.json does not have; it may change the "
        "result, so it is not ignored.",
        shards.files[place.first].path().string(), name, config.family);
  }
  return std::unique_ptr<WeightReader>(std::make_unique<SafetensorsWeights>(std::move(shards), config, expected));
}

}  // namespace candor::files
