# syntax=docker/dockerfile:1
# vidfer for CPUs, from the root of the repository: docker build -f docker/cpu.Dockerfile -t vidfer:cpu .
FROM python:3.13.14-slim-trixie AS build
# What else is wanted, for example "cpu,serve,ray" for the machines of a Ray cluster.
ARG EXTRAS=cpu,serve
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY vidfer vidfer
# The environment has no pip: nothing can be installed into it later. pip compiles, since Python cannot where nothing may be written.
# The packages' own tests are a tenth of it.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/vidfer \
    && pip --python /opt/vidfer/bin/python install --constraint constraints.txt ".[$EXTRAS]" \
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
# A number, so that Kubernetes can see that it is not root.
USER 1001:1001
WORKDIR /data
# Loads the networks that are inside and runs one. `watch` has a cheaper sign of life: compose.yaml asks its /healthz.
HEALTHCHECK --interval=5m --timeout=60s --start-period=60s --retries=2 CMD ["vidfer", "doctor"]
ENTRYPOINT ["vidfer"]
CMD ["--help"]
