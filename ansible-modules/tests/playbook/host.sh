#!/bin/sh
# A host of its own, as far as ssh and Ansible can tell: sshd on standard input and output, for one connection, in a mount
# namespace with users, sudoers, /var/lib and /run of its own. Nothing of this machine is changed. Usage: host.sh DIRECTORY
# (passwd, shadow, group, sudoers, sshd_config, lib), as root.
set -eu
if [ -z "${IN_NAMESPACE:-}" ]; then
    IN_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi
dir=$1
for file in passwd shadow group sudoers; do mount --bind "$dir/$file" "/etc/$file"; done
mount --bind "$dir/lib" /var/lib
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd
exec /usr/sbin/sshd -i -f "$dir/sshd_config" -E "$dir/sshd.log"
