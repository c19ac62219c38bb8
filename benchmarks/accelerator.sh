#!/usr/bin/env bash
# What a GPU does, in at most 8 minutes: benchmarks/accelerator.sh FILE [--transfer]
# FILE gets Markdown tables. Without --transfer, the tests of GPUs run first.
set -u
[ $# -ge 1 ] || { echo "usage: benchmarks/accelerator.sh FILE [--transfer]" >&2; exit 2; }
file=$(realpath -m "$1")
shift
cd "$(dirname "$0")/.." || exit 1
: > "$file" || exit 1
seconds=420
case " $* " in
*" --transfer "*) ;;
*)
    seconds=300
    echo "### Tests of GPUs" >> "$file"
    printf '\n```\n' >> "$file"
    timeout 120 python -m pytest tests/gpu -m gpu -q -rs 2>&1 | tail -25 >> "$file"
    printf '```\n\n' >> "$file"
    ;;
esac
timeout $((seconds + 45)) python -m benchmarks.accelerator --output "$file" --seconds "$seconds" "$@"
