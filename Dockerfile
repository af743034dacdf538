# One image for the worker and the API; docker-compose.yml has a command for each.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY temporal_hitl temporal_hitl
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check \
    --constraint constraints.txt '.[api,cli,agents,demo,notify]' openai
# openai: what agents reach their model by; another provider's package in its place, or beside it.

FROM python:3.11.14-slim-bookworm
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --no-create-home hitl && install --directory --owner hitl /files /approvals
COPY --from=build /venv /venv
COPY activities /app/activities
COPY workflows /app/workflows
COPY api /app/api
# Code is looked for here, so nothing may be written here; files of pipelines belong into /files.
WORKDIR /app
USER 10001
CMD ["temporal-hitl", "--help"]
