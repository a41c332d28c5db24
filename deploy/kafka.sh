#!/usr/bin/env bash
# A real Apache Kafka for tests: one KRaft node on loopback, its jars fetched by Maven.
#
#   deploy/kafka.sh up        start (or restart) it and print the bootstrap address
#   deploy/kafka.sh down      stop it; the data stays
#   deploy/kafka.sh purge     stop it and delete the data
#
# KAFKA_PORT (19092) and KAFKA_DIR (~/.cache/headwater/kafka) say where. If HEADWATER_TEST_KAFKA names a Kafka that
# is already running, `up` prints that address and starts nothing.
set -euo pipefail

version=4.1.0
port=${KAFKA_PORT:-19092}
controller_port=$((port + 1))
dir=${KAFKA_DIR:-$HOME/.cache/headwater/kafka}
libs=$HOME/.cache/headwater/kafka-libs-$version
pid_file=$dir/kafka.pid

need() {
  command -v "$1" >/dev/null || { echo "deploy/kafka.sh needs $1: $2" >&2; exit 1; }
}

fetch_jars() {
  [ -e "$libs/.complete" ] && return
  need mvn "install Maven (Debian: apt-get install maven)"
  mkdir -p "$libs"
  local pom
  pom=$(mktemp -d)/pom.xml
  cat >"$pom" <<EOF
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>headwater</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
EOF
  mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$libs" -DincludeScope=runtime >&2
  touch "$libs/.complete"
}

is_up() {
  [ -e "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null
}

write_configuration() {
  mkdir -p "$dir"
  cat >"$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
num.partitions=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
message.max.bytes=20971520
replica.fetch.max.bytes=20971520
log.retention.check.interval.ms=1000
log.cleaner.backoff.ms=500
log.cleaner.min.cleanable.ratio=0.01
log.segment.delete.delay.ms=100
EOF
  cat >"$dir/log4j2.properties" <<EOF
rootLogger.level=warn
rootLogger.appenderRef.file.ref=file
appender.file.type=File
appender.file.name=file
appender.file.fileName=$dir/kafka.log
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c{1} %m%n
EOF
}

# `exec`, so that the process that $! names is Java's own.
java_in() {
  exec java -Xmx1g -XX:+UseG1GC -Dlog4j2.configurationFile="$dir/log4j2.properties" -cp "$libs/*" "$@"
}

up() {
  if [ -n "${HEADWATER_TEST_KAFKA:-}" ]; then
    echo "$HEADWATER_TEST_KAFKA"
    return
  fi
  need java "install a Java 17 runtime (Debian: apt-get install openjdk-17-jre-headless)"
  fetch_jars
  if ! is_up; then
    write_configuration
    if [ ! -e "$dir/data/meta.properties" ]; then
      (java_in kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAQ -c "$dir/server.properties") >/dev/null 2>&1
    fi
    java_in kafka.Kafka "$dir/server.properties" >"$dir/out.log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    disown
  fi
  for _ in $(seq 1 120); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "127.0.0.1:$port"
      return
    fi
    is_up || { echo "Kafka did not start; see $dir/out.log and $dir/kafka.log" >&2; exit 1; }
    sleep 0.5
  done
  echo "Kafka did not listen on port $port within a minute; see $dir/kafka.log" >&2
  exit 1
}

down() {
  is_up || { rm -f "$pid_file"; return; }
  local pid
  pid=$(cat "$pid_file")
  kill "$pid"
  for _ in $(seq 1 60); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
  done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$pid_file"
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  purge) down; rm -rf "$dir" ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac
