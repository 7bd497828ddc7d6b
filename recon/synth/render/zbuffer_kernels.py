"""Compiled loops of the rasteriser; `recon.synth.render.zbuffer` documents the arrays."""

import numpy as np

from recon.compiled import compiled


@compiled
def draw_triangles(screen, faces, buffer, primitive, cull=False):  # type: ignore[no-untyped-def]
    """Writes the nearest triangle and its nearness at every sub-pixel centre; `cull` takes those seen from outside."""
    rows, columns = buffer.shape
    for f in range(len(faces)):
        a, b, c = faces[f]
        ax, ay, az = screen[a]
        bx, by, bz = screen[b]
        cx, cy, cz = screen[c]
        if az <= 0.0 or bz <= 0.0 or cz <= 0.0:
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0 or (cull and area > 0.0):
            continue
        top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), rows - 1)
        left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - 0.5)), columns - 1)
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            py = y + 0.5
            for x in range(left, right + 1):
                px = x + 0.5
                wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * inverse
                wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * inverse
                wc = 1.0 - wa - wb
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    continue
                near = np.float32(wa * az + wb * bz + wc * cz)
                if near > buffer[y, x]:
                    buffer[y, x] = near
                    primitive[y, x] = f


@compiled
def draw_nearness(screen, faces, buffer):  # type: ignore[no-untyped-def]
    """Writes the largest nearness at every pixel centre; which triangle it was does not matter."""
    rows, columns = buffer.shape
    for f in range(len(faces)):
        a, b, c = faces[f]
        ax, ay, az = screen[a]
        bx, by, bz = screen[b]
        cx, cy, cz = screen[c]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), rows - 1)
        left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - 0.5)), columns - 1)
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            py = y + 0.5
            for x in range(left, right + 1):
                px = x + 0.5
                wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * inverse
                wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * inverse
                wc = 1.0 - wa - wb
                if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                    near = np.float32(wa * az + wb * bz + wc * cz)
                    if near > buffer[y, x]:
                        buffer[y, x] = near


@compiled
def _hash01(a, b):  # type: ignore[no-untyped-def]
    # numba widens products of 32-bit numbers to 64 bits; the mask brings them back.
    mask = np.uint64(0xFFFFFFFF)
    n = (np.uint64(a) * np.uint64(0x9E3779B1) + np.uint64(b) * np.uint64(0x85EBCA77)) & mask
    n ^= n >> np.uint64(15)
    n = (n * np.uint64(0x2C1B3C6D)) & mask
    n ^= n >> np.uint64(12)
    n = (n * np.uint64(0x297A2D39)) & mask
    n ^= n >> np.uint64(15)
    return n * (1.0 / 4294967296.0)


@compiled
def draw_segments(screen, segments, width, first, buffer, primitive):  # type: ignore[no-untyped-def]
    """Lines one sub-pixel wide, stepped along the longer axis, a hair's breadth nearer than they are."""
    rows, columns = buffer.shape
    for s in range(len(segments)):
        a, b = segments[s]
        ax, ay, az = screen[a]
        bx, by, bz = screen[b]
        if az <= 0.0 or bz <= 0.0:
            continue
        dx, dy = bx - ax, by - ay
        along_x = abs(dx) >= abs(dy)
        length = max(abs(dx), abs(dy))
        if length == 0.0:
            continue
        thick = width[s] * 0.5 * (az + bz) * np.sqrt(dx * dx + dy * dy) / length
        lines = max(int(np.ceil(thick)), 1)
        share = thick / lines
        start, stop = (ax, bx) if along_x else (ay, by)
        low = int(np.ceil(min(start, stop) - 0.5))
        high = int(np.ceil(max(start, stop) - 0.5))
        for step in range(low, high):
            t = (step + 0.5 - start) / (stop - start)
            near = np.float32((az + (bz - az) * t) * 1.0003)
            across = ay + dy * t if along_x else ax + dx * t
            for line in range(lines):
                if _hash01(s * 31 + line, step - low) > share:
                    continue
                other = int(np.floor(across + line - 0.5 * (lines - 1)))
                x, y = (step, other) if along_x else (other, step)
                if 0 <= x < columns and 0 <= y < rows and near > buffer[y, x]:
                    buffer[y, x] = near
                    primitive[y, x] = first + s


