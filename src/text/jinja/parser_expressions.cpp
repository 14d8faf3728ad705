// Expressions, from the loosest binding (a if b else c) to the tightest.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/filters.h"
#include "text/jinja/parser_impl.h"
#include "text/jinja/tests.h"

namespace candor::text::jinja {

ExprPtr Parser::make(ExprKind kind) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = current().line;
  return node;
}

Result<ExprPtr> Parser::finish(ExprPtr node) const {
  int deepest = 0;
  auto look_at = [&](const ExprPtr& kid) { deepest = std::max(deepest, kid ? kid->depth : 0); };
  for (const ExprPtr& kid : node->kids) look_at(kid);
  for (const ExprPtr& kid : node->arguments.positional) look_at(kid);
  for (const auto& [name, kid] : node->arguments.named) look_at(kid);
  look_at(node->arguments.star);
  look_at(node->arguments.star_star);
  node->depth = deepest + 1;
  if (node->depth > kMaxTreeDepth)
    return fail(fmt::format("the expression nests deeper than {} levels", kMaxTreeDepth));
  return node;
}

Result<ExprPtr> Parser::binary(ExprKind kind, ExprPtr left, ExprPtr right) const {
  auto node = make(kind);
  node->line = left->line;
  node->kids.push_back(std::move(left));
  node->kids.push_back(std::move(right));
  return finish(std::move(node));
}

