# Copyright: (c) 2026, Chandelier maintainers
# SPDX-License-Identifier: Apache-2.0
"""Prints what a play did as one JSON object, for playbook.rs: core brings no such callback along."""

from __future__ import annotations

import json

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: report
type: stdout
short_description: One JSON object
description: Prints results and statistics as one JSON object.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "report"

    def __init__(self):
        super().__init__()
        self.results = []

    def _note(self, result, **more):
        self.results.append({"host": result.host.get_name(), "task": result.task.get_name(), "result": {**result.result, **more}})

    def v2_runner_on_failed(self, result, ignore_errors=False):
        # Core takes the key out of the result before a callback sees it.
        self._note(result, failed=True)

    def v2_runner_on_ok(self, result):
        self._note(result)

    v2_runner_on_unreachable = v2_runner_on_failed
    v2_runner_on_skipped = v2_runner_on_ok

    def v2_playbook_on_stats(self, stats):
        hosts = {host: stats.summarize(host) for host in stats.processed}
        print(json.dumps({"results": self.results, "stats": hosts}, default=str))
