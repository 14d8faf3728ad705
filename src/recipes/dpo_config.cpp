#include "recipes/dpo_config.h"

#include <algorithm>
#include <array>
#include <utility>

namespace candor::recipes {
namespace {

using algorithms::Divergence;
using algorithms::DpoType;

constexpr std::array<std::pair<std::string_view, DpoType>, 16> kTypes = {{
    {"sigmoid", DpoType::kSigmoid},
    {"cdpo", DpoType::kCdpo},
    {"hinge", DpoType::kHinge},
    {"ipo", DpoType::kIpo},
    {"sigmoid_norm", DpoType::kSigmoidNorm},
    {"exo_pair", DpoType::kExoPair},
    {"robust", DpoType::kRobust},
    {"discopop", DpoType::kDiscopop},
    {"nca_pair", DpoType::kNcaPair},
    {"bco_pair", DpoType::kBcoPair},
    {"sppo_hard", DpoType::kSppoHard},
    {"aot", DpoType::kAot},
    {"aot_unpaired", DpoType::kAotUnpaired},
    {"apo_zero", DpoType::kApoZero},
    {"apo_down", DpoType::kApoDown},
    {"sft", DpoType::kSft},
}};

constexpr std::array<std::pair<std::string_view, Divergence>, 4> kDivergences = {{
    {"reverse_kl", Divergence::kReverseKl},
    {"forward_kl", Divergence::kForwardKl},
    {"js_divergence", Divergence::kJs},
    {"alpha_divergence", Divergence::kAlpha},
}};

template <typename T, size_t n>
std::vector<std::string> names_of(const std::array<std::pair<std::string_view, T>, n>& table) {
  std::vector<std::string> names;
  for (const auto& [name, value] : table) names.emplace_back(name);
  return names;
}

// The field lists admit no other name.
template <typename T, size_t n>
T value_of(const std::array<std::pair<std::string_view, T>, n>& table, std::string_view name) {
  return std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.first == name; })->second;
}

}  // namespace

FieldList dpo_fields(DpoConfig& c) {
  FieldList list("dpo");
  add_model_and_data(list, c,
                     "the pairs: JSONL, JSON or CSV with prompt (or none: what both sides share), chosen and rejected");
  add_preference_rows(list, c);
  add_batch(list, c, "pairs");
  list.section(Heading::kResults, "Loss");
  list.add("loss_type", &c.loss_type, "the loss, or a list of losses that are added (docs/losses.md)",
           {.choices = names_of(kTypes), .required = true});
  list.add("loss_weights", &c.loss_weights, "a weight for each loss of the list; empty: 1 each");
  list.add("beta", &c.beta, "how strongly the policy is held to the reference: larger keeps it nearer",
           {.range = above(0)});
  list.add("label_smoothing", &c.label_smoothing,
           "the share of pairs that are labelled the wrong way round; of cdpo, robust, exo_pair, aot and aot_unpaired",
           {.range = between(0, 1)});
  list.add("f_divergence_type", &c.f_divergence_type, "the divergence to the reference",
           {.choices = names_of(kDivergences)});
  list.add("f_alpha_divergence_coef", &c.f_alpha_divergence_coef, "alpha of alpha_divergence; 1 is reverse_kl");
  list.add("ld_alpha", &c.ld_alpha, "what a token beyond the shorter of the two completions weighs (LD-DPO)",
           {.range = between(0, 1), .without = "1"});
  list.add("discopop_tau", &c.discopop_tau, "temperature of discopop", {.range = above(0)});
  list.add("ipo_scores", &c.ipo_scores, "ipo: a completion's mean log-ratio, as in TRL, or its sum, as in OpenRLHF",
           {.choices = {"mean", "sum"}});
  list.add("compat", &c.compat, "another trainer's definitions where no key says otherwise: ipo_scores",
           {.choices = {"trl", "openrlhf"}, .without = "TRL's"});
  list.add("use_weighting", &c.use_weighting,
           "a pair weighs what the policy itself would make of its sides (WPO), so that given pairs count as its own");
  list.add("precompute_ref_log_probs", &c.precompute_ref_log_probs,
           "the reference's log-probabilities of all rows are computed before training instead of in every step; auto: "
           "where every weight trains",
           {.choices = {"auto", "true", "false"}, .other_names = {{"True", "true"}, {"False", "false"}}});
  add_optimizer(list, c);
  add_adapter(list, c);
  add_best_model(list, c, {"eval_loss", "eval_rewards/accuracies", "eval_rewards/margins"});
  add_guard(list, c, false);
  add_gold(list, c);
  add_speed(list, c);
  add_record(list, c);
  return list;
}

Result<void> resolve_dpo(DpoConfig& c, const Given& given) {
  TRY(resolve_preference(c, given, "dpo", "pair"));
  if (!c.loss_weights.empty() && c.loss_weights.size() != c.loss_type.size())
    return error("[dpo] loss_weights has {} numbers, loss_type {} losses. Give one weight for each.",
                 c.loss_weights.size(), c.loss_type.size());
  if (c.compat == "openrlhf" && !given.has("ipo_scores")) c.ipo_scores = "sum";
  if (c.precompute_ref_log_probs == "auto") c.precompute_ref_log_probs = c.use_peft ? "false" : "true";
  if (!c.use_peft && c.precompute_ref_log_probs == "false")
    return error(
        "[dpo] precompute_ref_log_probs is false, but every weight trains: the reference, which is the model as it "
        "was, would be gone after the first step. Leave the key out, or train an adapter with --use_peft true.");
  if (const auto checked = algorithms::check(loss_options(c)); !checked)
    return error("[dpo] {}", checked.error().message);
  return {};
}

algorithms::DpoOptions loss_options(const DpoConfig& c) {
  algorithms::DpoOptions options;
  options.losses.clear();
  for (size_t k = 0; k < c.loss_type.size(); ++k)
    options.losses.push_back({value_of(kTypes, c.loss_type[k]), c.loss_weights.empty() ? 1.0 : c.loss_weights[k]});
  options.beta = c.beta;
  options.label_smoothing = c.label_smoothing;
  options.f_divergence = value_of(kDivergences, c.f_divergence_type);
  options.f_alpha = c.f_alpha_divergence_coef;
  options.ld_alpha = c.ld_alpha;
  options.discopop_tau = c.discopop_tau;
  options.ipo_of_sums = c.ipo_scores == "sum";
  options.use_weighting = c.use_weighting;
  return options;
}

}  // namespace candor::recipes
