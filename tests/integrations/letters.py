"""A task of ours for lm-eval, over local JSON lines; `data` is the file."""

from __future__ import annotations

TASK = """
task: letters
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - metric: acc
  - metric: brier_score
"""
