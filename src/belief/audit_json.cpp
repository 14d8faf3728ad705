#include "belief/audit_json.h"

#include <algorithm>
#include <cmath>

namespace candor::belief {

namespace {

using files::Json;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

Json to_json(const statistics::Interval& interval) {
  return {number(interval.low), number(interval.high)};
}

Json to_json(const Share& share) {
  return {
      {"count", share.count}, {"of", share.of}, {"value", number(share.value)}, {"interval", to_json(share.interval)}};
}

Json to_json(const CoherenceGaps& gaps) {
  return {{"negation", number(gaps.negation)},
          {"implication", number(gaps.implication)},
          {"conjunction_above", number(gaps.conjunction_above)},
          {"conjunction_below", number(gaps.conjunction_below)}};
}

Json to_json(const Instrument& instrument) {
  Json kinds = Json::array(), scores = Json::array();
  for (const QuestionKind kind : kQuestionKinds) {
    const KindRates& rates = instrument.evidence.kinds[static_cast<size_t>(kind)];
    kinds.push_back({{"kind", name_of(kind)},
                     {"positive_hits", rates.positive_hits},
                     {"positive_asked", rates.positive_asked},
                     {"negative_hits", rates.negative_hits},
                     {"negative_asked", rates.negative_asked},
                     {"beta", rates.beta},
                     {"eta", rates.eta}});
  }
  for (const Score score : kScores) {
    const ScoreWeight& weight = instrument.scores[static_cast<size_t>(score)];
    scores.push_back({{"score", name_of(score)},
                      {"used", weight.used},
                      {"mean", weight.mean},
                      {"deviation", weight.deviation},
                      {"gamma", weight.gamma}});
  }
  return {{"prior", instrument.prior},
          {"correlation", instrument.evidence.correlation},
          {"intercept", instrument.intercept},
          {"questions", std::move(kinds)},
          {"scores", std::move(scores)}};
}

Json to_json(const ControlRow& row) {
  return {{"kind", name_of(row.kind)},
          {"believes", believes(row.kind)},
          {"asked", row.asked},
          {"right", to_json(row.right)},
          {"sensitivity_without", number(row.sensitivity_without)},
          {"specificity_without", number(row.specificity_without)},
          {"believed_without", number(row.believed_without)}};
}

Json to_json(const ItemResult& item, const Proposition& proposition) {
  Json betrayals = Json::array();
  for (const Betrayal& betrayal : item.betrayals) {
    const SubQuestion& question = proposition.questions[static_cast<size_t>(betrayal.question)];
    const size_t other = 1 - question.if_true;
    betrayals.push_back({{"kind", name_of(question.kind)},
                         {"question", question.text},
                         {"answer", question.options.empty() ? (other == 0 ? "yes" : "no") : question.options[other]},
                         {"log_odds", betrayal.log_odds}});
  }
  return {{"id", item.id},
          {"topic", item.topic},
          {"statement", item.statement},
          {"says", number(item.says)},
          {"said", item.said},
          {"probability", number(item.probability)},
          {"evidence", item.evidence},
          {"posterior", item.posterior},
          {"believed", item.believed},
          {"asked", item.asked},
          {"agreed", item.agreed},
          {"gaps", to_json(item.gaps)},
          {"coherence", number(item.coherence)},
          {"robustness", number(item.robustness)},
          {"truth", number(item.truth)},
          {"use", number(item.use)},
          {"constraints_kept", number(item.constraints_kept)},
          {"neighbor_consistency", number(item.neighbor_consistency)},
          {"honesty", item.honesty ? Json(name_of(*item.honesty)) : Json()},
          {"betrayals", std::move(betrayals)}};
}

// Reads one object. The first thing that is not as it should be is kept, and everything after it reads as nothing.
class Reader {
 public:
  Reader(std::string_view name, std::string where, const Json& json, std::optional<Error>& fault)
      : name_(name), where_(std::move(where)), json_(json), fault_(fault) {}

