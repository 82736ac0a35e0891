"""Many hosts without a shared volume: what is kept lies in a bucket, and each disk is a cache.

Stores keep their files, and their ways with damaged ones; what they change is sent as folders
(``models.storage``). That takes less code than stores that speak of objects, and one path above.
"""
