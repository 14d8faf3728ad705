#include "data/pairs.h"

#include <algorithm>
#include <map>
#include <set>

#include "data/row_checks.h"

namespace candor::data {
namespace {

using text::Json;

// Completions of one prompt, each once: places in the rollouts.
using Group = std::vector<size_t>;

// What cannot be used whatever the others are; the rest in groups, in order of their first completion.
std::vector<Group> groups_of(const std::vector<Rollout>& rollouts, std::vector<std::string>& fates) {
  std::vector<Group> groups;
  std::map<std::string, size_t> group_of;  // by prompt
  std::set<std::pair<size_t, std::string>> seen;
  for (size_t i = 0; i < rollouts.size(); ++i) {
    const Rollout& one = rollouts[i];
    const bool blank = one.completion.find_first_not_of(" \t\r\n") == std::string::npos;
    const std::string prompt = one.prompt.dump(-1, ' ', false, Json::error_handler_t::replace);
    const auto [at, added] = group_of.emplace(prompt, groups.size());
    if (added) groups.emplace_back();
    if (!one.reward)
      fates[i] = "dropped: it has no reward";
    else if (blank)
      fates[i] = "dropped: its completion is empty";
    else if (!text_fault(Json{{"completion", one.completion}}).empty())
      fates[i] = "dropped: its completion holds a NUL character";
    else if (!seen.emplace(at->second, one.completion).second)
      fates[i] = "dropped: repeats a completion of its prompt";
    else
      groups[at->second].push_back(i);
  }
  return groups;
}

Json completion_column(const Rollout& one) {
  if (!one.prompt.is_array()) return one.completion;
  return Json::array({Json{{"role", "assistant"}, {"content", one.completion}}});
}

void add_row(Rows& rows, Json columns) {
  const auto number = static_cast<int64_t>(rows.rows.size()) + 1;
  rows.rows.push_back({std::move(columns), number, number});
}

// Of equal rewards one that was not cut off goes before one that was.
bool better(const Rollout& a, const Rollout& b) {
  return *a.reward > *b.reward || (*a.reward == *b.reward && a.finished && !b.finished);
}

class Pairs {
 public:
  Pairs(const std::vector<Rollout>& rollouts, const PairOptions& options) : rollouts_(rollouts), options_(options) {
    made_.fates.resize(rollouts.size());
  }

  Paired make() {
    for (const Group& group : groups_of(rollouts_, made_.fates)) {
      if (group.empty()) continue;
      const size_t before = made_.rows.rows.size();
      if (options_.pairing == Pairing::kAll)
        all(group);
      else
        one(group);
      const std::string why =
          made_.rows.rows.size() > before ? "not used: in no pair of its prompt" : without_pair(group);
      for (const size_t i : group)
        if (made_.fates[i].empty()) made_.fates[i] = why;
    }
    return std::move(made_);
  }

 private:
  double reward(size_t i) const { return *rollouts_[i].reward; }
  bool may_be_chosen(size_t i) const { return rollouts_[i].finished || options_.cut_off_too; }
  bool apart(size_t above, size_t below) const {
    return reward(above) > reward(below) && reward(above) - reward(below) >= options_.margin;
  }

  void all(const Group& group) {
    for (const size_t chosen : group)
      for (const size_t rejected : group)
        if (may_be_chosen(chosen) && apart(chosen, rejected)) add(chosen, rejected);
  }

  void one(const Group& group) {
    std::optional<size_t> best, worst;
    for (const size_t i : group)
      if (may_be_chosen(i) && (!best || better(rollouts_[i], rollouts_[*best]))) best = i;
    if (!best) return;
    for (const size_t i : group) {
      if (!apart(*best, i)) continue;
      const bool further = options_.pairing == Pairing::kHard
                               ? worst && *rollouts_[i].logprob > *rollouts_[*worst].logprob
                               : worst && reward(i) < reward(*worst);
      if (!worst || further) worst = i;
    }
    if (worst) add(*best, *worst);
  }

