"""Does a record leak a benchmark?"""