Result<ExprPtr> Parser::parse_tuple(bool conditional, std::string_view end_name, bool parenthesized, bool simple) {
  auto tuple = make(ExprKind::tuple);
  bool is_tuple = false;
  while (true) {
    if (!tuple->kids.empty()) TRY(expect_op(","));
    bool ended = current().kind == TokenKind::variable_end || current().kind == TokenKind::block_end || is_op(")") ||
                 (!end_name.empty() && is_name(end_name));
    if (ended) break;
    tuple->kids.push_back(simple ? TRY(parse_primary()) : conditional ? TRY(parse_expression()) : TRY(parse_or()));
    if (!is_op(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return finish(std::move(tuple));
  if (!tuple->kids.empty()) return std::move(tuple->kids[0]);
  if (!parenthesized) return fail(fmt::format("Expected an expression, got '{}'", describe(current())));
  return finish(std::move(tuple));
}

Result<ExprPtr> Parser::parse_expression() {
  return parse_conditional();
}

Result<ExprPtr> Parser::parse_conditional() {
  Deeper deeper(depth_);
  if (deeper.too_deep()) return fail(fmt::format("the template nests deeper than {} levels", kMaxTreeDepth));
  size_t unknown = unknown_.size();
  ExprPtr value = TRY(parse_or());
  while (skip_name("if")) {
    auto node = make(ExprKind::conditional);
    node->kids.push_back(TRY(parse_or()));
    node->kids.push_back(std::move(value));
    if (skip_name("else")) node->kids.push_back(TRY(parse_conditional()));
    value = TRY(finish(std::move(node)));
    unknown_.resize(unknown);  // unknown filters in a conditional are errors only when they run
  }
  return value;
}

Result<ExprPtr> Parser::parse_or() {
  ExprPtr left = TRY(parse_and());
  while (skip_name("or")) left = TRY(binary(ExprKind::logical_or, std::move(left), TRY(parse_and())));
  return left;
}

Result<ExprPtr> Parser::parse_and() {
  ExprPtr left = TRY(parse_not());
  while (skip_name("and")) left = TRY(binary(ExprKind::logical_and, std::move(left), TRY(parse_not())));
  return left;
}

Result<ExprPtr> Parser::parse_not() {
  if (!is_name("not")) return parse_comparison();
  Deeper deeper(depth_);
  if (deeper.too_deep()) return fail(fmt::format("the template nests deeper than {} levels", kMaxTreeDepth));
  auto node = make(ExprKind::logical_not);
  next();
  node->kids.push_back(TRY(parse_not()));
  return finish(std::move(node));
}

Result<ExprPtr> Parser::parse_comparison() {
  static constexpr std::pair<std::string_view, Comparison> kOperators[] = {
      {"==", Comparison::eq}, {"!=", Comparison::ne}, {"<", Comparison::lt},
      {"<=", Comparison::le}, {">", Comparison::gt},  {">=", Comparison::ge}};
  auto node = make(ExprKind::compare);
  node->kids.push_back(TRY(parse_sum()));
  while (true) {
    auto found =
        std::find_if(std::begin(kOperators), std::end(kOperators), [&](const auto& o) { return is_op(o.first); });
    if (found != std::end(kOperators)) {
      next();
      node->comparisons.push_back(found->second);
    } else if (skip_name("in")) {
      node->comparisons.push_back(Comparison::in);
    } else if (is_name("not") && look().kind == TokenKind::name && look().text == "in") {
      next();
      next();
      node->comparisons.push_back(Comparison::not_in);
    } else {
      break;
    }
    node->kids.push_back(TRY(parse_sum()));
  }
  if (node->comparisons.empty()) return std::move(node->kids[0]);
  return finish(std::move(node));
}

Result<ExprPtr> Parser::parse_sum() {
  ExprPtr left = TRY(parse_concat());
  while (is_op("+") || is_op("-")) {
    ExprKind kind = is_op("+") ? ExprKind::add : ExprKind::subtract;
    next();
    left = TRY(binary(kind, std::move(left), TRY(parse_concat())));
  }
  return left;
}

Result<ExprPtr> Parser::parse_concat() {
  auto node = make(ExprKind::concat);
  node->kids.push_back(TRY(parse_product()));
  while (skip_op("~")) node->kids.push_back(TRY(parse_product()));
  if (node->kids.size() == 1) return std::move(node->kids[0]);
  return finish(std::move(node));
}

Result<ExprPtr> Parser::parse_product() {
  ExprPtr left = TRY(parse_power());
  while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
    ExprKind kind = is_op("*")    ? ExprKind::multiply
                    : is_op("/")  ? ExprKind::divide
                    : is_op("//") ? ExprKind::floor_divide
                                  : ExprKind::modulo;
    next();
    left = TRY(binary(kind, std::move(left), TRY(parse_power())));
  }
  return left;
}

Result<ExprPtr> Parser::parse_power() {
  ExprPtr left = TRY(parse_unary());
  while (skip_op("**")) left = TRY(binary(ExprKind::power, std::move(left), TRY(parse_unary())));
  return left;
}

Result<ExprPtr> Parser::parse_unary(bool with_filter) {
  ExprPtr node;
  if (is_op("-") || is_op("+")) {
    Deeper deeper(depth_);
    if (deeper.too_deep()) return fail(fmt::format("the template nests deeper than {} levels", kMaxTreeDepth));
    node = make(is_op("-") ? ExprKind::negate : ExprKind::plus);
    next();
    node->kids.push_back(TRY(parse_unary(false)));
    node = TRY(finish(std::move(node)));
  } else {
    node = TRY(parse_primary());
  }
  node = TRY(parse_postfix(std::move(node)));
  return with_filter ? parse_filters_and_tests(std::move(node)) : Result<ExprPtr>(std::move(node));
}

Result<ExprPtr> Parser::parse_primary() {
  auto node = make(ExprKind::constant);
  const Token token = current();
  if (token.kind == TokenKind::name) {
    next();
    if (token.text == "true" || token.text == "True") {
      node->value = Value(true);
    } else if (token.text == "false" || token.text == "False") {
      node->value = Value(false);
    } else if (token.text != "none" && token.text != "None") {
      node->kind = ExprKind::name;
      node->name = token.text;
      for (Uses& uses : macros_) {
        uses.varargs |= token.text == "varargs";
        uses.kwargs |= token.text == "kwargs";
        uses.caller |= token.text == "caller";
      }
    }
    return finish(std::move(node));
  }
  if (token.kind == TokenKind::string) {
    std::string text;
    while (current().kind == TokenKind::string) text += next().text;
    node->value = Value(std::move(text));
    return finish(std::move(node));
  }
  if (token.kind == TokenKind::integer || token.kind == TokenKind::floating) return parse_number();
  if (skip_op("(")) {
    node = TRY(parse_tuple(true, {}, true));
    TRY(expect_op(")"));
    return node;
  }
  if (is_op("[")) return parse_list();
  if (is_op("{")) return parse_dict();
  return fail(fmt::format("unexpected '{}'", describe(token)));
}

Result<ExprPtr> Parser::parse_number() {
  auto node = make(ExprKind::constant);
  const Token token = next();
  if (token.kind == TokenKind::floating) {
    double value = 0;
    auto [end, code] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
    if (code == std::errc::result_out_of_range) {
      // from_chars leaves the value alone: too large, or too small where the exponent is negative
      value = token.text.find("e-") != std::string::npos || token.text.find("E-") != std::string::npos ? 0.0 : HUGE_VAL;
    }
    node->value = Value(value);
    return finish(std::move(node));
  }
  char prefix = token.text.size() > 2 ? static_cast<char>(token.text[1] | 0x20) : ' ';
  int base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
  auto value = token.text.size() > 5000 ? std::nullopt
                                        : BigInt::parse(std::string_view(token.text).substr(base == 10 ? 0 : 2), base);
  if (!value) return at_line(token.line, "a number of the template is too long");
  node->value = Value(std::move(*value));
  return finish(std::move(node));
}

Result<ExprPtr> Parser::parse_list() {
  auto node = make(ExprKind::list);
  TRY(expect_op("["));
  while (!is_op("]")) {
    if (!node->kids.empty()) TRY(expect_op(","));
    if (is_op("]")) break;
    node->kids.push_back(TRY(parse_expression()));
  }
  TRY(expect_op("]"));
  return finish(std::move(node));
}

Result<ExprPtr> Parser::parse_dict() {
  auto node = make(ExprKind::dict);
  TRY(expect_op("{"));
  while (!is_op("}")) {
    if (!node->kids.empty()) TRY(expect_op(","));
    if (is_op("}")) break;
    node->kids.push_back(TRY(parse_expression()));
    TRY(expect_op(":"));
    node->kids.push_back(TRY(parse_expression()));
  }
  TRY(expect_op("}"));
  return finish(std::move(node));
}

Result<ExprPtr> Parser::parse_postfix(ExprPtr node) {
  while (true) {
    if (is_op(".") || is_op("[")) {
      node = TRY(parse_subscript(std::move(node)));
    } else if (is_op("(")) {
      node = TRY(parse_call(std::move(node)));
    } else {
      return node;
    }
  }
}

Result<ExprPtr> Parser::parse_filters_and_tests(ExprPtr node) {
  while (true) {
    if (is_op("|")) {
      node = TRY(parse_filter(std::move(node), false));
    } else if (is_name("is")) {
      node = TRY(parse_test(std::move(node)));
    } else if (is_op("(")) {
      node = TRY(parse_call(std::move(node)));
    } else {
      return node;
    }
  }
}

Result<ExprPtr> Parser::parse_subscript(ExprPtr node) {
  auto result = make(ExprKind::item);
  if (next().text == ".") {
    const Token token = next();
    result->kids.push_back(std::move(node));
    if (token.kind == TokenKind::name) {
      result->kind = ExprKind::attribute;
      result->name = token.text;
      return finish(std::move(result));
    }
    if (token.kind != TokenKind::integer) return at_line(token.line, "expected name or number");
    --at_;
    result->kids.push_back(TRY(parse_number()));
    return finish(std::move(result));
  }
  auto keys = make(ExprKind::tuple);
  while (!is_op("]")) {
    if (!keys->kids.empty()) TRY(expect_op(","));
    keys->kids.push_back(TRY(parse_subscribed()));
  }
  TRY(expect_op("]"));
  result->kids.push_back(std::move(node));
  result->kids.push_back(keys->kids.size() == 1 ? std::move(keys->kids[0]) : TRY(finish(std::move(keys))));
  return finish(std::move(result));
}

Result<ExprPtr> Parser::parse_subscribed() {
  auto slice = make(ExprKind::slice);
  slice->kids.resize(3);
  if (!is_op(":")) {
    ExprPtr node = TRY(parse_expression());
    if (!is_op(":")) return node;
    slice->kids[0] = std::move(node);
  }
  for (size_t part = 1; part < 3 && skip_op(":"); ++part) {
    if (!is_op(":") && !is_op("]") && !is_op(",")) slice->kids[part] = TRY(parse_expression());
  }
  return finish(std::move(slice));
}

Result<ExprPtr> Parser::parse_call(ExprPtr node) {
  auto call = make(ExprKind::call);
  call->arguments = TRY(parse_arguments());
  call->kids.push_back(std::move(node));
  return finish(std::move(call));
}

Result<CallArguments> Parser::parse_arguments() {
  CallArguments arguments;
  TRY(expect_op("("));
  bool first = true;
  auto invalid = [this] { return fail("invalid syntax for function call expression"); };
  while (!is_op(")")) {
    if (!first) {
      TRY(expect_op(","));
      if (is_op(")")) break;
    }
    first = false;
    if (skip_op("*")) {
      if (arguments.star || arguments.star_star) return invalid();
      arguments.star = TRY(parse_expression());
    } else if (skip_op("**")) {
      if (arguments.star_star) return invalid();
      arguments.star_star = TRY(parse_expression());
    } else if (current().kind == TokenKind::name && look().kind == TokenKind::op && look().text == "=") {
      if (arguments.star_star) return invalid();
      std::string name = next().text;
      next();
      for (const auto& [known, value] : arguments.named) {
        if (known == name) return fail(fmt::format("keyword argument repeated: {}", name));
      }
      arguments.named.emplace_back(std::move(name), TRY(parse_expression()));
    } else {
      if (arguments.star || arguments.star_star || !arguments.named.empty()) return invalid();
      arguments.positional.push_back(TRY(parse_expression()));
    }
  }
  TRY(expect_op(")"));
  return arguments;
}

// `node` is null for the filters of a block, whose first input is the block's text.
Result<ExprPtr> Parser::parse_filter(ExprPtr node, bool inline_start) {
  while (is_op("|") || inline_start) {
    if (!inline_start) next();
    inline_start = false;
    auto filter = make(ExprKind::filter);
    filter->name = TRY(expect_any_name());
    while (skip_op(".")) filter->name.append(1, '.').append(TRY(expect_any_name()));
    if (!is_known_filter(filter->name)) {
      unknown_.push_back({fmt::format("No filter named '{}'.", filter->name), filter->line});
    }
    if (is_op("(")) filter->arguments = TRY(parse_arguments());
    filter->kids.push_back(std::move(node));
    node = TRY(finish(std::move(filter)));
  }
  return node;
}

Result<ExprPtr> Parser::parse_test(ExprPtr node) {
  TRY(expect_name("is"));
  auto test = make(ExprKind::test);
  test->negated = skip_name("not");
  test->name = TRY(expect_any_name());
  while (skip_op(".")) test->name.append(1, '.').append(TRY(expect_any_name()));
  if (!is_known_test(test->name)) unknown_.push_back({fmt::format("No test named '{}'.", test->name), test->line});
  bool is_operand = current().kind == TokenKind::name || current().kind == TokenKind::string ||
                    current().kind == TokenKind::integer || current().kind == TokenKind::floating || is_op("[") ||
                    is_op("{");
  if (is_op("(")) {
    test->arguments = TRY(parse_arguments());
  } else if (is_operand && !is_name("else") && !is_name("or") && !is_name("and")) {
    if (is_name("is")) return fail("You cannot chain multiple tests with is");
    test->arguments.positional.push_back(TRY(parse_postfix(TRY(parse_primary()))));
  }
  test->kids.push_back(std::move(node));
  return finish(std::move(test));
}

}  // namespace candor::text::jinja
