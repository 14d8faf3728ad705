// What a field list can be shown as: the resolved recipe.yaml, --help, a listing for programs, the difference of two.
#pragma once

#include <string>
#include <vector>

#include "recipes/fields.h"

namespace candor::recipes {

// Every key with its value under its headings. Read back (read_yaml) it gives the same values to the bit.
std::string yaml_text(const FieldList& fields);

// `defaults` is the list over a fresh instance. Lines are at most `columns` wide where words allow.
std::string help_text(const FieldList& defaults, int columns = 100);

// A JSON array with, for each key: key, type, default, unit, meaning, choices, minimum, maximum, heading, group,
// required.
std::string listing_json(const FieldList& defaults);

struct Difference {
  std::string key, was, now;  // values as YAML
};
// The keys under "changes results" whose values differ. Both lists must be of the same recipe.
std::vector<Difference> result_differences(const FieldList& was, const FieldList& now);

}  // namespace candor::recipes
