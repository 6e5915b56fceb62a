#!/usr/bin/env bash
# All that needs a GPU, on a machine that may have nothing but torch and a driver. Not run on a GPU
# yet; CI runs it with --cpu.
#
#   scripts/gpu_check.sh [--cpu] [PART ...]
#
# Parts, in order: install machine kernels sanitizer bundles engines goldens answers report. A part
# that is done is not done again: after an interruption the same command goes on. Figures go to
# OUT (build/gpu-check), at the end to OUT/report/gpu-check.{json,md}. WHEELS is a folder of wheels
# to install from, with no index (make gpu-wheels fills build/gpu-wheels); a wheel may lie there in
# parts NAME.whl.00, NAME.whl.01, ... Kernels come first: they are done within five minutes.
#
# TARGET=tensorrt builds with full TensorRT where it is installed: TensorRT-RTX names no Hopper (9.0).
#
# --cpu: ONNX Runtime for TensorRT, the CPU's reference for the kernels, golden weights alone,
# no torch.compile. It tests this script; its figures mean nothing.
set -uo pipefail
root=$(cd -- "$(dirname "$0")/.." && pwd)
cd "$root"
python=${PYTHON:-python3}
cpu=
[ "${1:-}" = --cpu ] && { cpu=1; shift; }
out=$(realpath -m "${OUT:-build/gpu-check${cpu:+-cpu}}")
wheels=$(realpath -m "${WHEELS:-build/gpu-wheels}")
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(install machine kernels sanitizer bundles engines goldens answers report)
mkdir -p "$out/done" "$out/bundles"
export PYTHONPATH=$out/site:$root
[ -d "$wheels" ] && export PIP_NO_INDEX=1 PIP_FIND_LINKS=$wheels
export PATH=$out/site/bin:$PATH:$out/site/nvidia/cu13/bin:/usr/local/cuda/bin

if [ -n "$cpu" ]; then
    backend=onnxruntime library=$root/build/plugins/liblavin_reference.so
    models=(golden) rounds=2 fast=fp32 few=(--no-compile) architectures=
else
    backend=tensorrt library=$root/build/plugins/liblavin_plugins.so
    models=(golden edge-frozen edge-joint 0.1b-frozen 0.1b-joint) rounds=50 fast=fp16 few=()
    architectures=native # the default ones would leave a Hopper to compile PTX every time
    export LAVIN_PLUGINS=$library
fi

