// candor eval MODEL TASK: how often a model answers rightly.
#include <fmt/format.h>

#include "base/atomic_file.h"
#include "cli/evaluation.h"
#include "cli/exit_code.h"
#include "cli/inference_memory.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "files/run_log.h"

namespace candor::cli {

namespace {

struct EvalOptions {
  ModelOptions model;
  std::string task, output;
  EvaluatorOptions evaluator;
  double temperature = 0;
};

// One line for each item: prompt, answer, completion, the extracted answer, correct.
Result<void> write_items(const std::string& path, const Evaluator& evaluator, const eval::EvalResult& result) {
  std::string lines;
  for (size_t i = 0; i < result.items.size(); ++i) {
    const eval::ItemResult& item = result.items[i];
    lines += files::json_line({{"prompt", evaluator.prompts.prompts[i].text},
                               {"answer", item.gold},
                               {"completion", item.completion.text},
                               {"extracted", item.answer ? files::Json(*item.answer) : files::Json()},
                               {"correct", item.correct},
                               {"finish_reason", item.completion.finished ? "stop" : "length"}}) +
             "\n";
  }
  return write_file_atomically(path, lines);
}

Result<int> run_eval(const EvalOptions& options) {
  HeldMeter meter;
  data::Rows rows = TRY(data::read_rows(options.task));
  meter.mark("data", "rows");
  const auto session = TRY(open_files(options.model.model, options.model.threads));
  meter.mark("program", "tokenizer");
  const Evaluator evaluator = TRY(make_evaluator(*session, std::move(rows), options.evaluator));
  meter.mark("data", "prompts");
  const InferenceWork work{sampling_shape(evaluator), evaluator.sampled};
  if (const auto refused = TRY(refuse_inference("eval", *session, options.model, work, meter.held()))) {
    print_error(refused->message);
    return static_cast<int>(kUsage);
  }
  TRY(load_weights(*session, options.model.dtype, options.model.activations));
  TRY(load_adapter(*session, options.model.adapter));
  const std::atomic<bool>& stop = catch_interrupts();
  const auto result =
      TRY(answer_task(evaluator, session->role(), options.temperature == 0 ? evaluator.greedy : evaluator.sampled,
                      {{}, [&] { return stop.load(); }}));
  if (!result) return static_cast<int>(kInterrupted);
  if (!options.output.empty()) TRY(write_items(options.output, evaluator, *result));
  if (options.model.json)
    fmt::print("{}\n", files::json_line(eval::to_json(*result)));
  else
    fmt::print("{}: {}, {:.1f} tokens on average, {} cut off\n", printable(result->task), eval::in_words(*result),
               result->mean_tokens, result->unfinished);
  return static_cast<int>(kOk);
}

}  // namespace

int eval_task(const Words& words) {
  Options options("eval", "Answers a task and prints the accuracy with its 95% interval (Clopper-Pearson).");
  EvalOptions eval;
  CLI::App& app = options.app;
  eval.model.add_model(app);
  app.add_option("TASK", eval.task, "rows with prompt and answer (or solution), or GSM8K's question and answer")
      ->required();
  eval.model.add_adapter(app);
  app.add_option("--accuracy_extraction", eval.evaluator.extraction,
                 "last_number, boxed, gsm8k, exact or regex:PATTERN");
  app.add_option("--max_completion_length,--max_new_tokens", eval.evaluator.max_completion_length,
                 "tokens of an answer at the most")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--temperature", eval.temperature, "0 takes the likeliest token (default)")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--seed", eval.evaluator.seed, "of the draws");
  app.add_option("--stop", eval.evaluator.stop, "end an answer with this text; may be given several times");
  app.add_option("--output", eval.output, "write every item with its answer to this file (JSON lines)");
  eval.model.add_dtype(app);
  eval.model.add_max_memory(app);
  eval.model.add_threads(app);
  eval.model.add_json(app, "one JSON object instead of a sentence");
  if (const auto over = options.parse(words)) return *over;
  if (eval.temperature > 0) eval.evaluator.temperature = eval.temperature;
  const auto code = run_eval(eval);
  return code ? *code : fail(code.error());
}

}  // namespace candor::cli
