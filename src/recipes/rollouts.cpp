#include "recipes/rollouts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/sha256.h"
#include "files/run_log.h"
#include "recipes/micro_batches.h"

namespace candor::recipes {

engine::RolloutGroup Rollouts::group(int64_t g) const {
  engine::RolloutGroup group{prompts[g], {}};
  for (int64_t i = g * group_size; i < (g + 1) * group_size; ++i) group.completions.emplace_back(completions[i].ids);
  return group;
}

void Rollouts::append(const Rollouts& from, int64_t g) {
  group_size = from.group_size;
  if (offsets.empty()) offsets.push_back(0);
  ++groups;
  prompt_numbers.push_back(from.prompt_numbers[g]);
  prompts.push_back(from.prompts[g]);
  for (int64_t i = g * group_size; i < (g + 1) * group_size; ++i) {
    completions.push_back(from.completions[i]);
    texts.push_back(from.texts[i]);
    lengths.push_back(from.lengths[i]);
    finished.push_back(from.finished[i]);
    offsets.push_back(offsets.back() + from.lengths[i]);
  }
  const int64_t begin = from.offsets[g * group_size], end = from.offsets[(g + 1) * group_size];
  logprobs.insert(logprobs.end(), from.logprobs.begin() + begin, from.logprobs.begin() + end);
  entropies.insert(entropies.end(), from.entropies.begin() + begin, from.entropies.begin() + end);
  if (!from.disagreement.empty())
    disagreement.insert(disagreement.end(), from.disagreement.begin() + g * group_size,
                        from.disagreement.begin() + (g + 1) * group_size);
}

std::vector<std::vector<int64_t>> micro_batches(const std::vector<int64_t>& groups, const Rollouts& rollouts,
                                                int64_t budget) {
  std::vector<std::vector<int64_t>> batches;
  const auto tokens = [&](size_t i) { return rollouts.group(groups[i]).tokens(); };
  for (const auto& [begin, end] : batches_within(groups.size(), budget, tokens))
    batches.emplace_back(groups.begin() + static_cast<std::ptrdiff_t>(begin),
                         groups.begin() + static_cast<std::ptrdiff_t>(end));
  return batches;
}

std::vector<engine::RolloutGroup> groups_of(const Rollouts& rollouts, const std::vector<int64_t>& numbers) {
  std::vector<engine::RolloutGroup> groups;
  for (int64_t g : numbers) groups.push_back(rollouts.group(g));
  return groups;
}

int64_t Rollouts::tokens() const {
  int64_t total = offsets.back();
  for (const auto& prompt : prompts) total += group_size * static_cast<int64_t>(prompt.size());
  return total;
}

std::vector<rewards::Completion> Rollouts::for_rewards(const data::PromptSet& set) const {
  std::vector<rewards::Completion> rows;
  for (size_t i = 0; i < completions.size(); ++i) {
    const data::Prompt& prompt = set.prompts[prompt_numbers[i / static_cast<size_t>(group_size)]];
    rows.push_back({&prompt.row.columns, texts[i], completions[i].ids, completions[i].finished, prompt.ids});
  }
  return rows;
}

engine::SamplingOptions sampling_options(const RolloutConfig& config, const files::ModelConfig& model, int64_t step) {
  engine::SamplingOptions options;
  options.temperature = config.temperature;
  options.top_k = config.top_k;
  options.top_p = config.top_p;
  options.min_p = config.min_p.value_or(0.0);
  options.repetition_penalty = config.repetition_penalty;
  options.max_new_tokens = config.max_completion_length;
  options.stop_ids = model.eos_ids;
  options.stop_strings = config.stop;
  options.seed = static_cast<uint64_t>(config.seed);
  options.step = static_cast<uint32_t>(step);
  if (config.generation_rows > 0) options.max_rows = config.generation_rows;
  return options;
}

std::optional<Rollouts> sample_rollouts(const engine::Context& context, const RolloutParts& parts,
                                        const engine::Adapter& adapter, const std::vector<int64_t>& chosen,
                                        const Sampling& how, int64_t first_row) {
  Rollouts r;
  r.groups = static_cast<int64_t>(chosen.size());
  r.group_size = how.group_size;
  r.prompt_numbers = chosen;
  std::vector<engine::SampleRequest> requests;
  for (int64_t number : chosen) {
    r.prompts.push_back(parts.prompts.prompts[number].ids);
    requests.push_back({r.prompts.back(), how.another ? 1 : r.group_size});
    if (!how.another) continue;
    requests.push_back(requests.back());
    if (how.reference_share)
      requests.back().reference_share = *how.reference_share;
    else
      requests.back().adapter = nullptr;
  }
  const int64_t rows = r.groups * r.group_size;
  engine::SamplingCallbacks callbacks{
      [&](int64_t done, int64_t) {
        if (parts.doing) parts.doing(fmt::format("sampling {}/{}", first_row + done, first_row + rows));
      },
      parts.interrupted};
  auto sampled = engine::sample(context, parts.model, &adapter, requests, how.options, &parts.tokenizer, callbacks,
                                static_cast<uint32_t>(first_row));
  if (sampled.empty()) return std::nullopt;
  r.offsets.push_back(0);
  for (auto& group : sampled)
    for (engine::Completion& completion : group) {
      const std::vector<float>& logprobs = how.pairs ? completion.logprobs : completion.policy_logprobs;
      r.logprobs.insert(r.logprobs.end(), logprobs.begin(), logprobs.end());
      r.entropies.insert(r.entropies.end(), completion.entropy.begin(), completion.entropy.end());
      r.lengths.push_back(static_cast<int64_t>(completion.ids.size()));
      r.finished.push_back(completion.finished ? 1 : 0);
      r.offsets.push_back(r.offsets.back() + r.lengths.back());
      r.completions.push_back(std::move(completion));
    }
  decode_texts(parts.tokenizer, r);
  return r;
}

Result<std::vector<double>> score_rollouts(const RolloutParts& parts, Rollouts& rollouts) {
  if (parts.doing) parts.doing("scoring");
  std::vector<double> scores = TRY(rewards::score_all(parts.rewards, rollouts.for_rewards(parts.prompts)));
  if (parts.disagreement) rollouts.disagreement = parts.disagreement();
  return scores;
}

Result<void> measure_gold(const RolloutConfig& config, const RolloutParts& parts, int64_t first_step, int64_t steps,
                          Rollouts& rollouts) {
  if (!config.measures_gold(first_step, first_step + steps - 1)) return {};
  if (parts.doing) parts.doing("scoring with the held-out reward");
  const auto scores = rewards::score_all(parts.gold, rollouts.for_rewards(parts.prompts));
  if (!scores) return error("gold_reward_funcs: {}", scores.error().message);
  rollouts.gold = rewards::total_scores(*scores, parts.gold.size());
  const bool silent = std::all_of(rollouts.gold.begin(), rollouts.gold.end(), [](double g) { return std::isnan(g); });
  if (silent && parts.say)
    parts.say(
        fmt::format("step {}: the held-out reward abstained on every completion, so it says nothing here", first_step));
  return {};
}

std::vector<files::Json> completion_rows(const Rollouts& rollouts, const data::PromptSet& set, int64_t step,
                                         const std::vector<std::string>& reward_names,
                                         std::span<const double> parts_of_reward, std::span<const double> rewards,
                                         std::span<const double> advantages) {
  std::vector<files::Json> rows;
  const size_t kinds = reward_names.size();
  for (size_t i = 0; i < rollouts.completions.size(); ++i) {
    files::Json by_name = files::Json::object();
    for (size_t k = 0; k < kinds; ++k) by_name[reward_names[k]] = parts_of_reward[i * kinds + k];
    rows.push_back({{"step", step},
                    {"prompt", set.prompts[rollouts.prompt_numbers[i / static_cast<size_t>(rollouts.group_size)]].text},
                    {"completion", rollouts.texts[i]},
                    {"reward", rewards[i]},
                    {"rewards", by_name}});
    if (!advantages.empty()) rows.back()["advantage"] = advantages[i];
    if (!rollouts.gold.empty()) rows.back()["gold"] = rollouts.gold[i];
    rows.back()["tokens"] = rollouts.lengths[i];
    rows.back()["finish_reason"] = rollouts.completions[i].finished ? "stop" : "length";
  }
  return rows;
}

std::vector<double> reference_logprobs(engine::PolicyPass& base, const Rollouts& rollouts, double temperature,
                                       int64_t budget) {
  std::vector<int64_t> all(static_cast<size_t>(rollouts.groups));
  std::iota(all.begin(), all.end(), 0);
  std::vector<double> logprobs;
  for (const std::vector<int64_t>& batch : micro_batches(all, rollouts, budget)) {
    const auto& out = base.forward(nullptr, groups_of(rollouts, batch), temperature);
    logprobs.insert(logprobs.end(), out.logprobs.begin(), out.logprobs.end());
  }
  return logprobs;
}

std::string digest_of(const data::PromptSet& set) {
  Sha256 sum;
  for (const data::Prompt& prompt : set.prompts)
    sum.update(files::json_line(prompt.row.columns) + "\n" + prompt.text + "\n");
  return sum.hex();
}

double wider_gap(double gap, std::span<const float> found, std::span<const double> reported) {
  for (size_t t = 0; t < found.size(); ++t) {
    const double own = std::abs(static_cast<double>(found[t]) - reported[t]);
    gap = std::isnan(own) ? own : std::max(gap, own);
  }
  return gap;
}

Result<void> check_gap(std::string_view recipe, int64_t step, double gap) {
  if (gap == 0) return {};
  return error(
      "[{}] step {}: the sampler's and the trainer's log-probabilities differ by {}; they must be equal. "
      "This is a bug in candor, or the memory of this machine is faulty.",
      recipe, step, gap);
}

void decode_texts(const text::Tokenizer& tokenizer, Rollouts& rollouts) {
  rollouts.texts.clear();
  for (const engine::Completion& completion : rollouts.completions)
    rollouts.texts.push_back(tokenizer.decode(completion.ids, {.skip_special_tokens = true}));
}

double number_of(const files::Json& value) {
  return value.is_null() ? std::nan("") : value.get<double>();
}

files::Json rollouts_json(const Rollouts& r) {
  files::Json completions = files::Json::array();
  for (size_t i = 0; i < r.completions.size(); ++i) {
    const auto begin = r.offsets[i], end = r.offsets[i + 1];
    completions.push_back({{"ids", r.completions[i].ids},
                           {"finished", r.finished[i] != 0},
                           {"logprobs", std::vector<double>(r.logprobs.begin() + begin, r.logprobs.begin() + end)},
                           {"entropies", std::vector<double>(r.entropies.begin() + begin, r.entropies.begin() + end)}});
  }
  return {{"prompts", r.prompt_numbers},
          {"completions", std::move(completions)},
          {"gold", r.gold},
          {"disagreement", r.disagreement}};
}

Result<Rollouts> rollouts_from_json(const files::Json& json, const data::PromptSet& prompts, int64_t groups,
                                    int64_t group_size) {
  Rollouts r;
  r.groups = groups;
  r.group_size = group_size;
  r.offsets = {0};
  r.prompt_numbers = json.at("prompts").get<std::vector<int64_t>>();
  const auto rows = static_cast<size_t>(groups * group_size);
  if (static_cast<int64_t>(r.prompt_numbers.size()) != groups || json.at("completions").size() != rows)
    return error("the generation has {} prompts and {} completions, the recipe {} and {}.", r.prompt_numbers.size(),
                 json.at("completions").size(), groups, rows);
  for (int64_t prompt : r.prompt_numbers) {
    if (prompt < 0 || prompt >= static_cast<int64_t>(prompts.prompts.size()))
      return error("the generation names prompt {} of {}.", prompt, prompts.prompts.size());
    r.prompts.push_back(prompts.prompts[prompt].ids);
  }
  const files::Json& gold = json.at("gold");
  if (!gold.empty() && gold.size() != rows)
    return error("the generation has {} completions and {} held-out rewards.", rows, gold.size());
  for (const files::Json& value : gold) r.gold.push_back(number_of(value));
  const files::Json& disagreement = json.at("disagreement");
  if (!disagreement.empty() && disagreement.size() != rows)
    return error("the generation has {} completions, and the disagreement of an ensemble on {}.", rows,
                 disagreement.size());
  for (const files::Json& value : disagreement) r.disagreement.push_back(number_of(value));
  for (const files::Json& completion : json.at("completions")) {
    r.completions.emplace_back();
    r.completions.back().ids = completion.at("ids").get<std::vector<int32_t>>();
    r.completions.back().finished = completion.at("finished").get<bool>();
    r.finished.push_back(r.completions.back().finished);
    r.lengths.push_back(static_cast<int64_t>(r.completions.back().ids.size()));
    r.offsets.push_back(r.offsets.back() + r.lengths.back());
    for (const auto& [key, to] : {std::pair("logprobs", &r.logprobs), std::pair("entropies", &r.entropies)}) {
      if (completion.at(key).size() != r.completions.back().ids.size())
        return error("a completion of {} tokens has {} {}.", r.lengths.back(), completion.at(key).size(), key);
      for (const files::Json& value : completion.at(key)) to->push_back(number_of(value));
    }
  }
  return r;
}

}  // namespace candor::recipes
