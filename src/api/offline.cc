#include "api/offline.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/download.h"
#include "api/json_writer.h"
#include "api/multipart.h"
#include "http/target.h"

namespace fathom::api {

namespace {

constexpr std::string_view kFilesPath = "/v1/files/";
constexpr std::string_view kBatchesPath = "/v1/batches/";
constexpr std::int64_t kDefaultBatches = 20;
constexpr std::int64_t kMaxListed = 10000;

void by_work(Core& core, Arrival arrival, void (*work)(Core& core, Arrival& arrival)) {
  const std::size_t weight = arrival.request.body.size();
  auto kept = std::make_shared<Arrival>(std::move(arrival));
  const bool taken = core.work.post([&core, kept, work] { work(core, *kept); }, weight);
  if (!taken) kept->channel.respond(error_response(Refusal::of(503, "too many requests wait")));
}

http::Response refuse(const Status& status) { return error_response(Refusal::of(status)); }

http::Response missing(std::string_view kind, std::string_view id) {
  return error_response(
      Refusal::of(404, "there is no " + std::string(kind) + " '" + std::string(id) + "'"));
}

http::Response wrong_method() { return error_response(Refusal::of(405, "Method Not Allowed")); }

// The number of a query's member; the fallback when it is missing or none.
std::int64_t limit_of(const http::Request& request, std::int64_t fallback, std::int64_t most) {
  const std::string text = http::query_value(request.query, "limit").value_or("");
  std::int64_t limit = fallback;
  std::from_chars(text.data(), text.data() + text.size(), limit);
  return std::clamp<std::int64_t>(limit, 1, most);
}

// {"object":"list","data":[…],"first_id":…,"last_id":…,"has_more":…}
http::Response list_response(const std::vector<std::pair<std::string, std::string>>& items,
                             bool more) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().string("object", "list").begin_array("data");
  for (const auto& [id, json] : items) writer.raw(json);
  writer.end_array();
  if (items.empty()) {
    writer.null("first_id").null("last_id");
  } else {
    writer.string("first_id", items.front().first).string("last_id", items.back().first);
  }
  writer.boolean("has_more", more).end_object();
  return json_response(std::move(out));
}

http::Response list_files(Core& core, const http::Request& request) {
  const Result<std::vector<StoredFile>> files = core.files.list();
  if (!files.ok()) return refuse(files.status());
  const std::string purpose = http::query_value(request.query, "purpose").value_or("");
  const std::string after = http::query_value(request.query, "after").value_or("");
  const auto limit = static_cast<std::size_t>(limit_of(request, kMaxListed, kMaxListed));
  std::vector<std::pair<std::string, std::string>> items;
  bool begun = after.empty();
  bool more = false;
  for (const StoredFile& file : *files) {
    if (!begun) {
      begun = file.id == after;
      continue;
    }
    if (!purpose.empty() && file.purpose != purpose) continue;
    more = items.size() == limit;
    if (more) break;
    append_file_object(items.emplace_back(file.id, "").second, file);
  }
  return list_response(items, more);
}

http::Response upload(Core& core, const http::Request& request) {
  const std::string* const type = request.headers.find("Content-Type");
  const Result<std::vector<FormPart>> parts =
      parse_form(type == nullptr ? "" : std::string_view(*type), request.body);
  if (!parts.ok()) return refuse(parts.status());
  const FormPart* content = nullptr;
  std::string_view purpose;
  for (const FormPart& part : *parts) {
    if (part.name == "file") content = &part;
    if (part.name == "purpose") purpose = part.content;
  }
  if (content == nullptr) return refuse(invalid_argument("file: is missing"));
  if (purpose != "batch") {
    return refuse(invalid_argument("purpose: was '" + std::string(purpose.substr(0, 64)) +
                                   "', expected 'batch'"));
  }
  const std::string name = content->filename.empty() ? "file" : content->filename;
  const Result<StoredFile> file = core.files.add(name, purpose, content->content);
  if (!file.ok()) return refuse(file.status());
  std::string out;
  append_file_object(out, *file);
  return json_response(std::move(out));
}

http::Response delete_file(Core& core, const std::string& id) {
  const Result<bool> removed = core.files.remove(id);
  if (!removed.ok()) return refuse(removed.status());
  std::string out;
  JsonWriter(out)
      .begin_object()
      .string("id", id)
      .string("object", "file")
      .boolean("deleted", *removed)
      .end_object();
  return json_response(std::move(out));
}

// What is asked for under kFilesPath: the content of a file, or anything else.
struct FilePath {
  std::string id;
  std::string_view what;  // behind the id: "", "/content"
};

FilePath file_path(const http::Request& request) {
  const std::string_view rest = std::string_view(request.path).substr(kFilesPath.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  return {std::string(rest.substr(0, slash)), rest.substr(slash)};
}

bool wants_content(const http::Request& request) {
  return request.method == "GET" && file_path(request).what == "/content";
}

void send_file(Core& core, Arrival& arrival) {
  const std::string id = file_path(arrival.request).id;
  const Result<std::optional<StoredFile>> file = core.files.find(id);
  if (!file.ok()) return arrival.channel.respond(refuse(file.status()));
  if (!file->has_value()) return arrival.channel.respond(missing("file", id));
  Result<StoredContent> content = core.files.content(id);
  if (!content.ok()) {
    const bool gone = content.status().code() == Code::kInvalidArgument;
    return arrival.channel.respond(gone ? missing("file", id) : refuse(content.status()));
  }
  send_content(core, std::move(arrival.channel), std::move(*content));
}

http::Response answer_file(Core& core, const http::Request& request) {
  const auto [id, what] = file_path(request);
  const Result<std::optional<StoredFile>> file = core.files.find(id);
  if (!file.ok()) return refuse(file.status());
  if (!file->has_value() || (!what.empty() && what != "/content")) {
    return missing("file", id + std::string(what));
  }
  if (what == "/content") return wrong_method();
  if (request.method == "DELETE") return delete_file(core, id);
  if (request.method != "GET") return wrong_method();
  std::string out;
  append_file_object(out, **file);
  return json_response(std::move(out));
}

http::Response create_batch(Core& core, const http::Request& request) {
  const Result<Json> body = parse_json(request.body);
  if (!body.ok()) return error_response(Refusal::shape(body.status().message()));
  if (!body->is_object())
    return error_response(Refusal::shape(wrong_json_kind("an object", *body)));
  const Result<Json> made = core.batches.create(*body);
  if (!made.ok()) return refuse(made.status());
  return json_response(to_json(*made));
}

http::Response list_batches(Core& core, const http::Request& request) {
  if (const Status status = core.batches.start(); !status.ok()) return refuse(status);
  const std::string after = http::query_value(request.query, "after").value_or("");
  const auto limit = static_cast<std::size_t>(limit_of(request, kDefaultBatches, 100));
  std::vector<Json> found = core.batches.list(after, limit + 1);
  const bool more = found.size() > limit;
  if (more) found.pop_back();
  std::vector<std::pair<std::string, std::string>> items;
  items.reserve(found.size());
  for (const Json& json : found) items.emplace_back(*json.find("id")->as_string(), to_json(json));
  return list_response(items, more);
}

http::Response answer_batch(Core& core, const http::Request& request) {
  if (const Status status = core.batches.start(); !status.ok()) return refuse(status);
  const std::string_view rest = std::string_view(request.path).substr(kBatchesPath.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const std::string id(rest.substr(0, slash));
  const std::string_view what = rest.substr(slash);
  if (!what.empty() && what != "/cancel") return missing("batch", rest);
  const bool cancels = what == "/cancel";
  if (request.method != (cancels ? "POST" : "GET")) return wrong_method();
  const std::optional<Json> json = cancels ? core.batches.cancel(id) : core.batches.find(id);
  return json ? json_response(to_json(*json)) : missing("batch", id);
}

}  // namespace

Batches::Send batch_sender(Core& core) {
  return [&core](http::Request request, std::shared_ptr<http::Exchange> exchange) {
    Channel channel(std::move(exchange), request);
    dispatch(core, {std::move(request), std::move(channel)});
  };
}

BatchOptions batch_options(const ServiceOptions& options) {
  BatchOptions made;
  // A few more than run, so that the engine never waits for a batch.
  const auto running = static_cast<std::size_t>(std::max(options.max_running, 1));
  made.concurrency = std::min(running + running / 4 + 1, made.max_concurrency);
  return made;
}

void files(Core& core, Arrival arrival) {
  by_work(core, std::move(arrival), [](Core& kept, Arrival& asked) {
    const bool lists = asked.request.method == "GET";
    asked.channel.respond(lists ? list_files(kept, asked.request) : upload(kept, asked.request));
  });
}

void file(Core& core, Arrival arrival) {
  by_work(core, std::move(arrival), [](Core& kept, Arrival& asked) {
    if (wants_content(asked.request)) {
      send_file(kept, asked);
    } else {
      asked.channel.respond(answer_file(kept, asked.request));
    }
  });
}

void batches(Core& core, Arrival arrival) {
  by_work(core, std::move(arrival), [](Core& kept, Arrival& asked) {
    const bool lists = asked.request.method == "GET";
    asked.channel.respond(lists ? list_batches(kept, asked.request)
                                : create_batch(kept, asked.request));
  });
}

void batch(Core& core, Arrival arrival) {
  by_work(core, std::move(arrival), [](Core& kept, Arrival& asked) {
    asked.channel.respond(answer_batch(kept, asked.request));
  });
}

}  // namespace fathom::api
