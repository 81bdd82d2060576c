#include "support/plain_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>

#include "base/check.h"
#include "support/plain_model_weights.h"

namespace fathom::test_support {
namespace {

using config::ModelConfig;
using Matrix = PlainMatrix;

// What float32 would add to a result, as noise.
//
// A rounding errs by at most u = 2^-24 of the number and, uniform in its step, by u / √3 in the
// root mean square. In a sum over K terms in 16 lanes (docs/arithmetic.md 1), lane steps round
// partial sums that grow with the root of their length, all lanes together like K / 32 roundings of
// the result, and the tree adds one for each of its 4 levels. Independent errors add by their
// squares: a sum errs like √(K/32 + 4) roundings of the result. A result may be small by
// cancellation while its parts are not, so "the result" is the root mean square of its row.
class Rounding {
 public:
  explicit Rounding(std::uint64_t seed) : on_(seed != 0), random_(seed) {}

  static double of_sum(std::int64_t terms) { return static_cast<double>(terms) / 32 + 4; }

  // Every number of the row is the result of this many roundings.
  void disturb(std::span<double> row, double roundings) {
    if (!on_ || row.empty()) return;
    double square = 0;
    for (const double number : row) square += number * number;
    const double size = std::sqrt(square / static_cast<double>(row.size()));
    const double error = 0x1p-24 / std::numbers::sqrt3 * std::sqrt(roundings) * size;
    for (double& number : row) number += error * normal_(random_);
  }
  void disturb(Matrix& matrix, double roundings) {
    for (std::int64_t r = 0; r < matrix.rows; ++r) disturb(matrix.row(r), roundings);
  }

