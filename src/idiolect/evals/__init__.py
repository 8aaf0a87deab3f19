"""Measuring models and answers: metrics, tasks, judges, and how sure one may be of each figure."""
