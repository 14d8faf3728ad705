// Calls: macros, the globals of Transformers' environment, and the objects a template can hold.
#include <algorithm>
#include <array>

#include "text/jinja/evaluator_impl.h"
#include "text/jinja/format.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"

namespace candor::text::jinja {

namespace {

constexpr int64_t kMaxRange = 100000;  // the sandbox's MAX_RANGE
constexpr std::array<std::string_view, 8> kFunctions = {"range",  "dict",      "lipsum",          "cycler",
                                                        "joiner", "namespace", "raise_exception", "strftime_now"};

}  // namespace

bool is_global_function(std::string_view name) {
  return std::find(kFunctions.begin(), kFunctions.end(), name) != kFunctions.end();
}

Value function_named(std::string name) {
  return Value(std::make_shared<Object>(ObjectKind::function, std::move(name)));
}

Error namespace_name_error(const std::string& name) {
  return error(
      "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{}'. Please rename the "
      "attribute.",
      name);
}

std::optional<Value> Macro::attribute(std::string_view asked) const {
  if (asked == "name") return Value(name);
  if (asked == "caller") return Value(statement.parameters.caller);
  if (asked == "catch_kwargs") return Value(statement.parameters.kwargs);
  if (asked == "catch_varargs") return Value(statement.parameters.varargs);
  if (asked != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const std::string& parameter : statement.parameters.names) names.emplace_back(parameter);
  return make_tuple(std::move(names));
}

std::optional<Value> Loop::attribute(std::string_view asked) const {
  auto at = static_cast<int64_t>(index), length = static_cast<int64_t>(items->size());
  if (asked == "index0") return Value(at);
  if (asked == "index") return Value(at + 1);
  if (asked == "revindex") return Value(length - at);
  if (asked == "revindex0") return Value(length - at - 1);
  if (asked == "length") return Value(length);
  if (asked == "first") return Value(at == 0);
  if (asked == "last") return Value(at + 1 == length);
  if (asked == "depth") return Value(nesting);
  if (asked == "depth0") return Value(nesting - 1);
  if (asked == "previtem") return at > 0 ? (*items)[index - 1] : make_undefined("there is no previous item");
  if (asked == "nextitem") return at + 1 < length ? (*items)[index + 1] : make_undefined("there is no next item");
  return std::nullopt;
}

void Loop::release() {
  scope.reset();
  last_changed.reset();
}

std::optional<Value> Cycler::attribute(std::string_view asked) const {
  if (asked == "current") return items[position];
  return std::nullopt;
}

Result<Value> Evaluator::call(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) return undefined_error(callee);
  Object* object = callee.object();
  if (!object) return error("'{}' object is not callable", type_name(callee));
  switch (object->kind) {
    case ObjectKind::function:
      return call_function(object->name, arguments);
    case ObjectKind::method: {
      Object* self = object->self.object();
      return self ? call_loop_method(object->self, object->name, arguments)
                  : call_method(run_, object->self, object->name, arguments);
    }
    case ObjectKind::macro:
      return call_macro(static_cast<Macro&>(*object), arguments);
    case ObjectKind::loop: {
      auto& loop = static_cast<Loop&>(*object);
      if (!loop.statement.recursive) {
        return error("The loop must have the 'recursive' marker to be called recursively.");
      }
      Bound b = TRY(bind("loop", {"iterable"}, 1, arguments));
      std::string text;
      std::string* before = std::exchange(out_, &text);
      ++calls_;
      Result<void> done = calls_ > kMaxCalls ? Result<void>(error("the template's calls nest too deeply"))
                                             : loop_over(loop.statement, loop.scope, *b[0], loop.nesting + 1);
      --calls_;
      out_ = before;
      if (!done) return done.error();
      return Value(std::move(text), run_.autoescape);
    }
    case ObjectKind::joiner: {
      auto& joiner = static_cast<Joiner&>(*object);
      TRY(bind("joiner", {}, 0, arguments));
      return std::exchange(joiner.used, true) ? joiner.self : Value(std::string());
    }
    default:
      return error("'{}' object is not callable", type_name(callee));
  }
}

Result<Value> Evaluator::call_loop_method(const Value& self, const std::string& name, const Arguments& arguments) {
  if (!arguments.named.empty()) return error("{}() takes no keyword arguments", name);
  if (self.object()->kind == ObjectKind::cycler) {
    auto& cycler = static_cast<Cycler&>(*self.object());
    TRY(bind(name, {}, 0, arguments));
    size_t position = cycler.position;
    cycler.position = name == "reset" ? 0 : (position + 1) % cycler.items.size();
    return name == "reset" ? Value() : cycler.items[position];
  }
  auto& loop = static_cast<Loop&>(*self.object());
  if (name == "cycle") {
    if (arguments.positional.empty()) return error("no items for cycling given");
    return arguments.positional[loop.index % arguments.positional.size()];
  }
  Value given = make_tuple(arguments.positional);
  if (loop.last_changed && TRY(equal(run_, *loop.last_changed, given))) return Value(false);
  if (!loop.last_changed) TRY(own(*self.object_pointer()));
  loop.last_changed = std::move(given);
  return Value(true);
}

