#!/usr/bin/env bash
# What wants a GPU, in one command of at most nine minutes on an H100, without a network. From the root of the repository:
#
#   bash perf/gpu.sh OUT [STAGE…]                     stages: verbs, nccl, steps, train; all of them unless named
#   TEXT=DIR RECIPES="…" bash perf/gpu.sh OUT train   what `decompose` is to read, and by which recipes, side by side
#
# OUT gets logs, JSON, and every decomposition as a tar in pieces of at most 15 MB: cat NAME.tar.* | tar x
# Training is kept in WORK (default: OUT.work) and goes on from there when the command is given again.
# PYTHON (default: python3) needs PyTorch with CUDA and what pyproject.toml asks for.
set -u
[ $# -ge 1 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
out=$1; shift
stages=${*:-verbs nccl steps train}
python=${PYTHON:-python3} work=${WORK:-$out.work}
mkdir -p "$out" "$work"
export PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=true
failed=0

# The stand-in's jobs and every verb on the device, in four processes.
verbs() {
  mapfile -t names < <("$python" -c 'from tests.standin.jobs import JOBS, VERBS; print(*JOBS, *VERBS, sep="\n")')
  local pids=()
  for i in 0 1 2 3; do
    local mine=()
    for n in "${!names[@]}"; do [ $((n % 4)) = "$i" ] && mine+=("${names[$n]}"); done
    OMP_NUM_THREADS=2 "$python" -m tests.standin.jobs "$work/verbs-$i" "${mine[@]}" > "$work/verbs-$i.txt" 2> "$work/verbs-$i.err" & pids+=($!)
  done
  wait "${pids[@]}"
  cat "$work"/verbs-?.txt "$work"/verbs-?.err > "$out/verbs.txt"
  echo "verbs: $(cat "$work"/verbs-?.txt | grep -c ': ok$') of ${#names[@]} ok"
  cat "$work"/verbs-?.txt | grep -v ': ok$' && failed=1
  [ "$(cat "$work"/verbs-?.txt | grep -c ': ok$')" = ${#names[@]} ] || failed=1
}

# A few steps by one process under torchrun: NCCL.
nccl() {
  "$python" -c 'import yaml; from perf.tiny import decompose; print(yaml.safe_dump(decompose(8)))' > "$work/nccl.yaml"
  "$python" -m torch.distributed.run --standalone --nproc-per-node 1 -m rankone decompose mini --recipe "$work/nccl.yaml" \
    --text builtin --evidence none --out "$work/nccl-$$" > "$out/nccl.txt" 2>&1 && echo "nccl: ok" || { echo "nccl: failed"; tail -5 "$out/nccl.txt"; failed=1; }
}

# A step beside the plain implementation, at mini's and at the published shapes.
steps() { "$python" -m perf.step ${STEPS:-} --device cuda --out "$out/step-cuda.json" || failed=1; }

# Decompositions at length, side by side.
train() {
  local pids=() names=()
  for recipe in ${RECIPES:-decompose-mini-7}; do
    local name; name=$(basename "$recipe" .yaml); name=${name#decompose-}; names+=("$name")
    OMP_NUM_THREADS=2 "$python" -m rankone decompose mini --recipe "$recipe" --text "${TEXT:?a folder of text}" --evidence none --keep-dead \
      --out "$work/$name" --run "$work/$name.run" ${TRAIN:-} > "$work/$name.txt" 2>&1 & pids+=($!)
  done
  wait "${pids[@]}"
  for name in "${names[@]}"; do
    cp "$work/$name.run/metrics.jsonl" "$out/$name.metrics" 2>/dev/null
    tail -3 "$work/$name.txt" | cut -c1-300
    [ -d "$work/$name" ] || { failed=1; continue; }
    tar cf - -C "$work" "$name" | split -b 15000000 -d - "$out/$name.tar."
  done
}

for stage in $stages; do
  start=$(date +%s)
  case $stage in verbs|nccl|steps|train) "$stage" ;; *) echo "no stage '$stage': verbs, nccl, steps, train"; exit 2 ;; esac
  echo "$stage: $(( $(date +%s) - start )) s"
done
exit $failed
