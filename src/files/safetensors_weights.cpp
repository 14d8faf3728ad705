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

class SafetensorsWeights : public WeightReader {
 public:
  SafetensorsWeights(Shards shards, const std::vector<ExpectedWeight>& expected) : shards_(std::move(shards)) {
    for (const ExpectedWeight& weight : expected) {
      weights_.push_back({weight.name, shards_.tensors.at(weight.name).second->type, weight.shape});
    }
  }

  const std::vector<WeightInfo>& weights() const override { return weights_; }

  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const auto found = shards_.tensors.find(name);
    CHECK(found != shards_.tensors.end());
    const auto& [number, tensor] = found->second;
    const SafetensorsFile& file = shards_.files[number];
    const int64_t row = tensor->shape.size() == 2 ? tensor->shape[1] : 1;
    CHECK(0 <= begin && begin <= end && end <= tensor->shape[0]);
    TRY(file.read_floats(*tensor, begin * row, end * row, out));
    const int64_t bad = first_non_finite(out, (end - begin) * row);
    if (bad >= 0) {
      return error("[{}] weight \"{}\" holds {} in row {}: the file is damaged or the model's training diverged.",
                   file.path().string(), name, out[bad], begin + bad / row);
    }
    return {};
  }

 private:
  Shards shards_;
  std::vector<WeightInfo> weights_;
};

}  // namespace

Result<std::unique_ptr<WeightReader>> open_safetensors_weights(const fs::path& directory, const ModelConfig& config) {
  Shards shards = TRY(open_shards(directory));
  const std::vector<ExpectedWeight> expected = expected_weights(config);
  std::set<std::string_view> names;
  std::vector<std::string> missing;
  for (const ExpectedWeight& weight : expected) {
    names.insert(weight.name);
    const auto found = shards.tensors.find(weight.name);
    if (found == shards.tensors.end()) {
      missing.push_back(weight.name);
      continue;
    }
    const TensorInfo& tensor = *found->second.second;
    const std::string file = shards.files[found->second.first].path().string();
    if (tensor.shape != weight.shape) {
      return error("[{}] weight \"{}\" has the shape {}; config.json asks for {}.", file, weight.name,
                   shape_text(tensor.shape), shape_text(weight.shape));
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
  return std::unique_ptr<WeightReader>(std::make_unique<SafetensorsWeights>(std::move(shards), expected));
}

}  // namespace candor::files
