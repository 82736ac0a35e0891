# One image for server and worker. TORCH selects the build of torch, cpu or cu130; point
# PIP_EXTRA_INDEX_URL to an index that has it. If none has it, the index's default build is installed.
FROM python:3.11-slim-bookworm AS build

ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG TORCH=cpu

RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

# Only the files that name the dependencies, so that a code change does not reinstall them.
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
    > requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    { python -m pip install -c constraints.txt "$(grep '^torch==' requirements.txt)+${TORCH}" \
    || echo "no index has torch's ${TORCH} build; installing the default one"; } \
    && python -m pip install -c constraints.txt -r requirements.txt


FROM python:3.11-slim-bookworm

RUN groupadd --gid 10001 charloom \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home charloom \
    && install -d -o 10001 -g 10001 /data

COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
COPY . .

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
