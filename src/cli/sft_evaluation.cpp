#include "cli/sft_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "engine/sampler.h"
#include "statistics/bootstrap.h"

namespace candor::cli {

namespace {

using files::Json;

constexpr size_t kSamples = 8;
constexpr int64_t kSampleTokens = 64;
constexpr size_t kFewestRows = 5;  // an interval over fewer says nothing

// The sequences whose prompts are answered: those that have more of a prompt than the one token that text begins with.
std::vector<recipes::SftDocument> sampled_documents(const data::SftSet& set) {
  std::vector<const data::TrainingRow*> rows;
  for (const data::TrainingRow& row : set.rows) rows.push_back(&row);
  std::vector<recipes::SftDocument> chosen;
  for (recipes::SftDocument& document : recipes::sft_documents(rows))
    if (document.group.prompt.size() > 1 && chosen.size() < kSamples) chosen.push_back(std::move(document));
  return chosen;
}

}  // namespace

std::optional<engine::SamplingShape> answers_shape(const data::SftSet& set) {
  engine::SamplingShape shape{0, 1, 1, kSampleTokens};
  for (const recipes::SftDocument& document : sampled_documents(set)) {
    ++shape.requests;
    shape.longest_prompt = std::max(shape.longest_prompt, static_cast<int64_t>(document.group.prompt.size()));
  }
  return shape.requests == 0 ? std::nullopt : std::optional(shape);
}

namespace {

double token_accuracy(const recipes::SftEvaluation& evaluation) {
  return algorithms::sft_metrics(evaluation.rows)[1].value;
}

}  // namespace

std::optional<SftState> measure_sft(const Session& session, const engine::Adapter* adapter, const data::SftSet& set,
                                    const std::function<void(const std::string&)>& doing,
                                    const std::function<bool()>& interrupted) {
  auto losses = recipes::evaluate_sft(session.context, session.model, adapter, set, algorithms::SftLossType::kNll,
                                      [&](size_t done, size_t all) {
                                        doing(fmt::format("{}/{}", done, all));
                                        return !interrupted();
                                      });
  if (!losses) return std::nullopt;
  SftState state{std::move(*losses), {}};
  std::vector<engine::SampleRequest> requests;
  for (const recipes::SftDocument& document : sampled_documents(set))
    requests.push_back({{document.group.prompt.begin(), document.group.prompt.end()}, 1});
  if (requests.empty()) return state;
  engine::SamplingOptions greedy;
  greedy.temperature = 0;
  greedy.max_new_tokens = kSampleTokens;
  greedy.stop_ids = session.model.config.eos_ids;
  const auto answers = engine::sample(session.context, session.model, adapter, requests, greedy, nullptr,
                                      {.progress = {}, .interrupted = interrupted});
  if (answers.empty()) return std::nullopt;
  for (const auto& answer : answers)
    state.answers.push_back(session.tokenizer().decode(answer[0].ids, {.skip_special_tokens = true}));
  return state;
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
  const std::vector<recipes::SftDocument> documents = sampled_documents(set);
  const auto text = [&](std::span<const int32_t> ids, bool skip) {
    return session.tokenizer().decode({ids.begin(), ids.end()}, {.skip_special_tokens = skip});
  };
  Json samples = Json::array();
  for (size_t i = 0; i < documents.size(); ++i)
    samples.push_back({{"prompt", text(documents[i].group.prompt, false)},
                       {"answer", text(documents[i].group.completions[0], true)},
                       {"before", before.answers[i]},
                       {"after", after.answers[i]}});
  return samples;
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

Json account_json(const data::SftSet& set) {
  Json fates = Json::array();
  for (const data::RowFate& fate : set.account.fates)
    fates.push_back({{"what", fate.what}, {"rows", fate.rows}, {"tokens_lost", fate.tokens}, {"first", fate.first}});
  return {{"file", set.name},
          {"rows", set.account.rows},
          {"kept", set.account.kept},
          {"tokens", set.account.tokens},
          {"counted_tokens", set.account.counted_tokens},
          {"training_rows", set.rows.size()},
          {"max_length", set.max_length},
          {"fates", fates}};
}

}  // namespace candor::cli
