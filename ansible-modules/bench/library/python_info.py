#!/usr/bin/python
# Copyright: (c) 2026, Chandelier maintainers
# SPDX-License-Identifier: Apache-2.0
"""What lustre_info does, as an ordinary Python module: the yardstick of bench.sh."""

from __future__ import annotations

import http.client
import json
import socket

from ansible.module_utils.basic import AnsibleModule


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def main():
    module = AnsibleModule(argument_spec={"agent_socket": {"type": "path", "required": True}}, supports_check_mode=True)
    connection = Unix(module.params["agent_socket"])
    connection.request("GET", "/mgs/v1/snapshot")
    snapshot = json.loads(connection.getresponse().read())
    wanted = ("mgs", "filesystems", "targets", "params", "pools", "nodes", "revision")
    module.exit_json(changed=False, **{key: snapshot[key] for key in wanted})


if __name__ == "__main__":
    main()
