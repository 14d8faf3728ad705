#include "belief/representation.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/check.h"
#include "engine/last_hidden.h"
#include "engine/score.h"

namespace candor::belief {

std::vector<int64_t> probed_layers(int64_t layers) {
  std::set<int64_t> some;
  for (const int64_t eighths : {3, 4, 5, 6}) some.insert(std::max<int64_t>(1, layers * eighths / 8));
  return {some.begin(), some.end()};
}

std::optional<StatementStates> read_states(const eval::Subject& subject,
                                           std::span<const std::vector<int32_t>> sentences,
                                           std::span<const int64_t> layers, const std::function<bool()>& interrupted) {
  StatementStates states;
  states.width = static_cast<size_t>(subject.model.config.hidden_size);
  states.layers.resize(layers.size());
  size_t seen = 0;
  engine::last_hidden_states(
      subject.context, subject.model, subject.adapter, sentences, layers, [&](size_t, const std::vector<float>& read) {
        for (size_t l = 0; l < layers.size(); ++l) {
          const auto from = read.begin() + static_cast<std::ptrdiff_t>(l * states.width);
          states.layers[l].insert(states.layers[l].end(), from, from + static_cast<std::ptrdiff_t>(states.width));
        }
        ++seen;
        return !(interrupted && interrupted());
      });
  if (seen < sentences.size()) return std::nullopt;
  return states;
}

std::optional<std::vector<double>> read_plausibility(const eval::Subject& subject,
                                                     std::span<const std::vector<int32_t>> sentences,
                                                     const std::function<bool()>& interrupted) {
  std::vector<double> plausibility;
  engine::score_sequences(subject.context, subject.model, subject.adapter, sentences,
                          [&](size_t, const engine::SequenceScore& score) {
                            double sum = 0;
                            for (const float logprob : score.logprobs) sum += static_cast<double>(logprob);
                            const size_t predicted = std::max<size_t>(1, score.logprobs.size() - 1);
                            plausibility.push_back(sum / static_cast<double>(predicted));
                            return !(interrupted && interrupted());
                          });
  if (plausibility.size() < sentences.size()) return std::nullopt;
  return plausibility;
}

ProbeRows TruthReader::rows() const {
  ProbeRows rows;
  rows.states = states_;
  rows.width = width_;
  for (size_t i = 0; i < truth_.size(); ++i) {
    rows.truth.push_back(truth_[i] > 0);
    rows.polarity.push_back(i % 2 == 0);
    rows.topics.push_back(topics_[i]);
    if (i % 2 == 0) rows.pairs.push_back({i, i + 1});
  }
  return rows;
}

TruthReader::TopicProbe TruthReader::probe_without(const std::string& topic) const {
  const ProbeRows all = rows();
  std::vector<size_t> train;
  for (size_t i = 0; i < topics_.size(); ++i)
    if (topics_[i] != topic) train.push_back(i);
  TopicProbe out{topic, fit_probe(ProbeKind::kTwoDirections, all, train, {}), 0, 1};
  double squares = 0;
  std::vector<double> scores;
  for (const size_t i : train) scores.push_back(out.probe.log_odds(all.state(i), all.polarity[i] != 0));
  for (const double score : scores) out.mean += score / static_cast<double>(scores.size());
  for (const double score : scores) squares += (score - out.mean) * (score - out.mean);
  const double deviation = scores.empty() ? 0 : std::sqrt(squares / static_cast<double>(scores.size()));
  if (deviation > 1e-12) out.deviation = deviation;
  return out;
}

std::optional<TruthReader> TruthReader::fit(std::span<const Proposition> rows, const StatementStates& states,
                                            std::span<const double> plausibility) {
  constexpr int64_t kFewest = 10;
  const auto is_true = std::count_if(rows.begin(), rows.end(), [](const Proposition& row) { return *row.label; });
  if (is_true < kFewest || static_cast<int64_t>(rows.size()) - is_true < kFewest) return std::nullopt;
  TruthReader reader;
  reader.width_ = states.width;
  for (const Proposition& row : rows)
    for (const bool negated : {false, true}) {
      reader.truth_.push_back(*row.label != negated ? 1 : 0);
      reader.topics_.push_back(row.topic);
    }
  std::optional<size_t> best;
  double most = 0;
  for (size_t layer = 0; layer < states.layers.size(); ++layer) {
    CHECK(states.layers[layer].size() == reader.truth_.size() * reader.width_);
    reader.states_ = states.layers[layer];
    const double auroc = report_probe(ProbeKind::kTwoDirections, reader.rows(), {}).auroc;
    if (best && !(auroc > most)) continue;
    best = layer;
    most = auroc;
  }
  reader.layer_ = *best;
  reader.states_ = states.layers[*best];
  for (const ProbeKind kind : {ProbeKind::kTwoDirections, ProbeKind::kMeans, ProbeKind::kContrast})
    reader.reports_.push_back(report_probe(kind, reader.rows(), plausibility));
  std::set<std::string> topics(reader.topics_.begin(), reader.topics_.end());
  topics.insert("");
  for (const std::string& topic : topics) reader.probes_.push_back(reader.probe_without(topic));
  return reader;
}

double TruthReader::score(const std::string& topic, const StatementStates& states, size_t item) const {
  const TopicProbe* probe = nullptr;
  for (const TopicProbe& one : probes_)
    if (one.topic == topic || (one.topic.empty() && probe == nullptr)) probe = &one;
  return (probe->probe.log_odds(states.of(layer_, item, false), true) - probe->mean) / probe->deviation;
}

Erasure TruthReader::random_erasure(uint64_t seed) const {
  return belief::random_erasure(states_, width_, 1, seed);
}

}  // namespace candor::belief
