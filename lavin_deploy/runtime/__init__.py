"""Run a bundle: back ends, the sampler, the pipeline, pictures and video. No torch, no onnx."""
