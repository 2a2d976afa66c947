"""Labels by a language model: the real client against an endpoint on this machine that also misbehaves."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from llm_server import LLMServer, completion, sensibly
from sae_kedro import InputError, get_experiment_cfg
from sae_kedro.interpretation.halves import halves
from sae_kedro.interpretation.interpret import interpret
from sae_kedro.interpretation.llm.client import LanguageModel, NoAnswer, language_model
from sae_kedro.interpretation.llm.interview import FAILURES_IN_A_ROW, NOT_TRIED, Interview
from sae_kedro.interpretation.llm.labelling import Round, label_with_llm
from sae_kedro.interpretation.llm.prompts import (
    Question,
    Seen,
    Unusable,
    grade_question,
    label_question,
    read_grades,
    read_label,
)
from sae_kedro.pipelines.credentials import key_in_environment
from sae_kedro.sae.topk import TopKSAE

TOPICS = [["qubit", "entangled"], ["galaxy", "redshift"], ["protein", "enzyme"], ["auction", "bidder"]]
ECHO = [Question(f"question {number}", str) for number in range(3)]


class Planted:
    """Texts of four topics, a latent for each, and one that never fires."""

    def __init__(self, n=240, order=(0, 1, 2, 3, 4)):
        generator = np.random.default_rng(0)
        topic = generator.integers(0, 4, n)
        self.texts = [
            f"{' '.join(TOPICS[t])} seen by {['nobody', 'somebody', 'everybody'][row % 3]} of group {row}"
            for row, t in enumerate(topic)
        ]
        codes = np.zeros((n, 5), dtype=np.float32)
        codes[np.arange(n), topic] = 1 + generator.random(n)
        codes, directions = codes[:, list(order)], torch.eye(8)[list(order)]
        self.codes = sparse.csr_array(codes)
        self.sae = TopKSAE({"act_size": 8, "dict_size": 5, "top_k": 1, "sae_type": "topk"})
        self.sae.W_dec.data = directions
        noise = generator.normal(size=(n, 8)).astype(np.float32)
        self.vectors = codes @ directions.numpy() + 0.1 * noise
        self.given = self.sae, self.codes, self.texts, self.vectors
        self.features = interpret(*self.given)

    def labelled(self, model, answers=None, **more):
        return label_with_llm(self.features, *self.given, model, answers, **more)


@pytest.fixture(scope="module")
def planted():
    return Planted()


@pytest.fixture(scope="module")
def running():
    server = LLMServer()
    yield server
    server.die()


@pytest.fixture
def server(running):
    running.reset()
    yield running
    running.released.set()


@pytest.fixture
def model(server):
    return LanguageModel(server.url, "small", "sk-secret", concurrency=2, timeout=0.3, retries=2)


def test_labels_are_those_of_the_model_and_scored_beside_keywords_and_wrong_labels(planted, server, model):
    features = planted.labelled(model)
    table = features.table
    assert [row["label"] in topic for topic, (_, row) in zip(TOPICS, table.iterrows(), strict=False)] == [True] * 4
    assert list(table["label_source"]) == ["llm"] * 4 + [None]
    assert list(table["label_auroc"][:4]) == [1.0] * 4 and pd.isna(table["label_auroc"][4])
    assert ((table["floor_auroc"][:4] > 0) & (table["floor_auroc"][:4] < 0.5)).all()  # others' words are in negatives
    assert list(table["keywords_auroc"][:4]) == list(planted.features.table["label_auroc"][:4])
    assert list(table["keywords"][:4]) == list(planted.features.table["keywords"][:4])
    told = features.summary["llm"]
    assert (told["model"], told["n_labelled"], told["label_auroc"], told["not_usable"]) == ("small", 4, 1.0, {})
    assert {header["authorization"] for header in server.headers} == {"Bearer sk-secret"}


def test_shown_texts_are_of_the_making_half_and_graded_ones_of_the_other(planted, server, model):
    planted.labelled(model)
    made_from, scored_on = ({planted.texts[row] for row in half} for half in halves(planted.texts))
    found = {True: set[str](), False: set[str]()}
    for prompt in server.prompts:
        found["\nLabel: " in prompt] |= set(re.findall(r"^(?:\d+:|-|\d+\.) (.*)$", prompt, re.MULTILINE))
    assert found[False] <= made_from and found[True] <= scored_on and not made_from & scored_on
    assert min(map(len, found.values())) > 40


def test_nothing_is_left_over_in_a_prompt_and_graders_see_neither_strengths_nor_shares(planted, server, model):
    planted.labelled(model)
    for prompt in server.prompts:
        assert not re.search(r"None|nan\b|[{}\[\]]|  ", prompt)
        if "\nLabel: " in prompt:
            assert not re.search(r"fire|detector|strength|silent|half|third|share|\d:", prompt)
    label = next(prompt for prompt in server.prompts if "\nLabel: " not in prompt)
    assert len(re.findall(r"^10: ", label, re.MULTILINE)) >= 1 and len(re.findall(r"^\d+: ", label, re.MULTILINE)) == 20
    assert len(re.findall(r"^- ", label, re.MULTILINE)) == 15
    own = planted.features.table["keywords"].dropna()
    others = re.search(r"^Other detectors fire on: (.+)\. The name", label, re.MULTILINE)[1].split("; ")
    assert len(others) == 3 and all(any(words.startswith(other) for words in own) for other in others)


def test_graded_texts_are_mixed_and_another_label_mixes_them_otherwise(planted, server, model):
    planted.labelled(model, n_latents=2)
    orders = {}
    for prompt in server.prompts:
        if found := re.search(r"^Label: (.+)$", prompt, re.MULTILINE):
            lines = re.findall(r"^\d+\. (.*)$", prompt, re.MULTILINE)
            assert 6 <= len(lines) <= 10
            orders.setdefault(found[1], []).append(lines)
    for label, batches in orders.items():
        mixed = [0 < sum(label in text for text in batch) < len(batch) for batch in batches]
        assert sum(mixed) > len(mixed) / 2
    first, second = ([text for batch in batches for text in batch] for batches in orders.values())
    assert set(first) == set(second) and first != second


def test_two_runs_ask_once_and_give_the_same(planted, server, model, tmp_path):
    first = planted.labelled(model, tmp_path / "answers.jsonl")
    calls = server.calls
    second = planted.labelled(model, tmp_path / "answers.jsonl")
    assert server.calls == calls > 4
    for features, name in ((first, "a"), (second, "b")):
        features.save(tmp_path / name)
    assert (tmp_path / "a" / "features.csv").read_bytes() == (tmp_path / "b" / "features.csv").read_bytes()
    assert (tmp_path / "a" / "features.parquet").read_bytes() == (tmp_path / "b" / "features.parquet").read_bytes()
    kept = (tmp_path / "answers.jsonl").read_text()
    assert "sk-secret" not in kept and "seen by" not in kept


def test_another_order_of_latents_asks_the_same(planted, server, model, tmp_path):
    labels = planted.labelled(model, tmp_path / "answers.jsonl").labels
    calls, order = server.calls, (3, 0, 4, 2, 1)
    other = Planted(order=order).labelled(model, tmp_path / "answers.jsonl").labels
    assert server.calls == calls
    assert {order[latent]: label for latent, label in other.items()} == labels


def test_an_interrupted_run_pays_for_nothing_twice(planted, server, model, tmp_path):
    def interrupted(prompt):
        if server.calls > 6:
            server.moods = [400] * 1000
        return sensibly(prompt)

    server.answer = interrupted
    planted.labelled(replace(model, concurrency=1), tmp_path / "answers.jsonl")
    answered = set(server.prompts)
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('\n{"key": "cut in the mid')
    server.reset()
    features = planted.labelled(model, tmp_path / "answers.jsonl")
    assert answered and not answered & set(server.prompts)
    assert features.summary["llm"]["n_labelled"] == 4 and features.summary["llm"]["not_usable"] == {}


@pytest.mark.parametrize("mood", [429, 500, "cut", "slow"])
def test_calls_that_may_work_later_are_tried_again(server, model, mood):
    server.moods = [mood]
    server.answer = lambda prompt: "well"
    assert model.ask("how are you?") == "well"
    assert server.calls == 2


@pytest.mark.parametrize(
    ("mood", "reason", "calls"),
    [
        (429, "HTTP 429", 1),
        (500, "HTTP 500", 1),
        (400, "HTTP 400", 1),
        ("slow", "no answer in time", 1),
        ("web page", "no chat completion", 1),
        ({"choices": []}, "no chat completion", 1),
        ({"choices": "none"}, "no chat completion", 1),
    ],
)
def test_calls_that_fail_for_good_say_why(server, model, mood, reason, calls):
    server.mood = mood
    with pytest.raises(NoAnswer, match=f"^{reason}$"):
        replace(model, retries=0, timeout=0.2).ask("how are you?")
    assert server.calls == calls


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        (completion(None, refusal="I cannot help with that"), "refused"),
        ({"choices": [{"message": {}, "finish_reason": "content_filter"}]}, "refused"),
        ({"choices": [{"message": {"content": "on and on"}, "finish_reason": "length"}]}, "too long"),
    ],
)
def test_an_answer_that_is_refused_or_has_no_end_is_none(server, model, mood, reason):
    server.mood = mood
    with pytest.raises(Unusable, match=f"^{reason}$"):
        model.ask("how are you?")


def test_failures_are_counted_not_kept_and_tried_again(server, model, tmp_path):
    server.moods, server.answer = [400, completion(None, refusal="I cannot help with that")], lambda prompt: "well"
    model = replace(model, concurrency=1)
    found, problems = Interview(model, tmp_path / "answers.jsonl").ask(ECHO, "Test")
    assert (found, dict(problems)) == ([None, None, "well"], {"HTTP 400": 1, "refused": 1})
    found, problems = Interview(model, tmp_path / "answers.jsonl").ask(ECHO, "Test")
    assert (found, problems.total(), server.calls) == (["well"] * 3, 0, 5)


def test_an_endpoint_that_dies_is_not_tried_for_ever(server, model):
    server.mood = 400
    questions = [Question(f"question {number}", str) for number in range(100)]
    found, problems = Interview(replace(model, concurrency=1)).ask(questions, "Test")
    assert found == [None] * 100 and server.calls == FAILURES_IN_A_ROW
    assert problems == {"HTTP 400": FAILURES_IN_A_ROW, NOT_TRIED: 100 - FAILURES_IN_A_ROW}


def test_answers_of_another_model_temperature_endpoint_or_middle_of_a_prompt_are_others(server, model, tmp_path):
    ends, server.answer = "x" * 200, str
    for each in (model, replace(model, name="large"), replace(model, temperature=None)):
        for middle in "ab":
            Interview(each, tmp_path / "a").ask([Question(ends + middle + ends, str)], "Test")
    assert server.calls == 6
    same = replace(model, api_key="another", concurrency=7, retries=0)
    assert Interview(same, tmp_path / "a").known(Question(ends + "a" + ends, str)) is not None
    elsewhere = replace(model, base_url=server.url.replace("127.0.0.1", "localhost"))
    assert Interview(elsewhere, tmp_path / "a").known(Question(ends + "a" + ends, str)) is None


def test_an_endpoint_that_answers_with_prose_leaves_keywords_and_says_so(planted, server, model, caplog):
    server.answer = lambda prompt: "Sure! These texts are about physics."
    features = planted.labelled(model)
    assert features.labels == planted.features.labels and list(features.table["label_source"][:4]) == ["keywords"] * 4
    assert features.table["label_auroc"].equals(planted.features.table["label_auroc"])
    assert "4 of 4 answers of small for labels could not be used (4 not the JSON asked for); those" in caplog.text
    assert features.summary["llm"] == {
        "model": "small", "n_labelled": 0, "label_auroc": None, "floor_auroc": None, "keywords_auroc": None,
        "not_usable": {"not the JSON asked for": 4},
    }  # fmt: skip


def test_grades_that_are_missing_make_no_score(planted, server, model, caplog):
    server.answer = lambda prompt: sensibly(prompt) if "\nLabel: " not in prompt else '{"grades": [1, 2]}'
    features = planted.labelled(model, n_latents=2)
    assert list(features.table["label_source"]).count("llm") == 2
    named = features.table[features.table["label_source"] == "llm"]
    assert named["label_auroc"].isna().all() and named["keywords_auroc"].notna().all()
    assert re.search(r"(\d+) of \1 answers of small for grades could not be used", caplog.text)


def test_scores_are_of_answered_texts_and_need_nine_tenths_of_them():
    parts = [np.arange(10), np.arange(10, 20), np.arange(20, 30)]
    graded = Round(0, True, [], parts)
    # ten positives, of which two tie with a negative and one is below all; twenty negatives
    positive, negative = [9.0] * 7 + [5.0] * 2 + [0.0], [5.0] + [1.0] * 19
    scores = graded.scores([positive, negative[:10], negative[10:]])
    assert scores["label_auroc"] == pytest.approx((7 * 20 + 2 * 19.5) / 200)
    assert 0.6 < scores["label_auroc_lo"] < scores["label_auroc"] < scores["label_auroc_hi"] < 1
    assert graded.scores([positive, None, negative[10:]]) == {}
    wrong = Round(0, False, [], [np.arange(27), np.arange(27, 30)]).scores([positive + negative[:17], None])
    assert wrong == {"floor_auroc": pytest.approx((7 * 17 + 2 * 16.5) / 170)}
    assert Round(0, True, [], []).scores([]) == {}


def test_without_graded_texts_there_are_labels_alone(planted, server, model):
    features = planted.labelled(model, n_texts=0)
    assert server.calls == 4 and features.table["label_auroc"].isna().all()
    assert features.summary["llm"]["label_auroc"] is None


def test_the_most_frequent_latents_come_first(planted, server, model):
    frequent = planted.features.table.nlargest(2, "n_texts")["latent"]
    table = planted.labelled(model, n_latents=2).table
    assert set(table[table["label_source"] == "llm"]["latent"]) == set(frequent)


def test_what_costs_too_much_is_not_begun(planted, server, model, caplog, tmp_path):
    with pytest.raises(
        InputError, match=r"4 latents need about 2\d answers of small.* more than llm_token_limit=1,000; "
    ):
        planted.labelled(model, token_limit=1000)
    assert server.calls == 0
    caplog.set_level("INFO")
    planted.labelled(model, tmp_path / "answers", token_limit=100_000)
    answers, tokens = re.search(r"about (\d+) answers, at most about ([\d,]+) tokens", caplog.text).groups()
    assert int(answers) == server.calls
    assert int(tokens.replace(",", "")) > sum(len(prompt) for prompt in server.prompts) / 4
    planted.labelled(model, tmp_path / "answers", token_limit=1)  # all is known


def test_features_are_labelled_once(planted, server, model):
    features = planted.labelled(model, n_latents=1, n_texts=0)
    with pytest.raises(InputError, match="have labels by a language model already"):
        label_with_llm(features, *planted.given, model)


@pytest.mark.parametrize("answer", ['{"label": "Tides, at sea "}', '```json\n{"label": "Tides,  at sea"}\n```'])
def test_a_label_is_read(answer):
    assert read_label(answer) == "Tides, at sea"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ('{"label": ""}', "empty"),
        ('{"label": "..."}', "empty"),
        ("I'm sorry, but I can't.", "not the JSON asked for"),
        ('{"label": "Tides', "not the JSON asked for"),
        ('{"label": null}', "not the JSON asked for"),
        ('{"label": "a", "why": "b"}', "not the JSON asked for"),
        ('{"name": "a"}', "not the JSON asked for"),
        ('["a"]', "not the JSON asked for"),
        ("[" * 100_000, "not the JSON asked for"),
        (json.dumps({"label": "word " * 13}), "too long"),
        (json.dumps({"label": "潮" * 121}), "too long"),
    ],
)
def test_what_is_no_label(answer, reason):
    with pytest.raises(Unusable, match=f"^{reason}$"):
        read_label(answer)


@pytest.mark.parametrize(
    "answer", ["[1, 2]", '{"grades": [1]}', '{"grades": [1, 11]}', '{"grades": [1, true]}', '{"grades": [1, NaN]}']
)
def test_what_are_no_grades(answer):
    assert read_grades('{"grades": [0, 7.5]}', 2) == [0.0, 7.5]
    with pytest.raises(Unusable, match="not the JSON asked for"):
        read_grades(answer, 2)


def test_texts_are_one_line_each_and_of_long_ones_the_beginning():
    prompt = grade_question("a label", ["two\nlines", "word " * 100, "潮" * 1000, "half \ud83d a character"]).prompt
    lines = [line for line in prompt.splitlines() if re.match(r"\d\. ", line)]
    assert lines[0] == "1. two lines" and lines[1] == "2. " + "word " * 64 + "..."
    assert lines[2] == "3. " + "潮" * 640 + " ..." and lines[3].encode() == b"4. half ? a character"


def test_a_latent_without_neighbours_or_silent_texts_has_a_prompt_without_them():
    prompt = label_question(Seen([("a text", 10)], [], []), []).prompt
    assert "does not fire" not in prompt and "Other" not in prompt and "\n\n\n" not in prompt


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"api_key": None},
            r"asks for an API key; set LLM_API_KEY, or llm: {api_key: ...} in conf/local/credentials.yml$",
        ),
        ({"api_key": "sk-wrong"}, r"does not accept the API key in LLM_API_KEY, or llm"),
        ({"name": "smal"}, r"does not know llm_model='smal'; did you mean 'small'\?$"),
        ({"name": "gpt"}, r"does not know llm_model='gpt'; it has large, small$"),
        (
            {"base_url": "http://127.0.0.1:9/v1"},
            r"'http://127.0.0.1:9/v1' cannot be used, no connection; is it running",
        ),
    ],
)
def test_an_endpoint_that_cannot_work_is_told_early(server, model, change, said):
    server.key = "sk-secret"
    with pytest.raises(InputError, match=said) as error:
        replace(model, **change).check()
    assert "sk-" not in str(error.value)


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        (400, r"answers llm_model='small' with HTTP 400: 'not now'$"),
        ("web page", "cannot be used, no chat completion; is it running, and is this its address"),
    ],
)
def test_an_endpoint_that_does_something_else_is_told_early(server, model, mood, said):
    server.mood = mood
    with pytest.raises(InputError, match=said):
        model.check()


def test_a_key_is_in_no_text_of_the_model_nor_is_that_of_another_endpoint_sent(server, model, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-another")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another")
    assert "sk-secret" not in repr(model)
    replace(model, api_key=None).check()
    assert "another" not in str(server.headers)
    with pytest.raises(InputError, match="the API key holds characters that no key has") as error:
        replace(model, api_key="sk-\u2026secret")
    assert "secret" not in str(error.value)


def test_a_configuration_without_endpoint_asks_nobody(monkeypatch):
    cfg = {"llm_base_url": None, "llm_model": None, "llm_temperature": 0.0, "llm_concurrency": 8}
    assert language_model(cfg) is None
    cfg["llm_base_url"] = "http://localhost/v1"
    with pytest.raises(InputError, match="llm_base_url='http://localhost/v1' needs a model; name it as llm_model"):
        language_model(cfg)
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(
        InputError, match=r"needs the package openai .*; install it with `pip install 'sae-kedro\[llm\]'`"
    ):
        language_model(cfg | {"llm_model": "small"})


@pytest.mark.parametrize(
    "given", ["localhost:11434", "ftp://host/v1", "http://", "http://host:port", "http://a b", "http://[::1"]
)
def test_what_is_no_address_is_refused(given):
    with pytest.raises(InputError, match="is not allowed: it must be an address such as https://api.openai.com/v1$"):
        get_experiment_cfg(llm_base_url=given)


@pytest.mark.parametrize("given", ["https://me:sk-secret@host/v1", "https://host/v1?key=sk-secret"])
def test_an_address_that_holds_a_secret_is_refused_without_repeating_it(given):
    with pytest.raises(InputError, match="llm_base_url holds a user name or a query") as error:
        get_experiment_cfg(llm_base_url=given)
    assert "secret" not in str(error.value)


def test_the_key_of_credentials_is_in_the_environment_while_a_run_lasts(monkeypatch):
    monkeypatch.delenv("LLM_API_KEY", raising=False)
    with key_in_environment({"llm": {"api_key": "sk-a"}}):
        assert os.environ["LLM_API_KEY"] == "sk-a"
    with key_in_environment({"other": {}}):
        assert "LLM_API_KEY" not in os.environ
    monkeypatch.setenv("LLM_API_KEY", "sk-b")
    with key_in_environment({"llm": {"api_key": "sk-a"}}):
        assert os.environ["LLM_API_KEY"] == "sk-b"
    assert os.environ["LLM_API_KEY"] == "sk-b"


@pytest.mark.parametrize("given", ["sk-secret", {"key": "sk-secret"}, {"api_key": 7}])
def test_credentials_of_another_form_are_refused(given, monkeypatch):
    monkeypatch.delenv("LLM_API_KEY", raising=False)
    with (
        pytest.raises(InputError, match="llm in credentials.yml is not allowed") as error,
        key_in_environment({"llm": given}),
    ):
        pass
    assert "secret" not in str(error.value)