install() { # without wheels everything must be there already
    [ -d "$wheels" ] || return 0
    for first in "$wheels"/*.whl.00; do
        [ -f "$first" ] && cat "${first%.00}".[0-9][0-9] > "${first%.00}"
    done
    rm -rf "$out/site"
    "$python" -m pip install -q --disable-pip-version-check --no-deps --target "$out/site" \
        "$wheels"/*.whl
}

machine() {
    "$python" - "$out/machine.json" <<'PY'
import datetime, json, subprocess, sys
import torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
asked = ["nvidia-smi", "--query-gpu=driver_version,power.limit,clocks.max.sm", "--format=csv,noheader"]
try:
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
except (OSError, subprocess.CalledProcessError):
    said = "none"
today = datetime.date.today().isoformat()
facts = {"date": today, "gpu": gpu, "driver, power, clock": said, "torch": torch.__version__}
json.dump(facts, open(sys.argv[1], "w"))
PY
}

kernels() {
    [ -f "$library" ] || PYTHON="$python" scripts/build_plugins.sh "$architectures" || return 1
    "$python" benchmarks/gpu_kernels.py "$library" --rounds $rounds --json "$out/kernels.json"
}

sanitizer() { # of parity alone; torch makes the start slow
    local tool found= said more
    for tool in memcheck racecheck synccheck; do
        if ! command -v compute-sanitizer > /dev/null; then
            said="not installed"
        elif [ -n "$cpu" ]; then
            said="needs a GPU"
        else
            more=()
            [ $tool = memcheck ] && more=(--report-api-errors no) # torch probes with such calls
            timeout 300 compute-sanitizer --tool $tool --error-exitcode 9 "${more[@]}" \
                --kernel-regex kns=lavin "$python" benchmarks/gpu_kernels.py "$library" --rounds 0 \
                > "$out/sanitizer-$tool.txt" 2>&1
            said="exit code $?, $(grep 'ERROR SUMMARY\|RACECHECK SUMMARY' "$out/sanitizer-$tool.txt" | tail -1 | tr -d '=')"
        fi
        found+="${found:+, }\"$tool\": \"$said\""
    done
    echo "{$found}" > "$out/sanitizer.json"
    ! grep -q "exit code [^0]" "$out/sanitizer.json"
}

bundles() { # those that lie in OUT/bundles already are taken
    local name words code=0
    for name in "${models[@]}"; do
        [ -f "$out/bundles/$name.lavin/manifest.json" ] && continue
        words=(--precision fp32 --precision fp16)
        case $name in
            golden) words+=(--vae tests/golden/stvae.pt --size 64x64 --pairs 2 --steps 19) ;;
            *) words+=(--pairs 1 --steps 9) ;;
        esac
        [ "${name%%-*}" = 0.1b ] ||
            words+=(--precision int8 --dialect native --dialect portable --force)
        "$python" -c "from lavin_deploy.cli.export import export; export()" \
            --ckpt "$(checkpoint "$name")" --out "$out/bundles/$name.lavin" --tasks examples/tasks \
            "${words[@]}" || code=1
    done
    return $code
}

checkpoint() { # of a model: the one that ships, its weights run as a joint model, or random ones
    case $1 in
        golden) echo tests/golden ;;
        edge-frozen) echo checkpoints/edge-all ;;
        *)
            local folder=$out/bundles/$1.ckpt
            echo "$folder"
            [ -d "$folder" ] && return
            rm -rf "$folder.part"
            if [ "$1" = edge-joint ]; then
                cp -r checkpoints/edge-all "$folder.part"
                sed -i 's/"context": "frozen"/"context": "joint"/' "$folder.part/config.json"
                mv "$folder.part" "$folder"
                return
            fi
            "$python" - "$folder.part" "${1%-*}" "${1#*-}" <<'PY'
import sys
from dataclasses import replace
from pathlib import Path
from lavin_deploy.config import preset
from tests.helpers.checkpoints import write_released
model = preset(sys.argv[2])
write_released(Path(sys.argv[1]), replace(model, dit=replace(model.dit, context=sys.argv[3])))
PY
            mv "$folder.part" "$folder"
            ;;
    esac
}

engines() {
    local name code=0
    for name in "${models[@]}"; do
        [ "${name%%-*}" = 0.1b ] && continue
        "$python" benchmarks/gpu_engines.py "$out/bundles/$name.lavin" --backend $backend \
            --json "$out/engines-$name.json" || code=1
    done
    return $code
}

goldens() {
    "$python" benchmarks/gpu_goldens.py "$out/bundles/golden.lavin" --backend $backend --json "$out/goldens.json"
}

answers() {
    local name code=0
    for name in "${models[@]}"; do
        [ -f "$out/answers-$name.json" ] || answer "$name" "${few[@]}" || code=1
        [ -f "$out/answers-$name.json" ] || answer "$name" --no-compile # if it was torch.compile
    done
    return $code
}

answer() { # NAME WORDS...
    local name=$1
    shift
    "$python" benchmarks/gpu_answers.py "$out/bundles/$name.lavin" "$(checkpoint "$name")" \
        --backend $backend --precision "$fast" --rounds $rounds "$@" --json "$out/answers-$name.json"
}

report() {
    "$python" benchmarks/gpu_report.py "$out"
}

failed=()
for part in "${parts[@]}"; do
    [ -f "$out/done/$part" ] && [ "$part" != report ] && { echo "$part: done before"; continue; }
    start=$SECONDS
    if $part > >(tee "$out/$part.log") 2>&1; then
        touch "$out/done/$part"
        echo "$part: $((SECONDS - start)) s"
    else
        failed+=("$part")
        echo "$part: FAILED after $((SECONDS - start)) s; see $out/$part.log"
    fi
done
[ ${#failed[@]} -eq 0 ]
