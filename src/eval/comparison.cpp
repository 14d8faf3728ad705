#include "eval/comparison.h"

#include <cmath>
#include <map>
#include <utility>

#include "statistics/bootstrap.h"

namespace candor::eval {
namespace {

using text::Json;

constexpr double kAlpha = 0.05;

Result<std::string> id_of(const Json& columns) {
  const auto id = columns.find("id");
  if (id != columns.end() && id->is_string()) return id->get<std::string>();
  if (id != columns.end() && id->is_number_integer()) return id->dump();
  return error(
      "expected a column \"id\" (text or a whole number) that names the item. candor eval --output writes one.");
}

Result<double> score_of(const Json& columns, const std::string& column) {
  const auto value = columns.find(column);
  if (value == columns.end()) return error("there is no column \"{}\". --column names the one to compare.", column);
  if (value->is_boolean()) return value->get<bool>() ? 1.0 : 0.0;
  if (!value->is_number())
    return error("\"{}\" is a {}. Expected a number, true or false.", column, value->type_name());
  const auto score = value->get<double>();
  if (!std::isfinite(score)) return error("\"{}\" is not finite.", column);
  return score;
}

// The places of b's scores in a's order.
Result<std::vector<size_t>> same_items(const ItemScores& a, const ItemScores& b) {
  std::map<std::string, size_t> places;
  for (size_t i = 0; i < b.ids.size(); ++i) places.emplace(b.ids[i], i);
  std::vector<size_t> order;
  std::vector<std::string> missing;
  for (const std::string& id : a.ids) {
    const auto place = places.find(id);
    if (place == places.end())
      missing.push_back(id);
    else
      order.push_back(place->second);
  }
  const size_t surplus = b.ids.size() - order.size();
  if (missing.empty() && surplus == 0) return order;
  std::string example;
  if (!missing.empty()) example = fmt::format(" (\"{}\", for one)", missing.front().substr(0, 40));
  return error(
      "[compare] {} and {} are not of the same items: {} of the first are missing in the second{}, {} of the second in "
      "the first. Evaluate both on the same rows.",
      a.task, b.task, missing.size(), example, surplus);
}

std::string shown(double score, bool share) {
  return share ? fmt::format("{:.1f}%", 100 * score) : fmt::format("{:.4g}", score);
}

std::string signed_text(double difference, bool share) {
  return share ? fmt::format("{:+.1f}", 100 * difference) : fmt::format("{:+.4g}", difference);
}

}  // namespace

Result<ItemScores> item_scores(const data::Rows& rows, const std::string& column) {
  ItemScores scores;
  scores.task = rows.name;
  std::map<std::string, size_t> places;
  std::vector<double> count;
  for (const data::Row& row : rows.rows) {
    const auto fault = [&](const Error& e) {
      return error("[compare] {}: {}", data::place(rows.name, row), e.message);
    };
    const bool fallback = !row.columns.contains("correct") && row.columns.contains("score");
    const auto id = id_of(row.columns);
    if (!id) return fault(id.error());
    const auto score = score_of(row.columns, !column.empty() ? column : fallback ? "score" : "correct");
    if (!score) return fault(score.error());
    const auto [place, added] = places.emplace(*id, scores.ids.size());
    if (added) {
      scores.ids.push_back(*id);
      scores.scores.push_back(0);
      count.push_back(0);
    }
    scores.scores[place->second] += *score;
    count[place->second] += 1;
    scores.right_or_wrong = scores.right_or_wrong && added && (*score == 0 || *score == 1);
  }
  for (size_t i = 0; i < count.size(); ++i) scores.scores[i] /= count[i];
  return scores;
}

Result<ScoreComparison> compare_scores(const ItemScores& a, const ItemScores& b) {
  if (a.ids.empty()) return error("[compare] {}: there is no item to compare.", a.task);
  const std::vector<size_t> order = TRY(same_items(a, b));
  ScoreComparison result;
  result.task = b.task;
  result.items = static_cast<int64_t>(a.ids.size());
  const auto n = static_cast<double>(result.items);
  std::vector<double> differences;
  std::vector<uint8_t> right_a, right_b;
  for (size_t i = 0; i < order.size(); ++i) {
    const double first = a.scores[i], second = b.scores[order[i]];
    result.a += first / n;
    result.b += second / n;
    differences.push_back(second - first);
    right_a.push_back(first != 0);
    right_b.push_back(second != 0);
  }
  if (a.right_or_wrong && b.right_or_wrong) {
    const statistics::PairedCounts counts = statistics::paired_counts(right_a, right_b);
    result.counts = counts;
    result.a = counts.before();
    result.b = counts.after();
    result.difference = counts.difference();
    result.interval = statistics::paired_difference(counts);
    result.p_value = statistics::mcnemar_exact(counts.only_before, counts.only_after);
    const double changed = static_cast<double>(counts.only_before + counts.only_after) / n;
    const double least = changed > 0 ? statistics::minimum_detectable_difference(result.items, changed) : std::nan("");
    if (std::isfinite(least)) result.detectable = least;
  } else {
    double sum = 0, squares = 0;
    for (const double difference : differences) sum += difference;
    result.difference = sum / n;
    for (const double difference : differences)
      squares += (difference - result.difference) * (difference - result.difference);
    const double deviation = differences.size() > 1 ? std::sqrt(squares / (n - 1)) : 0;
    result.interval = statistics::bootstrap_mean(differences);
    result.p_value = statistics::sign_flip_test(differences);
    if (deviation > 0) result.detectable = statistics::minimum_detectable_mean(result.items, deviation);
  }
  result.p_adjusted = result.p_value;
  return result;
}

void adjust(std::vector<ScoreComparison>& tasks) {
  std::vector<double> p_values;
  for (const ScoreComparison& task : tasks) p_values.push_back(task.p_value);
  const std::vector<double> adjusted = statistics::holm(p_values);
  for (size_t i = 0; i < tasks.size(); ++i) tasks[i].p_adjusted = adjusted[i];
}

std::string in_words(const ScoreComparison& c, const std::string& name_a, const std::string& name_b) {
  const bool share = c.counts.has_value();
  const std::string figures =
      fmt::format("{} to {} on {} items, {}{} (95% interval {} to {}), p = {:.2g}", shown(c.a, share),
                  shown(c.b, share), c.items, signed_text(c.difference, share), share ? " points" : "",
                  signed_text(c.interval.low, share), signed_text(c.interval.high, share), c.p_adjusted);
  const std::string power =
      c.detectable
          ? fmt::format(" As many items that change as often show a difference from {}{} on (80% power).",
                        share ? fmt::format("{:.1f}", 100 * *c.detectable) : fmt::format("{:.4g}", *c.detectable),
                        share ? " points" : "")
          : std::string(" Too few items changed for any difference to show.");
  if (c.p_adjusted < kAlpha)
    return fmt::format("{} is {} than {} on {}: {}.", name_b, c.difference > 0 ? "better" : "worse", name_a, c.task,
                       figures);
  return fmt::format("No difference between {} and {} was shown on {}: {}.{}", name_a, name_b, c.task, figures, power);
}

Json to_json(const ScoreComparison& c) {
  Json json;
  json["task"] = c.task;
  json["items"] = c.items;
  json["a"] = c.a;
  json["b"] = c.b;
  json["difference"] = c.difference;
  json["interval"] = Json::array({c.interval.low, c.interval.high});
  json["test"] = c.counts ? "mcnemar_exact" : "sign_flip";
  json["p_value"] = c.p_value;
  json["p_adjusted"] = c.p_adjusted;
  json["minimum_detectable_difference"] = c.detectable ? Json(*c.detectable) : Json();
  if (c.counts) {
    json["both"] = c.counts->both;
    json["only_a"] = c.counts->only_before;
    json["only_b"] = c.counts->only_after;
    json["neither"] = c.counts->neither;
  }
  return json;
}

}  // namespace candor::eval