Result<Value> Evaluator::call_macro(Macro& macro, const Arguments& arguments) {
  const Parameters& p = macro.statement.parameters;
  auto scope = inner(macro.scope);
  std::vector<std::optional<Value>> given(p.names.size());
  std::vector<Value> extra;
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i < given.size()) {
      given[i] = arguments.positional[i];
    } else {
      extra.push_back(arguments.positional[i]);
    }
  }
  Value caller = make_undefined("No caller defined");
  Dict named;
  for (const auto& [name, value] : arguments.named) {
    auto found = std::find(p.names.begin(), p.names.end(), name);
    if (found != p.names.end()) {
      auto& place = given[static_cast<size_t>(found - p.names.begin())];
      if (place) return error("macro '{}' got multiple values for argument '{}'", macro.name, name);
      place = value;
    } else if (name == "caller" && p.caller) {
      caller = value;
    } else if (p.kwargs) {
      named.insert_text(name, value);
    } else {
      return error("macro '{}' takes no keyword argument '{}'", macro.name, name);
    }
  }
  if (!extra.empty() && !p.varargs) {
    return error("macro '{}' takes not more than {} argument(s)", macro.name, p.names.size());
  }
  if (p.caller) scope->set("caller", std::move(caller));
  if (p.varargs) scope->set("varargs", make_tuple(std::move(extra)));
  if (p.kwargs) scope->set("kwargs", make_dict(std::move(named)));
  size_t without_default = p.names.size() - p.defaults.size();
  for (size_t i = 0; i < p.names.size(); ++i) {
    if (!given[i]) {
      given[i] = i >= without_default ? TRY(evaluate(*p.defaults[i - without_default], scope))
                                      : make_undefined(fmt::format("parameter '{}' was not provided", p.names[i]));
    }
    scope->set(p.names[i], std::move(*given[i]));
  }
  return Value(TRY(capture(macro.statement.body, scope)), run_.autoescape);
}

Result<Dict> Evaluator::make_dict_from(const Arguments& arguments) {
  if (arguments.positional.size() > 1)
    return error("dict expected at most 1 argument, got {}", arguments.positional.size());
  Dict dict;
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    if (from.dict()) {
      dict = *from.dict();
    } else {
      for (const Value& pair : TRY(iterate(run_, from))) {
        std::vector<Value> parts = TRY(iterate(run_, pair));
        if (parts.size() != 2)
          return error("dictionary update sequence element has length {}; 2 is required", parts.size());
        std::string spelling = TRY(key_spelling(parts[0]));
        dict.insert(spelling, std::move(parts[0]), std::move(parts[1]));
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict.insert_text(name, value);
  TRY(run_.charge(dict.entries.size()));
  return dict;
}

Result<Value> Evaluator::make_namespace(const Arguments& arguments) {
  auto object = TRY(own(std::make_shared<Object>(ObjectKind::name_space, "namespace")));
  object->attributes = TRY(make_dict_from(arguments));
  for (const auto& [key, value] : object->attributes.entries) {
    if (!key.text()) return error("the names of a namespace must be strings, not {}", type_name(key));
    if (key.text()->starts_with("_")) return namespace_name_error(*key.text());
  }
  return Value(std::shared_ptr<Object>(std::move(object)));
}

Result<Value> Evaluator::make_range(const Arguments& arguments) {
  if (!arguments.named.empty()) return error("range() takes no keyword arguments");
  Bound b = TRY(bind("range", {"start", "stop", "step"}, 1, arguments));
  int64_t start = b[1] ? TRY(to_index(*b[0])) : 0;
  int64_t stop = TRY(to_index(b[1] ? *b[1] : *b[0]));
  int64_t step = b[2] ? TRY(to_index(*b[2])) : 1;
  if (step == 0) return error("range() arg 3 must not be zero");
  // In 128 bits, since stop - start may not fit into 64.
  __int128 distance = step > 0 ? __int128{stop} - start : __int128{start} - stop;
  __int128 stride = step > 0 ? __int128{step} : -__int128{step};
  __int128 count = distance <= 0 ? 0 : (distance + stride - 1) / stride;
  if (count > kMaxRange) {
    return error("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMaxRange);
  }
  TRY(run_.charge(static_cast<uint64_t>(count)));
  std::vector<Value> items;
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i)
    items.emplace_back(static_cast<int64_t>(start + __int128{i} * step));
  std::string label =
      step == 1 ? fmt::format("range({}, {})", start, stop) : fmt::format("range({}, {}, {})", start, stop, step);
  return make_sequence(SequenceKind::range, std::move(items), std::move(label));
}

Result<Value> Evaluator::call_function(const std::string& name, const Arguments& arguments) {
  if (name == "range") return make_range(arguments);
  if (name == "dict") return make_dict(TRY(make_dict_from(arguments)));
  if (name == "namespace") return make_namespace(arguments);
  if (name == "raise_exception") {
    Bound b = TRY(bind(name, {"message"}, 1, arguments));
    return Error {
      TRY(to_text(*b[0]))
    };
  }
  if (name == "strftime_now") {
    Bound b = TRY(bind(name, {"format"}, 1, arguments));
    if (!b[0]->text()) return error("strftime() argument 1 must be str, not {}", type_name(*b[0]));
    TRY(run_.charge_text(b[0]->text()->size()));
    return Value(format_time(*b[0]->text(), run_.now));
  }
  if (name == "cycler") {
    if (!arguments.named.empty() || arguments.positional.empty()) return error("at least one item has to be provided");
    return Value(std::shared_ptr<Object>(TRY(own(std::make_shared<Cycler>(arguments.positional)))));
  }
  if (name == "joiner") {
    Bound b = TRY(bind(name, {"sep"}, 0, arguments));
    return Value(std::shared_ptr<Object>(TRY(own(std::make_shared<Joiner>(b[0].value_or(Value(std::string(", "))))))));
  }
  return error("{}() is not supported in chat templates", name);
}

}  // namespace candor::text::jinja
