"""Discovery of variants: what a user reads when a plugin is missing, broken, or one of two."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from sae_kedro import InputError, TopKSAE, get_experiment_cfg, load_sae, sae_classes, save_sae
from sae_kedro.sae.base import SAE
from sae_kedro.sae.inspection import list_variants
from sae_kedro.sae.registry import BUILT_IN

GOOD = """from sae_kedro.sae import TopKSAE


class FineSAE(TopKSAE):
    summary = "a fine variant"
"""


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Install a distribution's metadata and modules into a folder on the path, as pip would."""

    def install(name, entries, files, version="0.1"):
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text("[sae_kedro.sae_types]\n" + "\n".join(entries) + "\n")
        for file, text in files.items():
            (tmp_path / file).write_text(text)
            monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    return install


def line(name):
    return next(listing for listing in list_variants() if listing.name == name)


def test_built_ins_need_no_entry_points_and_all_load():
    assert list(BUILT_IN) == ["vanilla", "topk", "batchtopk", "jumprelu"]
    assert all(issubclass(sae_classes[name], SAE) for name in BUILT_IN)


def test_an_installed_plugin_is_one_more_key_and_listing_imports_nothing(distribution):
    distribution("sae-kedro-fine", ["fine = fine_plugin:FineSAE"], {"fine_plugin.py": GOOD})
    assert "fine" in sae_classes and "fine" in list(sae_classes)
    assert line("fine") == ("fine", "sae-kedro-fine", "0.1", "ok", "a fine variant")
    assert "fine_plugin" not in sys.modules
    assert sae_classes["fine"].__name__ == "FineSAE"
    assert get_experiment_cfg(sae_type="fine")["sae_type"] == "fine"


