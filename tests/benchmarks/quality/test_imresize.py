"""MATLAB's imresize, against what MATLAB itself gave."""

import numpy as np
import pytest

from shadowdiffusion.benchmarks.quality.imresize import imresize

# Results of MATLAB R2019b for the numbers 0, 1, 2 ... in rows, default bicubic with antialiasing, to six digits:
# test_answer/*.mat of github.com/sanghyun-son/bicubic_pytorch, commit da432d1.
MATLAB = [
    (
        (8, 8),
        [
            [6.472529, 8.511591, 10.535029, 12.574091],
            [28.449219, 30.488281, 32.511719, 34.550781],
            [50.425909, 52.464971, 54.488409, 56.527471],
        ],
    ),
    (
        (8, 8),
        [
            [2.184525, 3.319137, 4.468841, 5.620460, 6.772078, 7.921782, 9.056394],
            [15.219772, 16.354384, 17.504088, 18.655706, 19.807325, 20.957029, 22.091641],
            [28.064065, 29.198678, 30.348382, 31.5, 32.651618, 33.801322, 34.935935],
            [40.908359, 42.042971, 43.192675, 44.344294, 45.495912, 46.645616, 47.780228],
            [53.943606, 55.078218, 56.227922, 57.379540, 58.531159, 59.680863, 60.815475],
        ],
    ),
    ((15, 15), [[29.1072, 34.288, 39.4688], [106.8192, 112.0, 117.1808], [184.5312, 189.712, 194.8928]]),
    ((4, 4), [[0.750552, 2.100442, 3.450331], [6.150110, 7.5, 8.849890], [11.549669, 12.899558, 14.249448]]),
]
ENLARGED = [  # the first two rows of 11 x 13, from 8 x 8
    [-0.5487371, -0.11840597, 0.56738716, 1.18277177, 1.79815639, 2.413541, 3.02892562],
    [4.25404276, 4.6843739, 5.37016702, 5.98555164, 6.60093625, 7.21632087, 7.83170548],
]


@pytest.mark.parametrize(("shape", "expected"), MATLAB)
def test_reduced_as_matlab_does(shape: tuple[int, int], expected: list[list[float]]) -> None:
    numbers = np.arange(shape[0] * shape[1], dtype=float).reshape(shape)
    assert imresize(numbers, *np.shape(expected)) == pytest.approx(np.array(expected), abs=1e-6)


def test_enlarged_as_matlab_does() -> None:
    found = imresize(np.arange(64.0).reshape(8, 8), 11, 13)
    assert found.shape == (11, 13)
    assert found[:2, :7] == pytest.approx(np.array(ENLARGED), abs=1e-6)


def test_bytes_are_rounded_after_each_axis() -> None:
    # every third counts about as much: 2/3, 2/3 and 0 after the first axis, which in bytes are 1, 1 and 0
    tiny = np.array([[2, 2, 0], [0, 0, 0], [0, 0, 0]], np.uint8)
    assert float(imresize(tiny.astype(float), 1, 1)[0, 0]) == pytest.approx(4 / 9, abs=0.03)
    assert imresize(tiny, 1, 1)[0, 0] == 1


def test_bytes_are_clipped_and_numbers_are_not() -> None:
    edge = np.repeat(np.array([[0, 0, 0, 255, 255, 255]], np.uint8), 6, 0)
    assert imresize(edge.astype(float), 12, 12).min() < -5
    found = imresize(edge, 12, 12)
    assert found.dtype == np.uint8
    assert (found.min(), found.max()) == (0, 255)


def test_channels_are_resized_alike_and_the_same_size_is_kept() -> None:
    photo = np.random.default_rng(0).random((9, 7, 3))
    assert imresize(photo, 9, 7) is photo
    found = imresize(photo, 4, 5)
    assert found.shape == (4, 5, 3)
    assert np.array_equal(found[..., 1], imresize(photo[..., 1], 4, 5))


def test_weights_beyond_the_image_are_mirrored_more_than_once() -> None:
    assert imresize(np.full((3, 2), 7.0), 1, 1)[0] == pytest.approx([7.0])
    assert imresize(np.array([[3.0]]), 5, 4).ravel() == pytest.approx([3.0] * 20)
