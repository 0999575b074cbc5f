# The service with the use wing only: no torch, no compiler, no root.
#
#   docker build -t lentigo .                       (run `make app` first to have the phone app in it)
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 256 --memory 2g \
#       -p 127.0.0.1:8000:8000 -v "$PWD/keys:/keys:ro" lentigo --keys /keys --allowed-host gateway.example.org
#
# Nothing is written at run time, so the root file system can be read-only. tests/test_serving_container.py keeps this file right.

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY lentigo ./lentigo
RUN python -m venv /opt/lentigo && /opt/lentigo/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.12-slim
COPY --from=build /opt/lentigo /opt/lentigo
ENV PATH=/opt/lentigo/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["lentigo", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD []
