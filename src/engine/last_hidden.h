// Hidden states of the last token of given sequences: what a probe reads of a statement.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/policy_pass.h"

namespace candor::engine {

// layers: as HiddenDoor::layer. `ready` is called with (index, states [layers][hidden_size]) in order; returning false
// stops. sequences: at least one token each.
void last_hidden_states(const Context& context, const Model& model, const Adapter* adapter,
                        std::span<const std::vector<int32_t>> sequences, std::span<const int64_t> layers,
                        const std::function<bool(size_t index, std::vector<float> states)>& ready);

}  // namespace candor::engine
