#!/bin/sh
# Kills the broker many more times than the test suite does: tests/long/crash.sh [rounds] [seed]
set -eu
export PULLYARD_ROUNDS="${1:-200}"
[ $# -lt 2 ] || export PULLYARD_SEED="$2"
cd "$(dirname "$0")/../.."
exec cargo test --package pullyard-tests --test it -- --show-output crash::whatever_was_accepted