 private:
  bool on_;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
};

double dot(std::span<const double> a, std::span<const double> b) {
  std::array<double, 4> sums{};
  std::size_t i = 0;
  for (; i + sums.size() <= a.size(); i += sums.size()) {
    for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += a[i + j] * b[i + j];
  }
  for (; i < a.size(); ++i) sums[0] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

double mscale(double factor, double weight) {
  return factor > 1 ? 0.1 * weight * std::log(factor) + 1 : 1;
}

double silu(double z) { return z / (1 + std::exp(-z)); }

// The numbers' places from the largest number to the smallest, the lower place first on ties.
std::vector<std::int32_t> places_by_size(std::span<const double> numbers) {
  std::vector<std::int32_t> places(numbers.size());
  std::iota(places.begin(), places.end(), 0);
  std::ranges::stable_sort(places, [&](std::int32_t a, std::int32_t b) {
    return numbers[static_cast<std::size_t>(a)] > numbers[static_cast<std::size_t>(b)];
  });
  return places;
}

// The `count` largest.
PlainChoice choose(std::span<const double> numbers, std::size_t count) {
  PlainChoice choice;
  choice.ids = places_by_size(numbers);
  choice.gap = std::numeric_limits<double>::infinity();
  if (choice.ids.size() > count) {
    choice.gap = numbers[static_cast<std::size_t>(choice.ids[count - 1])] -
                 numbers[static_cast<std::size_t>(choice.ids[count])];
    choice.ids.resize(count);
  }
  std::ranges::sort(choice.ids);
  return choice;
}

void force(const PlainForced& forced, std::int32_t layer, std::int64_t row, PlainChoice& choice) {
  const auto found = forced.find({layer, row});
  if (found != forced.end()) choice.ids = found->second;
}

// The model on one sequence.
class Pass {
 public:
  Pass(const ModelConfig& config, const PlainSettings& settings)
      : config_(config),
        settings_(settings),
        rounding_(settings.rounding_seed),
        frequencies_(plain_frequencies(config)) {}

  Matrix linear(const Matrix& x, const Matrix& w) {
    FATHOM_CHECK(x.columns == w.columns);
    Matrix y(x.rows, w.rows);
    for (std::int64_t t = 0; t < x.rows; t += kTogether) linear_rows(x, w, t, y);
    rounding_.disturb(y, Rounding::of_sum(w.columns));
    return y;
  }

  Matrix rms_norm(const Matrix& x, const Matrix& w) {
    Matrix y(x.rows, x.columns);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      const double mean = dot(x.row(t), x.row(t)) / static_cast<double>(x.columns);
      const double inverse = 1 / std::sqrt(mean + double{config_.rms_norm_eps});
      for (std::size_t i = 0; i < x.row(t).size(); ++i) {
        y.row(t)[i] = x.row(t)[i] * inverse * w.numbers[i];
      }
    }
    // The mean's error halves in the root; then root, quotient and two products.
    rounding_.disturb(y, Rounding::of_sum(x.columns) / 4 + 4);
    return y;
  }

  void layer(std::int32_t number, const PlainLayer& w, Matrix& residual, PlainOutput& out) {
    add(residual, attention(number, w, rms_norm(residual, w.input_norm), out));
    const Matrix x = rms_norm(residual, w.post_attention_norm);
    add(residual, w.moe ? mixture(number, w, x, out) : mlp(x, w.mlp));
  }

 private:
  static constexpr std::int64_t kTogether = 8;

  // A few rows from `t` on, so that a processor need not wait for one sum.
  static void linear_rows(const Matrix& x, const Matrix& w, std::int64_t t, Matrix& y) {
    const std::int64_t rows = std::min(kTogether, x.rows - t);
    std::vector<std::array<double, kTogether>> columns(static_cast<std::size_t>(x.columns));
    for (std::int64_t j = 0; j < rows; ++j) {
      const auto row = x.row(t + j);
      for (std::size_t k = 0; k < row.size(); ++k) columns[k][static_cast<std::size_t>(j)] = row[k];
    }
    for (std::int64_t o = 0; o < w.rows; ++o) {
      const auto weights = w.row(o);
      std::array<double, kTogether> sums{};
      for (std::size_t k = 0; k < weights.size(); ++k) {
        for (std::size_t j = 0; j < kTogether; ++j) sums[j] += columns[k][j] * weights[k];
      }
      for (std::int64_t j = 0; j < rows; ++j) {
        y.row(t + j)[static_cast<std::size_t>(o)] = sums[static_cast<std::size_t>(j)];
      }
    }
  }

  void add(Matrix& residual, const Matrix& h) {
    for (std::size_t i = 0; i < h.numbers.size(); ++i) residual.numbers[i] += h.numbers[i];
    rounding_.disturb(residual, 1);
  }

  // Turns pairs (first, second) of a head's rotated part.
  void rotate(std::span<double> part, std::int64_t position, bool neighbours) {
    const double amplitude = config_.yarn
                                 ? mscale(config_.yarn->factor, config_.yarn->mscale) /
                                       mscale(config_.yarn->factor, config_.yarn->mscale_all_dim)
                                 : 1;
    const std::size_t pairs = part.size() / 2;
    for (std::size_t i = 0; i < pairs; ++i) {
      const PlainRotation turn = plain_rotation(frequencies_[i], position);
      double& a = part[neighbours ? 2 * i : i];
      double& b = part[neighbours ? 2 * i + 1 : i + pairs];
      const double before = a;
      a = amplitude * (before * turn.cos - b * turn.sin);
      b = amplitude * (before * turn.sin + b * turn.cos);
    }
    rounding_.disturb(part, 3);  // of the table, the products and their sum
  }

  // Rotates `rope` numbers from `first` on in every one of `heads` heads of each row.
  void rotate_heads(Matrix& x, std::int64_t heads, std::int64_t first, bool neighbours) {
    const std::int64_t dim = x.columns / heads;
    for (std::int64_t t = 0; t < x.rows; ++t) {
      for (std::int64_t h = 0; h < heads; ++h) {
        rotate(x.row(t).subspan(static_cast<std::size_t>(h * dim + first),
                                static_cast<std::size_t>(config_.qk_rope_head_dim)),
               t, neighbours);
      }
    }
  }

  void layer_norm(Matrix& x, const Matrix& w, const Matrix& bias) {
    for (std::int64_t t = 0; t < x.rows; ++t) {
      const auto row = x.row(t);
      const auto size = static_cast<double>(row.size());
      const double mean = std::accumulate(row.begin(), row.end(), 0.0) / size;
      for (double& number : row) number -= mean;
      const double inverse = 1 / std::sqrt(dot(row, row) / size + 1e-6);
      for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = row[i] * inverse * w.numbers[i] + bias.numbers[i];
      }
    }
  }

