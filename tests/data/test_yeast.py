"""The model of yeast cells against measurements on published crops of the LIN data set.

The bounds are these measurements (30 real crops of 48 x 80 pixels), slightly wider where our way of measuring differs.
Grey values are out of 255; lengths in pixels include everything above the grey value 25.
"""

import numpy as np
import pytest
from scipy import ndimage, stats

from biogans.data import yeast
from biogans.data.yeast import CHANNELS, FACTORS, PIXEL


@pytest.fixture(scope="module")
def population():
    """300 cells of a growing culture as (cell, stack of seven channels)."""
    return [one_cell(index) for index in range(300)]


def one_cell(index, t=None, channels=tuple(CHANNELS)):
    rng = yeast.cell_rng(7, 0, index)
    cell = yeast.sample_cell(rng, t)
    return cell, yeast.render(cell, channels, rng)


def of_ages(population, least, most):
    return [(cell, stack) for cell, stack in population if least <= cell.t < most]


def channel(stack, name):
    return stack[..., list(CHANNELS).index(name)].astype(float)


def silhouette(stack):
    return stack[..., 0] >= 25


def length_px(stack):
    return np.count_nonzero(silhouette(stack).any(axis=0))


def width_px(stack):
    heights = silhouette(stack).sum(axis=0)
    columns = np.flatnonzero(heights)
    return np.median(heights[columns[6]:columns[-6]])


def body(cell):
    """Coordinates, and the mask of the inner part of the cell, away from ends and septum."""
    at = yeast.coordinates(cell)
    near_septum = (np.abs(at.s - cell.septum_um) < 0.8) & (cell.septum > 0)
    return at, (at.depth > 0.8) & (np.abs(at.s) < 0.6 * cell.half_um) & ~near_septum


def at_end(cell, stack, name, side):
    """Mean of the last 0.8 µm near the axis, relative to the median of the body."""
    at, inner = body(cell)
    end = (side * at.s > cell.half_um - 0.95) & (side * at.s < cell.half_um - 0.15) & (np.abs(at.v) < 0.7)
    return channel(stack, name)[end].mean() / np.median(channel(stack, name)[inner])


def brightness_at_end(name, side):
    """`at_end` as a measure for `medians`."""
    return lambda cell, stack: at_end(cell, stack, name, side)


def medians(population, measure):
    return np.median([measure(cell, stack) for cell, stack in population], axis=0)


# --- geometry -----------------------------------------------------------------------------------------------------

def test_lengths_follow_the_cell_cycle(population):
    lengths = np.array([length_px(stack) for _, stack in population])
    assert 33 <= lengths.min() and lengths.max() <= 78
    assert stats.spearmanr([cell.t for cell, _ in population], lengths)[0] > 0.9
    assert 36 <= np.median([length_px(stack) for _, stack in of_ages(population, 0, 0.1)]) <= 41
    assert 66 <= np.median([length_px(stack) for _, stack in of_ages(population, 0.85, 1)]) <= 75


def test_rendered_length_is_the_stated_one(population):
    rendered = np.array([length_px(stack) for _, stack in population]) * PIXEL
    stated = np.array([cell.length_um for cell, _ in population])
    assert 0 < np.median(rendered - stated) < 0.35         # the blur of bright tips adds a pixel
    assert np.abs(rendered - stated).max() < 0.8


def test_width_does_not_depend_on_length(population):
    widths = np.array([width_px(stack) for _, stack in population])
    assert 18.5 <= np.median(widths) <= 20.5 and 16 <= widths.min() and widths.max() <= 24
    assert max(silhouette(stack).sum(axis=0).max() for _, stack in population) <= 26
    assert abs(np.corrcoef(widths, [length_px(stack) for _, stack in population])[0, 1]) < 0.3


def test_ends_are_round(population):
    """Heights of the first columns relative to the width: 0.23 0.46 0.58 0.68 0.76 0.82 0.86 on the real crops."""
    profiles = []
    for _, stack in population:
        heights = silhouette(stack).sum(axis=0)
        profiles.append(heights[np.flatnonzero(heights)[:7]] / width_px(stack))
    assert np.mean(profiles, axis=0) == pytest.approx([0.23, 0.46, 0.58, 0.68, 0.76, 0.82, 0.86], abs=0.12)


