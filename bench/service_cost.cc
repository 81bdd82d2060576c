#include "bench/service_cost.h"

#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "api/service.h"
#include "base/check.h"
#include "bench/serve_rig.h"

namespace fathom::bench {

namespace {

class Sink final : public http::Exchange {
 public:
  void respond(http::Response response) override { FATHOM_CHECK_MSG(false, response.body); }
  void start(http::Response /*response*/) override {}
  // Keeps a piece until the next one, as a connection does while it sends.
  bool write(std::string piece) override {
    piece_ = std::move(piece);
    return true;
  }
  void on_sent(std::function<void()> sent) override { sent(); }
  void finish() override {}
  void on_gone(std::function<void()> /*gone*/) override {}

 private:
  std::string piece_;
};

double thread_s() {
  timespec time{};
  FATHOM_CHECK(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

double service_seconds_per_event(const StreamForm& form,
                                 const text::Tokenizer& tokenizer,
                                 const Script& script,
                                 int streams,
                                 double seconds) {
  ScriptedEngine engine(script, [] {});
  api::Service service(service_options(form, tokenizer), &tokenizer, engine.client());
  http::Request request;
  request.method = "POST";
  request.path = form.path;
  request.headers.add("Content-Type", "application/json");
  request.body = form.body;

  double spent_s = 0;
  std::int64_t events = 0;
  while (spent_s < seconds) {
    for (int i = 0; i < streams; ++i) service.handle(request, std::make_shared<Sink>());
    engine.receive(streams);
    const double begin_s = thread_s();
    for (std::size_t step = 0; step < script.tokens.size(); ++step) {
      engine.publish(step);
      service.on_outputs();
    }
    spent_s += thread_s() - begin_s;
    events += static_cast<std::int64_t>(script.tokens.size()) * streams;
  }
  return spent_s / static_cast<double>(events);
}

}  // namespace fathom::bench