  int64_t count(const char* key) {
    const Json* value = at(key);
    // Up to 2^53, so that it is the same number as a double.
    if (value && value->is_number_integer() && *value >= 0 && *value <= (int64_t{1} << 53))
      return value->get<int64_t>();
    return complain(key, "a whole number from 0 on"), 0;
  }
  double real(const char* key) {
    const Json* value = at(key);
    if (value && value->is_number()) return value->get<double>();
    if (!value || !value->is_null()) complain(key, "a number or null");
    return kNotAsked;
  }
  bool boolean(const char* key) {
    const Json* value = at(key);
    if (value && value->is_boolean()) return value->get<bool>();
    return complain(key, "true or false"), false;
  }
  std::string text(const char* key) {
    const Json* value = at(key);
    if (value && value->is_string()) return value->get<std::string>();
    return complain(key, "a text"), "";
  }
  const Json* object(const char* key) {
    const Json* value = at(key);
    if (value && value->is_object()) return value;
    return complain(key, "an object"), nullptr;
  }
  const Json* list(const char* key) {
    const Json* value = at(key);
    if (value && value->is_array()) return value;
    return complain(key, "a list"), nullptr;
  }
  bool has(const char* key) {
    const Json* value = at(key);
    return value && !value->is_null();
  }
  void complain(const char* key, std::string_view expected) {
    if (!fault_)
      fault_ = error("[audit] {}: \"{}\"{} is not {}. Is it an audit.json as candor audit writes it?", name_, key,
                     where_, expected);
  }

 private:
  const Json* at(const char* key) {
    if (!json_.is_object()) return nullptr;
    const auto found = json_.find(key);
    return found == json_.end() ? nullptr : &*found;
  }

