#!/bin/sh
# Fills .peers/ with what the GPU benchmark compares against; nothing of it is ever committed.
#
#     benchmarks/on_gpu/peers.sh MAMBAIR MAMBA SWINIR
#
# Each argument is a clone (or bare clone) of github.com/csguoh/MambaIR, state-spaces/mamba and
# JingyunLiang/SwinIR. Versions are fixed here, so that figures can be compared.
set -eu
[ $# -eq 3 ] || { sed -n 's/^# \{0,1\}//p' "$0"; exit 2; }

take() { # clone, revision, folder, paths ...
    clone=$1 revision=$2 target=.peers/$3
    shift 3
    mkdir -p "$target"
    git -C "$clone" archive "$revision" "$@" | tar -x -C "$target"
    git -C "$clone" rev-parse "$revision^{commit}" >"$target/COMMIT"
}

cd "$(dirname "$0")/../.."
exclude=$(git rev-parse --git-path info/exclude)
mkdir -p "$(dirname "$exclude")"
grep -qsx /.peers/ "$exclude" || echo /.peers/ >>"$exclude"

take "$1" 33d7b34 mambair \
    basicsr/archs/mambair_arch.py basicsr/archs/mambairv2_arch.py \
    basicsr/archs/mambairv2light_arch.py realDenoising/basicsr/models/archs/mambairunet_arch.py
take "$2" v2.3.2.post1 mamba csrc/selective_scan mamba_ssm setup.py
take "$3" 6545850 swinir models/network_swinir.py
du -sh .peers
