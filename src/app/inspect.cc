#include "app/inspect.h"

#include <algorithm>
#include <ostream>

#include "app/bundled_model.h"
#include "app/command_line.h"
#include "app/inspect_report.h"
#include "base/file.h"
#include "base/thread_pool.h"

namespace fathom::app {
namespace {

struct Options {
  std::string model;
  std::int64_t tensor_parallel_size = 1;
  std::int64_t data_parallel_size = 1;
  std::int64_t ep_size = 1;
  bool json = false;
  bool config_only = false;
  bool verify = false;
};

// What is beyond an int32 is beyond every layout too; check_layout() says so.
std::int32_t narrow(std::int64_t value) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, 0, 1 << 30));
}

// A model folder's configuration, or a config.json by itself.
Result<config::ModelConfig> load_config(const std::filesystem::path& path, bool is_folder) {
  if (is_folder) return config::load_model_config(path);
  constexpr std::int64_t kMostBytes = 1 << 24;
  const Result<std::string> text = read_small_file(path, kMostBytes);
  if (!text.ok()) return text.status().in(path.string());
  Result<config::ModelConfig> config = config::parse_model_config(*text);
  if (!config.ok()) return config.status().in(path.string());
  return config;
}

int fail(const Status& status, int code, std::ostream& err) {
  err << "fathom inspect: " << status.message() << "\n";
  return code;
}

int inspect(const Options& options, std::ostream& out, std::ostream& err) {
  const Result<std::filesystem::path> path = model_folder(options.model);
  if (!path.ok()) return fail(path.status(), 1, err);
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(*path, error);
  const Result<config::ModelConfig> config = load_config(*path, !is_file);
  if (!config.ok()) return fail(config.status(), 1, err);
  const model::Layout layout{narrow(options.tensor_parallel_size),
                             narrow(options.data_parallel_size), narrow(options.ep_size)};
  if (const Status fits = model::check_layout(*config, layout); !fits.ok()) {
    return fail(fits, 2, err);
  }
  Result<InspectReport> report =
      options.config_only || is_file
          ? inspect_config(path->string(), *config, layout)
          : inspect_checkpoint(*path, *config, layout, options.verify, available_processors());
  if (!report.ok()) return fail(report.status(), 1, err);
  out << (options.json ? report_json(*report) : report_text(*report));
  return 0;
}

}  // namespace

int run_inspect(std::span<const std::string> args, std::ostream& out, std::ostream& err) {
  Options options;
  CommandLine line("inspect",
                   "Reads a checkpoint and prints what each rank of a layout will hold.");
  line.positional("MODEL,--model-path,--model", options.model,
                  "checkpoint folder, or a config.json (default: the bundled fathom-tiny)");
  line.option("--tensor-parallel-size,--tp-size,--tp", options.tensor_parallel_size,
              "ranks that share the model");
  line.option("--data-parallel-size,--dp-size,--dp", options.data_parallel_size,
              "groups of ranks with attention of their own");
  line.option("--ep-size,--expert-parallel-size,--ep", options.ep_size,
              "groups of ranks that share the routed experts");
  line.flag("--json", options.json, "print JSON");
  line.flag("--config-only", options.config_only, "do not open the weights");
  line.flag("--verify", options.verify, "read every weight and refuse values that are no numbers");
  if (const std::optional<int> code = line.parse(args, out, err)) return *code;
  return inspect(options, out, err);
}

}  // namespace fathom::app