  // The mask: which positions each row attends to.
  std::vector<PlainChoice> select(std::int32_t number,
                                  const PlainLayer& w,
                                  const Matrix& x,
                                  const Matrix& query_rank) {
    const std::int64_t heads = config_.index_n_heads;
    const std::int64_t dim = config_.index_head_dim;
    Matrix query = linear(query_rank, w.index_q_b);
    Matrix key = linear(x, w.index_k);
    layer_norm(key, w.index_k_norm, w.index_k_bias);
    rotate_heads(query, heads, 0, false);
    rotate_heads(key, 1, 0, false);
    const Matrix weights = linear(x, w.index_weights);
    const double scale = 1 / std::sqrt(static_cast<double>(heads * dim));

    std::vector<PlainChoice> choices;
    for (std::int64_t t = 0; t < x.rows; ++t) {
      std::vector<double> scores;
      for (std::int64_t s = 0; s <= t; ++s) {
        double score = 0;
        for (std::int64_t h = 0; h < heads; ++h) {
          const auto head = query.row(t).subspan(static_cast<std::size_t>(h * dim),
                                                 static_cast<std::size_t>(dim));
          score +=
              weights.row(t)[static_cast<std::size_t>(h)] * std::max(0.0, dot(head, key.row(s)));
        }
        scores.push_back(score * scale);
      }
      choices.push_back(choose(scores, static_cast<std::size_t>(config_.index_topk)));
      force(settings_.selected, number, t, choices.back());
    }
    return choices;
  }

  Matrix attention(std::int32_t number, const PlainLayer& w, const Matrix& x, PlainOutput& out) {
    const std::int64_t heads = config_.num_attention_heads;
    const std::int64_t latent = config_.kv_lora_rank;
    const Matrix query_rank = rms_norm(linear(x, w.q_a), w.q_a_norm);
    Matrix query = linear(query_rank, w.q_b);
    rotate_heads(query, heads, config_.qk_nope_head_dim, true);

    const Matrix key_value = linear(x, w.kv_a);
    Matrix compressed(x.rows, latent);
    Matrix key_rope(x.rows, config_.qk_rope_head_dim);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      const auto row = key_value.row(t);
      std::ranges::copy(row.first(static_cast<std::size_t>(latent)), compressed.row(t).begin());
      std::ranges::copy(row.subspan(static_cast<std::size_t>(latent)), key_rope.row(t).begin());
    }
    rotate_heads(key_rope, 1, 0, true);
    const Matrix expanded = linear(rms_norm(compressed, w.kv_a_norm), w.kv_b);

