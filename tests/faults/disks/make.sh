#!/bin/sh
# Makes the empty file systems that tests mount; times of creation differ from run to run:
#     sh tests/faults/disks/make.sh     (needs e2fsprogs and xfsprogs, no root)
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
truncate -s 48M "$work/ext4"
mkfs.ext4 -q -F -b 4096 -m 0 -N 4096 -J size=4 -U 11111111-1111-4111-8111-111111111111 \
    -E lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,hash_seed=11111111-1111-4111-8111-111111111111 \
    "$work/ext4"
truncate -s 300M "$work/xfs" # the smallest that mkfs.xfs makes
mkfs.xfs -q -f -m uuid=11111111-1111-4111-8111-111111111111 "$work/xfs"
for kind in ext4 xfs; do
    tar --sparse --owner=0 --group=0 --mtime=@0 -C "$work" -cf - "$kind" | xz -9e >"$kind.tar.xz"
done
