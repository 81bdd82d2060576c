#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "api/service.h"
#include "bench/serve_case.h"
#include "http/server.h"
#include "text/tokenizer.h"
#include "wire/engine_link.h"

namespace fathom::bench {

// Plays the engine's part: answers all requests together with a script, one token a step.
//
// Threads: one at a time.
class ScriptedEngine {
 public:
  // Borrows `script` for its life. `on_output` as InprocLink's.
  ScriptedEngine(const Script& script, std::function<void()> on_output);

  wire::EngineClient& client() { return link_.client(); }
  // Waits for so many requests and forgets those before.
  void receive(int count);
  // Publishes the token `index` for all of them; the script's last one ends the answers.
  void publish(std::size_t index);

 private:
  const Script* script_;
  wire::InprocLink link_;
  std::vector<wire::GenerateRequest> requests_;
};

api::ServiceOptions service_options(const StreamForm& form, const text::Tokenizer& tokenizer);

// Server, service and link as the program puts them together.
class ServeRig {
 public:
  // Borrows all three for its life.
  ServeRig(const StreamForm& form, const text::Tokenizer& tokenizer, const Script& script);
  ~ServeRig();
  ServeRig(const ServeRig&) = delete;
  ServeRig& operator=(const ServeRig&) = delete;

  std::uint16_t port() const { return server_->port(); }
  ScriptedEngine& engine() { return engine_; }

 private:
  ScriptedEngine engine_;
  api::Service service_;
  std::unique_ptr<http::Server> server_;  // last: its threads use the rest
};

}  // namespace fathom::bench
