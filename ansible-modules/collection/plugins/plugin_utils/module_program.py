# Copyright: (c) 2026, Chandelier maintainers
# SPDX-License-Identifier: Apache-2.0
"""The action behind every module of this collection: runs the one program that holds them all.

The modules are written in Rust and live in one static program, ``plugins/bin/lustre-modules.<arch>``. Where the task runs
on a host, the program that is already there is started with the task's options on its standard input: one round trip.
A host that does not have it yet (each version has a name of its own, its SHA-256) gets it first: four more, once.
With ``api_url``, and on a local connection without become, the program runs right here. With ``async`` it answers at once and
goes on by itself; core's ``async_status`` finds its result.

The program on the host is run as root later, so it lies in a directory that only root can write to (of another user: that
user's own cache), is checked after the copy, put in place by a rename, and not started if another user owns it.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shlex
import subprocess
import threading

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.json import Direction, get_module_encoder
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.vars.clean import remove_internal_keys

display = Display()

BIN_DIR = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin")
PROGRAM = "lustre-modules"
ROOT_CACHE = "/var/lib/lustre-modules"

# What the host's shell says where the program does not run. No line of the program's own begins like this.
ABSENT = "@lustre-modules absent"
UNSUPPORTED = "@lustre-modules unsupported"

# What the program says while it waits for jobs, where it is asked to. On a host the connection gives output at the end only.
WANTS_PROGRESS = "LUSTRE_MODULES_PROGRESS"
PROGRESS = "@lustre-modules progress "

# Where the program lies on the host. HOME is the become user's: sudo -H and su set it.
FIND = """\
a=$(uname -m)
case $a in {cases} *) {drain}; echo '{unsupported}' "$(uname -s) $a"; exit 0;; esac
if [ "$(id -u)" = 0 ]; then d={root_cache}; else d=$HOME/.cache/lustre-modules; fi
p=$d/$s
"""

RUN = """\
if [ -O "$d" ] && [ ! -L "$d" ] && [ -O "$p" ] && [ ! -L "$p" ] && [ -x "$p" ]; then {environment} "$p" {source}
else {drain}; echo '{absent}' "$a"; fi
"""

# The sum is taken of the copy, where nobody else can change it any more. Versions that nobody installed for 30 days go.
INSTALL = """\
umask 022
n=$d/.new.$$
mkdir -p "$d" && chmod 0755 "$d" && [ -O "$d" ] && [ ! -L "$d" ] && cp {uploaded} "$n" && chmod 0755 "$n" \
&& sum=$(sha256sum "$n") && [ "${{sum%% *}}" = "$s" ] && mv -f "$n" "$p" || {{ rm -f "$n"; exit 1; }}
find "$d" -type f -mtime +30 ! -name "$s" -exec rm -f {{}} + 2>/dev/null || :
"""


class ModuleProgram(ActionBase):
    """Runs the task's module out of the collection's program; see the module's text."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        if self._task.async_val and self._task.args.get("api_url") is not None and not self._runs_here():
            raise AnsibleActionFail(
                "with api_url the task runs on the controller, and with async its result is asked for on the task's host: "
                "delegate the task to localhost, without become"
            )
        arguments = dict(self._task.args)
        self._update_module_args(self._task.resolved_action or self._task.action, arguments, task_vars or {})
        encoder = get_module_encoder("legacy", Direction.CONTROLLER_TO_MODULE)
        arguments = json.dumps(arguments, cls=encoder)
        if self._task.args.get("api_url") is not None or self._runs_here():
            result = self._run_here(arguments, (task_vars or {}).get("inventory_hostname", "localhost"))
        else:
            result = self._run_on_host(arguments)
        remove_internal_keys(result)
        if self._task.async_val:
            # Core leaves that to its own wrapper. The program has read its options by now.
            self.cleanup(force=True)
        return result

    def _background(self):
        """The program's arguments with async: it answers at once, and its result is where async_status looks for it."""
        if not self._task.async_val:
            return []
        directory = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        return ["--async", f"j{secrets.randbelow(10**12)}", str(self._task.async_val), directory]

    # On the controller.

    def _runs_here(self):
        return self._connection.transport == "local" and not self._connection.become

    def _run_here(self, arguments, host):
        program = os.path.join(BIN_DIR, f"{PROGRAM}.{platform.machine()}")
        if platform.system() != "Linux" or not os.path.exists(program):
            raise AnsibleActionFail(
                f"there is no module program for {platform.system()} {platform.machine()}, this controller; it has "
                f"{', '.join(sorted(programs())) or 'none at all'}. Delegate the task to a Linux host, or build the "
                "collection from source"
            )
        environment = dict(os.environ, **{WANTS_PROGRESS: "1"})
        for variables in self._task.environment or ():
            environment.update((name, to_text(value)) for name, value in (self._templar.template(variables) or {}).items())
        kept = []
        reading, writing = os.pipe()
        with open(reading, encoding="utf-8", errors="replace") as lines:
            reader = threading.Thread(target=show_progress, args=(lines, host, kept), daemon=True)
            reader.start()
            try:
                command = [program, *self._background(), "-"]
                done = subprocess.run(command, input=arguments.encode(), stdout=subprocess.PIPE, stderr=writing, env=environment, check=False)
            finally:
                os.close(writing)
                reader.join()
        return parse(done.returncode, to_text(done.stdout), "".join(kept), program)

    # On the host.

    def _run_on_host(self, arguments):
        if getattr(self._connection._shell, "_IS_WINDOWS", False):
            raise AnsibleActionFail(f"{self._task.action} runs on Linux hosts, not on Windows")
        done = self._start(arguments)
        if done["stdout"].startswith(ABSENT):
            self._install(done["stdout"].split()[2])
            done = self._start(arguments)
        if done["stdout"].startswith(UNSUPPORTED):
            system = done["stdout"][len(UNSUPPORTED):].strip()
            raise AnsibleActionFail(
                f"there is no module program for {system}, this host; the collection has {', '.join(sorted(programs()))}"
            )
        if done["stdout"].startswith(ABSENT):
            raise AnsibleActionFail(
                f"the module program was put on the host and is not taken from there: {ROOT_CACHE} must be a directory that "
                "belongs to root, no link, and on a file system that allows execution"
            )
        return parse(done["rc"], done["stdout"], done["stderr"], f"the program in {ROOT_CACHE}")

    def _start(self, arguments):
        """Runs the program, or tells that it is not there. Standard input where possible: nothing is left on disk."""
        become = self._connection.become
        background = "".join(shlex.quote(argument) + " " for argument in self._background())
        if self._connection.has_pipelining and (not become or become.pipelining):
            done = self._shell(RUN, in_data=arguments.encode(), environment=self._compute_environment_string(), source=background + "-")
            # sudo with requiretty: only a session without input gets a terminal.
            if done["rc"] == 0 or done["stdout"].strip() or "tty" not in done["stderr"]:
                return done
            display.vvv(f"{self._task.action}: become wants a terminal; the options go by a file")
        path = self._upload(arguments, "args")
        return self._shell(RUN, environment=self._compute_environment_string(), source=background + shlex.quote(path))

    def _install(self, arch):
        program = programs()[arch]["path"]
        display.vvv(f"{self._task.action}: {program} goes to the host, once for this version")
        path = self._upload(program, PROGRAM, is_file=True)
        done = self._shell(INSTALL, uploaded=shlex.quote(path))
        if done["rc"] != 0:
            raise AnsibleActionFail(
                f"can't install the module program on the host: {(done['stderr'] or done['stdout']).strip()}. It needs "
                f"10 MB in {ROOT_CACHE}, which must belong to root and allow execution"
            )

    def _upload(self, content, name, is_file=False):
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        tmpdir = self._connection._shell.tmpdir
        path = self._connection._shell.join_path(tmpdir, name)
        if is_file:
            self._transfer_file(content, path)
        else:
            self._transfer_data(path, content)
        self._fixup_perms2((tmpdir, path), execute=False)
        return path

    def _shell(self, script, in_data=None, **values):
        cases = " ".join(f"{arch}) s={program['sha256']};;" for arch, program in programs().items())
        # Input that nobody reads would break the pipe under the connection.
        values.update(absent=ABSENT, unsupported=UNSUPPORTED, root_cache=ROOT_CACHE, drain="cat >/dev/null" if in_data else ":")
        script = FIND.format(cases=cases, **values) + script.format(**values)
        # Core appends `&& sleep 0`, which must not stand on a line of its own.
        done = self._low_level_execute_command(script.rstrip(), in_data=in_data)
        # A login banner may come first.
        marker = done["stdout"].find("@" + PROGRAM)
        if marker > 0 and done["stdout"][marker - 1] == "\n":
            done["stdout"] = done["stdout"][marker:]
        return done


