#!/usr/bin/env python3
"""Takes webhooks of lustre-mgs and tells Alertmanager and a chat. Nothing but Python 3.9 is needed.

--secret-file holds the key that the receiver's entry in webhooks.json names as secret_file; without it nothing is checked.
"""

import argparse
import hashlib
import hmac
import http.server
import json
import time
import urllib.request

MAX_BYTES = 16 << 20
MAX_AGE_S = 300


def is_signed(header, key, body):
    """Whether the signature header is of this body, and not old."""
    parts = dict(part.split("=", 1) for part in (header or "").split(",") if "=" in part)
    made = hmac.new(key, parts.get("t", "").encode() + b"." + body, hashlib.sha256).hexdigest()
    is_fresh = parts.get("t", "").isdigit() and abs(time.time() - int(parts["t"])) < MAX_AGE_S
    return is_fresh and hmac.compare_digest(parts.get("v1", ""), made)


def alerts(event):
    """An alert for each target that failed; one that is well again ends its alert."""
    for change in event["changes"]:
        after = change["after"]
        if change["object"].startswith("target ") and isinstance(after, dict) and "state" in after:
            alert = {
                "labels": {"alertname": "LustreTarget", "target": change["object"].split(" ", 1)[1]},
                "annotations": {"summary": f"{change['object']} is {after['state']}: {after.get('state_reason', '')}"},
            }
            if after["state"] != "failed":
                alert["endsAt"] = event["time"]
            yield alert


def text(event):
    objects = ", ".join(change["object"] for change in event["changes"])
    return f"lustre {event['revision']}: {event['who']}: {event.get('why') or 'changed'} ({objects})"


def post(url, value):
    request = urllib.request.Request(url, json.dumps(value).encode(), {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=5).read()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        if length > MAX_BYTES:
            return self.answer(413)
        body = self.rfile.read(length)
        if options.key is not None and not is_signed(self.headers.get("lustre-signature"), options.key, body):
            return self.answer(403)
        number = self.headers.get("lustre-event-id")
        if number in seen:
            return self.answer(204)
        try:
            event = json.loads(body)
            if options.alertmanager and (found := list(alerts(event))):
                post(options.alertmanager + "/api/v2/alerts", found)
            if options.chat:
                post(options.chat, {"text": text(event)})
        except OSError as error:
            # Delivered again later.
            self.log_message("not passed on: %s", error)
            return self.answer(503)
        seen[number] = True
        if len(seen) > 1000:
            del seen[next(iter(seen))]
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--listen", default="127.0.0.1:9095")
parser.add_argument("--secret-file")
parser.add_argument("--alertmanager", help="its URL, as in http://alertmanager:9093")
parser.add_argument("--chat", help="URL of an incoming webhook that takes {\"text\": ...}")
options = parser.parse_args()
options.key = None
if options.secret_file:
    with open(options.secret_file, "rb") as file:
        options.key = file.readline().rstrip(b"\n")
seen = {}
host, port = options.listen.rsplit(":", 1)
server = http.server.ThreadingHTTPServer((host, int(port)), Receiver)
print(f"listening on http://{host}:{server.server_port}", flush=True)
server.serve_forever()
