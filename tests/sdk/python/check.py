"""Runs assertions one after the other, says which failed, and looks at the model server and the broker from the side."""

import json
import os
import sys
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["PULLYARD_URL"]
NARROW_URL = os.environ["NARROW_URL"]
MODEL = os.environ["MODEL_URL"]
_failed = []


def that(assertion):
    begun = time.monotonic()
    try:
        assertion()
        print(f"ok      {assertion.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
    except BaseException:
        _failed.append(assertion.__name__)
        print(f"FAILED  {assertion.__name__}\n{traceback.format_exc()}", flush=True)
    return assertion


def done():
    sys.exit(f"failed: {', '.join(_failed)}" if _failed else 0)


def raises(kind, action):
    try:
        found = action()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}, but {found!r}")


def until(is_so, what, seconds=20):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"this never came: {what}"
        time.sleep(0.01)


def later(seconds, action):
    threading.Timer(seconds, action).start()


def seen(prompt):
    """How often the model server was asked this."""
    return _model("seen", prompt)["count"]


def gone(prompt):
    """How many of those who asked it this have left before the end."""
    return _model("gone", prompt)["count"]


def release():
    """Lets those go on who asked for `hold`."""
    _model("release", "")


def narrow(method, path, body=None):
    """The API of the broker with one slot that no SDK knows."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(NARROW_URL + path, data, {"Authorization": "Bearer secret"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def submit(prompt):
    return narrow("POST", "/v1/jobs", {"model": "m", "messages": [{"role": "user", "content": prompt}]})["id"]


def submit_until_full():
    jobs = []
    try:
        while len(jobs) < 10:
            jobs.append(submit(f"waits {len(jobs)}"))
    except urllib.error.HTTPError as error:
        assert error.code == 429, error
    return jobs


def ended(*jobs):
    for job in jobs:
        until(lambda: narrow("GET", f"/v1/jobs/{job}")["state"] == "completed", f"the end of {job}")


def _model(what, prompt):
    with urllib.request.urlopen(f"{MODEL}/told/{what}/{urllib.parse.quote(prompt)}", timeout=30) as answer:
        return json.load(answer)