    std::vector<PlainChoice>& selected = out.selected[number];
    selected = select(number, w, x, query_rank);
    Matrix values(x.rows, heads * config_.v_head_dim);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      std::vector<bool> visible(static_cast<std::size_t>(t) + 1);
      for (const std::int32_t s : selected[static_cast<std::size_t>(t)].ids) {
        visible[static_cast<std::size_t>(s)] = true;
      }
      for (std::int64_t h = 0; h < heads; ++h) {
        attend(h, t, visible, query, expanded, key_rope, values);
      }
    }
    return linear(values, w.o);
  }

  // One head of one row.
  void attend(std::int64_t h,
              std::int64_t t,
              const std::vector<bool>& visible,
              const Matrix& query,
              const Matrix& expanded,
              const Matrix& key_rope,
              Matrix& values) {
    const auto nope = static_cast<std::size_t>(config_.qk_nope_head_dim);
    const auto width = static_cast<std::size_t>(config_.v_head_dim);
    const auto head = static_cast<std::size_t>(h);
    const auto q = query.row(t).subspan(head * static_cast<std::size_t>(config_.qk_head_dim()),
                                        static_cast<std::size_t>(config_.qk_head_dim()));
    std::vector<std::size_t> places;
    std::vector<double> p;
    for (std::size_t s = 0; s < visible.size(); ++s) {
      if (!visible[s]) continue;
      const auto position = static_cast<std::int64_t>(s);
      const auto key = expanded.row(position).subspan(head * (nope + width), nope);
      places.push_back(s);
      p.push_back(softmax_scale() *
                  (dot(q.first(nope), key) + dot(q.subspan(nope), key_rope.row(position))));
    }
    // In float32 the query is multiplied into the latents first: two sums.
    rounding_.disturb(p, Rounding::of_sum(config_.qk_nope_head_dim) +
                             Rounding::of_sum(config_.kv_lora_rank + config_.qk_rope_head_dim) + 1);
    const double top = *std::ranges::max_element(p);
    double sum = 0;
    for (double& number : p) sum += number = std::exp(number - top);
    const auto y = values.row(t).subspan(head * width, width);
    for (std::size_t i = 0; i < places.size(); ++i) {
      const auto value = expanded.row(static_cast<std::int64_t>(places[i]))
                             .subspan(head * (nope + width) + nope, width);
      for (std::size_t k = 0; k < width; ++k) y[k] += p[i] / sum * value[k];
    }
    // A chain over the positions, and the values' expansion after it; exponential, sum, division.
    rounding_.disturb(
        y, static_cast<double>(places.size()) / 2 + Rounding::of_sum(config_.kv_lora_rank) + 6);
  }

  double softmax_scale() const {
    const double attention =
        config_.yarn ? mscale(config_.yarn->factor, config_.yarn->mscale_all_dim) : 1;
    return attention * attention / std::sqrt(static_cast<double>(config_.qk_head_dim()));
  }

  Matrix mlp(const Matrix& x, const PlainMlp& w) {
    Matrix gate = linear(x, w.gate);
    const Matrix up = linear(x, w.up);
    for (std::size_t i = 0; i < gate.numbers.size(); ++i) {
      gate.numbers[i] = silu(gate.numbers[i]) * up.numbers[i];
    }
    rounding_.disturb(gate, 6);  // exponential 3, sum, quotient, product
    return linear(gate, w.down);
  }

  // The experts of one row from their scores with bias.
  PlainChoice choose_experts(std::span<const double> scores) const {
    const auto groups = static_cast<std::size_t>(config_.n_group);
    const std::size_t size = scores.size() / groups;
    std::vector<double> group_scores;
    for (std::size_t g = 0; g < groups; ++g) {
      const auto group = scores.subspan(g * size, size);
      const std::vector<std::int32_t> best = places_by_size(group);
      group_scores.push_back(group[static_cast<std::size_t>(best[0])] +
                             group[static_cast<std::size_t>(best[1])]);
    }
    const PlainChoice kept = choose(group_scores, static_cast<std::size_t>(config_.topk_group));
    std::vector<double> masked(scores.size(), -std::numeric_limits<double>::infinity());
    for (const std::int32_t g : kept.ids) {
      const std::size_t first = static_cast<std::size_t>(g) * size;
      for (std::size_t e = first; e < first + size; ++e) masked[e] = scores[e];
    }
    PlainChoice choice = choose(masked, static_cast<std::size_t>(config_.num_experts_per_tok));
    choice.gap = std::min(choice.gap, kept.gap);
    return choice;
  }

  Matrix mixture(std::int32_t number, const PlainLayer& w, const Matrix& x, PlainOutput& out) {
    const auto experts = static_cast<std::size_t>(config_.n_routed_experts);
    Matrix p = linear(x, w.router);
    for (double& number_p : p.numbers) number_p = 1 / (1 + std::exp(-number_p));
    rounding_.disturb(p, 5);
    // Which rows go to each expert, and with what weight.
    std::vector<std::vector<std::pair<std::int64_t, double>>> rows(experts);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      std::vector<double> scores(p.row(t).begin(), p.row(t).end());
      for (std::size_t e = 0; e < experts; ++e) scores[e] += w.router_bias.numbers[e];
      PlainChoice choice = choose_experts(scores);
      force(settings_.experts, number, t, choice);
      double sum = 0;
      for (const std::int32_t e : choice.ids) sum += p.row(t)[static_cast<std::size_t>(e)];
      if (!config_.norm_topk_prob) sum = 1;
      for (const std::int32_t e : choice.ids) {
        const auto expert = static_cast<std::size_t>(e);
        rows[expert].emplace_back(t,
                                  p.row(t)[expert] / sum * double{config_.routed_scaling_factor});
      }
      out.experts[number].push_back(std::move(choice));
    }
    Matrix y = mlp(x, w.mlp);
    for (std::size_t e = 0; e < experts; ++e) add_expert(x, w.experts[e], rows[e], y);
    rounding_.disturb(y, config_.num_experts_per_tok + 1);
    return y;
  }

  void add_expert(const Matrix& x,
                  const PlainMlp& w,
                  const std::vector<std::pair<std::int64_t, double>>& rows,
                  Matrix& y) {
    Matrix gathered(static_cast<std::int64_t>(rows.size()), x.columns);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::ranges::copy(x.row(rows[i].first), gathered.row(static_cast<std::int64_t>(i)).begin());
    }
    const Matrix result = mlp(gathered, w);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto from = result.row(static_cast<std::int64_t>(i));
      const auto to = y.row(rows[i].first);
      for (std::size_t k = 0; k < to.size(); ++k) to[k] += rows[i].second * from[k];
    }
  }

  const ModelConfig& config_;
  const PlainSettings& settings_;
  Rounding rounding_;
  std::vector<float> frequencies_;
};

