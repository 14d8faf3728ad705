#include "files/model_writer.h"

#include <algorithm>
#include <map>

#include "base/input_file.h"
#include "files/hf_config.h"
#include "files/model_text_writer.h"
#include "files/weight_names.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

Result<void> check_weights(const ModelConfig& config, const std::vector<TensorSource>& weights,
                           const std::string& name) {
  std::map<std::string_view, const TensorSource*> given;
  for (const TensorSource& weight : weights) {
    if (!given.emplace(weight.name, &weight).second)
      return error("[{}] the weight \"{}\" is to be written twice.", name, weight.name);
  }
  for (const ExpectedWeight& expected : expected_weights(config)) {
    const auto found = given.find(expected.name);
    if (found == given.end()) return error("[{}] the weight \"{}\" is missing.", name, expected.name);
    if (found->second->shape != expected.shape) {
      return error("[{}] the weight \"{}\" has the shape [{}]; the model's config asks for [{}].", name, expected.name,
                   fmt::join(found->second->shape, ", "), fmt::join(expected.shape, ", "));
    }
    given.erase(found);
  }
  if (given.empty()) return {};
  return error("[{}] the weight \"{}\" is unknown in a {} model.", name, given.begin()->first, config.family);
}

int64_t stored_bytes(const std::vector<TensorSource>& weights, FloatType type) {
  int64_t bytes = 0;
  for (const TensorSource& weight : weights) bytes += weight.elements() * bytes_of(type);
  return bytes;
}

NamedContent weight_file(std::string name, std::vector<TensorSource> weights, FloatType type) {
  return {std::move(name),
          [weights = std::move(weights), type](OutputFile& out) { return write_safetensors(weights, type, {}, out); }};
}

// One file, or shards filled in the order of `weights` and their index.
std::vector<NamedContent> weight_files(const std::vector<TensorSource>& weights, const ModelWriteOptions& options) {
  std::vector<std::vector<TensorSource>> shards(1);
  int64_t bytes = 0, parameters = 0;
  for (const TensorSource& weight : weights) {
    const int64_t size = weight.elements() * bytes_of(options.type);
    if (!shards.back().empty() && bytes + size > options.max_shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(weight);
    bytes += size;
    parameters += weight.elements();
  }
  std::vector<NamedContent> files;
  if (shards.size() == 1) {
    files.push_back(weight_file("model.safetensors", weights, options.type));
    return files;
  }
  Json map = Json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    for (const TensorSource& weight : shards[i]) map[weight.name] = name;
    files.push_back(weight_file(name, std::move(shards[i]), options.type));
  }
  const Json index = {
      {"metadata", {{"total_parameters", parameters}, {"total_size", stored_bytes(weights, options.type)}}},
      {"weight_map", std::move(map)}};
  files.push_back(named_bytes("model.safetensors.index.json", index.dump(2) + "\n"));
  return files;
}

// A matrix [out, in] as [in, out]: the whole of it is held from its first row to its last.
TensorSource transposed(const TensorSource& source) {
  const int64_t out = source.shape[0], in = source.shape[1];
  const auto whole = std::make_shared<std::vector<float>>();
  return {source.name, {in, out}, [=, read = source.read_rows](int64_t begin, int64_t end, float* to) -> Result<void> {
            if (begin == 0) {
              whole->resize(static_cast<size_t>(out * in));
              TRY(read(0, out, whole->data()));
            }
            for (int64_t k = begin; k < end; ++k)
              for (int64_t row = 0; row < out; ++row) *to++ = (*whole)[static_cast<size_t>(row * in + k)];
            if (end == in) std::vector<float>().swap(*whole);
            return {};
          }};
}

std::vector<TensorSource> as_stored(const ModelConfig& config, std::vector<TensorSource> weights) {
  if (!config.transposed) return weights;
  std::map<std::string_view, const ExpectedWeight*> by_name;
  const std::vector<ExpectedWeight> expected = expected_weights(config);
  for (const ExpectedWeight& weight : expected) by_name[weight.name] = &weight;
  for (TensorSource& weight : weights)
    if (by_name.at(weight.name)->transposed) weight = transposed(weight);
  return weights;
}

// Before hours of work go into a folder that cannot be finished.
Result<void> check_space(const fs::path& path, int64_t bytes) {
  fs::path folder = fs::absolute(path.lexically_normal());
  while (!path_exists(folder) && folder.has_relative_path()) folder = folder.parent_path();
  std::error_code code;
  const fs::space_info space = fs::space(folder, code);
  if (code || space.available >= static_cast<uint64_t>(bytes)) return {};  // where it cannot be told, the writing tells
  return error("[{}] the weights take {} bytes, and {} are free there. Make room or choose another disk.",
               path.string(), bytes, space.available);
}

}  // namespace

Result<std::vector<NamedContent>> model_directory_files(const ModelFiles& source,
                                                        const std::vector<TensorSource>& weights,
                                                        const ModelWriteOptions& options) {
  ModelConfig config = source.config;
  if (std::any_of(weights.begin(), weights.end(), [](const TensorSource& w) { return w.name == "lm_head.weight"; }))
    config.tied_head = false;
  if (options.labels > 0) config.labels = options.labels;
  TRY(check_weights(config, weights, source.path.string()));
  std::vector<NamedContent> files = weight_files(as_stored(config, weights), options);
  files.push_back(named_bytes("config.json", TRY(config_json_text(source, config, options.type))));
  for (NamedContent& file : TRY(text_files(source))) files.push_back(std::move(file));
  return files;
}

Result<void> write_model_directory(const fs::path& path, const ModelFiles& source,
                                   const std::vector<TensorSource>& weights, const ModelWriteOptions& options,
                                   IfThere if_there) {
  const std::vector<NamedContent> files = TRY(model_directory_files(source, weights, options));
  if (if_there == IfThere::kReplace || !path_exists(path)) TRY(check_space(path, stored_bytes(weights, options.type)));
  return write_folder_atomically(path, files, if_there);
}

std::vector<TensorSource> weight_sources(const WeightReader& weights) {
  std::vector<TensorSource> sources;
  for (const WeightInfo& weight : weights.weights()) {
    sources.push_back(
        {weight.name, weight.shape, [&weights, name = weight.name](int64_t begin, int64_t end, float* out) {
           return weights.read_rows(name, begin, end, out);
         }});
  }
  return sources;
}

}  // namespace candor::files