BROKEN = {
    "missing module": ("no_such_plugin:FineSAE", {}, "ModuleNotFoundError: No module named 'no_such_plugin'"),
    "missing attribute": ("fine_plugin:Missing", {"fine_plugin.py": GOOD}, "has no attribute 'Missing'"),
    "failing import": ("bad_plugin:X", {"bad_plugin.py": "raise RuntimeError('boom')"}, "RuntimeError: boom"),
    "syntax error": ("odd_plugin:X", {"odd_plugin.py": "class X(SAE:\n"}, "SyntaxError"),
    "missing dependency": ("dep_plugin:XSAE", {"dep_plugin.py": "import no_such_library\n" + GOOD}, "no_such_library"),
    "wrong type": ("fun_plugin:make", {"fun_plugin.py": "def make(cfg):\n    return 1\n"}, "is not a subclass of"),
    "wrong class": (
        "cls_plugin:X",
        {"cls_plugin.py": "class X:\n    pass\n"},
        "not a subclass of sae_kedro.sae.SAE",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_listed_as_broken_raises_one_sentence_and_harms_nobody(kind, distribution):
    target, files, reason = BROKEN[kind]
    distribution("sae-kedro-bad", [f"bad = {target}"], files, version="2.3")
    with pytest.raises(InputError) as caught:
        sae_classes["bad"]
    message = str(caught.value)
    assert message.startswith("sae_type='bad' is broken: sae-kedro-bad 2.3") and reason in message
    assert "\n" not in message
    listed = line("bad")
    assert (listed.provider, listed.version) == ("sae-kedro-bad", "2.3")
    assert listed.status.startswith("broken: ") and reason in listed.status
    assert line("topk").status == "ok" and sae_classes["topk"] is TopKSAE
    assert "bad" not in sae_classes.usable() and "topk" in sae_classes.usable()


def test_two_distributions_offering_one_name_are_refused_by_name_when_asked_for(distribution):
    distribution("sae-kedro-one", ["twin = fine_plugin:FineSAE"], {"fine_plugin.py": GOOD})
    distribution("sae-kedro-two", ["twin = other_plugin:FineSAE"], {"other_plugin.py": GOOD}, version="9.0")
    sentence = "sae_type='twin' is offered by sae-kedro-one 0.1 .* and sae-kedro-two 9.0 .*; uninstall all but one"
    with pytest.raises(InputError, match=sentence):
        sae_classes["twin"]
    assert line("twin").status.startswith("broken") and line("topk").status == "ok"


def test_a_plugin_that_shadows_a_built_in_is_refused_when_asked_for(distribution):
    distribution("sae-kedro-shadow", ["topk = fine_plugin:FineSAE"], {"fine_plugin.py": GOOD})
    with pytest.raises(InputError, match="sae_type='topk' is offered by sae-kedro .* and sae-kedro-shadow 0.1"):
        sae_classes["topk"]
    assert sae_classes["batchtopk"].__name__ == "BatchTopKSAE"


def test_a_model_of_a_missing_plugin_says_which_distribution_to_install(distribution, tmp_path, make_cfg):
    distribution("sae-kedro-lovely", ["fine = fine_plugin:FineSAE"], {"fine_plugin.py": GOOD}, version="1.2")
    save_sae(sae_classes["fine"](make_cfg(sae_type="fine")), tmp_path / "model")
    assert type(load_sae(tmp_path / "model")).__name__ == "FineSAE"
    (tmp_path / "sae_kedro_lovely-1.2.dist-info" / "entry_points.txt").write_text("")
    importlib.invalidate_caches()
    with pytest.raises(InputError, match=r"type 'fine', which is not installed; run `pip install sae-kedro-lovely`"):
        load_sae(tmp_path / "model")


def test_register_serves_notebooks_and_refuses_built_in_names_and_other_objects():
    class MineSAE(TopKSAE):
        pass

    with sae_classes.registered("mine", MineSAE):
        assert sae_classes["mine"] is MineSAE
    assert "mine" not in sae_classes
    with pytest.raises(InputError, match="'topk' is built in"):
        sae_classes.register("topk", MineSAE)
    with pytest.raises(InputError, match="is not a subclass of"):
        sae_classes.register("mine", object)


def test_an_option_of_a_plugin_is_a_key_like_any_other(distribution):
    text = GOOD.replace("TopKSAE\n", "SAEOptions, TopKSAE\nfrom pydantic import Field\n", 1) + (
        "    class Options(SAEOptions):\n        zest: float = Field(0.5, gt=0, description='how much')\n"
    )
    distribution("sae-kedro-fine", ["fine = fine_plugin:FineSAE"], {"fine_plugin.py": text})
    assert get_experiment_cfg(sae_type="fine", zest=0.7)["zest"] == 0.7
    with pytest.raises(InputError, match="zest=-1.0 is not allowed: it must be a number above 0"):
        get_experiment_cfg(sae_type="fine", zest=-1.0)
    with pytest.raises(InputError, match="zest=0.7 is an option of sae_type='fine', but sae_type is 'topk'"):
        get_experiment_cfg(sae_type="topk", zest=0.7)
    with pytest.raises(InputError, match="'zset' is not a known key; did you mean 'zest'"):
        get_experiment_cfg(sae_type="fine", zset=0.7)


def test_listing_loads_no_torch():
    script = "import sys, sae_kedro.sae.inspection as i; i.list_variants(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_the_list_as_json_has_the_promised_keys():
    rows = json.loads(json.dumps([listing._asdict() for listing in list_variants()]))
    assert {"name", "provider", "version", "status", "summary"} == set(rows[0])
    assert all(row["summary"] for row in rows)


def test_an_option_named_like_a_core_key_is_refused(distribution):
    text = GOOD.replace("TopKSAE\n", "SAEOptions, TopKSAE\nfrom pydantic import Field\n", 1) + (
        "    class Options(SAEOptions):\n        lr: float = Field(0.5, gt=0, description='how much')\n"
    )
    distribution("sae-kedro-fine", ["fine = fine_plugin:FineSAE"], {"fine_plugin.py": text})
    with pytest.raises(InputError, match="options named like keys of the core: lr"):
        get_experiment_cfg(sae_type="fine", lr=0.1)
