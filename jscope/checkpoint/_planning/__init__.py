"""Planning: which conversion takes the arrays of a file to those of a model, by names and shapes, and never guessed.

Names that differ in numbers only are a family (`_families`). What a name says is a role (`kernel`, `weight` and `w` are
one) and a bag of words (`_words`). Two families may belong together where shapes allow (`_layouts`, `_candidates`).
Which do, and how certain that is, is graded (`_grades`); a reference output decides what names cannot (`_tries`).
Before all that, a table that ships, or that the caller knows, may match as a whole (`_recognized`).
What comes out is a `Proposal` (`_proposal`), and `plan` (`_planner`) is all of it.
"""
