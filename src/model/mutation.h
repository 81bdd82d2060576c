#pragma once

#include <cstdint>

namespace fathom::model {

// Frequent mistakes of implementations of this architecture. The mutation test builds the model a
// second time with FATHOM_MUTATIONS defined and proves that the oracle tests notice each of them;
// in the normal build mutated() is the constant false and nothing of this remains.
enum class Mutation : std::uint8_t {
  kNone,
  kIndexerInterleavedRope,    // the MLA's pairing in the indexer
  kIndexerRopeLast,           // rotates the indexer head's last dimensions, as the MLA's heads
  kIndexerQueryBeforeNorm,    // wq_b reads q_a's output before q_a_layernorm
  kIndexerKeyRmsNorm,         // k_norm as an RMS norm without bias
  kScaleWithoutMscale,        // softmax scale without YaRN's mscale²
  kGateWeightsWithBias,       // expert weights from biased scores
  kGateWithoutNormalization,  // expert weights not divided by their sum
  kSharedExpertScaled,        // the routed scaling factor on the shared expert too
  kScaleInverseDivides,       // weight_scale_inv as a divisor
  kRaggedScaleRow,         // kv_a's last, partial row of blocks takes the scales of the one before
  kOwnKeyHidden,           // a query does not see its own position
  kDraftHiddenFirst,       // eh_proj reads [hidden ; embedding]
  kDraftPreNormHidden,     // the draft layer reads the hidden state before the final norm
  kDraftShiftedPositions,  // draft rows at position i + 1
  kDraftRecyclesPreNorm,   // a chain goes on with the draft layer's state before its last norm
  kDraftMainNorm,          // the main model's final norm before the draft's head
};

#ifdef FATHOM_MUTATIONS
inline bool mutated(Mutation active, Mutation asked) { return active == asked; }
#else
constexpr bool mutated(Mutation /*active*/, Mutation /*asked*/) { return false; }
#endif

}  // namespace fathom::model
