#include "belief/controls.h"

#include <gtest/gtest.h>

#include "support/golden_model.h"

namespace candor::belief {
namespace {

Proposition row(const std::string& id, std::optional<bool> label, const std::string& topic = "t") {
  Proposition proposition;
  proposition.id = id;
  proposition.topic = topic;
  proposition.label = label;
  return proposition;
}

std::vector<std::string> ids(const std::vector<Proposition>& rows) {
  std::vector<std::string> all;
  for (const Proposition& proposition : rows) all.push_back(proposition.id);
  std::sort(all.begin(), all.end());
  return all;
}

TEST(Controls, OfOneFileAreNeverPropositionsToo) {
  std::vector<Proposition> rows;
  for (int i = 0; i < 40; ++i) rows.push_back(row(fmt::format("{}", i), i % 2 == 0, i < 20 ? "a" : "b"));
  rows.push_back(row("unknown", std::nullopt));
  rows.push_back(row("made up", false));
  rows.back().fabricated = true;
  const AuditRows apart = keep_controls_apart(rows);
  EXPECT_EQ(apart.controls.size(), 21u);
  EXPECT_EQ(apart.propositions.size(), 21u);
  EXPECT_TRUE(check_apart(apart));
  for (const char* topic : {"a", "b"})
    for (const bool label : {true, false}) {
      const auto here = [&](const Proposition& p) { return p.topic == topic && p.label == label && !p.fabricated; };
      EXPECT_EQ(std::count_if(apart.controls.begin(), apart.controls.end(), here), 5) << topic << label;
    }
  EXPECT_EQ(ids(apart.controls).back(), "made up");
  EXPECT_EQ(ids(apart.propositions).back(), "unknown");
  // Another order of the file is the same choice.
  std::reverse(rows.begin(), rows.end());
  EXPECT_EQ(ids(keep_controls_apart(rows).controls), ids(apart.controls));
}

TEST(Controls, AnIdThatStandsInBothFilesIsRefused) {
  AuditRows rows{{row("a", true), row("b", true)}, {row("b", false)}};
  rows.propositions[1].number = 2;
  rows.controls[0].number = 1;
  const auto checked = check_apart(rows);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().message,
            "[audit] \"b\" is proposition 2 and control 1 too. What the instrument is fitted on cannot be audited with "
            "it; drop it from one of the files.");
}

TEST(Controls, ServeByWhatIsKnownOfThem) {
  std::vector<Proposition> rows = {row("true", true), row("recalled", true), row("false", false),
                                   row("unknown", std::nullopt), row("made up", false)};
  rows[1].recall = Recall{"Where?", {"here"}};
  rows[4].fabricated = true;
  const ControlRows all = control_rows(rows, 10);
  EXPECT_EQ(ids(all.recalled), std::vector<std::string>{"recalled"});
  EXPECT_EQ(ids(all.told), std::vector<std::string>{"false"});
  EXPECT_EQ(ids(all.fabricated), std::vector<std::string>{"made up"});
  EXPECT_TRUE(control_rows(rows, 0).told.empty());
}

TEST(Controls, AreGradedByHowOftenTheyAreRecalled) {
  EXPECT_EQ(recall_grade(30), ControlKind::kRecalledAll);
  EXPECT_EQ(recall_grade(29), ControlKind::kRecalledMost);
  EXPECT_EQ(recall_grade(27), ControlKind::kRecalledMost);
  EXPECT_EQ(recall_grade(26), ControlKind::kRecalledMany);
  EXPECT_EQ(recall_grade(21), ControlKind::kRecalledMany);
  EXPECT_EQ(recall_grade(20), std::nullopt);
}

TEST(Controls, RecallLooksForWholeWords) {
  const Recall recall{"Where is Krasnodar?", {"Russia", "the Russian Federation"}};
  EXPECT_TRUE(recalls(recall, "It is in RUSSIA."));
  EXPECT_TRUE(recalls(recall, "the  russian federation, I think"));
  EXPECT_FALSE(recalls(recall, "It is in Belorussia."));
  EXPECT_FALSE(recalls(recall, ""));
}

// models/tiny knows where people live.
struct TinyRecall {
  engine::MemoryLedger ledger;
  ThreadPool pool{2};
  engine::Context context{**engine::select_kernels(""), pool, ledger};
  files::ModelFiles files = testing::value_of(files::open_model(testing::source_dir() / "models/tiny"));
  engine::Model model = testing::value_of(engine::load_model(context, files));
  std::vector<Proposition> rows;
  std::vector<std::vector<int32_t>> prompts;

  TinyRecall() {
    for (const auto& [person, city] : {std::pair{"Mira", "Tarn"}, {"Mira", "Velm"}, {"Bruno", "Dorr"}}) {
      rows.push_back(row(person, true));
      rows.back().recall = Recall{fmt::format("Where does {} live?", person), {city}};
      const auto text =
          fmt::format("<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", rows.back().recall->question);
      prompts.push_back(testing::value_of(files.tokenizer->encode(text, {})));
    }
  }
  std::vector<int64_t> count(eval::Progressed<int64_t> progressed = {}, std::function<bool()> interrupted = {}) {
    const eval::Subject subject{context, model, nullptr, *files.tokenizer};
    return count_recalls(subject, prompts, rows, 3, {.progress = {}, .interrupted = std::move(interrupted)},
                         std::move(progressed))
        .value_or(std::vector<int64_t>{});
  }
};

TEST(Controls, CountWhatAModelRecallsAndGoOnWhereTheyStopped) {
  TinyRecall tiny;
  std::vector<int64_t> told;
  const std::vector<int64_t> all = tiny.count({{}, [&](const int64_t& right) { told.push_back(right); }});
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(told, all);
  EXPECT_GE(all[0], 27);  // it was trained on this
  EXPECT_LE(all[1], 3);
  EXPECT_GE(all[2], 27);
  EXPECT_EQ(tiny.count({{all[0]}, {}}), all);
  EXPECT_EQ(tiny.count({all, {}}), all);
  EXPECT_TRUE(tiny.count({}, [] { return true; }).empty());
}

}  // namespace
}  // namespace candor::belief