  void add(size_t chosen, size_t rejected) {
    add_row(made_.rows, {{"prompt", rollouts_[chosen].prompt},
                         {"chosen", completion_column(rollouts_[chosen])},
                         {"rejected", completion_column(rollouts_[rejected])},
                         {"score_chosen", reward(chosen)},
                         {"score_rejected", reward(rejected)}});
    mark(chosen, "chosen");
    mark(rejected, "rejected");
  }

  void mark(size_t i, const char* role) {
    std::string& fate = made_.fates[i];
    fate = fate.empty() || fate == role ? role : "chosen and rejected";
  }

  std::string without_pair(const Group& group) const {
    if (group.size() == 1) return "dropped: the only completion of its prompt";
    const auto [low, high] =
        std::minmax_element(group.begin(), group.end(), [&](size_t a, size_t b) { return reward(a) < reward(b); });
    if (reward(*low) == reward(*high)) return "dropped: all completions of its prompt have the same reward";
    if (reward(*high) - reward(*low) < options_.margin)
      return "dropped: no two completions of its prompt are the margin apart";
    return "dropped: the better completions of its prompt were cut off";
  }

  const std::vector<Rollout>& rollouts_;
  const PairOptions& options_;
  Paired made_;
};

}  // namespace

Result<Paired> preference_pairs(const std::vector<Rollout>& rollouts, const PairOptions& options) {
  if (options.pairing == Pairing::kHard)
    for (const Rollout& one : rollouts)
      if (!one.logprob)
        return error(
            "[pairs] row {} has no log-probabilities, by which hard negatives are chosen. candor generate writes them "
            "as "
            "\"logprobs\".",
            one.row);
  return Pairs(rollouts, options).make();
}

Paired best_of(const std::vector<Rollout>& rollouts, const PairOptions& options) {
  Paired made;
  made.fates.resize(rollouts.size());
  for (const Group& group : groups_of(rollouts, made.fates)) {
    std::optional<size_t> best;
    for (const size_t i : group) {
      if (!rollouts[i].finished && !options.cut_off_too)
        made.fates[i] = "dropped: it was cut off";
      else if (!best || better(rollouts[i], rollouts[*best]))
        best = i;
    }
    const bool kept = best && *rollouts[*best].reward >= options.least;
    for (const size_t i : group)
      if (made.fates[i].empty())
        made.fates[i] = kept ? "not used: not the best of its prompt"
                             : "dropped: the best completion of its prompt has too small a reward";
    if (!kept) continue;
    made.fates[*best] = "kept";
    const Rollout& one = rollouts[*best];
    add_row(made.rows, {{"prompt", one.prompt}, {"completion", completion_column(one)}, {"score", *one.reward}});
  }
  return made;
}

Paired labelled(const std::vector<Rollout>& rollouts, const PairOptions& options) {
  Paired made;
  made.fates.resize(rollouts.size());
  groups_of(rollouts, made.fates);
  for (size_t i = 0; i < rollouts.size(); ++i) {
    if (!made.fates[i].empty()) continue;
    const Rollout& one = rollouts[i];
    const bool good = *one.reward >= options.least;
    if (good && !one.finished && !options.cut_off_too) {
      made.fates[i] = "dropped: good, but it was cut off";
      continue;
    }
    made.fates[i] = good ? "labelled true" : "labelled false";
    add_row(made.rows,
            {{"prompt", one.prompt}, {"completion", completion_column(one)}, {"label", good}, {"score", *one.reward}});
  }
  return made;
}

std::vector<RowFate> count_fates(const std::vector<Rollout>& rollouts, const std::vector<std::string>& fates) {
  RowAccount account;
  for (size_t i = 0; i < rollouts.size(); ++i) account.add(fates[i], rollouts[i].row);
  return account.fates;
}

}  // namespace candor::data
