#include "recipes/preference_gold.h"

#include <algorithm>
#include <cmath>

#include "data/dialects.h"
#include "recipes/reward_models.h"

namespace candor::recipes {

namespace {

const double kUnknown = std::nan("");

// A side as text: of a conversation what its messages say.
std::string text_of(const text::Json& side) {
  if (side.is_string()) return side.get<std::string>();
  std::string all;
  for (const text::Json& message : side) {
    const auto content = message.find("content");
    if (content == message.end() || !content->is_string()) continue;
    if (!all.empty()) all += "\n";
    all += content->get_ref<const std::string&>();
  }
  return all;
}

rewards::Completion completion_of(const GoldRow& row, const std::string& text, const data::Answer& answer) {
  const std::span<const int32_t> ids(answer.ids);
  const auto prompt = static_cast<size_t>(std::max<int64_t>(answer.prompt_tokens, 1));
  return {&row.columns, text, ids.subspan(prompt), true, ids.first(prompt)};
}

}  // namespace

int64_t GoldScores::scored() const {
  int64_t both = 0;
  for (size_t i = 0; i < chosen.size(); ++i) both += !std::isnan(chosen[i]) && !std::isnan(rejected[i]);
  return both;
}

Result<std::vector<GoldRow>> gold_rows(const PreferenceConfig& config, const data::Rows& rows,
                                       const data::PairSet& pairs) {
  RewardModels models;  // which are asked nothing yet
  const std::vector<rewards::Reward> gold = TRY(make_rewards(gold_recipe(config), models));
  TRY(rewards::check_rows(gold, rows));
  std::vector<GoldRow> all;
  for (const data::PreferencePair& pair : pairs.rows) {
    const data::Row& row = rows.rows[static_cast<size_t>(pair.row - 1)];
    GoldRow made;
    made.columns = TRY(data::with_explicit_prompt(data::in_messages_dialect(row.columns)));
    made.chosen = text_of(made.columns.at("chosen"));
    made.rejected = text_of(made.columns.at("rejected"));
    if (text::Json& prompt = made.columns["prompt"]; prompt.is_null()) prompt = "";
    all.push_back(std::move(made));
  }
  return all;
}

Result<GoldScores> score_pairs(std::span<const rewards::Reward> gold, const data::PairSet& pairs,
                               std::span<const GoldRow> rows) {
  std::vector<rewards::Completion> sides;
  for (size_t i = 0; i < pairs.rows.size(); ++i) {
    sides.push_back(completion_of(rows[i], rows[i].chosen, pairs.rows[i].chosen));
    sides.push_back(completion_of(rows[i], rows[i].rejected, pairs.rows[i].rejected));
  }
  const auto scores = rewards::score_all(gold, sides);
  if (!scores) return error("gold_reward_funcs: {}", scores.error().message);
  const std::vector<double> totals = rewards::total_scores(*scores, gold.size());
  GoldScores all;
  for (size_t i = 0; i < totals.size(); i += 2) {
    all.chosen.push_back(totals[i]);
    all.rejected.push_back(totals[i + 1]);
  }
  if (all.scored() == 0)
    return error(
        "[gold_reward_funcs] the held-out reward abstained on a side of every one of the {} pairs of {}, so it would "
        "say nothing. Give pairs that it can judge, or remove gold_reward_funcs.",
        pairs.rows.size(), pairs.name);
  return all;
}

Result<GoldScores> score_held_out(const PreferenceConfig& config, const engine::Context& context,
                                  const engine::Model& model, const files::ModelFiles& files,
                                  const data::PairSet& pairs, std::span<const GoldRow> rows) {
  const RolloutConfig gold = gold_recipe(config);
  RewardModels models;
  TRY(models.load(gold, context, model, files, "gold"));
  const std::vector<rewards::Reward> rewards = TRY(make_rewards(gold, models));
  return score_pairs(rewards, pairs, rows);
}

GoldOfPairs gold_of_pairs(const GoldScores& scores, std::span<const algorithms::PreferencePair> pairs) {
  std::vector<double> above;  // by the held-out reward, the preferred side over the other
  double sum = 0, own = 0, alike = 0, ordered = 0;
  bool prefers = false;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const double of_gold = scores.chosen[i] - scores.rejected[i];
    if (std::isnan(of_gold)) continue;
    const double of_policy = pairs[i].chosen_reward - pairs[i].rejected_reward;
    above.push_back(of_policy > 0 ? of_gold : of_policy < 0 ? -of_gold : 0.0);
    sum += above.back();
    own += std::abs(of_policy);
    prefers = prefers || of_policy != 0;
    if (of_policy == 0 || of_gold == 0) continue;
    ++ordered;
    alike += above.back() > 0;
  }
  const auto count = static_cast<double>(above.size());
  GoldOfPairs look{sum / count, kUnknown, own / count, ordered > 0 ? alike / ordered : kUnknown};
  if (above.size() < 2 || !prefers) return look;
  double squares = 0;
  for (const double value : above) squares += (value - look.gold) * (value - look.gold);
  look.error = std::sqrt(squares / (count - 1) / count);
  return look;
}

void note_gold(const GoldOfPairs& look, SupervisedStep& step) {
  step.preferences->gold = look.gold;
  step.preferences->gold_error = look.error;
  step.preferences->gold_proxy = look.own_reward;
  for (const algorithms::Metric& metric : algorithms::Metrics{{"gold", look.gold},
                                                              {"gold/standard_error", look.error},
                                                              {"gold/own_reward", look.own_reward},
                                                              {"gold/agreement", look.agreement}})
    if (!std::isnan(metric.value)) step.metrics.push_back(metric);
}

}  // namespace candor::recipes
