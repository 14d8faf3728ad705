// The exact Kullback-Leibler divergence of a policy from the model without its adapter, on the policy's own rollouts.
#pragma once

#include "engine/policy_pass.h"
#include "recipes/rollouts.h"

namespace candor::recipes {

// KL(policy‖reference) of each completion token's whole distribution at this temperature, given the tokens before it;
// the mean over all tokens, in nats. No estimator: the next token is summed over, only the prefixes are sampled.
// `policy` and `reference` are passes of one model, through which the groups go one by one. No token: 0.
double exact_kl(engine::PolicyPass& policy, engine::PolicyPass& reference, const engine::Adapter& adapter,
                const Rollouts& rollouts, double temperature);

}  // namespace candor::recipes
