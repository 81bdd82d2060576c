// Streamed events through the whole server: what an engine publishes becomes text, JSON, events and
// bytes on a socket. A script stands in the engine's place; the rest is what the program runs. The
// clients are a process of their own, so that processor times are the server's alone, but both
// share the machine's processors, and latencies hold the time that clients wait for one.
//
// usage: serve_bench [SECONDS a row [NAME]]; NAME: only streams with this in their name

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "bench/machine.h"
#include "bench/serve_case.h"
#include "bench/serve_run.h"
#include "bench/service_cost.h"
#include "bench/table.h"
#include "http/open_files.h"
#include "text/tokenizer.h"

namespace fathom::bench {
namespace {

constexpr std::size_t kAnswerTokens = 128;

constexpr std::string_view kStory =
    "The boat left the harbour before the sun was up. There were three people in it, a dog, and "
    "a box that none of them had opened yet. Further out the water turned from grey to green, and "
    "the oldest of the three began to tell what she had been told about the island: nobody had "
    "lived there for a hundred years, but every winter somebody lit the lamp in its tower. ";

Script make_script(const text::Tokenizer& tokenizer) {
  const std::vector<wire::TokenId> story = tokenizer.encode(kStory);
  Script script;
  for (std::size_t i = 0; i < kAnswerTokens; ++i) {
    const wire::TokenId token = story[i % story.size()];
    script.tokens.push_back(token);
    script.text += tokenizer.token_bytes(token);
    script.ends.push_back(script.text.size());
  }
  return script;
}

// Those that have `wanted` in their name.
std::vector<StreamForm> stream_forms(std::string_view wanted) {
  const std::string tokens = std::to_string(kAnswerTokens);
  StreamForm generate;
  generate.name = "/generate";
  generate.path = "/generate";
  generate.body =
      R"({"text":"Tell me a story.","stream":true,"sampling_params":{"max_new_tokens":)" + tokens +
      "}}";
  generate.mark = R"("text":")";
  generate.cumulative = true;

  StreamForm incremental = generate;
  incremental.name = "/generate, incremental";
  incremental.cumulative = false;
  incremental.incremental_streaming = true;

  StreamForm completions;
  completions.name = "/v1/completions";
  completions.path = "/v1/completions";
  completions.body =
      R"({"model":"fathom-tiny","prompt":"Tell me a story.","stream":true,"max_tokens":)" + tokens +
      "}";
  completions.mark = R"("text":")";

  StreamForm chat;
  chat.name = "/v1/chat/completions";
  chat.path = chat.name;
  chat.body = R"({"model":"fathom-tiny","messages":[{"role":"user","content":"Tell me a story."}],)"
              R"("stream":true,"max_tokens":)" +
              tokens + "}";
  chat.mark = R"("content":")";

  std::vector<StreamForm> forms{generate, incremental, completions, chat};
  std::erase_if(forms, [wanted](const StreamForm& form) {
    return form.name.find(wanted) == std::string::npos;
  });
  return forms;
}

// What all rows need.
struct Bench {
  const text::Tokenizer& tokenizer;
  Script script;
  std::vector<StreamForm> forms;
  double seconds = 0;
};

void measure_rate(const Bench& bench) {
  std::printf("\nthe next token for every stream as soon as all clients have the last one\n\n");
  const Table table({{"stream", 22},
                     {"streams", 7},
                     {"bytes/event"},
                     {"k events/s"},
                     {"server", 7},
                     {"publishing", 7},
                     {"clients", 7},
                     {"per event"},
                     {"without sockets"},
                     {"k events/s per core"}});
  for (const StreamForm& form : bench.forms) {
    for (const int streams : {1, 100, 1000}) {
      const Figures figures =
          ServeRun(form, bench.tokenizer, bench.script, streams).measure_rate(bench.seconds);
      const Times& times = figures.times;
      const auto events = static_cast<double>(figures.events);
      const double processor_s = times.server + times.publishing;
      table.row({form.name, std::to_string(streams),
                 number(static_cast<double>(figures.bytes) / events, 0),
                 number(events / times.wall / 1000, 1), percent(times.server / times.wall),
                 percent(times.publishing / times.wall), percent(times.clients / times.wall),
                 duration(processor_s / events),
                 duration(service_seconds_per_event(form, bench.tokenizer, bench.script, streams,
                                                    bench.seconds / 4)),
                 number(events / processor_s / 1000, 1)});
    }
  }
}

void measure_latency(const Bench& bench) {
  struct Pace {
    int streams;
    double step_s;
  };
  std::printf("\na token for every stream each step: from publishing it to having read it\n\n");
  const Table table({{"stream", 22},
                     {"streams", 7},
                     {"step", 7},
                     {"k tokens/s"},
                     {"p50", 7},
                     {"p99", 7},
                     {"max", 7},
                     {"server", 7},
                     {"publishing", 7},
                     {"clients", 7}});
  for (const StreamForm& form : bench.forms) {
    for (const Pace pace : {Pace{1, 0.02}, {100, 0.02}, {1000, 0.05}, {1000, 0.02}}) {
      const Figures figures = ServeRun(form, bench.tokenizer, bench.script, pace.streams)
                                  .measure_paced(bench.seconds, pace.step_s);
      const Times& times = figures.times;
      const Latencies& latencies = figures.latencies;
      const auto told = [](std::int64_t ns) { return duration(static_cast<double>(ns) * 1e-9); };
      table.row({form.name, std::to_string(pace.streams), duration(pace.step_s),
                 number(static_cast<double>(figures.tokens) / times.wall / 1000, 1),
                 told(latencies.p50_ns), told(latencies.p99_ns), told(latencies.max_ns),
                 percent(times.server / times.wall), percent(times.publishing / times.wall),
                 percent(times.clients / times.wall)});
    }
  }
}

}  // namespace
}  // namespace fathom::bench

int main(int argc, char** argv) {
  using namespace fathom;
  const double given_s = argc > 1 ? std::strtod(argv[1], nullptr) : 0;
  http::raise_open_files(8192);
  const auto tokenizer = text::Tokenizer::load(FATHOM_BENCH_TOKENIZER);
  FATHOM_CHECK_MSG(tokenizer.ok(), tokenizer.status().message());
  const bench::Bench all{**tokenizer, bench::make_script(**tokenizer),
                         bench::stream_forms(argc > 2 ? argv[2] : ""), given_s > 0 ? given_s : 2};
  std::printf(
      "%s\nanswers of %zu tokens with %zu bytes of text; one server thread; 100 %% is one "
      "processor\n",
      bench::describe_machine().c_str(), all.script.tokens.size(), all.script.text.size());
  bench::measure_rate(all);
  bench::measure_latency(all);
  return 0;
}
