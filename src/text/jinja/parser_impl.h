// The parser's state, shared by the two files that implement it: expressions and statements.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace candor::text::jinja {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Result<Body> run();

 private:
  // Tokens (parser.cpp)
  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool is_op(std::string_view op) const { return current().kind == TokenKind::op && current().text == op; }
  bool is_name(std::string_view name) const { return current().kind == TokenKind::name && current().text == name; }
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  Result<void> expect_op(std::string_view op);
  Result<void> expect_name(std::string_view name);
  Result<void> expect(TokenKind kind, std::string_view words);
  Result<std::string> expect_any_name();
  Error fail(const std::string& message) const { return at_line(current().line, message); }

  // Statements (parser.cpp)
  using Ends = std::initializer_list<std::string_view>;
  Result<Body> parse_until(Ends ends, std::string_view opener);  // stops at one of `ends`, not past it
  Result<Body> parse_block_body(Ends ends, std::string_view opener);
  Result<Body> parse_closed(std::string_view end, std::string_view opener);  // past the end tag's name
  Result<StmtPtr> parse_statement();
  Result<StmtPtr> parse_if();
  Result<StmtPtr> parse_for();
  Result<StmtPtr> parse_set();
  Result<StmtPtr> parse_with();
  Result<StmtPtr> parse_macro();
  Result<StmtPtr> parse_call_block();
  Result<StmtPtr> parse_simple(const Token& tag);
  Result<void> parse_signature(Parameters& parameters);
  Result<ExprPtr> parse_target(std::string_view end_name, bool attributes);
  Result<void> check_target(const Expr& target) const;
  Result<void> check_unknown(size_t since) const;

  // Expressions (parser_expressions.cpp)
  Result<ExprPtr> parse_tuple(bool conditional = true, std::string_view end_name = {}, bool parenthesized = false,
                              bool simple = false);
  Result<ExprPtr> parse_expression();
  Result<ExprPtr> parse_conditional();
  Result<ExprPtr> parse_or();
  Result<ExprPtr> parse_and();
  Result<ExprPtr> parse_not();
  Result<ExprPtr> parse_comparison();
  Result<ExprPtr> parse_sum();
  Result<ExprPtr> parse_concat();
  Result<ExprPtr> parse_product();
  Result<ExprPtr> parse_power();
  Result<ExprPtr> parse_unary(bool with_filter = true);
  Result<ExprPtr> parse_primary();
  Result<ExprPtr> parse_number();
  Result<ExprPtr> parse_list();
  Result<ExprPtr> parse_dict();
  Result<ExprPtr> parse_postfix(ExprPtr node);
  Result<ExprPtr> parse_filters_and_tests(ExprPtr node);
  Result<ExprPtr> parse_filter(ExprPtr node, bool inline_start);
  Result<ExprPtr> parse_test(ExprPtr node);
  Result<ExprPtr> parse_subscript(ExprPtr node);
  Result<ExprPtr> parse_subscribed();
  Result<ExprPtr> parse_call(ExprPtr node);
  Result<CallArguments> parse_arguments();
  ExprPtr make(ExprKind kind) const;
  Result<ExprPtr> finish(ExprPtr node) const;  // sets the depth
  Result<ExprPtr> binary(ExprKind kind, ExprPtr left, ExprPtr right) const;

  // What a body uses of its macro's special variables; every macro around it is told.
  struct Uses {
    bool varargs = false, kwargs = false, caller = false;
  };
  struct Unknown {
    std::string message;
    int line;
  };

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;  // for loops around this place, not counting those outside of a macro, call or generation body
  int for_bodies_ = 0;
  std::vector<Uses> macros_;
  std::vector<Unknown> unknown_;
};

// Counts how deep the parser is in its own calls.
class Deeper {
 public:
  explicit Deeper(int& depth) : depth_(depth) { ++depth_; }
  ~Deeper() { --depth_; }
  Deeper(const Deeper&) = delete;
  bool too_deep() const { return depth_ > kMaxTreeDepth; }

 private:
  int& depth_;
};

}  // namespace candor::text::jinja