def test_outside_is_black_except_for_a_fringe(population):
    fringes = []
    for _, stack in population:
        near = ndimage.binary_dilation(silhouette(stack), iterations=3)
        assert not stack[~near].any()
        red = stack[..., 0]
        fringes.append(np.count_nonzero((red > 0) & (red <= 20)))
        assert not (stack[0].any() or stack[-1].any() or stack[:, 0].any() or stack[:, -1].any())
    assert 80 <= np.median(fringes) <= 190


def test_cells_are_centred_with_a_small_jitter_and_point_either_way(population):
    centres = np.array([ndimage.center_of_mass(silhouette(stack)) for _, stack in population])
    assert centres.mean(axis=0) == pytest.approx([23.5, 39.5], abs=0.3)
    assert 0.2 < centres.std(axis=0).min() and centres.std(axis=0).max() < 1.0
    assert 0.4 < np.mean([cell.orientation == "right" for cell, _ in population]) < 0.6


def test_septating_cells_have_a_waist():
    def waist(cell):
        at_septum, beside = yeast.outline(cell, np.array([cell.septum_um, cell.septum_um + 2.0]))
        return beside - at_septum
    with_septum = [waist(yeast.sample_cell(yeast.cell_rng(1, 0, index), 0.95)) for index in range(100)]
    without = [waist(yeast.sample_cell(yeast.cell_rng(1, 0, index), 0.5)) for index in range(100)]
    assert np.mean(with_septum) > np.mean(without) + 0.05


# --- intensities --------------------------------------------------------------------------------------------------

BULK = {"Bgs4": (78, 137), "Alp14": (137, 165), "Arp3": (92, 125), "Cki2": (110, 200), "Mkh1": (180, 225),
        "Sid2": (165, 240), "Tea1": (105, 145)}


@pytest.mark.parametrize("name", CHANNELS)
def test_median_of_the_body(population, name):
    low, high = BULK[name]
    assert low <= medians(population, lambda cell, stack: np.median(channel(stack, name)[body(cell)[1]])) <= high


@pytest.mark.parametrize("name, low, high", [("Bgs4", 0.01, 0.06), ("Alp14", 0.01, 0.05), ("Arp3", 0.01, 0.05),
                                             ("Cki2", 0.03, 0.16), ("Mkh1", 0.02, 0.15), ("Sid2", 0.01, 0.05),
                                             ("Tea1", 0.01, 0.05)])
def test_every_channel_is_stretched_until_it_saturates(population, name, low, high):
    assert all(channel(stack, name).max() == 255 for _, stack in population)
    saturated = [np.mean(channel(stack, name)[silhouette(stack)] >= 250) for _, stack in population]
    assert low <= np.median(saturated) <= high and max(saturated) < 0.25


@pytest.mark.parametrize("name, low, high", [("Bgs4", 0.12, 0.19), ("Mkh1", 0.05, 0.13), ("Sid2", 0.06, 0.13),
                                             ("Tea1", 0.08, 0.13)])
def test_noise_of_plain_cytoplasm(population, name, low, high):
    """Robust standard deviation relative to the median, and the correlation of neighbours along a row."""
    levels, correlations = [], []
    for cell, stack in of_ages(population, 0.1, 0.7):
        at, inner = body(cell)
        inner &= np.hypot(at.s - cell.nuclei[0][0], at.v - cell.nuclei[0][1]) > cell.nucleus_radius_um + 0.5
        image = channel(stack, name)
        rest = image - ndimage.gaussian_filter(image, 4)
        plain = rest[inner & (image < 250)]
        levels.append(1.4826 * np.median(np.abs(plain - np.median(plain))) / np.median(image[inner]))
        pairs = inner[:, 1:] & inner[:, :-1]
        correlations.append(np.corrcoef(rest[:, 1:][pairs], rest[:, :-1][pairs])[0, 1])
    assert low <= np.median(levels) <= high
    assert 0.4 <= np.median(correlations) <= 0.8


