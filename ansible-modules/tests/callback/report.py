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

    def _note(self, result, **_more):
        self.results.append({"host": result.host.get_name(), "task": result.task.get_name(), "result": result.result})

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_unreachable = v2_runner_on_skipped = _note

    def v2_playbook_on_stats(self, stats):
        hosts = {host: stats.summarize(host) for host in stats.processed}
        print(json.dumps({"results": self.results, "stats": hosts}, default=str))
