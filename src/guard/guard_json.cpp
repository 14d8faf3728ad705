// A guard's memory as JSON and back, exactly: a double is written with as many digits as it takes, NaN as null.
#include "guard/guard.h"

namespace candor::guard {

namespace {

using files::Json;

Json to_json(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}
double to_double(const Json& json) {
  return json.is_null() ? std::nan("") : json.get<double>();
}

Json to_json(const std::vector<double>& values) {
  Json json = Json::array();
  for (const double value : values) json.push_back(to_json(value));
  return json;
}
std::vector<double> to_doubles(const Json& json) {
  std::vector<double> values;
  for (const Json& value : json) values.push_back(to_double(value));
  return values;
}

Json to_json(const Watch& watch) {
  Json json = {{"control", to_json(watch.control)},
               {"value", to_json(watch.value)},
               {"looks", watch.looks},
               {"beyond", watch.beyond},
               {"within", watch.within},
               {"since", watch.since},
               {"alarm", watch.alarm}};
  if (watch.band) json["band"] = {to_json(watch.band->location), to_json(watch.band->spread)};
  return json;
}
Watch to_watch(const Json& json) {
  Watch watch;
  watch.control = to_doubles(json.at("control"));
  watch.value = to_double(json.at("value"));
  watch.looks = json.at("looks").get<int64_t>();
  watch.beyond = json.at("beyond").get<int64_t>();
  watch.within = json.at("within").get<int64_t>();
  watch.since = json.at("since").get<int64_t>();
  watch.alarm = json.at("alarm").get<bool>();
  if (const auto band = json.find("band"); band != json.end())
    watch.band = Band{to_double(band->at(0)), to_double(band->at(1))};
  return watch;
}

Json to_json(const std::map<std::string, Watch>& watches) {
  Json json = Json::object();
  for (const auto& [name, watch] : watches) json[name] = to_json(watch);
  return json;
}
std::map<std::string, Watch> to_watches(const Json& json) {
  std::map<std::string, Watch> watches;
  for (const auto& [name, watch] : json.items()) watches[name] = to_watch(watch);
  return watches;
}

Json to_json(const GoldLook& look) {
  return {look.step,
          to_json(look.d),
          to_json(look.gold),
          to_json(look.error),
          to_json(look.proxy),
          to_json(look.paid_wrong),
          to_json(look.paid_wrong_error),
          look.same_rows};
}
GoldLook to_gold_look(const Json& json) {
  return {json.at(0).get<int64_t>(), to_double(json.at(1)), to_double(json.at(2)), to_double(json.at(3)),
          to_double(json.at(4)),     to_double(json.at(5)), to_double(json.at(6)), json.at(7).get<bool>()};
}

Json to_json(const Alarm& alarm) {
  return {alarm.signal, alarm.step, to_json(alarm.value), to_json(alarm.band), alarm.stop};
}
Alarm to_alarm(const Json& json) {
  return {json.at(0).get<std::string>(), json.at(1).get<int64_t>(), to_double(json.at(2)), to_double(json.at(3)),
          json.at(4).get<bool>()};
}

Memory to_memory(const Json& json) {
  Memory memory;
  memory.watches = to_watches(json.at("watches"));
  memory.rising = to_watches(json.at("rising"));
  memory.falling = to_watches(json.at("falling"));
  memory.rejected = to_watch(json.at("rejected"));
  memory.reward = to_watch(json.at("reward"));
  memory.first_rewards = to_doubles(json.at("first_rewards"));
  memory.rewards = to_doubles(json.at("rewards"));
  memory.reward_moves = to_double(json.at("reward_moves"));
  memory.kl.values = to_doubles(json.at("kl"));
  memory.gradient.values = to_doubles(json.at("gradient"));
  memory.budget = to_doubles(json.at("budget"));
  for (const Json& look : json.at("gold")) memory.gold.push_back(to_gold_look(look));
  memory.beyond_optimum = json.at("beyond_optimum").get<int64_t>();
  memory.broken = json.at("broken").get<int64_t>();
  memory.on = json.at("on").get<std::set<std::string>>();
  memory.stopping = json.at("stopping").get<std::set<std::string>>();
  for (const Json& alarm : json.at("alarms")) memory.alarms.push_back(to_alarm(alarm));
  memory.alarms_left_out = json.at("alarms_left_out").get<int64_t>();
  memory.step = json.at("step").get<int64_t>();
  memory.looks = json.at("looks").get<int64_t>();
  memory.skipped = json.at("skipped").get<int64_t>();
  memory.saved = json.at("saved").get<int64_t>();
  memory.good = json.at("good").get<int64_t>();
  memory.saved_clean = json.at("saved_clean").get<bool>();
  memory.first_reward = to_double(json.at("first_reward"));
  memory.d = to_double(json.at("d"));
  memory.log_ratio = to_double(json.at("log_ratio"));
  return memory;
}

}  // namespace

Json guard_json(const Guard& guard) {
  const Memory& memory = guard.memory();
  Json gold = Json::array(), alarms = Json::array();
  for (const GoldLook& look : memory.gold) gold.push_back(to_json(look));
  for (const Alarm& alarm : memory.alarms) alarms.push_back(to_json(alarm));
  Json json = {{"watches", to_json(memory.watches)}, {"rising", to_json(memory.rising)},
               {"falling", to_json(memory.falling)}, {"rejected", to_json(memory.rejected)},
               {"reward", to_json(memory.reward)},   {"rewards", to_json(memory.rewards)},
               {"kl", to_json(memory.kl.values)},    {"gradient", to_json(memory.gradient.values)},
               {"budget", to_json(memory.budget)}};
  json["gold"] = std::move(gold);
  json["first_rewards"] = to_json(memory.first_rewards);
  json["reward_moves"] = to_json(memory.reward_moves);
  json["beyond_optimum"] = memory.beyond_optimum;
  json["broken"] = memory.broken;
  json["on"] = memory.on;
  json["stopping"] = memory.stopping;
  json["alarms"] = std::move(alarms);
  json["alarms_left_out"] = memory.alarms_left_out;
  json["step"] = memory.step;
  json["looks"] = memory.looks;
  json["skipped"] = memory.skipped;
  json["saved"] = memory.saved;
  json["good"] = memory.good;
  json["saved_clean"] = memory.saved_clean;
  json["first_reward"] = to_json(memory.first_reward);
  json["d"] = to_json(memory.d);
  json["log_ratio"] = to_json(memory.log_ratio);
  return json;
}

Result<Guard> guard_from_json(const Json& json, Options options, Thresholds thresholds) {
  try {
    Guard guard(std::move(options), std::move(thresholds));
    guard.remember(to_memory(json));
    return guard;
  } catch (const Json::exception& failure) {
    return error("[guard] the checkpoint's memory of the guard cannot be read: {}.", failure.what());
  }
}

}  // namespace candor::guard
