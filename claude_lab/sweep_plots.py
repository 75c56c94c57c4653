"""Figures of experiments: the map of a sweep, cost against wait, every attempt, the wait's survival, the pulse.

Plain arrays, or a model's rows, in; matplotlib figures out; colors and frames are those of `plots`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from claude_lab import palette
from claude_lab.plots import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from claude_lab.model import Row

BLUE, RED = palette.BLUE[0], palette.ORANGE[0]
MAP = "cividis"
"""A color map that reads the same to color-blind eyes and in gray."""
ON_DARK, ON_BRIGHT, CONTOUR = "#fafafa", "#101010", "#d1500a"
"""What is written on the map, and its lines: the same on every page, as its colors are."""
Table = npt.NDArray[np.float64]


def heatmap(
    values: Table,
    *,
    x: tuple[str, Sequence[Any]],
    y: tuple[str, Sequence[Any]],
    name: str,
    goal: float | None = None,
    lower: bool = False,
    bounds: tuple[Table, Table] | None = None,
    title: str = "",
) -> Figure:
    """Draw a metric over two axes, each a (name, values); cells that meet a `goal` are outlined.

    With `lower` a cell meets it from below. Cells whose `bounds` (low, high) lie on both sides of the goal are
    hatched: more days would have to decide.
    """
    from matplotlib.patches import Rectangle  # matplotlib takes half a second

    figure, (axes,) = new_figure(1, height=0.9 + 0.36 * len(y[1]))
    shown = np.ma.masked_invalid(values)
    image = axes.imshow(shown, origin="lower", aspect="auto", cmap=MAP)
    axes.set_facecolor("#dddddd")
    axes.set_xticks(range(len(x[1])), [f"{each:g}" if isinstance(each, float) else str(each) for each in x[1]])
    axes.set_yticks(range(len(y[1])), [str(each) for each in y[1]])
    axes.set(xlabel=x[0], ylabel=y[0], title=title or name)
    figure.colorbar(image, ax=axes, label=name)
    met = np.zeros(values.shape, dtype=bool) if goal is None else values <= goal if lower else values >= goal
    for row, column in np.ndindex(*values.shape):
        middle = "-" if not math.isfinite(values[row, column]) else f"{values[row, column]:.3g}"
        dark = middle != "-" and float(np.asarray(image.norm(values[row, column]))) < 0.6
        axes.text(column, row, middle, ha="center", va="center", size=7, color=ON_DARK if dark else ON_BRIGHT)
        if goal is None:
            continue
        corner, size = (column - 0.5, row - 0.5), 1
        if bounds is not None and bounds[0][row, column] < goal <= bounds[1][row, column]:
            axes.add_patch(Rectangle(corner, size, size, fill=False, hatch="///", edgecolor=ON_DARK, linewidth=0))
        if met[row, column]:
            outline(axes, met, row, column)
    return figure


def outline(axes: Any, inside: npt.NDArray[np.bool_], row: int, column: int) -> None:
    """Draw the sides of a cell beyond which the goal is missed: together they are its contour."""
    sides = {(0, -1): (-0.5, -0.5, -0.5, 0.5), (0, 1): (0.5, 0.5, -0.5, 0.5)}
    sides |= {(-1, 0): (-0.5, 0.5, -0.5, -0.5), (1, 0): (-0.5, 0.5, 0.5, 0.5)}
    for (up, right), (left, to, bottom, top) in sides.items():
        at = row + up, column + right
        if not (0 <= at[0] < inside.shape[0] and 0 <= at[1] < inside.shape[1]) or not inside[at]:
            axes.plot([column + left, column + to], [row + bottom, row + top], color=CONTOUR, linewidth=2.2)


def front(cost: Table, wait: Table) -> npt.NDArray[np.bool_]:
    """Tell which settings no other beats in both cost and wait."""
    order = np.lexsort((wait, cost))
    best = np.minimum.accumulate(wait[order])
    first = np.concatenate([[True], best[1:] < best[:-1]])
    on = np.zeros(len(cost), dtype=bool)
    on[order[first & np.isfinite(wait[order])]] = True
    return on


def pareto(
    cost: Table, wait: Table, success: Table, *, chosen: tuple[float, float, str] | None = None, title: str = ""
) -> Figure:
    """Draw every setting: attempts per success against the 95th percentile's wait, colored by success.

    `chosen` is a point (cost, wait, label) to point out.
    """
    figure, (axes,) = new_figure(1, height=4)
    seen = np.isfinite(cost) & np.isfinite(wait)
    points = axes.scatter(
        cost[seen], wait[seen], c=success[seen], cmap=MAP, s=22, edgecolors=palette.SLATE[0], linewidths=0.5
    )
    edge = np.flatnonzero(front(cost, wait) & seen)
    edge = edge[np.argsort(cost[edge])]
    axes.step(cost[edge], wait[edge], where="post", color=RED, linewidth=1)
    figure.colorbar(points, ax=axes, label="success")
    if chosen is not None:
        axes.plot(*chosen[:2], "*", color=RED, markersize=14)
        axes.annotate(chosen[2], chosen[:2], (8, 8), textcoords="offset points", color=RED)
    missing = int((~seen).sum())
    note = f"{missing} settings are not shown: more than 1 call in 20 fails" if missing else ""
    axes.set(xlabel="attempts per success", ylabel="p95 to first token, seconds", title=title)
    axes.text(0.99, 0.01, note, transform=axes.transAxes, ha="right", size=7, color=palette.SLATE[0])
    return figure


def choice(
    cost: Table,
    wait: Table,
    meets: npt.NDArray[np.bool_],
    *,
    chosen: int | None,
    axes: tuple[str, str],
    title: str,
    note: str = "",
) -> Figure:
    """Draw settings by cost and wait: those that meet a goal filled and their front joined, the others hollow.

    `chosen` is the place of one of them; `axes` name what is counted; the `note` stands below.
    """
    figure, (frame,) = new_figure(1, height=4.2)
    edge = np.flatnonzero(meets)[front(cost[meets], wait[meets])]
    edge = edge[np.argsort(cost[edge])]
    line = "for each wait the cheapest that meets it"
    frame.step(cost[edge], wait[edge], where="post", color=BLUE, linewidth=1.2, label=line)
    frame.plot(cost[meets], wait[meets], "o", color=BLUE, label="meets the goal")
    frame.plot(cost[~meets], wait[~meets], "o", color=palette.SLATE[0], fillstyle="none", label="misses the goal")
    if chosen is not None:
        at = cost[chosen], wait[chosen]
        frame.plot(*at, "*", color=RED, markersize=17, zorder=5, label="chosen")
        told = f"{at[0]:.4g} attempts, {at[1]:.4g} s"
        frame.annotate(told, at, (10, -14), textcoords="offset points", color=RED, size=9)
    frame.margins(0.08, 0.16)
    frame.set(xlabel=axes[0], ylabel=axes[1], title=title)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, title=note, title_fontsize=8, fontsize=9)
    return figure


def raster(times: Sequence[Sequence[float]], served: Sequence[bool], *, outage: float = 0.0, title: str = "") -> Figure:
    """Draw every attempt as a dot, one line a call: lockstep shows as waves, jitter as fog.

    `times` are each call's attempts in seconds; its last one is blue when it was `served`. The `outage` is shaded.
    """
    figure, (axes,) = new_figure(1, height=3.6)
    failed = [(at, call) for call, own in enumerate(times) for at in (own[:-1] if served[call] else own)]
    won = [(own[-1], call) for call, own in enumerate(times) if served[call]]
    for points, color, label in ((failed, RED, "failed attempt"), (won, BLUE, "success")):
        if points:
            axes.plot(*zip(*points, strict=True), ".", color=color, markersize=2.5, label=label, rasterized=True)
    if outage:
        axes.axvspan(0, outage, color="#8a8f98", alpha=0.2, linewidth=0)
    axes.set(xlabel="seconds", ylabel="call", title=title)
    if axes.lines:
        figure.legend(loc="outside lower center", ncols=2, markerscale=4, frameon=False)
    return figure


def every_attempt(rows: Sequence[Row], *, outage: float = 0.0, title: str = "") -> Figure:
    """Draw the raster of a day's rows."""
    return raster([row.times for row in rows], [row.outcome == "ok" for row in rows], outage=outage, title=title)


