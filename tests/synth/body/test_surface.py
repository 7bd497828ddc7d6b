import numpy as np
import pytest
import trimesh

from recon.errors import MeshError
from recon.geometry.decimate import decimate
from recon.geometry.distance_grid import Grid, mesh_from_grid, signed_distance_grid, sweep_distance
from recon.geometry.signed_distance import MeshDistance
from recon.geometry.tidy import drop_crumbs, enclosed_volume, largest_component, taubin_smooth
from recon.synth.body.bust import GARMENTS, Bust, garment_mesh
from recon.synth.body.subject import build_subject, draw_recipe, make_subject, with_truth
from recon.synth.body.truth import FACE_SPHERE_MM, mark_regions, union_mesh
from recon.synth.model.regions import _signed_polygon_distance
from recon.synth.parts import EYE, SKIN, Part
from tests.support.head_model import ball, box, needs_model


def lattice(grid: Grid) -> np.ndarray:
    return np.stack(np.meshgrid(*(grid.axis(k) for k in range(3)), indexing="ij"), axis=-1)


def box_distance(points: np.ndarray, low, high) -> np.ndarray:
    """Signed distance of an axis-aligned box, in closed form."""
    q = np.abs(points - (np.asarray(low) + high) / 2) - (np.asarray(high, float) - low) / 2
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)


# --- fields on grids ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_field_of_a_box_is_exact_in_its_band():
    vertices, faces = box([-10.3, -7.1, -5.2], [9.4, 8.8, 6.6])
    grid = Grid.around(vertices.min(0), vertices.max(0), 1.5, 6.0)
    field = signed_distance_grid(vertices, faces, grid, 4.0)
    exact = box_distance(lattice(grid), vertices.min(0), vertices.max(0))
    assert np.abs(field - np.clip(exact, -4, 4)).max() < 1e-5


def test_extended_field_is_right_to_first_order():
    vertices, faces = ball(20)
    grid = Grid.around(vertices.min(0), vertices.max(0), 2.0, 20.0)
    field = signed_distance_grid(vertices, faces, grid, 4.0, extend=True)
    exact = np.linalg.norm(lattice(grid), axis=-1) - 20
    # the solver rounds the medial axis at the centre, everywhere else it is within a fraction of a step
    outer = exact > -12
    assert np.abs(field - exact)[outer].max() < 1.5
    assert np.array_equal(field < 0, exact < 0)


def test_sign_of_overlapping_solids_is_that_of_their_union():
    a, fa = box([0, 0, 0], [10, 10, 10])
    b, fb = box([5, 3, 3], [17, 7, 7])
    vertices, faces = np.concatenate([a, b]), np.concatenate([fa, fb + len(a)])
    grid = Grid.around(vertices.min(0), vertices.max(0), 0.7, 3.0)
    field = signed_distance_grid(vertices, faces, grid, 2.0)
    points = lattice(grid)
    exact = np.minimum(
        box_distance(points, [0, 0, 0], [10, 10, 10]), box_distance(points, [5, 3, 3], [17, 7, 7])
    )
    clear = np.abs(exact) > 1e-6
    assert np.array_equal((field < 0)[clear], (exact < 0)[clear])


def test_rows_of_a_mesh_may_be_seen_through_a_smaller_grid():
    vertices, faces = box([-10, -10, -10], [10, 10, 10])
    grid = Grid(np.array([-3.0, -2.0, 4.0]), 1.0, (5, 4, 9))
    field = signed_distance_grid(vertices, faces, grid, 50.0)
    assert np.allclose(field, box_distance(lattice(grid), [-10] * 3, [10] * 3), atol=1e-4)


def test_sampling_a_linear_field_is_exact():
    grid = Grid(np.array([1.0, -2.0, 0.5]), 0.5, (9, 8, 7))
    values = (lattice(grid) @ [2.0, -1.0, 3.0] + 4.0).astype(np.float32)
    points = np.array([[2.1, -0.3, 1.7], [4.0, 1.0, 2.2]])
    assert np.allclose(grid.sample(values, points), points @ [2.0, -1.0, 3.0] + 4.0, atol=1e-4)
    assert np.allclose(grid.sample_gradient(values, points), [[2, -1, 3]] * 2, atol=1e-3)
    # beyond the border: the border's value
    assert np.isclose(grid.sample(values, np.array([[99.0, -2.0, 0.5]]))[0], 2 * 5 + 2 + 1.5 + 4, atol=1e-3)


