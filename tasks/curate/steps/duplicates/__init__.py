"""Is a record in the data already, or nearly?"""
