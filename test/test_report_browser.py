# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser, on a laptop and on a phone: nothing in its console, all there."""

from __future__ import annotations

import html
import json
from pathlib import Path
import re
import shutil
import subprocess
from typing import Any

from mvreg_ros.parameters import defaults
from mvreg_ros.reasons import REASONS
from mvreg_ros.report.registration import report_html
import numpy as np
import pytest
from results import made_up_registration

# Without the last four it calls home.
OPTIONS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--enable-logging=stderr',
    '--disable-quic', '--disable-background-networking', '--disable-component-update',
    '--disable-sync')
# Asks the browser what is under the pointer at the middle of each edge, and how wide the page is.
PROBE = """<script>
window.addEventListener('load', () => {
  const under = (element) => {
    element.scrollIntoView({block: 'center'});
    const box = element.getBoundingClientRect();
    const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return hit.closest('g, circle').querySelector('title').textContent;
  };
  const ink = (canvas) => canvas.getContext('2d').getImageData(
    0, 0, canvas.width, canvas.height).data.some((value) => value > 0);
  const probe = document.createElement('pre');
  probe.id = 'probe';
  probe.textContent = JSON.stringify({
    edges: [...document.querySelectorAll('.graph g')].map(under),
    drawn: [...document.querySelectorAll('canvas')].map(ink),
    page: document.documentElement.scrollWidth, window: window.innerWidth,
    alerts: document.querySelectorAll('td script').length,
  });
  document.body.append(probe);
});
</script>"""


@pytest.fixture(scope='module')
def browser() -> str:
    """Return the command of Chromium; make test installs it where it may."""
    found = next(filter(None, map(shutil.which, (
        'chromium', 'chromium-browser', 'google-chrome'))), None)
    if found is None:
        pytest.skip('there is no Chromium here: apt-get install chromium')
    return found


def opened(browser: str, folder: Path, page: str, width: int) -> tuple[dict[str, Any], list[str]]:
    """Open a page in a window of so many pixels; return what the probe saw, and the console."""
    file = folder / 'report.html'
    file.write_text(page + PROBE, encoding='utf-8')
    done = subprocess.run(
        [browser, *OPTIONS, f'--user-data-dir={folder}', f'--window-size={width},900',
         '--dump-dom', file.as_uri()], capture_output=True, text=True, timeout=600, check=True)
    found = re.search('<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    console = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
    return json.loads(html.unescape(found.group(1))), console


@pytest.mark.parametrize('width', [1280, 500])
def test_the_report_in_a_browser(browser: str, tmp_path: Path, width: int) -> None:
    fragments, registration = made_up_registration()
    edges = registration.edges
    edges.verdict[1], edges.reason[1] = 'pruned', 'doubted'
    seen, console = opened(
        browser, tmp_path, report_html(fragments, registration, defaults()), width)
    assert console == []
    assert seen['page'] <= seen['window']  # nothing to scroll sideways
    assert seen['drawn'] == [True] * 5
    assert seen['alerts'] == 0  # a frame is called like a script
    assert len(seen['edges']) == np.count_nonzero(registration.component[edges.j] >= 0)
    assert ('1 – 3: pruned, confidence 0.60, 40 inliers, 0.0 cm and 0.0° off: '
            + REASONS['doubted']) in seen['edges']


def test_an_error_in_the_console_would_be_seen(browser: str, tmp_path: Path) -> None:
    page = report_html(*made_up_registration(), defaults())
    _, console = opened(
        browser, tmp_path, page.replace('drawAll();\n</script>', 'drawNone();\n</script>'), 800)
    assert any('drawNone is not defined' in line for line in console)
