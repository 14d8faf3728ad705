#include "engine/roles.h"

#include <vector>

#include "base/check.h"

namespace candor::engine {

namespace {

// Takes the name of a scalar head out of modules_to_save: empty where there is none.
std::string take_head_name(files::LoraConfig& config) {
  for (const char* name : {kScoreHead, kValueHead})
    if (std::erase(config.modules_to_save, name) > 0) return name;
  return "";
}

// Adapter and head of a file, on the role's model.
Result<void> read_peft(const Context& context, files::PeftAdapter saved, Role& role) {
  if (auto head = TRY(take_scalar_head(context, *role.model, saved))) role.head = std::move(head);
  role.adapter = TRY(adapter_from_peft(context, *role.model, saved));
  return {};
}

}  // namespace

Role base_role(const Context& context, std::string name, const Model& base) {
  Role role;
  role.name = std::move(name);
  role.model = &base;
  role.ledger = std::make_unique<MemoryLedger>(context.ledger, role.name);
  return role;
}

Result<Role> make_role(const Context& context, std::string name, const Model& base, const files::LoraConfig& config,
                       uint64_t seed) {
  Role role = base_role(context, std::move(name), base);
  const Context own = role.in(context);
  files::LoraConfig without_head = config;
  const std::string head = take_head_name(without_head);
  role.adapter = TRY(make_adapter(own, base, without_head, seed));
  if (head == kScoreHead) role.head = make_score_head(own, base, 1, seed);
  if (head == kValueHead) role.head = make_value_head(own, base, seed);
  return role;
}

Result<Role> role_from_peft(const Context& context, std::string name, const Model& base, files::PeftAdapter saved) {
  Role role = base_role(context, std::move(name), base);
  TRY(read_peft(role.in(context), std::move(saved), role));
  return role;
}

Result<Role> role_of_model(const Context& context, std::string name, const files::ModelFiles& files,
                           std::optional<Dtype> dtype, std::optional<files::PeftAdapter> saved) {
  Role role;
  role.name = std::move(name);
  role.ledger = std::make_unique<MemoryLedger>(context.ledger, role.name);
  const Context own = role.in(context);
  role.own_model = std::make_unique<Model>(TRY(load_body(own, files, dtype)));
  role.model = role.own_model.get();
  if (files.config.labels > 0) role.head = TRY(read_score_head(own, *role.model, files));
  if (saved) TRY(read_peft(own, std::move(*saved), role));
  return role;
}

files::PeftAdapter role_to_peft(const Role& role) {
  CHECK(role.adapter);
  files::PeftAdapter saved = adapter_to_peft(*role.adapter);
  if (role.head) add_scalar_head(*role.head, saved);
  return saved;
}

Result<std::optional<ScalarHead>> take_scalar_head(const Context& context, const Model& model,
                                                   files::PeftAdapter& saved) {
  const std::string name = take_head_name(saved.config);
  if (name.empty()) return std::optional<ScalarHead>();
  std::optional<ScalarHead> head = TRY(scalar_head_of(context, model, name, saved.saved_weights));
  std::erase_if(saved.saved_weights, [&](const files::FloatTensor& tensor) {
    return tensor.name == name + ".weight" || tensor.name == name + ".bias";
  });
  return head;
}

void add_scalar_head(const ScalarHead& head, files::PeftAdapter& saved) {
  saved.config.modules_to_save.push_back(head.module);
  for (files::FloatTensor& tensor : scalar_head_tensors(head)) saved.saved_weights.push_back(std::move(tensor));
}

Trainable trainable_of(Role& role) {
  CHECK(role.adapter || role.head);
  ScalarHead* head = role.head ? &*role.head : nullptr;
  return role.adapter ? trainable_of(*role.adapter, head) : trainable_of(*head);
}

}  // namespace candor::engine
