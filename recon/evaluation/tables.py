"""Tables of scores: method by number of views, `face / head` in mm, one table for each protocol."""

import csv
import io
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.evaluation import official, strict
from recon.evaluation.batch import Score
from recon.evaluation.published import ROWS, PublishedRow

_PROTOCOLS = {"official": official.PROTOCOL, "strict": strict.PROTOCOL}
_PARTS = ("face", "head")


@dataclass(frozen=True)
class Cell:
    """Statistics of one method at one number of views.

    Attributes:
        scenes: How many scenes it has.
        mean: Face and head, mm, mean over the scenes whose truth allows it; NaN where none does.
        std: Likewise, standard deviation over scenes (population).
        ears: Ears, mm, mean over the scenes whose truth shows them; None without any.
    """

    scenes: int
    mean: tuple[float, float]
    std: tuple[float, float]
    ears: float | None = None

    def text(self) -> str:
        """Face / head, and / ears where there are any, mm."""
        return _pair(self.mean) + ("" if self.ears is None else f" / {self.ears:.2f}")


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        method: Name of the method.
        protocol: Full name of the protocol.
        data: Name of the data.
        cells: Statistics by number of views.
    """

    method: str
    protocol: str
    data: str
    cells: dict[int, Cell]


def parts_of(table: Iterable[Row]) -> str:
    """What the numbers of a table's cells are, in words."""
    ears = any(cell.ears is not None for row in table for cell in row.cells.values())
    return "face / head" + (" / ears (of the subjects that show them)" if ears else "")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table; cells that are None are empty."""
    lines = [header, *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    written = ["| " + " | ".join(line) + " |" for line in lines]
    return [written[0], "|" + "---|" * len(header), *written[1:]]


def rows(scores: Iterable[Score], mode: str, data: str) -> list[Row]:
    """Computes the lines of our own scores under one protocol, by method.

    Args:
        scores: Those with an error are left out.
        mode: `official` or `strict`.
        data: Name of the data, for the table.
    """
    values: dict[str, dict[int, list[tuple[float, float, float]]]] = {}
    for score in scores:
        numbers = score.numbers.get(mode) if score.error is None else None
        if numbers:
            face, head, ears = (
                numbers.get(part, {}).get("mean_mm", np.nan) for part in ("face", "head", "ears")
            )
            errors = (face, head, ears)
            values.setdefault(score.job.method, {}).setdefault(score.job.views, []).append(errors)
    return [
        Row(
            method,
            _PROTOCOLS[mode],
            data,
            {views: _cell(errors) for views, errors in sorted(by_views.items())},
        )
        for method, by_views in sorted(values.items())
    ]


def _cell(errors: list[tuple[float, float, float]]) -> Cell:
    """Statistics of face, head and ears, each over the scenes whose truth allows it; NaN where none does."""
    face, head, ears = (column[~np.isnan(column)] for column in np.array(errors).T)
    mean = tuple(float(known.mean()) if len(known) else np.nan for known in (face, head))
    std = tuple(float(known.std()) if len(known) else np.nan for known in (face, head))
    return Cell(len(errors), (mean[0], mean[1]), (std[0], std[1]), float(ears.mean()) if len(ears) else None)


def published_rows(releases: Collection[str]) -> list[PublishedRow]:
    """The published lines of some releases."""
    return [row for row in ROWS if row.release in releases]


@dataclass(frozen=True)
class Report:
    """The report of a scoring run, as text, Markdown, CSV or JSON.

    Attributes:
        scores: All of them, failures too.
        data: Name of the data.
        expected: Number of scenes that a complete line has; without it, as many as the fullest cell.
        releases: H3DS releases whose published results stand beside ours.
    """

    scores: Sequence[Score]
    data: str
    expected: int | None = None
    releases: Collection[str] = ("config_v1", "config_v2")

    @property
    def failed(self) -> list[Score]:
        """Meshes without a number."""
        return [score for score in self.scores if score.error is not None]

    def text(self) -> str:
        """For the terminal."""
        blocks = []
        for title, lines in self._sections():
            widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
            padded = [
                "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
                for line in lines
            ]
            blocks.append("\n".join([title, *padded]))
        return "\n\n".join([*blocks, *self._notes()]) + "\n"

    def markdown(self) -> str:
        """The same tables as Markdown."""
        blocks = []
        for title, lines in self._sections():
            blocks.append("\n".join([f"**{title}**", "", *markdown_table(lines[0], lines[1:])]))
        return "\n\n".join([*blocks, *self._notes()]) + "\n"

    def csv(self) -> str:
        """One line for each mesh, protocol and region, with all diagnostics; failures with their error."""
        lines: list[dict[str, Any]] = []
        for score in self.scores:
            head = {"method": score.job.method, "scene": score.job.scene, "views": score.job.views}
            if score.error is not None:
                lines.append({**head, "error": score.error})
            for regions in score.numbers.values():
                lines += [{**head, **numbers, "region": label} for label, numbers in regions.items()]
        names = list(dict.fromkeys(name for line in lines for name in line))
        out = io.StringIO()
        writer = csv.DictWriter(out, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return out.getvalue()

    def json(self) -> str:
        """Tables, single scores, warnings and failures."""
        content = {
            "data": self.data,
            "table": [
                {
                    "method": row.method,
                    "protocol": row.protocol,
                    "data": row.data,
                    "views": {str(v): _cell_json(cell) for v, cell in row.cells.items()},
                }
                for mode in _PROTOCOLS
                for row in rows(self.scores, mode, self.data)
            ],
            "published": [
                {
                    "method": row.method,
                    "protocol": row.protocol,
                    "data": _scenes_of(row),
                    "views": {
                        str(v): dict(zip(_PARTS, pair, strict=True)) for v, pair in row.errors_mm.items()
                    },
                }
                for row in published_rows(self.releases)
            ],
            "scores": [
                {
                    "method": score.job.method,
                    "scene": score.job.scene,
                    "views": score.job.views,
                    "file": str(score.job.path),
                    **score.numbers,
                    "warnings": list(score.warnings),
                    "error": score.error,
                }
                for score in self.scores
            ],
        }
        return json.dumps(content, indent=1) + "\n"

    def _sections(self) -> list[tuple[str, list[list[str]]]]:
        sections = []
        ours = rows(self.scores, "official", self.data)
        published = published_rows(self.releases)
        views = sorted(
            {v for row in ours for v in row.cells} | {v for row in published for v in row.errors_mm}
        )
        if ours or published:
            lines = [["method", "protocol", "data", *map(_views, views)]]
            lines += [_line(row, views, self.expected) for row in ours]
            for row in published:
                cells = [
                    f"{row.errors_mm[v][0]:.2f} / {row.errors_mm[v][1]:.2f}" if v in row.errors_mm else ""
                    for v in views
                ]
                lines.append([f"{row.method} (published)", row.protocol, _scenes_of(row), *cells])
            sections.append(("Face / head in mm, mean over scenes, official protocol", lines))
        strictly = rows(self.scores, "strict", self.data)
        if strictly:
            views = sorted({v for row in strictly for v in row.cells})
            lines = [
                ["method", "protocol", "data", *map(_views, views)],
                *(_line(row, views, self.expected) for row in strictly),
            ]
            sections.append(
                (
                    f"{parts_of(strictly).capitalize()} in mm, mean over scenes, strict protocol (not comparable "
                    "with the above)",
                    lines,
                )
            )
        if any(score.error is None for score in self.scores):
            sections.append((f"Each scene, {parts_of(strictly)} in mm", self._per_scene()))
        return sections

    def _per_scene(self) -> list[list[str]]:
        modes = [mode for mode in _PROTOCOLS if any(mode in score.numbers for score in self.scores)]
        lines = [["method", "views", "scene", *modes]]
        good = sorted(
            (s for s in self.scores if s.error is None),
            key=lambda s: (s.job.method, s.job.views, s.job.scene),
        )
        groups = list(dict.fromkeys((s.job.method, s.job.views) for s in good))
        for method, views in groups:
            members = [s for s in good if (s.job.method, s.job.views) == (method, views)]
            for score in members:
                own = [row.cells[views].text() for mode in modes for row in rows([score], mode, "")]
                lines.append([method, str(views), score.job.scene, *own])
            if len(members) > 1:
                cells = [
                    next(r for r in rows(members, mode, "") if r.method == method).cells[views]
                    for mode in modes
                ]
                lines.append([method, str(views), "mean", *(cell.text() for cell in cells)])
                lines.append([method, str(views), "standard deviation", *(_pair(cell.std) for cell in cells)])
        return lines

    def _notes(self) -> list[str]:
        failed = [
            f"not scored: {s.job.method}, {s.job.scene}, {s.job.views} views: {s.error}" for s in self.failed
        ]
        note = "The published rows are means over the scenes that they name: compare only on the same scenes."
        return [*failed, note] if self.releases else failed


def _views(count: int) -> str:
    return f"{count} view{'s' if count > 1 else ''}"


def _scenes_of(row: PublishedRow) -> str:
    return f"H3DS {row.release.removeprefix('config_')}, {row.scenes}"


def _line(row: Row, views: list[int], expected: int | None) -> list[str]:
    most = expected or max(cell.scenes for cell in row.cells.values())
    cells = []
    for v in views:
        cell = row.cells.get(v)
        text = cell.text() if cell else ""
        cells.append(f"{text} ({cell.scenes} of {most})" if cell and cell.scenes != most else text)
    return [row.method, row.protocol, f"{row.data}, {most} scene{'s' if most > 1 else ''}", *cells]


def _pair(pair: Sequence[float]) -> str:
    return " / ".join("–" if np.isnan(value) else f"{value:.2f}" for value in pair)


def _cell_json(cell: Cell) -> dict[str, Any]:
    named = {
        part: {"mean": None if np.isnan(m) else m, "std": None if np.isnan(s) else s}
        for part, m, s in zip(_PARTS, cell.mean, cell.std, strict=True)
    }
    return {"scenes": cell.scenes, **named} | ({} if cell.ears is None else {"ears": {"mean": cell.ears}})
