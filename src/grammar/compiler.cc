#include "grammar/compiler.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "grammar/library.h"

namespace fathom::grammar {

namespace {

using Clock = std::chrono::steady_clock;
using Compiled = Result<std::shared_ptr<const Grammar>>;

// What one caller waits for.
class Request final : public Compilation {
 public:
  explicit Request(std::function<void()> on_done) : on_done_(std::move(on_done)) {}

  bool done() const override {
    const std::lock_guard lock(mutex_);
    return result_.has_value();
  }
  Compiled result() const override {
    const std::lock_guard lock(mutex_);
    FATHOM_CHECK(result_.has_value());
    return *result_;
  }

  // The first one counts. Calls on_done; the caller holds no lock.
  bool finish(const Compiled& result) {
    {
      const std::lock_guard lock(mutex_);
      if (result_) return false;
      result_ = result;
    }
    if (on_done_) on_done_();
    on_done_ = nullptr;
    return true;
  }

 private:
  mutable std::mutex mutex_;
  std::optional<Compiled> result_;
  std::function<void()> on_done_;
};

// A source that is being compiled, or waits for it.
struct Job {
  Source source;
  std::string key;
  std::vector<std::pair<std::shared_ptr<Request>, Clock::time_point>> requests;  // and deadlines

  // Whether anybody still has the handle of one of its requests.
  bool wanted() const {
    return std::any_of(requests.begin(), requests.end(),
                       [](const auto& one) { return one.first.use_count() > 1; });
  }
};

std::string key_of(const Source& source) {
  return std::to_string(static_cast<int>(source.kind)) + source.text;
}

// Compiled grammars, the last used first.
class Cache {
 public:
  explicit Cache(std::size_t capacity) : capacity_(capacity) {}

  std::shared_ptr<const Grammar> find(const std::string& key) {
    const auto found = places_.find(key);
    if (found == places_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front().grammar;
  }
  void add(const std::string& key, std::shared_ptr<const Grammar> grammar, std::size_t bytes) {
    bytes += 2 * key.size();
    if (bytes > capacity_ || places_.contains(key)) return;
    entries_.push_front({key, std::move(grammar), bytes});
    places_[key] = entries_.begin();
    bytes_ += bytes;
    while (bytes_ > capacity_) {
      bytes_ -= entries_.back().bytes;
      places_.erase(entries_.back().key);
      entries_.pop_back();
    }
  }

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Grammar> grammar;
    std::size_t bytes;
  };
  std::size_t capacity_;
  std::size_t bytes_ = 0;
  std::list<Entry> entries_;
  std::unordered_map<std::string, std::list<Entry>::iterator> places_;
};

class ThreadedCompiler final : public Compiler {
 public:
  ThreadedCompiler(const CompilerOptions& options, std::unique_ptr<Library> library)
      : max_source_bytes_(options.max_source_bytes),
        max_waiting_(options.max_waiting),
        max_wait_(options.max_wait),
        on_compiled_(options.on_compiled),
        library_(std::move(library)),
        cache_(options.cache_bytes) {
    for (int i = 0; i < std::max(1, options.threads); ++i) {
      threads_.emplace_back([this] { work(); });
    }
    threads_.emplace_back([this] { watch(); });
  }

  // Ends after the compilations that run now. What waits is told.
  ~ThreadedCompiler() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    queue_changed_.notify_all();
    deadlines_changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    const Compiled ended = Status(Code::kUnavailable, "the compiler of grammars is ending");
    for (const auto& [key, job] : jobs_) {
      for (const auto& [request, deadline] : job->requests) request->finish(ended);
    }
  }

  std::shared_ptr<Compilation> compile(const Source& source,
                                       std::function<void()> on_done) override {
    auto request = std::make_shared<Request>(std::move(on_done));
    const std::optional<Compiled> at_once = enter(source, request);
    if (at_once) request->finish(*at_once);
    return request;
  }

