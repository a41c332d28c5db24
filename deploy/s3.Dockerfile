# The S3 server of compose.yaml: MinIO, built by Go at the version of s3.sh, which also says why this one. For
# development: no data that matters belongs here.
FROM golang:1.26-bookworm AS build
ARG MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOBIN=/out go install "github.com/minio/minio@${MINIO_VERSION}"

FROM debian:bookworm-slim
COPY --from=build /out/minio /usr/local/bin/minio
RUN groupadd --gid 10002 minio \
 && useradd --uid 10002 --gid 10002 --no-create-home --home-dir /data --shell /usr/sbin/nologin minio \
 && install -d -o minio -g minio -m 0750 /data
USER 10002:10002
VOLUME ["/data"]
EXPOSE 9000/tcp
ENTRYPOINT ["minio"]
CMD ["server", "--address", ":9000", "/data"]
