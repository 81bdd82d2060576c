#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "http/message.h"
#include "observe/monitor.h"

namespace fathom::api {

// The values that a request brings for the monitor's custom labels, in the order of their names; ""
// for those that it does not bring. Empty when there are no such labels, or when nothing is brought
// for them: they are a note of the client's, so what cannot be read is no error.
//
// A string counts as it is, a number or a boolean as JSON writes it, anything else not at all.

// Of a JSON object, the member `custom_labels` of /generate; null: nothing is brought.
std::vector<std::string> custom_label_values(const observe::Monitor* monitor, const Json* object);
// Of the header that --tokenizer-metrics-custom-labels-header names, which is such an object of at
// most 4096 bytes.
std::vector<std::string> custom_label_values(const observe::Monitor* monitor,
                                             const http::Request& request);

}  // namespace fathom::api
