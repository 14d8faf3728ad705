// candor quantize MODEL --type TYPE --output FILE: a model's weights in fewer bits, as a GGUF file.
#include <fmt/format.h>

#include <cstdlib>
#include <map>

#include "base/input_file.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/quantize_text.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "engine/quantization/quantize_model.h"
#include "eval/model_distance.h"
#include "files/run_log.h"

namespace candor::cli {
namespace {

struct QuantizeFlags {
  ModelOptions model;
  std::string type, method = "auto", embedding_type = "auto", output, calibration, evaluate;
  int64_t calibration_tokens = 16384, calibration_length = 512, evaluate_tokens = 16384;
  double damping = 0.1;
  uint64_t seed = 0;
};

// Fewer tokens than this say nothing about a layer's inputs.
constexpr int64_t kLeastCalibrationTokens = 128;

struct Choice {
  engine::WeightType type, embedding_type;
  engine::QuantizeMethod method = engine::QuantizeMethod::kRoundToNearest;
  std::string method_name;
};

Result<Choice> choose(const QuantizeFlags& flags) {
  auto type = [](const char* flag, const std::string& name) -> Result<engine::WeightType> {
    const auto found = engine::find_weight_type(name);
    if (found) return *found;
    return error("[flag {}] {}", flag, found.error().message);
  };
  Choice choice;
  choice.type = TRY(type("--type", flags.type));
  choice.embedding_type = flags.embedding_type == "auto" ? engine::embedding_type_of(choice.type)
                                                         : TRY(type("--embedding_type", flags.embedding_type));
  const bool few = choice.type.has_grid() && choice.type.high < 127;
  choice.method_name = flags.method != "auto" ? flags.method : few ? "gptq" : "rtn";
  const auto method = engine::find_quantize_method(choice.method_name);
  if (!method) return error("[flag --method] {}", method.error().message);
  choice.method = *method;
  return choice;
}

// What the weights of the file take now.
uint64_t stored_bytes(const files::ModelFiles& model) {
  uint64_t bytes = 0;
  for (const files::WeightInfo& weight : model.weights->weights()) {
    int64_t values = 1;
    for (const int64_t size : weight.shape) values *= size;
    const files::GgufBlockType* type = files::find_encoder(weight.type);
    if (type != nullptr) bytes += static_cast<uint64_t>(values / type->values * type->bytes);
  }
  return bytes;
}

class Work {
 public:
  Work(const QuantizeFlags& flags, Choice choice, const engine::Kernels& kernels, files::ModelFiles source)
      : flags_(flags),
        choice_(std::move(choice)),
        pool_(flags.model.threads > 0 ? flags.model.threads : available_cores()),
        context_{kernels, pool_, ledger_},
        source_(std::move(source)),
        progress_(stderr, is_terminal(stderr), terminal_columns(stderr), 1),
        stop_(catch_interrupts()) {}

  Result<int> run() {
    TokenText evaluation;
    if (!flags_.evaluate.empty())
      evaluation = TRY(read_token_text(source_, flags_.evaluate,
                                       {"flag --evaluate", flags_.calibration_length, flags_.evaluate_tokens, 2}));
    const engine::QuantizeOptions options = TRY(quantize_options());
    if (stop_) return static_cast<int>(kInterrupted);
    auto report = engine::quantize_model(context_, source_, options, flags_.output);
    if (!report) return stop_ ? Result<int>(static_cast<int>(kInterrupted)) : Result<int>(report.error());
    files::Json json = facts(*report);
    if (!evaluation.ids.empty()) {
      const auto summary = TRY(compare(evaluation));
      if (stop_) return static_cast<int>(kInterrupted);
      json["evaluation"] = evaluation_json(summary);
    }
    print(json);
    return static_cast<int>(kOk);
  }

 private:
  bool stopped() const { return stop_.load(); }

