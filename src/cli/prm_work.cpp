// Process reward models as a PreferenceWork.
#include <fmt/format.h>

#include <utility>

#include "cli/preference_rows.h"
#include "cli/preference_work.h"
#include "recipes/prm.h"

namespace candor::cli {

namespace {

using recipes::PreferenceConfig;
using recipes::SupervisedParts;
using recipes::SupervisedResult;
using recipes::SupervisedStart;

class PrmWork : public PreferenceWork {
 public:
  explicit PrmWork(const recipes::PrmConfig& config) : config_(config) {}

  Result<void> read(const Session& session, const data::Rows& rows, const data::Rows* held_out,
                    const std::function<void(const std::string&)>& say) override {
    const auto load = [&](const data::Rows& of, bool evaluation) {
      return data::load_stepwise(of, reader_of(session),
                                 recipes::data_options(config_, session.files.config.max_positions, evaluation));
    };
    sets_.train = TRY(said(load(rows, false), say));
    if (held_out != nullptr) sets_.held_out = TRY(said(load(*held_out, true), say));
    return {};
  }
  files::Json accounts() const override { return sets_.accounts(); }
  recipes::PreferenceWorkload workload() const override {
    return recipes::preference_workload(sets_.train, sets_.held_out_or_null());
  }
  int64_t completions() const override { return 1; }
  Result<engine::MemoryPlan> plan(const PreferenceConfig& config, const recipes::PlanBase& base,
                                  const recipes::PreferenceWorkload& workload) const override {
    recipes::PrmConfig changed = config_;
    static_cast<PreferenceConfig&>(changed) = config;
    return recipes::plan_prm(changed, base, workload);
  }
  void choose(const PreferenceConfig& config) override { static_cast<PreferenceConfig&>(config_) = config; }

  Result<bool> measure_before(Session& session, const Watch& watch) override {
    if (!sets_.held_out) return true;
    const recipes::Trained first =
        TRY(recipes::first_trained(config_, session.context, session.model, session.files, recipes::WithHead::kSteps));
    before_ = measure(session, first, watch);
    return before_.has_value();
  }
  Result<SupervisedStart> start(Session& session) override {
    return recipes::start_prm(config_, session.context, session.model, session.files, sets_.train);
  }
  Result<SupervisedResult> train(SupervisedParts run, SupervisedStart start) override {
    return recipes::run_prm(config_, {std::move(run), sets_.train, sets_.held_out_or_null()}, std::move(start));
  }
  Result<std::optional<PreferenceReport>> compare(const Session& session, const recipes::Trained& trained,
                                                  const Watch& watch) override {
    const auto after = measure(session, trained, watch);
    return after ? std::optional(compare_steps(*before_, *after)) : std::nullopt;
  }
  recipes::WithHead with_head() const override { return recipes::WithHead::kSteps; }
  std::string use(const std::string&, const std::string& final_folder) const override {
    return fmt::format("PEFT loads {} as a token classifier: label 1 behind a step is right", final_folder);
  }

 private:
  std::optional<recipes::PrmEvaluation> measure(const Session& session, const recipes::Trained& trained,
                                                const Watch& watch) const {
    return recipes::evaluate_prm(session.context, session.model, trained.adapter.get(), *trained.head, *sets_.held_out,
                                 ready_of(watch));
  }

  recipes::PrmConfig config_;
  PreferenceSets<data::StepwiseSet> sets_;
  std::optional<recipes::PrmEvaluation> before_;
};

}  // namespace

std::unique_ptr<PreferenceWork> work_of(const recipes::PrmConfig& config) {
  return std::make_unique<PrmWork>(config);
}

}  // namespace candor::cli
