#include "belief/simulation.h"

#include <fmt/format.h>

#include "algorithms/logistic.h"
#include "base/check.h"
#include "base/math.h"
#include "base/rng.h"

namespace candor::belief {

namespace {

// What is drawn, each by itself.
enum class Draw : uint32_t { kHeld, kItem, kAnswer, kGap };

class Drawing {
 public:
  Drawing(const SimulationOptions& options, uint32_t group) : options_(options), group_(group) {}

  double uniform(Draw what, size_t row, uint64_t position = 0) const {
    return random_uniform(key(what, row), position);
  }

  ItemAnswers item(std::string id, size_t row, bool held) const {
    ItemAnswers item;
    item.id = std::move(id);
    item.topic = fmt::format("topic {}", row % 4);
    item.says = 1.0;
    const double effect = options_.item_deviation * random_normal(key(Draw::kItem, row), 0);
    for (size_t q = 0; q < static_cast<size_t>(options_.questions); ++q) {
      const QuestionKind kind = kQuestionKinds[q % kQuestionKinds.size()];
      const double rate = (held ? options_.believer : options_.liar)[static_cast<size_t>(kind)];
      const double p = algorithms::sigmoid(exact_log(rate / (1 - rate)) + effect);
      item.questions.push_back({kind, uniform(Draw::kAnswer, row, q) < p ? 1.0 : -1.0});
    }
    // P(not p) misses 1 - P(p) by up to a tenth, and more where p is not held.
    const double gap = 0.1 * uniform(Draw::kGap, row) + (held ? 0.0 : options_.coherence_gap);
    const double negation = 0.25 - (gap < 0.25 ? gap : 0.25) + 1e-6;
    item.log_odds = exact_log(3.0);  // P(p) = 3/4
    item.negation_log_odds = exact_log(negation / (1 - negation));
    return item;
  }

 private:
  RngKey key(Draw what, size_t row) const {
    return {options_.seed, RngStream::kData, 4 * group_ + static_cast<uint32_t>(what), static_cast<uint32_t>(row)};
  }

  const SimulationOptions& options_;
  uint32_t group_;
};

}  // namespace

Simulation simulate(const SimulationOptions& options) {
  CHECK(options.propositions >= 0 && options.positives >= 0 && options.negatives >= 0 && options.questions >= 0);
  Simulation out;
  const Drawing drawing(options, 0);
  for (size_t i = 0; i < static_cast<size_t>(options.propositions); ++i) {
    const bool held = drawing.uniform(Draw::kHeld, i) < options.believed;
    ItemAnswers answers = drawing.item(fmt::format("p{}", i), i, held);
    Proposition proposition;
    proposition.id = answers.id;
    proposition.topic = answers.topic;
    proposition.statement = fmt::format("Statement {}.", i);
    for (size_t q = 0; q < answers.questions.size(); ++q)  // keys in balance
      proposition.questions.push_back({answers.questions[q].kind, fmt::format("Question {}?", q), {}, q / 4 % 2});
    out.propositions.push_back(std::move(proposition));
    out.answers.push_back(std::move(answers));
    out.held.push_back(held);
  }
  for (const bool sign : {true, false}) {
    const Drawing controls(options, sign ? 1 : 2);
    const size_t count = static_cast<size_t>(sign ? options.positives : options.negatives);
    for (size_t i = 0; i < count; ++i) {
      const bool said = controls.uniform(Draw::kHeld, i) >= options.unsaid;
      const ControlKind kind = kControlKinds[i % 3 + (sign ? 0 : 3)];
      Control control{kind, controls.item(fmt::format("{}{}", sign ? "k" : "n", i), i, said == sign)};
      if (!said) control.answers.says = 0.1;
      out.controls.push_back(std::move(control));
    }
  }
  return out;
}

}  // namespace candor::belief
