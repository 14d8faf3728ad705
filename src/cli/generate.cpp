// candor generate MODEL ROWS: completions of given prompts, with their log-probabilities.
#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "data/prompts.h"
#include "engine/sampler.h"
#include "files/run_log.h"

namespace candor::cli {

namespace {

struct GenerateOptions {
  ModelOptions model;
  std::string rows;
  engine::SamplingOptions sampling;
  int64_t num_generations = 1;
};

// A row's `messages` or `text` is its prompt; `input_ids` are taken as they are.
Result<data::Prompt> ready_ids(const data::Row& row, const Session& session, int64_t max_new_tokens,
                               const std::string& where) {
  data::Prompt prompt;
  prompt.row = row;
  const text::Json& ids = row.columns["input_ids"];
  if (!ids.is_array() || ids.empty()) return error("[{}] input_ids: expected a list of at least one token id.", where);
  for (const text::Json& id : ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= session.model.config.vocab_size)
      return error("[{}] input_ids: expected token ids below {}, got {}.", where, session.model.config.vocab_size,
                   id.dump());
    prompt.ids.push_back(id.get<int32_t>());
  }
  const int64_t tokens = static_cast<int64_t>(prompt.ids.size()), context = session.model.config.max_positions;
  if (tokens > context - max_new_tokens)
    return error(
        "[{}] {} tokens and max_new_tokens {} do not fit the model's context of {}. Shorten the row or lower "
        "--max_new_tokens.",
        where, tokens, max_new_tokens, context);
  prompt.text = session.tokenizer().decode(prompt.ids, {});
  return prompt;
}

Result<data::PromptSet> read_prompts(const GenerateOptions& options, const Session& session) {
  data::Rows rows = TRY(data::read_rows(options.rows));
  data::PromptSet set{rows.name, {}};
  data::PromptOptions prompt_options{"generate", session.model.config.max_positions, options.sampling.max_new_tokens};
  for (data::Row& row : rows.rows) {
    if (row.columns.contains("input_ids")) {
      set.prompts.push_back(TRY(ready_ids(row, session, options.sampling.max_new_tokens, data::place(rows.name, row))));
      continue;
    }
    for (const char* name : {"messages", "text"})
      if (!row.columns.contains("prompt") && row.columns.contains(name)) row.columns["prompt"] = row.columns[name];
    data::Rows one{rows.name, {std::move(row)}};
    auto loaded = TRY(data::load_prompts(std::move(one), session.tokenizer(), session.chat_template(),
                                         session.files.special_tokens, prompt_options));
    set.prompts.push_back(std::move(loaded.prompts.front()));
  }
  return set;
}

Result<int> run_generate(const GenerateOptions& options) {
  const auto session =
      TRY(open_session(options.model.model, options.model.adapter, options.model.threads, options.model.dtype));
  const data::PromptSet set = TRY(read_prompts(options, *session));
  engine::SamplingOptions sampling = options.sampling;
  sampling.stop_ids = session->model.config.eos_ids;
  const std::atomic<bool>& stop = catch_interrupts();
  // In slices, so that finished rows are printed while others wait; the draws know a row by its number alone.
  const size_t slice = std::max<size_t>(1, static_cast<size_t>(sampling.max_rows / options.num_generations));
  for (size_t first = 0; first < set.prompts.size(); first += slice) {
    std::vector<engine::SampleRequest> requests;
    for (size_t i = first; i < std::min(set.prompts.size(), first + slice); ++i)
      requests.push_back({set.prompts[i].ids, options.num_generations});
    const auto sampled = engine::sample(session->context, session->model, session->role(), requests, sampling,
                                        &session->tokenizer(), {{}, [&] { return stop.load(); }},
                                        static_cast<uint32_t>(first * static_cast<size_t>(options.num_generations)));
    if (sampled.empty()) return static_cast<int>(kInterrupted);
    for (size_t i = 0; i < sampled.size(); ++i)
      for (const engine::Completion& completion : sampled[i])
        fmt::print("{}\n", files::json_line({{"prompt", set.prompts[first + i].text},
                                             {"prompt_ids", set.prompts[first + i].ids},
                                             {"completion", session->tokenizer().decode(completion.ids,
                                                                                        {.skip_special_tokens = true})},
                                             {"completion_ids", completion.ids},
                                             {"logprobs", completion.logprobs},
                                             {"policy_logprobs", completion.policy_logprobs},
                                             {"sampling_logprobs", completion.sampling_logprobs},
                                             {"finish_reason", completion.finished ? "stop" : "length"}}));
    std::fflush(stdout);
  }
  return static_cast<int>(kOk);
}

}  // namespace

int generate(const Words& words) {
  Options options("generate", "Completes each row's prompt and prints ids, text and log-probabilities as JSON lines.");
  GenerateOptions generate;
  engine::SamplingOptions& sampling = generate.sampling;
  CLI::App& app = options.app;
  generate.model.add_model(app);
  app.add_option("ROWS", generate.rows, "JSON lines with prompt, messages, text or input_ids; - reads standard input")
      ->required();
  generate.model.add_adapter(app);
  app.add_option("--num_generations", generate.num_generations, "completions of each prompt")
      ->check(CLI::Range(1, 65536));
  app.add_option("--max_new_tokens,--max_completion_length", sampling.max_new_tokens,
                 "tokens of a completion at the most")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--temperature", sampling.temperature, "0 takes the likeliest token (default 1)")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--top_k", sampling.top_k, "draw among the k likeliest tokens; 0 = off")
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--top_p", sampling.top_p, "draw among the likeliest tokens that hold this probability; 1 = off")
      ->check(CLI::Range(1e-9, 1.0));
  app.add_option("--stop", sampling.stop_strings, "end a completion with this text; may be given several times");
  app.add_option("--seed", sampling.seed, "of the draws");
  app.add_option("--generation_rows", sampling.max_rows, "rows decoded together; changes only speed and memory")
      ->check(CLI::Range(1, 65536));
  generate.model.add_dtype(app);
  generate.model.add_threads(app);
  if (const auto over = options.parse(words)) return *over;
  const auto code = run_generate(generate);
  return code ? *code : fail(code.error());
}

}  // namespace candor::cli