def test_sweep_stops_at_its_limit():
    field = np.full((15, 15, 15), np.inf, dtype=np.float32)
    field[7, 7, 7] = 0
    near = sweep_distance(field.copy(), np.float32(0.5), limit=3.0)
    assert np.isinf(near[0, 7, 7]) and near[4, 7, 7] == 3
    assert sweep_distance(field, np.float32(0.5))[0, 7, 7] == 7


def test_mesh_from_a_field_is_closed_and_outward():
    vertices, faces = ball(15, (3, 4, 5))
    grid = Grid.around(vertices.min(0), vertices.max(0), 1.0, 4.0)
    mesh = mesh_from_grid(signed_distance_grid(vertices, faces, grid, 3.0), grid)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.01)
    with pytest.raises(MeshError, match="no surface"):
        mesh_from_grid(np.ones((4, 4, 4), dtype=np.float32), Grid(np.zeros(3), 1.0, (4, 4, 4)))


# --- exact distances ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_distance_to_a_box_is_exact_everywhere():
    low, high = [-10.0, -4.0, -7.0], [10.0, 5.0, 7.0]
    distance = MeshDistance(*box(low, high))
    points = np.random.default_rng(0).uniform(-30, 30, (4000, 3))
    assert np.abs(distance(points) - box_distance(points, low, high)).max() < 1e-9


def test_distance_at_special_points_of_the_mesh():
    vertices, faces = ball(10, level=2)
    distance = MeshDistance(vertices, faces)
    assert np.abs(distance(vertices)).max() < 1e-9
    assert np.abs(distance(vertices[faces].mean(axis=1))).max() < 1e-9
    # on the rays through vertices and edges, where counting crossings is delicate
    assert (distance(vertices * 0.5) < 0).all() and (distance(vertices * 1.5) > 0).all()
    x = np.random.default_rng(0).uniform(-20, 20, len(vertices))
    shifted = np.concatenate([x[:, None], vertices[:, 1:]], axis=1)
    clear = np.abs(np.linalg.norm(shifted, axis=1) - 10) > 1
    assert np.array_equal((distance(shifted) < 0)[clear], (np.linalg.norm(shifted, axis=1) < 10)[clear])
    assert distance(np.zeros((0, 3))).shape == (0,)


def test_distance_agrees_with_the_grid():
    vertices, faces = ball(12, (1, 2, 3), level=3)
    grid = Grid.around(vertices.min(0), vertices.max(0), 1.3, 4.0)
    field = signed_distance_grid(vertices, faces, grid, 3.0)
    exact = MeshDistance(vertices, faces)(lattice(grid).reshape(-1, 3)).reshape(field.shape)
    assert np.abs(field - np.clip(exact, -3, 3)).max() < 1e-4


# --- tidying and simplifying -------------------------------------------------------------------------------


def test_components_by_volume():
    a, fa = ball(10)
    b, fb = ball(2, (30, 0, 0))
    hollow, fh = ball(5)
    vertices = np.concatenate([a, b, hollow])
    faces = np.concatenate([fa, fb + len(a), fh[:, ::-1] + len(a) + len(b)])
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert largest_component(mesh).volume == pytest.approx(enclosed_volume(a, fa))
    kept = drop_crumbs(mesh, 10.0)  # both balls, not the hollow
    assert kept.volume == pytest.approx(enclosed_volume(a, fa) + enclosed_volume(b, fb))
    assert len(drop_crumbs(mesh, 100.0).vertices) == len(a)
    with pytest.raises(MeshError, match="encloses more"):
        drop_crumbs(mesh, 1e6)


