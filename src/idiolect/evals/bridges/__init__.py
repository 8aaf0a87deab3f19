"""To and from lm-evaluation-harness: our models in its runs (`harness_model`), its task files in ours."""
