# The image of every stage, and of the one-shot commands: `aftermath` is its entrypoint, the arguments are the command.
# Versions and hashes are those of requirements-run.lock (no tests, no embedded ClickHouse); the wheel of this source
# is built in the first stage, so that the second holds no compiler, no package index and no source tree.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/aftermath
COPY requirements-run.lock /build/
RUN /opt/aftermath/bin/pip install --require-hashes --only-binary :all: --requirement /build/requirements-run.lock
COPY pyproject.toml README.md LICENSE /build/
COPY schemas /build/schemas
COPY pipeline /build/pipeline
COPY sinks /build/sinks
COPY alerts /build/alerts
COPY reports /build/reports
COPY web /build/web
RUN pip wheel --no-deps --wheel-dir /build/wheels /build \
    && /opt/aftermath/bin/pip install --no-deps --no-index /build/wheels/*.whl \
    && /opt/aftermath/bin/aftermath --help >/dev/null

FROM python:3.11-slim
LABEL org.opencontainers.image.title="aftermath" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/aftermath/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/aftermath /opt/aftermath
# Where the journal's volume goes: a named one takes its owner from here.
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/aftermath
# A number, so that Kubernetes can see that it is not root. The working directory stays empty and is not written to.
USER 10001:10001
WORKDIR /tmp
STOPSIGNAL SIGTERM
# Exec form: Python is process 1 and gets the signal itself.
ENTRYPOINT ["aftermath"]
CMD ["--help"]