def test_edge_profiles(population):
    """Profiles at 1, 2, 3 and 5 pixels below the edge, relative to the body; green rises more slowly than red."""
    def profile(cell, stack, name):
        below = ndimage.distance_transform_cdt(silhouette(stack), "chessboard")
        at, inner = body(cell)
        flank = np.abs(at.s) < 0.6 * cell.half_um
        image = channel(stack, name)
        return [np.median(image[flank & (below == step)]) / np.median(image[inner]) for step in (1, 2, 3, 5)]
    young = of_ages(population, 0, 0.7)
    red = medians(young, lambda cell, stack: profile(cell, stack, "Bgs4"))
    green = medians(young, lambda cell, stack: profile(cell, stack, "Sid2"))
    assert red == pytest.approx([0.58, 0.86, 0.88, 1.0], abs=0.08)
    assert 0.2 <= green[0] <= 0.6 and 0.45 <= green[1] <= 0.94 and (green < red + 0.03).all() and green[0] < red[0]


# --- red through the cell cycle -----------------------------------------------------------------------------------

def test_young_cells_grow_at_the_old_end_only(population):
    young = of_ages(population, 0, 0.22)
    assert 1.8 < medians(young, lambda cell, stack: at_end(cell, stack, "Bgs4", 1)) < 3.0
    assert 0.8 < medians(young, lambda cell, stack: at_end(cell, stack, "Bgs4", -1)) < 1.35


def test_the_growing_end_is_on_the_stated_side(population):
    for cell, stack in of_ages(population, 0, 0.22):
        red = channel(stack, "Bgs4").sum(axis=0)
        assert (red[40:].sum() > red[:40].sum()) == (cell.orientation == "right")


def test_both_ends_grow_after_new_end_take_off(population):
    for side in (1, -1):
        assert 1.6 < medians(of_ages(population, 0.5, 0.7), brightness_at_end("Bgs4", side)) < 3


def test_septum_replaces_the_tips(population):
    late = [(cell, stack) for cell, stack in population if cell.septum == 1]
    assert len(late) > 20
    for side in (1, -1):
        assert 0.7 < medians(late, brightness_at_end("Bgs4", side)) < 1.3

    def septum(cell, stack):
        """(contrast, full width at half maximum in px, relative position) of the brightest column."""
        inside = silhouette(stack)
        red = np.where(inside, channel(stack, "Bgs4"), 0).sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
        columns = np.flatnonzero(inside.any(axis=0))
        red, base = red[columns], np.median(red[columns])
        peak = 10 + red[10:-10].argmax()
        above = red[peak - 8:peak + 9] > (red[peak] + base) / 2
        return red[peak] / base, above.sum(), peak / len(columns)
    contrast, width, place = np.transpose([septum(*each) for each in late])
    assert 1.8 < np.median(contrast) < 2.8 and 3.5 <= np.median(width) <= 6.5
    assert 0.46 < np.median(place) < 0.54 and 0.40 < place.min() and place.max() < 0.60


def test_ages_are_those_of_a_growing_culture():
    rng = np.random.default_rng(0)
    ages = [yeast.sample_age(rng) for _ in range(4000)]
    assert stats.kstest(ages, lambda t: 2 - 2 ** (1 - np.clip(t, 0, 1))).pvalue > 0.01


# --- green belongs to the same cell -------------------------------------------------------------------------------

def dots(image, inside):
    """Positions (row, column) of dots: local maxima of a difference of two Gaussian blurs."""
    contrast = ndimage.gaussian_filter(image, 0.6) - ndimage.gaussian_filter(image, 2.2)
    peaks = (contrast == ndimage.maximum_filter(contrast, 3)) & (contrast > 0.35 * np.median(image[inside])) & inside
    return np.transpose(np.nonzero(peaks))


def test_arp3_dots_cluster_at_the_end_that_grows(population):
    share = []
    for cell, stack in of_ages(population, 0, 0.22):
        at = yeast.coordinates(cell)
        s = at.s[tuple(dots(channel(stack, "Arp3"), at.depth > 0.2).T)]
        share.append([np.mean(s > cell.half_um - 1.9), np.mean(s < 1.9 - cell.half_um)])
    old, new = np.mean(share, axis=0)
    assert old > 1.6 * new
    old, new = (medians(of_ages(population, 0, 0.22), brightness_at_end("Arp3", side)) for side in (1, -1))
    assert old > 1.4 * new


@pytest.mark.parametrize("least, most", [(0.3, 0.7), (0.85, 1)])
def test_arp3_has_a_dozen_dots(population, least, most):
    assert 12 <= medians(of_ages(population, least, most), lambda cell, stack: len(
        dots(channel(stack, "Arp3"), yeast.coordinates(cell).depth > 0.2))) <= 19


