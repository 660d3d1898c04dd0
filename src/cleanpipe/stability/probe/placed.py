"""What faults do to a batch's gradient norm by batch size, together or spread, of a calibration.

The fit of each fault, |G|^2 = mu^2 + sigma^2 / B + c dose^2, gives the norm at any batch size and
dose. It is what the page of a run shows of `cleanpipe stability calibrate`.
"""

import math
from typing import Any

SHARE = 0.05
"""Of the tokens that are faulty."""
LIMITS = (
    "Faults were made, not found in this run's documents, and how many tokens of each it has is "
    "not counted here. The norm is that of one step, before clipping: a longer gradient is neither "
    "a spike nor divergence, and what stays of a fault is asked of twins (cleanpipe stability "
    "probe). The fit has no dose below which a fault shortens the gradient, though a few do. "
    "Small models at one checkpoint each; nothing here carries over to a model of another size "
    "without a replay."
)


def batch_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a fault and batch size: norms over the clean ones, as ranges over the models.

    Spread, each batch has 5 % of faulty tokens, or 2.5 % where half of them were removed;
    together, one batch in twenty has nothing else, and removing half leaves half as many such
    batches, each as long. `measured to` is the largest share of a batch of that size that was
    measured, beyond which the fit says more than was seen; R² is the least of the models'.

    >>> fit = {"mu2": 1.0, "sigma2": 0.0, "c": 1200.0, "r2": 0.99}
    >>> fit["table"] = [{"tokens": 2048, "dose": 1.0, "ratio": 30.0}]
    >>> [row] = batch_rows({"proxies": [{"faults": {"digits": fit}}]})
    >>> row["spread"], row["spread, half removed"], row["together"], row["measured to"]
    ('2', '1.32', '34.7', '100 %')
    """
    known = [proxy["faults"] for proxy in result["proxies"]]
    rows = []
    for fault in known[0]:
        fits = [faults[fault] for faults in known]
        for tokens in sorted({entry["tokens"] for entry in fits[0]["table"]}):
            most = max(e["dose"] for e in fits[0]["table"] if e["tokens"] == tokens)
            rows.append(
                {
                    "fault": fault.replace("_", " "),
                    "tokens a batch": f"{tokens:,}",
                    "spread": _range([_ratio(fit, tokens, SHARE) for fit in fits]),
                    "spread, half removed": _range(
                        [_ratio(fit, tokens, SHARE / 2) for fit in fits]
                    ),
                    "together": _range([_ratio(fit, tokens, 1.0) for fit in fits]),
                    "measured to": f"{100 * most:.0f} %",
                    "R²": f"{min(fit['r2'] for fit in fits):.2f}",
                }
            )
    return rows


def batch_setting(result: dict[str, Any]) -> str:
    """In what models a calibration's fits were found, as a sentence."""
    proxies = result["proxies"]
    models = "; ".join(
        f"{proxy['parameters']:,} weights in {proxy['plan']['shape']['layers']} layers, "
        f"seed {proxy['plan']['seed']}, {proxy['plan']['steps']:,} steps on text"
        + ("" if proxy["counts"] else " (hardly copies: what it says of repeats does not count)")
        for proxy in proxies
    )
    return f"{len(proxies)} model{'' if len(proxies) == 1 else 's'}: {models}."


def _ratio(fit: dict[str, Any], tokens: int, dose: float) -> float:
    clean = fit["mu2"] + fit["sigma2"] / tokens
    return math.sqrt((clean + fit["c"] * dose**2) / clean) if clean else math.nan


def _range(found: list[float]) -> str:
    """The least and the most, once where they read the same.

    >>> _range([1.234, 1.2341]), _range([1.0, 170.4]), _range([float("nan")])
    ('1.23', '1 to 170', 'not finite')
    """
    if not all(map(math.isfinite, found)):
        return "not finite"
    low, high = f"{min(found):.3g}", f"{max(found):.3g}"
    return low if low == high else f"{low} to {high}"
