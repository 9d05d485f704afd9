"""A small client of the HTTP API: one method a verb, plain dictionaries in and out, one kind of error."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

Document = dict[str, Any]
FINAL = frozenset({"succeeded", "failed", "cancelled"})
_LONG_POLL_S = 20.0
_LARGE_BYTES, _PIECE_BYTES = 64 << 20, 16 << 20  # of uploads
_RECONNECTS = 20  # about a minute of a server being away


class ApiError(Exception):
    """The service said no; the fields are those of its problem document (RFC 9457)."""

    def __init__(self, status: int, document: Document) -> None:
        self.status = status
        self.document = document
        self.code: str = str(document.get("code", "unknown"))
        self.detail: str = str(document.get("detail") or document.get("title") or f"HTTP {status}")
        self.request_id: str | None = document.get("request_id")
        self.errors: list[Document] = list(document.get("errors") or [])
        words = [f"{self.detail} ({self.code})", *map(_fault, self.errors), str(document.get("hint") or "")]
        super().__init__("\n".join(words).rstrip())


def _fault(error: Document) -> str:
    words = [f"  {error.get('pointer') or '/'}: {error.get('message', '')}", error.get("hint")]
    return "; ".join(word for word in words if word)


class Client:
    """Speaks to one server. Methods raise ApiError when the answer is an error, httpx.HTTPError when none came."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, key: str | None = None, timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")  # where OpenAI's client begins
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=self.url, timeout=timeout_s, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._http.close()

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Any request by its path below the server's root; returns the answer's document, None when it has none."""
        _check(response := self._http.request(method, path, **options))
        return response.json() if response.content else None

    # --- data sets

    def upload(
        self, *files: str | Path, name: str | None = None, format: str | None = None,
        types: Mapping[str, str] = {}, resize: str | None = None,
    ) -> Document:  # fmt: skip
        """Uploads files as one data set, a large one in pieces. `types`: by column; `resize`: pictures, to "28x28"."""
        given = {"name": name, "format": format, "types": json.dumps(dict(types)) if types else None, "resize": resize}
        fields = {key: value for key, value in given.items() if value is not None}
        if len(files) == 1 and Path(files[0]).stat().st_size >= _LARGE_BYTES:
            return self._upload_pieces(Path(files[0]), fields)
        with ExitStack() as stack:
            parts = [("file", (Path(file).name, stack.enter_context(open(file, "rb")))) for file in files]
            return self._document("POST", "/v1/datasets", files=parts, data=fields, timeout=None)

    def _upload_pieces(self, path: Path, fields: Mapping[str, str]) -> Document:
        begin = {"name": path.name, "bytes": path.stat().st_size, **fields}
        upload = self._patiently("POST", "/v1/uploads", json=begin, headers={"Idempotency-Key": uuid.uuid4().hex})
        place = f"/v1/uploads/{upload['id']}"
        with open(path, "rb") as file:
            while upload["offset"] < upload["bytes"]:
                file.seek(upload["offset"])
                at, piece = {"Upload-Offset": str(upload["offset"])}, file.read(_PIECE_BYTES)
                try:
                    self.ask("PATCH", place, content=piece, headers=at)
                except (ApiError, httpx.TransportError) as error:
                    if getattr(error, "status", 409) not in (409, 503):  # a piece is still being written; draining
                        raise
                    time.sleep(0.2)
                upload = self._patiently("GET", place)
        return self._patiently("POST", f"{place}/finish", timeout=None)

    def _patiently(self, method: str, path: str, **options: Any) -> Document:
        for attempt in range(1, _RECONNECTS):
            with suppress(httpx.TransportError):
                return self._document(method, path, **options)
            time.sleep(min(0.2 * attempt, 5.0))
        return self._document(method, path, **options)

    def upload_text(self, text: str, name: str) -> Document:
        """Uploads a text that is at hand; `name` ends as a file's would (`.txt`, `.csv`, `.jsonl`)."""
        return self._document("POST", "/v1/datasets", files=[("file", (name, text.encode()))], timeout=None)

    def dataset(self, dataset_id: str) -> Document:
        """One data set: its columns with types and statistics."""
        return self._document("GET", f"/v1/datasets/{dataset_id}")

    def preview(self, dataset_id: str, rows: int = 20) -> Document:
        """The first rows of a data set."""
        return self._document("GET", f"/v1/datasets/{dataset_id}/preview", params={"limit": rows})

    # --- jobs

    def plan(self, job: Mapping[str, Any]) -> Document:
        """What a job would cost, without starting it: shapes, parameters, bytes, seconds."""
        return self._document("POST", "/v1/plans", json=dict(job))

    def translate(self, model: str | Mapping[str, Any]) -> Document:
        """What Keras' `model.to_json()` gave as `{spec, input_shape, vocabulary, notes}`."""
        content = model if isinstance(model, str) else json.dumps(model)
        headers = {"Content-Type": "application/json"}
        return self._document("POST", "/v1/specs/import", content=content, headers=headers)

    def submit(self, job: Mapping[str, Any], *, idempotency_key: str | None = None) -> Document:
        """Puts a job into the queue. With a key, sending it again returns the first answer."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._document("POST", "/v1/jobs", json=dict(job), headers=headers)

    def job(self, job_id: str) -> Document:
        """A job as it stands: status, phase, progress, eta_s, run_id, error."""
        return self._document("GET", f"/v1/jobs/{job_id}")

    def cancel(self, job_id: str) -> Document:
        """Asks a job to stop; what it has learned stays usable."""
        return self._document("POST", f"/v1/jobs/{job_id}/cancel")

    def pause(self, job_id: str) -> Document:
        """Asks a job to stop at a checkpoint and wait."""
        return self._document("POST", f"/v1/jobs/{job_id}/pause")

    def resume(self, job_id: str) -> Document:
        """Puts a paused job back into the queue."""
        return self._document("POST", f"/v1/jobs/{job_id}/resume")

    def fork(self, job_id: str, patch: Mapping[str, Any], *, step: int | None = None) -> Document:
        """A new job that goes on from a checkpoint of this one, its spec changed by a JSON merge patch."""
        return self._document("POST", f"/v1/jobs/{job_id}/fork", json={"spec": dict(patch), "step": step})

    def verify(self, job_id: str, *, step: int | None = None) -> Document:
        """A new job that trains this one again, whole or from a checkpoint on, and compares the weights."""
        return self._document("POST", f"/v1/jobs/{job_id}/verify", json={"step": step})

    def trials(self, job_id: str) -> Document:
        """A search's candidates: mean and spread of every score over the folds, and which is best."""
        return self._document("GET", f"/v1/jobs/{job_id}/trials")

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Document:
        """Blocks until the job is final and returns it. Raises TimeoutError after `timeout_s` seconds."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        after: str | None = None
        while (job := self.job(job_id))["status"] not in FINAL:
            left = _LONG_POLL_S if until is None else until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {job_id} is still {job['status']} after {timeout_s} s")
            asked = {"wait": f"{min(left, _LONG_POLL_S):.3f}", "limit": "1000"} | ({"after": after} if after else {})
            page = self._document("GET", f"/v1/jobs/{job_id}/events", params=asked)
            after = page["next"] or after
        return job

    def follow(self, job_id: str, *, after: int = 0) -> Iterator[Document]:
        """The job's events from the first after `after` to the last, as they happen.

        Each is `{id, kind, job_id, run_id, data, at}`. Between them come `{kind: "progress", data: {status, phase,
        progress, eta_s, step}}` without an id. A lost connection is taken up again where it broke; nothing is
        missed or doubled. Ends when the job is final.
        """
        for attempt in range(_RECONNECTS):
            try:
                for event in self._stream(job_id, after):
                    if event["kind"] == "end":
                        return
                    after = event.get("id") or after
                    yield event
            except httpx.TransportError:
                if attempt == _RECONNECTS - 1:
                    raise
            time.sleep(min(0.2 * (attempt + 1), 5.0))
        raise TimeoutError(f"the event stream of {job_id} broke {_RECONNECTS} times")

    def _stream(self, job_id: str, after: int) -> Iterator[Document]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        yield from self._data("GET", f"/v1/jobs/{job_id}/events", headers=headers)

    # --- runs

    def runs(self, **filters: Any) -> list[Document]:
        """Runs by `status`, `tag`, `dataset`, sorted by `sort` (`-best.val_accuracy`): one page of `limit`."""
        return list(self._document("GET", "/v1/runs", params=filters)["data"])

    def run(self, run_id: str) -> Document:
        """The record of one training."""
        return self._document("GET", f"/v1/runs/{run_id}")

    def metrics(self, run_id: str) -> Document:
        """By metric name: first, last, min, max, best and the steps they stand at."""
        found: Document = self._document("GET", f"/v1/runs/{run_id}/metrics")["metrics"]
        return found

    def series(self, run_id: str, names: Sequence[str] = (), **options: Any) -> Document:
        """By metric name: `{steps, values, times}`; options as in docs/runs.md: `max_points`, `digits` ..."""
        asked = options | ({"names": ",".join(names)} if names else {})
        found: Document = self._document("GET", f"/v1/runs/{run_id}/metrics/series", params=asked)["series"]
        return found

    def compare(self, *runs: str, names: Sequence[str] | None = None) -> Document:
        """Spec differences, the first step where each run parts from the first one, best values by metric."""
        asked = {"runs": list(runs)} | ({} if names is None else {"names": list(names)})
        return self._document("POST", "/v1/runs/compare", json=asked)

    def confusion(self, run_id: str) -> Document:
        """Which classes were taken for which, on the rows held back."""
        return self._document("GET", f"/v1/runs/{run_id}/confusion")

    def export(self, run_id: str, format: str = "safetensors") -> bytes:
        """A run's best weights as a file's bytes."""
        response = self._http.get(f"/v1/runs/{run_id}/export", params={"format": format}, timeout=None)
        _check(response)
        return response.content

    # --- models

    def take_in(self, bundle: bytes, name: str | None = None, *, idempotency_key: str | None = None) -> Document:
        """A run made of a bundle, or of an ONNX file. With a key, sending it again returns the first answer."""
        key = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        sent: dict[str, Any] = {"content": bundle, "headers": {"Content-Type": "application/octet-stream"} | key}
        return self._document("POST", "/v1/runs/import", params={"name": name} if name else {}, **sent)

    def publish(self, name: str, run: str) -> Document:
        """Registers a run's model as the next version of `name`."""
        return self._document("POST", f"/v1/models/{name}/versions", json={"run": run})

    def predict(self, model: str, rows: Sequence[Any], *, top_k: int | None = None) -> list[Document]:
        """Predictions for rows as they were uploaded: lists in column order, or objects by column name."""
        body = {"rows": list(rows)} | ({} if top_k is None else {"top_k": top_k})
        answer = self._document("POST", f"/v1/models/{model}/predict", json=body)
        return list(answer["predictions"])

    def complete(self, model: str, prompt: str = "", **options: Any) -> list[str]:
        """Continuations of a text (`n`, `max_tokens`, `temperature`, `top_p`, `stop`, `seed`)."""
        answer = self._document("POST", "/v1/completions", json={"model": model, "prompt": prompt} | options)
        return [choice["text"] for choice in answer["choices"]]

    def complete_stream(self, model: str, prompt: str = "", **options: Any) -> Iterator[str]:
        """The same, piece by piece as it is made."""
        body = {"model": model, "prompt": prompt, "stream": True} | options
        for piece in self._data("POST", "/v1/completions", json=body):
            yield from (choice["text"] for choice in piece.get("choices", ()))

    def suggest(self, model: str, text: str = "", *, k: int = 10, **options: Any) -> list[Document]:
        """The likeliest next words after `text`, each with its probability (`prefix`: of the word being typed)."""
        answer = self._document("POST", "/v1/suggestions", json={"model": model, "text": text, "k": k} | options)
        return list(answer["suggestions"])

    def score(self, model: str, text: str | Sequence[str], **options: Any) -> Document:
        """How well a model expects a text: perplexity, log10_prob, tokens, oov (`per_token`, `explain`, `cache`)."""
        return self._document("POST", "/v1/scores", json={"model": model, "text": text} | options)

    # --- the wire

    def _document(self, method: str, path: str, **options: Any) -> Document:
        answer = self.ask(method, path, **options)
        if not isinstance(answer, dict):
            raise ApiError(502, {"code": "not_the_service", "detail": f"{self.url}{path} did not answer as netwright"})
        return answer

    def _data(self, method: str, path: str, **options: Any) -> Iterator[Document]:
        """The `data:` objects of an event stream; both of ours keep each on one line."""
        with self._http.stream(method, path, **options) as response:
            if response.is_error:
                response.read()
            _check(response)
            for line in response.iter_lines():
                if line.startswith("data:") and line != "data: [DONE]":
                    yield json.loads(line[5:])


def _check(response: httpx.Response) -> None:
    if not response.is_error:
        return
    try:
        document = response.json()
    except ValueError:
        document = {"detail": response.text[:200]}
    raise ApiError(response.status_code, document if isinstance(document, dict) else {"detail": str(document)[:200]})
