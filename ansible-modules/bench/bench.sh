#!/bin/sh
# Time of an Ansible task: lustre_info against the same as a Python module, local and over a real sshd on loopback.
# Needs `ci.sh build`, sshd, and the daemons' release or debug build in $BIN. Prints RESULT lines; the goal is a factor of 2. `make bench` runs it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${LUSTRE_ANSIBLE_VENV:-$root/.venv}
bin=${BIN:-${CARGO_TARGET_DIR:-$root/target}/debug}
tasks=${TASKS:-30}
sshd=$(command -v sshd || echo /usr/sbin/sshd)
[ -x "$sshd" ] || { echo "bench.sh: no sshd; apt-get install openssh-server" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "bench.sh: sshd needs root" >&2; exit 1; }
[ -x "$root/ansible-modules/collection/plugins/bin/lustre-modules.$(uname -m)" ] || { echo "bench.sh: run ansible-modules/ci.sh build" >&2; exit 1; }

dir=$(mktemp -d)
pids=
stop() { for pid in $pids; do kill "$pid" 2>/dev/null || :; done; rm -rf "$dir"; }
trap stop EXIT
wait_for() { n=0; until "$@" >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 100 ] || { echo "bench.sh: waited in vain for: $*" >&2; exit 1; }; sleep 0.1; done; }

"$bin/lustre-mgs" --store memory: --listen 127.0.0.1:0 --nid 127.0.0.1@tcp >"$dir/mgs.out" 2>"$dir/mgs.log" & pids="$pids $!"
wait_for grep -q listening "$dir/mgs.out"
mgs=$(sed -n 's/listening on \(http.*\)/\1/p' "$dir/mgs.out" | head -1)
"$bin/lustre-agent" --node n1 --state-dir "$dir/state" --listen 127.0.0.1:0 --socket "$dir/a.sock" --mgs "$mgs" --nid 127.0.0.1@tcp >"$dir/agent.out" 2>"$dir/agent.log" & pids="$pids $!"
wait_for grep -q enrolled "$dir/agent.log"

ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
mkdir -p /run/sshd
# sshd takes no port 0: the kernel is asked for a free one first.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$sshd" -D -e -f /dev/null -o Port="$port" -o ListenAddress=127.0.0.1 -o HostKey="$dir/host" -o PidFile=none -o UsePAM=no \
    -o StrictModes=no -o PermitRootLogin=prohibit-password -o AuthorizedKeysFile="$dir/key.pub" -o Subsystem="sftp internal-sftp" 2>"$dir/sshd.log" & pids="$pids $!"
wait_for grep -q listening "$dir/sshd.log"

mkdir -p "$dir/collections/ansible_collections/chandelier"
ln -s "$root/ansible-modules/collection" "$dir/collections/ansible_collections/chandelier/lustre"
cat >"$dir/ansible.cfg" <<CFG
[defaults]
host_key_checking = false
callback_result_format = yaml
stdout_callback = default
local_tmp = $dir/tmp
[ssh_connection]
pipelining = true
ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null
control_path_dir = $dir/cp
CFG
cat >"$dir/hosts" <<HOSTS
here ansible_connection=local
there ansible_host=127.0.0.1 ansible_port=$port ansible_user=root ansible_ssh_private_key_file=$dir/key
[all:vars]
ansible_python_interpreter=$(command -v python3)
HOSTS

# Tasks of a play take turns, so both kinds meet the same load; each notes its own time, the median counts.
"$venv/bin/python" - "$dir" "$tasks" <<'PY'
import json, sys
dir, count = sys.argv[1], int(sys.argv[2])
rust = {"name": "rust", "chandelier.lustre.lustre_info": {"agent_socket": dir + "/a.sock"}}
python = {"name": "python", "python_info": {"agent_socket": dir + "/a.sock"}}
warm = [dict(rust, name="warm"), dict(python, name="warm")]
json.dump([{"hosts": "all", "gather_facts": False, "tasks": warm + [rust, python] * count}], open(dir + "/play.yml", "w"))
PY
cat >"$dir/times.py" <<'PY'
import json, statistics, time
from ansible.plugins.callback import CallbackBase
DOCUMENTATION = "name: times\ntype: aggregate\nshort_description: times\ndescription: [times]\n"
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "times"
    def __init__(self):
        super().__init__()
        self.begun, self.times, self.failed = {}, {}, 0
    def v2_runner_on_start(self, host, task):
        self.begun[host.name] = time.monotonic()
    def v2_runner_on_ok(self, result):
        self.times.setdefault(result.task.name, []).append(time.monotonic() - self.begun[result.host.name])
    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.failed += 1
    def v2_playbook_on_stats(self, stats):
        import os
        json.dump({name: statistics.median(t) * 1000 for name, t in self.times.items()}, open(os.environ["TIMES"], "w"))
PY
for host in here there; do
    ANSIBLE_CONFIG=$dir/ansible.cfg ANSIBLE_COLLECTIONS_PATH=$dir/collections ANSIBLE_LIBRARY=$here/library ANSIBLE_CALLBACK_PLUGINS=$dir \
        ANSIBLE_CALLBACKS_ENABLED=times TIMES=$dir/times.json \
        "$venv/bin/ansible-playbook" -i "$dir/hosts" -l "$host" "$dir/play.yml" >"$dir/play.log" 2>&1 || { tail -20 "$dir/play.log" >&2; exit 1; }
    "$venv/bin/python" - "$dir/times.json" "$host" <<'PY'
import json, sys
times, where = json.load(open(sys.argv[1])), {"here": "local", "there": "ssh"}[sys.argv[2]]
ratio = times["python"] / times["rust"]
print(f"ansible_task_{where}: lustre_info {times['rust']:.0f} ms, the same in Python {times['python']:.0f} ms, medians")
print(f"RESULT name=ansible_task_{where} ratio={ratio:.2f} goal=>=2")
PY
done
