"""Palpate as a library: plan, run, and read off what was found."""

import sys

import palpate

study = palpate.Study.load(sys.argv[1])
print(palpate.plan(study))

results = palpate.run(study, out=sys.argv[2])
for estimate in results.measure("ba_answered", by=["model", "task", "cell"]):
    if estimate.value is None:
        print(dict(estimate.by), "undefined:", estimate.reason)
    else:
        print(dict(estimate.by), f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})", estimate.verdict or "")

raise SystemExit(results.gate().exit_code)
