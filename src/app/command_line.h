#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace fathom::app {

// The arguments of one command. Options are spelled "--a,--b" when they have several names; both
// "--a value" and "--a=value" are understood. Targets must outlive parse().
class CommandLine {
 public:
  // `usage` completes "fathom …" in the help text.
  CommandLine(const std::string& usage, const std::string& summary);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  void positional(const std::string& name, std::string& target, const std::string& help);
  void option(const std::string& names, std::string& target, const std::string& help);
  void option(const std::string& names, std::int64_t& target, const std::string& help);
  void flag(const std::string& names, bool& target, const std::string& help);

  // Fills the targets. An exit code when the command is already answered: 0 for --help (written to
  // `out`), 2 for a usage error (written to `err` with what was wrong).
  std::optional<int> parse(std::span<const std::string> args, std::ostream& out, std::ostream& err);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom::app
