#include "eval/tasks.h"

#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "rewards/rewards.h"

namespace candor::eval {
namespace {

using text::Json;

constexpr int64_t kSmallest = 2, kLargest = 50, kSummands = kLargest - kSmallest + 1;

struct Pair {
  int64_t a = 0, b = 0;
};

Json conversation(std::string content) {
  return Json::array({Json{{"role", "user"}, {"content", std::move(content)}}});
}

// All ordered pairs in an order drawn from the seed (Fisher-Yates).
std::vector<Pair> shuffled_pairs(uint64_t seed) {
  std::vector<Pair> pairs;
  for (int64_t a = kSmallest; a <= kLargest; ++a) {
    for (int64_t b = kSmallest; b <= kLargest; ++b) pairs.push_back({a, b});
  }
  const RngKey key{seed, RngStream::kData, 0, 0};
  for (size_t i = pairs.size() - 1; i > 0; --i) std::swap(pairs[i], pairs[random_below(key, i, i + 1)]);
  return pairs;
}

void add_row(data::Rows& rows, Pair pair) {
  const auto number = static_cast<int64_t>(rows.rows.size()) + 1;
  Json columns = Json::object();
  columns["prompt"] = conversation(fmt::format("What is {} + {}? Answer with just the number.", pair.a, pair.b));
  columns["answer"] = std::to_string(pair.a + pair.b);
  rows.rows.push_back({std::move(columns), number, number});
}

// Puts a `prompt` made from the question before the row's columns.
Json with_prompt(const Json& columns, const std::string& question) {
  Json row = Json::object();
  row["prompt"] = conversation(question + "\nThink step by step, then write the final number after \"####\".");
  row.update(columns);
  return row;
}

}  // namespace

Result<SumsTask> sums_task(const SumsOptions& options) {
  if (options.train_rows < 0 || options.held_out_rows < 0 || options.held_out_rows > kSummands * kSummands) {
    return error("[sums] {} training and {} held-out rows. Expected 0 to {} in all.", options.train_rows,
                 options.held_out_rows, kSummands * kSummands);
  }
  SumsTask task;
  task.train.rows.name = "sums (training)";
  task.held_out.rows.name = "sums (held out)";
  const std::vector<Pair> pairs = shuffled_pairs(options.seed);
  std::set<std::pair<int64_t, int64_t>> held_out;
  for (int64_t i = 0; i < options.held_out_rows; ++i) {
    add_row(task.held_out.rows, pairs[i]);
    held_out.insert(std::minmax(pairs[i].a, pairs[i].b));
  }
  std::vector<data::Row>& train = task.train.rows.rows;
  for (size_t i = options.held_out_rows; i < pairs.size(); ++i) {
    if (static_cast<int64_t>(train.size()) == options.train_rows) break;
    if (!held_out.contains(std::minmax(pairs[i].a, pairs[i].b))) add_row(task.train.rows, pairs[i]);
  }
  if (static_cast<int64_t>(train.size()) < options.train_rows) {
    return error("[sums] {} training rows, but beside {} held-out rows there are only {} pairs. Ask for fewer.",
                 options.train_rows, options.held_out_rows, train.size());
  }
  return task;
}

Result<Task> task_from_rows(data::Rows rows, std::string extraction) {
  for (data::Row& row : rows.rows) {
    if (row.columns.contains("prompt")) continue;
    const auto question = row.columns.find("question");
    if (question == row.columns.end() || !question->is_string()) {
      return error(
          "[task] {}: expected a column \"prompt\" (or \"question\"). Rename the column that holds the prompt.",
          data::place(rows.name, row));
    }
    row.columns = with_prompt(row.columns, question->get<std::string>());
  }
  rewards::RewardParams params;
  params.extraction = extraction;
  const std::vector<rewards::Reward> accuracy = { TRY(rewards::make_reward("accuracy", params)) };
  TRY(rewards::check_rows(accuracy, rows));
  return Task{std::move(rows), std::move(extraction)};
}

}  // namespace candor::eval
