"""Make the pictures of README and docs anew: `make pictures`. Trains the default SAE and the default comparison first.

Needs Chromium. Everything it opens lies on this machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
REPORTS = ROOT / "data" / "08_reporting"
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
QUIET += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
SETTINGS = '{showFeatureHints:false,theme:"light",orientation:"vertical",visible:{sidebar:false,miniMap:false}}'


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Make all pictures."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("make pictures needs Chromium or Chrome; install one (Debian: apt-get install chromium)")
    _kedro(ROOT, "run")
    _kedro(ROOT, "run", "--pipelines", "compare")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _pipeline(folder / "project")
        for page in ("report.html", "explorer.html"):
            shutil.copy(REPORTS / "topk" / page, folder)
        latent, first, second = _telling()
        _figure(REPORTS / "compare" / "pareto.json", folder / "pareto.html")
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shots = {
            "pipeline": ("project/build/?pid=train", "900,860"),
            "dag": ("project/build/?pid=train&expandAllPipelines=true", "1300,1700"),
            "report-1200": ("report.html", "1200,1000"),
            "report-400": ("report.html", "400,1150", "--blink-settings=preferredColorScheme=0"),  # dark
            "pareto": ("pareto.html", "900,470"),
            "explorer": ("explorer.html#o", "1200,1000"),
            "explorer-feature": (f"explorer.html#f/{latent}", "1200,1000"),
            "explorer-text": (f"explorer.html#t/{first}", "1200,1000", "--blink-settings=preferredColorScheme=0"),
            "explorer-why": (f"explorer.html#t/{first}~{second}", "1200,900"),
        }
        for picture, (page, size, *look) in shots.items():
            address = f"http://127.0.0.1:{server.server_port}/{page}"
            options = (f"--user-data-dir={folder / 'browser'}", f"--window-size={size}", "--virtual-time-budget=25000")
            subprocess.run(
                [browser, *QUIET, *options, *look, f"--screenshot={IMAGES / picture}.png", address],
                check=True,
                capture_output=True,
            )
        server.shutdown()


def _telling() -> tuple[int, int, int]:
    """Return a feature of a plain meaning that is neither rare nor everywhere, and its two strongest texts."""
    import pandas as pd

    table = pd.read_parquet(REPORTS / "topk" / "features.parquet")
    row = table[table["density"].between(0.005, 0.02)].nlargest(1, "label_auroc_lo").iloc[0]
    return int(row["latent"]), *row["top_rows"][:2].tolist()


def _kedro(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "kedro", *arguments], cwd=folder, check=True)


def _pipeline(project: Path) -> None:
    """Build the static site of kedro-viz in a copy of the project, without its tour and side bar."""
    for part in ("conf", "src"):
        shutil.copytree(ROOT / part, project / part)
    shutil.copy(ROOT / "pyproject.toml", project)
    _kedro(project, "viz", "build")
    index = project / "build" / "index.html"
    hidden = (
        "<style>.pipeline-global-toolbar,.pipeline-sidebar,.pipeline-flowchart__zoom{display:none!important}</style>"
    )
    script = f'{hidden}<script>localStorage.setItem("KedroViz", JSON.stringify({SETTINGS}))</script>'
    index.write_text(index.read_text().replace("<title>", f"{script}<title>", 1))


def _figure(saved: Path, page: Path) -> None:
    import plotly.io

    plotly.io.read_json(saved).update_layout(width=880, height=450).write_html(page, config={"displayModeBar": False})


if __name__ == "__main__":
    main()
