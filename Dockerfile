# The service: `docker build --tag device-readings .`, then `docker run device-readings consume` with READINGS_… set.

FROM python:3.13-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY constraints.txt pyproject.toml setup.py README.md ./
COPY schemas/ schemas/
COPY enrich/ enrich/
COPY sinks/ sinks/
COPY ingest/ ingest/
# The compiler reads the types of all that is imported, so that has to be there first.
RUN pip install --no-cache-dir --constraint constraints.txt setuptools mypy asyncpg-stubs \
    && pip install --no-cache-dir --constraint constraints.txt --no-build-isolation .
RUN COMPILE_READINGS=1 pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && python -m venv /opt/readings \
    && /opt/readings/bin/pip install --no-cache-dir --constraint constraints.txt dist/*.whl

FROM python:3.13-slim
# As process 1, tini passes on SIGTERM from the first moment, also while Python is still starting.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home readings
COPY --from=build /opt/readings /opt/readings
ENV PATH="/opt/readings/bin:$PATH"
USER readings
WORKDIR /home/readings
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "readings"]
CMD ["--help"]
