// A recipe's keys: one list per recipe struct (grpo_config.cpp has GRPO's). From that list come the YAML file, the
// flags, --help, the resolved recipe.yaml, the machine-readable listing and the comparison on resume, so none of them
// can disagree with another.
//
// A Field points into one instance of the struct: build the list again for another instance. Defaults are the struct's
// own initialisers, read from the instance before anything is set.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace candor::recipes {

// What a key can change. A test moves every kSpeed key and demands the same bits.
enum class Heading {
  kResults,  // changes results
  kSpeed,    // changes only speed or memory
  kRecord,   // changes only what is written, and when
};
std::string_view heading_title(Heading heading);

// PEFT's target_modules: a list of names, or one text that is "all-linear" or a regular expression.
struct TextOrList {
  bool is_list = false;
  std::vector<std::string> items;  // exactly one where is_list is false
  bool operator==(const TextOrList&) const = default;
};

struct Range {
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  bool above_low = false;  // low itself is outside
};
inline Range at_least(double low) {
  return {.low = low};
}
inline Range above(double low) {
  return {.low = low, .above_low = true};
}
inline Range between(double low, double high) {
  return {.low = low, .high = high};
}
inline Range above_up_to(double low, double high) {
  return {.low = low, .high = high, .above_low = true};
}

using FieldValue =
    std::variant<bool*, int64_t*, double*, std::string*, std::optional<int64_t>*, std::optional<double>*,
                 std::optional<std::string>*, std::vector<std::string>*, std::vector<double>*, TextOrList*>;

struct FieldOptions {
  std::string unit = {};                                              // "tokens"; empty where the meaning says it
  std::vector<std::string> choices = {};                              // of a text, or of each text in a list
  std::string or_path = {};                                           // what a text with a "/" names beside the choices
  std::vector<std::pair<std::string, std::string>> other_names = {};  // what TRL also accepts -> the choice it means
  Range range = {};                                                   // of a number, or of each number in a list
  bool required = false;                                              // a text or list that must not stay empty
  std::string without = {};                                           // what an absent optional value means
};

struct Field {
  std::string key;
  FieldValue value;
  Heading heading;
  std::string group;  // sub-heading in --help
  std::string meaning;
  FieldOptions options;
};

class FieldList {
 public:
  // The recipe that the keys are of: "grpo".
  explicit FieldList(std::string recipe) : recipe_(std::move(recipe)) {}
  const std::string& recipe() const { return recipe_; }

  // The heading and group of the fields added from here on.
  void section(Heading heading, std::string group);
  void add(std::string key, FieldValue value, std::string meaning, FieldOptions options = {});

  const Field* find(std::string_view key) const;
  const std::vector<Field>& all() const { return fields_; }
  std::vector<std::string> keys() const;

 private:
  std::string recipe_;
  std::vector<Field> fields_;
  Heading heading_ = Heading::kResults;
  std::string group_;
};

// What a field takes, for help and messages: "an integer of at least 1", "one of dapo, dr_grpo, grpo".
std::string expected_text(const Field& field);
bool is_list(const Field& field);
bool is_bool(const Field& field);
bool is_empty(const Field& field);  // a text or list without content, an optional value that is absent

// Sets the field from text as a YAML scalar or a flag gives it ("null", "none" and "~" are absence). `where` opens the
// message of an error: "grpo.yaml:12" or "flag --beta". For a list the one text is its one item.
Result<void> set_from_text(const Field& field, const std::string& text, std::string_view where);
Result<void> set_from_list(const Field& field, const std::vector<std::string>& items, std::string_view where);

// The value as one line of YAML, which set_from_* reads back to the same value: doubles in the fewest digits that do.
std::string value_text(const Field& field);
std::string number_text(double value);
std::string quoted_text(std::string_view text);  // "…" with escapes, as JSON and YAML read it

}  // namespace candor::recipes