  std::string_view name_;
  std::string where_;
  const Json& json_;
  std::optional<Error>& fault_;
};

Share read_share(Reader& outer, std::string_view name, const char* key, double confidence,
                 std::optional<Error>& fault) {
  const Json* json = outer.object(key);
  if (!json) return {};
  Reader reader(name, fmt::format(" of \"{}\"", key), *json, fault);
  const int64_t count = reader.count("count"), of = reader.count("of");
  constexpr int64_t kMost = 100'000;  // a comparison draws them all again, two thousand times
  if (count > of) reader.complain("count", "at most \"of\"");
  if (of > kMost) reader.complain("of", "at most 100,000");
  return fault ? Share{} : share(count, of, confidence);
}

ItemResult read_item(Reader& reader) {
  ItemResult item;
  item.id = reader.text("id");
  item.topic = reader.text("topic");
  item.statement = reader.text("statement");
  item.says = reader.real("says");
  item.said = reader.boolean("said");
  item.probability = reader.real("probability");
  item.evidence = reader.real("evidence");
  item.posterior = reader.real("posterior");
  item.believed = reader.boolean("believed");
  item.asked = reader.count("asked");
  item.agreed = reader.count("agreed");
  item.coherence = reader.real("coherence");
  item.robustness = reader.real("robustness");
  item.truth = reader.real("truth");
  item.use = reader.real("use");
  item.constraints_kept = reader.real("constraints_kept");
  item.neighbor_consistency = reader.real("neighbor_consistency");
  return item;
}

}  // namespace

Json audit_json(const AuditResult& result, std::span<const Proposition> propositions) {
  const std::optional<Estimate>& estimate = result.estimate;
  Json json = {{"propositions", result.propositions},
               {"said", result.said},
               {"says_unknown", result.says_unknown},
               {"called_believed", result.called},
               {"all_agree", result.all_agree},
               {"most_agree", result.most_agree},
               {"confidence", result.options.confidence},
               {"believed", estimate ? number(estimate->believed) : Json()},
               {"interval", estimate ? to_json(estimate->interval) : Json()},
               {"good_liar_rate", estimate ? number(estimate->good_liar_rate()) : Json()},
               {"uncorrected", estimate ? number(estimate->uncorrected) : Json()},
               {"standard_error", estimate ? number(estimate->standard_error) : Json()},
               {"undetermined", result.undetermined},
               {"notes", result.notes},
               {"sensitivity", to_json(result.sensitivity)},
               {"specificity", to_json(result.specificity)},
               {"instrument", to_json(result.instrument)}};
  for (const char* list : {"controls", "topics", "most_dishonest", "reliability"}) json[list] = Json::array();
  for (const ControlRow& row : result.controls) json["controls"].push_back(to_json(row));
  for (const TopicRow& row : result.topics)
    json["topics"].push_back({{"topic", row.topic},
                              {"propositions", row.propositions},
                              {"said", row.said},
                              {"called_believed", row.called},
                              {"believed", number(row.believed)},
                              {"interval", std::isnan(row.believed) ? Json() : to_json(row.interval)}});
  for (const int64_t place : result.most_dishonest)
    json["most_dishonest"].push_back(result.items[static_cast<size_t>(place)].id);
  for (const ReliabilityBin& bin : result.reliability)
    json["reliability"].push_back({{"low", bin.low},
                                   {"high", bin.high},
                                   {"positive", bin.positive},
                                   {"negative", bin.negative},
                                   {"posterior", number(bin.posterior)},
                                   {"believed", number(bin.believed)}});
  json["gaps"] = to_json(result.mean_gaps);
  json["pressure"] = Json::array();
  for (const PressureRow& row : result.pressure)
    json["pressure"].push_back({{"kind", name_of(row.kind)},
                                {"level", row.level},
                                {"asked", row.asked},
                                {"flipped", row.flipped},
                                {"shift", number(row.shift)}});
  json["honesty"] = Json::object();
  for (const Honesty honesty : kHonesties)
    json["honesty"][std::string(name_of(honesty))] = result.honesty[static_cast<size_t>(honesty)];
  json["items"] = Json::array();
  for (size_t i = 0; i < result.items.size(); ++i) json["items"].push_back(to_json(result.items[i], propositions[i]));
  return json;
}

Result<AuditResult> parse_audit(const Json& json, std::string_view name) {
  std::optional<Error> fault;
  Reader reader(name, "", json, fault);
  AuditResult out;
  out.propositions = reader.count("propositions");
  out.said = reader.count("said");
  out.says_unknown = reader.count("says_unknown");
  out.called = reader.count("called_believed");
  out.all_agree = reader.count("all_agree");
  out.most_agree = reader.count("most_agree");
  out.options.confidence = reader.real("confidence");
  if (!(out.options.confidence > 0 && out.options.confidence < 1)) reader.complain("confidence", "between 0 and 1");
  if (fault) return *fault;
  out.undetermined = reader.text("undetermined");
  out.sensitivity = read_share(reader, name, "sensitivity", out.options.confidence, fault);
  out.specificity = read_share(reader, name, "specificity", out.options.confidence, fault);
  if (reader.has("believed")) {
    Estimate estimate;
    estimate.believed = reader.real("believed");
    estimate.uncorrected = reader.real("uncorrected");
    estimate.standard_error = reader.real("standard_error");
    const Json* interval = reader.list("interval");
    if (!interval || interval->size() != 2 || !(*interval)[0].is_number() || !(*interval)[1].is_number())
      reader.complain("interval", "two numbers");
    else
      estimate.interval = {(*interval)[0].get<double>(), (*interval)[1].get<double>()};
    if (!(out.sensitivity.value + out.specificity.value > 1))
      reader.complain("believed", "possible with this sensitivity and specificity");
    out.estimate = estimate;
  }
  if (const Json* items = reader.list("items"))
    for (size_t i = 0; i < items->size() && !fault; ++i) {
      Reader item(name, fmt::format(" of item {}", i + 1), (*items)[i], fault);
      out.items.push_back(read_item(item));
    }
  if (fault) return *fault;
  return out;
}

Json comparison_json(const AuditComparison& comparison, const AuditResult& after) {
  const auto paired = [](const statistics::PairedCounts& counts, double p) {
    return Json{{"both", counts.both},
                {"only_before", counts.only_before},
                {"only_after", counts.only_after},
                {"neither", counts.neither},
                {"p_value", p}};
  };
  const auto ids = [&](const std::vector<int64_t>& places) {
    Json list = Json::array();
    for (const int64_t place : places) list.push_back(after.items[static_cast<size_t>(place)].id);
    return list;
  };
  return {{"sentence", sentence(comparison, after.options.confidence)},
          {"items", comparison.items},
          {"left_out_before", comparison.only_before},
          {"left_out_after", comparison.only_after},
          {"said", paired(comparison.said, comparison.said_p)},
          {"called_believed", paired(comparison.believed, comparison.believed_p)},
          {"believed_before", comparison.believed_before ? Json(*comparison.believed_before) : Json()},
          {"believed_after", comparison.believed_after ? Json(*comparison.believed_after) : Json()},
          {"difference_interval", comparison.difference ? to_json(*comparison.difference) : Json()},
          {"gained", ids(comparison.gained)},
          {"lost", ids(comparison.lost)}};
}

Json probe_json(const ProbeReport& report) {
  Json topics = Json::array();
  for (const ProbeTopic& topic : report.topics)
    topics.push_back({{"topic", topic.topic},
                      {"rows", topic.rows},
                      {"auroc", number(topic.auroc)},
                      {"accuracy", number(topic.accuracy)}});
  return {{"kind", name_of(report.kind)},
          {"auroc", number(report.auroc)},
          {"accuracy", number(report.accuracy)},
          {"shuffled_auroc", number(report.shuffled_auroc)},
          {"plausibility_auroc", number(report.plausibility_auroc)},
          {"truth_by_plausibility", number(report.truth_by_plausibility)},
          {"topics", std::move(topics)}};
}

}  // namespace candor::belief
