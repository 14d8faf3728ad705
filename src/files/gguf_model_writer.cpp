#include "files/gguf_model_writer.h"

#include <algorithm>
#include <set>

#include "base/input_file.h"
#include "base/math.h"
#include "files/hf_config.h"
#include "files/json_file.h"
#include "files/model_text.h"
#include "text/tokenizer_gguf_writer.h"

namespace candor::files {

namespace {

constexpr std::pair<std::string_view, uint32_t> kFileTypes[] = {{"F32", 0},  {"F16", 1},  {"Q4_0", 2},
                                                                {"Q4_1", 3}, {"Q8_0", 7}, {"BF16", 32}};
constexpr uint32_t kGuessedType = 1024, kQuantizationVersion = 2;
constexpr uint64_t kLargestTokenizer = uint64_t{256} << 20;

void append(std::vector<GgufEntry>& to, std::vector<GgufEntry> from) {
  std::move(from.begin(), from.end(), std::back_inserter(to));
}

Result<std::vector<GgufEntry>> rope_entries(const ModelConfig& config, const std::string& name) {
  const RopeConfig& rope = config.rope;
  const std::string at = config.family + ".rope.";
  std::vector<GgufEntry> entries = {gguf_entry(at + "freq_base", static_cast<float>(rope.theta))};
  if (rope.type == RopeType::kLinear) {
    entries.push_back(gguf_entry(at + "scaling.type", "linear"));
    entries.push_back(gguf_entry(at + "scaling.factor", static_cast<float>(rope.factor)));
  }
  if (rope.type != RopeType::kYarn) return entries;
  if (!rope.truncate) return error("[{}] yarn with truncate false cannot be said in a GGUF file.", name);
  entries.push_back(gguf_entry(at + "scaling.type", "yarn"));
  entries.push_back(gguf_entry(at + "scaling.factor", static_cast<float>(rope.factor)));
  entries.push_back(
      gguf_entry(at + "scaling.original_context_length", static_cast<uint32_t>(rope.original_max_positions)));
  entries.push_back(gguf_entry(at + "scaling.yarn_beta_fast", static_cast<float>(rope.beta_fast)));
  entries.push_back(gguf_entry(at + "scaling.yarn_beta_slow", static_cast<float>(rope.beta_slow)));
  if (rope.attention_factor != 0) {
    const double usual = rope.factor > 1 ? 0.1 * exact_log(rope.factor) + 1 : 1;  // llama.cpp multiplies by it
    entries.push_back(gguf_entry(at + "scaling.attn_factor", static_cast<float>(rope.attention_factor / usual)));
  }
  return entries;
}

Result<std::vector<GgufEntry>> model_entries(const ModelConfig& c, const std::string& name) {
  auto size = [&](const char* key, int64_t value) {
    return gguf_entry(c.family + "." + key, static_cast<uint32_t>(value));
  };
  std::vector<GgufEntry> entries = {size("vocab_size", c.vocab_size),
                                    size("context_length", c.max_positions),
                                    size("embedding_length", c.hidden_size),
                                    size("block_count", c.layers),
                                    size("feed_forward_length", c.intermediate_size),
                                    size("attention.head_count", c.heads)};
  if (c.rope.type == RopeType::kNone) {
    entries.push_back(gguf_entry(c.family + ".attention.layer_norm_epsilon", static_cast<float>(c.norm_eps)));
    return entries;
  }
  entries.push_back(size("attention.head_count_kv", c.kv_heads));
  entries.push_back(size("rope.dimension_count", c.head_dim));
  if (c.head_dim * c.heads != c.hidden_size) {
    entries.push_back(size("attention.key_length", c.head_dim));
    entries.push_back(size("attention.value_length", c.head_dim));
  }
  entries.push_back(gguf_entry(c.family + ".attention.layer_norm_rms_epsilon", static_cast<float>(c.norm_eps)));
  append(entries, TRY(rope_entries(c, name)));
  return entries;
}

// The ids of the model's tokens with a meaning. What ends a completion has three keys; the tokenizer's own end comes
// first, for the chat template.
Result<std::vector<GgufEntry>> special_ids(const ModelFiles& source, const text::GgufVocabulary* vocabulary) {
  auto named = [&](const char* name) -> std::optional<int32_t> {
    if (!source.tokenizer || !source.special_tokens.contains(name)) return std::nullopt;
    return source.tokenizer->token_to_id(source.special_tokens[name].get<std::string>());
  };
  const ModelConfig& c = source.config;
  std::vector<GgufEntry> entries;
  auto add = [&](const char* key, std::optional<int32_t> id) {
    if (id) entries.push_back(gguf_entry(fmt::format("tokenizer.ggml.{}_token_id", key), static_cast<uint32_t>(*id)));
  };
  std::optional<int32_t> bos = named("bos_token"), pad = named("pad_token");
  if (vocabulary != nullptr && vocabulary->bos_id) bos = vocabulary->bos_id;
  add("bos", bos ? bos : c.bos_id);
  std::vector<int32_t> ends = c.eos_ids;
  if (const auto end = vocabulary != nullptr && vocabulary->eos_id ? vocabulary->eos_id : named("eos_token")) {
    std::erase(ends, *end);
    ends.insert(ends.begin(), *end);
  }
  constexpr const char* kEnds[] = {"eos", "eot", "eom"};
  if (ends.size() > std::size(kEnds))
    return error("[{}] {} tokens end a completion ({}); a GGUF file has room for {}.", source.path.string(),
                 ends.size(), fmt::join(ends, ", "), std::size(kEnds));
  for (size_t i = 0; i < ends.size(); ++i) add(kEnds[i], ends[i]);
  add("unknown", named("unk_token"));
  add("padding", pad ? pad : c.pad_id);
  return entries;
}

Result<std::vector<GgufEntry>> text_entries(const ModelFiles& source) {
  const std::filesystem::path json = source.path / "tokenizer.json";
  if (!source.tokenizer) {
    for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json"})
      if (path_exists(source.path / name)) return Error{source.no_tokenizer};
    return special_ids(source, nullptr);
  }
  const text::GgufVocabulary vocabulary = TRY(text::gguf_vocabulary_of(
      TRY(read_file(json, kLargestTokenizer)), *source.tokenizer, json.string(), source.config.vocab_size));
  std::vector<GgufEntry> entries = {gguf_entry("tokenizer.ggml.model", vocabulary.model),
                                    gguf_entry("tokenizer.ggml.pre", vocabulary.pre),
                                    gguf_array("tokenizer.ggml.tokens", vocabulary.tokens),
                                    gguf_array("tokenizer.ggml.token_type", vocabulary.token_types),
                                    gguf_array("tokenizer.ggml.merges", vocabulary.merges),
                                    gguf_entry("tokenizer.ggml.add_bos_token", *vocabulary.add_bos),
                                    gguf_entry("tokenizer.ggml.add_eos_token", *vocabulary.add_eos)};
  append(entries, TRY(special_ids(source, &vocabulary)));
  if (source.chat_template)
    entries.push_back(gguf_entry("tokenizer.chat_template", TRY(chat_template_source(source.path))));
  return entries;
}

}  // namespace

uint32_t gguf_file_type(std::string_view type) {
  for (const auto& [name, number] : kFileTypes) {
    if (name == type) return number;
  }
  return kGuessedType;
}

Result<std::vector<GgufEntry>> gguf_metadata(const ModelFiles& source, std::string_view type) {
  if (source.config.labels > 0)
    return error("[{}] is a sequence classifier: a GGUF file has no place for its score.weight.", source.path.string());
  std::vector<GgufEntry> entries;
  if (source.format == "gguf") {
    entries = TRY(TRY(GgufFile::open(source.path)).entries());
    std::erase_if(entries, [](const GgufEntry& entry) {
      return entry.key == "general.file_type" || entry.key == "general.quantization_version";
    });
  } else {
    const std::filesystem::path path = source.path.lexically_normal();
    const std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
    entries = {gguf_entry("general.architecture", source.config.family), gguf_entry("general.type", "model"),
               gguf_entry("general.name", name)};
    append(entries, TRY(model_entries(source.config, source.path.string())));
    append(entries, TRY(text_entries(source)));
  }
  entries.push_back(gguf_entry("general.file_type", gguf_file_type(type)));
  entries.push_back(gguf_entry("general.quantization_version", kQuantizationVersion));
  return entries;
}

GgufTensorSource gguf_tensor(const ExpectedWeight& weight, const GgufBlockType& type, int64_t head_dim,
                             EncodeRows encode) {
  GgufTensorSource tensor{weight.gguf_name, &type, weight.shape, {}};
  const int64_t rows = weight.shape[0];
  if (weight.gguf_rows == RowOrder::kPlain) {
    // A part of some rows at a time, that no second copy of the tensor is made.
    const int64_t most = std::max<int64_t>(32, (int64_t{1} << 18) / (weight.shape.size() == 2 ? weight.shape[1] : 1));
    tensor.write = [=](const GgufTensorSource::Sink& sink) -> Result<void> {
      for (int64_t begin = 0; begin < rows; begin += most) TRY(sink(TRY(encode(begin, std::min(begin + most, rows)))));
      return {};
    };
    return tensor;
  }
  tensor.write = [=](const GgufTensorSource::Sink& sink) -> Result<void> {
    for (int64_t head = 0; head < rows; head += head_dim) {
      const std::string bytes = TRY(encode(head, head + head_dim));
      const size_t row_bytes = bytes.size() / static_cast<size_t>(head_dim);
      std::string permuted;
      for (int64_t row = 0; row < head_dim; ++row)
        permuted.append(bytes, static_cast<size_t>(rope_half_row(row, head_dim)) * row_bytes, row_bytes);
      TRY(sink(permuted));
    }
    return {};
  };
  return tensor;
}

std::vector<GgufTensorSource> rope_tensors(const ModelConfig& config) {
  std::vector<float> divisors = config.rope.frequency_divisors;
  for (int64_t i = 0; config.rope.type == RopeType::kLlama3 && i < config.head_dim / 2; ++i)
    divisors.push_back(static_cast<float>(llama3_divisor(config.rope, i, config.head_dim)));
  if (divisors.empty()) return {};
  GgufTensorSource tensor{"rope_freqs.weight", find_block_type(0), {static_cast<int64_t>(divisors.size())}, {}};
  tensor.write = [divisors](const GgufTensorSource::Sink& sink) {
    return sink({reinterpret_cast<const char*>(divisors.data()), divisors.size() * sizeof(float)});
  };
  return {tensor};
}

}  // namespace candor::files
