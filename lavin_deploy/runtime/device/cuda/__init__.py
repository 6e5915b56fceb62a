"""NVIDIA GPUs: memory, engines and CUDA graphs by cuda-python and TensorRT, without torch."""
