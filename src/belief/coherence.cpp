#include "belief/coherence.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include "algorithms/logistic.h"
#include "base/check.h"
#include "base/math.h"

namespace candor::belief {

namespace {

using algorithms::sigmoid;

class ById {
 public:
  explicit ById(std::span<const ItemAnswers> answers) {
    for (const ItemAnswers& item : answers) items_.emplace(item.id, &item);
  }
  // P(that item); NaN where it is not known.
  double probability(const std::string& id) const {
    const auto found = items_.find(id);
    return found == items_.end() ? kNotAsked : sigmoid(found->second->log_odds);
  }

 private:
  std::unordered_map<std::string_view, const ItemAnswers*> items_;
};

// The mean of those that are numbers; NaN: none is.
template <typename Values>
double mean_of(const Values& values) {
  double sum = 0, count = 0;
  for (const double value : values)
    if (!std::isnan(value)) {
      sum += value;
      count += 1;
    }
  return count > 0 ? sum / count : kNotAsked;
}

// (x)+ that lets NaN through.
double positive_part(double x) {
  return x < 0 ? 0.0 : x;
}

}  // namespace

double CoherenceGaps::mean() const {
  return mean_of(std::array{negation, implication, conjunction_above, conjunction_below});
}

double negation_gap(const ItemAnswers& answers) {
  return std::abs(sigmoid(answers.log_odds) + sigmoid(answers.negation_log_odds) - 1);
}

std::vector<CoherenceGaps> coherence_gaps(std::span<const Proposition> propositions,
                                          std::span<const ItemAnswers> answers) {
  CHECK(propositions.size() == answers.size());
  const ById known(answers);
  std::vector<CoherenceGaps> out(answers.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    const double p = sigmoid(answers[i].log_odds);
    out[i].negation = negation_gap(answers[i]);
    std::vector<double> implications;
    for (const std::string& id : propositions[i].implies)
      implications.push_back(positive_part(p - known.probability(id)));
    out[i].implication = mean_of(implications);
    if (propositions[i].all_of.size() != 2) continue;
    const double a = known.probability(propositions[i].all_of[0]), b = known.probability(propositions[i].all_of[1]);
    if (std::isnan(a) || std::isnan(b)) continue;
    out[i].conjunction_above = positive_part(p - std::min(a, b));
    out[i].conjunction_below = positive_part(a + b - 1 - p);
  }
  return out;
}

std::vector<double> constraints_kept(std::span<const Proposition> propositions, std::span<const ItemAnswers> answers) {
  CHECK(propositions.size() == answers.size());
  const ById known(answers);
  std::vector<double> out(answers.size(), kNotAsked);
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!(answers[i].log_odds > 0)) continue;
    std::vector<double> kept;  // 1, 0; NaN where the consequent was not asked
    const auto add = [&](double p) { kept.push_back(std::isnan(p) ? kNotAsked : p > 0.5 ? 1.0 : 0.0); };
    for (const QuestionAnswer& question : answers[i].questions) add(sigmoid(question.log_odds));
    for (const std::string& id : propositions[i].implies) add(known.probability(id));
    for (const std::string& id : propositions[i].all_of) add(known.probability(id));
    out[i] = mean_of(kept);
  }
  return out;
}

double neighbor_consistency(const ItemAnswers& answers) {
  double logs = 0, asked = 0;
  for (const QuestionAnswer& question : answers.questions) {
    if (std::isnan(question.log_odds)) continue;
    logs -= algorithms::neg_log_sigmoid(question.log_odds).value;
    asked += 1;
  }
  return asked > 0 ? sigmoid(answers.log_odds) * exact_exp(logs / asked) : kNotAsked;
}

}  // namespace candor::belief