def test_smoothing_takes_noise_and_keeps_size():
    vertices, faces = ball(20)
    noisy = vertices * (1 + np.random.default_rng(0).normal(0, 0.01, (len(vertices), 1)))
    smooth = taubin_smooth(noisy, faces, 5)
    spread = np.linalg.norm(smooth, axis=1).std()
    assert spread < 0.6 * np.linalg.norm(noisy, axis=1).std()
    assert enclosed_volume(smooth, faces) == pytest.approx(enclosed_volume(vertices, faces), rel=0.01)


@pytest.mark.slow
def test_simplified_ball_stays_a_ball():
    mesh = trimesh.Trimesh(*ball(50, level=5), process=False)
    small = decimate(mesh, 600)
    assert len(small.vertices) == 600 and small.is_watertight and small.euler_number == 2
    assert small.volume == pytest.approx(mesh.volume, rel=0.01)
    assert (
        np.abs(MeshDistance(np.asarray(small.vertices), np.asarray(small.faces))(mesh.vertices)).max() < 0.6
    )


def test_simplified_box_keeps_its_corners():
    # a finely cut box: flat sides cost nothing, so eight corners can carry it all
    mesh = trimesh.creation.box(extents=[20, 10, 6]).subdivide().subdivide().subdivide()
    small = decimate(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), 8)
    assert small.is_watertight
    assert small.volume == pytest.approx(1200, rel=0.02)
    assert np.allclose(np.abs(small.vertices).max(axis=0), [10, 5, 3], atol=0.1)


def test_open_meshes_are_not_simplified():
    with pytest.raises(MeshError, match="open edges"):
        decimate(trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False), 4)


# --- union and regions -------------------------------------------------------------------------------------


def test_union_of_two_balls_is_one_closed_surface():
    mesh = union_mesh([ball(20), ball(20, (25, 0, 0))], spacing_mm=1.0)
    assert mesh.is_watertight and mesh.body_count == 1
    # two balls less their lens: h = 7.5 caps
    cap = np.pi * 7.5**2 * (60 - 7.5) / 3
    assert mesh.volume == pytest.approx(2 * (4 / 3 * np.pi * 20**3 - cap), rel=0.01)
    outside = np.minimum(
        np.linalg.norm(mesh.vertices, axis=1), np.linalg.norm(mesh.vertices - [25, 0, 0], axis=1)
    )
    assert np.abs(outside - 20).max() < 0.5


def test_union_drops_what_touches_nothing():
    mesh = union_mesh([ball(20), ball(5, (60, 0, 0))], spacing_mm=1.5)
    assert mesh.bounds[1, 0] < 25


def test_regions_follow_the_nearest_part():
    skin, skin_faces = ball(50, level=5)
    eye, eye_faces = ball(12, (0, 0, 45))
    zero = np.zeros((len(skin), 3), dtype=np.float32)
    marks = {"face": (skin[:, 2] > 0).astype(np.float32), "nose": (skin[:, 2] > 40).astype(np.float32)}
    parts = (
        Part("skin", skin, skin_faces, zero, zero, SKIN, marks),
        Part("eye_left", eye, eye_faces, zero[: len(eye)], zero[: len(eye)], EYE),
    )
    mesh = union_mesh([(p.vertices, p.faces) for p in parts], spacing_mm=2.0)
    vertices = np.asarray(mesh.vertices)
    regions = mark_regions(vertices, parts, np.array([0.0, 0.0, 57.0]))
    face = np.zeros(len(vertices), dtype=bool)
    face[regions["face"]] = True
    assert face[vertices[:, 2] > 2].all() and not face[vertices[:, 2] < -2].any()
    assert vertices[regions["nose"], 2].min() > 36
    assert np.linalg.norm(vertices[regions["nose"]] - [0, 0, 45], axis=1).min() > 11  # the eye is no nose
    inside = np.linalg.norm(vertices - [0, 0, 57.0], axis=1) <= FACE_SPHERE_MM
    assert np.array_equal(regions["face_sphere"], np.flatnonzero(inside))


def test_polygon_distance_by_hand():
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    points = np.array([[1.0, 2.0], [2.0, 2.0], [6.0, 2.0], [7.0, 8.0]])
    assert np.allclose(_signed_polygon_distance(points, square), [1, 2, -2, -5])


