#include "recipes/rollouts.h"

#include <cmath>

#include "recipes/grpo_options.h"
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
    rows.push_back({&prompt.row.columns, texts[i], completions[i].ids, completions[i].finished});
  }
  return rows;
}

std::optional<Rollouts> sample_rollouts(const engine::Context& context, const GrpoParts& parts,
                                        const GrpoConfig& config, const engine::Adapter& adapter,
                                        const std::vector<int64_t>& chosen, int64_t step, int64_t first_row) {
  Rollouts r;
  r.groups = static_cast<int64_t>(chosen.size());
  r.group_size = config.num_generations;
  r.prompt_numbers = chosen;
  std::vector<engine::SampleRequest> requests;
  for (int64_t number : chosen) {
    r.prompts.push_back(parts.prompts.prompts[number].ids);
    requests.push_back({r.prompts.back(), config.samples_another() ? 1 : r.group_size});
    if (!config.samples_another()) continue;
    requests.push_back(requests.back());
    if (config.recipe == GroupRecipe::kXpo)
      requests.back().adapter = nullptr;
    else
      requests.back().reference_share = config.mixture_coef;
  }
  const int64_t rows = r.groups * r.group_size;
  engine::SamplingCallbacks callbacks{
      [&](int64_t done, int64_t) {
        if (parts.doing) parts.doing(fmt::format("sampling {}/{}", first_row + done, first_row + rows));
      },
      parts.interrupted};
  auto sampled =
      engine::sample(context, parts.model, &adapter, requests, sampling_options(config, parts.model.config, step),
                     &parts.tokenizer, callbacks, static_cast<uint32_t>(first_row));
  if (sampled.empty()) return std::nullopt;
  r.offsets.push_back(0);
  for (auto& group : sampled)
    for (engine::Completion& completion : group) {
      r.texts.push_back(parts.tokenizer.decode(completion.ids, {.skip_special_tokens = true}));
      const std::vector<float>& logprobs = config.compares_pairs() ? completion.logprobs : completion.policy_logprobs;
      r.logprobs.insert(r.logprobs.end(), logprobs.begin(), logprobs.end());
      r.entropies.insert(r.entropies.end(), completion.entropy.begin(), completion.entropy.end());
      r.lengths.push_back(static_cast<int64_t>(completion.ids.size()));
      r.finished.push_back(completion.finished ? 1 : 0);
      r.offsets.push_back(r.offsets.back() + r.lengths.back());
      r.completions.push_back(std::move(completion));
    }
  return r;
}

std::vector<files::Json> completion_rows(const Rollouts& rollouts, const data::PromptSet& set, int64_t step,
                                         const std::vector<std::string>& reward_names,
                                         const std::vector<double>& parts_of_reward,
                                         const algorithms::GroupAdvantages& advantages) {
  std::vector<files::Json> rows;
  const size_t kinds = reward_names.size();
  for (size_t i = 0; i < rollouts.completions.size(); ++i) {
    files::Json by_name = files::Json::object();
    for (size_t k = 0; k < kinds; ++k) by_name[reward_names[k]] = parts_of_reward[i * kinds + k];
    rows.push_back({{"step", step},
                    {"prompt", set.prompts[rollouts.prompt_numbers[i / static_cast<size_t>(rollouts.group_size)]].text},
                    {"completion", rollouts.texts[i]},
                    {"reward", advantages.rewards[i]},
                    {"rewards", by_name},
                    {"advantage", advantages.advantages[i]},
                    {"tokens", rollouts.lengths[i]},
                    {"finish_reason", rollouts.completions[i].finished ? "stop" : "length"}});
  }
  return rows;
}

}  // namespace candor::recipes
