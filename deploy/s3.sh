#!/usr/bin/env bash
# An S3 server for tests: s3s-fs on loopback, built by cargo on first use.
#
#   deploy/s3.sh up       start it and print its endpoint; the bucket `headwater` exists
#   deploy/s3.sh down     stop it; the data stays
#   deploy/s3.sh purge    stop it and delete the data
#
# S3_PORT (19000) and S3_DIR (~/.cache/headwater/s3) say where. Credentials are test / testtest.
set -euo pipefail

version=0.14.1
port=${S3_PORT:-19000}
dir=${S3_DIR:-$HOME/.cache/headwater/s3}
install=$HOME/.cache/headwater/s3s-fs-$version
pid_file=$dir/s3.pid

is_up() {
  [ -e "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null
}

up() {
  if [ ! -x "$install/bin/s3s-fs" ]; then
    CARGO_TARGET_DIR=$install/target cargo install --quiet --locked --root "$install" --features binary \
      --version "$version" s3s-fs >&2
    rm -rf "$install/target"
  fi
  mkdir -p "$dir/data/headwater"
  if ! is_up; then
    "$install/bin/s3s-fs" --host 127.0.0.1 --port "$port" --access-key test --secret-key testtest "$dir/data" \
      >"$dir/out.log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    disown
  fi
  for _ in $(seq 1 60); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "http://127.0.0.1:$port"
      return
    fi
    is_up || { echo "s3s-fs did not start; see $dir/out.log" >&2; exit 1; }
    sleep 0.2
  done
  echo "s3s-fs did not listen on port $port; see $dir/out.log" >&2
  exit 1
}

down() {
  if is_up; then
    kill "$(cat "$pid_file")"
  fi
  rm -f "$pid_file"
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  purge) down; rm -rf "$dir" ;;
  *) sed -n '2,9p' "$0" >&2; exit 2 ;;
esac
