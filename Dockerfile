# The job as an image: Debian slim, everything pinned in one layer, the project's own code in the last.
# A change of the code costs seconds to build, to push and to pull.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS libraries
# gcc, g++ and the libc headers stay: Triton compiles its launcher when its CUDA driver loads, and PyTorch what a compiled model does on the CPU.
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends gcc g++ libc6-dev \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY requirements.lock /opt/saltworks/
# Bytecode is compiled here, that of the standard library too, which slim images leave out: the root is read-only later, and
# every Ray process would compile its imports anew. uv stands in the same lock as all the rest; what pip needs to fetch it is
# left out of the layer.
RUN sed -n '/^uv==/,/[^\\]$/p' /opt/saltworks/requirements.lock > /tmp/uv.lock \
 && pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore --require-hashes -r /tmp/uv.lock \
 && uv pip install --system --quiet --no-cache --compile-bytecode --require-hashes -r /opt/saltworks/requirements.lock \
 && python3 -m compileall -q -x '/(site-packages|dist-packages|tests?)/' "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && rm /tmp/uv.lock

# What the image holds: every Python distribution with its licence as CycloneDX, every Debian package in a list. The tool
# itself stays out of the image.
FROM libraries AS bill
COPY requirements-bom.lock /tmp/
RUN uv venv --quiet --no-cache /tmp/tool \
 && uv pip install --python /tmp/tool --quiet --no-cache --require-hashes -r /tmp/requirements-bom.lock \
 && /tmp/tool/bin/cyclonedx-py environment --output-reproducible --of JSON -o /tmp/sbom.cdx.json "$(command -v python3)" \
 && dpkg-query --show --showformat '${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n' > /tmp/sbom.dpkg.txt

FROM libraries
COPY --from=bill /tmp/sbom.cdx.json /tmp/sbom.dpkg.txt /opt/saltworks/
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="saltworks" \
      org.opencontainers.image.description="How much synthetic data is worth mixing in? Draws it, trains with it, judges on real images." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
# HOME and caches lie in /tmp, which has to be writable and executable (Triton's launcher); everything else may be read-only.
# The code is found from every working directory: Ray starts its workers in one of its own.
ENV HOME=/tmp \
    PYTHONPATH=/opt/saltworks \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    SALTWORKS_ROOT=/data \
    SALTWORKS_CODE_DIGEST="${REVISION}"
WORKDIR /opt/saltworks
RUN mkdir /data && chown 1000:1000 /data
VOLUME /data
COPY job job
RUN python3 -m compileall -q job
USER 1000:1000
ENTRYPOINT ["python3", "-m", "job"]
CMD ["run"]