  CompilerCounts counts() const override {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  // The answer, when there is one already; else the request waits with a job.
  std::optional<Compiled> enter(const Source& source, const std::shared_ptr<Request>& request) {
    const std::lock_guard lock(mutex_);
    ++counts_.requests;
    if (source.text.size() > max_source_bytes_) {
      ++counts_.failures;
      return invalid_argument("the grammar has " + std::to_string(source.text.size()) +
                              " bytes, at most " + std::to_string(max_source_bytes_) +
                              " are taken");
    }
    std::string key = key_of(source);
    if (auto grammar = cache_.find(key)) {
      ++counts_.cache_hits;
      return grammar;
    }
    const Clock::time_point deadline = Clock::now() + max_wait_;
    const auto running = jobs_.find(key);
    if (running != jobs_.end()) {
      running->second->requests.emplace_back(request, deadline);
    } else {
      if (queue_.size() >= max_waiting_) {
        ++counts_.failures;
        return Status(Code::kResourceExhausted,
                      std::to_string(max_waiting_) + " grammars wait to be compiled already");
      }
      auto job = std::make_shared<Job>();
      job->source = source;
      job->key = key;
      job->requests.emplace_back(request, deadline);
      queue_.push_back(job);
      jobs_.emplace(std::move(key), std::move(job));
      queue_changed_.notify_one();
    }
    deadlines_changed_.notify_one();
    return std::nullopt;
  }

  // A thread that compiles.
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      queue_changed_.wait(lock, [this] { return ending_ || !queue_.empty(); });
      if (ending_) return;
      const std::shared_ptr<Job> job = queue_.front();
      queue_.pop_front();
      // Nobody waits any more: the deadline came first, or those who asked have gone.
      if (!job->wanted()) {
        jobs_.erase(job->key);
        continue;
      }
      lock.unlock();
      const Clock::time_point began = Clock::now();
      Result<Library::Compiled> compiled = library_->compile(job->source);
      if (on_compiled_) on_compiled_(Clock::now() - began);
      lock.lock();
      if (compiled.ok()) cache_.add(job->key, compiled->grammar, compiled->bytes);
      jobs_.erase(job->key);
      // Those past their deadline have another answer, whoever notices first.
      std::vector<std::shared_ptr<Request>> requests;
      std::vector<std::shared_ptr<Request>> late = take_late(*job, Clock::now());
      for (auto& [request, deadline] : job->requests) requests.push_back(std::move(request));
      if (!compiled.ok()) counts_.failures += static_cast<std::int64_t>(requests.size());
      lock.unlock();
      const Compiled result =
          compiled.ok() ? Compiled(compiled->grammar) : Compiled(compiled.status());
      for (const auto& request : requests) request->finish(result);
      for (const auto& request : late) request->finish(too_late());
      lock.lock();
    }
  }

  Compiled too_late() const {
    return Status(Code::kResourceExhausted, "the grammar was not compiled within " +
                                                std::to_string(max_wait_.count()) + " ms");
  }

  // Removes the requests past their deadline from `job`. Requires mutex_.
  std::vector<std::shared_ptr<Request>> take_late(Job& job, Clock::time_point now) {
    std::vector<std::shared_ptr<Request>> late;
    std::erase_if(job.requests, [&](const auto& one) {
      if (one.second > now) return false;
      late.push_back(one.first);
      return true;
    });
    counts_.timeouts += static_cast<std::int64_t>(late.size());
    return late;
  }

  // The thread that ends requests at their deadlines.
  void watch() {
    std::unique_lock lock(mutex_);
    while (!ending_) {
      const Clock::time_point now = Clock::now();
      std::vector<std::shared_ptr<Request>> late;
      std::optional<Clock::time_point> next;
      for (const auto& [key, job] : jobs_) {
        for (auto& request : take_late(*job, now)) late.push_back(std::move(request));
        for (const auto& [request, deadline] : job->requests) {
          next = std::min(next.value_or(deadline), deadline);
        }
      }
      if (!late.empty()) {
        lock.unlock();
        for (const auto& request : late) request->finish(too_late());
        lock.lock();
      } else if (next) {
        deadlines_changed_.wait_until(lock, *next);
      } else {
        deadlines_changed_.wait(lock);
      }
    }
  }

  const std::size_t max_source_bytes_;
  const std::size_t max_waiting_;
  const std::chrono::milliseconds max_wait_;
  const std::function<void(std::chrono::nanoseconds)> on_compiled_;
  const std::unique_ptr<Library> library_;

  mutable std::mutex mutex_;  // of all below, but for threads_
  std::condition_variable queue_changed_;
  std::condition_variable deadlines_changed_;
  bool ending_ = false;
  std::deque<std::shared_ptr<Job>> queue_;
  std::unordered_map<std::string, std::shared_ptr<Job>> jobs_;  // waiting and running, by key
  Cache cache_;
  CompilerCounts counts_;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Compiler> make_compiler(const CompilerOptions& options,
                                        std::unique_ptr<Library> library) {
  return std::make_unique<ThreadedCompiler>(options, std::move(library));
}

Result<std::unique_ptr<Compiler>> Compiler::create(CompilerOptions options) {
  Result<std::unique_ptr<Library>> library = Library::create(options);
  if (!library.ok()) return library.status();
  options.token_bytes = {};
  return make_compiler(options, std::move(*library));
}

}  // namespace fathom::grammar
