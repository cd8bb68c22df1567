"""Runs assertions one after the other, says which failed, and looks at the model server and the broker from the side."""

import json
import os
import sys
import threading
import time
import traceback
import urllib.request

URL = os.environ["PULLYARD_URL"]
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


def broker(method, path, body=None):
    """Pullyard's own API, as no SDK knows it."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Authorization": "Bearer secret"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def submit(prompt):
    return broker("POST", "/v1/jobs", {"model": "m", "messages": [{"role": "user", "content": prompt}]})["id"]


def ended(job):
    until(lambda: broker("GET", f"/v1/jobs/{job}")["state"] == "completed", f"the end of {job}")


def _model(what, prompt):
    from urllib.parse import quote

    with urllib.request.urlopen(f"{MODEL}/told/{what}/{quote(prompt)}", timeout=30) as answer:
        return json.load(answer)
