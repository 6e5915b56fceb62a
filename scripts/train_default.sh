#!/bin/sh
# The default model, unattended: prepare the data, train for as long as it may run, branch off
# milestones.
#
#   scripts/train_default.sh OUT [--set key=value ...]
#   scripts/train_default.sh OUT milestone [--set key=value ...]
#
# The first goes on where it was when it is started again, also after a kill or a restart of the
# machine; SIGTERM lets it save. It keeps its rate, so that it never has to end. The second copies
# its last state into OUT/branch, trains on at full size while the rate falls to zero over a tenth
# of the steps, and leaves OUT/milestones/step-N with the averaged weights and what the suite pairs
# says of them; the run itself goes on from before the branch. Settings are those of `lavin-train
# jdit --recipe edge-pairs`, e.g. `--set groups=3000`: a run may get more groups, and more tasks,
# than it had. It begins with the weights of FROM in the environment: the last milestone of the
# repository, which reads already, so without the curriculum; or FROM=checkpoints/edge-all for all
# of it. SAMPLES are the samples that a milestone is measured on, 0 for none.
set -eu
if [ $# -lt 1 ]; then
    echo "usage: scripts/train_default.sh OUT [milestone] [--set key=value ...]" >&2
    exit 2
fi
root=$(CDPATH= cd -- "$(dirname "$0")/.." && pwd)
out=$1
shift
run=$out/run
from=${FROM:-$root/checkpoints/long-run}

last_step() { # FOLDER: the number of its last state
    ls "$1/jdit.states" 2>/dev/null | sed -n 's/^step-0*\([0-9][0-9]*\)$/\1/p' | sort -n | tail -1
}

train() { # FOLDER [setting ...]
    folder=$1
    shift
    resume=
    [ -n "$(last_step "$folder")" ] && resume=--resume
    # shellcheck disable=SC2046,SC2086 # words, or none
    lavin-train jdit --recipe edge-pairs --data "$out/data" --out "$folder" \
        --init-from "$from" $(cat "$run/settings") $resume "$@"
}

if [ "${1-}" = milestone ]; then
    shift
    branch=$out/branch
    # A branch that was stopped goes on.
    if [ ! -f "$branch/begun" ]; then
        rm -rf "$branch"
        mkdir -p "$branch"
        cp "$run/config.json" "$run/stvae.safetensors" "$branch"
        [ ! -f "$run/jdit.mix.json" ] || cp "$run/jdit.mix.json" "$branch"
        # The newest state alone; a run that goes on keeps it for as long as one save takes.
        mkdir "$branch/jdit.states"
        cp -r "$run/jdit.states/step-$(printf %08d "$(last_step "$run")")" "$branch/jdit.states"
        ln -s ../run/latents "$branch/latents"
        last_step "$branch" > "$branch/begun"
    fi
    begun=$(cat "$branch/begun")
    steps=$((begun + (begun + 9) / 10))
    decay=$(awk "BEGIN { print ($steps - $begun) / $steps }")
    # The average of the last steps alone: those before have the full rate.
    train "$branch" --set small_steps=0 --set ema=0.99 "$@" \
        --set "steps=$steps" --set "decay=$decay"
    if [ "$(last_step "$branch")" -lt "$steps" ]; then
        echo "stopped before step $steps; start this again to go on" >&2
        exit 1
    fi
    milestone=$out/milestones/step-$steps
    mkdir -p "$milestone"
    for file in config.json stvae.safetensors lavin_dit.safetensors DATA.md; do
        cp "$branch/$file" "$milestone"
    done
    if [ "${SAMPLES:-200}" -gt 0 ]; then
        lavin-eval "$milestone" --suite pairs --data "$out/data" --samples "${SAMPLES:-200}" \
            --report "$milestone/pairs" --json > "$milestone/pairs.json"
    fi
    rm -rf "$branch"
    exit 0
fi

[ -f "$out/prepared" ] || lavin-data prepare --out "$out/data" # goes on where it was
: > "$out/prepared"
mkdir -p "$run"
# The ST-VAE stays, so that all latents and the J-DiT to start from stay valid.
[ -f "$run/stvae.safetensors" ] ||
    cp "$root/checkpoints/edge-all/config.json" "$root/checkpoints/edge-all/stvae.safetensors" "$run"
if [ ! -f "$run/settings" ]; then
    # Other groups and draws than those that these weights were trained with; what reads already
    # needs no curriculum.
    settings="--set seed=$(cksum < "$from/lavin_dit.safetensors" | cut -c1-6)"
    ! grep -q '"merged"' "$from/config.json" || settings="$settings --set first_tasks="
    echo "$settings" > "$run/settings"
fi
train "$run" "$@"
