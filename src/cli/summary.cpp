#include "cli/summary.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>

namespace candor::cli {

namespace {

using files::Json;

Json interval(const statistics::Interval& i) {
  return Json::array({i.low, i.high});
}

Json one_side(const eval::EvalResult& result) {
  return {{"correct", result.correct},         {"total", result.items.size()},
          {"accuracy", result.accuracy},       {"interval", interval(result.interval)},
          {"mean_tokens", result.mean_tokens}, {"unfinished", result.unfinished}};
}

Result<Json> both_sides(const eval::EvalResult& before, const eval::EvalResult& after) {
  const eval::Comparison comparison = TRY(eval::compare(before, after));
  return Json{
      {"before", one_side(before)},
      {"after", one_side(after)},
      {"mcnemar",
       {{"gained", comparison.counts.only_after}, {"lost", comparison.counts.only_before}, {"p", comparison.p_value}}},
      {"difference", comparison.difference},
      {"difference_interval", interval(comparison.interval)}};
}

}  // namespace

Result<Json> compare_evaluations(const Evaluation& before, const Evaluation& after) {
  const eval::ProseComparison prose = TRY(eval::compare_prose(before.prose, after.prose));
  return Json{{"greedy", TRY(both_sides(before.greedy, after.greedy))},
              {"sampled", TRY(both_sides(before.sampled, after.sampled))},
              {"prose",
               {{"before_nats_per_token", prose.before_nats_per_token},
                {"after_nats_per_token", prose.after_nats_per_token},
                {"difference", prose.difference},
                {"interval", interval(prose.interval)}}}};
}

Json sample_answers(const Evaluator& evaluator, const Evaluation& before, const Evaluation& after, size_t count) {
  std::vector<size_t> order;
  for (const bool changed : {true, false})
    for (size_t i = 0; i < before.greedy.items.size(); ++i)
      if ((before.greedy.items[i].correct != after.greedy.items[i].correct) == changed) order.push_back(i);
  order.resize(std::min(order.size(), count));
  Json samples = Json::array();
  for (const size_t i : order)
    samples.push_back({{"prompt", evaluator.prompts.prompts[i].text},
                       {"answer", before.greedy.items[i].gold},
                       {"before", before.greedy.items[i].completion.text},
                       {"after", after.greedy.items[i].completion.text},
                       {"before_correct", before.greedy.items[i].correct},
                       {"after_correct", after.greedy.items[i].correct}});
  return samples;
}

std::string verdict(const Json& evaluations) {
  const Json& greedy = evaluations["greedy"];
  const auto total = greedy["before"]["total"].get<int64_t>();
  const double before = 100 * greedy["before"]["accuracy"].get<double>(),
               after = 100 * greedy["after"]["accuracy"].get<double>();
  const double p = greedy["mcnemar"]["p"].get<double>();
  const std::string change = fmt::format(
      "{:.0f}% to {:.0f}% of {} held-out items, answered greedily ({:+.0f} points, 95% interval {:+.0f} to {:+.0f}, p "
      "= "
      "{:.2g} by McNemar's exact test)",
      before, after, total, after - before, 100 * greedy["difference_interval"][0].get<double>(),
      100 * greedy["difference_interval"][1].get<double>(), p);
  if (p >= 0.05) return fmt::format("No change that chance could not make: {}.", change);
  return fmt::format("The model has become {}: {}.", after > before ? "better" : "worse", change);
}

Json account_json(const std::string& name, const data::RowAccount& account, size_t training_rows, int64_t max_length) {
  Json fates = Json::array();
  for (const data::RowFate& fate : account.fates)
    fates.push_back({{"what", fate.what}, {"rows", fate.rows}, {"tokens_lost", fate.tokens}, {"first", fate.first}});
  return {{"file", name},
          {"rows", account.rows},
          {"kept", account.kept},
          {"tokens", account.tokens},
          {"counted_tokens", account.counted_tokens},
          {"training_rows", training_rows},
          {"max_length", max_length},
          {"fates", fates}};
}

Json machine(const engine::Context& context) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line, cpu = "unknown";
  while (std::getline(cpuinfo, line))
    if (line.starts_with("model name")) {
      cpu = line.substr(std::min(line.size(), line.find(':') + 2));
      break;
    }
  return {{"cpu", cpu}, {"cores", context.pool.threads()}, {"kernels", context.kernels.name}};
}

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

Json buffers(const engine::MemoryLedger& ledger) {
  std::vector<engine::MemoryLedger::Entry> entries = ledger.entries();
  std::map<std::pair<std::string, std::string>, int64_t> grouped;
  for (const auto& entry : entries)
    grouped[{entry.role, entry.role == "weights" ? "weights" : entry.name}] += entry.peak_bytes;
  std::vector<std::pair<std::pair<std::string, std::string>, int64_t>> sorted(grouped.begin(), grouped.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  Json rows = Json::array();
  for (const auto& [key, bytes] : sorted)
    rows.push_back({{"role", key.first}, {"name", key.second}, {"peak_bytes", bytes}});
  return rows;
}

}  // namespace candor::cli
