# A Jetson: JetPack's own CUDA and TensorRT, plugins built on the device for its GPU, no torch.
# Not built or run yet: no Jetson was at hand.
#
#   docker build -f packaging/containers/jetson.Dockerfile -t lavin-deploy \
#       --build-arg BASE=IMAGE --build-arg ARCH=110-real .
#
# IMAGE is NVIDIA's JetPack image of the version that the Jetson runs, with TensorRT and its
# development files. ARCH: 87-real for Orin, 110-real for Thor. Python of JetPack 7 is 3.12. That of
# JetPack 6 is 3.10, which this package does not support, and TensorRT's Python module there is for
# 3.10 alone: build the module from NVIDIA's sources for a newer Python.
ARG BASE
FROM ${BASE}
ARG ARCH=110-real
RUN apt-get update && apt-get install -y --no-install-recommends cmake make g++ python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# JetPack's headers, so that the plugins fit its TensorRT exactly.
RUN LAVIN_TENSORRT_INCLUDE=/usr/include/aarch64-linux-gnu scripts/build_plugins.sh "${ARCH}"
# The system's packages bring tensorrt; the package index brings the rest.
RUN python3 -m venv --system-site-packages /opt/lavin \
    && /opt/lavin/bin/pip install --no-cache-dir ".[cpu,video]" onnx polygraphy "cuda-bindings>=12.6"
ENV PATH=/opt/lavin/bin:$PATH LAVIN_PLUGINS=/src/build/plugins/liblavin_plugins.so
WORKDIR /data
CMD ["lavin", "--help"]
