#!/usr/bin/env bash
# Everything that docs/background/gpu.md promises on a graphics card, measured in eight minutes.
#
#     benchmarks/gpu.sh [--device cuda] [--small] [--only PART,PART] [--out DIR] [--seconds 460]
#
# Needs a Python (3.11 or newer) whose torch sees the device: $PYTHON, an active environment's, that
# of .venv, or python3. Other packages that are missing go into DIR/site; nothing else is installed,
# and torch is left alone. Each part is a process of its own with a limit in seconds; one that fails
# is noted, and the next one runs. No part begins after so many --seconds. DIR is build/gpu if none
# is named: gpu.json has all figures, gpu.md is the table for the docs. `--device cpu --small` tries
# the script itself in three minutes. The exit status is 1 where a part failed.
set -u
cd "$(dirname "$0")/.." || exit 2

device=cuda small="" only="" out=build/gpu seconds=460
while [ $# -gt 0 ]; do
  case "$1" in
    --device) device=${2:?} && shift 2 ;;
    --only) only=${2:?} && shift 2 ;;
    --out) out=${2:?} && shift 2 ;;
    --seconds) seconds=${2:?} && shift 2 ;;
    --small) small=--small && shift ;;
    *) echo "gpu.sh: there is no option $1" >&2 && exit 2 ;;
  esac
done

mkdir -p "$out/parts" || exit 2
out=$(cd "$out" && pwd)
rm -f "$out"/parts/* "$out"/gpu.* "$out"/seconds
: >"$out/parts.tsv"

# Whether a Python is new enough, and its torch sees the device.
sees="import sys; assert sys.version_info >= (3, 11); import torch; torch.ones(1, device='$device')"
python=""
for one in "${PYTHON:-}" "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" .venv/bin/python python3 python; do
  if [ -n "$one" ] && timeout 90 "$one" -c "$sees" >/dev/null 2>"$out/python.err"; then
    python=$one
    break
  fi
done
if [ -z "$python" ]; then
  echo "gpu.sh: no Python from 3.11 on has a torch that sees $device: $(tail -n 1 "$out/python.err")" >&2
  exit 2
fi

export PYTHONPATH="$PWD/src:$PWD:$out/site" IMPASTO_CACHE_MB=0
missing=$("$python" -m benchmarks.gpu missing) || exit 2
if [ -n "$missing" ]; then
  read -ra packages <<<"$missing"
  if ! timeout 90 "$python" -m pip install -q --target "$out/site" "${packages[@]}" >"$out/pip.err" 2>&1; then
    echo "gpu.sh: these packages are missing and could not be installed: $missing" >&2
    exit 2
  fi
fi

plan=$("$python" -m benchmarks.gpu plan --device "$device" ${small:+"$small"} --only "$only") || exit 2
while IFS=$'\t' read -r name limit words; do
  left=$((seconds - SECONDS))
  if [ "$left" -lt 1 ]; then
    printf '%s\tleft out\t0\t%s\t%s\n' "$name" "$limit" "$words" >>"$out/parts.tsv"
    echo "$name: left out, there is no time left"
    continue
  fi
  [ "$limit" -le "$left" ] || limit=$left
  read -ra command <<<"$words"
  began=$(date +%s.%N)
  timeout -k 5 "$limit" "$python" -m "${command[@]}" --json "$out/parts/$name.json" \
    </dev/null >"$out/parts/$name.out" 2>"$out/parts/$name.err"
  status=$?
  took=$("$python" -c "import sys; print(f'{float(sys.argv[2]) - float(sys.argv[1]):.1f}')" "$began" "$(date +%s.%N)")
  printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$status" "$took" "$limit" "$words" >>"$out/parts.tsv"
  echo "$name: status $status, $took s"
done <<<"$plan"

echo "$SECONDS" >"$out/seconds"
"$python" -m benchmarks.gpu gather "$out"
status=$?
echo "the figures are in $out/gpu.json, the table is $out/gpu.md"
exit "$status"