# --- whole subjects ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def subject():
    return make_subject(3, style="side_parted", spacing_mm=2.5)


@needs_model
def test_truth_is_one_closed_bust_in_millimetres(subject):
    truth = subject.truth
    assert truth.is_watertight and truth.is_winding_consistent and truth.volume > 0 and truth.body_count == 1
    width, height, depth = truth.extents
    assert 320 < width < 480 and 320 < height < 450 and 190 < depth < 320
    tip = subject.landmarks["nose_tip"]
    assert subject.landmarks["left_eye"][0] > 0 > subject.landmarks["right_eye"][0] and tip[2] > 100


@needs_model
def test_truth_encloses_skin_eyes_and_hair(subject):
    distance = MeshDistance(np.asarray(subject.truth.vertices), np.asarray(subject.truth.faces))
    for part in subject.parts:
        # the surface of every part lies on or under the joint one (half a grid step of rounding)
        assert np.percentile(distance(part.vertices[::7]), 99) < 1.25, part.name
    for name, vertex in subject.landmark_vertices.items():
        assert np.linalg.norm(subject.truth.vertices[vertex] - subject.landmarks[name]) < 3.0, name


@needs_model
def test_regions_of_a_subject(subject):
    vertices = np.asarray(subject.truth.vertices)
    nose, face, sphere = (vertices[subject.regions[name]] for name in ("nose", "face", "face_sphere"))
    assert np.abs(nose[:, 0]).max() < 30 and nose[:, 2].min() > 80
    assert set(subject.regions["nose"]) <= set(subject.regions["face"])
    assert face[:, 2].max() == vertices[:, 2].max()  # the tip of the nose
    assert np.linalg.norm(sphere - subject.landmarks["nose_tip"], axis=1).max() <= FACE_SPHERE_MM
    hair = subject.part("hair").vertices
    crown = vertices[vertices[:, 1].argmax()]
    assert np.linalg.norm(hair - crown, axis=1).min() < 3
    assert vertices[:, 1].argmax() not in set(subject.regions["face"])


@needs_model
def test_simplified_truth_keeps_landmarks_and_regions(subject):
    small = with_truth(subject, decimate(subject.truth, 12000))
    assert small.truth.is_watertight and len(small.truth.vertices) == 12000
    gap = MeshDistance(np.asarray(small.truth.vertices), np.asarray(small.truth.faces))(
        subject.truth.vertices
    )
    assert np.percentile(np.abs(gap), 99) < 0.3
    assert set(small.regions) == set(subject.regions) and small.regions["nose"].max() < 12000
    assert small.landmarks is subject.landmarks


@needs_model
def test_same_recipe_same_bytes():
    recipe = draw_recipe(11, split="val", style="short")
    assert draw_recipe(11, split="val", style="short") == recipe
    assert draw_recipe(12, split="val", style="short") != recipe
    recipe["hair"]["style"].update(children=1500, guides=200)
    first, second = (build_subject(recipe, spacing_mm=6.0) for _ in range(2))
    assert np.array_equal(first.truth.vertices, second.truth.vertices)
    assert np.array_equal(first.truth.faces, second.truth.faces)
    for a, b in zip(first.parts, second.parts, strict=True):
        assert np.array_equal(a.vertices, b.vertices) and np.array_equal(a.tangent, b.tangent)
    assert np.array_equal(first.strands.points, second.strands.points)


@needs_model
@pytest.mark.parametrize("garment", GARMENTS)
def test_every_garment_is_closed_and_hugs_the_shoulders(garment):
    from recon.synth.model.head_model import load_head_model

    model = load_head_model()
    fine = model.refinement
    neck = next(cap for cap in fine.caps if cap.name == "neck")
    mesh = garment_mesh(Bust(garment=garment), fine.canonical, fine.faces, neck.loop)
    assert mesh.is_watertight and mesh.volume > 1e6
    assert 320 < mesh.extents[0] < 460
    # the open rim of the skin lies inside the garment
    rim = MeshDistance(np.asarray(mesh.vertices), np.asarray(mesh.faces))(fine.canonical[neck.loop])
    assert rim.max() < 0
