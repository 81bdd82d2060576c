// fathom_make_checkpoint: writes a checkpoint with random weights.

#include <charconv>
#include <cstring>
#include <exception>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/thread_pool.h"
#include "make_checkpoint/presets.h"
#include "make_checkpoint/random_checkpoint.h"

namespace fathom::make_checkpoint {
namespace {

constexpr const char* kHelp =
    "usage: fathom_make_checkpoint FOLDER (--preset NAME | --config FILE) [options]\n"
    "\n"
    "Writes config.json and random weights in the published format into FOLDER.\n"
    "\n"
    "  --preset NAME       micro (about 3 MB) or mid (about 1 GB)\n"
    "  --config FILE       the architecture of a config.json\n"
    "  --dtype fp8|bf16    format of the weight matrices [as the preset or config.json says]\n"
    "  --seed N            other weights for another number [1]\n"
    "  --files N           split into N files with an index [1: one model.safetensors]\n"
    "  --odd-scales        FP8 scales that are not powers of two\n"
    "  --no-draft-copies   leave out the draft layer's own embedding and head\n"
    "  --threads N         [all processors]\n";

struct Arguments {
  std::string folder;
  std::string preset;
  std::string config;
  std::string dtype;
  RandomCheckpointOptions options;
};

template <class Number>
bool parse_number(const std::string& text, Number& out) {
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, out);
  return parsed.ec == std::errc() && parsed.ptr == end && out >= 0;
}

std::string cannot_be(const std::string& option, const std::string& value) {
  return option + " is '" + value + "', which it cannot be";
}

// A sentence when the option or its value makes no sense.
std::optional<std::string> set_option(const std::string& name,
                                      const std::string& value,
                                      Arguments& out) {
  bool good = true;
  if (name == "--preset") {
    out.preset = value;
  } else if (name == "--config") {
    out.config = value;
  } else if (name == "--dtype") {
    out.dtype = value;
    good = value == "fp8" || value == "bf16";
  } else if (name == "--seed") {
    good = parse_number(value, out.options.seed);
  } else if (name == "--files") {
    good = parse_number(value, out.options.files) && out.options.files >= 1;
  } else if (name == "--threads") {
    good = parse_number(value, out.options.threads) && out.options.threads >= 1;
  } else {
    return name + " is not an option";
  }
  if (!good) return cannot_be(name, value);
  return std::nullopt;
}

std::optional<std::string> parse(std::span<const std::string> args, Arguments& out) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--odd-scales") {
      out.options.power_of_two_scales = false;
    } else if (arg == "--no-draft-copies") {
      out.options.draft_copies = false;
    } else if (arg.substr(0, 2) != "--") {
      if (!out.folder.empty()) return "'" + arg + "': one folder is enough";
      out.folder = arg;
    } else {
      if (i + 1 == args.size()) return arg + " needs a value, or is not an option";
      if (auto wrong = set_option(arg, args[++i], out)) return wrong;
    }
  }
  if (out.folder.empty()) return "FOLDER is missing";
  if (out.preset.empty() == out.config.empty()) return "expected one of --preset and --config";
  return std::nullopt;
}

Status write(const Arguments& arguments) {
  Result<config::ModelConfig> model = invalid_argument("unset");
  if (!arguments.preset.empty()) {
    model = preset(arguments.preset);
    if (!model.ok()) return model.status();
  } else {
    constexpr std::int64_t kMostBytes = 1 << 24;
    const Result<std::string> text = read_small_file(arguments.config, kMostBytes);
    if (!text.ok()) return text.status().in(arguments.config);
    model = config::parse_model_config(*text);
    if (!model.ok()) return model.status().in(arguments.config);
  }
  if (arguments.dtype == "bf16") model->quantization.reset();
  if (arguments.dtype == "fp8" && !model->quantization) {
    model->quantization = config::QuantizationConfig{true};
  }
  return write_random_checkpoint(*model, arguments.options, arguments.folder);
}

int run(std::span<const std::string> args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h") {
    (args.empty() ? std::cerr : std::cout) << kHelp;
    return args.empty() ? 2 : 0;
  }
  Arguments arguments;
  arguments.options.threads = available_processors();
  if (const auto wrong = parse(args, arguments)) {
    std::cerr << "fathom_make_checkpoint: " << *wrong << "\n";
    return 2;
  }
  const Status written = write(arguments);
  if (written.ok()) return 0;
  std::cerr << "fathom_make_checkpoint: " << written.message() << "\n";
  return 1;
}

}  // namespace
}  // namespace fathom::make_checkpoint

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  try {
    return fathom::make_checkpoint::run(args);
  } catch (const std::exception& error) {
    std::cerr << "fathom_make_checkpoint: " << error.what() << "\n";
    return 1;
  }
}
