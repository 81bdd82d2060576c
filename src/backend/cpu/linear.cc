#include <algorithm>
#include <span>

#include "backend/cpu/kernels.h"
#include "backend/cpu/linear_kernels.h"

namespace fathom::cpu {

namespace {

// Below this many multiplications waking the other threads costs more than it saves.
constexpr std::int64_t kSerialWork = std::int64_t{1} << 17;

std::byte* at(const TensorView& view, std::int64_t element) {
  return static_cast<std::byte*>(view.data) +
         element * static_cast<std::int64_t>(size_of(view.dtype));
}

// Packs `rows` rows of `width` numbers into scratch; row i begins at element offset(i) of `x`.
template <class Offset>
float* pack_rows(CpuStream& stream, const TensorView& x, std::int64_t rows, std::int64_t width,
                 const Offset& offset) {
  const std::int64_t packed = packed_width(width);
  auto* to = static_cast<float*>(
      stream.shared_scratch(static_cast<std::size_t>(rows * packed) * sizeof(float)));
  const auto pack = [&](std::size_t begin, std::size_t end, int /*worker*/) {
    for (auto i = static_cast<std::int64_t>(begin); i < static_cast<std::int64_t>(end); ++i) {
      pack_row(at(x, offset(i)), x.dtype, width, to + i * packed);
    }
  };
  if (rows * packed < kSerialWork) {
    pack(0, static_cast<std::size_t>(rows), 0);
  } else {
    stream.pool().parallel_for(static_cast<std::size_t>(rows), 8, pack);
  }
  return to;
}

// Runs products of equal width and height, product i being make(i): one task is one product's next
// kTaskColumns columns.
template <class Make>
void run_products(CpuStream& stream, std::int64_t count, std::int64_t out, std::int64_t work,
                  const Make& make) {
  const std::int64_t tasks_each = ceil_div(out, kTaskColumns);
  const auto body = [&](std::size_t begin, std::size_t end, int worker) {
    void* scratch = stream.worker_scratch(worker, product_scratch_bytes());
    for (auto task = static_cast<std::int64_t>(begin); task < static_cast<std::int64_t>(end);
         ++task) {
      const Product product = make(task / tasks_each);
      if (product.rows == 0) continue;
      const std::int64_t column = task % tasks_each * kTaskColumns;
      run_product(product, column, std::min(column + kTaskColumns, out), scratch);
    }
  };
  const auto tasks = static_cast<std::size_t>(count * tasks_each);
  if (work < kSerialWork) {
    body(0, tasks, 0);
  } else {
    stream.pool().parallel_for(tasks, 1, body);
  }
}

Product product_of(const WeightView& w, std::int64_t in, const float* x) {
  Product product;
  product.x = x;
  product.x_stride = packed_width(in);
  product.in = in;
  product.out = w.values.shape[0];
  product.w = w.values.data;
  product.w_dtype = w.values.dtype;
  product.w_stride = w.values.stride[0];
  if (w.scales.present()) {
    product.w_scales = static_cast<const float*>(w.scales.data);
    product.w_scales_stride = w.scales.stride[0];
  }
  return product;
}

}  // namespace

void linear(CpuStream& stream, const ops::LinearArgs& args) {
  const std::int64_t rows = args.x.values.shape[0];
  const std::int64_t in = args.x.values.shape[1];
  const std::int64_t out = args.y.shape[1];
  if (rows == 0 || out == 0) return;
  Product product = product_of(args.w, in, nullptr);
  product.x = pack_rows(stream, args.x.values, rows, in,
                        [&](std::int64_t row) { return row * args.x.values.stride[0]; });
  product.rows = rows;
  if (args.x.scales.present()) product.x_scales = static_cast<const float*>(args.x.scales.data);
  product.y = args.y.data;
  product.y_dtype = args.y.dtype;
  product.y_stride = args.y.stride[0];
  run_products(stream, 1, out, rows * in * out, [&](std::int64_t) { return product; });
}

void head_linear(CpuStream& stream, const ops::HeadLinearArgs& args) {
  const std::int64_t tokens = args.x.shape[0];
  const std::int64_t heads = args.x.shape[1];
  const std::int64_t in = args.x.shape[2];
  const std::int64_t out = args.y.shape[2];
  if (tokens == 0 || heads == 0 || out == 0) return;
  const std::int64_t packed = packed_width(in);
  // Packed head by head, so that one head's rows are neighbours.
  const float* x = pack_rows(stream, args.x, heads * tokens, in, [&](std::int64_t i) {
    return i % tokens * args.x.stride[0] + i / tokens * args.x.stride[1];
  });
  run_products(stream, heads, out, tokens * heads * in * out, [&](std::int64_t head) {
    WeightView w;
    w.values = TensorView(at(args.w, head * args.w.stride[0]), args.w.dtype, {out, in});
    w.values.stride[0] = args.w.stride[1];
    Product product = product_of(w, in, x + head * tokens * packed);
    product.rows = tokens;
    product.y = at(args.y, head * args.y.stride[1]);
    product.y_dtype = args.y.dtype;
    product.y_stride = args.y.stride[0];
    return product;
  });
}

void grouped_linear(CpuStream& stream, const ops::GroupedLinearArgs& args) {
  const auto experts = static_cast<std::int64_t>(args.w.size());
  const auto* offsets = static_cast<const std::int32_t*>(args.offsets.data);
  const std::int64_t rows = experts == 0 ? 0 : offsets[experts];
  const std::int64_t in = args.x.values.shape[1];
  const std::int64_t out = args.y.shape[1];
  if (rows == 0 || out == 0) return;
  FATHOM_CHECK(rows <= args.x.values.shape[0]);
  const std::int64_t packed = packed_width(in);
  const float* x = pack_rows(stream, args.x.values, rows, in,
                             [&](std::int64_t row) { return row * args.x.values.stride[0]; });
  run_products(stream, experts, out, rows * in * out, [&](std::int64_t expert) {
    const std::int64_t first = offsets[expert];
    Product product = product_of(args.w[static_cast<std::size_t>(expert)], in, x + first * packed);
    product.rows = offsets[expert + 1] - first;
    if (args.x.scales.present()) {
      product.x_scales =
          static_cast<const float*>(args.x.scales.data) + first * product.scale_blocks();
    }
    product.y = at(args.y, first * args.y.stride[0]);
    product.y_dtype = args.y.dtype;
    product.y_stride = args.y.stride[0];
    return product;
  });
}

}  // namespace fathom::cpu
