"""Does choosing which rows to label gain anything over drawing them at random?"""
