// What a template parses to. Every node knows how deep it is; the parser refuses trees deeper than kMaxTreeDepth, so
// that walking and freeing them cannot exhaust the stack.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace candor::text::jinja {

inline constexpr int kMaxTreeDepth = 150;

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind {
  constant,
  name,
  tuple,
  list,
  dict,
  attribute,
  item,
  slice,
  call,
  filter,
  test,
  conditional,
  compare,
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  concat,
  negate,
  plus,
  logical_not,
  logical_and,
  logical_or,
};

enum class Comparison { eq, ne, lt, le, gt, ge, in, not_in };

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, star_star;  // f(*star, **star_star)
};

struct Expr {
  ExprKind kind = ExprKind::constant;
  int line = 1;
  int depth = 1;
  std::string name;           // name, attribute, filter, test; also `object.name` as the target of a set
  Value value;                // constant
  std::vector<ExprPtr> kids;  // operands in order; dict: key, value, …; slice: start, stop, step (null where absent)
  std::vector<Comparison> comparisons;  // between kids[0], kids[1], …
  CallArguments arguments;              // call, filter, test
  bool negated = false;                 // `is not`
};

struct Stmt;
using StmtPtr = std::unique_ptr<Stmt>;
using Body = std::vector<StmtPtr>;

enum class StmtKind {
  text,
  print,
  if_branches,
  for_loop,
  set,
  set_block,
  with,
  macro,
  call_block,
  filter_block,
  block,
  autoescape,
  generation,
  break_loop,
  continue_loop,
  unsupported,
};

struct Branch {
  ExprPtr test;  // null: else
  Body body;
};

struct Parameters {
  std::vector<std::string> names;
  std::vector<ExprPtr> defaults;                         // of the last names
  bool varargs = false, kwargs = false, caller = false;  // the body uses them
};

struct Stmt {
  StmtKind kind = StmtKind::text;
  int line = 1;
  std::string text;       // text; the name of a macro, block or unsupported tag
  ExprPtr target, value;  // for, set: target and value; print, call, filter, autoescape: value
  ExprPtr condition;      // for … if condition
  std::vector<std::pair<ExprPtr, ExprPtr>> bindings;  // with
  std::vector<Branch> branches;
  Parameters parameters;  // macro, call
  Body body, otherwise;
  bool recursive = false;
};

}  // namespace candor::text::jinja
