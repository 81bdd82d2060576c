#include "app/launch_server.h"

#include <cstdlib>
#include <ostream>
#include <random>
#include <vector>

#include "app/backends.h"
#include "app/bundled_model.h"
#include "app/monitoring.h"
#include "app/serve.h"
#include "base/file.h"
#include "base/log.h"
#include "config/flag_document.h"
#include "config/machine_facts.h"
#include "config/parse_flags.h"
#include "config/plan_text.h"
#include "config/resolve.h"

namespace fathom::app {
namespace {

constexpr std::int64_t kMostFileBytes = 1 << 20;

Result<std::string> read_file(const std::filesystem::path& path) {
  return read_small_file(path, kMostFileBytes);
}

std::optional<std::string> get_environment(const std::string& name) {
  // Read once at start, before any thread exists.
  const char* const value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Result<config::MachineFacts> machine_of(const config::FlagValues& flags) {
  if (!flags.has("for_machine")) {
    Result<config::MachineFacts> facts = config::detect_machine();
    FATHOM_RETURN_IF_ERROR(facts.status());
    if (flags.has("device") && flags.text("device") == "cpu") return facts;
    const Status found = find_gpus(facts->gpus);
    if (!found.ok()) facts->no_gpus_because = found.message();
    return facts;
  }
  const std::string name = flags.text("for_machine");
  if (!flags.is_on("dry_run")) {
    return invalid_argument("--for-machine " + name +
                            ": an instance runs on the machine that it is started on; add "
                            "--dry-run");
  }
  if (!name.ends_with(".json")) return config::preset_machine(name);
  const Result<std::string> text = read_file(name);
  if (!text.ok()) return text.status().in("--for-machine " + name);
  Result<config::MachineFacts> facts = config::parse_machine(*text);
  if (!facts.ok()) return facts.status().in("--for-machine " + name);
  return facts;
}

// A folder with the model's files, or its config.json by itself, which is enough for a dry run.
Result<config::ModelConfig> load_model(const std::string& path, bool dry_run) {
  std::error_code error;
  if (!dry_run || !std::filesystem::is_regular_file(path, error)) {
    return config::load_model_config(path);
  }
  const Result<std::string> text = read_file(path);
  if (!text.ok()) return text.status().in(path);
  Result<config::ModelConfig> model = config::parse_model_config(*text);
  if (!model.ok()) return model.status().in(path);
  return model;
}

Result<config::Resolved> resolve_launch(const config::FlagValues& flags) {
  config::ResolveInput input;
  input.flags = flags;
  input.read_file = read_file;
  if (!input.flags.has("model_path")) {
    const Result<std::filesystem::path> folder = bundled_model_folder();
    FATHOM_RETURN_IF_ERROR(folder.status());
    input.flags.derive("model_path", Json::string(folder->string()));
    if (!input.flags.has("served_model_name")) {
      input.flags.derive("served_model_name", Json::string(folder->filename().string()));
    }
  }
  Result<config::EnvironmentValues> environment = config::EnvironmentValues::read(get_environment);
  FATHOM_RETURN_IF_ERROR(environment.status());
  input.environment = std::move(environment).value();
  Result<config::MachineFacts> machine = machine_of(flags);
  FATHOM_RETURN_IF_ERROR(machine.status());
  input.machine = std::move(machine).value();
  Result<config::ModelConfig> model =
      load_model(input.flags.text("model_path"), flags.is_on("dry_run"));
  FATHOM_RETURN_IF_ERROR(model.status());
  input.model = std::move(model).value();
  input.drawn_seed = std::random_device()();
  return config::resolve(input);
}

// Warnings, what needs nothing done and what is not built, in one list.
std::vector<std::string> all_warnings(const config::Resolved& resolved) {
  std::vector<std::string> warnings = resolved.warnings;
  warnings.insert(warnings.end(), resolved.notes.begin(), resolved.notes.end());
  for (const std::string& flag : resolved.not_built) warnings.push_back("not built yet: " + flag);
  return warnings;
}

void print_json(const config::Resolved& resolved, std::ostream& out) {
  Json warnings = Json::array();
  for (std::string& warning : all_warnings(resolved)) {
    warnings.as_array()->push_back(Json::string(std::move(warning)));
  }
  Json object = Json::object();
  object.set("server_args", config::server_arguments(resolved.flags));
  object.set("plan", config::plan_json(resolved.plan));
  object.set("warnings", std::move(warnings));
  out << to_json(object) << "\n";
}

std::string arguments_line(const config::Resolved& resolved) {
  return "server_args=" + config::server_arguments_line(resolved.flags);
}

void print_dry_run(const config::Resolved& resolved, std::ostream& out) {
  out << arguments_line(resolved) << "\n\n" << config::plan_table(resolved.plan) << "\n";
  for (const std::string& warning : all_warnings(resolved)) out << "warning: " << warning << "\n";
}

LogLevel log_level_of(config::LogThreshold threshold) {
  switch (threshold) {
    case config::LogThreshold::kDebug:
      return LogLevel::kDebug;
    case config::LogThreshold::kWarning:
      return LogLevel::kWarning;
    case config::LogThreshold::kError:
      return LogLevel::kError;
    case config::LogThreshold::kInfo:
      break;
  }
  return LogLevel::kInfo;
}

// What an operator finds in the log of a start.
void log_start(const config::Resolved& resolved, std::ostream& out) {
  configure_log({.level = log_level_of(resolved.plan.log_level),
                 .milliseconds = resolved.plan.log_milliseconds,
                 .rank = rank_tags(resolved.plan.layout)});
  log_info(arguments_line(resolved));
  out << config::plan_table(resolved.plan);
  for (const std::string& warning : resolved.warnings) log_warning(warning);
  for (const std::string& note : resolved.notes) log_info(note);
}

int fail(const std::string& message, std::ostream& err) {
  err << "fathom launch_server: " << message << "\n";
  return 1;
}

int launch(std::span<const std::string> args,
           bool model_may_come_first,
           std::ostream& out,
           std::ostream& err) {
  const Result<config::ParsedFlags> parsed = config::parse_flags(
      args, {.model_may_come_first = model_may_come_first, .read_file = read_file});
  if (!parsed.ok()) {
    err << config::flag_usage() << "fathom launch_server: error: " << parsed.status().message()
        << "\n";
    return 2;
  }
  if (parsed->help) {
    out << config::flag_help();
    return 0;
  }
  const Result<config::Resolved> resolved = resolve_launch(parsed->values);
  if (!resolved.ok()) return fail(resolved.status().message(), err);

  const bool dry_run = parsed->values.is_on("dry_run");
  if (parsed->values.is_on("json")) {
    print_json(*resolved, out);
  } else if (dry_run) {
    print_dry_run(*resolved, out);
  }
  out.flush();
  if (dry_run) return 0;
  for (const std::string& flag : resolved->not_built) fail("not built yet: " + flag, err);
  if (!resolved->not_built.empty()) return 1;
  log_start(*resolved, out);
  out.flush();
  const Status served = serve(resolved->plan, to_json(config::server_arguments(resolved->flags)));
  return served.ok() ? 0 : fail(served.message(), err);
}

}  // namespace

int run_launch_server(std::span<const std::string> args, std::ostream& out, std::ostream& err) {
  return launch(args, /*model_may_come_first=*/false, out, err);
}

int run_serve(std::span<const std::string> args, std::ostream& out, std::ostream& err) {
  return launch(args, /*model_may_come_first=*/true, out, err);
}

int run_flag_document(std::span<const std::string> /*args*/,
                      std::ostream& out,
                      std::ostream& /*err*/) {
  out << config::flag_document();
  return 0;
}

}  // namespace fathom::app
