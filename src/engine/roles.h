// Roles on one frozen base: a role is an adapter, or none, and a scalar head, or none. Policy (an adapter), reference
// (nothing: the base itself, bit for bit), reward and critic (an adapter and a head of their own), judge (nothing, or
// an adapter). PPO's models so cost little more than one: of the base nothing is copied.
//
// A role may also have a model of its own (another directory: a larger reward model, say). Either way the ledger counts
// what a role adds under the role's name.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/adapter.h"
#include "engine/scalar_head.h"
#include "engine/trainable.h"

namespace candor::engine {

struct Role {
  std::string name;
  const Model* model = nullptr;          // the base, or own_model
  std::unique_ptr<MemoryLedger> ledger;  // of what the role adds, inside the whole program's
  std::unique_ptr<Model> own_model;
  std::optional<Adapter> adapter;
  std::optional<ScalarHead> head;

  Role() = default;
  Role(Role&&) = default;
  Role& operator=(Role&&) = delete;  // would end the old ledger before the buffers that it counts

  const Adapter* adapter_or_null() const { return adapter ? &*adapter : nullptr; }
  // For what else belongs to the role: its optimizer, its gradients.
  Context in(const Context& context) const { return {context.kernels, context.pool, *ledger}; }
};

// Nothing but the base, which stays where it is.
Role base_role(const Context& context, std::string name, const Model& base);

// A fresh adapter on the base, as make_adapter has it. modules_to_save may also name a scalar head: "score" (one label)
// or "v_head.summary".
Result<Role> make_role(const Context& context, std::string name, const Model& base, const files::LoraConfig& config,
                       uint64_t seed);

// An adapter as it was saved, with the scalar head that it may hold. Error: as adapter_from_peft and scalar_head_of.
Result<Role> role_from_peft(const Context& context, std::string name, const Model& base, files::PeftAdapter saved);

// A model of its own, with the score head that a sequence classifier has, and an adapter (whose head takes the place of
// that), if it is given one.
Result<Role> role_of_model(const Context& context, std::string name, const files::ModelFiles& files,
                           std::optional<Dtype> dtype, std::optional<files::PeftAdapter> saved = std::nullopt);

// For saving: the adapter and, as one of modules_to_save, the scalar head. The role must have an adapter.
files::PeftAdapter role_to_peft(const Role& role);

// A scalar head among what an adapter's file holds: out of it (nothing where there is none; what is left is an adapter
// for adapter_from_peft), and into it. Error: as scalar_head_of.
Result<std::optional<ScalarHead>> take_scalar_head(const Context& context, const Model& model,
                                                   files::PeftAdapter& saved);
void add_scalar_head(const ScalarHead& head, files::PeftAdapter& saved);

// Its adapter and its head, or the head alone. The role must have one, and stay where it is.
Trainable trainable_of(Role& role);

}  // namespace candor::engine