def survival(waits: Mapping[str, Sequence[float]], *, limit: float | None = None, title: str = "") -> Figure:
    """Draw which share of calls still waits for its first token after so many seconds; failures wait for ever."""
    figure, (axes,) = new_figure(1, height=3.4)
    colors = palette.shades_of(waits)
    for label, own in waits.items():
        ordered = np.sort(np.asarray(own, dtype=np.float64))
        finite = ordered[np.isfinite(ordered)]
        left = 1 - np.arange(1, len(finite) + 1) / len(ordered)
        color = colors[label][0]
        axes.step(np.concatenate([[0.0], finite]), np.concatenate([[1.0], left]), where="post", color=color)
        if len(finite):
            axes.annotate(label, (finite[-1], left[-1]), (4, 4), textcoords="offset points", color=color)
    if limit is not None:
        axes.axvline(limit, color="#8a8f98", linestyle=":")
    axes.set(xlabel="seconds from arrival", ylabel="still without a first token", ylim=(0, 1.02), title=title)
    return figure


def pulse(
    load: Mapping[str, Sequence[float]], *, capacity: float = 0.0, outage: float = 0.0, title: str = ""
) -> Figure:
    """Draw attempts in each second, one frame a policy, with the line of what the limits let through."""
    figure, grid = new_figure(len(load), height=0.6 + 1.5 * len(load))
    colors = palette.shades_of(load)
    for axes, (label, own) in zip(grid, load.items(), strict=True):
        counts = list(own)[: max((second for second, count in enumerate(own) if count), default=0) + 1]
        axes.bar(range(len(counts)), counts, width=1.0, align="edge", color=colors[label][0])
        axes.set_title(label, loc="left", size=9, color=colors[label][0])
        axes.set_ylabel("attempts / s", size=8)
        if capacity:
            axes.axhline(capacity, color=palette.INK[0], linestyle="--", linewidth=1)
        if outage:
            axes.axvspan(0, outage, color="#8a8f98", alpha=0.2, linewidth=0)
    grid[-1].set_xlabel("seconds")
    if title:
        figure.suptitle(title)
    return figure
