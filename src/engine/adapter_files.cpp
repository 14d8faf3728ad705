// Adapters from PEFT's files and back (adapter.h).
#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"
#include "engine/adapter_parts.h"

namespace candor::engine {

namespace {

Result<void> check_numbers(const files::LoraTensors& tensors) {
  for (const std::vector<float>* values : {&tensors.a, &tensors.b, &tensors.magnitude})
    for (float value : *values)
      if (!std::isfinite(value))
        return error(
            "[adapter] {}: a weight is not finite ({}): the file is damaged, or the training that wrote it "
            "diverged.",
            tensors.module, value);
  return {};
}

}  // namespace

Result<Adapter> adapter_from_peft(const Context& context, const Model& model, const files::PeftAdapter& saved) {
  Adapter adapter;
  adapter.config = saved.config;
  const bool pissa = saved.config.init == files::LoraInit::kPissa;
  if (pissa) adapter.config = files::doubled_ranks(saved.config);
  std::map<std::string, const files::LoraTensors*> by_module;
  for (const files::LoraTensors& tensors : saved.pairs) by_module[tensors.module] = &tensors;
  std::vector<files::LoraTensors> found;
  for (LoraPair& pair : adaptable_pairs(model)) {
    const auto it = by_module.find(pair.module);
    if (it == by_module.end()) {
      if (TRY(files::target_matches(saved.config, pair.module)))
        return error(
            "[adapter] adapter_config.json targets {}, but the adapter holds no tensors for it: the file is "
            "incomplete, or was made for a model with fewer layers.",
            pair.module);
      continue;
    }
    files::LoraTensors tensors = *it->second;
    if (tensors.in != pair.in || tensors.out != pair.out)
      return error(
          "[adapter] {}: the adapter was made for a layer of {} inputs and {} outputs, this model's has {} and "
          "{}: it belongs to another base model.",
          tensors.module, tensors.in, tensors.out, pair.in, pair.out);
    TRY(check_numbers(tensors));
    TRY(settle_pair(adapter.config, pair));
    if (pissa) files::take_off_start(pissa_start(pair, tensors.rank), tensors);
    CHECK(tensors.rank == pair.rank + pair.start_rank);  // read_peft_adapter says so
    CHECK(tensors.magnitude.empty() != adapter.config.use_dora);
    adapter.pairs.push_back(std::move(pair));
    found.push_back(std::move(tensors));
    by_module.erase(it);
  }
  if (!by_module.empty())
    return error(
        "[adapter] the adapter changes {}, which this model does not have: it belongs to another base model, or "
        "adapts a layer that is not supported yet.",
        by_module.begin()->first);
  if (adapter.pairs.empty()) return error("[adapter] the adapter has no tensors.");
  lay_out(context, model, adapter);
  TRY(read_saved_modules(context, model, saved, adapter));
  if (context.ledger.planned()) return adapter;
  for (size_t i = 0; i < found.size(); ++i) {
    const LoraPair& pair = adapter.pairs[i];
    const files::LoraTensors& tensors = found[i];
    float* parameters = adapter.parameters.data();
    put_rows(tensors.a.data(), pair.rank, pair.in, pair.in, parameters + pair.a_offset);
    put_rows(tensors.b.data(), pair.out, pair.rank, tensors.rank, parameters + pair.b_offset);
    if (pair.dora()) std::copy_n(tensors.magnitude.data(), pair.out, parameters + pair.magnitude_offset);
    if (pair.start_rank == 0) continue;
    put_rows(tensors.a.data() + pair.rank * pair.in, pair.rank, pair.in, pair.in, adapter.start.data() + pair.start_a);
    put_rows(tensors.b.data() + pair.rank, pair.out, pair.rank, tensors.rank, adapter.start.data() + pair.start_b);
  }
  pack_adapter(context, adapter);
  return adapter;
}

Result<void> check_base(const Model& model, const files::PeftAdapter& saved) {
  const std::string& of_adapter = saved.config.base_fingerprint;
  const bool unknown = of_adapter.empty() || model.fingerprint.empty();  // a plan's model has none
  if (unknown || of_adapter == model.fingerprint) return {};
  return error(
      "[adapter] the adapter was trained on other weights: another base model, or this one in another precision (a "
      "quantized file, say).");
}

files::PeftAdapter adapter_to_peft(const Adapter& adapter) {
  files::PeftAdapter saved;
  saved.config = adapter.config;
  for (const LoraPair& pair : adapter.pairs) {
    files::LoraTensors tensors{
        .module = pair.module, .rank = pair.rank + pair.start_rank, .in = pair.in, .out = pair.out};
    tensors.a.resize(static_cast<size_t>(tensors.rank * pair.in));
    tensors.b.resize(static_cast<size_t>(tensors.rank * pair.out));
    const float* parameters = adapter.parameters.data();
    take_rows(parameters + pair.a_offset, pair.rank, pair.in, tensors.a.data(), pair.in);
    take_rows(parameters + pair.b_offset, pair.out, pair.rank, tensors.b.data(), tensors.rank);
    if (pair.dora()) {
      const float* m = parameters + pair.magnitude_offset;
      tensors.magnitude.assign(m, m + pair.out);
    }
    if (pair.start_rank > 0) {
      const float* start = adapter.start.data();
      take_rows(start + pair.start_a, pair.rank, pair.in, tensors.a.data() + pair.rank * pair.in, pair.in);
      take_rows(start + pair.start_b, pair.out, pair.rank, tensors.b.data() + pair.rank, tensors.rank);
    }
    saved.pairs.push_back(std::move(tensors));
  }
  write_saved_modules(adapter, saved);
  return saved;
}

}  // namespace candor::engine
