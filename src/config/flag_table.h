#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::config {

// Which program a spelling comes from.
enum class Generation : std::uint8_t {
  kSeed,    // SGLang 0.5.7; abbreviations are looked up here first
  kNewer,   // SGLang after that
  kFathom,  // SGLang has no such flag
};

enum class FlagKind : std::uint8_t {
  kSwitch,            // no value; true when it is there
  kToggle,            // no value; the spelling with --no- says false
  kInt,               // one whole number
  kFloat,             // one number
  kFloatOrBare,       // a number, or nothing for 0.5
  kString,            // one word
  kJson,              // one word that is JSON
  kIntList,           // one word or more …
  kFloatList,         //
  kStringList,        //
  kStringListOrNone,  // … or none
};

// What Fathom does about a flag.
enum class Support : std::uint8_t {
  kBuilt,            // it works
  kNoNeed,           // accepted; Flag::note says what happens instead
  kNoNeedOnCpu,      // as kNoNeed with --device cpu, else not built yet
  kBuiltOnGpu,       // works with --device cuda; as kNoNeed with --device cpu
  kNoNeedOnOneRank,  // as kNoNeed in an instance of one rank, else not built yet
  kNotBuilt,         // fails the start when its value is not the default
};

// One launch flag. Lists inside a text are words with a space between them.
struct Flag {
  std::string_view name = {};                 // SGLang's argument name; unique
  std::string_view spellings = {};            // at least one, "--port"
  std::string_view newer_spellings = {};      // further ones, of Generation::kNewer
  Generation generation = Generation::kSeed;  // of `spellings`
  FlagKind kind = FlagKind::kSwitch;
  Support support = Support::kNotBuilt;
  std::string_view initial = {};  // the default as it would be typed; empty: none, a switch is off
  std::string_view choices = {};  // the values that the parser accepts; empty: any of its kind
  std::string_view values = {};   // those that `support` is about, others are not built; empty: all
  std::string_view help = {};     // without full stop
  std::string_view note = {};     // for kNoNeed…: what happens instead
};

struct FlagGroup {
  std::string_view title;
  std::span<const Flag> flags;
};

// The one table of launch flags: the parser, --help, docs/flags.md, the resolved arguments and the
// checks of what is built are all made from it. Groups and flags in the order of the document.
std::span<const FlagGroup> flag_groups();

// All flags in the same order; a flag's place here is its index.
std::span<const Flag* const> all_flags();

// The index of the flag called `name`, if there is one.
std::optional<std::size_t> find_flag(std::string_view name);

// The words of a list in the table.
std::vector<std::string_view> words(std::string_view list);

bool is_switch(FlagKind kind);  // takes no value
bool is_list(FlagKind kind);

// The first spelling: "--tensor-parallel-size".
std::string_view primary_spelling(const Flag& flag);

// The groups' sources; flag_groups() puts them in order.
FlagGroup model_flags();
FlagGroup http_flags();
FlagGroup limits_flags();
FlagGroup device_flags();
FlagGroup graphs_flags();
FlagGroup parallel_flags();
FlagGroup speculation_flags();
FlagGroup disaggregation_flags();
FlagGroup observability_flags();
FlagGroup lora_flags();
FlagGroup multimodal_flags();
FlagGroup newer_flags();
FlagGroup fathom_flags();

}  // namespace fathom::config
