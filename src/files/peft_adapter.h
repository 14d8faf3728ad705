// LoRA adapters as PEFT lays them on disk: adapter_config.json and adapter_model.safetensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace candor::files {

struct LoraConfig {
  int64_t r = 8;
  double alpha = 8;
  bool use_rslora = false;                       // scale alpha/sqrt(r) instead of alpha/r
  double dropout = 0;                            // kept for the file; training here refuses more than 0 in RL
  std::vector<std::string> target_modules;       // names; {"all-linear"} = every linear layer but the head
  std::string target_regex;                      // instead of the list: matched against the whole module path
  std::vector<int64_t> layers_to_transform;      // empty = all
  std::string base_model_name_or_path;
};

// One adapted module: y += scale·B(A x).
struct LoraTensors {
  std::string module;  // "model.layers.0.self_attn.q_proj"
  int64_t rank = 0, in = 0, out = 0;
  std::vector<float> a;  // [rank, in]
  std::vector<float> b;  // [out, rank]
};

struct PeftAdapter {
  LoraConfig config;
  std::vector<LoraTensors> pairs;
};

// Whether PEFT would adapt this module path.
Result<bool> target_matches(const LoraConfig& config, std::string_view module);

Result<PeftAdapter> read_peft_adapter(const std::filesystem::path& directory);
// Writes both files as PEFT's save_pretrained does, so that PEFT loads them.
Result<void> write_peft_adapter(const std::filesystem::path& directory, const PeftAdapter& adapter);

}  // namespace candor::files
