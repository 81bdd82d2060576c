#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <string_view>

#include "api/core.h"
#include "api/json_writer.h"
#include "base/clock.h"
#include "http/target.h"
#include "observe/exposition.h"

namespace fathom::api {

namespace {

// The parts of /v1/loads that may be asked for, comma-separated.
constexpr std::array<std::string_view, 7> kParts{"core",   "memory", "spec", "lora",
                                                 "disagg", "queues", "all"};

struct LoadQuery {
  std::vector<std::string> parts;  // none: all
  bool prometheus = false;
  std::int64_t rank = 0;

  bool wants(std::string_view part) const {
    const auto has = [this](std::string_view name) {
      return std::find(parts.begin(), parts.end(), name) != parts.end();
    };
    return parts.empty() || has("all") || has(part);
  }
};

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::optional<Refusal> read_parts(std::string_view list, std::vector<std::string>& out) {
  while (!list.empty()) {
    const std::size_t end = list.find(',');
    const std::string_view part = trimmed(list.substr(0, end));
    if (std::find(kParts.begin(), kParts.end(), part) == kParts.end()) {
      return Refusal{400, "400",
                     "include: was \"" + std::string(part) +
                         "\", expected core, memory, spec, lora, disagg, queues or all"};
    }
    out.emplace_back(part);
    list = end == std::string_view::npos ? std::string_view() : list.substr(end + 1);
  }
  return std::nullopt;
}

// As SGLang reads it: a format that it does not know is JSON, a rank that there is not has no
// loads.
std::optional<Refusal> read_query(std::string_view target, LoadQuery& out) {
  const std::size_t mark = target.find('?');
  if (mark == std::string_view::npos) return std::nullopt;
  const std::string_view query = target.substr(mark + 1);
  if (auto refusal = read_parts(http::query_value(query, "include").value_or(""), out.parts)) {
    return refusal;
  }
  out.prometheus = http::query_value(query, "format").value_or("") == "prometheus";
  if (const auto rank = http::query_value(query, "dp_rank")) {
    const char* const end = rank->data() + rank->size();
    const auto [read, error] = std::from_chars(rank->data(), end, out.rank);
    if (error != std::errc() || read != end) {
      return Refusal::shape("dp_rank: was \"" + *rank + "\", expected a whole number");
    }
  }
  return std::nullopt;
}

struct Figure {
  std::string_view name;
  double value = 0;  // whole numbers are exact: none comes near 2^53
};

struct Section {
  std::string_view name;    // empty: the load's own members
  std::string_view metric;  // what its metrics' names begin with, behind "sglang_"
  std::vector<Figure> figures;
};

double rounded(double value, double parts) { return std::round(value * parts) / parts; }

std::int64_t used_tokens(const Core& core, const wire::EngineLoad& load) {
  return std::int64_t{load.pages_used} * core.options.page_tokens;
}

Section core_section(const Core& core, const wire::EngineLoad& load, double throughput) {
  const std::int64_t used = used_tokens(core, load);
  const std::int64_t pool = core.options.pool_tokens;
  const std::int64_t prompts = load.totals.cached_tokens + load.totals.prefill_tokens;
  const auto share = [](std::int64_t part, std::int64_t whole) {
    constexpr double kFourDecimals = 1e4;
    if (whole <= 0) return 0.0;
    return rounded(static_cast<double>(part) / static_cast<double>(whole), kFourDecimals);
  };
  const auto whole = [](std::int64_t value) { return static_cast<double>(value); };
  return {"",
          "",
          {{"num_running_reqs", whole(load.running)},
           {"num_waiting_reqs", whole(load.waiting)},
           {"num_waiting_uncached_tokens", whole(load.waiting_tokens)},
           {"num_used_tokens", whole(used)},
           {"num_total_tokens", whole(used + load.waiting_tokens)},
           {"max_total_num_tokens", whole(pool)},
           {"max_running_requests", whole(core.options.max_running)},
           {"token_usage", share(used, pool)},
           {"gen_throughput", rounded(throughput, 100)},
           {"cache_hit_rate", share(load.totals.cached_tokens, prompts)},
           // SGLang's is 0, too, without a count of requests that keeps latencies in bounds.
           {"utilization", 0}}};
}

// What of a load is asked for. LoRA has nothing to tell: its section is absent, as SGLang's is when
// it is off; so is that of speculation.
std::vector<Section> sections_of(const Core& core,
                                 const wire::EngineLoad& load,
                                 double throughput,
                                 const LoadQuery& query) {
  std::vector<Section> sections{core_section(core, load, throughput)};
  if (query.wants("memory")) {
    sections.push_back({"memory",
                        "memory_",
                        {{"weight_gb", rounded(core.options.weight_gigabytes, 1000)},
                         {"kv_cache_gb", rounded(core.options.cache_gigabytes, 1000)},
                         {"graph_gb", 0},
                         {"token_capacity", static_cast<double>(core.options.pool_tokens)}}});
  }
  if (query.wants("spec") && core.options.draft_tokens > 0) {
    const double length = accept_length(load.totals.drafts);
    sections.push_back({"speculative",
                        "spec_",
                        {{"accept_length", rounded(length, 1e4)},
                         {"accept_rate", rounded(length / core.options.draft_tokens, 1e4)}}});
  }
  if (query.wants("disagg")) {
    sections.push_back({"disaggregation",
                        "disagg_",
                        {{"prefill_prealloc_queue_reqs"},
                         {"prefill_inflight_queue_reqs"},
                         {"decode_prealloc_queue_reqs"},
                         {"decode_transfer_queue_reqs"},
                         {"decode_retracted_queue_reqs"},
                         {"kv_transfer_speed_gb_s"},
                         {"kv_transfer_latency_ms"}}});
  }
  if (query.wants("queues")) {
    sections.push_back({"queues",
                        "queues_",
                        {{"waiting", static_cast<double>(load.waiting)},
                         {"grammar", static_cast<double>(load.waiting_for_grammar)},
                         {"paused", 0},
                         {"retracted", static_cast<double>(load.waiting_retracted)}}});
  }
  return sections;
}

void write_load(JsonWriter& writer, const std::vector<Section>& sections) {
  writer.begin_object().integer("dp_rank", 0);
  for (const Section& section : sections) {
    if (!section.name.empty()) writer.begin_object(section.name);
    if (section.name == "disaggregation") writer.string("mode", "null");
    for (const Figure& figure : section.figures) writer.real(figure.name, figure.value);
    if (!section.name.empty()) writer.end_object();
  }
  writer.end_object();
}

std::string prometheus_text(const std::vector<Section>& sections) {
  std::string out;
  for (const Section& section : sections) {
    for (const Figure& figure : section.figures) {
      std::string name = "sglang_";
      name.append(section.metric).append(figure.name);
      out.append("# TYPE ").append(name).append(" gauge\n").append(name).append("{dp_rank=\"0\"} ");
      JsonWriter(out).real(figure.value);
      out += '\n';
    }
  }
  return out;
}

// 2026-01-31T23:59:59.123456+00:00
std::string iso_time(double unix_seconds) {
  constexpr std::int64_t kMicros = 1'000'000;
  const auto micros = static_cast<std::int64_t>(unix_seconds * kMicros);
  const std::time_t seconds = micros / kMicros;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const std::size_t written = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  const int more = std::snprintf(text.data() + written, text.size() - written, ".%06d+00:00",
                                 static_cast<int>(micros % kMicros));
  return {text.data(), written + static_cast<std::size_t>(more)};
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
      .integer("num_tokens", used_tokens(core, load) + load.waiting_tokens)
      .integer("num_pending_tokens", load.waiting_tokens)
      .real("ts_tic", static_cast<double>(now_ns()) * 1e-9)
      .end_object()
      .end_array();
  return json_response(std::move(out));
}

http::Response get_loads(Core& core, const http::Request& request) {
  LoadQuery query;
  if (auto refusal = read_query(request.target, query)) return error_response(*refusal);
  const wire::EngineLoad load = core.engine.load();
  const double throughput = core.throughput.look(load.generated_tokens, now_ns());
  const std::vector<Section> sections = sections_of(core, load, throughput, query);
  const bool there = query.rank == 0;
  if (query.prometheus) {
    http::Response response;
    response.headers.add("Content-Type", std::string(observe::kExpositionType));
    response.body = there ? prometheus_text(sections) : "\n";
    return response;
  }
  const ServiceOptions& options = core.options;
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .string("timestamp", iso_time(unix_time_s()))
      .string("version", options.version)
      .key("accelerator");
  if (options.accelerator.empty()) {
    writer.null();
  } else {
    writer.string(options.accelerator);
  }
  writer.integer("num_accelerators", options.accelerators).begin_array("loads");
  if (there) write_load(writer, sections);
  writer.end_array().end_object();
  return json_response(std::move(out));
}

}  // namespace fathom::api
