// Learned rewards: reward models that score what a recipe samples. A reward model is an adapter with a score head on
// the recipe's own frozen base (what `candor reward` writes), which then costs no second base, or a model of its own
// with a score head (a sequence classifier).
//
// The score is the head's value behind the completion's last token, stop token included. Where the tokens mean the same
// to the reward model (its base or its vocabulary is the recipe's) it sees the very ids that were sampled; else the
// prompt and the completion as text, through its own chat template and tokenizer.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/policy_pass.h"
#include "engine/roles.h"
#include "files/model_files.h"
#include "recipes/rollout_config.h"
#include "rewards/rewards.h"

namespace candor::recipes {

// Where a role's weights are: a folder of PEFT's, or a model.
struct RoleSource {
  std::string path;
  std::optional<files::PeftAdapter> adapter;  // on the recipe's base
  std::optional<files::ModelFiles> own;       // a model of its own
};
// Reads the adapter, or opens the model; `key` (reward_model_path, …) opens the messages. Error: neither is there.
Result<RoleSource> open_role(std::string_view key, const std::string& path);

// A role on the base or with a model of its own, in the base's kind of arithmetic where its file allows. Its head has
// one label. Error: there is no head or it has more labels; the adapter was made for another base.
Result<engine::Role> scored_role(std::string_view key, const std::string& name, const engine::Context& context,
                                 const engine::Model& base, RoleSource& source);

// Whether every token id means the same text to both.
bool same_vocabulary(const text::Tokenizer& a, const text::Tokenizer& b);

// The reward models that a recipe names, in reward_model_path and in reward_funcs.
class RewardModels {
 public:
  // `files`: of the recipe's model. All of them must outlive this. Of a planned ledger no weight is read. `role`: what
  // buffers are called, and "gold" where `config` is gold_recipe's. Error: scored_role's, or a reward model that has
  // another vocabulary and no tokenizer.
  Result<void> load(const RolloutConfig& config, const engine::Context& context, const engine::Model& base,
                    const files::ModelFiles& files, const std::string& role = "reward");

  // The scores that an entry of reward_funcs gives: kRewardModel, or a path. Error: a score is not finite; text that
  // the reward model's tokenizer or template refuses.
  Result<std::vector<double>> score(const std::string& entry, std::span<const rewards::Completion> completions);

  // How far the members of an ensemble were apart on each completion of the last score() of this entry: their standard
  // deviation, which divides by their number. Empty: it is one model, or nothing was scored.
  std::vector<double> disagreement(const std::string& entry) const;

  // Of a planned ledger: what scoring so many groups allocates where prompts have up to `longest_prompt` tokens.
  void plan(int64_t groups, int64_t longest_prompt);
  // The same of these groups, in this order: their completions one token longer, since the last is read, too.
  void plan(std::span<const engine::BatchShape> groups);

 private:
  struct Scorer {
    std::string path;
    std::unique_ptr<engine::Role> role;
    std::optional<files::ModelFiles> files;    // of a model of its own
    std::unique_ptr<engine::PolicyPass> pass;  // through a model of its own
    bool sees_ids = true;
  };
  struct Entry {
    std::string name;
    std::vector<Scorer> scorers;       // several: an ensemble
    std::vector<double> disagreement;  // of the last completions
  };

  // Every pass of every entry, with how many roles it scores at once and the adapter of theirs that takes most.
  void each_pass(const std::function<void(engine::PolicyPass&, int64_t roles, const engine::Adapter*)>& act) const;

  RolloutConfig config_;
  std::vector<Entry> entries_;
  std::unique_ptr<engine::PolicyPass> pass_;  // through the base, for all that are on it
};

// Whether an entry of reward_funcs is one: kRewardModel, or a path.
bool is_reward_model(std::string_view entry);
// Whether the recipe names any.
bool names_reward_models(const RolloutConfig& config);

// The rewards that the recipe names, in its order; `models`, which must outlive them, need be loaded only when they are
// asked. Error: a reward that cannot be made.
Result<std::vector<rewards::Reward>> make_rewards(const RolloutConfig& config, RewardModels& models);

}  // namespace candor::recipes
