#!/bin/sh
# Runs what needs a quiet machine, in less than nine minutes on two cores (two of them are the
# published code of the classic network: `cpu_peers.py --skip-reference` leaves it out); writes to
# benchmarks/results/. What is measured says each script. PYTHON names another interpreter.
set -e
cd "$(dirname "$0")/.."
unset OMP_NUM_THREADS NUMBA_NUM_THREADS PYTHONDONTWRITEBYTECODE
PYTHON=${PYTHON:-python}
"$PYTHON" benchmarks/start.py --runs 3
"$PYTHON" benchmarks/cpu_side_by_side.py --seconds 4
"$PYTHON" benchmarks/cpu_peers.py --runs 3
