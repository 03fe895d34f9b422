"""Faults in a small real loop, and what is counted after each: nothing lost, nothing twice.

loop      a project, the loop in it, and what has to hold afterwards
kills     processes that end at random moments
servers   servers that are away, that fail, that two projects share
places    disks, folders, clocks
"""
