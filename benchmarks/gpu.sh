#!/usr/bin/env bash
# Run all GPU benchmarks, on a machine that has JAX (or TensorFlow with GPU support):
#
#     benchmarks/gpu.sh                                   BioGANs alone
#     ORIGINAL=biogans/code benchmarks/gpu.sh             beside the paper's PyTorch code, eager and compiled
#     benchmarks/gpu.sh --quick                           tiny networks, one combination: a check that it runs
#
# For each precision and batch size, compare.py times all nine combinations, measures the device's peaks in the same
# run, and prints the longest kernels and the memory. Tables and all single times go to OUT. Environment variables and
# their defaults:
#
#     PYTHON         python3; needs JAX or TensorFlow. BioGANs' other packages are installed beside it, in .venv-gpu
#     KERAS_BACKEND  jax if PYTHON has it, otherwise tensorflow
#     ORIGINAL       folder «code» of a checkout of https://github.com/aosokin/biogans; PYTHON needs torch, torchvision
#     PRECISIONS     "float32 tf32 bfloat16"
#     BATCHES        "64 256 1024"
#     ONLY           "DCGAN", parts of names of combinations, such as "starshaped/WGAN-GP separable/"
#     ROUNDS         5
#     OUT            gpu_results
set -euo pipefail
cd "$(dirname "$0")/.."

sizes=()
if [[ "${1:-}" == --quick ]]; then
    ONLY=${ONLY:-separable/WGAN-GP} BATCHES=${BATCHES:-8} ROUNDS=${ROUNDS:-1}
    sizes=(--ngf 4 --ndf 4)
elif [[ $# -gt 0 ]]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
    exit 2
fi
python=${PYTHON:-python3}
has() { "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }

missing=()
for package in keras:keras numpy:numpy PIL:pillow h5py:h5py tifffile:tifffile scipy:scipy matplotlib:matplotlib \
        tqdm:tqdm; do
    has "${package%:*}" || missing+=("${package#*:}")
done
if ((${#missing[@]})); then
    "$python" -m venv .venv-gpu
    # The packages of PYTHON, which may be a virtual environment itself.
    "$python" -c 'import site; print("\n".join(site.getsitepackages()))' \
        > "$(echo .venv-gpu/lib/python3*/site-packages)/of_python.pth"
    python=.venv-gpu/bin/python
    "$python" -m pip install --quiet "${missing[@]}"
fi
if [[ -z "${KERAS_BACKEND:-}" ]]; then
    has jax && KERAS_BACKEND=jax || KERAS_BACKEND=tensorflow
fi
export KERAS_BACKEND

out=${OUT:-gpu_results}
mkdir -p "$out"
read -ra only <<< "${ONLY:-DCGAN}"
arguments=(--rounds "${ROUNDS:-5}" --starts 1 --no_tutorial --profile "${only[@]/#/--only=}" "${sizes[@]}")
if [[ -n "${ORIGINAL:-}" ]]; then
    arguments+=(--original "$ORIGINAL" --compiled)
fi
{ date; nvidia-smi || echo "no nvidia-smi: no NVIDIA GPU"; "$python" --version; } | tee "$out/machine.txt"
status=0
for batch in ${BATCHES:-64 256 1024}; do
    for precision in ${PRECISIONS:-float32 tf32 bfloat16}; do
        name="$out/$precision.batch$batch"
        echo; echo "== $precision, batch $batch"
        # A run that does not fit into memory fails; the next one is tried.
        "$python" benchmarks/compare.py "${arguments[@]}" --precision "$precision" -b "$batch" --json "$name.json" \
            | tee "$name.txt" || status=1
    done
done
echo; echo "tables and all single times: $out"
exit $status
