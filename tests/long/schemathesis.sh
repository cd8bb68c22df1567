#!/bin/sh
# Fuzzes every route by /openapi.json with many more requests than the test suite: tests/long/schemathesis.sh [examples] [seed]
# It needs python3, and PyPI once; what comes from there is kept in the target folder.
set -eu
export PULLYARD_EXAMPLES="${1:-1000}"
[ $# -lt 2 ] || export PULLYARD_SEED="$2"
cd "$(dirname "$0")/../.."
exec cargo test --package pullyard-tests --test it -- --show-output openapi::a_fuzzer
