#include "cli/preference_work.h"

#include <fmt/format.h>

#include <utility>

#include "cli/greedy_answers.h"
#include "cli/preference_rows.h"
#include "cli/recipe_command.h"
#include "recipes/cpo.h"
#include "recipes/dpo.h"
#include "recipes/kto.h"
#include "recipes/preference_gold.h"
#include "recipes/reward.h"

namespace candor::cli {

namespace {

using recipes::PreferenceConfig;
using recipes::SupervisedParts;
using recipes::SupervisedResult;
using recipes::SupervisedStart;
using Say = std::function<void(const std::string&)>;

// The adapter that the run begins with and is held against; none: the model alone.
Result<std::optional<engine::Adapter>> given_adapter(const PreferenceConfig& config, const Session& session) {
  if (config.adapter_name_or_path.empty()) return std::optional<engine::Adapter>();
  return std::optional<engine::Adapter>(TRY(recipes::first_adapter(config, session.context, session.model)));
}

const engine::Adapter* or_null(const std::optional<engine::Adapter>& adapter) {
  return adapter ? &*adapter : nullptr;
}

// The first rows that have a prompt. They point into the answers.
std::vector<SampledRow> sampled_of(std::span<const data::Answer* const> answers) {
  std::vector<SampledRow> rows;
  for (const data::Answer* answer : answers) {
    if (answer->prompt_tokens < 2 || rows.size() == kSampledRows) continue;
    const std::span<const int32_t> ids(answer->ids);
    const auto prompt = static_cast<size_t>(answer->prompt_tokens);
    rows.push_back({ids.first(prompt), ids.subspan(prompt)});
  }
  return rows;
}

// A loss on pairs of log-probabilities: dpo, cpo, orpo.
class PairWork : public PreferenceWork {
 public:
  // precomputes: the reference of all rows is computed before the first step.
  PairWork(std::string_view verb, const PreferenceConfig& config, recipes::PairLoss loss, bool precomputes)
      : verb_(verb), config_(config), loss_(std::move(loss)), precomputes_(precomputes) {}

  Result<void> read(const Session& session, const data::Rows& rows, const data::Rows* held_out,
                    const Say& say) override {
    sets_ = TRY(load_preferences(&data::load_pairs, config_, verb_, session, rows, held_out, say));
    if (config_.has_gold()) gold_rows_ = TRY(recipes::gold_rows(config_, *held_out, *sets_.held_out));
    return {};
  }
  files::Json accounts() const override { return sets_.accounts(); }
  recipes::PreferenceWorkload workload() const override {
    auto workload = recipes::preference_workload(sets_.train, sets_.held_out_or_null(), loss_.prompt_counts);
    workload.answers = answers_shape(sampled());
    return workload;
  }
  int64_t completions() const override { return 2; }
  Result<engine::MemoryPlan> plan(const PreferenceConfig& config, const recipes::PlanBase& base,
                                  const recipes::PreferenceWorkload& workload) const override {
    // An adapter in the place of every weight, which may be advised, leaves the reference where it is.
    const bool precomputes = precomputes_ && config.use_peft == config_.use_peft;
    return recipes::plan_pairs(config, loss_, precomputes, base, workload);
  }
  void choose(const PreferenceConfig& config) override { config_ = config; }

  Result<bool> measure_before(Session& session, const Watch& watch) override {
    reference_ = TRY(given_adapter(config_, session));
    const engine::Adapter* reference = or_null(reference_);
    if (sets_.held_out) {  // the policy is its own reference as yet
      before_ = TRY(recipes::evaluate_pairs(config_, session.context, session.model, reference, *sets_.held_out, loss_,
                                            nullptr, ready_of(watch)));
      if (!before_) return false;
      const auto answers = greedy_answers(session, reference, sampled(), watch.interrupted);
      if (!answers) return false;
      answers_ = *answers;
    }
    if (config_.has_gold()) {
      watch.doing("with the held-out reward");
      gold_ = TRY(
          recipes::score_held_out(config_, session.context, session.model, session.files, *sets_.held_out, gold_rows_));
      gold_rows_.clear();
    }
    if (!loss_.has_reference || !precomputes_) return true;
    const auto ready = [&](size_t done, size_t all) {
      watch.doing(fmt::format("reference {}/{}", done, all));
      return !watch.interrupted();
    };
    of_rows_ = recipes::reference_logprobs(session.context, session.model, reference, sets_.train, ready);
    return of_rows_.has_value();
  }
  Result<SupervisedStart> start(Session& session) override {
    return recipes::start_supervised(config_, session.context, session.model, session.files,
                                     static_cast<int64_t>(sets_.train.rows.size()), recipes::digest_of(sets_.train));
  }
  Result<SupervisedResult> train(SupervisedParts run, SupervisedStart start) override {
    if (gold_ && run.say && gold_->scored() < static_cast<int64_t>(gold_->chosen.size()))
      run.say(fmt::format("the held-out reward judges {} of {} held-out pairs, and abstained on a side of the others",
                          gold_->scored(), gold_->chosen.size()));
    const recipes::PairParts parts{std::move(run),
                                   sets_.train,
                                   sets_.held_out_or_null(),
                                   or_null(reference_),
                                   of_rows_ ? &*of_rows_ : nullptr,
                                   before_ ? &before_->logprobs : nullptr,
                                   gold_ ? &*gold_ : nullptr};
    return recipes::run_on_pairs(verb_, config_, parts, loss_, std::move(start));
  }
  Result<std::optional<PreferenceReport>> compare(const Session& session, const recipes::Trained& trained,
                                                  const Watch& watch) override {
    const auto after = TRY(recipes::evaluate_pairs(config_, session.context, session.model, trained.adapter.get(),
                                                   *sets_.held_out, loss_, &before_->logprobs, ready_of(watch)));
    if (!after) return std::optional<PreferenceReport>();
    const auto answers = greedy_answers(session, trained.adapter.get(), sampled(), watch.interrupted);
    if (!answers) return std::optional<PreferenceReport>();
    PreferenceReport report = compare_pairs(verb_, *before_, *after);
    report.samples = samples_json(session, sampled(), answers_, *answers);
    return std::optional(std::move(report));
  }

