// candor propositions draft MODEL STATEMENTS -o OUT: sub-questions that a model proposes and the validator judges.
#include <fmt/format.h>

#include <algorithm>

#include "belief/draft.h"
#include "cli/evaluation.h"
#include "cli/exit_code.h"
#include "cli/inference_memory.h"
#include "cli/interrupt.h"
#include "cli/memory.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/propositions_verbs.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "data/write_rows.h"
#include "eval/generation.h"

namespace candor::cli {
namespace {

constexpr int64_t kDraftTokens = 512;  // of what one prompt is answered with, where nobody asks for another length
constexpr const char* kInterruptedDraft = "[draft] interrupted; nothing is written.";

struct DraftWords {
  ModelOptions model;
  std::string statements, out;
  SamplingFlags sampling;
  belief::DraftOptions options;
};

// Prompts as the model's chat template has them; as plain text where it has none.
Result<data::PromptSet> prompt_set(const Session& session, std::span<const std::string> prompts, int64_t completion) {
  data::Rows rows{"draft", {}};
  for (const std::string& prompt : prompts) {
    text::Json columns;
    if (session.chat_template() == nullptr)
      columns["prompt"] = prompt;
    else
      columns["prompt"].push_back({{"role", "user"}, {"content", prompt}});
    const auto number = static_cast<int64_t>(rows.rows.size()) + 1;
    rows.rows.push_back({std::move(columns), number, number});
  }
  return data::load_prompts(std::move(rows), session.tokenizer(), session.chat_template(), session.files.special_tokens,
                            {"draft", session.files.config.max_positions, completion, "max_new_tokens"});
}

// What the first round asks at the most, for the memory plan; later rounds ask no more.
Result<engine::SamplingShape> shape_of(const Session& session, const belief::Propositions& statements,
                                       const DraftWords& words, int64_t completion) {
  std::vector<std::string> prompts;
  for (const belief::Proposition& item : statements.items)
    for (const belief::QuestionKind kind : belief::kQuestionKinds)
      prompts.push_back(belief::question_prompt(item, kind, 2 * words.options.per_kind));
  const data::PromptSet set = TRY(prompt_set(session, prompts, completion));
  return engine::SamplingShape{static_cast<int64_t>(prompts.size() + statements.items.size()), 1, longest_prompt(set),
                               completion};
}

// Writes what came to pass. Error: nothing did.
Result<void> finish(const DraftWords& words, const belief::Drafted& made) {
  for (const auto& [why, count] : made.dropped) print_note(fmt::format("{} questions dropped: {}", count, why));
  if (made.items.empty())
    return error(
        "[draft] none of the {} statements got the questions that the validator wants; nothing is written. Raise "
        "--rounds or --max_new_tokens, or ask a larger model.",
        made.incomplete);
  TRY(belief::write_propositions(made.items, words.out));
  fmt::print("{}: {} propositions; {} did not come to pass\n", printable(words.out), made.items.size(),
             made.incomplete);
  print_note("What each side answers is the model's own word: read the file before an audit rests on it.");
  return {};
}

Result<int> run_draft(const DraftWords& words) {
  TRY(data::check_output(words.out));
  HeldMeter meter;
  const belief::Propositions statements = TRY(belief::statements_to_draft(TRY(data::read_rows(words.statements))));
  const auto session = TRY(open_files(words.model.model, words.model.threads));
  meter.mark("program", "tokenizer");
  const Sampling sampling = TRY(resolve_sampling(words.sampling, *session, "propositions draft"));
  for (const std::string& note : sampling.notes) print_note(note);
  const InferenceWork work {
    TRY(shape_of(*session, statements, words, sampling.options.max_new_tokens))
    , sampling.options, {}
  };
  meter.mark("data", "prompts");
  if (const auto refused = TRY(refuse_inference("propositions draft", *session, words.model, work, meter.held()))) {
    print_error(refused->message);
    return static_cast<int>(kUsage);
  }
  TRY(load_weights(*session, words.model.dtype, words.model.activations));
  TRY(load_adapter(*session, words.model.adapter));
  Progress progress(stderr, is_terminal(stderr), terminal_columns(stderr), 1);
  const std::atomic<bool>& stop = catch_interrupts();
  const engine::SamplingCallbacks callbacks{
      [&](int64_t done, int64_t) { progress.doing(fmt::format("draft {}", done)); }, [&] { return stop.load(); }};
  const eval::Subject subject{session->context, session->model, session->role(), session->tokenizer()};
  const belief::Writer write = [&](std::span<const std::string> prompts) -> Result<std::vector<std::string>> {
    const data::PromptSet set = TRY(prompt_set(*session, prompts, sampling.options.max_new_tokens));
    const auto answers = eval::answer_prompts(subject, set, sampling.options, callbacks);
    if (!answers) return error("{}", kInterruptedDraft);
    std::vector<std::string> texts;
    for (const eval::Answered& answer : *answers) texts.push_back(answer.text);
    return texts;
  };
  const auto made = belief::draft(statements, write, words.options);
  if (!made && stop.load()) {
    print_error(made.error().message);
    return static_cast<int>(kInterrupted);
  }
  if (!made) return made.error();
  TRY(finish(words, *made));
  return static_cast<int>(kOk);
}

}  // namespace

int propositions_draft(const Words& words) {
  Options options(
      "propositions draft",
      "Asks a model for the sub-questions of given statements. What breaks a rule is dropped and counted, and "
      "only propositions that pass the validator are written.");
  DraftWords draft;
  draft.sampling.max_new_tokens = kDraftTokens;
  draft.model.add_model(options.app);
  options.app
      .add_option("STATEMENTS", draft.statements,
                  "rows with statement, and with any other column of a proposition file (docs/propositions.md)")
      ->required();
  options.app.add_option("-o,--output", draft.out, "the new file of propositions, .jsonl")->required();
  draft.model.add_adapter(options.app);
  options.app.add_option("--per_kind", draft.options.per_kind, "sub-questions wanted of each kind (default 2)")
      ->check(CLI::Range(2, 8));
  options.app
      .add_option("--rounds", draft.options.rounds, "how often the model is asked for what is lacking (default 3)")
      ->check(CLI::Range(1, 20));
  draft.sampling.add(options.app);
  draft.model.add_dtype(options.app);
  draft.model.add_max_memory(options.app);
  draft.model.add_threads(options.app);
  if (const auto over = options.parse(words)) return *over;
  const auto code = run_draft(draft);
  return code ? *code : fail(code.error());
}

}  // namespace candor::cli
