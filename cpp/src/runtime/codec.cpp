#include "runtime/codec.h"

#include "runtime/letterbox.h"

namespace lavin::core {

Codec::Codec(Backend& backend, Size size)
    : backend_(backend),
      size_(size),
      encoder_(backend.variant.graph("encoder", size)),
      decoder_(backend.variant.graph("decoder", size)),
      shift_(static_cast<float>(backend.bundle.manifest().latent.shift)),
      scale_(static_cast<float>(backend.bundle.manifest().latent.scale)) {
  require_output(encoder_, "mean", latent_shape(backend.bundle.manifest(), size));
  require_output(decoder_, "pixels", {1, 3, 1, size.height, size.width});
}

Array Codec::encode(const Picture& image) {
  const Array pixels = to_pixels(image);
  Array latents = backend_.infer_one(encoder_, {{"pixels", &pixels}});
  for (std::size_t i = 0; i < latents.count(); ++i) {
    latents.floats()[i] = (latents.floats()[i] - shift_) * scale_;
  }
  return latents;
}

Picture Codec::decode(const Array& latents) {
  Array unscaled = latents.clone();
  for (std::size_t i = 0; i < unscaled.count(); ++i) {
    unscaled.floats()[i] = unscaled.floats()[i] / scale_ + shift_;
  }
  return to_picture(backend_.infer_one(decoder_, {{"latents", &unscaled}}));
}

Array Codec::encode_pairs(const Pairs& pairs, int count) {
  Array context;
  for (int i = 0; i < count; ++i) {
    const auto& [input, target] = pairs[static_cast<std::size_t>(i)];
    const Letterbox box(input.size(), size_);
    Array pair = join_frames(encode(box.forward(input)), encode(box.forward(target)));
    context = i == 0 ? std::move(pair) : join_frames(context, pair);
  }
  return context;
}

}  // namespace lavin::core
