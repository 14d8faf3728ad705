// Reading a recipe: default < file < flag, and every key that is wrong stops the run with its place, what was expected
// and what came. Nothing here knows a particular recipe; FieldList (fields.h) does.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "recipes/fields.h"

namespace candor::recipes {

// "--key value", "--key=value", "--key" (true), or, for lists, "--key a,b" and "--key a b". Dashes inside a key are
// read as underscores.
struct Flag {
  std::string key;
  std::vector<std::string> values = {};  // empty: none was given
};

// What stands on a recipe verb's command line.
struct CommandLine {
  std::vector<std::string> positional;
  std::vector<Flag> flags;
};
// Only list fields take more than one following word. Error: a lone "-x".
Result<CommandLine> split_command_line(const FieldList& fields, const std::vector<std::string>& words);

// What was set, and from where; and what the user should know.
struct Given {
  std::map<std::string, std::string> keys;  // key -> "grpo.yaml:12" or "flag --beta"
  std::vector<std::string> notes;           // "[grpo.yaml:3] report_to has no meaning here: …"
  bool has(const std::string& key) const { return keys.contains(key); }
};

// Sets the fields from a recipe file (none: flags only), then from the flags. Errors: unreadable file, no mapping, a
// key twice, an unknown key (with the nearest name), a TRL key that would change results and is not supported
// (trl_keys.h), a value of the wrong type or out of range, a required key that is absent.
Result<Given> load_fields(const FieldList& fields, const std::optional<std::filesystem::path>& recipe,
                          const std::vector<Flag>& flags);

// The same from YAML already in memory; `name` stands for the file in messages. Does not look for required keys.
Result<Given> read_yaml(const FieldList& fields, std::string_view yaml, std::string_view name);

// The keys of a recipe file, whatever recipe it is. Error: unreadable, or no mapping.
Result<std::vector<std::string>> recipe_keys(const std::filesystem::path& recipe);

}  // namespace candor::recipes
