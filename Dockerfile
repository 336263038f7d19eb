FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/shiplog \
 && /opt/shiplog/bin/pip install --no-cache-dir "$(grep -o '^uv==[0-9.]*' requirements.lock)"
COPY domain domain
COPY eventstore eventstore
COPY projections projections
COPY services services
COPY migrations migrations
# requirements.lock pins the versions of the dependencies in pyproject.toml.
RUN /opt/shiplog/bin/uv pip install --no-cache --python /opt/shiplog/bin/python --constraint requirements.lock .

FROM python:3.13-slim
RUN useradd --system --uid 10001 shiplog
COPY --from=build /opt/shiplog /opt/shiplog
ENV PATH=/opt/shiplog/bin:$PATH PYTHONUNBUFFERED=1
USER shiplog
CMD ["shiplog", "serve", "--host", "0.0.0.0"]
