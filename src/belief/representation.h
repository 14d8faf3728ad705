// Scores 6 and 7: what the hidden states of statements say of truth, and whether the model uses it.
//
// The probe is fitted on controls only, and a statement is read by a probe that has not seen its topic. Which layer is
// read is decided on held-out topics as well.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "belief/leace.h"
#include "belief/propositions.h"
#include "belief/truth_probe.h"
#include "eval/generation.h"

namespace candor::belief {

// Of a model with so many layers: where its statements are read.
std::vector<int64_t> probed_layers(int64_t layers);

// The last token's states of each item's statement and of its negation.
struct StatementStates {
  size_t width = 0;
  std::vector<std::vector<float>> layers;  // [layer][2·item + negated][width], flat

  std::span<const float> of(size_t layer, size_t item, bool negated) const {
    return std::span(layers[layer]).subspan((2 * item + (negated ? 1 : 0)) * width, width);
  }
};

// sentences: token ids of statement and negation, item by item. Nothing if it was interrupted.
std::optional<StatementStates> read_states(const eval::Subject& subject,
                                           std::span<const std::vector<int32_t>> sentences,
                                           std::span<const int64_t> layers, const std::function<bool()>& interrupted);

// How likely each sentence is to the model: the mean ln p of its tokens but the first, which nothing predicts; of one
// token 0. Nothing if it was interrupted.
std::optional<std::vector<double>> read_plausibility(const eval::Subject& subject,
                                                     std::span<const std::vector<int32_t>> sentences,
                                                     const std::function<bool()>& interrupted);

// What controls of known truth teach.
class TruthReader {
 public:
  // rows: with a label each, in the order of `states`. plausibility: of each statement and each negation in turn, or
  // empty; the reports compare with it. Nothing: fewer than ten of either label.
  static std::optional<TruthReader> fit(std::span<const Proposition> rows, const StatementStates& states,
                                        std::span<const double> plausibility);

  size_t layer() const { return layer_; }                               // among those that were read
  const std::vector<ProbeReport>& reports() const { return reports_; }  // of all three probes, at that layer
  // T: how true a statement of this topic looks, standardised by the controls' scores.
  double score(const std::string& topic, const StatementStates& states, size_t item) const;
  // What erases truth from that layer, and the controls of that: random directions, of as many dimensions.
  Erasure erasure() const { return leace(states_, width_, truth_, 1); }
  Erasure random_erasure(uint64_t seed) const;

 private:
  struct TopicProbe {
    std::string topic;  // that it has not seen; empty: it has seen all
    Probe probe;
    double mean = 0, deviation = 1;
  };
  ProbeRows rows() const;
  TopicProbe probe_without(const std::string& topic) const;

  size_t layer_ = 0, width_ = 0;
  std::vector<float> states_;  // of that layer
  std::vector<double> truth_;
  std::vector<std::string> topics_;
  std::vector<ProbeReport> reports_;
  std::vector<TopicProbe> probes_;
};

}  // namespace candor::belief
