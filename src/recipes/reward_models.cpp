#include "recipes/reward_models.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/input_file.h"
#include "data/text_reader.h"
#include "recipes/memory_plan_parts.h"
#include "recipes/micro_batches.h"
#include "recipes/worst_batch.h"
#include "rewards/length_penalty.h"
#include "rewards/reward_endpoint.h"
#include "rewards/reward_program.h"

namespace candor::recipes {

namespace {

using engine::PolicyPass;
using rewards::Completion;

// Completions of one prompt, as a pass takes them.
struct Group {
  std::span<const int32_t> prompt;
  std::vector<std::span<const int32_t>> completions;

  int64_t tokens() const {
    int64_t sum = static_cast<int64_t>(prompt.size());
    for (const auto& completion : completions) sum += static_cast<int64_t>(completion.size());
    return sum;
  }
};

// Neighbours that share a prompt.
std::vector<Group> groups_of(std::span<const Completion> completions) {
  std::vector<Group> groups;
  for (const Completion& completion : completions) {
    const std::span<const int32_t> prompt = completion.prompt_ids;
    const bool same =
        !groups.empty() && groups.back().prompt.data() == prompt.data() && groups.back().prompt.size() == prompt.size();
    if (!same) groups.push_back({prompt, {}});
    groups.back().completions.push_back(completion.ids);
  }
  return groups;
}

// [roles][rows]: the value behind each completion's last token. Every role scores the same tokens, groups and roles by
// turns, so that an ensemble shares a pass.
std::vector<std::vector<double>> last_values(PolicyPass& pass, std::span<const engine::Role* const> roles,
                                             std::span<const Group> groups, int64_t budget) {
  std::vector<std::vector<double>> values(roles.size());
  const auto tokens = [&](size_t item) { return groups[item / roles.size()].tokens(); };
  for (const auto& [begin, end] : batches_within(groups.size() * roles.size(), budget, tokens)) {
    std::vector<const engine::Adapter*> adapters;
    std::vector<const engine::ScalarHead*> heads;
    std::vector<engine::ValueGroup> batch;
    for (size_t item = begin; item < end; ++item) {
      const Group& group = groups[item / roles.size()];
      const engine::Role& role = *roles[item % roles.size()];
      adapters.push_back(role.adapter_or_null());
      heads.push_back(&*role.head);
      batch.push_back({group.prompt, group.completions, engine::last_state(group.completions)});
    }
    const std::vector<float>& found = pass.values(adapters, heads, batch);
    size_t at = 0;
    for (size_t item = begin; item < end; ++item)
      for (size_t i = 0; i < batch[item - begin].completions.size(); ++i)
        values[item % roles.size()].push_back(static_cast<double>(found[at++]));
  }
  return values;
}

// An ensemble's scores of one completion.
struct Spread {
  double mean = 0, variance = 0;  // which divides by their number
};
Spread spread_of(std::span<const double> scores) {
  const auto count = static_cast<double>(scores.size());
  double sum = 0, squares = 0;
  for (const double score : scores) sum += score;
  const double mean = sum / count;
  for (const double score : scores) squares += (score - mean) * (score - mean);
  return {mean, squares / count};
}

// arXiv 2310.02743: the mean, the worst ("min"), or the mean less lambda times the variance.
double combined_score(const RolloutConfig& config, std::span<const double> scores, const Spread& spread) {
  if (config.reward_ensemble == "min") return *std::min_element(scores.begin(), scores.end());
  if (config.reward_ensemble == "mean") return spread.mean;
  return spread.mean - config.reward_ensemble_lambda * spread.variance;
}

// Prompt and completion as the reward model's own tokens: TRL's GRPO renders a conversation with its last answer, or
// puts the two texts together, and adds no special token beside those that are written.
Result<std::vector<std::vector<int32_t>>> as_own_tokens(const files::ModelFiles& files,
                                                        std::span<const Completion> completions) {
  const data::TextReader reader{*files.tokenizer, files.chat_template ? &*files.chat_template : nullptr,
                                files.special_tokens};
  std::vector<std::vector<int32_t>> rows;
  for (const Completion& completion : completions) {
    text::Json prompt = completion.row->at("prompt");
    if (prompt.is_array()) {
      prompt.push_back({{"role", "assistant"}, {"content", completion.text}});
      const std::string text = TRY(data::rendered_text(reader, prompt, *completion.row, "prompt", false));
      rows.push_back(TRY(data::encode_rendered(reader, text)));
      continue;
    }
    rows.push_back(TRY(data::encode_rendered(reader, prompt.get<std::string>() + std::string(completion.text))));
  }
  return rows;
}

}  // namespace

bool same_vocabulary(const text::Tokenizer& a, const text::Tokenizer& b) {
  if (a.size() != b.size()) return false;
  for (int32_t id = 0; id < a.size(); ++id)
    if (a.id_to_token(id) != b.id_to_token(id)) return false;
  return true;
}

Result<RoleSource> open_role(std::string_view key, const std::string& path) {
  RoleSource source{path, {}, {}};
  const std::filesystem::path folder = path;
  if (path_exists(folder / "adapter_config.json")) {
    source.adapter = TRY(files::read_peft_adapter(folder));
    return source;
  }
  if (path_exists(folder / "final" / "adapter_config.json"))
    return error("[{}] {} is the folder of a run. Name its {}.", key, path, (folder / "final").string());
  auto found = files::resolve_model(path);
  if (!found) return error("[{}] {}", key, found.error().message);
  auto opened = files::open_model(*found);
  if (!opened) return error("[{}] {}", key, opened.error().message);
  source.own = std::move(*opened);
  return source;
}

Result<engine::Role> scored_role(std::string_view key, const std::string& name, const engine::Context& context,
                                 const engine::Model& base, RoleSource& source) {
  if (source.adapter) {
    if (const auto fits = engine::check_base(base, *source.adapter); !fits)
      return error("[{}] {}: {}", key, source.path, fits.error().message);
  } else if (source.own->config.labels == 0) {
    return error(
        "[{}] {} has no score head: it is a language model, not a reward model. Name what `candor reward` wrote, or a "
        "sequence classifier.",
        key, source.path);
  }
  auto role = source.adapter ? engine::role_from_peft(context, name, base, std::move(*source.adapter))
                             : engine::role_of_model(context, name, *source.own, std::nullopt);
  if (!role) return error("[{}] {}: {}", key, source.path, role.error().message);
  if (!role->head)
    return error("[{}] {} has no score head: it is the adapter of a language model. Name what `candor reward` wrote.",
                 key, source.path);
  if (role->head->labels != 1)
    return error("[{}] {}: the score head has {} labels; a reward is one number.", key, source.path,
                 role->head->labels);
  return role;
}

Result<void> RewardModels::load(const RolloutConfig& config, const engine::Context& context, const engine::Model& base,
                                const files::ModelFiles& files, const std::string& role) {
  config_ = config;
  const std::string keys = role == "gold" ? "gold_" : "";
  int64_t rank = 0, number = 0;
  bool any_on_base = false;
  for (const std::string& entry : config.reward_funcs) {
    if (!is_reward_model(entry)) continue;
    const bool listed = entry == kRewardModel;
    entries_.push_back({entry, {}, {}});
    for (const std::string& path : listed ? config.reward_model_path : std::vector<std::string>{entry}) {
      const std::string key = keys + (listed ? "reward_model_path" : "reward_funcs");
      RoleSource source = TRY(open_role(key, path));
      const std::string name = number++ == 0 ? role : fmt::format("{} {}", role, number);
      Scorer scorer;
      scorer.path = path;
      scorer.role = std::make_unique<engine::Role>(TRY(scored_role(key, name, context, base, source)));
      const int64_t own_rank = scorer.role->adapter ? scorer.role->adapter->max_padded_rank : 0;
      if (source.own) {
        scorer.pass =
            std::make_unique<PolicyPass>(context, name, *scorer.role->model, own_rank, PolicyPass::Keep::kOneLayer);
        scorer.sees_ids = source.own->tokenizer && files.tokenizer
                              ? same_vocabulary(*source.own->tokenizer, *files.tokenizer)
                              : source.own->config.vocab_size == files.config.vocab_size;
        if (!scorer.sees_ids && !source.own->tokenizer)
          return error("[{}] {} has another vocabulary than the policy, and no tokenizer to read its text with: {}",
                       key, path, source.own->no_tokenizer);
        scorer.files = std::move(source.own);
      } else {
        any_on_base = true;
        rank = std::max(rank, own_rank);
      }
      entries_.back().scorers.push_back(std::move(scorer));
    }
  }
  if (any_on_base) pass_ = std::make_unique<PolicyPass>(context, role, base, rank, PolicyPass::Keep::kOneLayer);
  return {};
}

Result<std::vector<double>> RewardModels::score(const std::string& entry, std::span<const Completion> completions) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == entry; });
  CHECK(found != entries_.end());
  const std::vector<Scorer>& scorers = found->scorers;
  found->disagreement.clear();
  const int64_t budget = micro_batch_tokens(config_);
  const std::vector<Group> groups = groups_of(completions);
  std::vector<std::vector<double>> scores;  // [scorers][rows], those on the base first
  std::vector<const std::string*> paths;
  std::vector<const engine::Role*> on_base;
  for (const Scorer& scorer : scorers)
    if (!scorer.pass) {
      on_base.push_back(scorer.role.get());
      paths.push_back(&scorer.path);
    }
  if (!on_base.empty()) scores = last_values(*pass_, on_base, groups, budget);
  for (const Scorer& scorer : scorers) {
    if (!scorer.pass) continue;
    const engine::Role* const role = scorer.role.get();
    paths.push_back(&scorer.path);
    if (scorer.sees_ids) {
      scores.push_back(last_values(*scorer.pass, {&role, 1}, groups, budget)[0]);
      continue;
    }
    const auto rows = as_own_tokens(*scorer.files, completions);
    if (!rows) return error("{}: {}", scorer.path, rows.error().message);
    std::vector<Group> own;
    for (const std::vector<int32_t>& ids : *rows) {
      const int64_t most = scorer.role->model->config.max_positions;
      if (static_cast<int64_t>(ids.size()) > most)
        return error("{}: a prompt with its completion has {} tokens for the reward model, which can hold {}.",
                     scorer.path, ids.size(), most);
      const std::span<const int32_t> all = ids;
      own.push_back({all.first(1), {all.subspan(1)}});
    }
    scores.push_back(last_values(*scorer.pass, {&role, 1}, own, budget)[0]);
  }
  std::vector<double> combined(completions.size());
  for (size_t i = 0; i < completions.size(); ++i) {
    std::vector<double> own;
    for (size_t k = 0; k < scores.size(); ++k) {
      if (!std::isfinite(scores[k][i]))
        return error("{} scored completion {} of {} with {}: the reward model is damaged, or its training diverged.",
                     *paths[k], i + 1, completions.size(), scores[k][i]);
      own.push_back(scores[k][i]);
    }
    const Spread spread = spread_of(own);
    combined[i] = combined_score(config_, own, spread);
    if (own.size() > 1) found->disagreement.push_back(std::sqrt(spread.variance));
  }
  return combined;
}

