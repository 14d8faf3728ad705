#!/usr/bin/env python3
"""Draws what `candor bench MODEL --cost --json` measured: seconds against size on logarithmic axes, with the exponent.

usage: cost.py COST.json [-o PICTURE.svg]      (standard library only)
"""
import argparse
import json
import math
import pathlib
import sys

WIDTH, HEIGHT, LEFT, TOP = 300, 220, 52, 34


def ticks(low, high):
    """Powers of ten, and 2 and 5 times them where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if len(powers) > 3 else (1, 2, 5)
    return [m * 10.0**p for p in powers for m in steps if low * 0.999 <= m * 10.0**p <= high * 1.001]


def panel(curve, x0, y0):
    sizes, seconds = curve["sizes"], curve["seconds"]
    right, bottom = x0 + WIDTH - 14, y0 + HEIGHT - 34
    left, top = x0 + LEFT, y0 + TOP
    low_x, high_x = min(sizes), max(sizes)
    low_y, high_y = min(seconds) / 1.5, max(seconds) * 1.5

    def x(v):
        return left + (right - left) * math.log(v / low_x) / math.log(high_x / low_x)

    def y(v):
        return bottom - (bottom - top) * math.log(v / low_y) / math.log(high_y / low_y)

    out = [f'<text x="{left}" y="{y0 + 20}" class="title">{curve["name"]}: time ~ size<tspan dy="-5" font-size="9">'
           f'{curve["exponent"]:.2f}</tspan></text>', f'<path d="M{left} {top}V{bottom}H{right}" class="axis"/>']
    for tick in ticks(low_y, high_y):
        out.append(f'<path d="M{left} {y(tick):.1f}H{right}" class="grid"/><text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">'
                   f'{tick:g} s</text>')
    for size in sizes:
        out.append(f'<text x="{x(size):.1f}" y="{bottom + 16}" text-anchor="middle">{size:g}</text>')
    middle = math.exp(sum(map(math.log, seconds)) / len(seconds)), math.exp(sum(map(math.log, sizes)) / len(sizes))
    fit = [(s, middle[0] * (s / middle[1]) ** curve["exponent"]) for s in (low_x, high_x)]
    out.append('<path d="M' + "L".join(f"{x(s):.1f} {y(t):.1f}" for s, t in fit) + '" class="fit"/>')
    for size, second, gflops in zip(sizes, seconds, curve["gflops"]):
        out.append(f'<circle cx="{x(size):.1f}" cy="{y(second):.1f}" r="3.5"><title>{size:g}: {second:.3f} s, {gflops:.0f} GFLOP/s</title></circle>')
    return out


def picture(cost):
    curves = cost["curves"]
    rows = (len(curves) + 1) // 2
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {rows * HEIGHT + 24}" font-family="sans-serif" font-size="11">',
           "<style>.title{font-size:12px;font-weight:bold}.axis{fill:none;stroke:#333}.grid{stroke:#ddd}.fit{stroke:#c60;stroke-dasharray:4 3}"
           "circle{fill:#06c}</style>", f'<rect width="{2 * WIDTH}" height="{rows * HEIGHT + 24}" fill="#fff"/>']
    for i, curve in enumerate(curves):
        out += panel(curve, i % 2 * WIDTH, i // 2 * HEIGHT)
    out.append(f'<text x="{LEFT}" y="{rows * HEIGHT + 14}">Seconds of a training step with LoRA, {cost["dtype"]}, {cost["machine"]["cores"]} cores, '
               f'roof {cost["roof_gflops"]:.0f} GFLOP/s in float32; dashed: the fitted power</text></svg>')
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cost", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("cost.svg"))
    options = parser.parse_args()
    options.output.write_text(picture(json.loads(options.cost.read_text())))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"[bench] {error}")
