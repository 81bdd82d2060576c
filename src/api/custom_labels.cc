#include "api/custom_labels.h"

namespace fathom::api {

namespace {

constexpr std::size_t kMaxHeaderBytes = 4096;

bool has_labels(const observe::Monitor* monitor) {
  return monitor != nullptr && monitor->requests != nullptr &&
         !monitor->requests->custom_labels().empty();
}

std::string value_of(const Json& value) {
  if (const std::string* text = value.as_string()) return *text;
  if (value.as_number_text() != nullptr || value.as_bool()) return to_json(value);
  return "";
}

}  // namespace

std::vector<std::string> custom_label_values(const observe::Monitor* monitor, const Json* object) {
  std::vector<std::string> values;
  if (!has_labels(monitor) || object == nullptr || !object->is_object()) return values;
  bool any = false;
  for (const std::string& name : monitor->requests->custom_labels()) {
    const Json* const value = object->find(name);
    values.push_back(value == nullptr ? "" : value_of(*value));
    any = any || !values.back().empty();
  }
  if (!any) values.clear();
  return values;
}

std::vector<std::string> custom_label_values(const observe::Monitor* monitor,
                                             const http::Request& request) {
  if (!has_labels(monitor)) return {};
  const std::string* const header = request.headers.find(monitor->options.custom_labels_header);
  if (header == nullptr || header->size() > kMaxHeaderBytes) return {};
  const Result<Json> labels = parse_json(*header);
  return labels.ok() ? custom_label_values(monitor, &*labels) : std::vector<std::string>();
}

}  // namespace fathom::api