Matrix embed(const Matrix& table, std::span<const std::int32_t> ids) {
  Matrix out(static_cast<std::int64_t>(ids.size()), table.columns);
  for (std::size_t t = 0; t < ids.size(); ++t) {
    std::ranges::copy(table.row(ids[t]), out.row(static_cast<std::int64_t>(t)).begin());
  }
  return out;
}

Matrix beside(const Matrix& left, const Matrix& right) {
  Matrix out(left.rows, left.columns + right.columns);
  for (std::int64_t t = 0; t < left.rows; ++t) {
    std::ranges::copy(left.row(t), out.row(t).begin());
    std::ranges::copy(right.row(t), out.row(t).begin() + left.columns);
  }
  return out;
}

}  // namespace

PlainModel::PlainModel(const std::filesystem::path& folder)
    : config_(config::load_model_config(folder).value()),
      weights_(std::make_unique<PlainWeights>(read_plain_weights(folder, config_))) {}

PlainModel::~PlainModel() = default;

PlainOutput PlainModel::forward(std::span<const std::int32_t> ids,
                                const PlainSettings& settings) const {
  Pass pass(config_, settings);
  PlainOutput out;
  Matrix residual = embed(weights_->embedding, ids);
  for (std::size_t i = 0; i < weights_->layers.size(); ++i) {
    pass.layer(static_cast<std::int32_t>(i), weights_->layers[i], residual, out);
  }
  out.hidden = pass.rms_norm(residual, weights_->final_norm);
  out.logits = pass.linear(out.hidden, weights_->head);
  return out;
}

PlainOutput PlainModel::draft(std::span<const std::int32_t> ids,
                              const PlainMatrix& hidden,
                              const PlainSettings& settings) const {
  const PlainDraft& draft = weights_->draft;
  Pass pass(config_, settings);
  PlainOutput out;
  const Matrix embedded = pass.rms_norm(embed(weights_->embedding, ids), draft.embed_norm);
  Matrix residual =
      pass.linear(beside(embedded, pass.rms_norm(hidden, draft.hidden_norm)), draft.project);
  pass.layer(config_.num_hidden_layers, draft.layer, residual, out);
  out.hidden = pass.rms_norm(residual, draft.final_norm);
  out.logits = pass.linear(out.hidden, weights_->head);
  return out;
}

std::vector<float> plain_frequencies(const config::ModelConfig& config) {
  const double dim = config.qk_rope_head_dim;
  std::vector<float> frequencies;
  for (std::int32_t i = 0; i < config.qk_rope_head_dim / 2; ++i) {
    // The roundings to float32 are part of the definition.
    const float fast = 1.0F / static_cast<float>(std::pow(config.rope_theta, 2 * i / dim));
    frequencies.push_back(fast);
    if (!config.yarn) continue;
    const auto turn = [&](double rotations) {
      const double wavelength = 2 * std::numbers::pi * rotations;
      return dim * std::log(config.yarn->original_max_position_embeddings / wavelength) /
             (2 * std::log(config.rope_theta));
    };
    const double low = std::max(std::floor(turn(config.yarn->beta_fast)), 0.0);
    const double high = std::min(std::ceil(turn(config.yarn->beta_slow)), dim - 1);
    const double along = (i - low) / std::max(high - low, 0.001);
    const auto ramp = static_cast<float>(std::min(std::max(along, 0.0), 1.0));
    const float slow = fast / static_cast<float>(config.yarn->factor);
    frequencies.back() = slow * ramp + fast * (1.0F - ramp);
  }
  return frequencies;
}

PlainRotation plain_rotation(float frequency, std::int64_t position) {
  const double angle = static_cast<float>(position) * frequency;  // rounded to float32
  return {std::cos(angle), std::sin(angle)};
}

}  // namespace fathom::test_support