 private:
  std::vector<SampledRow> sampled() const {
    std::vector<const data::Answer*> chosen;
    if (sets_.held_out)
      for (const data::PreferencePair& pair : sets_.held_out->rows) chosen.push_back(&pair.chosen);
    return sampled_of(chosen);
  }

  std::string verb_;
  PreferenceConfig config_;
  recipes::PairLoss loss_;
  bool precomputes_;
  PreferenceSets<data::PairSet> sets_;
  std::optional<engine::Adapter> reference_;
  std::optional<recipes::PairEvaluation> before_;
  std::vector<std::string> answers_;  // before
  std::optional<recipes::ReferenceLogprobs> of_rows_;
  std::vector<recipes::GoldRow> gold_rows_;  // until they are scored
  std::optional<recipes::GoldScores> gold_;
};

class KtoWork : public PreferenceWork {
 public:
  explicit KtoWork(const recipes::KtoConfig& config) : config_(config) {}

  Result<void> read(const Session& session, const data::Rows& rows, const data::Rows* held_out,
                    const Say& say) override {
    sets_ = TRY(load_preferences(&data::load_labelled, config_, "kto", session, rows, held_out, say));
    return {};
  }
  files::Json accounts() const override { return sets_.accounts(); }
  recipes::PreferenceWorkload workload() const override {
    auto workload = recipes::preference_workload(sets_.train, sets_.held_out_or_null());
    workload.answers = answers_shape(sampled());
    return workload;
  }
  int64_t completions() const override { return 1; }
  Result<engine::MemoryPlan> plan(const PreferenceConfig& config, const recipes::PlanBase& base,
                                  const recipes::PreferenceWorkload& workload) const override {
    recipes::KtoConfig changed = config_;
    static_cast<PreferenceConfig&>(changed) = config;
    return recipes::plan_kto(changed, base, workload);
  }
  void choose(const PreferenceConfig& config) override { static_cast<PreferenceConfig&>(config_) = config; }

  Result<bool> measure_before(Session& session, const Watch& watch) override {
    reference_ = TRY(given_adapter(config_, session));
    if (!sets_.held_out) return true;
    before_ = measure(session, or_null(reference_), watch);
    if (!before_) return false;
    const auto answers = greedy_answers(session, or_null(reference_), sampled(), watch.interrupted);
    if (answers) answers_ = *answers;
    return answers.has_value();
  }
  Result<SupervisedStart> start(Session& session) override {
    return recipes::start_kto(config_, session.context, session.model, session.files, sets_.train);
  }
  Result<SupervisedResult> train(SupervisedParts run, SupervisedStart start) override {
    return recipes::run_kto(config_, {std::move(run), sets_.train, sets_.held_out_or_null(), or_null(reference_)},
                            std::move(start));
  }
  Result<std::optional<PreferenceReport>> compare(const Session& session, const recipes::Trained& trained,
                                                  const Watch& watch) override {
    const auto after = measure(session, trained.adapter.get(), watch);
    if (!after) return std::optional<PreferenceReport>();
    const auto answers = greedy_answers(session, trained.adapter.get(), sampled(), watch.interrupted);
    if (!answers) return std::optional<PreferenceReport>();
    const bool one_baseline = config_.loss_type != "bco";
    PreferenceReport report = compare_labelled(*before_, *after, one_baseline);
    report.samples = samples_json(session, sampled(), answers_, *answers);
    return std::optional(std::move(report));
  }

