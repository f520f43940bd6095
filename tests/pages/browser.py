"""A headless Chromium for tests of pages; where there is none, the tests skip and say so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DESKTOP, PHONE = (1280, 900), (390, 844)


class Browser:
    """Opens pages from a disk, and collects what they complain of."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, *, size: tuple[int, int] = DESKTOP, dark: bool = False) -> None:
        """Open a page, in a window of a size, and wait until its script has run."""
        width, height = size
        self.command(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.command("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get(page.resolve().as_uri())

    def command(self, name: str, values: dict[str, Any]) -> Any:
        """Send a command of the browser's own protocol."""
        return self.driver.execute_cdp_cmd(name, values)

    def run(self, code: str, *arguments: Any) -> Any:
        """Run code beside the page, which is bound by its policy all the same, and return what it returns."""
        return self.driver.execute_script(code, *arguments)

    def keys(self, *keys: str) -> None:
        """Press keys where the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def click(self, selector: str) -> None:
        """Click on something."""
        self.driver.find_element("css selector", selector).click()

    def texts(self, selector: str) -> list[str]:
        """Return the texts of what a selector finds."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector
        )
        return found

    def complaints(self) -> list[str]:
        """Return errors and violations of the policy since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def faults(self) -> list[str]:
        """Return what axe finds wrong for people with disabilities; skips the test where there is no axe."""
        file = os.environ.get("VIDCNN_AXE") or _global_axe()
        if file is None or not Path(file).is_file():
            pytest.skip("no axe-core: npm install --global axe-core, or name its axe.min.js in VIDCNN_AXE")
        self.command("Runtime.evaluate", {"expression": Path(file).read_text(), "allowUnsafeEvalBlockedByCSP": True})
        result = self.command(
            "Runtime.evaluate",
            {
                "expression": "axe.run().then((found) => JSON.stringify(found.violations))",
                "awaitPromise": True,
                "returnByValue": True,
                "allowUnsafeEvalBlockedByCSP": True,
            },
        )
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in json.loads(result["result"]["value"])
            for node in one["nodes"]
        ]


def _global_axe() -> str | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    root = subprocess.run([npm, "root", "--global"], capture_output=True, text=True, check=False).stdout.strip()
    return str(Path(root) / "axe-core" / "axe.min.js")


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start a browser, with its profile in a folder; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install selenium")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={folder}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()
