"""`make demo PIPELINE=name`: a reference pipeline on an embedded Temporal; you decide.

Without a terminal a scripted reviewer answers, and the output says so, line by line. One module per
pipeline says what is shown and what the script answers; the two reviewers know kinds of questions,
and no pipeline.
"""
