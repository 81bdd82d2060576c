#include "observe/request_log.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "observe/python_text.h"

namespace fathom::observe {

namespace {

constexpr std::size_t kCut = 2048;

std::size_t most_of(const RequestLogSettings& settings) { return settings.level == 2 ? kCut : 0; }

// What the lower levels leave out, of an object's own members alone.
constexpr auto kContent = std::to_array<std::string_view>({"text", "input_ids", "input_embeds",
                                                           "image_data", "video_data", "audio_data",
                                                           "lora_path", "output_ids", "embedding"});

bool leaves_out(int level, std::string_view name) {
  if (level >= 2) return false;
  if (level == 0 && name == "sampling_params") return true;
  return std::find(kContent.begin(), kContent.end(), name) != kContent.end();
}

Json at_level(const Json& value, int level) {
  if (const Json::Array* elements = value.as_array()) {
    Json::Array kept;
    kept.reserve(elements->size());
    for (const Json& element : *elements) kept.push_back(at_level(element, level));
    return Json::array(std::move(kept));
  }
  const Json::Object* members = value.as_object();
  if (members == nullptr) return value;
  Json::Object kept;
  for (const JsonMember& member : *members) {
    if (!leaves_out(level, member.key)) kept.push_back(member);
  }
  return Json::object(std::move(kept));
}

// "2026-11-25T14:03:07.512345"
std::string timestamp_now() {
  const double now = unix_time_s();
  const auto seconds = static_cast<std::time_t>(now);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t length = strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::string micro =
      std::to_string(static_cast<int>((now - static_cast<double>(seconds)) * 1e6) + 1'000'000);
  return std::string(text.data(), length) + "." + micro.substr(1);
}

std::uint32_t pack(const RequestLogSettings& settings) {
  return (settings.enabled ? 1U : 0U) | (settings.json ? 2U : 0U) |
         static_cast<std::uint32_t>(settings.level) << 2U;
}

}  // namespace

RequestLog::RequestLog(const RequestLogSettings& settings, std::int64_t exceeded_ms)
    : packed_(pack(settings)), exceeded_ms_(exceeded_ms) {}

RequestLogSettings RequestLog::settings() const {
  const std::uint32_t packed = packed_.load(std::memory_order_relaxed);
  return {(packed & 1U) != 0, static_cast<int>(packed >> 2U), (packed & 2U) != 0};
}

void RequestLog::configure(const RequestLogSettings& settings) { packed_ = pack(settings); }

std::string RequestLog::show(const RequestLogSettings& settings, const Json& request) {
  const Json obj = at_level(request, settings.level);
  const std::size_t most = most_of(settings);
  return settings.json ? to_json(shortened(obj, most)) : python_call("GenerateReqInput", obj, most);
}

std::string RequestLog::line(const LoggedRequest& request,
                             const Json* answer,
                             std::string_view timestamp) {
  const RequestLogSettings& settings = request.settings;
  const std::size_t most = most_of(settings);
  const Json out = answer != nullptr ? at_level(*answer, settings.level) : Json();
  std::string text;
  if (settings.json) {
    text = "{\"timestamp\":";
    append_json_string(text, timestamp);
    text += ",\"event\":";
    text += answer == nullptr ? "\"request.received\"" : "\"request.finished\"";
    text += ",\"rid\":";
    append_json_string(text, request.rid);
    text += ",\"obj\":";
    text += request.shown;
    if (answer != nullptr) {
      text += ",\"out\":";
      append_json(text, shortened(out, most));
    }
    text += '}';
    return text;
  }
  text = answer == nullptr ? "Receive: obj=" : "Finish: obj=";
  text += request.shown;
  if (answer != nullptr) {
    text += ", out=";
    append_python(text, out, most);
  }
  return text;
}

void RequestLog::write(const LoggedRequest& request, const Json* answer) {
  if (request.settings.json) {
    log_line(line(request, answer, timestamp_now()));
  } else {
    log_info(line(request, answer, {}));
  }
}

LoggedRequest RequestLog::received(std::string_view rid, const Json& request) const {
  LoggedRequest logged;
  logged.settings = settings();
  if (!logged.settings.enabled) return logged;
  logged.rid = rid;
  logged.shown = show(logged.settings, request);
  write(logged, nullptr);
  return logged;
}

void RequestLog::finished(const LoggedRequest& request,
                          const Json& answer,
                          std::int64_t milliseconds) const {
  if (!request.settings.enabled || !enabled() || milliseconds < exceeded_ms_) return;
  write(request, &answer);
}

}  // namespace fathom::observe
