#include "files/peft_pissa.h"

#include <algorithm>
#include <cmath>

#include "base/principal.h"

namespace candor::files {

PissaStart pissa_start(const std::vector<float>& w, int64_t out, int64_t in, int64_t rank, double scale) {
  const PrincipalFactors factors = principal_factors(w, out, in, rank);
  PissaStart start{std::vector<float>(static_cast<size_t>(rank * in)),
                   std::vector<float>(static_cast<size_t>(out * rank))};
  for (int64_t k = 0; k < rank; ++k) {
    const double share = std::sqrt(factors.values[k] / scale);
    for (int64_t i = 0; i < in; ++i) start.a[k * in + i] = static_cast<float>(share * factors.right[k][i]);
    for (int64_t row = 0; row < out; ++row) start.b[row * rank + k] = static_cast<float>(-share * factors.left[k][row]);
  }
  return start;
}

LoraConfig doubled_ranks(LoraConfig config) {
  const double factor = config.use_rslora ? std::sqrt(2.0) : 2.0;
  config.init = LoraInit::kDefault;
  config.frozen_half = true;
  config.r *= 2;
  config.alpha *= factor;
  for (auto& [pattern, rank] : config.rank_pattern) rank *= 2;
  for (auto& [pattern, alpha] : config.alpha_pattern) alpha *= factor;
  return config;
}

void take_off_start(const PissaStart& start, LoraTensors& pair) {
  const int64_t rank = pair.rank;
  pair.a.insert(pair.a.end(), start.a.begin(), start.a.end());
  std::vector<float> b(static_cast<size_t>(2 * rank * pair.out));
  for (int64_t row = 0; row < pair.out; ++row) {
    std::copy_n(pair.b.data() + row * rank, rank, b.data() + 2 * row * rank);
    std::copy_n(start.b.data() + row * rank, rank, b.data() + (2 * row + 1) * rank);
  }
  pair.b = std::move(b);
  pair.rank *= 2;
}

Result<PeftAdapter> plain_lora_of_pissa(const ModelFiles& base, const PeftAdapter& adapter) {
  PeftAdapter plain = adapter;
  plain.config = doubled_ranks(adapter.config);
  for (LoraTensors& pair : plain.pairs) {
    const std::string name = pair.module + ".weight";
    const WeightInfo* info = base.weights->find(name);
    if (is_adapted_embedding(pair.module) || pair.module == "lm_head")
      return error("[adapter] PiSSA on {} is not supported.", pair.module);
    if (info == nullptr || info->shape != std::vector<int64_t>{pair.out, pair.in})
      return error("[adapter] the adapter changes {} as [{}, {}]: it was made for another base model than {}.",
                   pair.module, pair.out, pair.in, base.path.string());
    std::vector<float> w(static_cast<size_t>(pair.out * pair.in));
    TRY(base.weights->read_rows(name, 0, pair.out, w.data()));
    // Of the config as it was: the doubled one has the same scale.
    const double scale = TRY(pair_settings(adapter.config, pair.module))
    .scale;
    take_off_start(pissa_start(w, pair.out, pair.in, pair.rank, scale), pair);
  }
  return plain;
}

}  // namespace candor::files
