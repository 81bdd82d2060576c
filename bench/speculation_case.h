#pragma once

#include <filesystem>

namespace fathom::bench {

// A decode step with one draft a sequence beside one without, at several batch sizes:
//
//   plain     1 row a sequence, its logits                                                T1
//   verify    2 rows a sequence, at the same position and the next, logits of both
//   draft     the draft layer over the same 2 rows, logits of one                         T2 with
//   verify
//
// Draws and the choice of the best token are left out on both sides. What a step costs is predicted
// from counts first (model_cost.h: rows, the experts that were really hit, both heads), and printed
// before anything is timed:
//
//   floor      the sum over the step's parts of max(bytes / bandwidth, operations / peak). The
//   parts
//              (a product, a layer's attention) run one after the other: one that reads leaves the
//              arithmetic idle, so that the larger one of the whole step's sums would be too low.
//              The bandwidth is that of a buffer as large as the checkpoint: a model that a cache
//              holds is read from there.
//
// The ratio T2 / T1 pays off when more drafts than T2 / T1 - 1 of all are right. It needs a model
// with a draft layer; returns 0, or stops the program as ModelSession does.
int compare_speculation(const std::filesystem::path& folder, int threads);

}  // namespace fathom::bench
