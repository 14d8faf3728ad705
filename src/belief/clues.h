// Clues: what is so on the side of a proposition and otherwise on the other side, each told in every form that a
// question can take; and the questions of a proposition drawn from them, with balanced keys.
//
// Generators and converters write clues and never keys, so that no kind of question leans to "yes" or to A.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "belief/propositions.h"

namespace candor::belief {

// Pairs of two: [0] belongs to the side of the proposition, [1] to the other.
struct Clue {
  QuestionKind kind = QuestionKind::kPrerequisite;
  std::array<std::string, 2> ask;      // questions to which that side says yes and the other no
  std::array<std::string, 2> clause;   // the same as part of a sentence, without capital and full stop
  std::string which;                   // the question whose answers are the options
  std::array<std::string, 2> options;  // what each side answers to it
};

// Numbers drawn one after another; each use has its own row.
class Draws {
 public:
  Draws(uint64_t seed, uint32_t row) : key_{seed, RngStream::kData, 0, row} {}
  uint64_t below(uint64_t n) { return random_below(key_, at_++, n); }

  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  RngKey key_;
  uint64_t at_ = 0;
};

// `per_kind` questions of each kind, half of them yes/no and half with options (`per_kind` is even), with balanced
// keys; clues that would name what `item` forbids are passed over. Empty where one kind has not enough.
std::vector<SubQuestion> draw_questions(const Proposition& item, const std::vector<Clue>& clues, size_t per_kind,
                                        Draws& draws);

// The clues of "a and b": its other side is that at least one of the two fails, whichever.
std::vector<Clue> conjunction_clues(const std::vector<Clue>& a, const std::vector<Clue>& b);

// "{E} has wings" with {E} replaced. Names without a value stay.
std::string filled(std::string_view pattern, const std::vector<std::pair<std::string_view, std::string_view>>& values);

// With a capital at the start, or without; letters of ASCII only.
std::string capitalised(std::string text);
std::string uncapitalised(std::string text);

// Without the full stops at its end.
std::string without_stop(std::string text);

}  // namespace candor::belief
