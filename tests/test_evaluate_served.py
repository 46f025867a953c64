from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tiny

from forgetkit.errors import InputError, UsageError
from forgetkit.evaluate import EvaluateConfig, EvaluateResult, evaluate, rescore
from forgetkit.forget_set import Example, ForgetSet, write_forget_set
from forgetkit.lm.endpoint import Endpoint
from forgetkit.results import load_results

CONFIG = EvaluateConfig(bootstrap=100, answer_tokens=16, retain_answer_tokens=8)
PLUGIN = """
class Vowels:
    name, better, split, version = "vowels", "lower", "forget", 3
    source = "this test"

    def value(self, sample):
        said = sample.completion or ""
        return sum(c in "aeiou" for c in said) / len(said) if said else None


class Silent:
    name, better, split, version, is_rate = "silent", "none", "forget", 1, True

    def value(self, sample):
        return float(not sample.completion)
"""


class Server(ThreadingHTTPServer):
    """Recites the passages, and counts what it is asked."""

    asked: list[tuple[str, dict[str, Any]]]
    answer: Any = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._send({"data": [{"id": "served-model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        prompt = body.get("prompt") or body["messages"][0]["content"]
        known = [p for p in tiny.PASSAGES if p.startswith(prompt)]
        said = known[0][len(prompt) :] if known else "Nothing."
        choice = {"message": {"content": said}} if "messages" in body else {"text": said}
        self._send(self.server.answer or {"choices": [choice]})

    def _send(self, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server(("127.0.0.1", 0), Handler)
    served.asked = []
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="module")
def forget_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "set"
    cuts = (15, 18, 21, 24, 27)
    forget = [tiny.text(p[:c], p[c:], source=str(c)) for p in tiny.PASSAGES for c in cuts]
    elsewhere = [tiny.text(p[:c], p[c:], source=str(c)) for p in tiny.ELSEWHERE for c in cuts]
    asked = [Example("pair", "What melts?", "Snow.", template="chat")]
    splits = {"forget": forget, "mismatch": [], "retain": [], "holdout": elsewhere}
    write_forget_set(folder, ForgetSet(splits, {"retain": asked, "general": asked}), "x")
    return folder


def run(server: Server, forget_set: Path, out: Path, **named: Any) -> EvaluateResult:
    values: dict[str, Any] = {"endpoint": address(server), "config": CONFIG} | named
    return evaluate("", forget_set, out, **values)


def test_an_endpoint_gives_what_is_said_and_the_rest_is_null_with_the_reason(
    server: Server, forget_set: Path, tmp_path: Path
) -> None:
    results = run(server, forget_set, tmp_path).results
    assert results.metric("leak_rate").after.value == 1.0
    assert results.metric("leak_rate").control.value == 0.0
    assert results.metric("diversity").after.n == 20
    for name in ("extraction_strength", "exact_memorization", "membership_loss", "utility"):
        after = results.metric(name).after
        assert (after.value, after.reason) == (None, "an endpoint gives no likelihoods")
    assert results.models["after"]["name"] == address(server)
    expected = (tmp_path / "results.json").read_bytes()
    rescore(tmp_path)
    assert (tmp_path / "results.json").read_bytes() == expected


def test_chat_prompts_go_to_the_chat_interface_at_temperature_zero(
    server: Server, forget_set: Path, tmp_path: Path
) -> None:
    run(server, forget_set, tmp_path)
    paths = [path for path, _ in server.asked]
    assert paths.count("/v1/completions") == 40
    assert paths.count("/v1/chat/completions") == 1
    assert {(b["temperature"], b["model"]) for _, b in server.asked} == {(0, "served-model")}
    assert {b["max_tokens"] for _, b in server.asked} == {16, 8}


def test_a_split_that_was_answered_is_not_asked_again(
    server: Server, forget_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import forgetkit.evaluate.served as served

    real = served._ask

    def cut(endpoint: Any, sample: Any, tokens: int) -> None:
        if sample.split == "retain":
            raise KeyboardInterrupt
        real(endpoint, sample, tokens)

    monkeypatch.setattr(served, "_ask", cut)
    with pytest.raises(KeyboardInterrupt):
        run(server, forget_set, tmp_path)
    monkeypatch.undo()
    server.asked.clear()
    run(server, forget_set, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/v1",
        "file:///etc/passwd",
        "127.0.0.1:8000",
        "http://127.0.0.1.evil.org",
        "http://[::1",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
    ],
)
def test_an_address_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address of this machine"):
        Endpoint(url)


@pytest.mark.parametrize("answer", [{"choices": []}, {"error": "x"}, [1], {"choices": [{}]}])
def test_an_odd_answer_is_an_error_that_names_the_address(server: Server, answer: Any) -> None:
    endpoint = Endpoint(address(server))
    server.answer = answer
    with pytest.raises(InputError, match="OpenAI-compatible server does"):
        endpoint.say("x", "plain", 4)


def test_nobody_listening_is_an_error(server: Server) -> None:
    url = address(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match="Start the server"):
        Endpoint(url)


def test_an_endpoint_takes_no_attacks(server: Server, forget_set: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"attacks": ("quantize",)})
    with pytest.raises(UsageError, match="no adapter, attacks or tasks"):
        run(server, forget_set, tmp_path, config=config)


def test_a_metric_of_ones_own_is_computed_and_rescored(
    server: Server, forget_set: Path, tmp_path: Path
) -> None:
    plugin, out = tmp_path / "ours.py", tmp_path / "out"
    plugin.write_text(PLUGIN, encoding="utf-8")
    found = run(server, forget_set, out, plugin=plugin).results
    vowels = found.metric("vowels")
    rests = [p[c:] for p in tiny.PASSAGES for c in (15, 18, 21, 24, 27)]
    expected = sum(sum(c in "aeiou" for c in r) / len(r) for r in rests) / len(rests)
    assert vowels.after.value == pytest.approx(expected)
    assert (vowels.version, vowels.better, vowels.after.n) == (3, "lower", 20)
    assert (vowels.after.low or 0) < expected < (vowels.after.high or 0)
    assert found.metric("silent").after.value == 0.0
    written = (out / "results.json").read_bytes()
    with pytest.raises(InputError, match="needs its plugin"):
        rescore(out)
    rescore(out, plugin)
    assert (out / "results.json").read_bytes() == written
    assert load_results(out / "results.json").metric("vowels") == vowels


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1", "holds no metric"),
        ("class A:\n    name = 'a'", "lacks 'better'"),
        ("class A(", "cannot be run"),
        ("import nothing_of_this_name", "cannot be run"),
        (PLUGIN.replace('"vowels"', '"leak_rate"'), "'leak_rate' is taken"),
        (PLUGIN.replace('"vowels"', '"leak_rate_unseen"'), "'leak_rate_unseen' is taken"),
        (PLUGIN.replace('"vowels"', '"silent"'), "'silent' is taken"),
        (PLUGIN.replace('"vowels"', "7"), "name is no text; found 7"),
        (PLUGIN.replace('"lower"', '"down"'), "is none of lower, higher, none"),
        (PLUGIN.replace('"forget", 3', '"forgot", 3'), "split is none of forget, .*'forgot'"),
        (PLUGIN.replace("3", "'1a'", 1), "ours.py: Vowels: version is no whole number; found '1a'"),
        (PLUGIN + "\nx = 1 / 0\n", r"ours.py:17: cannot be run; found ZeroDivisionError"),
        (
            PLUGIN.replace(
                "def value(self, s", "def __init__(self, x): ...\n    def value(self, s", 1
            ),
            "Vowels: cannot be made; found TypeError",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_says_why_before_anything_is_measured(
    server: Server, forget_set: Path, tmp_path: Path, content: str, words: str
) -> None:
    plugin = tmp_path / "ours.py"
    plugin.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        run(server, forget_set, tmp_path / "out", plugin=plugin)
    assert not server.asked


def test_a_plugin_that_fails_on_a_row_names_its_line_and_the_measured_rows_stay(
    server: Server, forget_set: Path, tmp_path: Path
) -> None:
    plugin, out = tmp_path / "ours.py", tmp_path / "out"
    for value, words in (
        ("{}[sample.completion]", "ours.py:8: vowels cannot be computed; found KeyError"),
        ("'many'", "ours.py:6: vowels has a value that is no number; found str"),
    ):
        changed = PLUGIN.replace("sum(c in", f"{value}  # ")
        plugin.write_text(changed, encoding="utf-8")
        with pytest.raises(InputError, match=words) as caught:
            run(server, forget_set, out, plugin=plugin)
        assert tiny.PASSAGES[0][20:30] not in str(caught.value)
    asked = len(server.asked)
    plugin.write_text(PLUGIN.replace("sum(c in", "float('nan')  # "), encoding="utf-8")
    vowels = run(server, forget_set, out, plugin=plugin).results.metric("vowels").after
    assert (vowels.value, vowels.n, vowels.reason) == (None, 20, "20 values are no finite numbers")
    assert len(server.asked) == asked