std::vector<double> RewardModels::disagreement(const std::string& entry) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == entry; });
  return found == entries_.end() ? std::vector<double>() : found->disagreement;
}

void RewardModels::each_pass(const std::function<void(PolicyPass&, int64_t, const engine::Adapter*)>& act) const {
  for (const Entry& entry : entries_) {
    int64_t on_base = 0;
    const engine::Adapter* adapter = nullptr;
    for (const Scorer& scorer : entry.scorers) {
      if (scorer.pass) {
        act(*scorer.pass, 1, scorer.role->adapter_or_null());
        continue;
      }
      ++on_base;
      const engine::Adapter* own = scorer.role->adapter_or_null();
      if (adapter == nullptr || (own != nullptr && own->config.use_dora)) adapter = own;
    }
    if (on_base > 0) act(*pass_, on_base, adapter);
  }
}

void RewardModels::plan(int64_t groups, int64_t longest_prompt) {
  each_pass([&](PolicyPass& pass, int64_t roles, const engine::Adapter* adapter) {
    engine::BatchShape batch = worst_batch({.groups = groups * roles,
                                            .group_size = config_.num_generations,
                                            .longest_prompt = longest_prompt,
                                            // the last token is read, too
                                            .longest_completion = config_.max_completion_length + 1,
                                            .budget = micro_batch_tokens(config_)});
    batch.entries = 0;  // no language head
    pass.plan(batch, adapter, nullptr);
  });
}

