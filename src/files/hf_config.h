// config.json of a Hugging Face model, or the same facts from GGUF metadata, as a ModelConfig.
//
// Both dialects of config.json are read: Transformers 4 (rope_theta and rope_scaling, its type under "rope_type" or
// "type") and 5 (rope_parameters). What would change the model and is not understood is refused, never ignored.
#pragma once

#include <string>

#include "base/result.h"
#include "files/gguf.h"
#include "files/json_file.h"
#include "files/model_config.h"
#include "files/model_files.h"
#include "files/safetensors_writer.h"

namespace candor::files {

// `name` names the file in messages. Error: a missing or impossible value, another model family, a rope type or an
// activation that is not supported.
Result<ModelConfig> config_from_json(const Json& json, const std::string& name);

// From the keys llama.* of a GGUF file, general.architecture and which tensors exist (head tied or not, biases). The
// divisors of rope_freqs.weight are read into the config.
Result<ModelConfig> config_from_gguf(const GgufFile& file);

// What Llama 3's rule (Transformers' rope type llama3) divides the frequency of dimension pair `i` by: GGUF keeps
// these.
double llama3_divisor(const RopeConfig& rope, int64_t i, int64_t head_dim);

// The text of a config.json for weights of `type` and the facts of `config`, which are the source's, but for
// `tied_head`: the source's own config.json with what must change; of a GGUF source a new one. Error: rope_freqs.weight
// divides the frequencies in a way that no config.json can say.
Result<std::string> config_json_text(const ModelFiles& source, const ModelConfig& config, FloatType type);

// Token ids at which generation ends: a number or a list of them, as "eos_token_id" in config.json and
// generation_config.json; null gives none. Error: anything else, or an id outside [0, vocab_size).
Result<std::vector<int32_t>> token_ids_from_json(const Json& value, int64_t vocab_size, const std::string& name);

}  // namespace candor::files
