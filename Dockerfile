# docker build -t netwright . && docker run --init -p 127.0.0.1:8000:8000 -v netwright:/data netwright
ARG PYTHON=3.13

FROM python:${PYTHON} AS build
# not slim: it has the C compiler that makes updates three times as fast (docs/decisions/0017)
ARG EXTRAS=images
# of the extras in pyproject.toml, with commas between: --build-arg EXTRAS=images,data,onnx
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY service service
RUN python -m venv /opt/netwright \
 && /opt/netwright/bin/pip install --no-cache-dir -c constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
 && /opt/netwright/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim
COPY --from=build /opt/netwright /opt/netwright
RUN mkdir /data && chown 10001:10001 /data
# The container's own network is the fence here: publish the port to 127.0.0.1, as above, until you have made keys:
# docker run --rm -v netwright:/data netwright keys create me
ENV PATH=/opt/netwright/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NETWRIGHT_HOST=0.0.0.0 \
    NETWRIGHT_ALLOW_REMOTE=true \
    NETWRIGHT_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"NETWRIGHT_PORT\", \"8000\")}/health/ready', timeout=2)"]
ENTRYPOINT ["netwright"]
CMD ["serve"]
