"""The real AnsibleModule, asked by argspec_differential.rs.

One JSON object a line on standard input: {"spec": {keyword arguments of AnsibleModule}, "args": {options}}.
One a line back: {"params": ...} or {"msg": ...}, and "warnings".
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

import ansible.module_utils.basic as basic
from ansible.module_utils.common import warnings as warnings_of_run
from ansible.module_utils.testing import patch_module_args


def ask(case: dict) -> dict:
    """Builds a module with the case's options and tells what became of it."""
    warnings_of_run._global_warnings.clear()
    printed = io.StringIO()
    try:
        with patch_module_args(case["args"]), contextlib.redirect_stdout(printed):
            module = basic.AnsibleModule(**case["spec"])
    except SystemExit:
        result = json.loads(printed.getvalue())
        return {"msg": result["msg"]}
    except Exception as error:  # a fault of AnsibleModule itself: no model for anyone
        return {"fault": repr(error)}
    return {"params": module.params, "warnings": sorted(warnings_of_run.get_warning_messages())}


def main() -> None:
    basic.AnsibleModule._log_invocation = lambda self: None  # not 10,000 lines in the syslog
    for line in sys.stdin:
        print(json.dumps(ask(json.loads(line))), flush=True)


main()
