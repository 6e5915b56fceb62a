#!/bin/sh
# The default bundle, unattended: prepare the data, train, export, evaluate.
#
#   scripts/train_default.sh OUT [--set key=value ...]
#
# Started again it goes on where it was: what is finished is passed over, a stopped run resumes. A
# short part of the training comes first and leaves OUT/first.lavin with its figures in
# OUT/first-report; the long one leaves OUT/edge.lavin and OUT/edge-report. Settings are those of
# `lavin-train jdit --recipe edge-all`, e.g. `--set batch=16` on a laptop. FIRST, STEPS and SAMPLES
# in the environment change the two lengths (steps) and the samples a task that are evaluated.
set -eu
if [ $# -lt 1 ]; then
    echo "usage: scripts/train_default.sh OUT [--set key=value ...]" >&2
    exit 2
fi
root=$(CDPATH= cd -- "$(dirname "$0")/.." && pwd)
out=$1
shift
run=$out/run
first=${FIRST:-1500}
last=${STEPS:-20000}
# Those of the trained tasks that do better than nothing at this size; see the model card.
tasks="segmentation edges depth normals matting removal colorization denoising inpainting low_light"

[ -f "$out/data/inventory.json" ] || lavin-data prepare --out "$out/data"

# The ST-VAE stays, so that the J-DiT to start from stays valid.
mkdir -p "$run"
[ -f "$run/stvae.safetensors" ] ||
    cp "$root/checkpoints/edge-all/config.json" "$root/checkpoints/edge-all/stvae.safetensors" "$run"

for kind in tasks validation; do
    mkdir -p "$out/$kind"
    cp "$root/examples/$kind/ATTRIBUTION.md" "$out/$kind"
    for task in $tasks; do cp -r "$root/examples/$kind/$task" "$out/$kind"; done
done

# part NAME STEPS [setting ...]: train up to STEPS, then export and evaluate as NAME.
part() {
    name=$1
    steps=$2
    shift 2
    [ -d "$out/$name-report" ] && return
    resume=
    [ -d "$run/jdit.states" ] && resume=--resume
    if [ ! -d "$out/$name.lavin" ]; then
        lavin-train jdit --recipe edge-all --data "$out/data" --out "$run" \
            --init-from "$root/checkpoints/edge-all" "$@" --set "steps=$steps" $resume
        # A run that was told to stop has saved and ended well, but not to the last step.
        if [ ! -d "$run/jdit.states/$(printf 'step-%08d' "$steps")" ]; then
            echo "stopped before step $steps; start this again to go on" >&2
            exit 1
        fi
        lavin-export --ckpt "$run" --precision fp32 --out "$out/$name.lavin" \
            --tasks "$out/tasks" --validation "$out/validation" \
            --licence Apache-2.0 --model-card "$root/docs/edge-model-card.md"
    fi
    lavin-eval "$out/$name.lavin" --suite core --data "$out/data" \
        --samples "${SAMPLES:-200}" --report "$out/$name-report"
}

part first "$first" "$@"
part edge "$last" "$@"
