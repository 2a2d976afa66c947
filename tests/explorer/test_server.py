"""The server of the explorer: real sockets, a real small run, the real model."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from click.testing import CliRunner

from running import files_in, run_session
from sae_kedro import (
    ActivationsStoreSBERT,
    Features,
    InputError,
    TopKSAE,
    explain,
    get_experiment_cfg,
    load_sae,
    post_init_cfg,
    save_sae,
    train,
)
from sae_kedro.activations.shards import CACHES, read_shard
from sae_kedro.cli import sae as commands
from sae_kedro.cli.trained import INTERPRETED, TrainedRun
from sae_kedro.explorer.api import QUESTIONS, Answers
from sae_kedro.explorer.server import bound_socket, explorer_app, is_loopback, live_page
from sae_kedro.interpretation.own_labels import FILE
from sae_kedro.interpretation.steer import steer

A, B = "Open the file and read its lines.", "Read a line from an open file."
TOKEN = "a token of this start"
POLICY = "default-src 'none'; script-src 'sha256-x'; style-src 'sha256-y'; connect-src 'none'; base-uri 'none'"


@pytest.fixture(scope="module")
def root(corpus_file, minilm, tmp_path_factory) -> Path:
    """A run that is trained and interpreted."""
    root = tmp_path_factory.mktemp("explored")
    small = {"dict_size": 256, "top_k": 8, "num_examples": 200, "batch_size": 64, "n_epochs": 6, "dtype": "float32"}
    where = {"data_root": str(root), "dataset_path": str(corpus_file), "device": "cpu"}
    cfg = post_init_cfg(get_experiment_cfg(**small, **where))
    store = ActivationsStoreSBERT(minilm, cfg)
    save_sae(train(TopKSAE(cfg), store, cfg), root / "06_models" / "topk")
    run_session("interpret", data_root=root, dataset_path=corpus_file, num_examples=150)
    page = root / "08_reporting" / "topk" / "explorer.html"
    digest = Features.load(page.parent).digest
    if not page.exists():
        head = f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        page.write_text(f"{head}<title>Explorer</title>{digest}")
    return root


@pytest.fixture(scope="module")
def run(root):
    return TrainedRun(str(root), "topk", INTERPRETED)


@pytest.fixture(scope="module")
def embeddings(root):
    shard = next((root / CACHES).glob("*/shard-*.parquet"))
    table = read_shard(shard, ["text", "embedding"])[1].slice(0, 150)  # of 200, those that were interpreted
    return table["text"].to_pylist(), np.stack(table["embedding"].to_numpy())


@pytest.fixture(scope="module")
def start(run, minilm):
    """Start servers in threads, and stop them in the end."""
    started = []

    def begin(edit=False, host="127.0.0.1", load=lambda: minilm):
        answers = Answers(run.sae, run.features, run.rows, load, run.reports / FILE, run.setup)
        taken = bound_socket(host, 0)
        app = explorer_app(answers, live_page(run.page, TOKEN), TOKEN, host, edit)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, args=([taken],))
        thread.start()
        started.append((server, thread, taken))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        while not server.started:
            time.sleep(0.01)
        return httpx.Client(base_url=address, headers={"X-Sae-Kedro": TOKEN}, timeout=60)

    yield begin
    for server, thread, taken in started:
        server.should_exit = True
        thread.join()
        taken.close()


@pytest.fixture(scope="module")
def client(start):
    return start()


def ask(client, name, code=200, **given):
    reply = client.post(f"/api/{name}", json=given)
    assert reply.status_code == code, reply.text
    return reply.json()


def test_these_are_all_routes(run):
    answers = Answers(run.sae, run.features, run.rows, lambda: None, run.reports / FILE, "")
    app = explorer_app(answers, live_page(run.page, TOKEN), TOKEN)
    routes = {(route.path, *sorted(route.methods)) for route in app._app.routes}
    asked = {"encode", "explain", "neighbours", "meaning", "steer", "label"}
    assert routes == {("/", "GET", "HEAD"), *((f"/api/{name}", "POST") for name in asked)}


def test_the_page_knows_its_server_and_reaches_nobody_else(client, run):
    reply = client.get("/")
    assert reply.status_code == 200 and reply.headers["content-type"] == "text/html; charset=utf-8"
    assert f'<meta name="sae-kedro-server" content="{TOKEN}">' in reply.text
    policy = reply.headers["content-security-policy"]
    assert "connect-src 'self'" in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and policy.removesuffix("; frame-ancestors 'none'") in reply.text
    assert reply.headers["x-content-type-options"] == "nosniff" and reply.headers["cache-control"] == "no-store"
    assert '<meta name="sae-kedro-server"' not in run.page and "connect-src 'none'" in run.page
    with pytest.raises(InputError, match="no page of this version"):
        live_page("<!doctype html><title>another</title>", TOKEN)


def test_encode_lists_latents_and_their_words(client, run, minilm):
    told = ask(client, "encode", text=A)
    codes = run.sae.transform(minilm.encode([A]))
    assert sorted(told["latents"]) == codes.indices.tolist() and told["cut"] is False
    assert told["acts"] == sorted(told["acts"], reverse=True)
    assert dict(zip(told["latents"], told["acts"], strict=True)) == pytest.approx(
        dict(zip(codes.indices.tolist(), codes.data.tolist(), strict=True)), abs=1e-3
    )
    assert {*told["words"]} == {str(latent) for latent in told["latents"]}
    assert [word for word, _ in told["words"][str(told["latents"][0])]] == re.findall(r"\w+|\.", A)
    assert ask(client, "encode", text=A + " Go on." * 300)["cut"] is True


def test_explain_takes_texts_and_rows(client, run, embeddings, minilm):
    _, x = embeddings
    told = ask(client, "explain", a=A, b=7)
    assert told["cosine"] == pytest.approx(float(minilm.encode([A])[0] @ x[7]), abs=1e-5) == told["sum"]
    own = explain(run.sae, x[3], x[7], labels=run.labels).to_json()
    assert ask(client, "explain", a=3, b=7) == json.loads(json.dumps(own))
    assert "sum" in told and {*told} == {"cosine", "sum", "terms", "kinds", "pairs"}


def test_neighbours_are_those_of_the_embeddings(client, embeddings):
    texts, x = embeddings
    best = [i for i in np.argsort(-(x @ x[7]), kind="stable") if i != 7][:4]
    of_row = ask(client, "neighbours", row=7, n=4)["rows"]
    assert [row["row"] for row in of_row] == best and [row["text"] for row in of_row] == [texts[i] for i in best]
    assert [row["cosine"] for row in of_row] == pytest.approx([float(x[i] @ x[7]) for i in best], abs=1e-6)
    assert [row["row"] for row in ask(client, "neighbours", text=texts[7], n=4)["rows"]] == best


def test_meaning_is_the_search_of_features(client, run, minilm):
    found = run.features.search_by_meaning("reading files", run.sae, minilm.encode, 5)
    told = ask(client, "meaning", query="reading files", n=5)["latents"]
    assert [each["latent"] for each in told] == found["latent"].tolist()
    assert [each["score"] for each in told] == pytest.approx(found["score"].tolist(), abs=1e-5)


def test_steering_ranks_as_the_python_that_it_gives(client, run, minilm):
    strongest, second = ask(client, "encode", text=A)["latents"][:2]
    silent = next(latent for latent in range(256) if latent not in ask(client, "encode", text=A)["latents"])
    weights = {strongest: 0, second: 2.5, silent: 3}
    told = ask(client, "steer", query=A, weights=weights, n=6)
    found = steer(run.sae, run.store, A, weights, 6, model=minilm)
    assert [hit["row"] for hit in told["after"]] == [hit.row for hit in found.after]
    assert [row["row"] for row in told["before"]] == [row.number for row in found.before]
    assert {term["latent"]: term["value"] for term in told["usual"]} == pytest.approx(found.usual, abs=1e-6)
    names: dict[str, object] = {}
    exec(told["python"], names)
    assert [hit.row for hit in names["found"].after] == [hit["row"] for hit in told["after"]]
    for hit, own in zip(told["after"], names["found"].after, strict=True):
        assert hit["score"] == pytest.approx(own.score, abs=1e-6) and hit["rank_before"] == own.rank_before
        assert {term["latent"]: term["value"] for term in hit["terms"]} == pytest.approx(own.terms, abs=1e-6)
    assert [hit["rank_before"] for hit in ask(client, "steer", query=A, weights={})["after"]] == list(range(1, 11))


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("encode", {}, "text is missing: it must be a text"),
        ("encode", {"text": "  "}, "the text is empty; give one with at least a word"),
        ("encode", {"text": 3}, "text=3 is not allowed: it must be a text"),
        ("encode", {"text": A, "txt": A}, "'txt' is not known; did you mean 'text'?"),
        ("explain", {"a": A, "b": 150}, "there is no row 150 in "),
        ("explain", {"a": A, "b": -1}, "there is no row -1 in "),
        ("explain", {"a": A, "b": True}, "b=True is not allowed: it must be a text or a whole number"),
        ("neighbours", {"text": A, "row": 3}, "give one of the two"),
        (
            "neighbours",
            {"row": 3, "n": 101},
            "n=101 is not allowed: it must be a whole number of at least 1 and at most",
        ),
        ("meaning", {"query": ""}, "the text is empty"),
        ("steer", {"query": A, "weights": {"256": 0}}, "latent=256 does not exist; latents are 0 to 255"),
        ("steer", {"query": A, "weights": {"-1": 0}}, "weights are by latent, and '-1' is the number of none"),
        ("steer", {"query": A, "weights": {"1": "2"}}, "weights="),
        ("steer", {"query": A, "weights": [1]}, "weights=[1] is not allowed: it must be a mapping"),
    ],
)
def test_what_cannot_be_answered_is_told_in_a_sentence(client, name, given, sentence):
    told = ask(client, name, 400, **given)
    assert sentence in told["error"] and {*told} == {"error"} and "\n" not in told["error"]


def test_a_byte_that_is_no_text_does_not_stop_it(client):
    told = client.post(
        "/api/neighbours", content=b'{"text": "a \\udc80 file", "n": 1}', headers={"content-type": "application/json"}
    )
    assert told.status_code == 200 and len(told.json()["rows"]) == 1


def test_strangers_are_refused(client):
    own = str(client.base_url.copy_with(path="/")).rstrip("/")
    port = client.base_url.port
    post = {"url": "/api/encode", "json": {"text": A}}
    for headers in ({"X-Sae-Kedro": "guessed"}, {"X-Sae-Kedro": ""}, {"Host": "evil.example"}, {"Host": ""}):
        assert client.post(**post, headers=headers).status_code == 403, headers
    for headers in ({"Host": f"evil.example:{port}"}, {"Host": "192.0.2.1"}, {"Origin": "https://evil.example"}):
        assert client.get("/", headers=headers).status_code == 403
        assert "TOKEN" not in client.get("/", headers=headers).text
    for origin in ("null", f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}", "http://127.0.0.1"):
        refused = client.post(**post, headers={"Origin": origin})
        assert refused.status_code == 403 and refused.json() == {"error": "pages from elsewhere may ask nothing here"}
    for headers in (
        {"Origin": own},
        {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"},
        {"Host": "[::1]:80"},
    ):
        assert client.post(**post, headers=headers).status_code == 200
    two = b"POST / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(two)
        assert raw.recv(100).split()[1] in (b"400", b"403")


def test_questions_are_small_json(client):
    kind = {"content-type": "application/json"}
    fits = b'{"text": "a file"' + b" " * (2**20 - 18) + b"}"
    assert len(fits) == 2**20 and client.post("/api/encode", content=fits, headers=kind).status_code == 200
    for content in (b" " * (2**20 + 1), b'{"text": "' + b"a" * 3_000_000, iter([b" " * 600_000] * 2)):
        reply = client.post("/api/encode", content=content, headers=kind)
        assert reply.status_code == 413 and reply.json() == {"error": "a question has at most 1,048,576 bytes"}
    for content in (b"", b"{", b"\xff", b"[" * 100_000, b'{"text": NaN}', b"[1]", b"3"):
        assert client.post("/api/encode", content=content, headers=kind).status_code == 400, content[:20]
    assert client.post("/api/encode", content=b'text=""').status_code == 415
    assert (client.get("/api/encode").status_code, client.get("/features.parquet").status_code) == (405, 404)
    assert client.post("/api/encode/", json={"text": A}).status_code == 404
    assert client.get("/api/encode").json() == {"error": "Method Not Allowed"}


def test_a_hundred_questions_at_once_are_all_answered(client):
    limits = httpx.Limits(max_connections=100)
    with (
        httpx.Client(base_url=client.base_url, headers=client.headers, timeout=60, limits=limits) as many,
        ThreadPoolExecutor(100) as pool,
    ):
        questions = [("steer", {"query": 7, "weights": {"3": 2}, "n": 1}), ("explain", {"a": 3, "b": 7})] * 45
        questions += [("encode", {"text": f"{A} {i}"}) for i in range(10)]
        told = list(pool.map(lambda question: ask(many, question[0], **question[1]), questions))
    assert len(told) == 100 and all(each == told[1] for each in told[1:90:2])


def test_labels_are_kept_where_that_was_asked_for(client, start, run, root):
    before = files_in(root)
    told = ask(client, "label", 403, latent=3, label="files", note="")
    assert told == {"error": "labels are kept by a server that was started with --edit"} and files_in(root) == before
    editing = start(edit=True)
    half = b'{"latent": 3, "label": " my \\ud83d files ", "note": "said\\nso"}'  # of an emoji that was cut in two
    kind = {"content-type": "application/json"}
    assert editing.post("/api/label", content=half, headers=kind).json() == {"saved": True}
    assert ask(editing, "label", latent=3, label="my files", note="") == {"saved": True}
    assert "latent=256 does not exist" in ask(editing, "label", 400, latent=256, label="x")["error"]
    file = root / "08_reporting" / "topk" / FILE
    first, last = map(json.loads, file.read_text().splitlines())
    assert (first["label"], first["note"], last["label"]) == ("my ? files", "said\nso", "my files")
    assert last["sae_sha256"] == run.features.digest and re.fullmatch(r"20\d\d-.*\+00:00", last["at"])
    assert {*files_in(root)} - {*before} == {str(file.relative_to(root))}
    fires = int(ask(editing, "encode", text=A)["latents"][0])
    ask(editing, "label", latent=fires, label="my own")
    assert "my own" in {term["label"] for term in ask(editing, "explain", a=A, b=B)["terms"]}
    file.unlink()


def test_a_model_that_is_not_there_is_told_and_rows_are_explained(start):
    def nowhere():
        raise InputError("there is no model")

    client = start(load=nowhere)
    assert ask(client, "encode", 400, text=A) == {"error": "there is no model"}
    assert ask(client, "neighbours", row=3, n=1)["rows"] and ask(client, "steer", query=3, weights={}, n=1)["after"]


def test_a_failure_is_no_page_of_python(start, caplog):
    def broken():
        raise RuntimeError("a secret")

    reply = start(load=broken).post("/api/encode", json={"text": A})
    assert reply.status_code == 500 and reply.json() == {
        "error": "this went wrong in the server; its terminal says how"
    }


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def call(root, *arguments):
    return CliRunner().invoke(commands, ["explore", "--data-root", str(root), "--no-browser", *map(str, arguments)])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(root, number):
    port, told = free_port(), []

    def visit():
        while not told:
            try:
                told.append(httpx.get(f"http://127.0.0.1:{port}/"))
            except httpx.ConnectError:
                time.sleep(0.05)
        os.kill(os.getpid(), number)

    visitor = threading.Thread(target=visit)
    visitor.start()
    result = call(root, "--port", port, "--name", "topk")
    visitor.join()
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"explorer of topk: http://127.0.0.1:{port}/" in result.output and result.output.endswith("stopped\n")
    assert "loading sentence-transformers/all-MiniLM-L6-v2" in result.output and "other machines" not in result.output
    (token,) = re.findall(r'<meta name="sae-kedro-server" content="([\w-]{40,})">', told[0].text)
    assert token not in result.output
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def test_a_taken_port_names_the_next_one(root):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = call(root, "--port", port)
    assert result.exit_code == 1 and result.output.count("\n") == 1
    named = re.fullmatch(rf"Error: port {port} of 127.0.0.1 is in use; --port (\d+) is free\n", result.output)
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(named[1])))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("--host", "no such host"), "no such host, port 8765, cannot be served: "),
        (("--host", "192.0.2.1"), "192.0.2.1, port 8765, cannot be served: "),
        (("--name", "tokp"), "did you mean 'topk'?"),
    ],
)
def test_bad_input_is_told_in_a_sentence(root, given, sentence):
    result = call(root, *given)
    assert result.exit_code == 1 and sentence in result.output and result.output.count("\n") == 1


def test_a_run_that_is_not_interpreted_says_how_to_do_that(root, tmp_path):
    folder = tmp_path / "06_models" / "topk"
    folder.mkdir(parents=True)
    for file in (root / "06_models" / "topk").glob("*.*"):
        (folder / file.name).write_bytes(file.read_bytes())
    assert "explorer.html; `kedro run --pipelines interpret` makes it\n" in call(tmp_path).output
    reports = tmp_path / "08_reporting" / "topk"
    reports.mkdir(parents=True)
    (reports / "explorer.html").write_text("of another SAE")
    assert "features.parquet; `kedro run --pipelines interpret` makes it\n" in call(tmp_path).output
    Features.load(root / "08_reporting" / "topk").save(reports)
    assert "explorer.html is of another SAE; `kedro run" in call(tmp_path).output


def test_loopback_is_this_machine():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.2", "localhost.evil.example", "")))


def test_questions_name_nothing_on_the_disk():
    fields = {field for question in QUESTIONS.values() for field in question.needs.model_fields}
    assert fields == {"text", "a", "b", "row", "n", "query", "weights", "latent", "label", "note"}


def test_others_are_let_in_by_address_or_name_where_that_was_asked_for(start):
    client = start(host="0.0.0.0")
    for host, code in (("192.0.2.1", 200), (socket.gethostname(), 200), ("localhost", 200), ("evil.example", 403)):
        assert client.get("/", headers={"Host": host}).status_code == code, host


def test_the_saved_sae_is_the_one_that_answers(run, root):
    assert (load_sae(root / "06_models" / "topk").W_dec == run.sae.W_dec).all()