def test_arp3_moves_to_the_septum(population):
    for least, most, low, high in [(0.3, 0.7, 0.0, 1.25), (0.85, 1.0, 1.35, 3.0)]:
        def contrast(cell, stack):
            at, inner = body(cell)
            beside = (np.abs(at.s - cell.septum_um) < 0.9) & (at.depth > 0.5)
            return channel(stack, "Arp3")[beside].mean() / np.median(channel(stack, "Arp3")[inner])
        assert low < medians(of_ages(population, least, most), contrast) < high


@pytest.mark.parametrize("least, most", [(0, 0.22), (0.45, 0.7), (0.85, 1)])
def test_tea1_is_at_both_ends_growing_or_not(population, least, most):
    for side in (1, -1):
        assert 1.4 < medians(of_ages(population, least, most), brightness_at_end("Tea1", side)) < 2.6


@pytest.mark.parametrize("least, most", [(0, 0.68), (0.85, 1)])
@pytest.mark.parametrize("name, low, high", [("Mkh1", 0.55, 0.75), ("Sid2", 0.57, 0.95), ("Arp3", 0.6, 0.92)])
def test_each_nucleus_is_dark_at_the_same_position_for_all_factors(population, name, low, high, least, most):
    contrasts = []
    for cell, stack in of_ages(population, least, most):
        at, inner = body(cell)
        image = ndimage.gaussian_filter(channel(stack, name), 0.7)
        distances = [np.hypot(at.s - s, at.v - v) for s, v in cell.nuclei]
        cytoplasm = np.median(image[inner & (np.min(distances, axis=0) > cell.nucleus_radius_um + 0.3)])
        contrasts.append([np.median(image[distance < 0.45]) / cytoplasm for distance in distances])
    contrast = np.median(contrasts, axis=0)
    assert (low < contrast).all() and (contrast < high).all()


def test_one_nucleus_before_mitosis_and_two_after(population):
    assert all(len(cell.nuclei) == 1 for cell, _ in of_ages(population, 0, 0.68))
    for cell, _ in of_ages(population, 0.85, 1):
        places = sorted((s + cell.half_um) / cell.length_um for s, _ in cell.nuclei)
        assert places == pytest.approx([0.25, 0.75], abs=0.12) and len(cell.spindle_poles) == 2


def test_cki2_clumps_on_either_side_of_the_nucleus(population):
    def contrasts(cell, stack):
        (s0, v0), = cell.nuclei
        at = yeast.coordinates(cell)
        image = channel(stack, "Cki2")
        beside = (np.abs(at.v) < 1.0) & (at.depth > 0.5)
        left, right = (image[beside & (np.abs(at.s - s0 - side * 1.9) < 0.7)].mean() for side in (-1, 1))
        gap = image[np.hypot(at.s - s0, at.v - v0) < 0.4].mean()
        ends = image[(np.abs(at.s) > cell.half_um - 0.8) & (at.depth > 0.2)].mean()
        return left / gap, right / gap, left / ends
    assert (medians(of_ages(population, 0.25, 0.68), contrasts) > [1.4, 1.4, 1.4]).all()


def test_alp14_bars_lie_along_the_axis(population):
    """Differences across thin bars are larger than differences along them; in plain noise they are not."""
    def anisotropy(cell, stack, name):
        _, inner = body(cell)
        image = channel(stack, name)
        along, across = np.abs(np.roll(image, 2, 1) - image), np.abs(np.roll(image, 2, 0) - image)
        return across[inner].mean() / along[inner].mean()
    young = of_ages(population, 0, 0.68)
    assert medians(young, lambda cell, stack: anisotropy(cell, stack, "Alp14")) > 1.25
    assert 0.9 < medians(young, lambda cell, stack: anisotropy(cell, stack, "Bgs4")) < 1.1


def test_sid2_dots_are_the_spindle_poles(population):
    def contrast(cell, stack):
        at, inner = body(cell)
        image = channel(stack, "Sid2")
        return np.mean([image[np.hypot(at.s - s, at.v - v) < 0.25].mean()
                        for s, v in cell.spindle_poles]) / np.median(image[inner])
    assert 1.12 < medians(population, contrast) < 1.8


