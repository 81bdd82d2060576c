#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "config/model_config.h"
#include "model/weights.h"
#include "tensor/device.h"

namespace fathom::model {

// Weights without a checkpoint, for timings: every tensor that Weights::load() gives for `config`
// under deployed arithmetic, of the same shape and the dtype of the published files (matrices in
// FP8 with scales when the configuration quantises, else in bf16). All numbers are finite, and
// products of inputs of unit size have about unit size, so that activations stay in range, experts
// are chosen about evenly and no operation meets an unusual number.
//
// Numbers repeat: tensors are copies of a few blocks of random numbers from different starts, so
// that nothing of the model's size is in host memory. The parts of kv_b have numbers of their own,
// so the two attention forms differ. Equal seeds give equal bytes. Weights::source() must not be
// called.
//
// Waits for the copies. kResourceExhausted when the device's memory does not suffice.
Result<std::unique_ptr<Weights>> make_synthetic_weights(const config::ModelConfig& config,
                                                        Device& device,
                                                        std::uint64_t seed);

}  // namespace fathom::model
