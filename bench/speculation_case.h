#pragma once

#include <filesystem>

namespace fathom::bench {

// A decode step with one draft a sequence beside one without, at several batch sizes:
//
//   plain    1 row a sequence, its logits                                     T1
//   verify   2 rows a sequence, at the same position and the next, logits
//            of both
//   draft    the draft layer over the same 2 rows, logits of one              T2, with verify
//
// Draws and the choice of the best token are left out of both. T2 / T1 is predicted in two ways
// from what the steps cannot do without (model_cost.h: rows, experts that were really hit, the head
// for each), both before a step with a draft is timed:
//
//   floor    sum over a step's parts of max(bytes / bandwidth, operations / peak). Parts (a
//            product, a layer's attention) run one after the other: while one waits for memory the
//            arithmetic is idle, so the larger sum of the whole step would be too low. The
//            bandwidth is that of a buffer as large as the checkpoint: a model that a cache holds
//            is read from there.
//   rates    sum over the step's components (ComponentOps) of bytes * b + operations * f. A
//            component's b and f are those with which this comes closest to its times in the
//            plain steps of all batch sizes (squares of relative errors): what its kernels attain.
//            It adds where the floor takes the larger: numbers are decoded on their way to the
//            multiplication, by the same units. Components without counts are left out.
//
// Speculation pays when more drafts are right than T2 / T1 - 1.
//
// Prints tables: the predictions, the times, and the times by component. Says so when the
// model has no draft layer; stops the program as ModelSession does.
void compare_speculation(const std::filesystem::path& folder, int threads);

}  // namespace fathom::bench
