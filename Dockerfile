# syntax=docker/dockerfile:1

# Two stages: the final image contains neither pip's temporary files nor the sources.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/trackside
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY app app
COPY trainer trainer
COPY templates templates
COPY static static
COPY client client
RUN /opt/trackside/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim-bookworm
# torch.compile requires g++ and the Python headers (part of this image); tini reaps orphaned zombie processes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 trackside \
    && install --directory --owner trackside --mode 0700 /data
COPY --from=build /opt/trackside /opt/trackside
ENV PATH=/opt/trackside/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TRACKSIDE_HOME=/data
USER 10001
WORKDIR /home/trackside
VOLUME /data
EXPOSE 8000
# Without a proxy: Docker passes the host's http_proxy into containers.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + (os.environ.get('TRACKSIDE_PORT') or '8000') + '/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--"]
# Requires a password or TRACKSIDE_INSECURE=1: see docs/operations.md.
CMD ["trackside", "serve", "--host", "0.0.0.0", "--demo"]
