#include "cli/bench_roles.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <list>

#include "base/rng.h"
#include "engine/policy_pass.h"
#include "engine/roles.h"

namespace candor::cli {

namespace {

using engine::Role;
using files::Json;

// Anonymous memory of this process that is resident now; 0 where the system does not say.
int64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    constexpr std::string_view kKey = "RssAnon:";
    if (!line.starts_with(kKey)) continue;
    const size_t digit = line.find_first_of("0123456789");
    int64_t kib = 0;
    if (digit != std::string::npos) std::from_chars(line.data() + digit, line.data() + line.size(), kib);
    return kib * 1024;
  }
  return 0;
}

// What has been added since the last look.
class Added {
 public:
  explicit Added(const engine::MemoryLedger& ledger) : ledger_(ledger) { look(); }
  Json since(const std::string& name) {
    const int64_t counted = counted_, resident = resident_;
    look();
    return {{"role", name}, {"ledger_bytes", counted_ - counted}, {"rss_anon_bytes", resident_ - resident}};
  }

 private:
  void look() {
    counted_ = ledger_.bytes();
    resident_ = anonymous_bytes();
  }
  const engine::MemoryLedger& ledger_;
  int64_t counted_ = 0, resident_ = 0;
};

Json total(const Json& rows) {
  int64_t counted = 0, resident = 0;
  for (const Json& row : rows) {
    counted += row["ledger_bytes"].get<int64_t>();
    resident += row["rss_anon_bytes"].get<int64_t>();
  }
  return {{"ledger_bytes", counted}, {"rss_anon_bytes", resident}};
}

// As after a first step: a fresh adapter's B is zero, and pages that nobody has written take no memory.
void move_parameters(const engine::Context& context, Role& role, uint32_t row) {
  engine::Buffer& p = role.adapter->parameters;
  for (int64_t i = 0; i < p.size(); ++i)
    p[i] += 1e-4f * static_cast<float>(random_uniform({0, RngStream::kData, 0, row}, static_cast<uint64_t>(i)) - 0.5);
  engine::pack_adapter(context, *role.adapter);
}

// A prompt and two completions through every role: log-probabilities, or values where there is a head.
void run_roles(engine::PolicyPass& pass, const std::list<Role>& roles) {
  const std::vector<int32_t> prompt(40, 1), first(16, 2), second(16, 3);
  for (const Role& role : roles) {
    const engine::RolloutGroup group{prompt, {first, second}};
    if (!role.head) {
      pass.forward(role.adapter_or_null(), {&group, 1}, 1.0);
      continue;
    }
    const engine::ValueGroup states{prompt, group.completions, engine::every_state(group.completions)};
    pass.values(role.adapter_or_null(), *role.head, {&states, 1});
  }
}

}  // namespace

Result<Json> measure_roles(Session& session, int64_t rank) {
  const engine::Context& context = session.context;
  const engine::Dtype dtype = session.model.dtype;
  session.model = {};
  Added added(session.ledger);
  session.model = TRY(engine::load_model(context, session.files, dtype));
  Json shared = Json::array({added.since("base")});
  files::LoraConfig lora;
  lora.r = rank;
  lora.alpha = 2.0 * static_cast<double>(rank);
  lora.target_modules = {"all-linear"};
  std::list<Role> roles;
  uint32_t number = 0;
  for (const char* name : {"policy", "reward", "critic"}) {
    lora.modules_to_save = {};
    if (number > 0) lora.modules_to_save = {engine::kScoreHead};
    roles.push_back(TRY(engine::make_role(context, name, session.model, lora, number)));
    move_parameters(context, roles.back(), number++);
    shared.push_back(added.since(name));
  }
  roles.push_back(engine::base_role(context, "reference", session.model));
  shared.push_back(added.since("reference"));
  engine::PolicyPass pass(context, "pass", session.model, roles.front().adapter->max_padded_rank,
                          engine::PolicyPass::Keep::kOneLayer);
  run_roles(pass, roles);
  const Json of_pass = added.since("pass");
  Json separate = Json::array({shared.front()});  // the reference's
  std::list<Role> own;
  for (const Role& role : roles) {
    if (!role.adapter) continue;
    own.push_back(TRY(engine::role_of_model(context, role.name, session.files, dtype, engine::role_to_peft(role))));
    separate.push_back(added.since(role.name));
  }
  return Json{{"dtype", engine::dtype_name(dtype)}, {"rank", rank},    {"shared", shared},
              {"shared_total", total(shared)},      {"pass", of_pass}, {"separate", separate},
              {"separate_total", total(separate)}};
}

void print_roles(const Json& roles) {
  auto line = [](const std::string& name, const Json& row) {
    fmt::print("  {:<34} {:10.1f} {:10.1f}\n", name, 1e-6 * row["ledger_bytes"].get<double>(),
               1e-6 * row["rss_anon_bytes"].get<double>());
  };
  fmt::print("{:<36} {:>10} {:>10}\n", fmt::format("MB, base in {}", roles["dtype"].get<std::string>()), "ledger",
             "RssAnon");
  for (const Json& row : roles["shared"]) line(row["role"], row);
  line("four roles on one base", roles["shared_total"]);
  line("one pass for all of them", roles["pass"]);
  line("four roles on four bases", roles["separate_total"]);
  fmt::print(
      "  {:<34} {:9.2f}x {:9.2f}x\n", "four bases against one",
      roles["separate_total"]["ledger_bytes"].get<double>() / roles["shared_total"]["ledger_bytes"].get<double>(),
      roles["separate_total"]["rss_anon_bytes"].get<double>() / roles["shared_total"]["rss_anon_bytes"].get<double>());
}

}  // namespace candor::cli
