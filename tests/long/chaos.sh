#!/bin/sh
# Breaks everything for longer than the test suite does, with faults that last longer: tests/long/chaos.sh [rounds] [seed]
#
# Round n has the seed + n, so `chaos.sh 1 SEED` repeats one round: the same requests and faults at the same times, though
# not to the microsecond. With $PULLYARD_KEEP a round that fails leaves there what everybody said, and the log.
set -eu
export PULLYARD_ROUNDS="${1:-10}"
[ $# -lt 2 ] || export PULLYARD_SEED="$2"
cd "$(dirname "$0")/../.."
exec cargo test --package pullyard-tests --test it -- --nocapture fleet::chaos::whatever_breaks
