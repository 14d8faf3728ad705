// Every case of the template oracles (../shared/golden/text/templates), and small templates of our own that need none.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <map>

#include "support/oracle.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/parser.h"

namespace candor::text {
namespace {

using candor::testing::golden;
using candor::testing::read_text;

std::tm oracle_moment() {  // 2026-07-04 09:05:03, a Saturday
  std::tm moment = {};
  moment.tm_year = 126;
  moment.tm_mon = 6;
  moment.tm_mday = 4;
  moment.tm_hour = 9;
  moment.tm_min = 5;
  moment.tm_sec = 3;
  moment.tm_wday = 6;
  moment.tm_yday = 184;
  return moment;
}

Result<Rendered> render(std::string_view source, const Json& messages, RenderOptions options = {}) {
  if (!options.now) options.now = oracle_moment();
  ChatTemplate chat = TRY(ChatTemplate::parse(source));
  return chat.render(messages, options);
}

std::string text_of(std::string_view source, const Json& messages, const RenderOptions& options = {}) {
  auto rendered = render(source, messages, options);
  return rendered ? rendered->text : "ERROR " + rendered.error().message;
}

std::string error_of(std::string_view source) {
  auto rendered = render(source, Json::parse(R"([{"role": "user", "content": "Hi"}])"));
  return rendered ? "no error: " + rendered->text : rendered.error().message;
}

const Json kTalk = Json::parse(R"([
  {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}])");

constexpr std::string_view kChatMl =
    "{% for m in messages %}\n"
    "<|im_start|>{{ m.role }}\n"
    "{% if m['role'] == 'assistant' %}\n"
    "{% generation %}{{ m['content'] | trim }}<|im_end|>{% endgeneration %}\n\n"
    "{% else %}\n"
    "{{ m['content'] | trim }}<|im_end|>\n"
    "{% endif %}\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

TEST(ChatTemplate, RendersChatMl) {
  EXPECT_EQ(text_of(kChatMl, kTalk),
            "<|im_start|>system\nBe "
            "brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n");
  RenderOptions options;
  options.add_generation_prompt = true;
  EXPECT_EQ(text_of(kChatMl, Json::parse(R"([{"role": "user", "content": "Hi"}])"), options),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, ReportsAssistantSpansInBytes) {
  auto rendered =
      render(kChatMl, Json::parse(R"([{"role": "user", "content": "é"}, {"role": "assistant", "content": "오"}])"));
  ASSERT_TRUE(rendered) << rendered.error().message;
  ASSERT_EQ(rendered->assistant_spans.size(), 1u);
  auto [start, end] = rendered->assistant_spans[0];
  EXPECT_EQ(rendered->text.substr(start, end - start), "오<|im_end|>");
}

TEST(ChatTemplate, ContinuesTheFinalMessage) {
  RenderOptions options;
  options.continue_final_message = true;
  EXPECT_EQ(text_of("{% for m in messages %}<{{ m.content }}>{% endfor %}", kTalk, options), "<Be brief.><Hi><Hello!");
  options.add_generation_prompt = true;
  EXPECT_NE(text_of(kChatMl, kTalk, options).find("exclude each other"), std::string::npos);
}

TEST(ChatTemplate, PreparesMessages) {
  Json messages = Json::parse(R"([{"role": "user", "content": null, "thinking": "t"}])");
  EXPECT_EQ(text_of("{{ messages[0] }}{{ tools is defined }}{{ tools is none }}", messages),
            "{'role': 'user', 'thinking': 't', 'reasoning_content': 't', 'reasoning': 't'}TrueTrue");
  EXPECT_EQ(text_of("x", Json::array()), "ERROR [chat template] there is no message to render");
  EXPECT_EQ(text_of("x", Json::parse(R"(["a"])")),
            "ERROR [chat template] message 1 must be an object with \"role\" and \"content\", got string");
  EXPECT_EQ(text_of("x", Json::parse("3")), "ERROR [chat template] messages must be a list of objects, got number");
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("a\n\n{{ raise_exception('No good: ' ~ messages[0].role) }}"),
            "[chat template] line 3: No good: user");
  EXPECT_EQ(error_of("a\n{% if true %}\n{{ 1 + }}{% endif %}"),
            "[chat template] line 3: unexpected 'end of print statement'");
  EXPECT_EQ(error_of("\n{{ missing.x }}"), "[chat template] line 2: 'missing' is undefined");
  EXPECT_EQ(error_of("{{ 'a'|nope }}"), "[chat template] line 1: No filter named 'nope'.");
  EXPECT_EQ(error_of("{% include 'x' %}"),
            "[chat template] line 1: {% include %}: a chat template cannot load other templates");
}

TEST(ChatTemplate, HostileTemplatesEndInErrors) {
  auto nested = [](size_t depth, std::string_view open, std::string_view middle, std::string_view close) {
    std::string text;
    for (size_t i = 0; i < depth; ++i) text += open;
    text += middle;
    for (size_t i = 0; i < depth; ++i) text += close;
    return text;
  };
  EXPECT_NE(error_of("{{ " + nested(100000, "(", "1", ")") + " }}").find("nests deeper"), std::string::npos);
  EXPECT_NE(error_of("{{ " + nested(100000, "[", "", "]") + " }}").find("nests deeper"), std::string::npos);
  EXPECT_NE(error_of("{{ " + nested(100000, "not ", "1", "") + " }}").find("nests deeper"), std::string::npos);
  EXPECT_NE(error_of("{{ " + nested(100000, "-", "1", "") + " }}").find("nests deeper"), std::string::npos);
  EXPECT_NE(error_of("{{ 1" + nested(100000, "+1", "", "") + " }}").find("nests deeper"), std::string::npos);
  EXPECT_NE(error_of("{{ x" + nested(100000, ".x", "", "") + " }}").find("nests deeper"), std::string::npos);
  EXPECT_NE(error_of("{{ x" + nested(100000, "|trim", "", "") + " }}").find("nests deeper"), std::string::npos);
  EXPECT_NE(error_of(nested(100000, "{% if 1 %}", "", "{% endif %}")).find("nests deeper"), std::string::npos);
  EXPECT_NE(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find("nest too deeply"), std::string::npos);
  EXPECT_NE(error_of("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}").find("nest too deeply"),
            std::string::npos);
  EXPECT_NE(error_of("{% set n = namespace(l=[]) %}{% for x in range(9999) %}{% set n.l = [n.l] %}{% endfor %}")
                .find("nests deeper"),
            std::string::npos);
  EXPECT_NE(error_of("{% set n = namespace() %}{% set n.n = n %}{{ n }}").find("too deeply"), std::string::npos);
  EXPECT_NE(
      error_of("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}").find("10000000 steps"),
      std::string::npos);
  EXPECT_NE(error_of("{{ 'ab' * 99999999999 }}").find("64 MiB"), std::string::npos);
  EXPECT_NE(error_of("{{ [1] * 99999999999 }}").find("too long"), std::string::npos);
  EXPECT_NE(error_of("{{ 9 ** 99999999 }}").find("an integer grows"), std::string::npos);
  EXPECT_NE(error_of("{{ '%99999999999d' % 1 }}").find("too large"), std::string::npos);
  EXPECT_NE(error_of("{% set x = namespace(a='x' * 60000000) %}{{ x.a }}{{ x.a }}").find("64 MiB"), std::string::npos);
  EXPECT_NE(error_of("{% set n = namespace(a=[[], []]) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% endfor %}"
                     "{% set m = namespace(a=[[], []]) %}{% for i in range(60) %}{% set m.a = [m.a, m.a] %}{% endfor %}"
                     "{{ n.a == m.a }}")
                .find("steps"),
            std::string::npos);
  EXPECT_NE(error_of("a\xff").find("not UTF-8 at byte 1"), std::string::npos);
}

TEST(ChatTemplate, RingsOfReferencesAreFreed) {  // the sanitizer's leak check is the assertion
  EXPECT_EQ(error_of("{% set n = namespace() %}{% macro f() %}{% endmacro %}{% set n.f = f %}{% set n.n = n %}"
                     "{% for x in [1] %}{% set n.l = loop %}{{ loop.changed(loop) }}{% endfor %}"),
            "no error: True");
}

// Cuts, doubles and swaps pieces of templates; nothing that comes out may crash, hang or be unbounded.
TEST(ChatTemplate, MutatedTemplatesDoNotCrash) {
  const std::string seeds[] = {
      std::string(kChatMl),
      "{% macro f(a, b=[1]) %}{{ caller(a) }}{{ varargs }}{% endmacro %}{% call(x) f(1, 2, *[3], **{'b': 4}) %}{{ x "
      "}}{% endcall %}",
      "{{ messages|selectattr('role','equalto','user')|map(attribute='content')|join('|') }}{{ 'a'.split()[::-1] }}",
      "{% set ns = namespace(n=0) %}{% for k, v in {'a': 1}.items() recursive %}{% set ns.n = ns.n + v %}{{ loop.index "
      "}}{% endfor %}",
      "{{ '%5.2f|%s' % (1.5, 'x') }}{{ '{:>5}{!r}'.format(1, 'a') }}{{ [1, {'a': none}]|tojson(indent=2) }}{# c #}{% "
      "raw %}{{{% endraw %}"};
  uint64_t state = 0x9E3779B97F4A7C15;
  auto draw = [&state](size_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>(state >> 33) % below;
  };
  size_t errors = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = seeds[draw(std::size(seeds))];
    for (size_t edits = 1 + draw(4); edits > 0 && !text.empty(); --edits) {
      size_t at = draw(text.size()), length = 1 + draw(6);
      switch (draw(4)) {
        case 0:
          text.erase(at, length);
          break;
        case 1:
          text.insert(at, text.substr(draw(text.size()), length));
          break;
        case 2:
          text[at] = static_cast<char>(draw(256));
          break;
        default:
          text.insert(at, 1, "{}%()[]|.~*'\"-\n"[draw(15)]);
      }
    }
    errors += !render(text, kTalk).has_value();
  }
  EXPECT_GT(errors, 1000u);
  EXPECT_LT(errors, 4000u);
}