void RewardModels::plan(std::span<const engine::BatchShape> groups) {
  each_pass([&](PolicyPass& pass, int64_t roles, const engine::Adapter* adapter) {
    std::vector<engine::BatchShape> items;
    for (engine::BatchShape group : groups) {
      group.entries = 0;  // no language head
      items.insert(items.end(), static_cast<size_t>(roles), group);
    }
    Batches batches;
    add_batches(items, micro_batch_tokens(config_), batches);
    for (const auto& [tokens, batch] : batches) pass.plan(batch, adapter, nullptr);
  });
}

bool is_reward_model(std::string_view entry) {
  return entry == kRewardModel || entry.find('/') != std::string_view::npos;
}

bool names_reward_models(const RolloutConfig& config) {
  return std::any_of(config.reward_funcs.begin(), config.reward_funcs.end(), is_reward_model);
}

Result<std::vector<rewards::Reward>> make_rewards(const RolloutConfig& config, RewardModels& models) {
  rewards::RewardParams params;
  params.extraction = config.accuracy_extraction;
  params.pattern = config.format_regex;
  params.length_target = static_cast<double>(config.length_target.value_or(0));
  params.longer = config.length_reward == "longer";
  params.max_completion_length = config.max_completion_length;
  params.overlong_max = config.overlong_max.value_or(config.max_completion_length);
  params.overlong_cache = config.overlong_cache.value_or(0);
  params.repetition_ngram = config.repetition_ngram_size;
  params.repetition_max_penalty = config.repetition_max_penalty;
  params.cosine_max_len = config.cosine_max_len.value_or(config.max_completion_length);
  params.cosine_values = {config.cosine_min_value_wrong, config.cosine_max_value_wrong, config.cosine_min_value_correct,
                          config.cosine_max_value_correct};
  params.length_penalty_alpha = config.length_penalty_alpha.value_or(params.length_penalty_alpha);
  params.reasoned_without_steps = config.reasoned_without_steps;
  const std::filesystem::path cache = std::filesystem::path(config.output_dir) / "reward_cache.jsonl";
  constexpr int64_t kMebibyte = 1 << 20;
  std::vector<rewards::Reward> all;
  const std::vector<std::string> names = reward_names(config);
  for (size_t k = 0; k < names.size(); ++k) {
    const std::string& name = config.reward_funcs[k];
    if (name == "program")
      all.push_back(rewards::program_reward(
          {config.reward_program, config.reward_timeout, config.reward_memory_mib * kMebibyte, cache}));
    else if (name == "endpoint")
      all.push_back(TRY(rewards::endpoint_reward(
          {config.reward_endpoint, config.reward_endpoint_key_env, config.reward_timeout, cache})));
    else if (is_reward_model(name))
      all.push_back(rewards::with_length_penalty(
          {names[k],
           [name, &models](std::span<const Completion> completions) -> Result<rewards::Scores> {
             const std::vector<double> scores = TRY(models.score(name, completions));
             return rewards::Scores(scores.begin(), scores.end());
           },
           {}},
          config.length_penalty_alpha.value_or(0.0)));
    else
      all.push_back(TRY(rewards::make_reward(name, params)));
  }
  return all;
}

}  // namespace candor::recipes