@pytest.mark.parametrize("name, low, high", [("Mkh1", 1.2, 1.9), ("Sid2", 1.1, 1.6), ("Tea1", 1.05, 1.4),
                                             ("Cki2", 0.3, 1.1)])
def test_green_at_the_septum(population, name, low, high):
    def contrast(cell, stack):
        at, inner = body(cell)
        image = channel(stack, name)
        middle = at.s - cell.septum_um - cell.septum_tilt * at.v - cell.septum_bow * (at.v ** 2 - 1)
        return image[(np.abs(middle) < 0.15) & (at.depth > 0.5)].mean() / np.median(image[inner])
    assert low < medians([each for each in population if each[0].septum == 1], contrast) < high


def test_channels_of_one_cell_share_its_outline(population):
    for _, stack in population[:50]:
        for index in range(1, stack.shape[-1]):
            green = stack[..., index] > 0
            assert not (green & ~ndimage.binary_dilation(stack[..., 0] > 0)).any()
            assert green[silhouette(stack)].mean() > 0.95


# --- the random streams -------------------------------------------------------------------------------------------

def test_the_same_seed_makes_the_same_cell():
    assert one_cell(3)[0] == one_cell(3)[0] and (one_cell(3)[1] == one_cell(3)[1]).all()
    assert one_cell(3)[0] != one_cell(4)[0]


@pytest.mark.parametrize("factor", FACTORS)
def test_a_channel_does_not_depend_on_which_others_are_rendered(factor):
    pair, stack = one_cell(5, channels=("Bgs4", factor))[1], one_cell(5)[1]
    assert (pair[..., 0] == stack[..., 0]).all() and (pair[..., 1] == channel(stack, factor)).all()


def test_streams_and_seeds_differ():
    ages = {yeast.sample_cell(yeast.cell_rng(seed, stream, 0)).t for seed in (1, 2) for stream in range(3)}
    assert len(ages) == 6


# --- the same cell again --------------------------------------------------------------------------------------------

def test_what_red_does_not_show_is_sampled_again():
    """It has the distribution of other cells of that age, length and septum; all that red shows stays."""
    hidden = {"nuclei", "nucleus_radius_um", "spindle_poles", "green_shift_um", "green_inset_um", "green_rim"}
    rng = np.random.default_rng(1)
    again = []
    for index in range(400):
        cell = yeast.sample_cell(yeast.cell_rng(7, 0, index))
        again.append(yeast.resample_hidden(rng, cell))
        assert {name for name, value in vars(cell).items() if value != getattr(again[-1], name)} == hidden
    first = [yeast.sample_cell(yeast.cell_rng(7, 0, index)) for index in range(400)]
    for name in ("nucleus_radius_um", "green_shift_um", "green_inset_um", "green_rim"):
        assert stats.ks_2samp(*([getattr(cell, name) for cell in cells] for cells in (first, again))).pvalue > 1e-3
    assert np.mean([len(cell.nuclei) for cell in again]) == pytest.approx(
        np.mean([len(cell.nuclei) for cell in first]), abs=0.02)
    assert all(len(cell.nuclei) == len(cell.spindle_poles) for cell in again)


def test_red_does_not_depend_on_what_is_sampled_again():
    cell = yeast.sample_cell(yeast.cell_rng(7, 0, 3))
    other = yeast.resample_hidden(np.random.default_rng(0), cell)
    red, same = (yeast.render(each, ("Bgs4",), yeast.cell_rng(7, 0, 3)) for each in (cell, other))
    assert (red == same).all()


def test_greens_of_one_red_vary_less_than_those_of_all_cells():
    """Clumps of Cki2 move on either side of the nucleus, Mkh1 is smooth: they vary most and least."""
    found = []
    for index in range(30):
        rng = yeast.cell_rng(7, 0, index)
        cell = yeast.sample_cell(rng, 0.2)
        greens = yeast.render_greens_again(cell, 6, yeast.cell_rng(7, 0, index)) / 255
        found.append(greens.var(axis=0, ddof=1)[body(cell)[1]].mean(axis=0))
    varieties = dict(zip(FACTORS, np.sqrt(np.mean(found, axis=0))))
    assert max(varieties, key=varieties.get) == "Cki2" and min(varieties, key=varieties.get) == "Mkh1"
    assert 0.1 < varieties["Cki2"] < 0.25 and 0.03 < varieties["Mkh1"] < 0.12
