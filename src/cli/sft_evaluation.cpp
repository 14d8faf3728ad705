#include "cli/sft_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "statistics/bootstrap.h"

namespace candor::cli {

namespace {

using files::Json;

constexpr size_t kFewestRows = 5;  // an interval over fewer says nothing

// They point into `set`.
std::vector<SampledRow> sampled_rows(const data::SftSet& set) {
  std::vector<const data::TrainingRow*> rows;
  for (const data::TrainingRow& row : set.rows) rows.push_back(&row);
  std::vector<SampledRow> chosen;
  for (const recipes::SftDocument& document : recipes::sft_documents(rows))
    if (document.group.prompt.size() > 1 && chosen.size() < kSampledRows)
      chosen.push_back({document.group.prompt, document.group.completions[0]});
  return chosen;
}

double token_accuracy(const recipes::SftEvaluation& evaluation) {
  return algorithms::sft_metrics(evaluation.rows)[1].value;
}

}  // namespace

std::optional<engine::SamplingShape> answers_shape(const data::SftSet& set) {
  return answers_shape(sampled_rows(set));
}

std::optional<SftState> measure_sft(const Session& session, const engine::Adapter* adapter, const data::SftSet& set,
                                    const std::function<void(const std::string&)>& doing,
                                    const std::function<bool()>& interrupted) {
  auto losses = recipes::evaluate_sft(session.context, session.model, adapter, set, algorithms::SftLossType::kNll,
                                      [&](size_t done, size_t all) {
                                        doing(fmt::format("{}/{}", done, all));
                                        return !interrupted();
                                      });
  if (!losses) return std::nullopt;
  auto answers = greedy_answers(session, adapter, sampled_rows(set), interrupted);
  if (!answers) return std::nullopt;
  return SftState{std::move(*losses), std::move(*answers)};
}

Json compare_sft(const SftState& before, const SftState& after) {
  const auto &was = before.losses.rows, &is = after.losses.rows;
  CHECK(was.size() == is.size());
  double tokens = 0, nll_before = 0, nll_after = 0;
  int64_t better = 0, worse = 0;
  for (size_t i = 0; i < was.size(); ++i) {
    tokens += static_cast<double>(was[i].tokens);
    nll_before += was[i].nll;
    nll_after += is[i].nll;
    better += is[i].nll < was[i].nll;
    worse += is[i].nll > was[i].nll;
  }
  // Rows weigh what their tokens weigh, so that the mean of these is the difference of the two means over tokens.
  std::vector<double> differences;
  for (size_t i = 0; i < was.size(); ++i)
    differences.push_back((is[i].nll - was[i].nll) * static_cast<double>(was.size()) / tokens);
  Json interval = nullptr;
  if (was.size() >= kFewestRows) {
    const statistics::Interval range = statistics::bootstrap_mean(differences);
    interval = Json::array({range.low, range.high});
  }
  return {{"loss",
           {{"before", nll_before / tokens},
            {"after", nll_after / tokens},
            {"difference", (nll_after - nll_before) / tokens},
            {"interval", interval},
            {"rows_better", better},
            {"rows_worse", worse},
            {"rows", was.size()},
            {"tokens", static_cast<int64_t>(tokens)}}},
          {"token_accuracy", {{"before", token_accuracy(before.losses)}, {"after", token_accuracy(after.losses)}}}};
}

Json sft_samples(const Session& session, const data::SftSet& set, const SftState& before, const SftState& after) {
  return samples_json(session, sampled_rows(set), before.answers, after.answers);
}

std::string sft_verdict(const Json& evaluations) {
  const Json& loss = evaluations["loss"];
  const auto rows = loss["rows"].get<int64_t>();
  const std::string change = fmt::format("{:.4f} to {:.4f} nats per token on {} held-out rows",
                                         loss["before"].get<double>(), loss["after"].get<double>(), rows);
  const double difference = loss["difference"].get<double>();
  if (loss["interval"].is_null())
    return fmt::format("Too few held-out rows to say whether the model is better: loss {} ({:+.4f}).", change,
                       difference);
  const double low = loss["interval"][0].get<double>(), high = loss["interval"][1].get<double>();
  const std::string range = fmt::format("{:+.4f}, 95% interval {:+.4f} to {:+.4f} over rows", difference, low, high);
  if (low <= 0 && high >= 0) return fmt::format("No change that chance could not make: loss {} ({}).", change, range);
  return fmt::format("The model has become {} on rows like these: loss {} ({}).", high < 0 ? "better" : "worse", change,
                     range);
}

}  // namespace candor::cli
