import pickle

import numpy as np
import pytest

from horizoncast import errors
from horizoncast.errors import ConfigError, HorizoncastError, UnknownNameError, close_match

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HorizoncastError)
]


def test_message_says_what_value_allowed_and_action_in_this_order():
    error = ConfigError("horizon out of range", value=0, allowed="1 to 1000", action="choose another")
    assert str(error) == "horizon out of range; got 0; allowed: 1 to 1000; choose another"


def test_parts_left_out_leave_no_trace():
    assert str(HorizoncastError("nothing to read")) == "nothing to read"


def test_falsy_values_are_named():
    assert "got 0" in str(ConfigError("x", value=0))
    assert "got False" in str(ConfigError("x", value=False))
    assert str(ConfigError("x", value=None)) == "x"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_crosses_a_process_boundary_intact(kind):
    error = kind("what", value=np.float64(1.5), allowed="less", action="act")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert (copy.what, copy.value, copy.allowed, copy.action) == ("what", "1.5", "less", "act")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_tree_in_the_module_text_shows_every_error_and_its_exit_code(kind):
    line = next(line for line in errors.__doc__.splitlines() if f" {kind.__name__} " in f"{line} ")
    code = kind.exit_code
    inherited = kind is not HorizoncastError and "exit_code" not in vars(kind)
    assert inherited or str(code) in line


def test_exit_codes_are_nonzero_and_differ_from_those_of_the_shell():
    assert all(1 <= kind.exit_code < 64 for kind in KINDS)


def test_unknown_name_lists_what_is_known_and_hints_at_the_nearest():
    error = UnknownNameError.of("member", "random_walks", {"var", "random_walk"})
    assert "got 'random_walks'" in str(error)
    assert "allowed: random_walk, var" in str(error)
    assert str(error).endswith("did you mean random_walk?")
    assert error.exit_code == 2


def test_far_names_get_no_hint():
    assert close_match("prophet", ["random_walk", "var"]) is None
    assert "did you mean" not in str(UnknownNameError.of("member", "prophet", ["var"]))
