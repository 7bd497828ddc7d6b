# CPU:  docker build --target cpu  -t headrecon:cpu .  &&  docker run --rm -v "$PWD/runs:/app/runs" headrecon:cpu scene=demo views=3
# CUDA: docker build --target cuda -t headrecon:cuda . &&  docker run --rm --gpus all -v "$PWD/runs:/app/runs" headrecon:cuda scene=demo views=3
FROM python:3.11-slim AS base
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
WORKDIR /app
ENTRYPOINT ["headrecon"]
CMD ["scene=demo", "views=3"]

FROM base AS cpu
RUN pip install --index-url https://download.pytorch.org/whl/cpu "torch>=2.6,<3"
COPY . /src
RUN pip install /src

# PyPI's Linux wheels of torch bring their own CUDA libraries: the driver of the host is all that is needed.
FROM base AS cuda
RUN pip install "torch>=2.6,<3"
COPY . /src
RUN pip install /src

# CUDA with tinycudann's hash grid: the build needs nvcc, and the architecture named, since no GPU is visible while building.
FROM nvidia/cuda:12.8.1-devel-ubuntu24.04 AS cuda-tinycudann
ARG TCNN_CUDA_ARCHITECTURES=90
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 PIP_BREAK_SYSTEM_PACKAGES=1
RUN apt-get update && apt-get install -y --no-install-recommends git python3-dev python3-pip && rm -rf /var/lib/apt/lists/* \
 && ln -s /usr/bin/python3 /usr/local/bin/python
WORKDIR /app
RUN pip install --index-url https://download.pytorch.org/whl/cu128 "torch>=2.7,<3" && pip install setuptools wheel ninja
RUN TCNN_CUDA_ARCHITECTURES=$TCNN_CUDA_ARCHITECTURES pip install --no-build-isolation \
    "git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"
COPY . /src
RUN pip install /src
ENTRYPOINT ["headrecon"]
CMD ["scene=demo", "views=3"]
