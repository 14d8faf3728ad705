// The keys of `candor pretrain` in their order.
#include "recipes/pretrain_config.h"

namespace candor::recipes {

FieldList pretrain_fields(PretrainConfig& c) {
  FieldList list("pretrain");
  list.section(Heading::kResults, "The new model (Llama)");
  list.add("hidden_size", &c.hidden_size, "width", {.range = between(2, 1 << 16)});
  list.add("intermediate_size", &c.intermediate_size, "width of the MLP; 0: 8/3 of hidden_size",
           {.range = between(0, 1 << 18)});
  list.add("num_hidden_layers", &c.num_hidden_layers, "layers", {.range = between(1, 1024)});
  list.add("num_attention_heads", &c.num_attention_heads, "heads", {.range = between(1, 1024)});
  list.add("num_key_value_heads", &c.num_key_value_heads, "heads of keys and values; 0: as many as heads",
           {.range = between(0, 1024)});
  list.add("max_position_embeddings", &c.max_position_embeddings, "context",
           {.unit = "tokens", .range = between(2, kMaxTokens)});
  list.add("rope_theta", &c.rope_theta, "base of the rotary positions", {.range = above(0)});
  list.add("tie_word_embeddings", &c.tie_word_embeddings, "the embedding is the head too");
  list.add("initializer_range", &c.initializer_range, "deviation of the first weights", {.range = above(0)});
  list.add("vocab_size", &c.vocab_size, "tokens of the byte-level BPE that is learned from the rows",
           {.unit = "tokens", .range = between(259, 1 << 20)});

  list.section(Heading::kResults, "Text");
  list.add("dataset_name", &c.dataset_name,
           "the rows: JSONL, JSON or CSV with text, messages, or prompt and completion", {.required = true});
  list.add("eval_dataset", &c.eval_dataset, "rows to evaluate on, never trained on");
  list.add("dataset_text_field", &c.dataset_text_field, "the column of plain text");
  list.add("shuffle_dataset", &c.shuffle_dataset, "draw the bins in an order that the seed decides");
  list.add("seed", &c.seed, "of the first weights and the order of bins", {.range = between(0, 9007199254740992.0)});
  list.add("max_length", &c.max_length, "size of a bin, which the text fills without gaps",
           {.unit = "tokens", .range = between(2, kMaxTokens)});
  list.add("packing_strategy", &c.packing_strategy,
           "one stream cut wherever a bin is full (wrapped), or rows side by side (bfd, bfd_split)",
           {.choices = {"wrapped", "bfd", "bfd_split"}});
  add_batch(list, c, "bins");
  add_optimizer(list, c);
  add_best_model(list, c, {"eval_loss", "eval_mean_token_accuracy"});
  add_speed(list, c);
  add_record(list, c);
  return list;
}

}  // namespace candor::recipes
