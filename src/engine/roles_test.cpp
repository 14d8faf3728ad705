// Roles on one base: nothing of it is copied, the reference stays the initial model, and files hold adapter and head.
#include "engine/roles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/optimizer.h"
#include "engine/testing.h"
#include "support/golden_model.h"
#include "support/scratch.h"

namespace candor::engine {
namespace {

using candor::testing::golden;
using candor::testing::value_of;
using testing::Bench;
using testing::random_ids;

files::LoraConfig lora(std::vector<std::string> modules_to_save = {}) {
  files::LoraConfig config;
  config.r = 4;
  config.alpha = 8;
  config.target_modules = {"all-linear"};
  config.modules_to_save = std::move(modules_to_save);
  return config;
}

std::map<std::string, int64_t> bytes_by_role(const MemoryLedger& ledger) {
  std::map<std::string, int64_t> bytes;
  for (const MemoryLedger::Entry& entry : ledger.entries())
    if (entry.bytes > 0) bytes[entry.role] += entry.bytes;
  return bytes;
}

struct Rollouts {
  std::vector<int32_t> prompt = random_ids(20, 1100, 1), first = random_ids(9, 1100, 2),
                       second = random_ids(3, 1100, 3);
  RolloutGroup group() const { return {prompt, {first, second}}; }
  ValueGroup states() const {
    ValueGroup group{prompt, {first, second}, {}};
    group.states = every_state(group.completions);
    return group;
  }
};

static_assert(std::is_nothrow_move_constructible_v<Role> && !std::is_move_assignable_v<Role>);

TEST(Roles, NothingOfTheBaseIsCopied) {
  Bench bench;
  const Context& context = *bench.context;
  const Model base = bench.random_model();
  const auto before = bytes_by_role(bench.ledger);
  ASSERT_EQ(before.size(), 1u);
  {
    const Role reference = base_role(context, "reference", base);
    Role policy = value_of(make_role(context, "policy", base, lora(), 1)),
         reward = value_of(make_role(context, "reward", base, lora({"score"}), 2)),
         critic = value_of(make_role(context, "critic", base, lora({"v_head.summary"}), 3));
    const AdamwState optimizer = make_adamw(policy.in(context), trainable_of(policy));
    const auto with = bytes_by_role(bench.ledger);
    EXPECT_EQ(with.at("weights"), before.at("weights"));
    std::vector<std::string> roles;
    for (const auto& [role, bytes] : with) roles.push_back(role);
    EXPECT_THAT(roles, ::testing::ElementsAre("critic", "policy", "reward", "weights"));
    // Values and panels of the same pairs; the heads beside them; two moments of the policy.
    const int64_t adapter = 2 * 4 * policy.adapter->parameters.size();
    EXPECT_EQ(with.at("reward"), adapter + 4 * padded(40));
    EXPECT_EQ(with.at("critic"), adapter + 4 * (padded(40) + 16));
    EXPECT_EQ(with.at("policy"), adapter + 2 * 4 * policy.adapter->parameters.size());
    EXPECT_EQ(bench.ledger.bytes(), with.at("weights") + with.at("reward") + with.at("critic") + with.at("policy"));
    for (const MemoryLedger::Entry& entry : bench.ledger.entries()) {
      if (entry.role != "reward") continue;
      EXPECT_THAT(entry.name, ::testing::AnyOf("adapter parameters", "adapter packed", "scalar head score.weight"));
    }
    for (const Role* role : std::initializer_list<const Role*>{&reference, &policy, &reward, &critic})
      EXPECT_EQ(role->model, &base);
  }
  EXPECT_EQ(bytes_by_role(bench.ledger), before);
}

// One pass serves all roles in turn. Training the policy moves its own numbers and no other's.
TEST(Roles, TheReferenceStaysTheInitialModelToTheBit) {
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16}) {
    Bench bench(2, "", dtype);
    const Context& context = *bench.context;
    const Model base = bench.random_model();
    const Rollouts rollouts;
    const RolloutGroup group = rollouts.group();
    const ValueGroup states = rollouts.states();
    PolicyPass initial(context, "initial", base, 0, PolicyPass::Keep::kOneLayer);
    const std::vector<float> first = initial.forward(nullptr, {&group, 1}, 1.0).logprobs;
    const Role reference = base_role(context, "reference", base), judge = base_role(context, "judge", base);
    Role policy = value_of(make_role(context, "policy", base, lora(), 1)),
         critic = value_of(make_role(context, "critic", base, lora({"v_head.summary"}), 3));
    PolicyPass pass(context, "policy", base, policy.adapter->max_padded_rank, PolicyPass::Keep::kAllLayers);
    const Trainable trainable = trainable_of(policy);
    AdamwState state = make_adamw(policy.in(context), trainable);
    const std::vector<float> values = pass.values(critic.adapter_or_null(), *critic.head, {&states, 1});
    std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats));
    const size_t entries = pass.forward(policy.adapter_or_null(), {&group, 1}, 1.0).logprobs.size();
    EXPECT_EQ(pass.forward(policy.adapter_or_null(), {&group, 1}, 1.0).logprobs, first);  // B is 0
    pass.backward(trainable, std::vector<float>(entries, -0.1f), std::vector<float>(entries, 0.0f), gradients.data());
    adamw_step(context, {}, 1e-2, gradient_norm(context, trainable, gradients.data()), gradients.data(), state,
               trainable);
    EXPECT_NE(pass.forward(policy.adapter_or_null(), {&group, 1}, 1.0).logprobs, first);
    EXPECT_EQ(pass.forward(reference.adapter_or_null(), {&group, 1}, 1.0).logprobs, first);
    EXPECT_EQ(pass.forward(judge.adapter_or_null(), {&group, 1}, 1.0).logprobs, first);
    EXPECT_EQ(pass.values(critic.adapter_or_null(), *critic.head, {&states, 1}), values);
  }
}

