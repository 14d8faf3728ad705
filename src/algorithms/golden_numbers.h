// For tests: reading the numbers of a golden case, and comparing with them.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "algorithms/metrics.h"
#include "algorithms/ragged.h"
#include "support/oracle.h"

namespace candor::algorithms::testing {

using nlohmann::json;

inline double number(const json& j) {
  if (!j.is_string()) return j.get<double>();
  const auto s = j.get<std::string>();
  return s == "nan" ? std::nan("") : s == "inf" ? INFINITY : -INFINITY;
}

inline void flatten(const json& j, std::vector<double>& out) {
  if (!j.is_array()) return out.push_back(number(j));
  for (const auto& item : j) flatten(item, out);
}

// A tensor {"shape", "data"} or a bare list, flat; empty where it is absent.
inline std::vector<double> tensor(const json& object, const std::string& name) {
  std::vector<double> out;
  if (object.contains(name)) flatten(object[name].is_object() ? object[name]["data"] : object[name], out);
  return out;
}

// |value - expected| relative to max(1, |expected|); NaN equals NaN.
inline double difference(double value, double expected) {
  if (std::isnan(value) && std::isnan(expected)) return 0;
  const double d = std::abs(value - expected) / std::max(1.0, std::abs(expected));
  return std::isnan(d) ? INFINITY : d;
}

// golden/losses/NAME's cases.
inline std::vector<json> golden_cases(const std::string& name) {
  const json file = json::parse(candor::testing::read_text(candor::testing::golden("losses/" + name)));
  return file["cases"];
}

// What the golden files promise: 1e-12 relative to max(1, |value|), and 1e-5 where TRL computed in float32.
inline double tolerance(const json& c) {
  return c.value("precision", "float64") == "float32" ? 1e-5 : 1e-12;
}

// Collects the first of a case's numbers that differ.
struct Comparison {
  const json& c;
  std::string wrong = {};

  void number_is(const std::string& what, double value, double want) {
    if (!wrong.empty() || difference(value, want) <= tolerance(c)) return;
    wrong = fmt::format("{}: {} is {:.17g}, TRL's {:.17g}", c["name"].get<std::string>(), what, value, want);
  }
  void list_is(const std::string& what, const std::vector<double>& values, const std::vector<double>& want) {
    if (values.size() != want.size() && wrong.empty())
      wrong = fmt::format("{}: {} has {} numbers, TRL's {}", c["name"].get<std::string>(), what, values.size(),
                          want.size());
    for (size_t i = 0; i < want.size() && wrong.empty(); ++i)
      number_is(fmt::format("{}[{}]", what, i), values[i], want[i]);
  }
  // Every metric that the case has and `ours` names; `left_out` are TRL's that ours does not have.
  void metrics_are(const Metrics& ours, const json& wanted, const std::vector<std::string>& left_out = {}) {
    for (const auto& [name, want] : wanted.items()) {
      if (std::find(left_out.begin(), left_out.end(), name) != left_out.end()) continue;
      const auto found =
          std::find_if(ours.begin(), ours.end(), [&name = name](const Metric& m) { return m.name == name; });
      if (found != ours.end())
        number_is(name, found->value, number(want));
      else if (wrong.empty())
        wrong = c["name"].get<std::string>() + ": no metric " + name;
    }
  }
};

// [N,T] rows of a case as ragged rows that keep their padding, under the mask; in another order where one is given.
struct PaddedRows {
  size_t width = 0;
  std::vector<size_t> order;  // ours from theirs: our row i is their row order[i]
  std::vector<int64_t> offsets;
  std::vector<uint8_t> mask;

  PaddedRows(const json& tensor_of_mask, std::vector<size_t> rows) : order(std::move(rows)) {
    width = tensor_of_mask["shape"][1];
    for (size_t i = 0; i <= order.size(); ++i) offsets.push_back(static_cast<int64_t>(i * width));
    std::vector<double> flat;
    flatten(tensor_of_mask["data"], flat);
    for (double m : in_order(flat)) mask.push_back(m != 0);
  }
  RaggedRows rows() const { return {offsets, mask}; }

  std::vector<double> in_order(const std::vector<double>& theirs) const {
    std::vector<double> ours;
    for (size_t row : order)
      for (size_t t = 0; t < width && !theirs.empty(); ++t) ours.push_back(theirs[row * width + t]);
    return ours;
  }
  // Our token array in their order.
  std::vector<double> back(const std::vector<double>& ours) const {
    std::vector<double> theirs(ours.size());
    for (size_t i = 0; i < order.size(); ++i) std::copy_n(&ours[i * width], width, &theirs[order[i] * width]);
    return theirs;
  }
};

// 0, 1, … n-1.
inline std::vector<size_t> plain_order(size_t n) {
  std::vector<size_t> order;
  for (size_t i = 0; i < n; ++i) order.push_back(i);
  return order;
}

// TRL's [chosen; rejected] blocks as adjacent pairs.
inline std::vector<size_t> pair_order(size_t pairs) {
  std::vector<size_t> order;
  for (size_t i = 0; i < pairs; ++i) order.insert(order.end(), {i, pairs + i});
  return order;
}

}  // namespace candor::algorithms::testing