  Result<engine::QuantizeOptions> quantize_options() {
    engine::QuantizeOptions options;
    options.type = choice_.type;
    options.embedding_type = choice_.embedding_type;
    options.method = choice_.method;
    options.damping = flags_.damping;
    options.interrupted = [this] { return stopped(); };
    options.progress = [this](int64_t done, int64_t all) {
      progress_.doing(fmt::format("rounding weight {} of {}", done + 1, all));
    };
    if (options.method != engine::QuantizeMethod::kGptq || !options.type.has_grid()) return options;
    const TextOptions text = {"flag --calibration", flags_.calibration_length, flags_.calibration_tokens,
                              kLeastCalibrationTokens};
    progress_.doing(flags_.calibration.empty() ? "writing text to calibrate on" : "reading the calibration text");
    auto calibration = flags_.calibration.empty()
                           ? sampled_text(context_, source_, text, flags_.seed, options.interrupted)
                           : read_token_text(source_, flags_.calibration, text);
    if (!calibration) return calibration.error();
    calibration_tokens_ = calibration->tokens();
    options.calibration = std::move(calibration->ids);
    return options;
  }

  Result<eval::DistanceSummary> compare(const TokenText& text) {
    progress_.doing("comparing with the original");
    const files::ModelFiles written = TRY(files::open_model(flags_.output));
    const engine::Model original = TRY(engine::load_model(context_, source_, engine::Dtype::kFloat32));
    const engine::Model changed = TRY(engine::load_model(context_, written, engine::Dtype::kFloat32));
    const auto texts =
        eval::model_distances(context_, original, changed, text.ids, text.masks, [this] { return stopped(); });
    if (stopped()) return eval::DistanceSummary{};
    return eval::summarize(texts);
  }

  files::Json facts(const engine::QuantizeReport& report) const {
    std::map<std::string, std::pair<int64_t, uint64_t>> types;  // weights and bytes
    files::Json fallen = files::Json::array();
    const engine::QuantizedWeight* worst = nullptr;
    for (const engine::QuantizedWeight& weight : report.weights) {
      auto& [count, bytes] = types[std::string(weight.type.name)];
      ++count;
      bytes += weight.bytes;
      if (weight.fell_back) fallen.push_back(weight.name);
      if (worst == nullptr || weight.relative_error > worst->relative_error) worst = &weight;
    }
    files::Json json = {{"output", flags_.output},
                        {"type", choice_.type.name},
                        {"embedding_type", choice_.embedding_type.name},
                        {"method", choice_.method_name},
                        {"bits_per_weight", choice_.type.bits_per_weight()},
                        {"simulated", choice_.type.is_simulated()},
                        {"bytes_before", stored_bytes(source_)},
                        {"bytes_after", report.file_bytes}};
    for (const auto& [name, counts] : types)
      json["types"][name] = {{"weights", counts.first}, {"bytes", counts.second}};
    json["f16_instead"] = fallen;
    json["largest_relative_error"] = {{"weight", worst->name}, {"error", worst->relative_error}};
    json["calibration_tokens"] = calibration_tokens_;
    return json;
  }

  static files::Json evaluation_json(const eval::DistanceSummary& s) {
    auto interval = [](const statistics::Interval& i) { return files::Json::array({i.low, i.high}); };
    return {{"texts", s.texts},
            {"tokens", s.tokens},
            {"perplexity_before", s.perplexity},
            {"perplexity_after", s.changed_perplexity},
            {"nll_before_interval", interval(s.nll_interval)},
            {"nll_after_interval", interval(s.changed_nll_interval)},
            {"difference_nats", s.difference_nats},
            {"difference_interval", interval(s.difference_interval)},
            {"kl_nats", s.kl_nats},
            {"kl_interval", interval(s.kl_interval)},
            {"same_choice", s.same_choice}};
  }

