"""Does a record say something, in a fitting length and language?"""