def show_progress(lines, host, kept):
    """Shows what the program says of its jobs while it waits; what else is on its standard error goes to ``kept``."""
    for line in lines:
        if line.startswith(PROGRESS):
            # Not on standard output: that belongs to the callback, which may print JSON there.
            display.display(f"  {host}: {line[len(PROGRESS):].rstrip()}", stderr=True)
        else:
            kept.append(line)


def programs():
    """The programs of this collection, by machine name as in ``uname -m``: path and SHA-256, which the build wrote beside it."""
    found = {}
    for name in sorted(os.listdir(BIN_DIR) if os.path.isdir(BIN_DIR) else ()):
        arch = name[len(PROGRAM) + 1:]
        if not name.startswith(PROGRAM + ".") or arch.endswith(".sha256"):
            continue
        path = os.path.join(BIN_DIR, name)
        with open(path + ".sha256", encoding="ascii") as file:
            found[arch] = {"path": path, "sha256": file.read().split()[0]}
    if not found:
        raise AnsibleActionFail(f"this copy of the collection has no module program in {BIN_DIR}; install the built collection")
    return found


def parse(rc, stdout, stderr, program):
    """The result in the program's output: its last line."""
    for line in reversed(stdout.splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                break
    hint = ""
    if rc == 126:
        hint = f"; {program} can't be executed: is its file system mounted noexec?"
    elif rc < 0 or rc > 128:
        hint = f"; it was killed by signal {-rc if rc < 0 else rc - 128}"
    return {
        "failed": True,
        "msg": f"the module gave no result (exit code {rc}){hint}",
        "module_stdout": stdout,
        "module_stderr": stderr,
        "rc": rc,
    }
