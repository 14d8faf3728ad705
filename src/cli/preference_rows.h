// The rows of a recipe on preferences, on their way to token ids.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cli/session.h"
#include "cli/summary.h"
#include "data/preference_set.h"
#include "recipes/preference_config.h"

namespace candor::cli {

// Training rows and perhaps held-out ones; Set: data::PairSet or LabelledSet.
template <typename Set>
struct PreferenceSets {
  Set train;
  std::optional<Set> held_out;

  const Set* held_out_or_null() const { return held_out ? &*held_out : nullptr; }
  files::Json accounts() const {
    files::Json rows = {{"train", account_json(train)}};
    if (held_out) rows["eval"] = account_json(*held_out);
    return rows;
  }
};

inline data::TextReader reader_of(const Session& session) {
  return {session.tokenizer(), session.chat_template(), session.files.special_tokens};
}

// The set, of which `say` is told what became of the rows.
template <typename Set>
Result<Set> said(Result<Set> set, const std::function<void(const std::string&)>& say) {
  if (!set) return set;
  for (const std::string& line : data::describe(set->account)) say(fmt::format("{}: {}", set->name, line));
  for (const std::string& note : set->notes) say(note);
  return set;
}

// load: data::load_pairs or load_labelled.
template <typename Set>
Result<PreferenceSets<Set>> load_preferences(Result<Set> (*load)(const data::Rows&, const data::TextReader&,
                                                                 const data::PreferenceOptions&),
                                             const recipes::PreferenceConfig& config, std::string_view verb,
                                             const Session& session, const data::Rows& rows, const data::Rows* held_out,
                                             const std::function<void(const std::string&)>& say) {
  const data::PreferenceOptions options = data_options(config, verb, session.files.config.max_positions);
  PreferenceSets<Set> sets;
  sets.train = TRY(said(load(rows, reader_of(session), options), say));
  if (held_out != nullptr) sets.held_out = TRY(said(load(*held_out, reader_of(session), options), say));
  return sets;
}

}  // namespace candor::cli