// What differs between an answer and the oracle's row, or nothing. Messages count where the template itself raises.
std::string difference(const Result<Rendered>& got, const Json& row, const char* key) {
  if (row.contains(key)) {
    if (!got) return "unexpected error: " + got.error().message;
    if (got->text != row[key].get<std::string>()) return "got " + Json(got->text).dump() + "\nnot " + row[key].dump();
    return "";
  }
  if (got) return "no error but " + Json(got->text).dump() + "\nnot " + row["error"].dump();
  std::string message = row["error"]["message"];
  if (row["error"]["type"] == "TemplateError" && !got.error().message.ends_with(": " + message)) {
    return "error " + got.error().message + "\nnot " + message;
  }
  return "";
}

TEST(ChatTemplateOracle, JinjaCases) {
  auto path = golden("text/templates/jinja_cases.json");
  CANDOR_REQUIRE_FILE(path);
  Json oracle = Json::parse(read_text(path));
  jinja::Value context = *jinja::from_json(oracle["context"]);
  size_t cases = 0;
  for (const Json& row : oracle["cases"]) {
    std::string name = row["name"], source = row["template"];
    auto got = [&]() -> Result<Rendered> {
      jinja::Body body = TRY(jinja::parse_template(source));
      return Rendered {
        TRY(jinja::evaluate(body, *context.dict(), oracle_moment()))
        .text, {}
      };
    }();
    std::string wrong = difference(got, row, "output");
    EXPECT_EQ(wrong, "") << name << ": " << source;
    bool located = !row.contains("error") || !row["error"].contains("line") || name == "err_break_outside" || got ||
                   got.error().message.starts_with("[chat template] line " + row["error"]["line"].dump() + ":");
    EXPECT_TRUE(located) << name << ": " << (got ? "" : got.error().message);
    ++cases;
  }
  EXPECT_EQ(cases, 379u);
}