TEST(Roles, AdapterAndHeadAreSavedInOneFile) {
  Bench bench;
  const Model base = bench.random_model();
  const Rollouts rollouts;
  const ValueGroup states = rollouts.states();
  const candor::testing::ScratchFolder scratch;
  for (const char* module : {"score", "v_head.summary"}) {
    Role role = value_of(make_role(*bench.context, "reward", base, lora({module}), 2));
    ASSERT_TRUE(role.head);
    EXPECT_EQ(role.head->module, module);
    role.adapter->parameters[role.adapter->pairs[0].b_offset] = 0.5f;
    pack_adapter(*bench.context, *role.adapter);
    const files::PeftAdapter saved = role_to_peft(role);
    EXPECT_THAT(saved.config.modules_to_save, ::testing::ElementsAre(module));
    const auto written = files::write_peft_adapter(scratch / module, saved);
    ASSERT_TRUE(written) << written.error().message;
    const Role again =
        value_of(role_from_peft(*bench.context, "reward", base, value_of(files::read_peft_adapter(scratch / module))));
    PolicyPass pass(*bench.context, "reward", base, role.adapter->max_padded_rank, PolicyPass::Keep::kOneLayer);
    const std::vector<float> values = pass.values(role.adapter_or_null(), *role.head, {&states, 1});
    EXPECT_EQ(pass.values(again.adapter_or_null(), *again.head, {&states, 1}), values);
  }
}

TEST(Roles, AModelOfItsOwnIsCountedUnderItsRole) {
  CANDOR_REQUIRE_FILE(golden("models/llama_reward"));
  Bench bench;
  const Model base = bench.random_model();
  const auto before = bytes_by_role(bench.ledger);
  const auto files = value_of(files::open_model(golden("models/llama_reward")));
  const Role reward = value_of(role_of_model(*bench.context, "reward", files, Dtype::kBfloat16));
  EXPECT_EQ(reward.model, reward.own_model.get());
  EXPECT_EQ(reward.model->dtype, Dtype::kBfloat16);
  ASSERT_TRUE(reward.head);
  const auto with = bytes_by_role(bench.ledger);
  EXPECT_EQ(with.at("weights"), before.at("weights"));
  EXPECT_EQ(bench.ledger.bytes(), before.at("weights") + with.at("reward"));

  // An adapter's head takes the place of the model's; an adapter without one leaves it.
  for (const auto& [modules, same] : {std::pair{std::vector<std::string>{"score"}, false}, {{}, true}}) {
    const Role other = value_of(make_role(*bench.context, "other", *reward.model, lora(modules), 9));
    const Role again = value_of(role_of_model(*bench.context, "again", files, Dtype::kBfloat16, role_to_peft(other)));
    ASSERT_TRUE(again.adapter && again.head);
    EXPECT_EQ(again.head->weight[0] == reward.head->weight[0], same);
  }

  const Role judge = value_of(
      role_of_model(*bench.context, "judge", value_of(files::open_model(golden("models/llama"))), Dtype::kFloat32));
  EXPECT_FALSE(judge.head);

  // Whoever reads and writes text has no use for it.
  const auto language = load_model(*bench.context, files);
  ASSERT_FALSE(language);
  EXPECT_EQ(language.error().message,
            fmt::format("[{}] is a sequence classifier: it scores text, and has no language head to read or write it "
                        "with. Use it as a reward model.",
                        golden("models/llama_reward").string()));
}

// An adapter with a head is refused by whoever would drop the head.
TEST(Roles, AnAdapterAloneDoesNotTakeAHead) {
  Bench bench;
  const Model base = bench.random_model();
  const Role reward = value_of(make_role(*bench.context, "reward", base, lora({"score"}), 2));
  const auto adapter = adapter_from_peft(*bench.context, base, role_to_peft(reward));
  ASSERT_FALSE(adapter);
  EXPECT_THAT(adapter.error().message, ::testing::HasSubstr("score.weight (modules_to_save)"));
}

}  // namespace
}  // namespace candor::engine
