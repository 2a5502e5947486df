# syntax=docker/dockerfile:1
# vidfer for NVIDIA's GPUs (CUDA 13: driver 580 or newer), from the root of the repository:
# docker build -f docker/cuda.Dockerfile -t vidfer:cuda . && docker run --gpus all vidfer:cuda doctor
# CUDA and cuDNN come from PyPI: of NVIDIA's own images ONNX Runtime needs less than half.
FROM python:3.13.14-slim-trixie AS build
ARG EXTRAS=gpu,serve
WORKDIR /src
COPY pyproject.toml constraints.txt docker/constraints-cuda.txt README.md LICENSE ./
COPY schemas schemas
COPY vidfer vidfer
# As in cpu.Dockerfile: no pip inside, everything compiled, the packages' own tests left out.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/vidfer \
    && pip --python /opt/vidfer/bin/python install --constraint constraints.txt --constraint constraints-cuda.txt \
        ".[$EXTRAS]" "onnxruntime-gpu[cuda,cudnn]" \
    && find /opt/vidfer -depth -type d -name tests -exec rm -r {} +

FROM python:3.13.14-slim-trixie
LABEL org.opencontainers.image.title="vidfer" \
      org.opencontainers.image.description="Faces in video: exact time, stable face ids, emotions, valence and arousal" \
      org.opencontainers.image.licenses="Apache-2.0"
# /data exists and is this user's, and so is a new volume that is mounted there.
RUN useradd --uid 1001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin vidfer \
    && install -d -o vidfer -g vidfer /data
COPY --from=build /opt/vidfer /opt/vidfer
# Whatever a library wants to keep goes to /tmp: with --read-only --tmpfs /tmp nothing else can be written but /data.
ENV PATH=/opt/vidfer/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
# Where PyPI's CUDA and cuDNN lie; the driver's own libraries are put in by NVIDIA's container toolkit, which asks for the others.
ENV LD_LIBRARY_PATH=/opt/vidfer/lib/python3.13/site-packages/nvidia/cu13/lib:/opt/vidfer/lib/python3.13/site-packages/nvidia/cudnn/lib \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# A number, so that Kubernetes can see that it is not root.
USER 1001:1001
WORKDIR /data
# Loads the networks that are inside and runs one. `watch` has a cheaper sign of life: compose.yaml asks its /healthz.
HEALTHCHECK --interval=5m --timeout=60s --start-period=60s --retries=2 CMD ["vidfer", "doctor"]
ENTRYPOINT ["vidfer"]
CMD ["--help"]
