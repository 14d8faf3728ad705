#include "guard/control_bands.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "guard/replay.h"

namespace candor::guard {

namespace {

using files::Json;

constexpr std::string_view kFormat = "candor control bands";

bool is_free(std::string_view key) {
  constexpr std::array kFree = {"seed",
                                "max_steps",
                                "num_train_epochs",
                                "load_best_model_at_end",
                                "kl_budget",
                                "metric_for_best_model",
                                "greater_is_better",
                                "gold_steps",
                                "screen_rewards"};
  return key.starts_with("guard") || std::find(kFree.begin(), kFree.end(), key) != kFree.end();
}

// Every look of a signal over a run, as the run's own guard would have seen it.
using Looks = std::map<std::string, std::vector<double>>;

Result<void> add_looks(const std::vector<Json>& rows, const Thresholds& thresholds, Looks& looks) {
  Options options;
  options.guard_control_steps = std::numeric_limits<int64_t>::max();  // learns to the end, so all looks are kept
  const Replay whole = TRY(replay(rows, options, thresholds));
  for (const auto& [signal, watch] : whole.guard.memory().watches)
    looks[signal].insert(looks[signal].end(), watch.control.begin(), watch.control.end());
  return {};
}

}  // namespace

RecipeKeys recipe_keys(std::string_view recipe_yaml) {
  RecipeKeys keys;
  bool counts = true;  // a recipe without headings counts whole
  while (!recipe_yaml.empty()) {
    const size_t end = recipe_yaml.find('\n');
    const std::string_view line = recipe_yaml.substr(0, end);
    recipe_yaml.remove_prefix(end == std::string_view::npos ? recipe_yaml.size() : end + 1);
    if (line.starts_with("# Changes")) counts = line.starts_with("# Changes results");
    const size_t colon = line.find(": ");
    if (!counts || colon == std::string_view::npos || line[0] == '#' || line[0] == ' ') continue;
    if (const std::string_view key = line.substr(0, colon); !is_free(key))
      keys[std::string(key)] = std::string(line.substr(colon + 2));
  }
  return keys;
}

std::string differing_key(const RecipeKeys& a, const RecipeKeys& b) {
  for (const auto& [key, value] : a)
    if (const auto other = b.find(key); other == b.end() || other->second != value) return key;
  for (const auto& [key, value] : b)
    if (!a.contains(key)) return key;
  return "";
}

Result<ControlBands> learn_control_bands(const std::vector<std::vector<Json>>& runs, RecipeKeys recipe,
                                         const Thresholds& thresholds) {
  Looks looks;
  for (const std::vector<Json>& rows : runs) TRY(add_looks(rows, thresholds, looks));
  ControlBands learnt{static_cast<int64_t>(runs.size()), std::move(recipe), {}, {}};
  for (const Rule& rule : thresholds.rules) {
    const std::string signal(rule.signal);
    auto band = learn_band(looks[signal], rule, thresholds);
    if (!band) continue;
    for (const double value : looks[signal])
      band->spread = std::max(band->spread, std::abs(value - band->location) / thresholds.band_width);
    learnt.bands[signal] = *band;
    learnt.looks[signal] = static_cast<int64_t>(looks[signal].size());
  }
  return learnt;
}

Json control_bands_json(const ControlBands& bands) {
  Json described = Json::object(), recipe = Json::object();
  for (const auto& [signal, band] : bands.bands)
    described[signal] = {{"location", band.location}, {"spread", band.spread}, {"looks", bands.looks.at(signal)}};
  for (const auto& [key, value] : bands.recipe) recipe[key] = value;
  return {{"format", kFormat}, {"version", 1}, {"runs", bands.runs}, {"recipe", recipe}, {"bands", described}};
}

Result<ControlBands> control_bands_from_json(const Json& json, const std::string& name) {
  const auto format = json.is_object() ? json.find("format") : json.end();
  if (!json.is_object() || format == json.end() || *format != kFormat)
    return error("[guard] {} holds no control bands. candor guard bands RUN... -o FILE writes them.", name);
  try {
    ControlBands bands;
    bands.runs = json.at("runs").get<int64_t>();
    for (const auto& [key, value] : json.at("recipe").items()) bands.recipe[key] = value.get<std::string>();
    for (const auto& [signal, band] : json.at("bands").items()) {
      const Band read{band.at("location").get<double>(), band.at("spread").get<double>()};
      if (!(read.spread >= 0)) return error("[guard] {}: the spread of {} is below 0.", name, signal);
      bands.bands[signal] = read;
      bands.looks[signal] = band.at("looks").get<int64_t>();
    }
    return bands;
  } catch (const Json::exception& failure) {
    return error("[guard] {} is no whole file of control bands: {}. Write it anew with candor guard bands.", name,
                 failure.what());
  }
}

Result<ControlBands> read_control_bands(const std::string& path) {
  std::error_code failure;
  const std::filesystem::path given = path;
  const std::filesystem::path file = std::filesystem::is_directory(given, failure) ? given / "bands.json" : given;
  if (!std::filesystem::exists(file, failure))
    return error("[guard] {} is not there. candor guard bands RUN... -o {} writes control bands.", file.string(),
                 file.string());
  return control_bands_from_json(TRY(files::read_json_file(file)), file.string());
}

Result<Guard> start(const Options& options, std::string_view recipe_yaml) {
  if (options.guard == "off" || options.guard_control_runs.empty()) return Guard(options);
  const ControlBands stored = TRY(read_control_bands(options.guard_control_runs));
  const RecipeKeys keys = recipe_keys(recipe_yaml);
  if (const std::string key = differing_key(stored.recipe, keys); !key.empty()) {
    const auto value = [&](const RecipeKeys& of) { return of.contains(key) ? of.at(key) : std::string("absent"); };
    return error(
        "[guard] the control bands in {} are of another recipe: {} was {} there and is {} here. Learn the run's own "
        "(leave guard_control_runs out), or make bands from runs of this recipe.",
        options.guard_control_runs, key, value(stored.recipe), value(keys));
  }
  return Guard(options, default_thresholds(), stored.bands);
}

}  // namespace candor::guard