std::map<std::string, Json> conversations() {
  std::map<std::string, Json> by_name;
  Json file = Json::parse(read_text(golden("text/templates/conversations.json")));
  for (const Json& row : file["conversations"]) by_name[row["name"]] = row;
  return by_name;
}

RenderOptions options_of(const Json& conversation, const Json& special_tokens) {
  RenderOptions options;
  options.now = oracle_moment();
  options.tools = conversation["tools"];
  options.documents = conversation["documents"];
  options.extra = special_tokens;
  return options;
}

std::string template_source(const std::string& name) {
  return read_text(golden("text/templates/" + name + ".jinja"));
}

TEST(ChatTemplateOracle, Renders) {
  auto path = golden("text/templates/renders.json");
  CANDOR_REQUIRE_FILE(path);
  Json oracle = Json::parse(read_text(path));
  auto talks = conversations();
  std::map<std::string, ChatTemplate> templates;
  size_t renders = 0, errors = 0;
  for (const Json& row : oracle["renders"]) {
    std::string name = row["template"];
    if (!templates.contains(name)) {
      auto parsed = ChatTemplate::parse(template_source(name));
      ASSERT_TRUE(parsed) << name << ": " << parsed.error().message;
      templates.emplace(name, std::move(*parsed));
    }
    const Json& talk = talks.at(row["conversation"]);
    RenderOptions options = options_of(talk, oracle["special_tokens"][name]);
    for (const auto& [key, value] : row.items()) {
      if (key == "template" || key == "conversation" || key == "text" || key == "error") continue;
      if (key == "add_generation_prompt") {
        options.add_generation_prompt = value;
      } else if (key == "continue_final_message") {
        options.continue_final_message = value;
      } else {
        options.extra[key] = value;
      }
    }
    std::string wrong = difference(templates.at(name).render(talk["messages"], options), row, "text");
    EXPECT_EQ(wrong, "") << name << " over " << row["conversation"];
    ++renders;
    errors += row.contains("error");
  }
  EXPECT_EQ(renders, 2391u);
  EXPECT_EQ(errors, 384u);
}

