// What `candor pretrain` can be told: a new model and its tokenizer, and how they are trained on text. The training
// itself is SFT on packed rows in which every token counts (sft.h), of all weights of a model that has learned nothing.
#pragma once

#include <string>

#include "files/json_file.h"
#include "files/model_config.h"
#include "recipes/sft_config.h"

namespace candor::recipes {

struct PretrainConfig : SftConfig {
  PretrainConfig();

  int64_t hidden_size = 128;
  int64_t intermediate_size = 0;  // 0: 8/3 of hidden_size, in multiples of 32
  int64_t num_hidden_layers = 4;
  int64_t num_attention_heads = 4;
  int64_t num_key_value_heads = 0;  // 0: num_attention_heads
  int64_t max_position_embeddings = 512;
  double rope_theta = 10000.0;
  bool tie_word_embeddings = true;
  double initializer_range = 0.02;
  int64_t vocab_size = 1024;
};

FieldList pretrain_fields(PretrainConfig& config);

// resolve_sft, and what follows from other keys. The new model lies in output_dir/initial.
Result<void> resolve_pretrain(PretrainConfig& config, const Given& given);

// The model of such a recipe, its vocabulary as large as vocab_size. Error: a shape that no model can have.
Result<files::ModelConfig> pretrain_model_config(const PretrainConfig& config);

// Learns the tokenizer from the rows of dataset_name and writes output_dir/initial: config.json, tokenizer.json,
// tokenizer_config.json with a chat template, and weights drawn from the seed. Where that folder is there (a run that
// goes on) nothing is done. Error: rows that hold no text, a vocabulary too small, a shape that no model can have.
Result<void> write_initial_model(const PretrainConfig& config);

}  // namespace candor::recipes
