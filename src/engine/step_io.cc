#include "engine/step_io.h"

#include <algorithm>
#include <limits>
#include <string>

namespace fathom::engine {

void choose_logit_rows(std::span<const Work> work, std::int32_t drawable, LogitRows& chosen) {
  chosen = {std::move(chosen.rows), 0, false, 0, 0};
  chosen.rows.clear();
  std::int32_t row = 0;
  for (std::size_t i = 0; i < work.size(); ++i) {
    row += work[i].rows;
    if (work[i].draws) chosen.rows.push_back({i, row - 1, work[i].first + work[i].rows});
  }
  chosen.drawing = chosen.count();
  row = 0;
  for (std::size_t i = 0; i < work.size(); ++i) {
    const Work& each = work[i];
    row += each.rows;
    FATHOM_CHECK(!each.draws || each.logit_rows >= 1);
    const std::int32_t drawn = each.draws ? 1 : 0;
    for (std::int32_t back = each.logit_rows - drawn; back > 0; --back) {
      chosen.rows.push_back({i, row - drawn - back, each.first + each.rows - drawn - back + 1});
    }
  }
  for (const LogitRow& each : chosen.rows) {
    const wire::LogprobParams& wanted = work[each.work].sequence->request.logprobs;
    if (!wanted.wanted) continue;
    chosen.scored = true;
    chosen.top = std::max(chosen.top, std::min(wanted.top, drawable));
    chosen.asked = std::max(chosen.asked, static_cast<std::int32_t>(wanted.token_ids.size()));
  }
  FATHOM_CHECK(chosen.top <= kMaxTopLogprobs && chosen.asked <= kMaxAskedLogprobs);
}

std::size_t StepInputs::bytes(const RunnerOptions& options) {
  const std::size_t rows = InputArena::bytes_for(options.max_rows);
  const std::size_t logit_rows = InputArena::bytes_for(options.max_logit_rows);
  constexpr std::size_t kRowArrays = 3;
  constexpr std::size_t kLogitRowArrays = 10;  // `seed` counts twice
  return kRowArrays * rows + kLogitRowArrays * logit_rows +
         InputArena::bytes_for(std::int64_t{options.max_logit_rows} * kMaxAskedLogprobs) +
         2 * InputArena::bytes_for(options.page_table_cells());
}

StepInputs StepInputs::lay_out(InputArena& arena, std::int64_t rows, std::int64_t logit_rows) {
  StepInputs inputs;
  inputs.rows = rows;
  inputs.logit_row_count = logit_rows;
  inputs.ids = arena.take<std::int32_t>(rows);
  inputs.positions = arena.take<std::int32_t>(rows);
  inputs.sequences = arena.take<std::int32_t>(rows);
  inputs.logit_rows = arena.take<std::int32_t>(logit_rows);
  inputs.temperature = arena.take<float>(logit_rows);
  inputs.top_k = arena.take<std::int32_t>(logit_rows);
  inputs.top_p = arena.take<float>(logit_rows);
  inputs.min_p = arena.take<float>(logit_rows);
  inputs.seed = arena.take<std::int32_t>(logit_rows, 2);
  inputs.sample = arena.take<std::int32_t>(logit_rows);
  inputs.drawn_position = arena.take<std::int32_t>(logit_rows);
  return inputs;
}

void StepInputs::fill(std::span<const Work> work, const LogitRows& chosen) {
  std::int64_t row = 0;
  for (const Work& each : work) {
    const Sequence& sequence = *each.sequence;
    FATHOM_CHECK(each.rows > 0 && row + each.rows <= rows);
    FATHOM_CHECK(each.first + each.rows <= sequence.known());
    for (std::int32_t i = 0; i < each.rows; ++i, ++row) {
      const std::int32_t position = each.first + i;
      ids.host[row] = sequence.tokens[static_cast<std::size_t>(position)];
      positions.host[row] = position;
      sequences.host[row] = sequence.slot;
    }
  }
  for (; row < rows; ++row) {  // padding
    ids.host[row] = 0;
    positions.host[row] = -1;
    sequences.host[row] = 0;
  }
  for (std::int64_t i = 0; i < chosen.count(); ++i) {
    const LogitRow& each = chosen.rows[static_cast<std::size_t>(i)];
    const wire::SamplingParams& sampling = work[each.work].sequence->request.sampling;
    logit_rows.host[i] = each.row;
    temperature.host[i] = sampling.temperature;
    top_k.host[i] = sampling.top_k;
    top_p.host[i] = sampling.top_p;
    min_p.host[i] = sampling.min_p;
    seed.host[2 * i] = static_cast<std::int32_t>(sampling.seed & 0xFFFFFFFFU);
    seed.host[2 * i + 1] = static_cast<std::int32_t>(sampling.seed >> 32U);
    sample.host[i] = static_cast<std::int32_t>(sampling.sample);
    drawn_position.host[i] = each.position;
  }
  for (std::int64_t i = chosen.count(); i < logit_row_count; ++i) {
    logit_rows.host[i] = static_cast<std::int32_t>(i);
    temperature.host[i] = 0;
    top_k.host[i] = 0;
    top_p.host[i] = 1;
    min_p.host[i] = 0;
    seed.host[2 * i] = 0;
    seed.host[2 * i + 1] = 0;
    sample.host[i] = 0;
    drawn_position.host[i] = 0;
  }
}

void StepInputs::take_scores(InputArena& arena,
                             std::span<const Work> work,
                             const LogitRows& chosen,
                             std::int32_t drawable) {
  known_token = arena.take<std::int32_t>(chosen.count() - chosen.drawing);
  for (std::int64_t i = chosen.drawing; i < chosen.count(); ++i) {
    const LogitRow& row = chosen.rows[static_cast<std::size_t>(i)];
    const wire::TokenId token =
        work[row.work].sequence->tokens[static_cast<std::size_t>(row.position)];
    FATHOM_CHECK(token >= 0);  // a prompt's
    known_token.host[i - chosen.drawing] = token < drawable ? token : 0;
  }
  if (chosen.asked == 0) return;
  asked = arena.take<std::int32_t>(chosen.count(), chosen.asked);
  for (std::int64_t i = 0; i < chosen.count(); ++i) {
    const LogitRow& row = chosen.rows[static_cast<std::size_t>(i)];
    const auto& wanted = work[row.work].sequence->request.logprobs.token_ids;
    std::int32_t* const to = asked.host + i * chosen.asked;
    std::int32_t* const end =
        std::transform(wanted.begin(), wanted.end(), to,
                       [drawable](wire::TokenId id) { return id < drawable ? id : -1; });
    std::fill(end, to + chosen.asked, -1);
  }
}

void StepInputs::take_updates(InputArena& arena, const PageTable& table) {
  const std::span<const std::int32_t> cells = table.waiting();
  cell = arena.take<std::int32_t>(static_cast<std::int64_t>(cells.size()));
  page = arena.take<std::int32_t>(static_cast<std::int64_t>(cells.size()));
  for (std::size_t i = 0; i < cells.size(); ++i) {
    cell.host[i] = cells[i];
    page.host[i] = table.page(cells[i]);
  }
}

Result<StepOutputs> StepOutputs::create(Device& device, std::int64_t max_logit_rows) {
  const auto rows = static_cast<std::size_t>(max_logit_rows);
  constexpr std::size_t kNumbers = 2 + 2 * kMaxTopLogprobs + kMaxAskedLogprobs;  // of a row
  Result<Buffer> buffer = device.allocate_host(rows * kNumbers * sizeof(float));
  FATHOM_RETURN_IF_ERROR(buffer.status());
  StepOutputs outputs;
  outputs.buffer = std::move(buffer).value();
  outputs.token = static_cast<std::int32_t*>(outputs.buffer.data());
  outputs.logprob = reinterpret_cast<float*>(outputs.token + rows);
  outputs.top_ids = reinterpret_cast<std::int32_t*>(outputs.logprob + rows);
  outputs.top_logprobs = reinterpret_cast<float*>(outputs.top_ids + rows * kMaxTopLogprobs);
  outputs.asked_logprobs = outputs.top_logprobs + rows * kMaxTopLogprobs;
  return outputs;
}

wire::PositionLogprobs StepOutputs::read(const Work& work,
                                         const LogitRows& chosen,
                                         std::int64_t index,
                                         std::int32_t drawable) const {
  const auto unless_unused = [drawable](wire::TokenId id, float value) {
    return id < drawable ? value : -std::numeric_limits<float>::infinity();
  };
  const wire::LogprobParams& params = work.sequence->request.logprobs;
  const auto position =
      static_cast<std::size_t>(chosen.rows[static_cast<std::size_t>(index)].position);
  wire::PositionLogprobs told;
  told.id = index < chosen.drawing ? token[index] : work.sequence->tokens[position];
  told.logprob = unless_unused(told.id, logprob[index]);
  const std::int32_t top = std::min(params.top, chosen.top);
  for (std::int32_t i = 0; i < top; ++i) {
    const std::int64_t at = index * chosen.top + i;
    told.top.push_back({top_ids[at], top_logprobs[at]});
  }
  for (std::size_t i = 0; i < params.token_ids.size(); ++i) {
    const std::int64_t at = index * chosen.asked + static_cast<std::int64_t>(i);
    const wire::TokenId id = params.token_ids[i];
    told.asked.push_back({id, unless_unused(id, asked_logprobs[at])});
  }
  return told;
}

}  // namespace fathom::engine
