// Statements; expressions are in parser_expressions.cpp.
#include "text/jinja/parser.h"

#include <algorithm>

#include "text/jinja/parser_impl.h"

namespace candor::text::jinja {

Token Parser::next() {
  Token token = current();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool Parser::skip_op(std::string_view op) {
  if (!is_op(op)) return false;
  next();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  next();
  return true;
}

Result<void> Parser::expect_op(std::string_view op) {
  if (!is_op(op)) return fail(fmt::format("expected token '{}', got '{}'", op, describe(current())));
  next();
  return {};
}

Result<void> Parser::expect_name(std::string_view name) {
  if (!is_name(name)) return fail(fmt::format("expected token '{}', got '{}'", name, describe(current())));
  next();
  return {};
}

Result<void> Parser::expect(TokenKind kind, std::string_view words) {
  if (current().kind != kind) return fail(fmt::format("expected token '{}', got '{}'", words, describe(current())));
  next();
  return {};
}

Result<std::string> Parser::expect_any_name() {
  if (current().kind != TokenKind::name)
    return fail(fmt::format("expected token 'name', got '{}'", describe(current())));
  return next().text;
}

Result<void> Parser::check_unknown(size_t since) const {
  if (unknown_.size() > since) return at_line(unknown_[since].line, unknown_[since].message);
  return {};
}

Result<Body> Parser::run() {
  Body body = TRY(parse_until({}, ""));
  TRY(check_unknown(0));
  return body;
}

Result<Body> Parser::parse_until(Ends ends, std::string_view opener) {
  Deeper deeper(depth_);
  if (deeper.too_deep()) return fail(fmt::format("the template nests deeper than {} levels", kMaxTreeDepth));
  Body body;
  while (true) {
    auto statement = std::make_unique<Stmt>();
    statement->line = current().line;
    switch (current().kind) {
      case TokenKind::end:
        if (ends.size() == 0) return body;
        return fail(
            fmt::format("Unexpected end of template. The innermost block that needs to be closed is '{}'.", opener));
      case TokenKind::data:
        statement->text = next().text;
        body.push_back(std::move(statement));
        break;
      case TokenKind::variable_begin:
        next();
        statement->kind = StmtKind::print;
        statement->value = TRY(parse_tuple());
        TRY(expect(TokenKind::variable_end, "end of print statement"));
        body.push_back(std::move(statement));
        break;
      default: {
        TRY(expect(TokenKind::block_begin, "begin of statement block"));
        bool ended =
            current().kind == TokenKind::name && std::find(ends.begin(), ends.end(), current().text) != ends.end();
        if (ended) return body;
        body.push_back(TRY(parse_statement()));
        TRY(expect(TokenKind::block_end, "end of statement block"));
      }
    }
  }
}

Result<Body> Parser::parse_block_body(Ends ends, std::string_view opener) {
  skip_op(":");
  TRY(expect(TokenKind::block_end, "end of statement block"));
  return parse_until(ends, opener);
}

Result<Body> Parser::parse_closed(std::string_view end, std::string_view opener) {
  Body body = TRY(parse_block_body({end}, opener));
  next();
  return body;
}

Result<StmtPtr> Parser::parse_statement() {
  if (current().kind != TokenKind::name) return fail("tag name expected");
  const Token tag = next();
  if (tag.text == "if") return parse_if();
  if (tag.text == "for") return parse_for();
  if (tag.text == "set") return parse_set();
  if (tag.text == "with") return parse_with();
  if (tag.text == "macro") return parse_macro();
  if (tag.text == "call") return parse_call_block();
  return parse_simple(tag);
}

namespace {

StmtPtr make_statement(StmtKind kind, int line) {
  auto statement = std::make_unique<Stmt>();
  statement->kind = kind;
  statement->line = line;
  return statement;
}

}  // namespace

Result<StmtPtr> Parser::parse_if() {
  auto statement = make_statement(StmtKind::if_branches, current().line);
  size_t unknown = unknown_.size();
  while (true) {
    Branch branch;
    branch.test = TRY(parse_tuple(false));
    branch.body = TRY(parse_block_body({"elif", "else", "endif"}, "if"));
    statement->branches.push_back(std::move(branch));
    std::string end = next().text;
    if (end == "elif") continue;
    if (end == "else") statement->branches.push_back({ nullptr, TRY(parse_closed("endif", "if")) });
    unknown_.resize(std::min(unknown, unknown_.size()));  // an unknown filter in an `if` is an error only when it runs
    return statement;
  }
}

Result<StmtPtr> Parser::parse_for() {
  auto statement = make_statement(StmtKind::for_loop, current().line);
  statement->target = TRY(parse_target("in", false));
  if (statement->target->kind == ExprKind::name && statement->target->name == "loop") {
    return fail("Can't assign to special loop variable in for-loop target");
  }
  TRY(expect_name("in"));
  statement->value = TRY(parse_tuple(false, "recursive"));
  if (skip_name("if")) statement->condition = TRY(parse_expression());
  statement->recursive = skip_name("recursive");
  size_t unknown = unknown_.size();
  ++loops_;
  ++for_bodies_;
  statement->body = TRY(parse_block_body({"endfor", "else"}, "for"));
  --loops_;
  --for_bodies_;
  if (next().text == "else") statement->otherwise = TRY(parse_closed("endfor", "for"));
  TRY(check_unknown(unknown));
  return statement;
}

Result<StmtPtr> Parser::parse_set() {
  auto statement = make_statement(StmtKind::set, current().line);
  statement->target = TRY(parse_target({}, true));
  if (skip_op("=")) {
    statement->value = TRY(parse_tuple());
    return statement;
  }
  statement->kind = StmtKind::set_block;
  if (is_op("|")) statement->value = TRY(parse_filter(nullptr, false));
  statement->body = TRY(parse_closed("endset", "set"));
  return statement;
}

Result<StmtPtr> Parser::parse_with() {
  auto statement = make_statement(StmtKind::with, current().line);
  while (current().kind != TokenKind::block_end) {
    if (!statement->bindings.empty()) TRY(expect_op(","));
    ExprPtr target = TRY(parse_target("=", false));
    TRY(expect_op("="));
    statement->bindings.emplace_back(std::move(target), TRY(parse_expression()));
  }
  statement->body = TRY(parse_closed("endwith", "with"));
  return statement;
}

Result<void> Parser::parse_signature(Parameters& parameters) {
  TRY(expect_op("("));
  while (!is_op(")")) {
    if (!parameters.names.empty()) TRY(expect_op(","));
    auto name = make(ExprKind::name);
    name->name = TRY(expect_any_name());
    TRY(check_target(*name));
    parameters.names.push_back(name->name);
    if (skip_op("=")) {
      parameters.defaults.push_back(TRY(parse_expression()));
    } else if (!parameters.defaults.empty()) {
      return fail("non-default argument follows default argument");
    }
  }
  return expect_op(")");
}

Result<StmtPtr> Parser::parse_macro() {
  auto statement = make_statement(StmtKind::macro, current().line);
  auto name = make(ExprKind::name);
  name->name = TRY(expect_any_name());
  TRY(check_target(*name));
  statement->text = name->name;
  size_t unknown = unknown_.size();
  macros_.emplace_back();
  TRY(parse_signature(statement->parameters));
  int loops = std::exchange(loops_, 0);
  statement->body = TRY(parse_closed("endmacro", "macro"));
  loops_ = loops;
  Parameters& p = statement->parameters;
  auto uses = [&](bool used, const char* special) {
    return used && std::find(p.names.begin(), p.names.end(), special) == p.names.end();
  };
  p.varargs = uses(macros_.back().varargs, "varargs");
  p.kwargs = uses(macros_.back().kwargs, "kwargs");
  p.caller = uses(macros_.back().caller, "caller");
  macros_.pop_back();
  TRY(check_unknown(unknown));
  return statement;
}

Result<StmtPtr> Parser::parse_call_block() {
  auto statement = make_statement(StmtKind::call_block, current().line);
  statement->text = "caller";
  if (is_op("(")) TRY(parse_signature(statement->parameters));
  statement->value = TRY(parse_expression());
  if (statement->value->kind != ExprKind::call) return fail("expected call");
  int loops = std::exchange(loops_, 0);
  statement->body = TRY(parse_closed("endcall", "call"));
  loops_ = loops;
  return statement;
}

Result<StmtPtr> Parser::parse_simple(const Token& tag) {
  auto statement = make_statement(StmtKind::print, tag.line);
  if (tag.text == "print") {
    statement->value = TRY(parse_tuple());
  } else if (tag.text == "break" || tag.text == "continue") {
    if (loops_ == 0) return fail(fmt::format("'{}' outside loop", tag.text));
    statement->kind = tag.text == "break" ? StmtKind::break_loop : StmtKind::continue_loop;
  } else if (tag.text == "filter") {
    statement->kind = StmtKind::filter_block;
    statement->value = TRY(parse_filter(nullptr, true));
    statement->body = TRY(parse_closed("endfilter", "filter"));
  } else if (tag.text == "generation") {
    statement->kind = StmtKind::generation;
    int loops = std::exchange(loops_, 0);
    statement->body = TRY(parse_closed("endgeneration", "generation"));
    loops_ = loops;
  } else if (tag.text == "autoescape") {
    statement->kind = StmtKind::autoescape;
    statement->value = TRY(parse_expression());
    statement->body = TRY(parse_closed("endautoescape", "autoescape"));
  } else if (tag.text == "block") {
    statement->kind = StmtKind::block;
    statement->text = TRY(expect_any_name());
    skip_name("scoped");
    skip_name("required");
    int loops = std::exchange(loops_, 0);
    statement->body = TRY(parse_closed("endblock", "block"));
    loops_ = loops;
    if (is_name(statement->text)) next();
  } else if (tag.text == "include" || tag.text == "import" || tag.text == "from" || tag.text == "extends") {
    statement->kind = StmtKind::unsupported;
    statement->text = tag.text;
    while (current().kind != TokenKind::block_end && current().kind != TokenKind::end) next();
  } else {
    return at_line(tag.line, fmt::format("Encountered unknown tag '{}'.", tag.text));
  }
  return statement;
}

Result<ExprPtr> Parser::parse_target(std::string_view end_name, bool attributes) {
  if (attributes && current().kind == TokenKind::name && look().kind == TokenKind::op && look().text == ".") {
    auto target = make(ExprKind::attribute);
    auto object = make(ExprKind::name);
    object->name = next().text;
    next();
    target->name = TRY(expect_any_name());
    target->kids.push_back(std::move(object));
    return finish(std::move(target));
  }
  ExprPtr target = end_name == "=" ? TRY(parse_primary()) : TRY(parse_tuple(true, end_name, false, true));
  TRY(check_target(*target));
  return target;
}

Result<void> Parser::check_target(const Expr& target) const {
  if (target.kind == ExprKind::tuple) {
    for (const ExprPtr& kid : target.kids) TRY(check_target(*kid));
    return {};
  }
  bool reserved =
      target.kind == ExprKind::name && (target.name == "true" || target.name == "false" || target.name == "none" ||
                                        target.name == "True" || target.name == "False" || target.name == "None");
  if (target.kind != ExprKind::name || reserved) {
    return at_line(target.line, fmt::format("can't assign to '{}'",
                                            target.kind == ExprKind::constant || reserved ? "const" : "expression"));
  }
  if (target.name == "loop" && for_bodies_ > 0) {
    return at_line(target.line, "Can't assign to special loop variable in for-loop target");
  }
  return {};
}

Result<Body> parse_template(std::string_view source) {
  Parser parser(TRY(tokenize(source)));
  return parser.run();
}

}  // namespace candor::text::jinja
