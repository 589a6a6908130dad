# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report: everything is on the page, nothing is fetched, and names cannot break it."""

from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser
import json
import re

from mvreg_ros.data.merge import fragment_colors
from mvreg_ros.evaluation.top_view import top_view, vertical
from mvreg_ros.parameters import defaults
from mvreg_ros.reasons import REASONS
from mvreg_ros.report.histograms import histogram, round_up
from mvreg_ros.report.registration import confidence_color, report_html, residuals
from mvreg_ros.types import Fragment, Registration
import numpy as np
import pytest
from results import made_up_registration, NOT_PLACED
from scipy.spatial.transform import Rotation

VOID = {'meta', 'input', 'link'}
FRAGMENTS, REGISTRATION = made_up_registration()


class Page(HTMLParser):
    """Collects the elements of a page, each with its text, and demands that tags are closed."""

    def __init__(self, html: str) -> None:
        """Parse the page."""
        super().__init__()
        self.open: list[dict] = []
        self.elements: list[dict] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list) -> None:
        element = {'tag': tag, 'text': '', **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append({'tag': tag, 'text': '', **dict(attrs)})

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()['tag'] == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element['text'] += data

    def all(self, tag: str, **attributes: str) -> list[dict]:
        """Return the elements with a tag and attributes."""
        return [e for e in self.elements if e['tag'] == tag
                and all(e.get(name) == value for name, value in attributes.items())]


@pytest.fixture(scope='module')
def page() -> Page:
    """Return the parsed report of the made-up registration."""
    return Page(report_html(FRAGMENTS, REGISTRATION, defaults()))


def pictures(page: Page) -> dict:
    """Return what the script of the page draws."""
    script, = page.all('script')
    return json.loads(re.search(r'const pictures = (.*);\n', script['text']).group(1))


def test_nothing_is_fetched(page: Page) -> None:
    for element in page.elements:
        assert not {'src', 'srcset', 'action'} & set(element), element
        assert element.get('href', 'data:,') == 'data:,'  # no icon, and none asked for
    assert 'url(' not in page.all('style')[0]['text']


def test_what_came_from_outside_is_text(page: Page) -> None:
    cells = [e['text'] for e in page.all('td')]
    assert FRAGMENTS[4].frame_id in cells and NOT_PLACED in cells
    assert len(page.all('script')) == 1 and not [b for b in page.all('b') if b['text'] == 'was']


def test_the_numbers_are_there(page: Page) -> None:
    assert page.all('h1')[0]['text'] == '5 of 6 fragments placed'
    numbers, = page.all('div', id='numbers')
    assert [text.strip() for text in numbers['text'].split('\n') if text.strip()] == [
        '2components', '2edges kept', '1only links', '1edges rejected', '7.8 sof work']


def test_edges_and_fragments_say_what_they_are(page: Page) -> None:
    titles = [title['text'] for title in page.all('title')]
    assert '0 – 1: kept, confidence 0.99, 300 inliers, 0.0 cm and 0.0° off' in titles
    assert ('1 – 3: bridge, confidence 0.60, 40 inliers, 0.0 cm and 0.0° off: '
            f"{REASONS['low_confidence']}") in titles
    assert '3 camera_3' in titles
    assert len(page.all('circle')) == 10  # each on the map and in the graph
    assert [group['class'] for group in page.all('g') if 'class' in group] == [
        'bridge', 'kept', 'kept']
    strokes = [line['stroke'] for line in page.all('line') if 'stroke' in line]
    assert strokes == [confidence_color(c) for c in (0.6, 0.99, 0.91)]


def test_edge_table_has_all_edges(page: Page) -> None:
    cells = [cell['text'] for cell in page.all('td')]
    T = REGISTRATION.edges.T_i_j[0]
    angle = np.degrees(Rotation.from_matrix(T[:3, :3]).magnitude())
    pose = [f'{np.linalg.norm(T[:3, 3]):.2f}', f'{angle:.1f}']
    assert cells[-40:-30] == ['0', '1', 'kept', '0.990', '300', *pose, '0.0', '0.0', '']
    assert cells[-10:-6] == ['0', '4', 'pruned', '0.200']
    assert cells[-3:] == ['', '', REASONS['inconsistent']]  # to a fragment without a pose


def test_a_rejected_edge_within_a_component_is_drawn_grey_and_first() -> None:
    verdict = REGISTRATION.edges.verdict.copy()
    verdict[1] = 'pruned'
    registration = replace(REGISTRATION, edges=replace(REGISTRATION.edges, verdict=verdict))
    page = Page(report_html(FRAGMENTS, registration, defaults()))
    assert [group['class'] for group in page.all('g') if 'class' in group] == [
        'pruned', 'kept', 'kept']
    assert ['stroke' in line for line in page.all('line')] == [
        False, False, True, False, True, False]


def test_pictures_hold_the_points(page: Page) -> None:
    found = pictures(page)
    assert list(found) == ['before', 'map-0', 'map-1']
    assert [c['data-picture'] for c in page.all('canvas')] == [
        'before', 'map-0', 'map-0', 'map-1', 'map-1']
    for name, members in (('map-0', {0, 1, 3}), ('map-1', {2, 5})):
        ids = np.frombuffer(base64.b64decode(found[name]['ids']), '<u2')
        assert set(ids.tolist()) == members and len(ids) > 700
    before = found['before']
    xy = np.frombuffer(base64.b64decode(before['xy']), '<i2').reshape(-1, 2)
    assert len(xy) == 6 * 400 and max(before['width'], before['height']) == \
        pytest.approx(np.ptp(xy, axis=0).max() / 15000 * max(before['width'], before['height']),
                      rel=0.1)


def test_circles_lie_where_the_fragments_are(page: Page) -> None:
    spots = np.array([[float(c['cx']), float(c['cy'])] for c in page.all('circle')[:3]])
    positions = REGISTRATION.poses[[0, 1, 3], :3, 3]
    flat = np.linalg.norm(spots[0] - spots[1])
    assert 0 < flat <= np.linalg.norm(positions[0] - positions[1]) + 1e-2


def test_the_way_goes_through_the_fragments_by_their_stamps(page: Page) -> None:
    spots = {circle['fill']: f"{circle['cx']},{circle['cy']}" for circle in page.all('circle')}
    ways = [line['points'].split() for line in page.all('polyline')]
    # The stamps of 0, 1 and 3 are 7 s, 3.5 s and years.
    colors = [f'#{r:02x}{g:02x}{b:02x}' for r, g, b in fragment_colors(6)]
    assert ways[0] == [spots[colors[id]] for id in (1, 0, 3)]


def test_an_unplaced_fragment_is_shown_with_what_came_nearest(page: Page) -> None:
    table, = page.all('table', id='unplaced')
    assert 'to 0:' in table['text'] and 'confidence 0.20, 3 inliers' in table['text']
    assert REASONS['inconsistent'] in table['text']


def test_residuals_are_what_edges_and_poses_disagree_by() -> None:
    T = REGISTRATION.edges.T_i_j.copy()
    T[0] = T[0] @ np.block([
        [Rotation.from_rotvec([0, 0, 0.1]).as_matrix(), np.array([[0.3], [0], [0.4]])],
        [np.array([[0, 0, 0, 1]])]])
    moved = replace(REGISTRATION, edges=replace(REGISTRATION.edges, T_i_j=T))
    distance, angle = residuals(moved)
    np.testing.assert_allclose(distance, [0.5, 0, 0, np.nan], atol=1e-9)
    np.testing.assert_allclose(angle, [np.degrees(0.1), 0, 0, np.nan], atol=1e-4)


def test_a_histogram_counts_everything_once() -> None:
    values = np.array([0.05, 0.15, 0.15, 9.0, np.nan, 2.0])
    used = np.array([True, True, False, False, True, True])
    found = histogram('distance', 'm', values, used, top=2.0)
    bars = [(bar['used'], bar['pruned']) for bar in found['bars']]
    assert bars[:2] == [(1, 0), (1, 1)] and bars[-1] == (1, 1) and len(bars) == 20
    assert np.sum(bars) == 5
    assert histogram('distance', 'm', values, used)['top'] == 5.0
    assert histogram('distance', 'm', values[:0], used[:0])['top'] == 1.0
    assert [round_up(x) for x in (0.0, 1.0, 1.1, 3, 5, 70)] == [1, 1, 2, 5, 5, 100]


def test_a_registration_of_nothing_has_a_page() -> None:
    fragments = [Fragment(np.zeros((5, 3), np.float32), id=k) for k in range(2)]
    nothing = Registration(
        poses=np.full((2, 4, 4), np.nan), placed=np.zeros(2, bool), component=np.array([-1, -1]),
        covariances=np.full((2, 6, 6), np.nan),
        edges=REGISTRATION.edges.select(np.zeros(0, np.int64)),
        reason=np.array(['no_link', 'no_link'], object), seconds={})
    page = Page(report_html(fragments, nothing, defaults()))
    assert page.all('h1')[0]['text'] == '0 of 2 fragments placed' and not page.all('circle')


def room(size: tuple[float, float, float]) -> np.ndarray:
    """Return points on the floor, the walls and a table of a room with z up."""
    rng = np.random.default_rng(0)
    x, y, _ = size
    faces = [rng.uniform(0, 1, (3000, 3)) * size for _ in range(4)]
    faces[0][:, 2], faces[1][:, 0], faces[2][:, 1] = 0, 0, y
    faces[3] = faces[3] * [0.3, 0.3, 0] + [x / 3, y / 3, 0.8]
    return np.concatenate(faces) + rng.normal(0, 0.003, (12000, 3))


@pytest.mark.parametrize('size', [(6, 4, 2.5), (3, 3, 2.6)])
def test_the_vertical_of_a_room_is_found(size: tuple[float, float, float]) -> None:
    for tilt in Rotation.random(5, random_state=1):
        up = vertical(room(size) @ tilt.as_matrix().T)
        assert abs(up @ tilt.as_matrix()[:, 2]) > np.cos(np.radians(1))


def test_the_view_is_from_above_and_not_mirrored() -> None:
    camera = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # z up to y down, z forward
    tilt = Rotation.from_euler('x', 12, degrees=True).as_matrix()
    for frame, up in ((np.eye(3), [0, 0, 1]), (tilt @ camera, [0, -1, 0])):
        R = top_view(room((6, 4, 2.5)) @ frame.T)
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(R) == pytest.approx(1)
        assert R[2] @ frame[:, 2] > np.cos(np.radians(1))
        assert R[2] @ up > 0.95
        np.testing.assert_allclose(R[0], [1, 0, 0], atol=0.02)


def test_confidence_runs_from_red_to_blue() -> None:
    assert [confidence_color(c) for c in (0, 0.5, 1)] == ['#d7301f', '#f2a93b', '#2166ac']