@compiled
def merge_samples(nearness, primitive, group, samples, gap):  # type: ignore[no-untyped-def]
    """Joins the sub-pixels of each pixel into fragments: pixel, primitive, sub-pixel, number of sub-pixels."""
    rows, columns = primitive.shape
    height, width = rows // samples, columns // samples
    total = samples * samples
    covered = 0
    for y in range(rows):
        for x in range(columns):
            covered += primitive[y, x] >= 0
    out_pixel = np.empty(covered, np.int64)
    out_primitive = np.empty(covered, np.int64)
    out_where = np.empty(covered, np.int64)
    out_count = np.empty(covered, np.int64)
    middle = total // 2
    n = 0
    for v in range(height):
        for u in range(width):
            first = n
            for k in range(total):
                # The centre comes first: a fragment is shaded there if it can be.
                i = middle if k == 0 else (k - 1 if k <= middle else k)
                y, x = v * samples + i // samples, u * samples + i % samples
                p = primitive[y, x]
                if p < 0:
                    continue
                near = nearness[y, x]
                joined = False
                for j in range(first, n):
                    q = out_primitive[j]
                    other = nearness[out_where[j] // columns, out_where[j] % columns]
                    same = p == q or (group[p] >= 0 and group[p] == group[q])
                    if same and abs(other - near) <= gap * near:
                        out_count[j] += 1
                        joined = True
                        break
                if not joined:
                    out_pixel[n] = v * width + u
                    out_primitive[n] = p
                    out_where[n] = y * columns + x
                    out_count[n] = 1
                    n += 1
    return out_pixel[:n].copy(), out_primitive[:n].copy(), out_where[:n].copy(), out_count[:n].copy()


@compiled
def barycentric_weights(where, primitive, screen, faces, segments, columns):  # type: ignore[no-untyped-def]
    """Perspective-correct weights of the corners of `primitive` at the centres of the sub-pixels `where`."""
    out = np.zeros((len(where), 3), np.float32)
    triangles = len(faces)
    for i in range(len(where)):
        py, px = where[i] // columns + 0.5, where[i] % columns + 0.5
        p = primitive[i]
        if p < triangles:
            a, b, c = faces[p]
            ax, ay, az = screen[a]
            bx, by, bz = screen[b]
            cx, cy, cz = screen[c]
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area * az
            wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area * bz
            wc = ((ax - px) * (by - py) - (ay - py) * (bx - px)) / area * cz
            total = wa + wb + wc
            out[i, 0], out[i, 1], out[i, 2] = wa / total, wb / total, wc / total
        else:
            a, b = segments[p - triangles]
            ax, ay, az = screen[a]
            bx, by, bz = screen[b]
            dx, dy = bx - ax, by - ay
            t = ((px - ax) * dx + (py - ay) * dy) / max(dx * dx + dy * dy, 1e-12)
            t = min(max(t, 0.0), 1.0)
            wa, wb = (1.0 - t) * az, t * bz
            out[i, 0], out[i, 1] = wa / (wa + wb), wb / (wa + wb)
    return out


@compiled
def interpolate_values(primitive, weights, corners, values):  # type: ignore[no-untyped-def]
    """Weighted sum of the corners' values."""
    n, k, channels = len(primitive), corners.shape[1], values.shape[1]
    out = np.zeros((n, channels), np.float32)
    for i in range(n):
        for j in range(k):
            vertex = corners[primitive[i], j]
            w = weights[i, j]
            for c in range(channels):
                out[i, c] += w * values[vertex, c]
    return out


@compiled
def accumulate(pixel, coverage, values, image):  # type: ignore[no-untyped-def]
    """Adds values, weighted by coverage, to their pixels."""
    for i in range(len(pixel)):
        for c in range(values.shape[1]):
            image[pixel[i], c] += coverage[i] * values[i, c]