size_t code_points_before(const std::string& text, size_t byte) {
  return static_cast<size_t>(std::count_if(text.begin(), text.begin() + static_cast<ptrdiff_t>(byte),
                                           [](char c) { return (c & 0xC0) != 0x80; }));
}

Json spans_of(const Rendered& rendered) {  // in code points, as the oracle counts
  Json spans = Json::array();
  for (auto [start, end] : rendered.assistant_spans) {
    spans.push_back({code_points_before(rendered.text, start), code_points_before(rendered.text, end)});
  }
  return spans;
}

TEST(ChatTemplateOracle, AssistantSpans) {
  auto path = golden("text/templates/masks.json");
  CANDOR_REQUIRE_FILE(path);
  Json oracle = Json::parse(read_text(path));
  auto talks = conversations();
  size_t compared = 0;
  for (const Json& row : oracle["masks"]) {
    if (!row.contains("spans")) continue;
    std::string name = row["template"];
    const Json& talk = talks.at(row["conversation"]);
    auto got = render(template_source(name), talk["messages"], options_of(talk, oracle["special_tokens"][name]));
    ASSERT_TRUE(got) << name << ": " << got.error().message;
    EXPECT_EQ(got->text, row["text"].get<std::string>()) << name;
    EXPECT_EQ(spans_of(*got).dump(), row["spans"].dump()) << name << " over " << row["conversation"];
    ++compared;
  }
  for (const Json& row : oracle["edges"]) {
    if (!row.contains("spans")) continue;
    auto got = render(row["template"].get<std::string>(), row["messages"]);
    ASSERT_TRUE(got) << row["name"] << ": " << got.error().message;
    EXPECT_EQ(got->text, row["text"].get<std::string>()) << row["name"];
    EXPECT_EQ(spans_of(*got).dump(), row["spans"].dump()) << row["name"];
    ++compared;
  }
  EXPECT_GT(compared, 200u);
}

// The tests above must be able to fail: an interpreter without trim_blocks would print this differently.
TEST(ChatTemplate, TrimBlocksIsOn) {
  EXPECT_EQ(text_of("a\n  {% if true %}\nb\n  {% endif %}\nc", kTalk), "a\nb\nc");
  EXPECT_NE(text_of("a\n  {%+ if true +%}\nb\n  {% endif %}\nc", kTalk), "a\nb\nc");
}

}  // namespace
}  // namespace candor::text
