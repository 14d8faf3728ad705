#include "recipes/config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <set>
#include <sstream>

#include "base/nearest_name.h"
#include "recipes/trl_keys.h"

namespace candor::recipes {
namespace {

constexpr size_t kMaxRecipeBytes = 1 << 20;  // a recipe is a page; more is another file given by mistake

Result<std::string> read_recipe(const std::filesystem::path& path) {
  std::error_code failure;
  if (std::filesystem::is_directory(path, failure))
    return error("[recipe] {} is a directory. Give the YAML file of a recipe.", path.string());
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return error("[recipe] {} cannot be opened: {}.", path.string(),
                 std::filesystem::exists(path, failure) ? "no permission to read it" : "there is no such file");
  std::string text(kMaxRecipeBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxRecipeBytes)
    return error("[recipe] {} is larger than 1 MiB: that is no recipe.", path.string());
  return text;
}

// A key that no field has: known to TRL and harmless (a note), known to TRL and refused, or unknown.
Result<std::string> foreign_key(const FieldList& fields, const std::string& key, const std::string& value,
                                const std::string& where) {
  if (const TrlKey* known = find_trl_key(fields.recipe(), key)) {
    if (known->handling == TrlHandling::kWithoutMeaning)
      return fmt::format("[{}] {} has no meaning here and changes nothing: {}.", where, key, known->note);
    if (is_inert(*known, value)) return std::string();
    return error("[{}] {} = {} would change results and is not supported: {}. Remove the key.", where, key, value,
                 known->note);
  }
  if (const auto others = other_recipes_with(fields.recipe(), key); !others.empty())
    return error("[{}] {} is a key of candor {}, and candor {} has no use for it. Remove the key.", where, key,
                 fmt::join(others, " and candor "), fields.recipe());
  return error("[{}] unknown key {}.{} --help lists every key.", where, quoted_text(key),
               did_you_mean(key, fields.keys()));
}

Result<YAML::Node> parse_yaml(const std::string& text, std::string_view name) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) return error("[{}] holds {} YAML documents, expected one.", name, documents.size());
    return documents.empty() ? YAML::Node() : documents[0];
  } catch (const YAML::Exception& failure) {
    return error("[{}:{}] is not YAML: {}.", name, failure.mark.line + 1, failure.msg);
  }
}

Result<void> set_from_node(const Field& field, const YAML::Node& node, const std::string& where) {
  if (node.IsNull()) return set_from_text(field, "null", where);
  if (node.IsScalar()) return set_from_text(field, node.Scalar(), where);
  if (!node.IsSequence()) return error("[{}] {}: expected {}, got a mapping.", where, field.key, expected_text(field));
  std::vector<std::string> items;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar())
      return error("[{}] {}: expected {}, got a list inside a list.", where, field.key, expected_text(field));
    items.push_back(item.Scalar());
  }
  return set_from_list(field, items, where);
}

// A flag's list: "[a, b]" as YAML reads it, "a,b", or several words.
Result<std::vector<std::string>> flag_items(const Flag& flag, const std::string& where) {
  if (flag.values.size() != 1) return flag.values;
  const std::string& text = flag.values[0];
  std::vector<std::string> items;
  if (text.starts_with('[')) {
    const YAML::Node node = TRY(parse_yaml(text, where));
    if (!node.IsSequence()) return error("[{}] {}: expected a list like [a, b].", where, flag.key);
    for (const YAML::Node& item : node) {
      if (!item.IsScalar()) return error("[{}] {}: expected a list of plain values.", where, flag.key);
      items.push_back(item.Scalar());
    }
    return items;
  }
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) items.push_back(part);
  return items;
}

Result<void> set_from_flag(const Field& field, const Flag& flag, const std::string& where) {
  if (flag.values.empty()) {
    if (!is_bool(field)) return error("[{}] expected {} after it, got nothing.", where, expected_text(field));
    return set_from_text(field, "true", where);
  }
  // A regular expression may hold commas and brackets: it is one text unless every part could be a name.
  const bool regex = std::holds_alternative<TextOrList*>(field.value) && flag.values.size() == 1 &&
                     flag.values[0].find_first_of("*+?(){}|\\^$") != std::string::npos;
  if (!is_list(field) || regex) return set_from_text(field, flag.values[0], where);
  const auto items = TRY(flag_items(flag, where));
  return items.size() == 1 ? set_from_text(field, items[0], where) : set_from_list(field, items, where);
}

