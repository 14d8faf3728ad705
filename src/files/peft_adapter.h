// LoRA adapters as PEFT lays them on disk: adapter_config.json and adapter_model.safetensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/safetensors.h"

namespace candor::files {

// What A and B begin with (PEFT's init_lora_weights).
enum class LoraInit {
  kDefault,   // true: A uniform in ±1/sqrt(in), B zero; of an embedding A zero, B normal
  kGaussian,  // "gaussian": A normal with deviation 1/r, B zero
  kRandom,    // false: B uniform in ±1/sqrt(r) too, so that the start is not the base model
  kPissa      // "pissa": the principal singular vectors (arXiv 2404.02948); read from a file: see PeftAdapter
};

struct LoraConfig {
  int64_t r = 8;
  double alpha = 8;
  bool use_rslora = false;  // scale alpha/sqrt(r) instead of alpha/r
  bool use_dora = false;    // arXiv 2402.09353
  // The base's linear layers are Conv1D. Kept for the file: A and B lie the same way, and PEFT itself looks at the
  // layer.
  bool fan_in_fan_out = false;
  LoraInit init = LoraInit::kDefault;
  double dropout = 0;  // kept for the file; training here refuses more than 0 in RL
  // Other ranks and alphas by module: a regular expression for the end of its path, and the number. The first that
  // matches counts, in each list on its own.
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::vector<std::string> target_modules;   // names; {"all-linear"} = every linear layer but the head
  std::string target_regex;                  // instead of the list: matched against the whole module path
  std::vector<int64_t> layers_to_transform;  // empty = all
  std::vector<std::string> layers_pattern;   // regular expressions for what stands before the layer's number
  std::string base_model_name_or_path;
  std::vector<std::string> modules_to_save;  // names of modules that are trained whole: "lm_head", "score"
  // base_fingerprint() of the model that it was trained on; empty where it is not known (PEFT's own adapters). In the
  // file it is "candor.base_sha256" of the safetensors' metadata, which PEFT does not look at.
  std::string base_fingerprint;
  // The last half of every pair's ranks is never trained: PiSSA's start, taken off again. In the file "candor.pissa" of
  // the metadata.
  bool frozen_half = false;
};

struct PairSettings {
  int64_t rank = 0;
  double scale = 0;  // alpha/r, or alpha/sqrt(r) with rsLoRA (arXiv 2312.03732)
};
// Of the module at this path. Error: a pattern that is no regular expression, or exceeds PCRE2's match limits.
Result<PairSettings> pair_settings(const LoraConfig& config, std::string_view module);

// One adapted module: y += scale·B(A x), or with magnitudes DoRA. Of an embedding, `in` is the vocabulary and x a one.
struct LoraTensors {
  std::string module;  // "model.layers.0.self_attn.q_proj"
  int64_t rank = 0, in = 0, out = 0;
  std::vector<float> a = {};          // [rank, in]
  std::vector<float> b = {};          // [out, rank]
  std::vector<float> magnitude = {};  // [out] with use_dora; otherwise empty
};

// Of a file with config.init kPissa the pairs belong to the residual base W − s·B0·A0, as PEFT saves them:
// engine::adapter_from_peft makes plain LoRA of them.
struct PeftAdapter {
  LoraConfig config;
  std::vector<LoraTensors> pairs;
  // What modules_to_save names: whole weights that take the place of the base's, under the base's names
  // ("lm_head.weight"). With a tied head, each of embedding and head is a copy of its own, as in PEFT.
  std::vector<FloatTensor> saved_weights;
};

// Whether PEFT would adapt the linear layer at this module path: a list matches a path that equals a name or ends in
// "." + name (and then looks at layers_to_transform, unless it equals it), a regular expression the whole path,
// "all-linear" every linear layer but the head. What modules_to_save names is never adapted. Error: the expression is
// malformed or exceeds PCRE2's match limits; all-linear together with layers_to_transform, which PEFT would ignore.
Result<bool> target_matches(const LoraConfig& config, std::string_view module);

// Whether a pair of this module adapts an embedding: A is [rank, vocabulary], B [hidden, rank].
bool is_adapted_embedding(std::string_view module);

// Whether modules_to_save names the module at this path: the path equals a name or ends in "." + name.
bool is_saved_module(const LoraConfig& config, std::string_view module);

// Reads both files. Error: names the file and the key, tensor or shape that is wrong, not supported yet, or unknown (an
// unknown key that is null, false or empty changes nothing and is ignored). Pairs come sorted by module, saved weights
// by name. The base's own weights, which PEFT adds where the embedding is a target, are passed over.
Result<PeftAdapter> read_peft_adapter(const std::filesystem::path& directory);

// The two files as PEFT's save_pretrained writes them, for a folder that is written with others (a checkpoint). The
// keys of adapter_config.json are those that PEFT has had since 0.10; all-linear is written as the names it stands for.
struct PeftFiles {
  std::string adapter_config_json;
  std::string adapter_model_safetensors;
};
PeftFiles encode_peft_adapter(const PeftAdapter& adapter);

// Writes them into `directory`, which is made where it is absent.
Result<void> write_peft_adapter(const std::filesystem::path& directory, const PeftAdapter& adapter);

}  // namespace candor::files
