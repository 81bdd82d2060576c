#pragma once

#include <map>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/file.h"
#include "config/resolve.h"
#include "config/seed_commands_testing.h"

namespace fathom::config {

using EnvironmentMap = std::map<std::string, std::string>;

// The environment of the deployment that Fathom takes over.
inline EnvironmentMap seed_environment() {
  return {{"NVSHMEM_BOOTSTRAP_UID_SOCK_IFNAME", "eth0"},
          {"NVSHMEM_IB_TRAFFIC_CLASS", "98"},
          {"NVSHMEM_IB_GID_INDEX", "3"},
          {"SGLANG_DP_ATTENTION_HANDSHAKE_PORT_DELTA", "30"},
          {"SGLANG_DISAGGREGATION_WAITING_TIMEOUT", "80"},
          {"SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT", "80"},
          {"SGLANG_DG_CACHE_DIR", "/workspace/cache/deep_gemm_h200"},
          {"MC_IB_TC", "98"},
          {"NCCL_IB_TC", "98"}};
}

inline GetEnvironment environment_of(EnvironmentMap variables) {
  return [variables = std::move(variables)](const std::string& name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

inline ModelConfig real_model() {
  const auto text = read_small_file(
      std::filesystem::path(FATHOM_SOURCE_DIR) / "tests" / "data" / "real-config.json", 1 << 20);
  EXPECT_TRUE(text.ok());
  auto model = parse_model_config(*text);
  EXPECT_TRUE(model.ok());
  return *model;
}

// `line` resolved for the full-size model on a machine; a parse failure fails the test.
inline Result<Resolved> resolve_line(std::string_view line,
                                     std::string_view machine = "h200x8",
                                     const EnvironmentMap& variables = {},
                                     const FileReader& read_file = {}) {
  ResolveInput input;
  const auto parsed =
      parse_flags(split_words(line), {.model_may_come_first = false, .read_file = {}});
  EXPECT_TRUE(parsed.ok()) << line << ": " << parsed.status().message();
  if (!parsed.ok()) return parsed.status();
  input.flags = parsed->values;
  if (!input.flags.has("model_path")) {
    input.flags.give("model_path", Json::string("model"), ValueSource::kCommandLine,
                     "--model-path");
  }
  const auto environment = EnvironmentValues::read(environment_of(variables));
  if (!environment.ok()) return environment.status();
  input.environment = *environment;
  input.model = real_model();
  input.machine = *preset_machine(machine);
  input.drawn_seed = 1234567;
  input.read_file = read_file;
  return resolve(input);
}

// The message of a refusal; "resolved" when there is none.
inline std::string refusal(std::string_view line,
                           std::string_view machine = "h200x8",
                           const EnvironmentMap& variables = {}) {
  const Result<Resolved> result = resolve_line(line, machine, variables);
  return result.ok() ? "resolved" : result.status().message();
}

}  // namespace fathom::config
