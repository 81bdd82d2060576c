#include <algorithm>
#include <array>
#include <exception>
#include <iomanip>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/batch.h"
#include "app/chat.h"
#include "app/generate.h"
#include "app/inspect.h"
#include "app/launch_server.h"

namespace {

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(std::span<const std::string> args, std::ostream& out, std::ostream& err);
};

constexpr std::array kCommands = {
    Command{"batch", "send the lines of a file to a server, and go on after an interruption",
            fathom::app::run_batch},
    Command{"chat", "talk to an OpenAI endpoint on the terminal", fathom::app::run_chat},
    Command{"generate", "continue a prompt greedily on the CPU", fathom::app::run_generate},
    Command{"inspect", "what a checkpoint holds, and what each rank of a layout will",
            fathom::app::run_inspect},
    Command{"launch_server", "serve a model; takes SGLang's launch flags",
            fathom::app::run_launch_server},
    Command{"serve", "the same; the model may come first: fathom serve MODEL",
            fathom::app::run_serve},
    Command{"flag_document", "print the page of launch flags, docs/flags.md",
            fathom::app::run_flag_document},
};

void print_help(std::ostream& out) {
  out << "Fathom serves DeepSeek-V3.2.\n\nusage: fathom COMMAND [options]\n\n";
  for (const Command& command : kCommands) {
    out << "  " << std::left << std::setw(15) << command.name << command.summary << "\n";
  }
  out << "\n'fathom COMMAND --help' lists a command's options.\n";
}

int run(std::span<const std::string> args) {
  if (args.empty()) {
    print_help(std::cerr);
    return 2;
  }
  if (args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    print_help(std::cout);
    return 0;
  }
  if (args[0] == "--version") {
    std::cout << "fathom " << FATHOM_VERSION << "\n";
    return 0;
  }
  const auto* command = std::ranges::find(kCommands, args[0], &Command::name);
  if (command == kCommands.end()) {
    std::cerr << "fathom: there is no command '" << args[0]
              << "'; 'fathom --help' lists the commands\n";
    return 2;
  }
  return command->run(args.subspan(1), std::cout, std::cerr);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  try {
    return run(args);
  } catch (const std::exception& error) {  // a library's, out of memory above all
    std::cerr << "fathom: " << error.what() << "\n";
    return 1;
  }
}
