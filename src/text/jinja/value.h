// The values a template computes with: Python's, as far as a sandboxed template can tell.
//
// Values are immutable and shared; what changes (namespaces, loops, cyclers) is an Object. Strings are UTF-8 and always
// valid; lengths and indices that a template sees count code points. Every container knows how deeply it nests, and the
// evaluator refuses values deeper than kMaxDepth, so that printing, comparing and freeing them cannot exhaust the
// stack.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "text/jinja/big_int.h"

namespace candor::text::jinja {

inline constexpr int kMaxDepth = 200;                      // of nested lists, dictionaries, …
inline constexpr size_t kMaxTextBytes = size_t{64} << 20;  // of one string, and of the whole output

class Value;

struct None {};
struct Undefined {  // prints as nothing; most uses of it are the error `why`
  std::shared_ptr<const std::string> why;
};
struct Text {
  std::shared_ptr<const std::string> bytes;
  bool safe = false;  // Markup: needs no HTML escaping
};

enum class SequenceKind { list, tuple, range, keys, values, items, iterator, bytes };
struct Sequence {
  SequenceKind kind = SequenceKind::list;
  std::vector<Value> items;
  int depth = 1;
  std::string label;            // range: how it prints; iterator: Python's name of its type
  mutable size_t consumed = 0;  // iterator: items already handed out
};

// In order of insertion. A key is found by its spelling (key_spelling): 1, 1.0 and true are the same key.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string, size_t> index;
  int depth = 1;

  const Value* find(const std::string& spelling) const;
  const Value* find_text(std::string_view key) const;
  void insert(const std::string& spelling, Value key, Value value);  // a known key keeps its place
  void insert_text(std::string_view key, Value value);
};

enum class ObjectKind { function, method, name_space, macro, loop, cycler, joiner };
struct Object;

using Integer = int64_t;

class Value {
 public:
  using State = std::variant<None, Undefined, bool, Integer, std::shared_ptr<const BigInt>, double, Text,
                             std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>, std::shared_ptr<Object>>;
  Value() = default;
  Value(State state) : state_(std::move(state)) {}
  Value(bool value) : state_(value) {}
  Value(Integer value) : state_(value) {}
  Value(double value) : state_(value) {}
  Value(const char*) = delete;
  Value(BigInt value);  // becomes an Integer where it fits
  Value(std::string text, bool safe = false)
      : state_(Text{std::make_shared<const std::string>(std::move(text)), safe}) {}

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&state_);
  }
  const std::string* text() const;  // null where it is no string
  const Sequence* sequence() const;
  const Sequence* sequence(SequenceKind kind) const;
  const Dict* dict() const;
  Object* object() const;
  const std::shared_ptr<Object>* object_pointer() const { return std::get_if<std::shared_ptr<Object>>(&state_); }
  bool is_none() const { return get<None>() != nullptr; }
  bool is_undefined() const { return get<Undefined>() != nullptr; }
  bool is_safe() const;
  bool is_integer() const;  // int, also beyond 64 bits, and bool
  bool is_number() const;   // integers and floats
  int depth() const;

 private:
  State state_;
};

// Functions, bound methods and namespaces live in plain Objects; the evaluator derives the others from it.
struct Object {
  Object(ObjectKind kind, std::string name, Value self = {})
      : kind(kind), name(std::move(name)), self(std::move(self)) {}
  virtual ~Object() = default;
  virtual std::optional<Value> attribute(std::string_view) const { return std::nullopt; }  // beside its methods
  virtual void release() { attributes = {}; }  // drops what it holds, so that no ring of references stays
  ObjectKind kind;
  std::string name;
  Value self;       // of a method
  Dict attributes;  // of a namespace
};

Value make_undefined(std::string why);
Value make_sequence(SequenceKind kind, std::vector<Value> items, std::string label = {});
Value make_list(std::vector<Value> items);
Value make_tuple(std::vector<Value> items);
Value make_dict(Dict dict);
Value make_iterator(std::vector<Value> items, std::string type = "generator");

// Fails on strings that are not UTF-8 and on nesting beyond kMaxDepth.
Result<Value> from_json(const nlohmann::ordered_json& json);

std::string type_name(const Value& value);  // 'str', 'int', 'NoneType', …
bool is_true(const Value& value);

// How a key is told from other keys; an error where Python cannot hash it.
Result<std::string> key_spelling(const Value& key);

// Python's str() and repr().
Result<std::string> to_text(const Value& value);
Result<std::string> to_repr(const Value& value);
std::string float_repr(double value);
Result<std::string> integer_text(const Value& value);
std::string text_repr(std::string_view text);  // repr of a string

}  // namespace candor::text::jinja
