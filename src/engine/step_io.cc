#include "engine/step_io.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

namespace fathom::engine {

namespace {

// What is at `position` of a sequence: behind its tokens, a draft.
wire::TokenId token_at(const Sequence& sequence, std::int32_t position) {
  const std::int32_t known = sequence.known();
  return position < known ? sequence.tokens[static_cast<std::size_t>(position)]
                          : sequence.drafts[static_cast<std::size_t>(position - known)];
}

}  // namespace

void choose_logit_rows(std::span<const Work> work, std::int32_t drawable, LogitRows& chosen) {
  chosen = {std::move(chosen.rows), 0, 0, false, 0, 0};
  chosen.rows.clear();
  for (std::size_t i = 0; i < work.size(); ++i) {
    const Work& each = work[i];
    for (std::int32_t back = each.draws_of(); back > 0; --back) {
      const std::int32_t row = each.rows - back;
      chosen.rows.push_back({i, each.first_row + row, each.first + row + 1});
    }
    if (each.draws) ++chosen.drawers;
  }
  chosen.drawing = chosen.count();
  for (std::size_t i = 0; i < work.size(); ++i) {
    const Work& each = work[i];
    FATHOM_CHECK(each.logit_rows >= each.draws_of());
    for (std::int32_t back = each.logit_rows; back > each.draws_of(); --back) {
      const std::int32_t row = each.rows - back;
      chosen.rows.push_back({i, each.first_row + row, each.first + row + 1});
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
  const std::size_t logit_rows = InputArena::bytes_for(options.max_logit_rows + 1);
  const std::size_t row_arrays = options.drafts > 0 ? 4 : 3;
  const std::size_t logit_row_arrays = options.drafts > 0 ? 18 : 10;  // `seed` counts twice
  return row_arrays * rows + logit_row_arrays * logit_rows +
         InputArena::bytes_for(std::int64_t{options.max_logit_rows} * kMaxAskedLogprobs) +
         2 * InputArena::bytes_for(options.page_table_cells());
}

StepInputs StepInputs::lay_out(InputArena& arena, const Sizes& sizes) {
  const std::int64_t rows = sizes.rows;
  const std::int64_t logit_rows = sizes.logit_rows;
  StepInputs inputs;
  inputs.rows = rows;
  inputs.logit_row_count = logit_rows;
  inputs.drawers = sizes.drawers;
  inputs.drafts = sizes.drafts;
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
  if (!sizes.drafts) return inputs;
  inputs.next_ids = arena.take<std::int32_t>(rows);
  inputs.first_draw = arena.take<std::int32_t>(sizes.drawers + 1);
  inputs.draft = arena.take<std::int32_t>(logit_rows);
  inputs.page_end = arena.take<std::int32_t>(sizes.drawers);
  inputs.drawer = arena.take<std::int32_t>(sizes.drawers);
  return inputs;
}

void StepInputs::fill(std::span<const Work> work, const LogitRows& chosen) {
  std::fill_n(ids.host, rows, 0);
  std::fill_n(positions.host, rows, -1);  // padding, but for the rows of work
  std::fill_n(sequences.host, rows, 0);
  for (const Work& each : work) {
    const Sequence& sequence = *each.sequence;
    FATHOM_CHECK(each.rows > 0 && each.first_row + each.rows <= rows);
    FATHOM_CHECK(each.first + each.rows - each.drafts <= sequence.known());
    for (std::int32_t i = 0; i < each.rows; ++i) {
      const std::int64_t row = each.first_row + i;
      ids.host[row] = each.leader < 0 ? token_at(sequence, each.first + i) : 0;
      positions.host[row] = each.first + i;
      sequences.host[row] = sequence.slot;
    }
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

void StepInputs::fill_drafts(std::span<const Work> work, const LogitRows& chosen) {
  std::fill_n(next_ids.host, rows, 0);
  std::fill_n(draft.host, logit_row_count, -1);
  std::fill_n(page_end.host, drawers, 0);
  std::iota(drawer.host, drawer.host + drawers, 0);
  std::int32_t drawn = 0;
  std::int64_t at = 0;
  for (const Work& each : work) {
    const Sequence& sequence = *each.sequence;
    for (std::int32_t i = 0; i < each.rows; ++i) {
      const bool draws = i >= each.rows - each.draws_of();
      next_ids.host[each.first_row + i] =
          draws ? Runner::code_of_drawn(drawn++) : token_at(sequence, each.first + i + 1);
    }
    if (!each.draws) continue;
    page_end.host[at] = each.page_end;
    first_draw.host[at++] = drawn - each.draws_of();
    if (each.leader >= 0) continue;
    std::copy_n(sequence.drafts.begin(), each.drafts, draft.host + drawn - each.draws_of());
  }
  FATHOM_CHECK(drawn == chosen.drawing && at == chosen.drawers);
  for (; at <= drawers; ++at) first_draw.host[at] = drawn++;  // padding draws, too
}

bool StepInputs::take_followers(InputArena& arena, std::span<const Work> work) {
  const auto count =
      std::count_if(work.begin(), work.end(), [](const Work& each) { return each.leader >= 0; });
  leader = arena.take<std::int32_t>(count);
  follower_row = arena.take<std::int32_t>(count);
  follower_draw = arena.take<std::int32_t>(count);
  follower_rows = arena.take<std::int32_t>(count);
  std::int64_t at = 0;
  std::int32_t draw = 0;
  for (const Work& each : work) {
    if (each.leader >= 0) {
      FATHOM_CHECK(each.rows == each.draws_of());
      leader.host[at] = each.leader;
      follower_row.host[at] = each.first_row;
      follower_draw.host[at] = draw;
      follower_rows.host[at++] = each.rows;
    }
    draw += each.draws_of();
  }
  return count > 0;
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

Result<StepOutputs> StepOutputs::create(Device& device, const RunnerOptions& options) {
  const auto rows = static_cast<std::size_t>(options.max_logit_rows);
  const std::size_t drafts = static_cast<std::size_t>(options.drafts) * rows;
  const std::size_t accepted = options.drafts > 0 ? rows : 0;
  constexpr std::size_t kNumbers = 2 + 2 * kMaxTopLogprobs + kMaxAskedLogprobs;  // of a row
  Result<Buffer> buffer =
      device.allocate_host((rows * kNumbers + drafts + accepted) * sizeof(float));
  FATHOM_RETURN_IF_ERROR(buffer.status());
  StepOutputs outputs;
  outputs.buffer = std::move(buffer).value();
  outputs.draft = static_cast<std::int32_t*>(outputs.buffer.data());
  outputs.accepted = outputs.draft + drafts;
  outputs.token = outputs.accepted + accepted;
  outputs.logprob = reinterpret_cast<float*>(outputs.token + rows);
  outputs.top_ids = reinterpret_cast<std::int32_t*>(outputs.logprob + rows);
  outputs.top_logprobs = reinterpret_cast<float*>(outputs.top_ids + rows * kMaxTopLogprobs);
  outputs.asked_logprobs = outputs.top_logprobs + rows * kMaxTopLogprobs;
  return outputs;
}

void StepOutputs::read_draws(std::int32_t drafts, std::int64_t drawers, StepResult& result) const {
  std::int64_t draw = 0;
  std::int64_t drawer = 0;
  for (std::size_t i = 0; i < result.work.size(); ++i) {
    const Work& each = result.work[i];
    if (!each.draws) continue;
    WorkResult& made = result.results[i];
    const std::int32_t right = drafts > 0 ? accepted[drawer] : 0;
    made.tokens.assign(token + draw, token + draw + right + 1);
    draw += each.draws_of();
    for (std::int32_t k = 0; k < drafts; ++k) made.drafts.push_back(draft[k * drawers + drawer]);
    ++drawer;
  }
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
