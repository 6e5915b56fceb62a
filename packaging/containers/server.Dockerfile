# A GPU server: plugins built from source, TensorRT-RTX from the package index, no torch.
# Not built or run yet; its commands were run one by one outside of a container, but for the last.
#
#   docker build -f packaging/containers/server.Dockerfile -t lavin-deploy .
#   docker run --gpus all -v "$PWD:/data" -w /data lavin-deploy lavin-build NAME.lavin --target tensorrt-rtx
#   docker run --gpus all -v "$PWD:/data" -w /data lavin-deploy lavin-run --bundle NAME.lavin \
#       --backend tensorrt --task segmentation video.mp4
#
# Any image with nvcc 12.6 or later builds; the result needs the driver alone (the plugins hold
# their own CUDA runtime).
ARG BUILD=nvidia/cuda:13.0.1-devel-ubuntu24.04
ARG BASE=python:3.12-slim

FROM ${BUILD} AS plugins
RUN apt-get update && apt-get install -y --no-install-recommends cmake make g++ python3-pip python3-setuptools \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make plugin-wheel

FROM ${BASE}
WORKDIR /src
COPY . .
COPY --from=plugins /src/build/wheels /wheels
# onnx reads portable graphs when their engines are built.
RUN pip install --no-cache-dir -c constraints.txt ".[cpu,video,rtx]" onnx \
    && pip install --no-cache-dir --no-index --no-deps /wheels/*.whl
WORKDIR /data
CMD ["lavin", "--help"]
