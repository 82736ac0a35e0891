# One image for server and worker. TORCH selects the build of torch: cpu, or one with CUDA such as cu130.
# Point PIP_EXTRA_INDEX_URL to an index that has it: where none has, the build fails, rather than install
# the gigabytes of the index's default build. TORCH=default asks for those.
FROM python:3.11-slim-bookworm AS build

ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG TORCH=cpu

# For strip, in slim.sh, and for the native step.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

# Only the files that name the dependencies, so that a code change does not reinstall them.
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    extras = p["optional-dependencies"]; \
    print(*p["dependencies"], *extras["documents"], *extras["s3"], sep="\n")' > requirements.txt
COPY deploy/slim.sh ./
# In one step with slim.sh: what a later step removes would stay in this one's layer.
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    torch=$(grep '^torch==' requirements.txt) \
    && if [ "$TORCH" != default ]; then torch="$torch+$TORCH"; fi \
    && { python -m pip install -c constraints.txt -r requirements.txt "$torch" \
        || { echo "not installed: see above. If no index has $torch, set PIP_EXTRA_INDEX_URL" >&2; exit 1; }; } \
    && sh slim.sh /opt/venv

# Compiled here, since the image has no compiler.
COPY models/decoding/native native
RUN python native/building.py


FROM python:3.11-slim-bookworm

RUN groupadd --gid 10001 charloom \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home charloom \
    && install -d -o 10001 -g 10001 /data

COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
COPY app app
COPY worker worker
COPY models models
COPY --from=build /build/native models/decoding/native
COPY pretrained pretrained
RUN /opt/venv/bin/python -m compileall -q app worker models

# To listen beyond the container's loopback, the server needs keys or CHARLOOM_INSECURE=1.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    CHARLOOM_DATA=/data \
    CHARLOOM_HOST=0.0.0.0 \
    CHARLOOM_PORT=8000

USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "app"]
