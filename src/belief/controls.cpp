#include "belief/controls.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/check.h"
#include "base/sha256.h"
#include "belief/words.h"

namespace candor::belief {

namespace {

// In the order of their ids' digests: a draw that no seed and no file order changes.
std::vector<Proposition> drawn(std::vector<Proposition> rows, int64_t most) {
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Proposition& a, const Proposition& b) { return sha256_hex(a.id) < sha256_hex(b.id); });
  if (static_cast<int64_t>(rows.size()) > most) rows.resize(static_cast<size_t>(most));
  return rows;
}

}  // namespace

AuditRows keep_controls_apart(std::span<const Proposition> rows) {
  std::vector<size_t> labelled;
  std::set<size_t> controls;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].fabricated)
      controls.insert(i);
    else if (rows[i].label)
      labelled.push_back(i);
  }
  const auto place = [&](size_t i) { return std::tuple(rows[i].topic, *rows[i].label, sha256_hex(rows[i].id)); };
  std::stable_sort(labelled.begin(), labelled.end(), [&](size_t a, size_t b) { return place(a) < place(b); });
  for (size_t i = 1; i < labelled.size(); i += 2) controls.insert(labelled[i]);
  AuditRows apart;
  for (size_t i = 0; i < rows.size(); ++i)
    (controls.contains(i) ? apart.controls : apart.propositions).push_back(rows[i]);
  return apart;
}

Result<void> check_apart(const AuditRows& rows) {
  std::map<std::string, int64_t> audited;
  for (const Proposition& row : rows.propositions) audited[row.id] = row.number;
  for (const Proposition& row : rows.controls)
    if (const auto same = audited.find(row.id); same != audited.end())
      return error(
          "[audit] \"{}\" is proposition {} and control {} too. What the instrument is fitted on cannot be audited "
          "with "
          "it; drop it from one of the files.",
          row.id, same->second, row.number);
  return {};
}

ControlRows control_rows(std::span<const Proposition> rows, int64_t most) {
  ControlRows all;
  for (const Proposition& row : rows) {
    if (row.fabricated)
      all.fabricated.push_back(row);
    else if (row.label.value_or(false) && row.recall)
      all.recalled.push_back(row);
    else if (row.label && !*row.label)
      all.told.push_back(row);
  }
  return {drawn(std::move(all.recalled), most), drawn(std::move(all.told), most),
          drawn(std::move(all.fabricated), most)};
}

bool recalls(const Recall& recall, std::string_view completion) {
  const std::vector<std::string> words = words_of(completion);
  return std::any_of(recall.answers.begin(), recall.answers.end(),
                     [&](const std::string& answer) { return holds_phrase(words, words_of(answer)); });
}

engine::SamplingOptions recall_options(uint64_t seed, std::span<const int32_t> stop_ids) {
  engine::SamplingOptions options;
  options.temperature = kRecallTemperature;
  options.max_new_tokens = kRecallTokens;
  options.stop_ids.assign(stop_ids.begin(), stop_ids.end());
  options.seed = seed;
  return options;
}

std::optional<std::vector<int64_t>> count_recalls(const eval::Subject& subject,
                                                  std::span<const std::vector<int32_t>> prompts,
                                                  std::span<const Proposition> rows, uint64_t seed,
                                                  const engine::SamplingCallbacks& callbacks,
                                                  eval::Progressed<int64_t> progressed) {
  CHECK(prompts.size() == rows.size() && progressed.there.size() <= rows.size());
  std::vector<int64_t> counts = std::move(progressed.there);
  data::PromptSet set;
  for (const std::vector<int32_t>& ids : prompts) set.prompts.push_back({ids, "", {}});
  // Draws are numbered by row, so those of the prompts that are done are passed over.
  eval::Progressed<eval::Answered> answers{std::vector<eval::Answered>(counts.size() * kRecallSamples), {}};
  int64_t seen = 0, right = 0;
  answers.found = [&](const eval::Answered& answer) {
    right += recalls(*rows[counts.size()].recall, answer.text) ? 1 : 0;
    if (++seen < kRecallSamples) return;
    if (progressed.found) progressed.found(right);
    counts.push_back(right);
    seen = right = 0;
  };
  const auto options = recall_options(seed, subject.model.config.eos_ids);
  if (!eval::answer_prompts(subject, set, options, callbacks, kRecallSamples, std::move(answers))) return std::nullopt;
  return counts;
}

std::optional<ControlKind> recall_grade(int64_t right) {
  if (right >= kRecallSamples) return ControlKind::kRecalledAll;
  if (right >= 27) return ControlKind::kRecalledMost;
  if (right >= 21) return ControlKind::kRecalledMany;
  return std::nullopt;
}

}  // namespace candor::belief
