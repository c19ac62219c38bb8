"""The heads `main` and `aux` of the methods that are not DenseSiam: their weights, and which of them can be scored."""

from collections.abc import Mapping
from typing import Literal

from src.checks import check_int, check_keys
from src.errors import DenseSiamError
from src.evaluation.protocol import EvaluationProtocol
from src.losses import balanced_weights
from src.models.siamese import MOST_CATEGORIES
from src.tasks.pairs import resolved_weights


def head_weights(
    loss_weights: Mapping[str, float | Literal["balanced"]], num_categories: int, num_aux_categories: int
) -> dict[str, float]:
    """Weights of the heads that are used; `balanced` is log-balanced if both are used, and 1 otherwise.

    Raises:
        DenseSiamError: a head is neither `main` nor `aux`, all weights are 0, or a weight is no number from 0.
    """
    check_keys("task.loss_weights", loss_weights, ("main", "aux"), every=False)
    check_int("model.num_categories", num_categories, low=2, high=MOST_CATEGORIES)
    check_int("model.num_aux_categories", num_aux_categories, low=2, high=MOST_CATEGORIES)
    used = frozenset(head for head, weight in loss_weights.items() if weight != 0)
    if not used:
        raise DenseSiamError(
            f"task.loss_weights is {dict(loss_weights)}: expected weights of main and aux, one of them above 0"
        )
    main, aux = balanced_weights(num_categories, num_aux_categories) if len(used) == 2 else (1.0, 1.0)
    return resolved_weights(loss_weights, used, {"main": main, "aux": aux})


def check_scored_head(protocol: EvaluationProtocol, weights: Mapping[str, float]) -> None:
    """Refuse to score a head that has no weight.

    Raises:
        DenseSiamError: `protocol.head` is not among the weights.
    """
    if protocol.head != "merged" and protocol.head not in weights:
        raise DenseSiamError(
            f"protocol.head is {protocol.head}, but task.loss_weights.{protocol.head} is 0: give it a weight, or "
            "score another head"
        )
