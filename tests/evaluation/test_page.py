"""The page: whole in one file, safe against its own content, and alive in a browser."""

import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from mambair_cli.evaluation.benchmark import Pictures
from mambair_cli.evaluation.page import Page
from mambair_cli.evaluation.protocol import Scores
from mambair_cli.evaluation.results import ImageResult, Run, SetResult
from mambair_cli.networks.spec import ModelSpec

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = '</script><img src=x onerror="document.title=1">'


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def run(model, psnr, names):
    images = tuple(
        ImageResult(name, 80, 48, Scores(psnr + i, 0.9), Scores(28.0, 0.8), 0.5 + i)
        for i, name in enumerate(names)
    )
    result = SetResult("Set5", False, True, "f00d", "given", "paper", images, 2**30)
    spec = ModelSpec(model, "sr", 4, 3)
    return Run(spec, 145_622, "cafe", False, "cpu (2 threads)", "fp32", "numba", result)


@pytest.fixture
def page():
    """Two models on two images, one of them with a hostile name."""
    page = Page("Benchmark")
    names = ("baby", HOSTILE)
    runs = [run("mambair-light-sr-x4", 32.4, names), run("mambair-tiny-sr-x4", 30.9, names)]
    for i, name in enumerate(names):
        for one in runs:
            pictures = Pictures(noise(12, 20), noise(48, 80, seed=i), noise(48, 80, seed=9))
            page.add("Set5", name, one.label, 4, pictures)
    return page.render(runs)


def data_of(page):
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])


def test_everything_is_inside(page):
    addresses = []

    class Collect(html.parser.HTMLParser):
        def handle_starttag(self, _tag, attributes):
            addresses.extend(value for key, value in attributes if key in {"src", "href"} and value)

    Collect().feed(page)
    assert not addresses
    pictures = data_of(page)["pictures"]
    assert all(
        layer.startswith("data:image/webp;base64,")
        for picture in pictures
        for layer in picture["layers"].values()
    )
    assert "https://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_layers_are_kept_once_each(page):
    pictures = data_of(page)["pictures"]
    assert [picture["name"] for picture in pictures] == ["baby", HOSTILE]
    assert list(pictures[0]["layers"]) == [
        "input",
        "mambair-light-sr-x4",
        "mambair-tiny-sr-x4",
        "reference",
    ]


def test_names_cannot_break_out(page):
    assert HOSTILE not in page
    assert data_of(page)["images"][1]["image"] == HOSTILE


def test_ours_and_the_peers_are_in_one_order(page):
    methods = re.findall(r"<tr[^>]*><td>([^<]+)</td>", page)
    assert methods.index("mambair-tiny-sr-x4") < methods.index("CARN")
    assert methods.index("CARN") < methods.index("mambair-light-sr-x4")


def test_too_many_pictures_are_compressed_with_loss_and_it_is_said(monkeypatch):
    monkeypatch.setattr("mambair_cli.evaluation.page.LOSSLESS_BYTES", 5000)
    page = Page("Many")
    for i in range(4):
        page.add_layer("", f"image {i}", "input", noise(64, 80, seed=i))
    assert "compressed with loss" in page.render()


def test_gray_and_very_large_pictures(monkeypatch):
    monkeypatch.setattr("mambair_cli.evaluation.page.LARGEST_SIDE", 50)
    page = Page("Gray")
    page.add_layer("", "large", "input", noise(40, 60, 1))
    page.add_layer("", "small", "input", noise(40, 48, 1))
    first, second = data_of(page.render())["pictures"]
    assert first["layers"]["input"].startswith("data:image/png;")
    assert second["layers"]["input"].startswith("data:image/webp;")


# Does what a user does, and writes what became of it where --dump-dom shows it.
ACT = """
<script>
addEventListener("load", () => setTimeout(async () => {
  const out = {}, wait = () => new Promise((done) => setTimeout(done, 300));
  const lines = () => [...document.querySelectorAll("#images tbody tr")];
  const column = (n) => lines().map((line) => line.cells[n].textContent);
  out.rows = column(1).length;
  const heads = [...document.querySelectorAll("#images th button")];
  const sort = heads.find((head) => head.textContent === "PSNR");
  sort.click(); out.falling = column(4);
  sort.click(); out.rising = column(4);
  out.sorted = sort.closest("th").getAttribute("aria-sort");
  out.plots = document.querySelectorAll("#plots svg").length;
  out.crops = document.querySelectorAll("#crops canvas").length;
  const slider = document.getElementById("slider");
  slider.value = 20; slider.dispatchEvent(new Event("input"));
  out.cut = document.getElementById("stage").style.getPropertyValue("--cut");
  const box = document.getElementById("box"), before = box.style.left;
  const press = new KeyboardEvent("keydown", { key: "ArrowRight" });
  document.getElementById("stage").dispatchEvent(press);
  out.moved = box.style.left !== before;
  const pixels = () => document.querySelectorAll("#crops canvas")[1].getContext("2d")
    .getImageData(0, 0, 4, 4).data.join();
  const plain = pixels();
  document.getElementById("errors").click(); await wait();
  out.marked = pixels() !== plain;
  document.querySelectorAll("#images tbody tr")[0].click(); await wait();
  out.right = document.getElementById("right").value;
  document.getElementById("theme").click();
  out.theme = document.documentElement.dataset.theme;
  document.body.replaceChildren(document.createTextNode("RESULT" + JSON.stringify(out) + "END"));
}, 500));
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_lives_in_a_browser(page, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page.replace("</body>", ACT + "</body>"))
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(
                "--disable-quic",
                f"--user-data-dir={tmp_path}/profile",
                "--virtual-time-budget=8000",
            ),
            *("--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(re.search(r"RESULT(.*?)END", done.stdout, re.DOTALL)[1])
    assert found == {
        "rows": 4,
        "falling": ["33.40", "32.40", "31.90", "30.90"],
        "rising": ["30.90", "31.90", "32.40", "33.40"],
        "sorted": "ascending",
        "plots": 2,
        "crops": 4,
        "cut": "20%",
        "moved": True,
        "marked": True,
        "right": "mambair-tiny-sr-x4",
        "theme": "dark",
    }
