"""What scripts/truth and scripts/bench share: the Pythons, the targets, otop as it is followed, and whether the machine
is quiet. Python 3.8 on, standard library only. Knows nothing of how otop comes to its figures.
"""