 private:
  std::vector<SampledRow> sampled() const {
    std::vector<const data::Answer*> wanted;
    if (sets_.held_out)
      for (const data::LabelledAnswer& row : sets_.held_out->rows)
        if (row.desirable) wanted.push_back(&row.answer);
    return sampled_of(wanted);
  }
  std::optional<recipes::KtoEvaluation> measure(const Session& session, const engine::Adapter* adapter,
                                                const Watch& watch) const {
    return recipes::evaluate_kto(config_, session.context, session.model, adapter, or_null(reference_), *sets_.held_out,
                                 0.0, ready_of(watch));
  }

  recipes::KtoConfig config_;
  PreferenceSets<data::LabelledSet> sets_;
  std::optional<engine::Adapter> reference_;
  std::optional<recipes::KtoEvaluation> before_;
  std::vector<std::string> answers_;  // before
};

class RewardWork : public PreferenceWork {
 public:
  explicit RewardWork(const recipes::RewardConfig& config) : config_(config) {}

  Result<void> read(const Session& session, const data::Rows& rows, const data::Rows* held_out,
                    const Say& say) override {
    sets_ = TRY(load_preferences(&data::load_pairs, config_, "reward", session, rows, held_out, say));
    return {};
  }
  files::Json accounts() const override { return sets_.accounts(); }
  recipes::PreferenceWorkload workload() const override {
    return recipes::preference_workload(sets_.train, sets_.held_out_or_null());
  }
  int64_t completions() const override { return 2; }
  Result<engine::MemoryPlan> plan(const PreferenceConfig& config, const recipes::PlanBase& base,
                                  const recipes::PreferenceWorkload& workload) const override {
    recipes::RewardConfig changed = config_;
    static_cast<PreferenceConfig&>(changed) = config;
    return recipes::plan_reward(changed, base, workload);
  }
  void choose(const PreferenceConfig& config) override { static_cast<PreferenceConfig&>(config_) = config; }

  Result<bool> measure_before(Session& session, const Watch& watch) override {
    if (!sets_.held_out) return true;
    const recipes::Trained first = TRY(
        recipes::first_trained(config_, session.context, session.model, session.files, recipes::reward_head(config_)));
    before_ = measure(session, first, watch);
    return before_.has_value();
  }
  Result<SupervisedStart> start(Session& session) override {
    return recipes::start_reward(config_, session.context, session.model, session.files, sets_.train);
  }
  Result<SupervisedResult> train(SupervisedParts run, SupervisedStart start) override {
    return recipes::run_reward(config_, {std::move(run), sets_.train, sets_.held_out_or_null()}, std::move(start));
  }
  Result<std::optional<PreferenceReport>> compare(const Session& session, const recipes::Trained& trained,
                                                  const Watch& watch) override {
    const auto after = measure(session, trained, watch);
    return after ? std::optional(compare_rewards(*before_, *after)) : std::nullopt;
  }
  recipes::WithHead with_head() const override { return recipes::reward_head(config_); }
  std::string use(const std::string& model, const std::string& final_folder) const override {
    return fmt::format("candor grpo RECIPE.yaml --model_name_or_path {} --reward_funcs {}", shell_word(model),
                       shell_word(final_folder));
  }

 private:
  std::optional<recipes::RewardEvaluation> measure(const Session& session, const recipes::Trained& trained,
                                                   const Watch& watch) const {
    return recipes::evaluate_reward(config_, session.context, session.model, trained.adapter.get(), *trained.head,
                                    *sets_.held_out, ready_of(watch));
  }

  recipes::RewardConfig config_;
  PreferenceSets<data::PairSet> sets_;
  std::optional<recipes::RewardEvaluation> before_;
};

}  // namespace

std::function<bool(size_t done, size_t all)> ready_of(const Watch& watch) {
  return [&watch](size_t done, size_t all) {
    watch.doing(fmt::format("{}/{}", done, all));
    return !watch.interrupted();
  };
}

std::unique_ptr<PreferenceWork> work_of(const recipes::DpoConfig& config) {
  return std::make_unique<PairWork>("dpo", config, recipes::pair_loss(config), config.precomputes_reference());
}
std::unique_ptr<PreferenceWork> work_of(const recipes::CpoConfig& config) {
  return std::make_unique<PairWork>("cpo", config, recipes::pair_loss(config), false);
}
std::unique_ptr<PreferenceWork> work_of(const recipes::OrpoConfig& config) {
  return std::make_unique<PairWork>("orpo", config, recipes::pair_loss(config), false);
}
std::unique_ptr<PreferenceWork> work_of(const recipes::KtoConfig& config) {
  return std::make_unique<KtoWork>(config);
}
std::unique_ptr<PreferenceWork> work_of(const recipes::RewardConfig& config) {
  return std::make_unique<RewardWork>(config);
}

}  // namespace candor::cli
