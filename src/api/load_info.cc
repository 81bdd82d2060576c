#include <algorithm>
#include <array>
#include <string_view>

#include "api/core.h"
#include "api/json_writer.h"
#include "base/clock.h"
#include "http/target.h"

namespace fathom::api {

namespace {

// The parts of /v1/loads that may be asked for, comma-separated. Those without a feature behind
// them are empty.
constexpr std::array<std::string_view, 7> kParts{"core",   "memory", "spec", "lora",
                                                 "disagg", "queues", "all"};

struct LoadQuery {
  bool memory = true;
  bool queues = true;
  bool prometheus = false;
  bool other_rank = false;  // one that does not exist
};

std::optional<Refusal> read_parts(std::string_view list, LoadQuery& out) {
  out.memory = false;
  out.queues = false;
  while (!list.empty()) {
    const std::size_t end = list.find(',');
    const std::string_view part = list.substr(0, end);
    if (std::find(kParts.begin(), kParts.end(), part) == kParts.end()) {
      return Refusal::semantic("include: was \"" + std::string(part) +
                               "\", expected core, memory, spec, lora, disagg, queues or all");
    }
    out.memory = out.memory || part == "memory" || part == "all";
    out.queues = out.queues || part == "queues" || part == "all";
    list = end == std::string_view::npos ? std::string_view() : list.substr(end + 1);
  }
  return std::nullopt;
}

std::optional<Refusal> read_query(std::string_view target, LoadQuery& out) {
  const std::size_t mark = target.find('?');
  std::string_view rest = mark == std::string_view::npos ? "" : target.substr(mark + 1);
  while (!rest.empty()) {
    const std::size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const std::size_t equals = pair.find('=');
    const std::string_view name = pair.substr(0, equals);
    const std::string value = http::query_value(pair, name).value_or("");
    if (name == "include") {
      if (auto refusal = read_parts(value, out)) return refusal;
    } else if (name == "format") {
      if (value != "json" && value != "prometheus") {
        return Refusal::semantic("format: was \"" + std::string(value) +
                                 "\", expected json or prometheus");
      }
      out.prometheus = value == "prometheus";
    } else if (name == "dp_rank") {
      out.other_rank = value != "0";
    }
  }
  return std::nullopt;
}

void write_load(JsonWriter& writer,
                const Core& core,
                const wire::EngineLoad& load,
                double throughput,
                const LoadQuery& query) {
  const std::int64_t used = std::int64_t{load.pages_used} * core.options.page_tokens;
  writer.begin_object()
      .integer("dp_rank", 0)
      .integer("num_running_reqs", load.running)
      .integer("num_waiting_reqs", load.waiting)
      .integer("num_total_reqs", std::int64_t{load.running} + load.waiting)
      .integer("num_used_tokens", used)
      .integer("max_total_num_tokens", core.options.pool_tokens)
      .real("token_usage", core.options.pool_tokens > 0
                               ? static_cast<double>(used) / core.options.pool_tokens
                               : 0.0)
      .real("gen_throughput", throughput);
  if (query.memory) {
    writer.begin_object("memory")
        .real("weight_gb", core.options.weight_gigabytes)
        .real("kv_cache_gb", core.options.cache_gigabytes)
        .integer("token_capacity", core.options.pool_tokens)
        .end_object();
  }
  if (query.queues) {
    writer.begin_object("queues").integer("waiting", load.waiting).end_object();
  }
  writer.end_object();
}

std::string prometheus_text(const wire::EngineLoad& load, std::int64_t used, double throughput) {
  std::string out;
  const auto gauge = [&out](std::string_view name, const std::string& value) {
    out += "# TYPE sglang:" + std::string(name) + " gauge\nsglang:" + std::string(name) +
           "{dp_rank=\"0\"} " + value + "\n";
  };
  gauge("num_running_reqs", std::to_string(load.running));
  gauge("num_waiting_reqs", std::to_string(load.waiting));
  gauge("num_used_tokens", std::to_string(used));
  gauge("gen_throughput", std::to_string(throughput));
  return out;
}

}  // namespace

http::Response get_load(Core& core, const http::Request& /*request*/) {
  const wire::EngineLoad load = core.engine.load();
  std::string out;
  JsonWriter(out)
      .begin_array()
      .begin_object()
      .integer("dp_rank", 0)
      .integer("num_reqs", std::int64_t{load.running} + load.waiting)
      .integer("num_waiting_reqs", load.waiting)
      .integer("num_tokens", std::int64_t{load.pages_used} * core.options.page_tokens)
      .real("ts_tic", static_cast<double>(now_ns()) * 1e-9)
      .end_object()
      .end_array();
  return json_response(std::move(out));
}

http::Response get_loads(Core& core, const http::Request& request) {
  LoadQuery query;
  if (auto refusal = read_query(request.target, query)) return error_response(*refusal);
  if (query.other_rank) {
    return error_response(Refusal::semantic("dp_rank: expected 0, the only rank there is"));
  }
  const wire::EngineLoad load = core.engine.load();
  const double throughput = core.throughput.look(load.generated_tokens, now_ns());
  if (query.prometheus) {
    const std::int64_t used = std::int64_t{load.pages_used} * core.options.page_tokens;
    return text_response(200, prometheus_text(load, used, throughput));
  }
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .real("timestamp", unix_time_s())
      .string("version", core.options.version)
      .begin_array("loads");
  write_load(writer, core, load, throughput, query);
  writer.end_array().end_object();
  return json_response(std::move(out));
}

}  // namespace fathom::api
