"""Hypothesis: the same small set of examples in every run, or a hunt for new ones with HUBFERRY_FUZZ=1."""

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=20_000,
    print_blob=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)
# The variable is taken away: started gateways inherit the environment, where HUBFERRY_... means a setting.
settings.load_profile("fuzz" if os.environ.pop("HUBFERRY_FUZZ", "") == "1" else "ci")
