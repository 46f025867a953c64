"""A model served on this machine with OpenAI's interface: text in, text out, no likelihoods.

Only loopback addresses are spoken to, without proxies and redirects: prompts hold protected text.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from forgetkit.errors import InputError, UsageError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SECONDS = 600  # of one answer
MOST_BYTES = 16 << 20


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _parts(url: str) -> urllib.parse.SplitResult:
    """Return the parts of an address of this machine.

    Raises:
        UsageError: it is none.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urllib.parse.SplitResult("", "", "", "", ""), None
    if parts.scheme not in ("http", "https") or host not in LOOPBACK:
        raise UsageError(
            "--endpoint is no address of this machine",
            found=f"'{host or url}'",
            mend="Serve the model on http://127.0.0.1:PORT/v1.",
        )
    return parts


class Endpoint:
    """Completions of one served model.

    Args:
        url: such as http://127.0.0.1:8000/v1; the /v1 may be left out.
        model: its name there; default: the first that the server lists.

    Raises:
        UsageError: the address is not on this machine.
        InputError: the server does not answer as such a server does.
    """

    def __init__(self, url: str, model: str = "") -> None:
        parts = _parts(url)
        path = parts.path.rstrip("/")
        path = path if path.endswith("/v1") else f"{path}/v1"
        self.url = urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay()).open
        self.model = model or self._first_model()

    def say(self, prompt: str, template: str, tokens: int) -> str:
        """Return what the model says to a prompt at temperature 0, at most so many tokens.

        Args:
            prompt: the text.
            template: chat asks the chat interface, plain the one that goes on with a text.
            tokens: longest answer.
        """
        asked: dict[str, Any] = {"model": self.model, "max_tokens": tokens, "temperature": 0}
        if template == "chat":
            asked["messages"] = [{"role": "user", "content": prompt}]
            answer = self._ask("chat/completions", asked)
            return self._text(answer, "message", "content")
        answer = self._ask("completions", asked | {"prompt": prompt})
        return self._text(answer, "text")

    def _first_model(self) -> str:
        listed = self._ask("models", None)
        data = listed.get("data")
        if isinstance(data, list) and data and isinstance(data[0], dict) and data[0].get("id"):
            return str(data[0]["id"])
        raise self._odd("it lists no model")

    def _text(self, answer: Mapping[str, Any], *keys: str) -> str:
        try:
            found: Any = answer["choices"][0]
            for key in keys:
                found = found[key]
        except (KeyError, IndexError, TypeError) as error:
            raise self._odd("an answer without text") from error
        return found if isinstance(found, str) else ""

    def _ask(self, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode("utf-8")
        request = urllib.request.Request(
            f"{self.url}/{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with self._open(request, timeout=SECONDS) as answer:
                found = json.loads(answer.read(MOST_BYTES))
        except (OSError, ValueError, HTTPException) as error:
            words = str(getattr(error, "reason", "") or error)[:100]
            raise self._odd(words or type(error).__name__) from error
        if not isinstance(found, dict):
            raise self._odd("no JSON object")
        return found

    def _odd(self, found: str) -> InputError:
        return InputError(
            "the endpoint does not answer as an OpenAI-compatible server does",
            where=self.url,
            found=found,
            mend="Start the server, and check the address.",
        )
