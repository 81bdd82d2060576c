#pragma once

#include "api/core.h"

// The endpoints of files and batches (/v1/files, /v1/batches).
namespace fathom::api {

// Each runs on a thread of core.work: files are read and written.
void files(Core& core, Arrival arrival);    // GET: all of them; POST: an upload
void file(Core& core, Arrival arrival);     // /v1/files/{id}[/content]
void batches(Core& core, Arrival arrival);  // GET: all of them; POST: a new one
void batch(Core& core, Arrival arrival);    // /v1/batches/{id}[/cancel]

}  // namespace fathom::api
