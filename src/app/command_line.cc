#include "app/command_line.h"

#include <ostream>
#include <vector>

#include <CLI/CLI.hpp>

namespace fathom::app {

struct CommandLine::State {
  CLI::App app;
};

CommandLine::CommandLine(const std::string& usage, const std::string& summary)
    : state_(std::make_unique<State>()) {
  state_->app.description(summary);
  state_->app.name("fathom " + usage);
}

CommandLine::~CommandLine() = default;

void CommandLine::positional(const std::string& name,
                             std::string& target,
                             const std::string& help) {
  state_->app.add_option(name, target, help);
}

void CommandLine::option(const std::string& names, std::string& target, const std::string& help) {
  state_->app.add_option(names, target, help)->capture_default_str();
}

void CommandLine::option(const std::string& names, std::int64_t& target, const std::string& help) {
  state_->app.add_option(names, target, help)->capture_default_str();
}

void CommandLine::flag(const std::string& names, bool& target, const std::string& help) {
  state_->app.add_flag(names, target, help);
}

std::optional<int> CommandLine::parse(std::span<const std::string> args,
                                      std::ostream& out,
                                      std::ostream& err) {
  std::vector<std::string> reversed(args.rbegin(), args.rend());  // as CLI11 wants them
  try {
    state_->app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    out << state_->app.help();
    return 0;
  } catch (const CLI::ParseError& error) {
    err << state_->app.get_name() << ": " << error.what() << "\n"
        << "'" << state_->app.get_name() << " --help' lists the options.\n";
    return 2;
  }
  return std::nullopt;
}

}  // namespace fathom::app
