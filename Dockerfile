# mambair for a CPU, or with VARIANT=cuda for NVIDIA GPUs:
#
#     docker build -t mambair .
#     docker build -t mambair:cuda --build-arg VARIANT=cuda .
#     docker run --rm -v "$PWD:/images" -u "$(id -u):$(id -g)" mambair sr --scale 2 photo.png
#
# docs/install.md says more.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG VARIANT=cpu
WORKDIR /source
RUN pip install --no-cache-dir uv && uv venv --python "$(command -v python)" /opt/mambair
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY mambair_cli mambair_cli
COPY share share
COPY weights weights
# What PyPI has of PyTorch for Linux is the build for CUDA.
RUN case "$VARIANT" in \
        cpu) backend="--torch-backend cpu" ;; \
        cuda) backend="" ;; \
        *) echo "VARIANT is cpu or cuda, not $VARIANT" >&2; exit 1 ;; \
    esac \
    && uv pip install --python /opt/mambair --no-cache --compile-bytecode \
        --constraints constraints.txt $backend .

FROM python:${PYTHON}-slim
ARG VARIANT=cpu
LABEL org.opencontainers.image.title="mambair" org.opencontainers.image.licenses="Apache-2.0"
# Triton compiles the stubs that launch its kernels with a C compiler.
RUN if [ "$VARIANT" = cuda ]; then \
        apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
        && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=build /opt/mambair /opt/mambair
# What is fetched and compiled lies in one place, which any user may write to and a volume can keep.
ENV PATH=/opt/mambair/bin:$PATH \
    MAMBAIR_HOME=/var/lib/mambair/weights \
    HF_HOME=/var/lib/mambair/hub \
    NUMBA_CACHE_DIR=/var/lib/mambair/kernels \
    TRITON_CACHE_DIR=/var/lib/mambair/triton \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --uid 10001 --no-log-init mambair \
    && install -d -o mambair -m 1777 /var/lib/mambair /images
USER mambair
# Kernels are compiled for the processor that builds the image; on another kind they are compiled
# when they are first needed.
COPY examples/cat.png /tmp/in/
RUN cd /var/lib/mambair && mkdir -m 1777 weights hub kernels triton \
    && for task in "sr --scale 2" "denoise --sigma 25" "dejpeg --quality 40"; do \
        mambair $task --model tiny --device cpu --overwrite /tmp/in/cat.png -o /tmp/out.png; \
    done \
    && rm /tmp/out.png && chmod -R a+rwX kernels
WORKDIR /images
ENTRYPOINT ["mambair"]
CMD ["--help"]
