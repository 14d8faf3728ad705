#include "recipes/cpo_config.h"

namespace candor::recipes {
namespace {

const char* const kPairs =
    "the pairs: JSONL, JSON or CSV with prompt (or none: what both sides share), chosen and rejected";

void add_rest(FieldList& list, PreferenceConfig& c) {
  add_optimizer(list, c);
  add_adapter(list, c);
  add_best_model(list, c, {"eval_loss", "eval_rewards/accuracies", "eval_rewards/margins"});
  add_guard(list, c, false);
  add_gold(list, c);
  add_speed(list, c);
  add_record(list, c);
}

}  // namespace

FieldList cpo_fields(CpoConfig& c) {
  FieldList list("cpo");
  add_model_and_data(list, c, kPairs);
  add_preference_rows(list, c);
  add_batch(list, c, "pairs");
  list.section(Heading::kResults, "Loss");
  list.add("loss_type", &c.loss_type,
           "the loss of a pair (docs/losses.md); simpo compares mean log-probabilities, less a margin",
           {.choices = {"sigmoid", "hinge", "ipo", "simpo"}});
  list.add("beta", &c.beta, "scale of the difference of both sides' log-probabilities", {.range = above(0)});
  list.add("label_smoothing", &c.label_smoothing, "the share of pairs that are labelled the wrong way round",
           {.range = between(0, 1)});
  list.add("cpo_alpha", &c.cpo_alpha, "weight of the chosen completions' likelihood; 0 makes simpo what its paper has",
           {.range = at_least(0)});
  list.add("simpo_gamma", &c.simpo_gamma, "margin of simpo, inside beta's product: beta * difference - gamma");
  list.add("alpha", &c.alpha, "AlphaPO's reward shape: (1 - exp(-alpha * score)) / alpha; 0 the score itself");
  add_rest(list, c);
  return list;
}

Result<void> resolve_cpo(CpoConfig& c, const Given& given) {
  TRY(resolve_preference(c, given, "cpo", "pair"));
  if (given.has("simpo_gamma") && c.loss_type != "simpo")
    return error("[cpo] simpo_gamma has no meaning with loss_type {}. Leave it out, or set loss_type to simpo.",
                 c.loss_type);
  return {};
}

algorithms::CpoOptions loss_options(const CpoConfig& c) {
  const algorithms::CpoType type = c.loss_type == "hinge"   ? algorithms::CpoType::kHinge
                                   : c.loss_type == "ipo"   ? algorithms::CpoType::kIpo
                                   : c.loss_type == "simpo" ? algorithms::CpoType::kSimpo
                                                            : algorithms::CpoType::kSigmoid;
  return {type, c.beta, c.label_smoothing, c.cpo_alpha, c.simpo_gamma, c.alpha};
}

FieldList orpo_fields(OrpoConfig& c) {
  FieldList list("orpo");
  add_model_and_data(list, c, kPairs);
  add_preference_rows(list, c);
  add_batch(list, c, "pairs");
  list.section(Heading::kResults, "Loss");
  list.add("beta", &c.beta, "weight of the odds ratio beside the likelihood of the chosen rows", {.range = above(0)});
  add_rest(list, c);
  return list;
}

Result<void> resolve_orpo(OrpoConfig& c, const Given& given) {
  return resolve_preference(c, given, "orpo", "pair");
}

}  // namespace candor::recipes
