"""Takes Rowbell's webhooks and does what each of them is for exactly once, however
often it comes.

    WEBHOOK_SECRET=whsec_... DATABASE=webhooks.db PORT=8000 python3 receiver.py

It needs Python 3.9 and nothing else. With the library of Standard Webhooks (pip install
standardwebhooks), verify becomes Webhook(secret).verify(body, headers).
"""

import base64
import contextlib
import hmac
import json
import os
import pathlib
import sqlite3
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_BODY = 4 << 20  # bytes
TOLERANCE = 5 * 60  # seconds that the sender's clock may differ from ours
STORE_TIMEOUT = 10  # seconds; less than Rowbell waits for an answer

SCHEMA = """
create table if not exists webhook_message (
    id text primary key, received_at text not null default current_timestamp, type text not null, body text not null);
create table if not exists message_count (type text primary key, count integer not null);
"""


def verify(key, headers, body):
    """Says whether a holder of the key signed this within the tolerance."""
    message_id, sent, signatures = (headers.get("webhook-" + h, "") for h in ("id", "timestamp", "signature"))
    if not message_id or not is_number(sent) or abs(time.time() - int(sent)) > TOLERANCE:
        return False
    digest = hmac.digest(key, f"{message_id}.{sent}.".encode() + body, "sha256")
    want = b"v1," + base64.b64encode(digest)
    # One that fits is enough: there are two while a secret is being replaced.
    return any([hmac.compare_digest(s.encode(), want) for s in signatures.split(" ")])


def is_number(text):
    return text.isdecimal() and len(text) < 16


def connect(mode):
    # In mode rw a file that went away is an error, and not a new one without any ids.
    return contextlib.closing(
        sqlite3.connect(f"{DATABASE}?mode={mode}", uri=True, timeout=STORE_TIMEOUT, isolation_level=None)
    )


def store(message_id, message_type, body):
    """Returns only when the message and its effect are committed, by this call or by an
    earlier one. Of two at the same time, the second waits at its begin."""
    with connect("rw") as db:  # closing it undoes what was not committed
        db.execute("begin immediate")
        insert = "insert into webhook_message (id, type, body) values (?, ?, ?) on conflict (id) do nothing"
        if db.execute(insert, (message_id, message_type, body)).rowcount == 1:
            # The effect. Here it is a count, which a repetition would spoil.
            db.execute(
                "insert into message_count (type, count) values (?, 1)"
                " on conflict (type) do update set count = count + 1",
                (message_type,),
            )
        db.execute("commit")


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds for each read

    def do_POST(self):
        self.answer(self.receive())

    def receive(self):
        length = self.headers.get("Content-Length", "")
        if self.path != "/webhook" or not is_number(length):
            self.close_connection = True  # the body is not read
            return 404 if self.path != "/webhook" else 411
        body = self.rfile.read(min(int(length), MAX_BODY + 1))
        if len(body) > MAX_BODY:
            self.close_connection = True
            return 413
        # First the signature, of the bytes as they came, then their meaning.
        if not verify(KEY, self.headers, body):
            self.log_error("the signature or the timestamp is wrong")
            return 400
        try:
            text = body.decode()
            message_type = str(json.loads(text)["type"])
        except (ValueError, KeyError, TypeError) as err:
            self.log_error("%r", err)
            return 400
        try:
            store(self.headers["webhook-id"], message_type, text)
        except sqlite3.Error as err:
            self.log_error("%r", err)
            return 503  # Rowbell tries again
        return 204

    def answer(self, code):
        self.send_response(code)
        if code != 204:
            self.send_header("Content-Length", "0")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # the default of 5 is little for a burst


secret = os.environ.get("WEBHOOK_SECRET", "")
if len(secret) < 32:  # with an empty one, anybody could sign
    sys.exit("WEBHOOK_SECRET is missing or too short")
KEY = base64.b64decode(secret[6:] if secret.startswith("whsec_") else secret, validate=True)
DATABASE = pathlib.Path(os.environ.get("DATABASE", "webhooks.db")).absolute().as_uri()

with connect("rwc") as db:
    db.executescript(SCHEMA)
server = Server(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Receiver)
print(f"listening on http://127.0.0.1:{server.server_port}/webhook", flush=True)
server.serve_forever()
