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
constexpr int64_t kDigitPairsHeldOut = 34;
// The project's own small model was trained on other ways of asking.
constexpr const char* kWordings[] = {"How much is {} + {}?", "What is the sum of {} and {}?", "Please add {} and {}."};

struct Pair {
  int64_t a = 0, b = 0;
};

Json conversation(std::string content) {
  return Json::array({Json{{"role", "user"}, {"content", std::move(content)}}});
}

// All ordered pairs of summands from `smallest` to `largest` in an order drawn from the seed (Fisher-Yates).
std::vector<Pair> shuffled_pairs(uint64_t seed, int64_t smallest, int64_t largest) {
  std::vector<Pair> pairs;
  for (int64_t a = smallest; a <= largest; ++a) {
    for (int64_t b = smallest; b <= largest; ++b) pairs.push_back({a, b});
  }
  const RngKey key{seed, RngStream::kData, 0, 0};
  for (size_t i = pairs.size() - 1; i > 0; --i) std::swap(pairs[i], pairs[random_below(key, i, i + 1)]);
  return pairs;
}

void add_row(data::Rows& rows, Pair pair, std::string_view wording) {
  const auto number = static_cast<int64_t>(rows.rows.size()) + 1;
  Json columns = Json::object();
  columns["prompt"] = conversation(fmt::format(fmt::runtime(wording), pair.a, pair.b));
  columns["answer"] = std::to_string(pair.a + pair.b);
  rows.rows.push_back({std::move(columns), number, number});
}

SumsTask empty_task() {
  SumsTask task;
  task.train.rows.name = "sums (training)";
  task.held_out.rows.name = "sums (held out)";
  return task;
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
  constexpr std::string_view kWording = "What is {} + {}? Answer with just the number.";
  SumsTask task = empty_task();
  const std::vector<Pair> pairs = shuffled_pairs(options.seed, kSmallest, kLargest);
  std::set<std::pair<int64_t, int64_t>> held_out;
  for (int64_t i = 0; i < options.held_out_rows; ++i) {
    add_row(task.held_out.rows, pairs[i], kWording);
    held_out.insert(std::minmax(pairs[i].a, pairs[i].b));
  }
  std::vector<data::Row>& train = task.train.rows.rows;
  for (size_t i = options.held_out_rows; i < pairs.size(); ++i) {
    if (static_cast<int64_t>(train.size()) == options.train_rows) break;
    if (!held_out.contains(std::minmax(pairs[i].a, pairs[i].b))) add_row(task.train.rows, pairs[i], kWording);
  }
  if (static_cast<int64_t>(train.size()) < options.train_rows) {
    return error("[sums] {} training rows, but beside {} held-out rows there are only {} pairs. Ask for fewer.",
                 options.train_rows, options.held_out_rows, train.size());
  }
  return task;
}

SumsTask digit_sums_task(uint64_t seed) {
  SumsTask task = empty_task();
  const std::vector<Pair> pairs = shuffled_pairs(seed, 0, 9);
  std::set<std::pair<int64_t, int64_t>> held_out;
  for (int64_t i = 0; i < kDigitPairsHeldOut; ++i) held_out.insert(std::minmax(pairs[i].a, pairs[i].b));
  for (const char* wording : kWordings)
    for (size_t i = 0; i < pairs.size(); ++i) {
      if (i < kDigitPairsHeldOut)
        add_row(task.held_out.rows, pairs[i], wording);
      else if (!held_out.contains(std::minmax(pairs[i].a, pairs[i].b)))
        add_row(task.train.rows, pairs[i], wording);
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