  void print(const files::Json& json) {
    if (flags_.model.json) {
      fmt::print("{}\n", files::json_line(json));
      return;
    }
    fmt::print("{}: {}, {} (was {}), {}\n", printable(flags_.output), choice_.type.name,
               bytes_text(json["bytes_after"].get<int64_t>()), bytes_text(json["bytes_before"].get<int64_t>()),
               choice_.method_name);
    fmt::print("  largest relative error {:.4f}, of {}\n", json["largest_relative_error"]["error"].get<double>(),
               json["largest_relative_error"]["weight"].get<std::string>());
    if (!json["f16_instead"].empty())
      fmt::print("  {} weights are F16 instead, since their rows are no multiple of 32: {} and so on\n",
                 json["f16_instead"].size(), json["f16_instead"].front().get<std::string>());
    if (!json.contains("evaluation")) return;
    const files::Json& e = json["evaluation"];
    fmt::print("  {}: perplexity {:.3f} -> {:.3f}, KL {:.5f} nats per token ({:.5f} to {:.5f}), same choice {:.1f}%\n",
               printable(flags_.evaluate), e["perplexity_before"].get<double>(), e["perplexity_after"].get<double>(),
               e["kl_nats"].get<double>(), e["kl_interval"][0].get<double>(), e["kl_interval"][1].get<double>(),
               100 * e["same_choice"].get<double>());
  }

  const QuantizeFlags& flags_;
  Choice choice_;
  engine::MemoryLedger ledger_;
  ThreadPool pool_;
  engine::Context context_;
  files::ModelFiles source_;
  Progress progress_;
  const std::atomic<bool>& stop_;
  int64_t calibration_tokens_ = 0;
};

Result<int> run_quantize(const QuantizeFlags& flags) {
  const auto choice = choose(flags);
  if (!choice) {
    print_error(choice.error().message);
    return static_cast<int>(kUsage);
  }
  if (!flags.output.ends_with(".gguf")) {
    print_error(fmt::format("[flag --output] {} does not end in .gguf.", flags.output));
    return static_cast<int>(kUsage);
  }
  if (path_exists(flags.output))
    return error("[quantize] {} is there already. Choose another --output, or remove it.", flags.output);
  const char* level = std::getenv("CANDOR_CPU");
  const engine::Kernels* kernels = TRY(engine::select_kernels(level == nullptr ? "" : level));
  files::ModelFiles source = TRY(files::open_model(TRY(files::resolve_model(flags.model.model))));
  if (!source.tokenizer) print_note(source.no_tokenizer);
  return Work(flags, *choice, *kernels, std::move(source)).run();
}

}  // namespace

int quantize(const Words& words) {
  Options options("quantize", "Writes a model with its weights in fewer bits, as a GGUF file.");
  QuantizeFlags flags;
  CLI::App& app = options.app;
  flags.model.add_model(app);
  app.add_option(
         "--type", flags.type,
         "int8 (q8_0), int4 (q4_0), q4_1, f32, f16, bf16; int3 and int2 are simulated: on their grid, stored as "
         "f32, to see what they lose")
      ->required();
  app.add_option("--output", flags.output, "the .gguf file to write; must not be there yet")->required();
  app.add_option(
      "--method", flags.method,
      "rtn (to nearest) or gptq (each weight makes good what those before it lost); auto: gptq below 8 bits, "
      "rtn else");
  app.add_option("--embedding_type", flags.embedding_type,
                 "of embedding and head; auto: 8 bits where --type has fewer");
  app.add_option("--calibration", flags.calibration,
                 "text for gptq: .txt, or rows as `candor score` reads; without it the model writes its own");
  app.add_option("--calibration_tokens", flags.calibration_tokens, "tokens of it at the most")
      ->check(CLI::Range(1, 1 << 28));
  app.add_option("--calibration_length", flags.calibration_length, "tokens of one sequence at the most")
      ->check(CLI::Range(2, 1 << 20));
  app.add_option("--damping", flags.damping, "of gptq: this part of the mean of the inputs' second moments is added")
      ->check(CLI::Range(1e-6, 100.0));
  app.add_option("--evaluate", flags.evaluate,
                 "text on which the result is compared with the original: perplexity, KL, same choice");
  app.add_option("--evaluate_tokens", flags.evaluate_tokens, "tokens of it at the most")->check(CLI::Range(2, 1 << 28));
  app.add_option("--seed", flags.seed, "of the text that the model writes");
  flags.model.add_threads(app);
  flags.model.add_json(app, "one JSON object instead of sentences");
  if (const auto over = options.parse(words)) return *over;
  const auto code = run_quantize(flags);
  return code ? *code : fail(code.error());
}

}  // namespace candor::cli