std::string joined(const std::vector<std::string>& values) {
  return fmt::format("{}", fmt::join(values, " "));
}

}  // namespace

Result<CommandLine> split_command_line(const FieldList& fields, const std::vector<std::string>& words) {
  CommandLine line;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with("--")) {
      if (word.starts_with('-') && word != "-")
        return error("[flag {}] unknown flag; keys are written --key value.", word);
      line.positional.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    Flag flag{.key = word.substr(2, equals == std::string::npos ? equals : equals - 2)};
    for (char& c : flag.key)
      if (c == '-') c = '_';
    const Field* field = fields.find(flag.key);
    if (equals != std::string::npos) {
      flag.values.push_back(word.substr(equals + 1));
    } else {
      const auto more = [&] { return i + 1 < words.size() && !words[i + 1].starts_with("--"); };
      if (more()) flag.values.push_back(words[++i]);
      while (field != nullptr && is_list(*field) && more()) flag.values.push_back(words[++i]);
    }
    line.flags.push_back(std::move(flag));
  }
  return line;
}

Result<Given> read_yaml(const FieldList& fields, std::string_view yaml, std::string_view name) {
  Given given;
  const YAML::Node root = TRY(parse_yaml(std::string(yaml), name));
  if (!root.IsDefined() || root.IsNull()) return given;
  if (!root.IsMap()) return error("[{}] expected a mapping of keys to values, like \"learning_rate: 1.0e-6\".", name);
  std::set<std::string> seen;
  for (const auto& entry : root) {
    const std::string where = fmt::format("{}:{}", name, entry.first.Mark().line + 1);
    if (!entry.first.IsScalar()) return error("[{}] expected a key, got a list or a mapping.", where);
    const std::string key = entry.first.Scalar();
    if (!seen.insert(key).second) return error("[{}] {} is given twice.", where, key);
    const Field* field = fields.find(key);
    if (field == nullptr) {
      const std::string value = entry.second.IsScalar() ? entry.second.Scalar() : entry.second.IsNull() ? "null" : "…";
      const std::string note = TRY(foreign_key(fields, key, value, where));
      if (!note.empty()) given.notes.push_back(note);
      continue;
    }
    TRY(set_from_node(*field, entry.second, where));
    given.keys[key] = where;
  }
  return given;
}

Result<std::vector<std::string>> recipe_keys(const std::filesystem::path& recipe) {
  const std::string text = TRY(read_recipe(recipe));
  std::vector<std::string> keys;
  try {
    const YAML::Node root = YAML::Load(text);
    if (!root.IsMap()) return error("[recipe] {} holds no keys: \"key: value\" lines are expected.", recipe.string());
    for (const auto& entry : root)
      if (entry.first.IsScalar()) keys.push_back(entry.first.Scalar());
  } catch (const YAML::Exception& e) {
    return error("[recipe] {}: {}.", recipe.string(), e.what());
  }
  return keys;
}

Result<Given> load_fields(const FieldList& fields, const std::optional<std::filesystem::path>& recipe,
                          const std::vector<Flag>& flags) {
  Given given;
  if (recipe) {
    const std::string text = TRY(read_recipe(*recipe));
    given = TRY(read_yaml(fields, text, recipe->string()));
  }
  for (const Flag& flag : flags) {
    const std::string where = "flag --" + flag.key;
    const Field* field = fields.find(flag.key);
    if (field == nullptr) {
      const std::string note =
          TRY(foreign_key(fields, flag.key, flag.values.empty() ? "true" : joined(flag.values), where));
      if (!note.empty()) given.notes.push_back(note);
      continue;
    }
    TRY(set_from_flag(*field, flag, where));
    given.keys[flag.key] = where;
  }
  for (const Field& field : fields.all())
    if (field.options.required && is_empty(field))
      return error("[recipe] {} is missing: {}. Give it in the recipe or as --{} {}.", field.key, field.meaning,
                   field.key, is_list(field) ? "A,B" : "VALUE");
  return given;
}

}  // namespace candor::recipes
