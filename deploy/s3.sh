#!/usr/bin/env bash
# An S3 server for tests: MinIO on loopback, built by Go on first use. (It is only run, never linked or shipped.) It was
# chosen because it lets exactly one of several concurrent create-if-absent writes win, which the table log relies on.
#
#   deploy/s3.sh up       start it and print its endpoint; the bucket `headwater` exists
#   deploy/s3.sh down     stop it; the data stays
#   deploy/s3.sh purge    stop it and delete the data
#
# S3_PORT (19000) and S3_DIR (~/.cache/headwater/s3) say where. Credentials are test / testtest.
set -euo pipefail

version=v0.0.0-20260212201848-7aac2a2c5b7c
port=${S3_PORT:-19000}
dir=${S3_DIR:-$HOME/.cache/headwater/s3}
install=$HOME/.cache/headwater/minio
pid_file=$dir/s3.pid

is_up() {
  [ -e "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null
}

fetch_server() {
  [ -x "$install/minio" ] && return
  command -v go >/dev/null || { echo "deploy/s3.sh needs Go (1.24 or newer) to build MinIO" >&2; exit 1; }
  GOBIN=$install go install "github.com/minio/minio@$version" >&2
}

create_bucket() {
  curl -fsS -o /dev/null --aws-sigv4 aws:amz:us-east-1:s3 --user test:testtest -X PUT "http://127.0.0.1:$port/headwater" 2>/dev/null ||
    curl -fsS -o /dev/null --aws-sigv4 aws:amz:us-east-1:s3 --user test:testtest "http://127.0.0.1:$port/headwater" 2>/dev/null
}

up() {
  fetch_server
  mkdir -p "$dir/data"
  if ! is_up; then
    MINIO_ROOT_USER=test MINIO_ROOT_PASSWORD=testtest MINIO_UPDATE=off MINIO_BROWSER=off \
      "$install/minio" server --address "127.0.0.1:$port" "$dir/data" >"$dir/out.log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    disown
  fi
  for _ in $(seq 1 100); do
    if create_bucket; then
      echo "http://127.0.0.1:$port"
      return
    fi
    is_up || { echo "MinIO did not start; see $dir/out.log" >&2; exit 1; }
    sleep 0.2
  done
  echo "MinIO did not answer on port $port; see $dir/out.log" >&2
  exit 1
}

down() {
  if is_up; then
    kill "$(cat "$pid_file")"
    # It writes to its directory until it has ended.
    for _ in $(seq 1 100); do
      is_up || break
      sleep 0.1
    done
  fi
  rm -f "$pid_file"
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  purge) down; rm -rf "$dir" ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac
