// The known name closest to a misspelt one, for "unknown key \"beta1\": did you mean \"beta\"?".
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace candor {

// Damerau-Levenshtein distance (optimal string alignment): insertions, deletions, substitutions and swaps of two
// neighbouring bytes, each counted 1; a pair once swapped is not edited again.
size_t edit_distance(std::string_view a, std::string_view b);

// The first of `names` with the smallest distance to `name`, case and '-' against '_' ignored; nothing when even that
// one is further than half of `name`'s length (at least 1), since a far-fetched suggestion only misleads.
std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> names);

// " Did you mean \"beta\"?" or, without a near name, an empty string: to be put after "unknown …".
std::string did_you_mean(std::string_view name, std::span<const std::string> names);

}  // namespace candor
