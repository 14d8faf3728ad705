#include "engine/hidden_door.h"

#include <algorithm>

#include "base/check.h"

namespace candor::engine {

HiddenDoor read_hidden(int64_t layer, HiddenStates* into) {
  HiddenDoor door;
  door.layer = layer;
  door.begin = [into](int64_t tokens, int64_t width) {
    into->width = width;
    into->values.assign(static_cast<size_t>(tokens * width), 0.0f);
  };
  door.act = [into](const HiddenToken& token, std::span<float> h) {
    std::copy(h.begin(), h.end(), into->values.begin() + token.row * into->width);
  };
  return door;
}

HiddenDoor add_to_hidden(int64_t layer, std::vector<float> v) {
  HiddenDoor door;
  door.layer = layer;
  door.edits = true;
  door.act = [v = std::move(v)](const HiddenToken&, std::span<float> h) {
    CHECK(v.size() == h.size());
    for (size_t i = 0; i < h.size(); ++i) h[i] += v[i];
  };
  return door;
}

HiddenDoor erase_from_hidden(int64_t layer, std::vector<float> u, std::vector<float> v, std::vector<float> mean) {
  CHECK(u.size() == v.size() && !mean.empty() && u.size() % mean.size() == 0);
  HiddenDoor door;
  door.layer = layer;
  door.edits = true;
  door.act = [u = std::move(u), v = std::move(v), mean = std::move(mean)](const HiddenToken&, std::span<float> h) {
    CHECK(mean.size() == h.size());
    const size_t width = h.size();
    std::vector<double> along(u.size() / width, 0.0);  // Vᵀ(h − μ)
    for (size_t k = 0; k < along.size(); ++k)
      for (size_t i = 0; i < width; ++i)
        along[k] += static_cast<double>(v[k * width + i]) * (static_cast<double>(h[i]) - static_cast<double>(mean[i]));
    for (size_t i = 0; i < width; ++i) {
      double taken = 0;
      for (size_t k = 0; k < along.size(); ++k) taken += static_cast<double>(u[k * width + i]) * along[k];
      h[i] = static_cast<float>(static_cast<double>(h[i]) - taken);
    }
  };
  return door;
}

}  // namespace candor::engine
